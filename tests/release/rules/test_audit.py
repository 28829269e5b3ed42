"""What an audit concludes: a vulnerability, a silence and a licence nobody allowed are refused alike."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from release.rules import audit
from release.rules.audit import Locked, Rulebook

LOCK = """\
one==1.0 \\
    --hash=sha256:{a}
Two_2==2.0 ; sys_platform == 'nowhere' \\
    --hash=sha256:{a}
""".format(a="a" * 64)
ONE = Locked(name="one", version="1.0")
TWO = Locked(name="two-2", version="2.0")


def answer(*dependencies: dict[str, Any]) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def rules(problems: list[Any]) -> list[str]:
    return [problem.rule for problem in problems]


def test_lock_is_read_for_this_machine_or_for_all() -> None:
    """A package that another platform would install belongs into the bill of materials."""
    assert audit.locked(LOCK) == [ONE]
    assert audit.locked(LOCK, everywhere=True) == [ONE, TWO]


def test_empty_lines_of_a_lock_are_no_requirements() -> None:
    """A lock may be set apart for its reader."""
    assert audit.locked(f"\n{LOCK}\n\n") == [ONE]


@pytest.mark.parametrize("line", ["one>=1.0", "one", "one==1.0,!=1.1", "-r other.txt"])
def test_line_that_pins_nothing_is_refused(line: str) -> None:
    """An open version cannot be audited: tomorrow it is another one."""
    with pytest.raises(ValueError, match=r"one|-r"):
        audit.locked(line)


def test_all_packages_without_a_vulnerability_are_audited() -> None:
    """The clean answer names every package with an empty list."""
    clean = answer({"name": "One", "version": "1.0", "vulns": []})
    assert audit.advisory_problems(clean, [ONE], {}) == ([], "audited")


def test_vulnerability_is_refused_with_its_fix_unless_ignored_with_a_reason() -> None:
    """The person learns which version is safe; an exception is by id or alias."""
    found = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": ["CVE-2"]}
    output = answer({"name": "one", "version": "1.0", "vulns": [found]})
    problems, audited = audit.advisory_problems(output, [ONE], {})
    assert (rules(problems), audited) == (["audit.vulnerable"], "audited")
    assert "fixed in 1.1" in problems[0].what
    for name in ("PYSEC-1", "CVE-2"):
        assert audit.advisory_problems(output, [ONE], {name: "not called"}) == ([], "audited")
    unfixed = answer({"name": "one", "version": "1.0", "vulns": [{"id": "PYSEC-1"}]})
    assert "no version yet" in audit.advisory_problems(unfixed, [ONE], {})[0][0].what


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (answer({"name": "one", "skip_reason": "not found"}), "not found"),
        (answer(), "does not mention it"),
        (answer({"name": "one", "version": "0.9", "vulns": []}), "does not mention it"),
        ("", "nothing"),
        ("Traceback\nConnectionError: no route", "no route"),
        ("{}", "{}"),
    ],
)
def test_silence_is_no_clean_bill(output: str, says: str) -> None:
    """The tool exits with 0 when the service was never reached; a package not answered for is a failure."""
    problems, audited = audit.advisory_problems(output, [ONE], {})
    assert (rules(problems), audited) == (["audit.answered"], "not audited")
    assert says in problems[0].what


def test_many_silences_are_one_problem() -> None:
    """An outage is said once, not a hundred times."""
    problems, _ = audit.advisory_problems(answer(), [ONE, TWO], {})
    assert [problem.where for problem in problems] == ["one 1.0 and 1 more"]


@pytest.mark.parametrize(
    ("expression", "classifiers", "stated", "licence"),
    [
        ("mit", [], None, "MIT"),
        ("MIT", ["License :: OSI Approved :: Apache Software License"], "PSF-2.0", "MIT"),
        ("see the file", [], "MIT", "MIT"),
        (None, ["License :: OSI Approved :: MIT License"], None, "MIT"),
        (None, ["License :: OSI Approved :: BSD License"], None, None),
        (None, [], None, None),
    ],
)
def test_licence_is_what_the_metadata_says_first(
    expression: str | None, classifiers: list[str], stated: str | None, licence: str | None
) -> None:
    """A person's word fills a gap; it does not overrule the package."""
    assert audit.licence_of(expression, classifiers, stated)[0] == licence


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT AND PSF-2.0", True),
        ("(GPL-3.0-only OR MIT) AND GPL-2.0-only", False),
        ("(GPL-3.0-only OR MIT) AND (PSF-2.0)", True),
        ("MIT WITH Classpath-exception-2.0", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0 OR MIT", True),
    ],
)
def test_expression_is_allowed_as_its_operators_say(expression: str, allowed: bool) -> None:
    """One side of an OR is enough, both sides of an AND must do, and AND binds closer."""
    book = Rulebook(licences=frozenset(["MIT", "PSF-2.0"]))
    problems = audit.licence_problems({"one": expression}, book)
    assert rules(problems) == ([] if allowed else ["audit.licence-allowed"])


def test_unknown_licence_and_stale_statement_are_refused() -> None:
    """No licence means no right to use it; a statement about nothing hides the next one."""
    book = Rulebook(licences=frozenset(["MIT"]), stated={"gone": "MIT"})
    assert rules(audit.licence_problems({"one": None}, book)) == [
        "audit.licence-known",
        "audit.stated-is-needed",
    ]


def test_rulebook_with_a_typing_error_is_refused() -> None:
    """A misspelt table would allow or ignore nothing, or everything, in silence."""
    with pytest.raises(ValidationError):
        audit.rulebook_of({"licences": ["MIT"], "ignore": {}})


@given(st.text(max_size=200))
def test_no_output_of_a_tool_is_a_clean_bill_by_accident(output: str) -> None:
    """Whatever a broken tool prints, a package that was not answered for stays a problem."""
    problems, audited = audit.advisory_problems(output, [ONE], {})
    assert problems
    assert audited == "not audited"

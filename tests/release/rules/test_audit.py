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
OSI = "License :: OSI Approved ::"
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


@pytest.mark.parametrize("line", ["one>=1.0", "one", "one!=1.1,==1.0", "one==1.0,==1.1"])
def test_line_that_pins_nothing_is_refused(line: str) -> None:
    """An open version cannot be audited: tomorrow it is another one."""
    with pytest.raises(ValueError, match=r"^one.* is not pinned to one version$"):
        audit.locked(line)


def test_line_that_is_no_requirement_is_refused_as_it_stands() -> None:
    """With what a parser says of it, and without its hash's noise."""
    with pytest.raises(ValueError, match=r"^'-r other\.txt' is no requirement: Expected ") as caught:
        audit.locked(f"{LOCK}  -r other.txt\n")
    assert caught.value.__suppress_context__


def test_lock_is_sorted_by_name_whatever_its_order() -> None:
    """The bill of materials is the same bytes for the same packages."""
    assert audit.locked("two==2.0\none==1.0 ; python_version > '3'\n") == [
        ONE,
        Locked(name="two", version="2.0"),
    ]


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


def test_each_vulnerability_is_a_problem_of_its_own() -> None:
    """Named with the package it is in and every version that mends it; one that is ignored hides no other."""
    found = [
        {"id": "PYSEC-1", "fix_versions": ["1.1", "2.0"]},
        {"id": "PYSEC-2"},
        {"id": "PYSEC-3", "fix_versions": ["3.0"]},
    ]
    output = answer(
        {"name": "Two.2", "version": "2.0", "vulns": []},
        {"name": "one", "version": "1.0", "vulns": found},
    )
    problems, audited = audit.advisory_problems(output, [TWO, ONE, ONE], {"PYSEC-2": "not called"})
    assert audited == "audited"
    assert [(problem.where, problem.what) for problem in problems] == [
        ("one 1.0", "has the known vulnerability PYSEC-1; fixed in 1.1, 2.0"),
        ("one 1.0", "has the known vulnerability PYSEC-3; fixed in 3.0"),
    ]


def test_what_was_answered_for_counts_beside_what_was_not() -> None:
    """The first silence gives its reason; the others are counted."""
    three = Locked(name="three", version="3.0")
    output = answer(
        {"name": "one", "version": "1.0", "vulns": [{"id": "PYSEC-1"}]},
        {"name": "Three", "skip_reason": "not on the index"},
    )
    problems, audited = audit.advisory_problems(output, [TWO, ONE, three], {})
    assert audited == "not audited"
    assert [(problem.where, problem.what) for problem in problems] == [
        ("one 1.0", "has the known vulnerability PYSEC-1; fixed in no version yet"),
        ("three 3.0 and 1 more", "could not be audited: not on the index"),
    ]


def test_an_answer_that_cannot_be_read_is_quoted_to_its_last_line() -> None:
    """A tool's traceback says the reason last; a page of it is no sentence."""
    (problem,), _ = audit.advisory_problems(f"first\n{'x' * 201}\n \n", [ONE], {})
    assert problem.where == "the whole audit"
    assert problem.what == f"ended without an answer that can be read; it printed: {'x' * 200}"
    (problem,), _ = audit.advisory_problems(" \n", [ONE], {})
    assert problem.what.endswith(" it printed: nothing")


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (answer({"name": "one", "skip_reason": "not found"}), "not found"),
        (answer(), "could not be audited: the answer does not mention it"),
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
    assert problems[0].what.endswith(says)
    assert problems[0].where in {"one 1.0", "the whole audit"}


def test_many_silences_are_one_problem() -> None:
    """An outage is said once, not a hundred times."""
    problems, _ = audit.advisory_problems(answer(), [ONE, TWO], {})
    assert [problem.where for problem in problems] == ["one 1.0 and 1 more"]


@pytest.mark.parametrize(
    ("expression", "classifiers", "stated", "licence", "source"),
    [
        ("mit", [], None, "MIT", "its License-Expression"),
        ("MIT", [f"{OSI} Apache Software License"], "PSF-2.0", "MIT", "its License-Expression"),
        ("see the file", [], "MIT", "MIT", "release/audit.toml [stated]"),
        ("", [f"{OSI} Apache Software License"], "MIT", "MIT", "release/audit.toml [stated]"),
        ("see the file", [f"{OSI} MIT License"], "so it says", "MIT", "its classifiers"),
        (None, [f"{OSI} MIT License"], None, "MIT", "its classifiers"),
        (
            None,
            [f"{OSI} MIT License", "Topic :: X", f"{OSI} Apache Software License", f"{OSI} MIT License"],
            None,
            "Apache-2.0 AND MIT",
            "its classifiers",
        ),
        (None, [f"{OSI} BSD License"], None, None, "nowhere"),
        (None, [], None, None, "nowhere"),
    ],
)
def test_licence_is_what_the_metadata_says_first(
    expression: str | None, classifiers: list[str], stated: str | None, licence: str | None, source: str
) -> None:
    """A person's word fills a gap; it does not overrule the package. Where it is from is shown."""
    assert audit.licence_of(expression, classifiers, stated) == (licence, source)


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
        ("(GPL-2.0-only WITH Classpath-exception-2.0) OR GPL-3.0-only", False),
        ("(MIT WITH Classpath-exception-2.0) AND PSF-2.0", True),
        ("GPL-3.0-only OR GPL-2.0-only OR MIT", True),
        ("MIT OR GPL-2.0-only OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only AND PSF-2.0", False),
        ("MIT AND PSF-2.0 AND MIT", True),
        ("GPL-3.0-only AND MIT OR PSF-2.0", True),
        ("GPL-3.0-only AND (MIT OR PSF-2.0)", False),
        ("MIT AND (GPL-3.0-only OR (GPL-2.0-only OR PSF-2.0))", True),
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
    problems = audit.licence_problems({"two": "GPL-3.0-only", "one": None, "fine": "MIT"}, book)
    assert [(problem.rule, problem.where) for problem in problems] == [
        ("audit.licence-known", "one"),
        ("audit.licence-allowed", "two"),
        ("audit.stated-is-needed", "release/audit.toml [stated] gone"),
    ]
    assert problems[1].what == "is under GPL-3.0-only, which is not among the allowed licences"


def test_rulebook_is_read_as_it_stands() -> None:
    """What is not said is empty."""
    book = audit.rulebook_of({"licences": ["MIT"], "ignored": {"PYSEC-1": "so"}})
    assert book == Rulebook(licences=frozenset(["MIT"]), stated={}, ignored={"PYSEC-1": "so"})


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

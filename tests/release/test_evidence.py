"""The text form of evidence: what is written is read back, and nothing else can be read."""

import datetime as dt
import json
import platform
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from release.evidence import (
    FOLDER,
    Evidence,
    Line,
    Opening,
    Outcome,
    Ran,
    Zeroth,
    decode,
    digests,
    encode,
    proof_problems,
    read_evidence,
    write_evidence,
)
from release.model import Mode, Refused
from tests.release.ledger_support import COMMIT, HERE, SDIST, WHEEL, edited, opening, rules_of
from tests.release.repo_support import NOW

WHOLE = 2**53 - 1
NAIVE = NOW.replace(tzinfo=None, microsecond=0)
WORDS = st.text("abz019.-", max_size=12).map(lambda text: f"a{text}")
TEXTS = st.text("aZ09 .:{}\"'\n\t\x00\x1f\x7f\u00e9\u20ac\u2028\ue000\U0001f600", max_size=12)
"""Everything that JSON escapes, and names whose order differs between code points and UTF-16."""
SHAS = st.text("0123456789abcdef", min_size=64, max_size=64)
INSTANTS = st.datetimes(
    min_value=NAIVE.replace(year=1970), max_value=NAIVE.replace(year=9999), timezones=st.just(dt.UTC)
).map(lambda at: at.replace(microsecond=0))
RANS = st.builds(
    Ran, kind=TEXTS, run=TEXTS, attempt=st.integers(0, WHOLE), os=TEXTS, arch=TEXTS, python=TEXTS
)
COMMON: dict[str, st.SearchStrategy[Any]] = {
    "stage": WORDS,
    "leg": WORDS,
    "outcome": st.sampled_from(Outcome),
    "subject": st.dictionaries(TEXTS, TEXTS, max_size=3),
    "figures": st.dictionaries(TEXTS, st.integers(-WHOLE, WHOLE) | TEXTS, max_size=3),
    "tools": st.dictionaries(TEXTS, TEXTS, max_size=3),
    "at": INSTANTS,
    "ran": RANS,
}


def line(**changes: object) -> Line:
    """A ledger line."""
    words: dict[str, Any] = {
        "n": 1,
        "prev": "0" * 64,
        "stage": "lint",
        "leg": "all",
        "outcome": Outcome.PASSED,
        "subject": {"commit": COMMIT},
        "figures": {"took_ms": 12, "said": "fine"},
        "tools": {"ruff": "0.1"},
        "at": NOW.replace(microsecond=0),
        "ran": HERE,
    }
    words.update(changes)
    return Line(**words)


@settings(deadline=None, max_examples=60)
@given(st.builds(Line, n=st.integers(1, WHOLE), prev=SHAS, **COMMON))
def test_a_line_is_read_back_as_it_was_written(value: Line) -> None:
    """Evidence that changes on its way through the file proves nothing."""
    assert decode(encode(value), Line) == value


@settings(deadline=None, max_examples=60)
@given(st.builds(Evidence, genesis=SHAS, **COMMON))
def test_an_evidence_file_is_read_back_as_it_was_written(value: Evidence) -> None:
    """A parallel job's word must reach the ledger unchanged."""
    assert decode(encode(value), Evidence) == value


@settings(deadline=None, max_examples=60)
@given(st.builds(Line, n=st.integers(1, WHOLE), prev=SHAS, **COMMON), st.data())
def test_a_line_with_one_other_byte_is_refused_or_another_line(value: Line, data: st.DataObject) -> None:
    """Two texts for one meaning would let an edit go unnoticed."""
    text = bytearray(encode(value))
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] ^= data.draw(st.integers(1, 255))
    try:
        read = decode(bytes(text), Line)
    except ValueError:
        return
    assert read != value
    assert encode(read) == bytes(text)


def test_line_zero_is_canonical_json_with_the_contracts_fields() -> None:
    """Other tools read the ledger by these names."""
    zeroth = Zeroth(
        at=NOW.replace(microsecond=0), **{name: getattr(opening(), name) for name in Opening.__slots__}
    )
    data = encode(zeroth)
    table = json.loads(data)
    assert rfc8785.dumps(table) == data
    assert set(table) == {
        *("v", "n", "prev", "stage", "mode", "project", "version", "tag", "tag_object", "commit", "tree"),
        *("epoch", "locks", "plan", "artifacts", "at"),
    }
    assert [artifact["name"] for artifact in table["artifacts"]] == [WHEEL.name, SDIST.name]
    assert table["at"] == "2026-03-04T05:06:07Z"
    assert decode(data, Zeroth).opening == opening()


def test_a_line_has_the_contracts_fields() -> None:
    """Other tools read the ledger by these names."""
    table = json.loads(encode(line()))
    assert set(table) == {
        *("v", "n", "prev", "stage", "leg", "outcome", "subject", "figures", "tools", "at", "ran"),
    }
    assert set(table["ran"]) == {"kind", "run", "attempt", "os", "arch", "python"}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"figures": {"took_ms": 1.5}}, id="float"),
        pytest.param({"figures": {"took_ms": 1.0}}, id="float that is whole"),
        pytest.param({"figures": {"took_ms": 2**53}}, id="integer beyond 2^53"),
        pytest.param({"figures": {"took_ms": None}}, id="null"),
        pytest.param({"at": NAIVE}, id="no time zone"),
        pytest.param({"at": NOW}, id="microseconds"),
        pytest.param({"stage": "Lint"}, id="stage not a word"),
        pytest.param({"leg": "../x"}, id="leg not a word"),
        pytest.param({"n": 0}, id="line 0"),
        pytest.param({"prev": "0"}, id="prev not a digest"),
        pytest.param({"figures": {"log": "/home/somebody/x"}}, id="path"),
        pytest.param({"tools": {"python": r"C:\Python\python.exe"}}, id="Windows path"),
        pytest.param({"subject": {"~/x": "y"}}, id="path as a name"),
        pytest.param({"figures": {"error": "open '/tmp/x' failed"}}, id="path in a sentence"),
        pytest.param({"outcome": "maybe"}, id="outcome unknown"),
    ],
)
def test_a_stages_mistake_is_not_written(changes: dict[str, Any]) -> None:
    """What could not be read again, or tells of somebody's machine, must not get into the record."""
    with pytest.raises(ValueError, match=r".+"):
        encode(line(**changes))


def test_an_address_is_no_path() -> None:
    """A figure may name where something is on the web."""
    assert encode(line(figures={"url": "https://code.example.org/x", "ratio": "1/2"}))


HANDS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "blank": (lambda text: text.replace(b":", b": ", 1), "canonical"),
    "float": (lambda text: edited(text, figures={"took_ms": 12}).replace(b":12", b":12.0"), "valid"),
    "unknown field": (lambda text: edited(text, extra=1), "extra"),
    "host": (lambda text: edited(text, ran={**json.loads(text)["ran"], "host": "x"}), "host"),
    "twice": (lambda text: text.replace(b'"leg":"all"', b'"leg":"x","leg":"all"'), "canonical"),
    "order": (lambda text: b'{"v":1,' + text[1:].replace(b',"v":1', b""), "canonical"),
    "no Z": (lambda text: text.replace(b"Z", b"+00:00"), "canonical"),
    "version": (lambda text: edited(text, v=2), "v"),
    "fraction": (lambda text: edited(text, at="2026-03-04T05:06:07.5Z"), "canonical"),
    "time as a number": (lambda text: edited(text, at=1), "at"),
    "huge": (lambda text: text.replace(b'"took_ms":12', b'"took_ms":' + b"9" * 30), ""),
    "not UTF-8": (lambda text: text.replace(b"fine", b"\xff"), ""),
    "escape": (lambda text: text.replace(b"fine", rb"fi\u006ee"), "canonical"),
    "list": (lambda _: b"[]", ""),
    "empty": (lambda _: b"", ""),
    "cut short": (lambda text: text[:-1], ""),
    "trailing blank": (lambda text: text + b" ", "canonical"),
    "path": (lambda text: edited(text, figures={"log": "/home/x"}), "place"),
}
"""What somebody may do to a line, and a word of the refusal."""


@pytest.mark.parametrize("hand", HANDS)
def test_what_would_not_have_been_written_is_not_read(hand: str) -> None:
    """A hand in the file, or another program's, shows."""
    change, says = HANDS[hand]
    with pytest.raises(ValueError, match=r".+") as caught:
        decode(change(encode(line())), Line)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"artifacts": (WHEEL, WHEEL)}, f"{WHEEL.name}, {WHEEL.name}", id="one name twice"),
        pytest.param({"artifacts": ()}, "no artefact", id="nothing"),
        pytest.param({"artifacts": (replace(WHEEL, sha256="C" * 64),)}, "64", id="digest in upper case"),
        pytest.param({"tag": "v0.1.0"}, "a tag has its object", id="tag without object"),
        pytest.param({"tag_object": "e" * 40}, "a tag has its object", id="object without tag"),
        pytest.param(
            {"mode": Mode.RELEASE, "tag": "", "tag_object": ""},
            "a release has a tag",
            id="release without tag",
        ),
    ],
)
def test_an_opening_that_makes_no_sense_cannot_be_made(changes: dict[str, Any], says: str) -> None:
    """A ledger opened on nonsense would bind every gate to it."""
    with pytest.raises(ValueError, match=re.escape(says)):
        opening(**changes)


@pytest.mark.parametrize("mode", list(Mode))
def test_an_opening_may_have_a_tag_in_either_mode(mode: Mode) -> None:
    """A rehearsal of a tag is a rehearsal."""
    assert opening(mode=mode, tag="v0.1.0", tag_object="e" * 40).tag == "v0.1.0"


def test_a_path_in_a_list_is_found() -> None:
    """The artefacts of line 0 are a list, and one of them could be named by its place."""
    there = opening(artifacts=(replace(WHEEL, name="/home/x.whl"), SDIST))
    zeroth = Zeroth(
        at=NOW.replace(microsecond=0), **{name: getattr(there, name) for name in Opening.__slots__}
    )
    with pytest.raises(ValueError, match=r"^names a place on a machine: '/home/x\.whl'$"):
        encode(zeroth)


def test_every_defect_of_a_line_is_told_on_a_line_of_its_own() -> None:
    """With the path to each field."""
    with pytest.raises(ValueError, match=r"^ran\.attempt: .+\nran\.os: .+$"):
        decode(
            edited(encode(line()), ran={**json.loads(encode(line()))["ran"], "attempt": -1, "os": 1}), Line
        )
    with pytest.raises(ValueError, match=r"^names a place .+\nnames a place .+'$"):
        decode(edited(encode(line()), figures={"a": "/home/x", "b": "/home/y"}), Line)


def test_what_would_be_read_back_as_something_else_is_shown() -> None:
    """The stage's author sees which figure it was."""
    with pytest.raises(ValueError, match=r'^would be read back as something else: \{.*"leg":"all"'):
        encode(line(at=NOW))


def test_a_proof_keeps_its_words_on_the_way_into_a_ledger() -> None:
    """From the stage to the file of its job; `collect` appends what it reads there."""
    whole = line()
    found = Evidence.of(whole, genesis="1" * 64)
    assert (found.genesis, *(getattr(found, name) for name in COMMON)) == (
        "1" * 64,
        *(getattr(whole, name) for name in COMMON),
    )


def test_a_proof_that_does_not_belong_is_told_with_what_would() -> None:
    """Of a stage that is planned, its legs are named; of files, what the ledger is about."""
    opened = opening(plan={"test": ("3.12", "3.13")})
    proof = line(
        stage="test", leg="3.12", subject={"commit": COMMIT, "tree": opened.tree, WHEEL.name: WHEEL.sha256}
    )
    assert proof_problems(opened, proof, where="here") == []
    problems = proof_problems(
        opened, line(stage="test", leg="3.14", subject={"x": "y", "commit": "z"}), where="here"
    )
    assert [(each.rule, each.where) for each in problems] == [
        ("ledger.in-plan", "here"),
        ("ledger.same-subject", "here"),
        ("ledger.same-subject", "here"),
    ]
    assert problems[0].what.endswith("(its legs there: 3.12, 3.13)")
    assert problems[1].what == "is about x y, the ledger is about nothing of that name"
    assert problems[2].what == f"is about commit z, the ledger is about {COMMIT}"
    (unplanned,) = proof_problems(opened, line(stage="moon"), where="here")
    assert unplanned.what.endswith("(its legs there: none)")


def test_digests_are_of_the_list_whatever_its_order() -> None:
    """Two jobs with the same files must hand on the same digest, and other files another."""
    assert digests((WHEEL, SDIST)) == digests((SDIST, WHEEL))
    assert digests((WHEEL,)) != digests((WHEEL, SDIST))


def test_ran_tells_the_run_but_never_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No host, user or path gets into a ledger that is published."""
    here = Ran.here({"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "77", "GITHUB_RUN_ATTEMPT": "3"})
    assert (here.kind, here.run, here.attempt) == ("github-actions", "77", 3)
    local = Ran.here({"GITHUB_RUN_ID": "77", "GITHUB_RUN_ATTEMPT": "3"})
    assert (local.kind, local.run, local.attempt) == ("local", "", 1)
    assert Ran.here({}) == local == Ran.here()
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    monkeypatch.setattr(platform, "python_version", lambda: "3.12.1")
    bare = Ran.here({"GITHUB_ACTIONS": "true"})
    assert bare == Ran(kind="github-actions", run="", attempt=1, os="linux", arch="amd64", python="3.12.1")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert Ran.here().kind == "github-actions"
    assert (Ran.here({"GITHUB_ACTIONS": "true", "GITHUB_RUN_ATTEMPT": "x"}).attempt) == 1


def evidence() -> Evidence:
    """A lint job's word."""
    whole = line()
    common = {name: getattr(whole, name) for name in COMMON}
    return Evidence(genesis="0" * 64, **common)


def test_an_evidence_file_is_named_by_its_leg_and_replaced_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A re-run of a job must leave one file, never half of one."""
    folder, begun = tmp_path / "ledger", list[str]()
    real = Path.replace

    def replaced(self: Path, target: Path) -> Path:
        begun.extend(each.name for each in target.parent.iterdir() if each.suffix != ".json")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replaced)
    path = write_evidence(folder, evidence())
    assert path == folder / FOLDER / "lint-all.json"
    assert write_evidence(folder, evidence()) == path
    assert len(begun) == 2, "it is written beside its place, on the same disk"
    assert all(name.startswith(".") for name in begun)
    assert [each.name for each in path.parent.iterdir()] == ["lint-all.json"]
    assert path.read_bytes() == encode(evidence()) + b"\n"
    assert read_evidence(path) == evidence()


@pytest.mark.parametrize(
    "data",
    [b"", b"{}\n", encode(evidence()) + b"\n\n", encode(evidence())[:-9], encode(line()) + b"\n"],
    ids=["empty", "no field", "two line feeds", "cut short", "a ledger line"],
)
def test_an_evidence_file_of_another_form_is_refused(tmp_path: Path, data: bytes) -> None:
    """An upload cut short or edited must not become a ledger line."""
    path = tmp_path / "lint-all.json"
    path.write_bytes(data)
    with pytest.raises(Refused) as caught:
        read_evidence(path)
    assert rules_of(caught.value) == ["evidence.readable"]
    assert caught.value.problems[0].what != "None"


def test_evidence_that_cannot_be_written_is_refused_with_its_place(tmp_path: Path) -> None:
    """A full disk is a refusal a person can act on, not a traceback."""
    (tmp_path / FOLDER).write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(Refused) as caught:
        write_evidence(tmp_path, evidence())
    assert rules_of(caught.value) == ["evidence.written"]

"""Which wheel the gates look at: the ledger's with its bytes, or one built from the tree."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from release.gates.candidate import candidate, install
from release.ledger import Ledger
from release.model import Refused
from release.rules.archives import digest_of
from tests.release.gates.support import ScriptedRunner, make_context
from tests.release.ledger_support import SDIST, WHEEL, create, rules_of

DATA = b"the wheel"


def nothing(words: list[str], env: object) -> tuple[int, str]:
    raise AssertionError(f"{words} was run with {env}")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger whose wheel lies in `dist/`."""
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / WHEEL.name).write_bytes(DATA)
    return create(tmp_path / "ledger", artifacts=(SDIST, replace(WHEEL, sha256=digest_of(DATA))))


def test_the_ledgers_wheel_is_taken_as_it_is(ledger: Ledger, tmp_path: Path) -> None:
    """Nothing is built where there is a ledger."""
    context, _ = make_context(tmp_path, ScriptedRunner(nothing))
    assert candidate(context, ledger, tmp_path) == (tmp_path / "dist" / WHEEL.name, "the ledger's wheel")


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_wheel_that_is_not_the_ledgers_is_refused(ledger: Ledger, tmp_path: Path, damage: str) -> None:
    """Neither is made up for by building another one."""
    path = tmp_path / "dist" / WHEEL.name
    path.unlink()
    if damage == "changed":
        path.write_bytes(DATA + b"\0")
    context, _ = make_context(tmp_path, ScriptedRunner(nothing))
    with pytest.raises(Refused) as caught:
        candidate(context, ledger, tmp_path)
    assert rules_of(caught.value) == ["candidate.is-the-ledgers"]


def test_a_wheel_is_built_from_the_tree_where_there_is_no_ledger(tmp_path: Path) -> None:
    """By the backend that is locked, in a folder of its own."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def built(words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        del env
        (Path(words[words.index("--outdir") + 1]) / WHEEL.name).touch()
        return 0, ""

    runner = ScriptedRunner(built)
    context, _ = make_context(tmp_path, runner)
    assert candidate(context, None, scratch) == (scratch / WHEEL.name, "a wheel built from the tree")
    [words] = runner.asked
    assert words[:3] == [sys.executable, "-m", "build"]
    assert {"--wheel", "--no-isolation"} <= set(words)
    assert words[-1] == str(tmp_path)
    assert runner.folders == [tmp_path]


def test_a_tree_that_does_not_build_is_refused(tmp_path: Path) -> None:
    """In the backend's own words."""
    context, _ = make_context(tmp_path, ScriptedRunner(lambda _words, _env: (1, "the backend said no")))
    with pytest.raises(Refused, match="the backend said no") as caught:
        candidate(context, None, tmp_path)
    assert rules_of(caught.value) == ["candidate.builds"]
    assert caught.value.problems[0].where == "pyproject.toml"


def test_the_wheel_takes_the_place_of_an_earlier_one_and_brings_nothing_along(tmp_path: Path) -> None:
    """Into the environment the gate runs in, and without an index: what is tested is this file alone."""
    runner = ScriptedRunner(lambda _words, _env: (0, ""))
    context, _ = make_context(tmp_path, runner)
    install(context, tmp_path / WHEEL.name)
    [words] = runner.asked
    assert words[:5] == [sys.executable, "-m", "uv", "pip", "install"]
    assert set(words[5:-1]) == {
        *("--quiet", "--offline", "--no-deps", "--reinstall"),
        f"--python={sys.executable}",
    }
    assert words[-1] == str(tmp_path / WHEEL.name)
    assert runner.folders == [tmp_path]


def test_a_wheel_that_does_not_install_is_refused(tmp_path: Path) -> None:
    """A gate that went on would look at the candidate that was there before."""
    context, _ = make_context(tmp_path, ScriptedRunner(lambda _words, _env: (1, "the installer said no")))
    with pytest.raises(Refused, match="the installer said no") as caught:
        install(context, tmp_path / WHEEL.name)
    assert rules_of(caught.value) == ["candidate.installs"]
    assert caught.value.problems[0].where == WHEEL.name

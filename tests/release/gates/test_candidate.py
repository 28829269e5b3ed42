"""Which wheel the gates look at: the ledger's with its bytes, or one built from the tree."""

from dataclasses import replace
from pathlib import Path

import pytest

from release.gates.candidate import candidate
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

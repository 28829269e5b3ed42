"""What a job hands on is what the next one is told to expect."""

from pathlib import Path

import pytest

from release.ledger import Ledger
from release.model import Refused
from release.outputs import hand_on
from tests.release.ledger_support import add, create


def test_hand_on_names_the_last_line_and_the_artefact_list(tmp_path: Path) -> None:
    """The head moves with every line; the digests stay. Both are appended, as GitHub Actions asks."""
    ledger, target = create(tmp_path / "ledger"), tmp_path / "output"
    target.write_text("before=1\n", encoding="utf-8")
    first = hand_on(tmp_path / "ledger", {"GITHUB_OUTPUT": str(target)})
    add(ledger, "lint")
    second = hand_on(tmp_path / "ledger", {"GITHUB_OUTPUT": str(target)})
    assert first == {"head": ledger.genesis, "digests": ledger.digests}
    assert second == {"head": Ledger.read(tmp_path / "ledger").head, "digests": ledger.digests}
    assert second["head"] != first["head"]
    assert target.read_text(encoding="utf-8").splitlines() == [
        "before=1",
        f"head={first['head']}",
        f"digests={first['digests']}",
        f"head={second['head']}",
        f"digests={second['digests']}",
    ]


def test_hand_on_is_silent_outside_a_workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a laptop there is nobody to hand on to; in a workflow the process' own environment says where to."""
    ledger, target = create(tmp_path / "ledger"), tmp_path / "output"
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    assert hand_on(tmp_path / "ledger") == {}
    assert hand_on(tmp_path / "ledger", {"GITHUB_OUTPUT": ""}) == {}
    monkeypatch.setenv("GITHUB_OUTPUT", str(target))
    assert hand_on(tmp_path / "ledger") == {"head": ledger.head, "digests": ledger.digests}
    assert target.exists()


def test_hand_on_without_a_ledger_hands_on_nothing(tmp_path: Path) -> None:
    """A session that opened no ledger, such as lint of a pull request, writes no output."""
    target = tmp_path / "output"
    assert hand_on(tmp_path / "ledger", {"GITHUB_OUTPUT": str(target)}) == {}
    assert not target.exists()


def test_hand_on_refuses_a_broken_ledger(tmp_path: Path) -> None:
    """A broken chain is handed on to nobody."""
    add(create(tmp_path / "ledger"), "lint")
    path, target = tmp_path / "ledger/ledger.jsonl", tmp_path / "output"
    path.write_bytes(path.read_bytes().replace(b'"demo"', b'"Demo"'))
    with pytest.raises(Refused):
        hand_on(tmp_path / "ledger", {"GITHUB_OUTPUT": str(target)})
    assert not target.exists()

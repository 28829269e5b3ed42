"""Which line of a ledger counts: the last of its leg, behind its upload, and an audit for a day."""

import datetime as dt
from pathlib import Path

import pytest

from release.evidence import Outcome
from release.model import Mode
from tests.release.ledger_support import (
    add,
    create,
)
from tests.release.repo_support import NOW


def test_only_the_last_line_of_a_leg_counts(tmp_path: Path) -> None:
    """A failure after a success is a failure; a success after a failure is one."""
    ledger = create(tmp_path)
    assert ledger.latest("lint") is None
    assert not ledger.passed("lint")
    add(ledger, "lint")
    assert ledger.passed("lint")
    add(ledger, "test", "3.12", outcome=Outcome.FAILED)
    assert not ledger.passed("test", "3.12")
    assert ledger.passed("lint")
    add(ledger, "lint", outcome=Outcome.FAILED)
    assert not ledger.passed("lint")
    add(ledger, "lint")
    assert ledger.passed("lint")
    assert (ledger.latest("lint") or ledger.lines[0]).n == 4


@pytest.mark.parametrize(("mode", "counts"), [(Mode.REHEARSAL, True), (Mode.RELEASE, False)])
def test_a_sample_counts_in_a_rehearsal_only(tmp_path: Path, mode: Mode, counts: bool) -> None:
    """A release rests on the whole work."""
    ledger = create(tmp_path, mode=mode)
    leg = ledger.opening.plan["mutation"][0]
    add(ledger, "mutation", leg, outcome=Outcome.SAMPLE)
    assert ledger.passed("mutation", leg) is counts


def test_a_smoke_counts_when_it_follows_its_own_upload(tmp_path: Path) -> None:
    """A smoke of what stood on the index before the upload proves nothing about these files."""
    ledger = create(tmp_path)
    add(ledger, "smoke", "local")
    add(ledger, "smoke", "testpypi")
    assert ledger.passed("smoke", "local")
    assert not ledger.passed("smoke", "testpypi")
    assert not ledger.uploaded()
    add(ledger, "testpypi")
    assert ledger.uploaded()
    assert not ledger.passed("smoke", "testpypi")
    add(ledger, "smoke", "testpypi")
    assert ledger.passed("smoke", "testpypi")
    add(ledger, "smoke", "pypi")
    assert not ledger.passed("smoke", "pypi")
    add(ledger, "testpypi", outcome=Outcome.FAILED)
    add(ledger, "smoke", "testpypi")
    assert not ledger.passed("smoke", "testpypi")


def test_age_matters_to_an_audit_only(tmp_path: Path) -> None:
    """Advisories change by the day; a lint of this commit stays true."""
    ledger = create(tmp_path)
    add(ledger, "lint")
    add(ledger, "audit")
    at = NOW.replace(microsecond=0)
    assert ledger.passed("lint", now=at + dt.timedelta(days=3650))
    assert ledger.passed("audit", now=at)
    assert ledger.passed("audit", now=at + dt.timedelta(hours=24, seconds=-1))
    assert not ledger.passed("audit", now=at + dt.timedelta(hours=24))
    assert not ledger.passed("audit", now=at - dt.timedelta(seconds=1))
    assert not ledger.passed("audit")

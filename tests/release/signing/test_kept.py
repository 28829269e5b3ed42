"""The attestations of an upload: made once, kept beside the ledger, checked before anything is sent."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pypi_attestations import Attestation

from release.environments import scrubbed
from release.model import Kind, Refused
from release.rehearsal.sigstore.trust import AUTHORITY_HOST
from release.rehearsal.world import World
from release.runner import Finished
from release.signing import kept
from release.signing.signer import SUFFIX
from tests.release import publish_support
from tests.release.conftest import Drilled
from tests.release.ledger_support import rules_of
from tests.release.publish_support import Release, refused, tagged
from tests.release.rehearsal.support import FACTS, SDIST_NAME, WHEEL_NAME
from tests.release.repo_support import context_on
from tests.release.signing.support import Signing
from tests.release.workflow_support import ROOT

running, uploadable, release = publish_support.running, publish_support.uploadable, publish_support.release

OTHER_WORKFLOW = f"{FACTS.owner}/{FACTS.repository}/.github/workflows/ci.yml@refs/tags/v1.0"


def folder(release: Release) -> Path:
    return release.root / "ledger" / kept.FOLDER


def attested(release: Release, names: Sequence[str] = (WHEEL_NAME, SDIST_NAME)) -> None:
    """PyPI has these files, each with its attestation."""
    stored = release.index("pypi").projects["demo-project"].files
    assert {name for name, file in stored.items() if file.provenance} == set(names)


def test_what_goes_to_pypi_is_signed_and_kept(release: Release) -> None:
    """One attestation a file: uploaded with it, and left in the ledger's folder for whoever asks later."""
    release.gates()
    release.job("pypi")
    report = release.run("pypi")
    assert report.figures["signed"] == 2
    attested(release)
    assert sorted(path.name for path in folder(release).iterdir()) == [
        WHEEL_NAME + SUFFIX,
        SDIST_NAME + SUFFIX,
    ]
    said = {each.what: each.found for each in report.checked}
    assert said["attestations"].startswith("2 signed as this job")
    (line,) = [line for line in release.reread().lines if line.stage == "pypi"]
    assert (line.figures["signed"], line.figures["publisher"]) == (2, "trusted")
    assert set(line.tools) == {"twine", "pypi-attestations", "sigstore"}


def test_what_goes_to_testpypi_is_not_signed(release: Release) -> None:
    """A signed file could be taken from there and brought to PyPI."""
    release.job("testpypi")
    report = release.run("testpypi")
    assert report.figures["signed"] == 0
    assert all(
        not file.provenance for file in release.index("testpypi").projects["demo-project"].files.values()
    )
    assert not folder(release).exists()
    said = {each.what: each.found for each in report.checked}
    assert "replayed" in said["attestations"]


def test_a_token_uploads_without_signatures(release: Release) -> None:
    """PyPI takes attestations from jobs alone, now or later; the line says it."""
    release.gates()
    index = release.index("pypi")
    index.create("demo-project")
    release.patch.setenv("TWINE_PASSWORD", index.token("demo-project"))
    report = release.run("pypi")
    assert (report.figures["signed"], report.figures["publisher"]) == (0, "token")
    said = {each.what: each.found for each in report.checked}
    assert "trusted publishing only" in said["attestations"]
    assert not folder(release).exists()


def test_a_second_run_takes_what_the_first_one_signed(release: Release, running: World) -> None:
    """The index took the sdist and was cut off: the wheel's attestation is there and goes with it."""
    release.gates()
    release.job("pypi")
    release.run("pypi")
    index = release.index("pypi")
    index.projects["demo-project"].files.pop(WHEEL_NAME)
    index.projects["demo-project"].used.pop(WHEEL_NAME)
    before, entries = (folder(release) / (WHEEL_NAME + SUFFIX)).read_bytes(), len(running.log.entries)
    release.job("pypi")
    report = release.run("pypi")
    assert (report.figures["uploaded"], report.figures["signed"]) == (1, 1)
    attested(release)
    assert (folder(release) / (WHEEL_NAME + SUFFIX)).read_bytes() == before
    assert len(running.log.entries) == entries


def test_sigstore_down_is_not_yet_and_nothing_is_sent(
    release: Release, running: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyPI takes an attestation with its file or never: without one the file waits."""
    release.gates()
    release.job("pypi")
    with monkeypatch.context() as patch:
        patch.delitem(running.proxy.routes, AUTHORITY_HOST)
        found = refused(release, "pypi")
    assert (found.kind, rules_of(found)) == (Kind.NOT_YET, ["attestation.signed"])
    assert release.index("pypi").projects == {}
    release.job("pypi")
    assert release.run("pypi").figures["signed"] == 2


def test_a_job_that_sigstore_refuses_is_refused(release: Release) -> None:
    """Its token is of an issuer that nobody knows."""
    release.gates()
    release.job("pypi", iss="https://example.org")
    found = refused(release, "pypi")
    assert (found.kind, rules_of(found)) == (Kind.REFUSED, ["attestation.signed"])
    assert release.index("pypi").projects == {}


def test_what_is_no_attestation_is_refused(release: Release) -> None:
    """A torn file from a fetched artefact, for example; nothing is sent."""
    release.gates()
    release.job("pypi")
    folder(release).mkdir()
    (folder(release) / (WHEEL_NAME + SUFFIX)).write_bytes(b"{")
    found = refused(release, "pypi")
    assert rules_of(found) == ["attestation.ours"]
    assert "is no attestation" in found.problems[0].what
    assert release.index("pypi").projects == {}


@pytest.mark.drill
def test_drill_an_attestation_for_other_bytes(release: Release, drilled: Drilled) -> None:
    """It is signed by the right job, for the right commit, under the right name."""
    release.gates()
    folder(release).mkdir()
    signing = Signing(world=release.world, folder=folder(release))
    signed = signing.sign(WHEEL_NAME, b"other bytes", sha=release.ledger.opening.commit)
    assert isinstance(signed, Attestation)
    (folder(release) / WHEEL_NAME).unlink()
    release.job("pypi")
    drilled("an attestation for other bytes", rules_of(refused(release, "pypi")))
    assert release.index("pypi").projects == {}


@pytest.mark.drill
@pytest.mark.parametrize(
    ("drill", "claims"),
    [
        ("a signature of another repository", {"repository": f"{FACTS.owner}/fork"}),
        (
            "a signature of another workflow",
            {"workflow_ref": OTHER_WORKFLOW},
        ),
    ],
)
def test_drill_a_signature_of_somebody_else(
    release: Release, drilled: Drilled, drill: str, claims: dict[str, str]
) -> None:
    """Seen before anything is sent: PyPI is not asked for a token."""
    release.gates()
    release.job("pypi", **claims)
    before = len(release.index("pypi").refusals)
    drilled(drill, rules_of(refused(release, "pypi")))
    assert release.index("pypi").refusals[before:] == []
    assert release.index("pypi").projects == {}


@pytest.mark.drill
def test_drill_a_signature_for_another_tag(release: Release, drilled: Drilled) -> None:
    """The same commit, another name: an older release's signature does not stand for this one."""
    tagged(release)
    release = replace(release, ledger=release.reread())
    release.gates()
    folder(release).mkdir()
    signing = Signing(world=release.world, folder=folder(release))
    data = (release.root / "dist" / WHEEL_NAME).read_bytes()
    signing.sign(WHEEL_NAME, data, ref="refs/tags/v0.9", sha=release.ledger.opening.commit)
    (folder(release) / WHEEL_NAME).unlink()
    release.job("pypi")
    drilled("a signature for another tag", rules_of(refused(release, "pypi")))
    assert release.index("pypi").projects == {}


def test_the_signer_is_given_the_grant_and_nothing_of_this_process(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs from the release tools' own folder, in a scrubbed environment, shown, and for two minutes."""
    monkeypatch.setenv("TWINE_PASSWORD", "secret")
    given: list[dict[str, object]] = []

    def runner(argv: Sequence[str | os.PathLike[str]], **settings: object) -> Finished:
        words = [os.fspath(word) for word in argv]
        given.append({"words": words, **settings})
        return Finished(argv=words, code=124, stdout="", stderr="too slow", took_ms=0)

    context = replace(context_on(release.root), runner=runner)
    files, grant = [tmp_path / WHEEL_NAME], {"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x"}
    with pytest.raises(Refused) as caught:
        kept.attested_files(context, release.ledger, files, grant, tmp_path)
    assert (caught.value.kind, rules_of(caught.value)) == (Kind.NOT_YET, ["attestation.signed"])
    assert given == [
        {
            "words": [
                *(sys.executable, "-E", "-s", "-m", "release.signing.signer"),
                *(f"--trust={release.world.trust}", f"--out={folder(release)}", str(files[0])),
            ],
            "cwd": ROOT,
            "env": scrubbed(tmp_path, **grant),
            "show": True,
            "timeout_s": 120.0,
        }
    ]

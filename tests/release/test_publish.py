"""The upload stages against the embedded world: what is sent, what is refused, what a second run does."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from release import publish
from release.context import Options
from release.indexes import IndexName
from release.ledger import Ledger, Outcome
from release.model import Kind, Mode, Refused
from release.rules.archives import measure
from tests.release import publish_support
from tests.release.conftest import Drilled
from tests.release.ledger_support import add, edited, rewrite, rules_of
from tests.release.publish_support import GATES, PUBLISHER, Release, refused, tagged
from tests.release.rehearsal.support import (
    FACTS,
    SDIST_NAME,
    WHEEL,
    WHEEL_NAME,
    sdist_members,
    tarred,
)
from tests.release.repo_support import NOW, context_on

running, uploadable, release = publish_support.running, publish_support.uploadable, publish_support.release


def test_upload_then_again(release: Release) -> None:
    """The first run uploads and records it; the second finds the digests and sends nothing."""
    release.job("testpypi")
    report = release.run("testpypi")
    assert report.kind is Kind.DONE
    assert (report.figures["uploaded"], report.figures["publisher"]) == (2, "trusted")
    files = release.index("testpypi").projects["demo-project"].files
    artifacts = release.ledger.opening.artifacts
    assert {file.name: file.sha256 for file in files.values()} == {
        each.name: each.sha256 for each in artifacts
    }
    (line,) = release.reread().lines
    assert (line.stage, line.leg, line.outcome) == ("testpypi", "all", "passed")
    assert line.subject == {each.name: each.sha256 for each in artifacts}
    assert line.figures["publisher"] == "trusted"
    again = release.run("testpypi")
    assert (again.kind, again.figures["uploaded"], again.figures["present"]) == (Kind.DONE, 0, 2)
    assert len(release.reread().lines) == 1
    assert release.index("pypi").projects == {}


def test_upload_goes_on_where_it_was_cut_short(release: Release) -> None:
    """One file is there, nothing is recorded: only the other one is sent, then the line is written."""
    release.job("testpypi")
    release.run("testpypi")
    index = release.index("testpypi")
    index.projects["demo-project"].files.pop(SDIST_NAME)
    index.projects["demo-project"].used.clear()
    (release.root / "ledger" / "ledger.jsonl").unlink()
    Ledger.create(release.root / "ledger", release.ledger.opening, at=NOW)
    release.job("testpypi")
    report = release.run("testpypi")
    assert (report.figures["uploaded"], report.figures["present"]) == (1, 1)
    assert release.reread().passed("testpypi")


def test_upload_refuses_other_bytes_on_the_index(release: Release) -> None:
    """Other bytes under the name are refused before anything is sent, naming both digests."""
    release.job("testpypi")
    release.run("testpypi")
    stored = release.index("testpypi").projects["demo-project"].files
    stored[WHEEL_NAME] = replace(stored[WHEEL_NAME], sha256="0" * 64)
    release.job("testpypi")
    found = refused(release, "testpypi")
    assert rules_of(found) == ["index.digest"]
    assert "0" * 64 in found.problems[0].what
    assert measure(release.root / "dist" / WHEEL_NAME).sha256 in found.problems[0].what


def test_upload_needs_credentials(release: Release) -> None:
    """Without a job's grant or a token nothing is tried and nothing recorded."""
    assert rules_of(refused(release, "testpypi")) == ["publish.credentials"]
    assert release.reread().lines == ()


def test_upload_is_refused_in_another_environment(release: Release) -> None:
    """The index's own reason reaches the person, and the attempt stands in the ledger."""
    release.job("pypi")
    found = refused(release, "testpypi")
    assert (rules_of(found), found.kind) == (["publish.uploaded"], Kind.REFUSED)
    assert "invalid-publisher" in found.problems[0].what
    assert [line.outcome for line in release.reread().lines] == ["failed"]


def test_index_that_is_down_is_not_yet(release: Release) -> None:
    """A dead index asks for patience in one sentence, and the ledger is as before."""
    release.job("testpypi")
    release.index("testpypi").down = True
    found = refused(release, "testpypi")
    assert (rules_of(found), found.kind) == (["index.up"], Kind.NOT_YET)
    assert release.reread().lines == ()


def test_upload_refuses_files_that_are_not_the_ledgers(release: Release) -> None:
    """A flipped byte, an extra file and a missing one are all named before the index is asked."""
    (release.root / "dist" / WHEEL_NAME).write_bytes(WHEEL + b"\0")
    (release.root / "dist" / "extra.whl").touch()
    (release.root / "dist" / SDIST_NAME).unlink()
    found = refused(release, "testpypi")
    assert sorted(problem.where for problem in found.problems) == [
        f"dist/{WHEEL_NAME}",
        f"dist/{SDIST_NAME}",
        "dist/extra.whl",
    ]
    assert release.world.indexes[IndexName.TESTPYPI].projects == {}


def test_upload_refuses_a_missing_dist(release: Release) -> None:
    """No files at all is said as such."""
    for path in (release.root / "dist").iterdir():
        path.unlink()
    (release.root / "dist").rmdir()
    assert rules_of(refused(release, "testpypi")) == ["publish.dist"]


def test_pypi_takes_what_every_gate_has_seen(release: Release) -> None:
    """With all evidence in the ledger the same bytes go to PyPI; a sample counts in a rehearsal."""
    release.gates()
    release.job("pypi")
    assert release.run("pypi").figures["uploaded"] == 2
    assert release.index("pypi").content(WHEEL_NAME) == WHEEL
    assert release.reread().passed("pypi")


@pytest.mark.parametrize("missing", [*GATES, ("mutation", "all"), ("testpypi", "all"), ("smoke", "testpypi")])
def test_pypi_refuses_without_any_one_gate(release: Release, missing: tuple[str, str]) -> None:
    """Each gate alone keeps the release from PyPI when it is missing."""
    release.gates(but=missing)
    release.job("pypi")
    found = refused(release, "pypi")
    places = [problem.where for problem in found.problems]
    assert places[0] == " ".join(missing)
    # A smoke counts only behind an upload.
    assert places[1:] == (["smoke testpypi"] if missing == ("testpypi", "all") else [])
    assert release.index("pypi").projects == {}


def test_pypi_refuses_a_smoke_that_came_before_the_upload(release: Release) -> None:
    """What was smoked must be what was uploaded last."""
    release.gates()
    add(release.ledger, "testpypi")
    release.job("pypi")
    assert [problem.where for problem in refused(release, "pypi").problems] == ["smoke testpypi"]


def test_upload_takes_a_tag_that_stands(release: Release) -> None:
    """The tag is where it was when the ledger was opened."""
    tagged(release)
    release.job("testpypi")
    assert release.run("testpypi").kind is Kind.DONE


@pytest.mark.parametrize("moved", ["moved", "removed"])
def test_upload_refuses_a_moved_tag(release: Release, moved: str) -> None:
    """Somebody moved or removed the tag at origin after the build: nothing is sent."""
    tagged(release)
    release.repo.git("push", "--quiet", "--delete", "origin", "v1.0")
    if moved == "moved":
        release.repo.git("tag", "--delete", "v1.0")
        release.repo.git("commit", "--quiet", "--allow-empty", "--message", "Other")
        release.repo.sign("v1.0")
        release.repo.git("push", "--quiet", "origin", "v1.0")
        release.repo.git("reset", "--quiet", "--hard", "HEAD~1")
    release.job("testpypi")
    assert set(rules_of(refused(release, "testpypi"))) == {"tag.not-moved"}
    assert release.world.indexes[IndexName.TESTPYPI].projects == {}


def test_upload_refuses_another_projects_ledger(release: Release) -> None:
    """The publisher is for one project; a ledger of another one is stopped here."""
    release.repo.write(
        "release/publisher.toml", PUBLISHER.replace('project = "demo-project"', 'project = "other"')
    )
    assert rules_of(refused(release, "testpypi")) == ["publish.project"]


def test_a_persons_token_is_used_and_said(release: Release) -> None:
    """With TWINE_PASSWORD the line says so, since PyPI then takes no attestations."""
    release.index("testpypi").create("demo-project")
    release.patch.setenv("TWINE_PASSWORD", release.index("testpypi").token("demo-project"))
    release.patch.setenv("TWINE_REPOSITORY_URL", "https://elsewhere.invalid/")
    assert release.run("testpypi").figures["publisher"] == "token"
    assert {file.publisher for file in release.index("testpypi").projects["demo-project"].files.values()} == {
        "token"
    }
    assert release.reread().lines[0].figures["publisher"] == "token"


def flipped(dist: Path) -> None:
    data = bytearray((dist / WHEEL_NAME).read_bytes())
    data[len(data) // 2] ^= 1
    (dist / WHEEL_NAME).write_bytes(data)


def extra(dist: Path) -> None:
    (dist / "demo_project-1.1.tar.gz").write_bytes(b"x")


def swapped(dist: Path) -> None:
    members = sdist_members() | {"demo_project-1.0/demo_project/__init__.py": b'"""Another one."""\n'}
    (dist / SDIST_NAME).write_bytes(tarred(members))


@pytest.mark.drill
@pytest.mark.parametrize("stage", ["testpypi", "pypi"])
@pytest.mark.parametrize(
    ("drill", "tamper"),
    [
        ("a flipped byte between stages", flipped),
        ("an extra file in dist", extra),
        ("a swapped sdist", swapped),
    ],
)
def test_drill_files_tampered_with_between_stages(
    release: Release, drilled: Drilled, drill: str, tamper: Callable[[Path], object], stage: str
) -> None:
    """The job behind the build gets other files: neither index is sent anything."""
    release.gates()
    release.job(stage)
    tamper(release.root / "dist")
    found = refused(release, stage)
    assert len(found.problems) == 1
    drilled(drill, rules_of(found))
    assert release.index(stage).projects == {}


@pytest.mark.drill
def test_drill_a_moved_tag(release: Release, drilled: Drilled) -> None:
    """Somebody signs the tag again, on another commit, between build and upload."""
    tagged(release)
    release.repo.git("push", "--quiet", "--delete", "origin", "v1.0")
    release.repo.git("tag", "--delete", "v1.0")
    release.repo.git("commit", "--quiet", "--allow-empty", "--message", "Other")
    release.repo.sign("v1.0")
    release.repo.git("push", "--quiet", "origin", "v1.0")
    release.repo.git("reset", "--quiet", "--hard", "HEAD~1")
    release.job("testpypi")
    drilled("a moved tag", rules_of(refused(release, "testpypi")))
    assert release.index("testpypi").projects == {}


@pytest.mark.drill
def test_drill_an_edited_ledger_line(release: Release, drilled: Drilled) -> None:
    """A failed gate made a passed one: the next line no longer follows from it."""
    release.gates(outcome=Outcome.FAILED)
    folder = release.root / "ledger"
    rewrite(folder, lambda lines: [*lines[:2], edited(lines[2], outcome="passed"), *lines[3:]])
    release.job("pypi")
    drilled("an edited ledger line", rules_of(refused(release, "pypi")))
    assert release.index("pypi").projects == {}


@pytest.mark.drill
def test_drill_a_rewritten_ledger(release: Release, drilled: Drilled) -> None:
    """A whole new chain is in order in itself; only the head that the job before handed on tells."""
    release.gates(outcome=Outcome.FAILED)
    honest = release.reread().head
    (release.root / "ledger" / "ledger.jsonl").unlink()
    forged = Ledger.create(release.root / "ledger", release.ledger.opening, at=NOW)
    for stage, leg in [*GATES, ("mutation", "all"), ("testpypi", "all"), ("smoke", "testpypi")]:
        add(forged, stage, leg)
    release.job("pypi")
    expected = Options(mode=Mode.REHEARSAL, expect_head=honest, expect_digests=forged.digests)
    with pytest.raises(Refused) as caught:
        publish.run("pypi", context_on(release.root, options=expected))
    drilled("a rewritten ledger", rules_of(caught.value))
    assert release.index("pypi").projects == {}


HERE = f"{FACTS.owner}/{FACTS.repository}"


OTHER_WORKFLOW = f"{HERE}/.github/workflows/ci.yml@refs/tags/v1.0"


@pytest.mark.drill
@pytest.mark.parametrize(
    ("drill", "stage", "environment", "claims"),
    [
        ("a token for another repository", "testpypi", "testpypi", {"repository": f"{FACTS.owner}/fork"}),
        ("a token for another workflow", "testpypi", "testpypi", {"job_workflow_ref": OTHER_WORKFLOW}),
        ("a token for another environment", "pypi", "testpypi", {}),
    ],
)
def test_drill_a_token_of_somebody_else(
    release: Release, drilled: Drilled, drill: str, stage: str, environment: str, claims: dict[str, str]
) -> None:
    """The real twine brings it to the index, which mints nothing; the ledger says that it was tried."""
    release.gates()
    release.job(environment, **claims)
    before = len(release.index(stage).refusals)
    assert rules_of(refused(release, stage)) == ["publish.uploaded"]
    drilled(drill, release.index(stage).refusals[before:])
    assert release.index(stage).projects == {}
    assert release.reread().lines[-1].outcome == "failed"


@pytest.mark.drill
def test_drill_a_replayed_token(release: Release, drilled: Drilled) -> None:
    """A token that was exchanged once opens nothing a second time, though everything in it is right."""
    index = release.index("testpypi")
    release.job("testpypi", jti="once")
    release.run("testpypi")
    index.projects["demo-project"].files.clear()
    index.projects["demo-project"].used.clear()
    before = len(index.refusals)
    release.job("testpypi", jti="once")
    assert rules_of(refused(release, "testpypi")) == ["publish.uploaded"]
    drilled("a replayed token", index.refusals[before:])
    assert index.projects["demo-project"].files == {}

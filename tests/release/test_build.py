"""The `build` stage: what it makes, what it refuses, and how it goes on after any interruption."""

import datetime as dt
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from release import build, pythons
from release.builder import Made
from release.context import Options
from release.ledger import Ledger, Outcome
from release.model import Kind, Mode, Refused
from release.plan import RELEASE
from release.rules.archives import digest_of, read_archive
from tests.release.build_support import (
    EPOCH,
    FILES,
    LOCK,
    Replaying,
    built,
    context_with,
    copied,
    project,
    repacked,
    replaying,
    rules,
    zipped,
)
from tests.release.conftest import Drilled
from tests.release.ledger_support import add
from tests.release.repo_support import NOW, Repo, printed

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
WHEEL, SDIST = "tiny_demo-1.2.0-py3-none-any.whl", "tiny_demo-1.2.0.tar.gz"
DATED = FILES["CHANGELOG.md"] + f"\n## [1.2.0] - {NOW.date()}\n\n### Added\n\n- Something.\n"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One Python here, unless a test says otherwise."""
    monkeypatch.setattr(pythons, "found", lambda: {OWN: sys.executable})


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return project(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(template: Repo, tmp_path: Path) -> Repo:
    """A clone of its own, with its origin beside it."""
    return copied(template, tmp_path / "repo")


def run(
    repo: Repo, runner: Replaying | None = None, options: Options | None = None, *, now: dt.datetime = NOW
) -> Ledger:
    """Build, with replayed results; returns the ledger as it then is."""
    context = context_with(repo, runner or replaying(), options, now=now)
    report = build.run("build", context)
    assert report.kind is Kind.DONE
    return Ledger.read(context.ledger)


def refused(
    repo: Repo, runner: Replaying | None = None, options: Options | None = None, *, now: dt.datetime = NOW
) -> list[str]:
    """The rules by which a build is refused."""
    with pytest.raises(Refused) as caught:
        build.run("build", context_with(repo, runner or replaying(), options, now=now))
    return rules(caught.value.problems)


def folders(repo: Repo) -> list[str]:
    return sorted(path.name for path in repo.root.iterdir() if path.name.startswith(("dist", "ledger")))


def test_a_commit_is_built_for_real_and_opens_a_ledger(tiny: Repo) -> None:
    """The real front end and backend, twice, in circumstances that differ, end in one set of bytes."""
    context = context_with(tiny)
    report = build.run("build", context)
    assert sorted(path.name for path in context.dist.iterdir()) == [WHEEL, SDIST]
    assert {path.name: path.read_bytes() for path in context.dist.iterdir()} == built().files
    ledger = Ledger.read(context.ledger)
    opening = ledger.opening
    assert (opening.mode, opening.project, opening.version) == (Mode.REHEARSAL, "tiny-demo", "1.2.0")
    assert (opening.commit, opening.tree) == (
        tiny.git("rev-parse", "HEAD"),
        tiny.git("rev-parse", "HEAD^{tree}"),
    )
    assert (opening.epoch, opening.tag, opening.tag_object) == (EPOCH, "", "")
    assert opening.locks == {"release/locks/build.txt": digest_of(LOCK.encode())}
    assert opening.artifacts == tuple(sorted(built().artifacts, key=lambda each: each.name))
    line = ledger.latest("build")
    assert line is not None
    assert line.outcome is Outcome.PASSED
    assert line.subject == {"commit": opening.commit, "tree": opening.tree} | {
        each.name: each.sha256 for each in opening.artifacts
    }
    assert line.figures["pythons"] == f"{OWN} {OWN}"
    assert line.tools["hatchling"] == version("hatchling")
    said = {checked.what: checked.found for checked in report.checked}
    assert "again (no other Python here)" in said["built twice"]
    assert "not checked" in said["tag, changelog"]
    assert "there is no other here" in printed(context)


def test_a_rehearsal_of_the_workflow_opens_with_its_shards(tiny: Repo) -> None:
    """The plan is line 0's: what `collect` will wait for."""
    assert run(tiny).opening.plan["mutation"] == ("all",)
    shutil.rmtree(tiny.root / "ledger")
    assert run(tiny, options=Options(sharded=True)).opening.plan["mutation"] == RELEASE["mutation"]


def test_two_pythons_are_used_where_two_are_here(
    tiny: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second build runs in an environment of the other Python, installed from the commit's lock."""
    monkeypatch.setattr(pythons, "found", lambda: {"3.11": "/somewhere/python3.11", OWN: sys.executable})
    monkeypatch.setenv("TTA_WHEELHOUSE", str(tmp_path))
    runner = replaying()
    ledger = run(tiny, runner)
    line = ledger.latest("build")
    assert line is not None
    assert line.figures["pythons"] == f"{OWN} 3.11"
    venv = next(words for words in runner.ran if "venv" in words)
    assert venv[0] == "/somewhere/python3.11"
    install = next(words for words in runner.ran if "uv" in words)
    assert {"--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-index", str(tmp_path)} <= set(
        install
    )
    assert install[install.index("--requirement") + 1].endswith("b/tree/release/locks/build.txt")
    fronts = [words for words in runner.ran if "--no-isolation" in words]
    assert {words[0] == sys.executable: "77" in words for words in fronts} == {True: False, False: True}
    assert all(words[0].startswith(venv[-1]) for words in fronts if "77" in words)


def test_a_byte_that_is_not_reproducible_names_its_member(tiny: Repo) -> None:
    """A person sees which file the build changes, and in which of the two circumstances."""
    other = repacked(WHEEL, built().wheel, {"tiny_demo/inner/part.py": b'"""Built at 12:00."""\n'})
    context = context_with(tiny, replaying(second={WHEEL: other}))
    with pytest.raises(Refused) as caught:
        build.run("build", context)
    assert set(rules(caught.value.problems)) == {"build.same-bytes"}
    said = "\n".join(map(str, caught.value.problems))
    assert "tiny_demo/inner/part.py differs from byte" in said
    assert "the second build from the sdist" in said
    assert folders(tiny) == []


def test_an_sdist_that_is_not_reproducible_is_refused(tiny: Repo) -> None:
    """The sdist is compared as the wheel is."""
    other = repacked(SDIST, built().sdist, {"tiny_demo-1.2.0/README.md": b"other\n"})
    assert set(refused(tiny, replaying(second={SDIST: other}))) == {"build.same-bytes"}


@pytest.mark.parametrize("which", ["first", "second"])
def test_a_wheel_from_the_sdist_that_differs_is_refused(tiny: Repo, which: str) -> None:
    """Whoever builds from the sdist gets the wheel that was released."""
    runner = replaying()
    runner.from_sdist[which] = {WHEEL: repacked(WHEEL, built().wheel)}
    with pytest.raises(Refused) as caught:
        build.run("build", context_with(tiny, runner))
    assert rules(caught.value.problems) == ["build.same-bytes"]
    assert f"the {which} build from the sdist" in caught.value.problems[0].what


def test_contents_that_are_not_the_trees_are_refused(tiny: Repo) -> None:
    """Reproducible is not enough: both builds agree, and both are wrong."""
    other = repacked(WHEEL, built().wheel, {"tiny_demo/inner/part.py": b"evil = 1\n"})
    assert refused(tiny, replaying({WHEEL: other})) == ["artefact.member-bytes", "artefact.record"]
    more = repacked(SDIST, built().sdist, {"tiny_demo-1.2.0/src/tiny_demo/untracked.py": b""})
    assert refused(tiny, replaying({SDIST: more})) == ["artefact.unexpected-member"]
    assert folders(tiny) == []


def test_a_build_that_leaves_something_else_is_refused(tiny: Repo) -> None:
    """One sdist and one wheel, nothing more."""
    assert refused(tiny, replaying({"more.whl": b""})) == ["build.succeeds"]


def test_the_checkers_findings_are_refusals(tiny: Repo, tmp_path: Path) -> None:
    """twine and check-wheel-contents are run for real here, on files that neither takes."""
    (tmp_path / "home-first").mkdir()
    record = b"tiny_demo/a.pyc,,\ntiny_demo-1.2.0.dist-info/RECORD,,\n"
    changes = {"tiny_demo/a.pyc": b"", "tiny_demo-1.2.0.dist-info/RECORD": record}
    wheel, sdist = tmp_path / WHEEL, tmp_path / SDIST
    wheel.write_bytes(repacked(WHEEL, built().wheel, changes))
    sdist.write_bytes(b"no archive")
    made = Made(made_in="here", sdist=sdist, wheel=wheel, wheel_from_sdist=wheel)
    problems = build.tools_say(context_with(tiny), made, tmp_path)
    assert rules(problems) == ["build.twine-check", "build.check-wheel-contents"]
    assert "W001" in problems[1].what


def test_a_changed_a_staged_and_an_untracked_file_are_refused_by_name(tiny: Repo) -> None:
    """What is built is a commit; an ignored file is nobody's business."""
    tiny.write("README.md", "changed\n")
    tiny.write("src/tiny_demo/new.py", "")
    tiny.write("staged.txt", "")
    tiny.git("add", "staged.txt")
    tiny.write("dist.old/anything", "ignored")
    with pytest.raises(Refused) as caught:
        build.run("build", context_with(tiny, replaying()))
    assert {problem.where for problem in caught.value.problems} == {
        "README.md",
        "src/tiny_demo/new.py",
        "staged.txt",
    }
    assert set(rules(caught.value.problems)) == {"build.clean-tree"}


def test_an_execute_bit_in_the_tree_is_refused(tiny: Repo) -> None:
    """What the checkout's permissions decide does not get into an artefact."""
    members = [(each.name, each.data) for each in build.read_archive(WHEEL, built().wheel).members]
    other = zipped(members, mode=0o755)
    assert set(refused(tiny, replaying({WHEEL: other}))) == {"artefact.mode"}


def test_a_release_needs_a_tag_two_pythons_and_says_all_of_it_at_once(tiny: Repo) -> None:
    """A person mends everything in one go."""
    assert refused(tiny, options=Options(mode=Mode.RELEASE)) == ["build.two-pythons", "tag.given"]


def test_a_tag_and_the_changelog_are_judged_when_a_tag_is_given(tiny: Repo) -> None:
    """The wrong tag and the missing section are both named."""
    tiny.git("tag", "v1.2.1")
    assert {"tag.is-version", "tag.annotated", "changelog.has-version"} <= set(
        refused(tiny, options=Options(tag="v1.2.1"))
    )


def test_a_signed_tag_with_its_dated_section_is_built(tiny: Repo) -> None:
    """What the rules ask for is enough, and line 0 binds the tag."""
    tiny.write("CHANGELOG.md", DATED)
    tiny.commit()
    tiny.push()
    tag_object = tiny.sign("v1.2.0")
    log = {SDIST: repacked(SDIST, built().sdist, {"tiny_demo-1.2.0/CHANGELOG.md": DATED.encode()})}
    ledger = run(tiny, replaying(log), Options(tag="v1.2.0"))
    assert (ledger.opening.tag, ledger.opening.tag_object) == ("v1.2.0", tag_object)
    # A week later the same release goes on; a new one would be refused for its date.
    late = NOW + dt.timedelta(days=7)
    assert run(tiny, replaying(log), Options(tag="v1.2.0"), now=late).genesis == ledger.genesis
    (tiny.root / "ledger/ledger.jsonl").unlink()
    assert refused(tiny, replaying(log), Options(tag="v1.2.0"), now=late) == ["changelog.dated"]


@pytest.mark.parametrize("lock", ["", "hatchling==0.1\nbuild==0.1\n"])
def test_tools_that_the_lock_does_not_pin_are_refused(tiny: Repo, lock: str) -> None:
    """Another version of the backend makes other bytes."""
    tiny.write(build.LOCK, lock)
    tiny.commit()
    assert refused(tiny) == ["build.locked", "build.locked"]


def test_a_missing_lock_is_refused(tiny: Repo) -> None:
    """No lock, no release."""
    (tiny.root / build.LOCK).unlink()
    tiny.commit()
    assert refused(tiny) == ["build.locked"]


def test_a_lock_without_the_backend_names_no_backend() -> None:
    """The Generator line of the wheel is compared with what the lock pins."""
    assert build.backend("a==1\nhatchling==1.2.3 \\\n") == "hatchling 1.2.3"
    with pytest.raises(Refused) as caught:
        build.backend("a==1\n")
    assert rules(caught.value.problems) == ["build.locked"]


def test_the_same_commit_again_compares_and_records_nothing_twice(tiny: Repo) -> None:
    """A second run is a check; `--again` adds a line."""
    first = run(tiny)
    again = run(tiny)
    assert (again.genesis, [line.stage for line in again.lines]) == (first.genesis, ["build"])
    assert [line.stage for line in run(tiny, options=Options(again=True)).lines] == ["build", "build"]


def test_other_bytes_of_the_same_commit_are_refused_and_named(tiny: Repo) -> None:
    """What was tested is what is published: a second build never replaces the first."""
    run(tiny)
    before = (tiny.root / "dist" / WHEEL).read_bytes()
    assert set(refused(tiny, replaying({WHEEL: repacked(WHEEL, built().wheel)}))) == {"build.same-bytes"}
    assert (tiny.root / "dist" / WHEEL).read_bytes() == before
    assert not Ledger.read(tiny.root / "ledger").passed("build"), "an older pass counts no more"
    assert run(tiny).passed("build")


def test_a_build_that_was_killed_before_its_own_line_is_taken_up(tiny: Repo) -> None:
    """Line 0 alone is not a passed build; the next run adds what is missing."""
    run(tiny)
    path = tiny.root / "ledger/ledger.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert not Ledger.read(tiny.root / "ledger").passed("build")
    assert run(tiny).passed("build")


def test_another_commit_sets_both_folders_aside_once_it_is_built(tiny: Repo) -> None:
    """The record of what was built before stays readable, and a refused build sets nothing aside."""
    first = run(tiny)
    tiny.write("notes.md", "not shipped\n")
    tiny.commit()
    bad = repacked(WHEEL, built().wheel, {"tiny_demo/inner/part.py": b"evil = 1\n"})
    assert "artefact.member-bytes" in refused(tiny, replaying({WHEEL: bad}))
    assert folders(tiny) == ["dist", "ledger"]
    second = run(tiny)
    label = first.opening.commit[:12]
    assert folders(tiny) == ["dist", "ledger", f"ledger.{label}"], "the same bytes stay where they are"
    assert Ledger.read(tiny.root / f"ledger.{label}").genesis == first.genesis
    assert second.opening.commit == tiny.git("rev-parse", "HEAD")


def test_another_commit_is_refused_once_something_was_uploaded(tiny: Repo) -> None:
    """What may be public is never forgotten by a rebuild."""
    ledger = run(tiny)
    add(ledger, "testpypi", outcome=Outcome.FAILED)
    tiny.write("notes.md", "not shipped\n")
    tiny.commit()
    assert set(refused(tiny)) == {"build.uploaded"}
    assert folders(tiny) == ["dist", "ledger"]
    assert Ledger.read(tiny.root / "ledger").head == ledger.head


def test_a_broken_ledger_is_refused_and_left_alone(tiny: Repo) -> None:
    """A rebuild does not paper over a record that somebody changed."""
    tiny.write("ledger/ledger.jsonl", "{}\n")
    assert set(refused(tiny)) == {"ledger.readable"}
    assert folders(tiny) == ["ledger"]


@pytest.mark.drill
@pytest.mark.parametrize(
    ("drill", "line", "becomes"),
    [
        ("an edited METADATA version", b"Version: 1.2.0\n", b"Version: 1.2.1\n"),
        ("another project's wheel", b"Name: tiny-demo\n", b"Name: other-demo\n"),
    ],
)
def test_drill_a_wheel_that_is_not_the_trees(
    tiny: Repo, drilled: Drilled, drill: str, line: bytes, becomes: bytes
) -> None:
    """Both builds give the same wrong wheel under the right name: it is read, not only compared."""
    member = "tiny_demo-1.2.0.dist-info/METADATA"
    metadata = read_archive(WHEEL, built().wheel).get(member) or b""
    assert line in metadata
    wheel = repacked(WHEEL, built().wheel, {member: metadata.replace(line, becomes)})
    drilled(drill, refused(tiny, replaying({WHEEL: wheel})))
    assert folders(tiny) == []

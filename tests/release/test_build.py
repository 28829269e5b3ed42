"""The `build` stage: what it makes, what it refuses, and how it goes on after any interruption."""

import datetime as dt
import shutil
import sys
from dataclasses import replace
from importlib.metadata import version
from itertools import count
from pathlib import Path

import pytest

from release import build, pythons
from release.context import Options
from release.ledger import Ledger, Outcome
from release.model import Kind, Mode, Refused
from release.plan import RELEASE, plan_for
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
from tests.release.repo_support import NOW, SIGNER, Repo, printed

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


def test_a_first_build_opens_a_ledger_and_says_what_it_is_about(tiny: Repo) -> None:
    """Line 0 names the commit and the files; the build's own line says what it was made with."""
    context = context_with(tiny, replaying())
    report = build.run("build", context)
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
    assert line.figures == report.figures == {"pythons": f"{OWN} {OWN}", "took_ms": 0}
    tools = {name: version(name) for name in ("build", "hatchling", "twine", "check-wheel-contents")}
    assert line.tools == report.tools == tools
    assert report.sentence == "2 artefacts of tiny-demo 1.2.0, the ledger is open"
    again = f"Python {OWN} again (no other Python here)"
    assert [(each.what, each.found) for each in report.checked] == [
        ("tree", "clean"),
        ("tag, changelog", "not checked: this build stands for no tag (--tag)"),
        ("built twice", f"2 folders, 2 umasks, 2 time zones, Python {OWN} and {again}"),
        ("bytes", "sdist, wheel and the wheel from the sdist: identical"),
        ("contents", "exactly the tree's files; metadata as pyproject.toml says"),
        *((each.name, f"{each.size} bytes, sha256 {each.sha256}") for each in opening.artifacts),
        *(("not here", text) for text in plan_for(Mode.REHEARSAL).absent),
        ("ledger", "the ledger is open"),
    ]
    assert printed(context).splitlines()[:3] == [
        f"  exporting {opening.commit[:12]} twice",
        f"  building with Python {OWN}, and with Python {OWN} again: there is no other here",
        "  checking both with twine and check-wheel-contents",
    ]


def test_a_build_says_how_long_it_took(tiny: Repo) -> None:
    """In milliseconds, by the clock it is handed."""
    ticks = count()
    context = replace(
        context_with(tiny, replaying()),
        now=lambda: NOW.replace(microsecond=0) + dt.timedelta(seconds=next(ticks)),
    )
    took = build.run("build", context).figures["took_ms"]
    assert isinstance(took, int)
    assert took >= 1000
    assert took % 1000 == 0


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
    context = context_with(tiny, runner)
    report = build.run("build", context)
    assert report.figures["pythons"] == f"{OWN} 3.11"
    said = {each.what: each.found for each in report.checked}
    assert said["built twice"] == f"2 folders, 2 umasks, 2 time zones, Python {OWN} and Python 3.11"
    assert f"building with Python {OWN}, and with Python 3.11\n" in printed(context)
    homes = [
        home for home, words in zip(runner.homes, runner.ran, strict=True) if "77" in words or "uv" in words
    ]
    assert len(homes) == 3
    assert len({*homes}) == 1
    first = [home for home, words in zip(runner.homes, runner.ran, strict=True) if "22" in words]
    assert first
    assert not {*first} & {*homes}
    assert runner.epochs == {str(EPOCH)}
    assert runner.homes[[("venv" in words) for words in runner.ran].index(True)] == homes[0]
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
    trees = {words[-1].partition("tta-build-")[2].partition("/")[2] for words in fronts if "--sdist" in words}
    assert trees == {"a/tree", "another folder/deeper/b/tree"}


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


def test_every_difference_and_every_finding_is_shown_at_once(tiny: Repo) -> None:
    """A person mends all of it in one go: one wheel, an sdist, their contents and what the checkers say."""
    evil = {"tiny_demo/inner/part.py": b"evil = 1\n"}
    more = {"tiny_demo-1.2.0/src/tiny_demo/untracked.py": b""}
    runner = replaying(
        {SDIST: repacked(SDIST, built().sdist, more)}, {WHEEL: repacked(WHEEL, built().wheel, evil)}
    )
    runner.builds["first"][WHEEL] = repacked(WHEEL, built().wheel)
    runner.finds = {"twine": "no long description\n", "check_wheel_contents": "W009\n"}
    with pytest.raises(Refused) as caught:
        build.run("build", context_with(tiny, runner))
    found = [(problem.rule, problem.where) for problem in caught.value.problems]
    assert list(dict.fromkeys(found)) == [
        ("build.same-bytes", SDIST),
        ("build.same-bytes", WHEEL),
        ("artefact.unexpected-member", f"{SDIST}: tiny_demo-1.2.0/src/tiny_demo/untracked.py"),
        ("build.twine-check", "the artefacts"),
        ("build.check-wheel-contents", WHEEL),
    ]
    assert [problem.what for problem in caught.value.problems[-2:]] == [
        "twine check finds:\nno long description",
        "check-wheel-contents finds:\nW009",
    ]


def test_a_wheel_of_the_second_build_alone_that_differs_is_refused(tiny: Repo) -> None:
    """Though both wheels from the sdist are the first build's."""
    runner = replaying(second={WHEEL: repacked(WHEEL, built().wheel)})
    runner.from_sdist["second"] = {WHEEL: built().wheel}
    with pytest.raises(Refused) as caught:
        build.run("build", context_with(tiny, runner))
    assert rules(caught.value.problems) == ["build.same-bytes"]
    assert "(first: the first build, second: the second build)" in caught.value.problems[0].what


def test_the_checkers_are_asked_strictly_and_nobodys_settings_reach_them(tiny: Repo) -> None:
    """Each about the files of the first build, in a place of its own."""
    runner = replaying()
    run(tiny, runner)
    (made,) = [
        words[words.index("--outdir") + 1] for words in runner.ran if "--sdist" in words and "22" in words
    ]
    wheel, sdist = str(Path(made) / WHEEL), str(Path(made) / SDIST)
    own = [sys.executable, "-I", "-m"]
    checks = [words for words in runner.ran if words[:3] == own]
    assert sorted(checks) == [
        [*own, "check_wheel_contents", "--no-config", wheel],
        [*own, "twine", "check", "--strict", wheel, sdist],
    ]
    scratch = next(path for path in Path(made).parents if path.name.startswith("tta-build-"))
    checked = {place for place, words in zip(runner.places, runner.ran, strict=True) if words[:3] == own}
    assert checked == {scratch}, "no settings of a checkout are below it, and its name says whose it is"


def test_an_sdist_that_is_not_reproducible_is_refused(tiny: Repo) -> None:
    """The sdist is compared as the wheel is."""
    other = repacked(SDIST, built().sdist, {"tiny_demo-1.2.0/README.md": b"other\n"})
    with pytest.raises(Refused) as caught:
        build.run("build", context_with(tiny, replaying(second={SDIST: other})))
    assert set(rules(caught.value.problems)) == {"build.same-bytes"}
    assert all(
        "(first: the first build, second: the second build)" in each.what for each in caught.value.problems
    )


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
    with pytest.raises(Refused) as caught:
        build.run("build", context_with(tiny, replaying(), Options(mode=Mode.RELEASE)))
    assert rules(caught.value.problems) == ["build.two-pythons", "tag.given"]
    alone, tagless = caught.value.problems
    assert alone.remedy == f"install one of {', '.join(each for each in pythons.SUPPORTED if each != OWN)}"
    assert (tagless.where, tagless.remedy) == ("--tag", "`nox -s build -- --mode release --tag v1.2.0`")


def test_a_tag_and_the_changelog_are_judged_when_a_tag_is_given(tiny: Repo) -> None:
    """The wrong tag, the missing section and what is wrong beside them are all named."""
    tiny.git("tag", "v1.2.1")
    tiny.write("README.md", "changed\n")
    assert {"build.clean-tree", "tag.is-version", "tag.annotated", "changelog.has-version"} <= set(
        refused(tiny, options=Options(tag="v1.2.1"))
    )


def test_a_signed_tag_with_its_dated_section_is_built(tiny: Repo) -> None:
    """What the rules ask for is enough, and line 0 binds the tag."""
    tiny.write("CHANGELOG.md", DATED)
    tiny.commit()
    tiny.push()
    tag_object = tiny.sign("v1.2.0")
    log = {SDIST: repacked(SDIST, built().sdist, {"tiny_demo-1.2.0/CHANGELOG.md": DATED.encode()})}
    report = build.run("build", context_with(tiny, replaying(log), Options(tag="v1.2.0")))
    told = f"v1.2.0, signed by {SIGNER}, on origin/main; the changelog has its dated section"
    assert {each.what: each.found for each in report.checked}["tag, changelog"] == told
    ledger = Ledger.read(tiny.root / "ledger")
    assert (ledger.opening.tag, ledger.opening.tag_object) == ("v1.2.0", tag_object)
    # A week later the same release goes on; a new one would be refused for its date.
    late = NOW + dt.timedelta(days=7)
    assert run(tiny, replaying(log), Options(tag="v1.2.0"), now=late).genesis == ledger.genesis
    (tiny.root / "ledger/ledger.jsonl").unlink()
    assert refused(tiny, replaying(log), Options(tag="v1.2.0"), now=late) == ["changelog.dated"]


def test_a_release_opens_with_the_plan_of_a_release(tiny: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """All Pythons and all shards are in line 0, whatever this machine has; its wheels come from the index."""
    monkeypatch.setattr(pythons, "found", lambda: {"3.11": "/somewhere/python3.11", OWN: sys.executable})
    tiny.write("CHANGELOG.md", DATED)
    tiny.commit()
    tiny.push()
    tiny.sign("v1.2.0")
    log = {SDIST: repacked(SDIST, built().sdist, {"tiny_demo-1.2.0/CHANGELOG.md": DATED.encode()})}
    options = Options(mode=Mode.RELEASE, tag="v1.2.0")
    opening = run(tiny, replaying(log), options).opening
    assert (opening.mode, opening.plan) == (Mode.RELEASE, RELEASE)
    monkeypatch.setenv("TTA_WHEELHOUSE", str(tiny.root))
    assert refused(tiny, replaying(log), options) == ["environment.wheelhouse"]


def test_an_installer_that_fails_is_named(tiny: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second build's tools are installed by uv, and a person reads what it said."""
    monkeypatch.setattr(pythons, "found", lambda: {"3.11": "/somewhere/python3.11", OWN: sys.executable})
    runner = replaying()
    runner.finds = {"--require-hashes": "no such wheel\n"}
    with pytest.raises(Refused, match="uv could not install it") as caught:
        build.run("build", context_with(tiny, runner))
    assert "no such wheel" in caught.value.problems[0].what
    assert folders(tiny) == []


def test_a_tag_that_is_not_here_is_judged_by_today(tiny: Repo) -> None:
    """A ledger of no tag does not lend it the day on which it was opened."""
    tiny.write("CHANGELOG.md", DATED)
    tiny.commit()
    log = {SDIST: repacked(SDIST, built().sdist, {"tiny_demo-1.2.0/CHANGELOG.md": DATED.encode()})}
    run(tiny, replaying(log))
    late = NOW + dt.timedelta(days=7)
    assert "changelog.dated" in refused(tiny, replaying(log), Options(tag="v1.2.0"), now=late)


def test_a_checkout_without_a_changelog_has_no_section(tiny: Repo) -> None:
    """A sentence, no traceback."""
    (tiny.root / "CHANGELOG.md").unlink()
    tiny.commit()
    assert "changelog.has-version" in refused(tiny, options=Options(tag="v1.2.0"))


@pytest.mark.parametrize(
    ("lock", "pins"), [("", "not at all"), ("hatchling==0.1\nbuild==0.1\n", "0.1")], ids=["nothing", "others"]
)
def test_tools_that_the_lock_does_not_pin_are_refused(tiny: Repo, lock: str, pins: str) -> None:
    """Another version of the backend makes other bytes."""
    tiny.write(build.LOCK, lock)
    tiny.commit()
    with pytest.raises(Refused) as caught:
        build.run("build", context_with(tiny, replaying()))
    assert [(problem.rule, problem.where, problem.what) for problem in caught.value.problems] == [
        ("build.locked", build.LOCK, f"pins {name} {pins}, this environment has {version(name)}")
        for name in ("build", "hatchling")
    ]


def test_a_missing_lock_is_refused(tiny: Repo) -> None:
    """No lock, no release."""
    (tiny.root / build.LOCK).unlink()
    tiny.commit()
    with pytest.raises(Refused) as caught:
        build.run("build", context_with(tiny, replaying()))
    assert rules(caught.value.problems) == ["build.locked"]
    assert (caught.value.problems[0].where, caught.value.problems[0].what) == (build.LOCK, "does not exist")


def test_a_lock_without_the_backend_names_no_backend() -> None:
    """The Generator line of the wheel is compared with what the lock pins."""
    assert build.backend("a==1\nhatchling==1.2.3 \\\n") == "hatchling 1.2.3"
    with pytest.raises(Refused) as caught:
        build.backend("a==1\n")
    assert rules(caught.value.problems) == ["build.locked"]
    assert caught.value.problems[0].what == "does not pin hatchling"


def test_the_same_commit_again_compares_and_records_nothing_twice(tiny: Repo) -> None:
    """A second run is a check; `--again` adds a line."""
    first = run(tiny)
    report = build.run("build", context_with(tiny, replaying()))
    assert report.sentence.endswith(", the same bytes as the ledger's")
    again = Ledger.read(tiny.root / "ledger")
    assert (again.genesis, [line.stage for line in again.lines]) == (first.genesis, ["build"])
    assert [line.stage for line in run(tiny, options=Options(again=True)).lines] == ["build", "build"]


def test_other_bytes_of_the_same_commit_are_refused_and_named(tiny: Repo) -> None:
    """What was tested is what is published: a second build never replaces the first."""
    run(tiny)
    before = (tiny.root / "dist" / WHEEL).read_bytes()
    assert set(refused(tiny, replaying({WHEEL: repacked(WHEEL, built().wheel)}))) == {"build.same-bytes"}
    assert (tiny.root / "dist" / WHEEL).read_bytes() == before
    line = Ledger.read(tiny.root / "ledger").latest("build")
    assert line is not None
    assert line.outcome is Outcome.FAILED, "an older pass counts no more"
    assert line.figures == {"problems": 2}
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
    assert Ledger.read(tiny.root / "ledger").head == first.head, "nor does it speak of the older commit"
    report = build.run("build", context_with(tiny, replaying()))
    assert report.sentence.endswith(", the ledger of another commit is set aside, a new one is open")
    second = Ledger.read(tiny.root / "ledger")
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

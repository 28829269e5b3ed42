"""The `announce` stage against a recording `gh`: what becomes public, in which order, and what never does."""

import contextlib
import datetime as dt
import io
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from release import announce, sbom
from release.checkout import Checkout
from release.context import Context, Options
from release.ledger import Ledger, Outcome
from release.model import Kind, Mode, Refused, Report
from release.plan import RELEASE
from release.rehearsal import github
from release.rehearsal.github import CALLS, STATE
from release.rules.archives import digest, measure
from release.runner import Finished, LocalRunner
from tests.release.build_support import copied
from tests.release.ledger_support import add, opening, rules_of
from tests.release.publish_support import PUBLISHER
from tests.release.rehearsal.support import written
from tests.release.repo_support import NOW, Repo, begin, context_on, printed

OURS = "Somebody/demo-project"
"""The repository that `PUBLISHER` names."""


class Asked:
    """A runner that plays the recording `gh` in this process, and runs all else for real."""

    def __init__(self, kept: Path) -> None:
        self.kept = kept

    def __call__(self, argv: Sequence[str | os.PathLike[str]], **options: Any) -> Finished:  # noqa: ANN401 - handed on as they are
        words = [os.fspath(word) for word in argv]
        if Path(words[0]).stem != "gh":
            return LocalRunner()(argv, **options)
        scratch = [options["cwd"], *(Path(words[at + 1]) for at in range(len(words)) if words[at] == "--dir")]
        assert all(folder.name.startswith("tta-announce-") for folder in scratch), "whose it is must show"
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = github.main([str(self.kept), *words[1:]])
        return Finished(argv=words, code=code, stdout=out.getvalue(), stderr=err.getvalue(), took_ms=1)


def verified(repo: Repo, version: str) -> Repo:
    """The same checkout with the release's commit, its files, and a ledger that holds a passed verify."""
    repo.write("CHANGELOG.md", f"# C\n\n## [{version}] - {NOW.date()}\n\n### Added\n\n- Inböxes.\n")
    repo.write("README.md", f"A demo.\n\n{announce.NOT_PUBLISHED} Nothing is there.\n")
    repo.write("release/publisher.toml", PUBLISHER)
    repo.write("release/locks/runtime.txt", "redis==6.4.0 --hash=sha256:" + "a" * 64 + "\n")
    repo.write(".gitignore", "/dist/\n/ledger/\n")
    repo.commit()
    repo.push()
    checkout = Checkout(repo.root, LocalRunner())
    opened = opening(
        project="demo-project",
        version=version,
        commit=checkout.head(),
        tree=checkout.tree(),
        plan=RELEASE,
        artifacts=tuple(measure(path) for path in sorted(written(repo.root / "dist"))),
    )
    add(Ledger.create(repo.root / "ledger", opened, at=NOW), "verify")
    return repo


class Stage:
    """A checkout whose ledger holds a passed verify, and the GitHub its `gh` records to."""

    def __init__(self, repo: Repo, kept: Path) -> None:
        self.repo, self.kept = repo, kept
        self.ledger = Ledger.read(repo.root / "ledger")
        self.tag = f"v{self.ledger.opening.version}"
        options = Options(mode=Mode.REHEARSAL)
        self.context = replace(context_on(repo.root, options=options), runner=Asked(kept))

    def run(self, context: Context | None = None) -> Report:
        return announce.run("announce", context or self.context)

    def refused(self, context: Context | None = None) -> Refused:
        with pytest.raises(Refused) as caught:
            self.run(context)
        return caught.value

    def gh(self, *words: str) -> None:
        """What somebody else does to the release."""
        assert github.main([str(self.kept), "release", *words, "--repo", "elsewhere"]) == 0

    @property
    def release(self) -> dict[str, Any]:
        return self.releases[self.tag]

    @property
    def releases(self) -> dict[str, Any]:
        book = self.kept / STATE
        return json.loads(book.read_text(encoding="utf-8")) if book.exists() else {}

    def rewrite(self, **changes: object) -> None:
        """Change what GitHub keeps of the release."""
        releases = self.releases
        releases[self.tag].update(changes)
        (self.kept / STATE).write_text(json.dumps(releases), encoding="utf-8")

    @property
    def verbs(self) -> list[str]:
        """The calls so far, by verb, reading left out."""
        lines = (self.kept / CALLS).read_text(encoding="utf-8").splitlines()
        return [verb for line in lines if (verb := json.loads(line)[1]) != "view"]

    @property
    def digests(self) -> dict[str, str]:
        return {each["name"]: each["digest"] for each in self.release["assets"]}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state of the `gh` that is asked."""
    state = tmp_path / "github"
    state.mkdir()
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    for name in ("GH_TOKEN", "GITHUB_TOKEN", "NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    return state


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return verified(begin(tmp_path_factory.mktemp("verified")), "1.0")


@pytest.fixture
def stage(template: Repo, tmp_path: Path, kept: Path) -> Stage:
    return Stage(copied(template, tmp_path / "repo"), kept)


def test_a_release_is_drafted_filled_and_made_public_last(stage: Stage) -> None:
    """Nobody sees a release that lacks a file."""
    report = stage.run()
    assert report.kind is Kind.DONE
    state = "drafted and made public, 4 uploaded, 0 there already"
    assert report.sentence == f"v1.0 is a release on GitHub with 4 files: {state}"
    assert report.figures == {"files": 4, "uploaded": 4, "present": 0}
    digests = {name: sha256.replace(":", " ") for name, sha256 in stage.digests.items()}
    assert printed(stage.context).splitlines() == [
        "  v1.0: drafted",
        *(f"  {name}: uploaded, {sha256}" for name, sha256 in digests.items()),
    ]
    said = {each.what: each.found for each in report.checked}
    del said["README.md"]
    assert said == digests | {
        "release": f"https://github.com/{OURS}/releases/tag/v1.0",
        "notes": "CHANGELOG.md, section 1.0",
    }
    assert stage.verbs == ["create", *["upload"] * 4, "edit"]
    assert stage.release["isDraft"] is False
    assert stage.release["isPrerelease"] is False
    assert stage.release["name"] == "demo-project 1.0"
    wanted = {path.name: f"sha256:{digest(path)}" for path in (stage.repo.root / "dist").iterdir()}
    wanted["ledger.jsonl"] = f"sha256:{digest(stage.repo.root / 'ledger' / 'ledger.jsonl')}"
    shown = stage.digests
    assert shown.pop(sbom.FILE).startswith("sha256:")
    assert shown == wanted
    bill = (stage.kept / "assets" / stage.tag / sbom.FILE).read_text(encoding="utf-8")
    assert json.loads(bill)["metadata"]["component"]["name"] == "Demo.Project"
    assert all(artifact.sha256 in bill for artifact in stage.ledger.opening.artifacts)


def test_notes_are_the_changelogs_section_and_the_digests(stage: Stage) -> None:
    """What users read is what the maintainers wrote, and what they can check it with."""
    stage.run()
    body = stage.release["body"]
    files = [f"{artifact.sha256}  {artifact.name}" for artifact in stage.ledger.opening.artifacts]
    wanted = ["### Added", "", "- Inböxes.", "", "### Files", "", "```text", *files, "```"]
    assert body.rstrip("\n").split("\n") == wanted


def test_a_second_run_changes_nothing(stage: Stage) -> None:
    """A release that is public and whole is done."""
    stage.run()
    before = list(stage.verbs)
    report = stage.run()
    assert "public before, 0 uploaded, 4 there already" in report.sentence
    assert stage.verbs == before


@pytest.mark.parametrize("cut", range(1, 7))
def test_a_run_that_was_cut_short_is_taken_up(stage: Stage, cut: int) -> None:
    """After any number of changes that were made, the same command ends the same, none made twice."""
    made: list[str] = []

    def dies(argv: Sequence[str | os.PathLike[str]], **options: Any) -> Finished:  # noqa: ANN401 - handed on as they are
        changes = os.fspath(argv[1]) == "release" and os.fspath(argv[2]) != "view"
        if changes and len(made) == cut:
            raise KeyboardInterrupt
        if changes:
            made.append(os.fspath(argv[2]))
        return stage.context.runner(argv, **options)

    if cut < 6:
        with pytest.raises(KeyboardInterrupt):
            stage.run(replace(stage.context, runner=dies))
        assert stage.release["isDraft"] is True
    stage.run()
    assert stage.verbs == ["create", *["upload"] * 4, "edit"]
    assert stage.release["isDraft"] is False


def test_a_release_that_says_no_address_is_named(stage: Stage) -> None:
    """The person finds it without one."""
    stage.run()
    stage.rewrite(url="")
    assert {each.what: each.found for each in stage.run().checked}["release"] == f"{OURS} v1.0"


def test_a_draft_that_was_left_is_made_public(stage: Stage) -> None:
    """By the same command again, which says what it did."""
    stage.run()
    stage.rewrite(isDraft=True)
    before = list(stage.verbs)
    assert ": made public, 0 uploaded, 4 there already" in stage.run().sentence
    assert stage.verbs == [*before, "edit"]


def test_a_rehearsals_ledger_is_not_announced(stage: Stage) -> None:
    """Without `--mode rehearsal` it is a release that is asked for."""
    refused = stage.refused(replace(stage.context, options=Options()))
    assert rules_of(refused) == ["binding.same-mode"]
    assert not (stage.kept / CALLS).exists()


def test_a_release_candidate_is_a_prerelease(repo: Repo, kept: Path) -> None:
    """Nobody is offered a candidate as the newest release."""
    candidate = Stage(verified(repo, "1.0rc1"), kept)
    assert candidate.run().sentence.startswith("v1.0rc1 is a pre-release on GitHub")
    assert candidate.release["isPrerelease"] is True
    created = next(line for line in (kept / CALLS).read_text("utf-8").splitlines() if '"create"' in line)
    assert "--prerelease" in json.loads(created), "also a draft that is left alone is one"


def test_a_release_with_the_wrong_flag_is_mended(stage: Stage) -> None:
    """Somebody made the draft by hand."""
    stage.run()
    stage.rewrite(isPrerelease=True)
    stage.run()
    assert stage.release["isPrerelease"] is False


def test_other_bytes_under_a_files_name_are_refused_naming_both(stage: Stage) -> None:
    """Nothing on GitHub is replaced, and nothing more is sent."""
    name = stage.ledger.opening.artifacts[0].name
    other = stage.repo.root.parent / name
    other.write_bytes(b"other")
    notes = stage.repo.root / "README.md"
    stage.gh("create", stage.tag, "--draft", "--title", "t", "--notes-file", str(notes))
    stage.gh("upload", stage.tag, str(other))
    stage.gh("upload", stage.tag, str(notes))
    refused = stage.refused()
    assert rules_of(refused) == ["announce.same-bytes", "announce.only-ours"]
    assert [problem.where for problem in refused.problems] == [f"v1.0: {name}", "v1.0: README.md"]
    assert digest(other) in refused.problems[0].what
    assert stage.ledger.opening.artifacts[0].sha256 in refused.problems[0].what
    assert f"delete-asset {stage.tag} {name}" in refused.problems[0].remedy
    assert f"delete-asset {stage.tag} README.md" in refused.problems[1].remedy
    assert stage.verbs == ["create", "upload", "upload"]
    assert stage.release["isDraft"] is True


def ledger_there(stage: Stage) -> str:
    """What the release on GitHub shows of its ledger."""
    return stage.digests["ledger.jsonl"].removeprefix("sha256:")


@pytest.mark.parametrize("draft", [False, True])
@pytest.mark.parametrize("again", ["verify alone", "all jobs"])
def test_the_ledger_of_an_earlier_run_for_the_same_files_stays(stage: Stage, again: str, draft: bool) -> None:
    """`verify` always runs, and all jobs of a workflow may run again: the same command ends well."""
    stage.run()
    before, said = list(stage.verbs), ledger_there(stage)
    stage.rewrite(isDraft=draft)
    ledger = stage.repo.root / "ledger" / "ledger.jsonl"
    later = NOW + dt.timedelta(hours=1)
    if again == "all jobs":
        ledger.unlink()
        opened = stage.ledger.opening
        add(Ledger.create(ledger.parent, opened, at=later), "verify", at=later)
    else:
        add(stage.ledger, "verify", at=later)
    assert digest(ledger) != said
    report = stage.run()
    assert "0 uploaded, 4 there already" in report.sentence
    assert stage.release["isDraft"] is False
    assert ledger_there(stage) == said
    (shown,) = [each.found for each in report.checked if each.what == "ledger.jsonl"]
    assert shown == f"of an earlier run for the same files, which stays: sha256 {said}"
    changed = [verb for verb in stage.verbs[len(before) :] if verb != "download"]
    assert changed == (["edit"] if draft else [])


@pytest.mark.parametrize("how", ["of other files", "not verified", "torn", "edited", "no ledger at all"])
def test_another_ledger_than_this_releases_is_refused(stage: Stage, how: str) -> None:
    """Whatever lies there under the ledger's name must vouch for exactly these files, whole."""
    elsewhere = stage.repo.root.parent / "elsewhere"
    opened = stage.ledger.opening
    if how == "of other files":
        opened = replace(opened, artifacts=opened.artifacts[:1])
    other = Ledger.create(elsewhere, opened, at=NOW - dt.timedelta(hours=1))
    add(other, "verify", outcome=Outcome.FAILED if how == "not verified" else Outcome.PASSED)
    file = elsewhere / "ledger.jsonl"
    if how == "torn":
        file.write_bytes(file.read_bytes() + b'{"torn')
    if how == "edited":
        file.write_bytes(file.read_bytes().replace(b'"n":1', b'"n":2'))
    if how == "no ledger at all":
        file.write_bytes(b"")
    notes = stage.repo.root / "README.md"
    stage.gh("create", stage.tag, "--draft", "--title", "t", "--notes-file", str(notes))
    stage.gh("upload", stage.tag, str(file))
    refused = stage.refused()
    assert rules_of(refused) == ["announce.same-bytes"]
    assert digest(file) in refused.problems[0].what
    assert stage.release["isDraft"] is True
    assert "upload" not in stage.verbs[2:]


def test_a_torn_upload_is_sent_again(stage: Stage) -> None:
    """GitHub keeps the name of an upload that was cut short, and refuses it until it is deleted."""
    stage.run()
    assets = stage.release["assets"]
    stage.rewrite(isDraft=True, assets=[{**assets[0], "state": "starter", "digest": None}, *assets[1:]])
    report = stage.run()
    assert "1 uploaded, 3 there already" in report.sentence
    assert stage.verbs[-3:] == ["delete-asset", "upload", "edit"]


def test_a_github_that_names_no_digests_is_asked_for_the_bytes(stage: Stage) -> None:
    """An older gh does not say them; what it serves is what counts."""
    stage.run()
    stage.rewrite(assets=[{**each, "digest": None} for each in stage.release["assets"]])
    assert "4 there already" in stage.run().sentence
    assert "download" in stage.verbs


def test_a_draft_that_lost_a_file_stays_a_draft(stage: Stage) -> None:
    """What was sent is not what is believed: GitHub is read once more before anything is public."""

    def forgets(argv: Sequence[str | os.PathLike[str]], **options: Any) -> Finished:  # noqa: ANN401 - handed on as they are
        if os.fspath(argv[2]) == "upload" and os.fspath(argv[4]).endswith(sbom.FILE):
            return Finished(argv=[], code=0, stdout="", stderr="", took_ms=1)
        return stage.context.runner(argv, **options)

    refused = stage.refused(replace(stage.context, runner=forgets))
    assert (rules_of(refused), refused.problems[0].where) == (["announce.complete"], "release v1.0")
    assert stage.release["isDraft"] is True


def test_a_draft_that_is_gone_again_is_said(stage: Stage) -> None:
    """Somebody deleted it meanwhile: there is nothing to make public."""

    def deletes(argv: Sequence[str | os.PathLike[str]], **options: Any) -> Finished:  # noqa: ANN401 - handed on as they are
        if os.fspath(argv[2]) == "view" and len(stage.verbs) == 5:
            return Finished(argv=[], code=1, stdout="", stderr="release not found", took_ms=1)
        return stage.context.runner(argv, **options)

    (stage.kept / CALLS).touch()
    assert rules_of(stage.refused(replace(stage.context, runner=deletes))) == ["announce.complete"]
    assert "edit" not in stage.verbs


def test_a_ledger_whose_upload_was_cut_short_is_sent_again(stage: Stage) -> None:
    """What is there of it vouches for nothing, whatever digest GitHub says it has."""
    stage.run()
    cut = [
        {**each, "state": "starter"} if each["name"] == "ledger.jsonl" else each
        for each in stage.release["assets"]
    ]
    stage.rewrite(isDraft=True, assets=cut)
    add(stage.ledger, "verify", at=NOW + dt.timedelta(hours=1))
    stage.run()
    assert ledger_there(stage) == digest(stage.repo.root / "ledger" / "ledger.jsonl")


@pytest.mark.parametrize("outcome", [Outcome.FAILED, None])
def test_nothing_is_announced_that_was_not_verified(stage: Stage, outcome: Outcome | None) -> None:
    """The world must have been seen to hold exactly these files."""
    if outcome is None:
        (stage.repo.root / "ledger" / "ledger.jsonl").unlink()
        Ledger.create(stage.repo.root / "ledger", stage.ledger.opening, at=NOW)
    else:
        add(stage.ledger, "verify", outcome=outcome)
    refused = stage.refused()
    assert rules_of(refused) == ["plan.proved"]
    assert "nox -s verify" in refused.problems[0].remedy
    assert not (stage.kept / CALLS).exists()


def test_files_that_are_not_the_ledgers_are_refused(stage: Stage) -> None:
    """What is announced is what was published."""
    (stage.repo.root / "dist" / "more.txt").write_text("x")
    assert rules_of(stage.refused()) == ["build.dist"]
    (stage.repo.root / "dist").rename(stage.repo.root.parent / "moved")
    refused = stage.refused()
    assert (rules_of(refused), refused.problems[0].where) == (["announce.dist"], "dist/")
    assert not (stage.kept / CALLS).exists()


def test_a_changelog_without_the_section_is_refused(stage: Stage) -> None:
    """Notes are never made up."""
    stage.repo.write("CHANGELOG.md", "# C\n")
    refused = stage.refused()
    assert rules_of(refused) == ["announce.notes"]
    assert (refused.problems[0].where, refused.problems[0].what) == ("CHANGELOG.md", "has no section 1.0")


def test_a_tag_that_moved_is_refused(stage: Stage) -> None:
    """Also in a rehearsal, where there is a tag."""
    tag_object = stage.repo.sign("v1.0")
    stage.repo.git("push", "--quiet", "origin", "v1.0")
    (stage.repo.root / "ledger" / "ledger.jsonl").unlink()
    opened = replace(stage.ledger.opening, tag="v1.0", tag_object=tag_object)
    add(Ledger.create(stage.repo.root / "ledger", opened, at=NOW), "verify")
    assert stage.run().kind is Kind.DONE
    stage.repo.git("push", "--quiet", "--force", "origin", "HEAD~1:refs/tags/v1.0")
    assert rules_of(stage.refused()) == ["tag.not-moved"]


def test_the_token_is_ghs_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """git and everything else that runs here is started without it, and gh is led nowhere else."""
    monkeypatch.setenv("GH_TOKEN", "secret")
    monkeypatch.setenv("GH_HOST", "elsewhere.example")
    seen: list[tuple[bool, bool, bool]] = []

    def watches(argv: Sequence[str | os.PathLike[str]], **options: Any) -> Finished:  # noqa: ANN401 - handed on as they are
        env = options.get("env") or os.environ
        seen.append((Path(argv[0]).stem == "gh", "GH_TOKEN" in env, "GH_HOST" in env))
        return stage.context.runner(argv, **options)

    stage.run(replace(stage.context, runner=watches))
    assert {each for each in seen if each[0]} == {(True, True, False)}
    assert {has for is_gh, has, _ in seen if not is_gh} == {False}


def test_readmes_status_line_is_named_until_it_says_so(stage: Stage) -> None:
    """A person commits it: a workflow never writes to main."""
    said = {each.what: each.found for each in stage.run().checked}
    line = announce.status_line("demo-project", "1.0")
    assert (
        said["README.md"] == f"NEXT: commit `{line}` to main in place of what follows **Not yet published.**"
    )
    stage.repo.write("README.md", "Older.\n")
    said = {each.what: each.found for each in stage.run().checked}
    assert said["README.md"] == f"NEXT: commit `{line}` to main in place of what follows its status line"
    stage.repo.write("README.md", f"{line}\n")
    assert {each.what: each.found for each in stage.run().checked}["README.md"] == f"says it: {line}"

"""Preparing a release: two files are edited, everything that would make it a bad one is refused."""

import datetime as dt
import errno
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.version import Version

from release import prepare
from release.checkout import Checkout
from release.context import Context, Options
from release.model import Kind, Refused, Report
from release.rules.changelog import dated
from release.rules.tag import may_release
from release.runner import LocalRunner
from tests.release.ledger_support import rules_of
from tests.release.repo_support import CHANGELOG, NOW, PYPROJECT, Repo, context_on, printed

TODAY = NOW.date()
SECTION = CHANGELOG.replace("[Unreleased]:", "## [0.2.1] - 2026-01-01\n\n- x\n\n[Unreleased]:")
"""A changelog with a release."""


def run(repo: Repo, version: str | None) -> tuple[Context, Report]:
    context = context_on(repo.root, options=Options(version=version))
    return context, prepare.run("prepare", context)


def refusal(repo: Repo, version: str | None) -> list[str]:
    """The rules by which it refuses; no file may have changed."""
    before = {path: path.read_bytes() for path in repo.root.iterdir() if path.is_file()}
    with pytest.raises(Refused) as caught:
        run(repo, version)
    assert {path: path.read_bytes() for path in repo.root.iterdir() if path.is_file()} == before
    return rules_of(caught.value)


def text(repo: Repo, name: str) -> str:
    return (repo.root / name).read_text(encoding="utf-8")


def test_a_release_is_prepared_as_a_diff_to_look_at(repo: Repo) -> None:
    """Version, date and links, each other byte as it was."""
    context, report = run(repo, "0.2.0")
    assert text(repo, "pyproject.toml") == PYPROJECT.replace("0.1.0", "0.2.0")
    assert text(repo, "CHANGELOG.md") == CHANGELOG.replace(
        "## [Unreleased]\n", "## [Unreleased]\n\n## [0.2.0] - 2026-03-04\n"
    ).replace(
        "[Unreleased]: https://code.example.org/demo/commits/main\n",
        "[Unreleased]: https://code.example.org/demo/compare/v0.2.0...HEAD\n"
        "[0.2.0]: https://code.example.org/demo/releases/tag/v0.2.0\n",
    )
    edits = [
        prepare.Edit(name=name, before=before, after=text(repo, name))
        for name, before in (("pyproject.toml", PYPROJECT), ("CHANGELOG.md", CHANGELOG))
    ]
    commands = "".join(f"    {command}\n" for command in prepare.commands(Version("0.2.0")))
    assert printed(context) == (
        "".join(edit.diff() for edit in edits) + f"\nLook at it, then:\n\n{commands}\n"
    )
    assert report.kind is Kind.DONE
    assert report.sentence == "0.2.0 is prepared; commit it and push the signed tag v0.2.0"
    assert {checked.what: checked.found for checked in report.checked} == {
        "version": "0.1.0 -> 0.2.0",
        "changelog": "[0.2.0] - 2026-03-04",
        "tags at origin": "0",
        "changed": "pyproject.toml, CHANGELOG.md",
    }
    assert Checkout(repo.root, LocalRunner()).dirty() == ["CHANGELOG.md", "pyproject.toml"]


def test_the_printed_commands_make_a_tag_that_may_be_released(repo: Repo) -> None:
    """What the maintainer copies must satisfy the gate that waits for it."""
    context, _ = run(repo, "0.2.0")
    commands = re.findall(r"^    (git .+)$", printed(context), re.MULTILINE)
    assert commands == prepare.commands(Version("0.2.0"))
    for key, value in (
        ("user.signingkey", repo.key),
        ("user.name", "Somebody"),
        ("user.email", "x@example.org"),
    ):
        repo.git("config", key, str(value))
    for command in commands:
        subprocess.run(shlex.split(command), cwd=repo.root, check=True, capture_output=True)
    checkout = Checkout(repo.root, LocalRunner())
    assert checkout.dirty() == []
    assert may_release(checkout.tag_facts("v0.2.0"), version=Version("0.2.0"), commit=checkout.head()) == []
    assert dated(text(repo, "CHANGELOG.md"), Version("0.2.0"), today=TODAY) == []
    remote = checkout.remote_tag("v0.2.0")
    assert remote is not None
    assert remote.commit == checkout.head()


def test_the_version_that_stands_there_may_be_the_first_release(repo: Repo) -> None:
    """0.1.0 was never released: only the changelog changes then."""
    _, report = run(repo, "0.1.0")
    assert text(repo, "pyproject.toml") == PYPROJECT
    assert "## [0.1.0] - 2026-03-04" in text(repo, "CHANGELOG.md")
    assert {checked.what: checked.found for checked in report.checked}["changed"] == "CHANGELOG.md"


def test_the_first_tag_may_be_a_candidate_and_the_release_follows_it(repo: Repo) -> None:
    """0.1.0rc1 is below what pyproject.toml says, and nothing above it was released."""
    run(repo, "0.1.0rc1")
    repo.commit()
    repo.git("tag", "v0.1.0rc1")
    assert refusal(repo, "0.1.0") == ["prepare.says-something"]
    changelog = text(repo, "CHANGELOG.md").replace("## [Unreleased]\n", "## [Unreleased]\n\n- As 0.1.0rc1.\n")
    repo.write("CHANGELOG.md", changelog)
    repo.commit()
    run(repo, "0.1.0")
    assert "[0.1.0]: https://code.example.org/demo/compare/v0.1.0rc1...v0.1.0" in text(repo, "CHANGELOG.md")


def test_a_dirty_tree_is_refused_path_by_path(repo: Repo) -> None:
    """The release commit holds the release's edit alone."""
    repo.write("untracked.txt", "x")
    repo.write("CHANGELOG.md", CHANGELOG + "\n")
    assert refusal(repo, "0.2.0") == ["prepare.clean-tree"] * 2


def test_preparing_twice_is_refused_until_the_first_is_committed(repo: Repo) -> None:
    """And then the version is used."""
    run(repo, "0.2.0")
    assert "prepare.clean-tree" in refusal(repo, "0.2.0")
    repo.commit()
    assert refusal(repo, "0.2.0") == ["prepare.unused", "prepare.says-something"]


@pytest.mark.parametrize(
    ("version", "rules"),
    [
        ("v0.3.0", ["normal-version"]),
        ("0.3.0-rc.1", ["normal-version"]),
        ("01.0", ["normal-version"]),
        ("next", ["normal-version"]),
        ("", ["normal-version"]),
        ("0.3.0+local", ["no-local"]),
        ("0.2.0", ["unused", "greater"]),
        ("0.2", ["unused", "greater"]),
        ("0.2.1", ["unused", "greater"]),
        ("0.2.2rc1", ["unused"]),
        ("0.1.9", ["greater"]),
        ("0.2.1.dev1", ["greater"]),
    ],
)
def test_a_version_that_cannot_be_the_next_is_refused(version: str, rules: list[str]) -> None:
    """A number is used once, by a tag or a section, and grows."""
    tags = frozenset({"v0.2.0", "v0.2.2rc1", "0.9.9", "vnext", "vv0.9.9"})
    _, problems = prepare.version_problems(version, tags=tags, text=SECTION)
    assert [problem.rule for problem in problems] == [f"prepare.{rule}" for rule in rules]


def test_the_next_version_is_accepted() -> None:
    """Tags of other forms are no releases."""
    tags = frozenset({"v0.2.0", "0.9.9", "release-1"})
    assert prepare.version_problems("0.2.1", tags=tags, text=CHANGELOG) == (Version("0.2.1"), [])


def test_a_used_version_is_told_with_its_tag() -> None:
    """A person looks for the tag by its name."""
    _, (problem,) = prepare.version_problems("0.2.0", tags=frozenset({"v0.2.0"}), text=CHANGELOG)
    assert (problem.where, problem.what) == ("version 0.2.0", "has the tag v0.2.0 already")


@pytest.mark.parametrize(
    ("tags", "log", "before"),
    [
        (frozenset({"v0.2.0", "v0.1.0"}), CHANGELOG, "v0.2.0"),
        (frozenset[str](), SECTION, "v0.2.1"),
        (frozenset({"v0.2.0"}), SECTION, "v0.2.1"),
    ],
)
def test_a_release_is_compared_with_the_one_before(tags: frozenset[str], log: str, before: str) -> None:
    """That is the greatest there is, be it by a tag or by a section."""
    version = Version("0.3.0")
    done = prepare.edits(PYPROJECT, log, version, tags=tags, today=TODAY, repository="https://x.invalid/demo")
    assert f"[0.3.0]: https://x.invalid/demo/compare/{before}...v0.3.0\n" in done[-1].after


def test_the_repositorys_address_may_end_in_a_slash(repo: Repo) -> None:
    """Both forms are in use, and a link has one slash."""
    repo.write("pyproject.toml", PYPROJECT.replace("org/demo", "org/demoX//"))
    repo.commit()
    run(repo, "0.2.0")
    assert "[0.2.0]: https://code.example.org/demoX/releases/tag/v0.2.0\n" in text(repo, "CHANGELOG.md")


def test_a_tag_that_only_origin_has_counts(repo: Repo) -> None:
    """Somebody else released it; this clone has not fetched."""
    repo.git("tag", "v0.2.0")
    repo.git("push", "--quiet", "origin", "v0.2.0")
    repo.git("tag", "--delete", "v0.2.0")
    assert refusal(repo, "0.2.0") == ["prepare.unused"]
    assert refusal(repo, "0.1.5") == ["prepare.greater"]


def test_without_an_origin_it_says_what_was_not_looked_at(repo: Repo) -> None:
    """Preparing works offline."""
    shutil.rmtree(repo.root.parent / "origin.git")
    _, report = run(repo, "0.2.0")
    assert {checked.what: checked.found for checked in report.checked}[
        "tags at origin"
    ] == "not checked: no answer"


@pytest.mark.parametrize(
    ("name", "old", "new", "rules"),
    [
        ("CHANGELOG.md", "- `demo.thing` does it.\n", "", ["prepare.says-something"]),
        ("CHANGELOG.md", "### Added", "### New", ["changelog.category"]),
        ("CHANGELOG.md", CHANGELOG, "", ["changelog.unreleased-first", "prepare.says-something"]),
        ("pyproject.toml", "urls =", "x-urls =", ["prepare.repository"]),
        ("pyproject.toml", "Source", "Home", ["prepare.repository"]),
        ("pyproject.toml", "[project]", "[tool]", ["project.readable"] * 2),
    ],
)
def test_files_it_cannot_work_with_are_refused(
    repo: Repo, name: str, old: str, new: str, rules: list[str]
) -> None:
    """Before anything is edited."""
    assert old in text(repo, name)
    repo.write(name, text(repo, name).replace(old, new))
    repo.commit()
    assert refusal(repo, "0.2.0") == rules


def test_a_missing_changelog_is_refused(repo: Repo) -> None:
    """With how to begin one."""
    (repo.root / "CHANGELOG.md").unlink()
    repo.commit()
    assert refusal(repo, "0.2.0") == ["prepare.readable"]


def test_every_problem_is_told_at_once(repo: Repo) -> None:
    """A person mends all of them in one go."""
    repo.git("tag", "v0.2.0")
    repo.write("CHANGELOG.md", CHANGELOG.replace("- `demo.thing` does it.\n", ""))
    assert refusal(repo, "0.2.0") == ["prepare.clean-tree", "prepare.unused", "prepare.says-something"]


def test_no_version_is_a_usage_error(repo: Repo) -> None:
    """Exit code 2, with an example."""
    with pytest.raises(Refused) as caught:
        run(repo, None)
    assert caught.value.kind is Kind.USAGE
    assert rules_of(caught.value) == ["prepare.version-given"]


def test_the_section_carries_the_utc_day(repo: Repo) -> None:
    """The gate compares UTC days, so the section is dated in UTC."""
    late = dt.datetime(2026, 3, 4, 23, 59, tzinfo=dt.UTC)
    prepare.run("prepare", context_on(repo.root, now=late, options=Options(version="0.2.0")))
    assert "## [0.2.0] - 2026-03-04" in text(repo, "CHANGELOG.md")


def test_a_files_mode_is_kept_and_nothing_else_is_left(repo: Repo) -> None:
    """An exec bit more or less is another tree."""
    log = repo.root / "CHANGELOG.md"
    log.chmod(0o600)
    before = {path.name for path in repo.root.iterdir()}
    run(repo, "0.2.0")
    assert log.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in repo.root.iterdir()} == before


def test_a_full_disk_leaves_the_files_as_they_were(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is replaced whole or not at all, and nothing half-written stays beside it."""

    def full(self: Path, target: Path) -> Path:
        assert self.name.startswith("."), "nothing takes it for a file of the project while it is written"
        assert self.parent == target.parent, "only within a file system a file is replaced at once"
        raise OSError(errno.ENOSPC, "No space left on device")

    names = {path.name for path in repo.root.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        assert refusal(repo, "0.2.0") == ["prepare.written"]
    assert {path.name for path in repo.root.iterdir()} == names
    run(repo, "0.2.0")


def test_a_diff_is_one_that_git_would_apply() -> None:
    """Whole lines, with the names on both sides."""
    edit = prepare.Edit(name="a.txt", before="one\ntwo\n", after="one\n2\n")
    assert edit.diff() == "--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n"

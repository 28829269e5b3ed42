"""What the rehearsal's repository asks of git and ssh-keygen, in whose environment, with both played."""

import datetime as dt
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from packaging.version import Version

from release.model import Refused
from release.project import Project
from release.rehearsal import scratch
from release.rehearsal.scratch import Scratch
from release.rules import changelog
from release.runner import Finished
from tests.release.repo_support import CHANGELOG, PYPROJECT
from tests.release.runner_support import Call, Double

TODAY = dt.date(2026, 3, 4)
SECTION = "## [0.1.0] - {day}\n\n### Added\n\n- It.\n\n[Unreleased]:"
HEAD = "c" * 40
PUBLIC = "ssh-ed25519 AAAA rehearsal@localhost"
ALLOWED = f'rehearsal@localhost namespaces="git" {PUBLIC}\n'


@dataclass
class Git(Double):
    """Answers as git and ssh-keygen do, and notes what is asked, where, and in which environment."""

    fails: str = ""
    """The first words of a command that fails."""
    asked: list[tuple[str, Path, Mapping[str, str] | None]] = field(
        default_factory=list[tuple[str, Path, "Mapping[str, str] | None"]]
    )

    def answer(self, call: Call) -> Finished:
        assert (call.show, call.timeout_s) == (False, None)
        line = " ".join(call.words)
        self.asked.append((line, call.cwd, call.given))
        if self.fails and line.startswith(self.fails):
            return call.ended(128, error="".join(f"line {number}\n" for number in range(6)))
        if call.words[0] == "ssh-keygen":
            Path(call.words[-1]).with_suffix(".pub").write_text(f"{PUBLIC}\n", encoding="utf-8")
        return call.ended(said=f"{HEAD}\n" if "rev-parse" in call.words else "")

    def lines(self) -> list[str]:
        return [line for line, _, _ in self.asked]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A rehearsed command's environment, with an ssh-keygen on its PATH."""
    program = tmp_path / "bin" / "ssh-keygen"
    program.parent.mkdir()
    program.touch()
    program.chmod(0o755)
    return {"PATH": str(program.parent), "HOME": "/nowhere"}


@pytest.fixture
def git() -> Git:
    return Git()


@pytest.fixture
def made(git: Git, env: dict[str, str], tmp_path: Path) -> Scratch:
    """A scratch repository that is there already."""
    (tmp_path / "clone").mkdir()
    return Scratch(root=tmp_path / "clone", folder=tmp_path, runner=git, env=env)


def test_a_clone_has_a_bare_origin_of_the_persons_head(
    git: Git, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only to read the checkout is the person's own environment used; whose it is says who may read it."""
    monkeypatch.setenv("WHOSE", "the person's")
    source, origin, root = tmp_path / "source", tmp_path / "origin.git", tmp_path / "clone"
    found = scratch.clone(git, source, tmp_path, env)
    assert (found.root, found.folder, found.origin) == (root, tmp_path, origin)
    assert (found.runner, found.env) == (git, env)
    first, head, *more = git.asked
    assert first == (
        f"git clone --quiet --bare --no-hardlinks {source} {origin}",
        source,
        dict(os.environ),
    )
    assert head[:2] == ("git rev-parse --verify --quiet HEAD^{commit}", source)
    assert more == [
        (f"git update-ref refs/heads/main {HEAD}", origin, env),
        ("git symbolic-ref HEAD refs/heads/main", origin, env),
        (f"git clone --quiet {origin} {root}", tmp_path, env),
        ("git config user.name Rehearsal", root, env),
        ("git config user.email rehearsal@localhost", root, env),
        ("git config commit.gpgSign false", root, env),
        ("git config tag.gpgSign false", root, env),
    ]


def test_a_release_is_committed_and_named(made: Scratch, git: Git, env: dict[str, str]) -> None:
    """All that `prepare` has changed, and nothing that it has not."""
    made.commit_release("1.2")
    assert git.asked == [("git commit --quiet --all --message=Release 1.2", made.root, env)]


def test_the_key_is_allowed_on_top_of_the_tagged_commit(made: Scratch, git: Git, env: dict[str, str]) -> None:
    """The tagged tree is what is released; only main, which has the signers, is one commit ahead."""
    assert made.publish("v1")
    key = made.folder / "key"
    assert git.lines() == [
        "git push --quiet origin HEAD:refs/heads/main",
        f"ssh-keygen -q -t ed25519 -N  -C rehearsal@localhost -f {key}",
        "git rev-parse HEAD",
        f"git -c gpg.format=ssh -c user.signingkey={key} tag --sign --message=v1 v1",
        "git add --force .github/allowed_signers",
        "git commit --quiet --message=Allow the rehearsal's key",
        "git push --quiet origin HEAD:refs/heads/main refs/tags/v1",
        f"git checkout --quiet --detach {HEAD}",
        "git fetch --quiet origin",
    ]
    assert [cwd for _, cwd, _ in git.asked] == [made.root, made.folder, *[made.root] * 7]
    assert all(given == env for _, _, given in git.asked)
    assert (made.root / ".github" / "allowed_signers").read_bytes() == ALLOWED.encode()


def test_who_was_allowed_before_stays_so(made: Scratch) -> None:
    """The person's own signers are in the rehearsed tree, and are no reason to refuse."""
    path = made.root / ".github" / "allowed_signers"
    path.parent.mkdir()
    path.write_text("jürgen@example.org key\n", encoding="utf-8")
    assert made.publish("v1")
    assert path.read_text(encoding="utf-8") == f"jürgen@example.org key\n{ALLOWED}"


def test_without_a_program_that_makes_keys_main_is_pushed_alone(
    made: Scratch, git: Git, env: dict[str, str], tmp_path: Path
) -> None:
    """It is looked for where the rehearsed commands would find it, not where this process would."""
    env["PATH"] = str(tmp_path)
    assert not made.publish("v1")
    assert git.lines() == ["git push --quiet origin HEAD:refs/heads/main"]


@pytest.mark.parametrize(
    ("fails", "command", "remedy"),
    [
        ("ssh-keygen", "ssh-keygen", "repair OpenSSH's ssh-keygen"),
        ("git push", "git push", "mend what git says; the repository was only read"),
    ],
)
def test_a_program_that_fails_is_quoted(
    made: Scratch, git: Git, fails: str, command: str, remedy: str
) -> None:
    """Five lines of what it said, and what it was asked."""
    git.fails = fails
    with pytest.raises(Refused) as caught:
        made.publish("v1")
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("rehearsal.repository", "the scratch clone")
    assert problem.what == f"{command} failed: " + "\n".join(f"line {number}" for number in range(1, 6))
    assert problem.remedy == remedy


@pytest.mark.parametrize("text", [CHANGELOG, CHANGELOG.replace("[Unreleased]\n", "[0.1.0] - 2026-03-04\n")])
def test_an_entry_is_made_where_the_section_is_empty_only(made: Scratch, git: Git, text: str) -> None:
    """A section with entries stays as it is, and so does a changelog without the section."""
    path = made.root / "CHANGELOG.md"
    path.write_text(text, encoding="utf-8")
    made.add_entry()
    assert (path.read_text(encoding="utf-8"), git.asked) == (text, [])


def test_an_entry_is_written_as_utf_8_and_committed(made: Scratch, git: Git, env: dict[str, str]) -> None:
    """Behind a release there is nothing to announce; the rest of the file stays, whatever is in it."""
    path = made.root / "CHANGELOG.md"
    before, after = "# Changelog\n\n## [Unreleased]\n", "\n## [0.1.0] - 2026-03-04\n\n- Größe.\n"
    path.write_bytes((before + after).encode())
    made.add_entry()
    entry = "\n### Changed\n\n- Nothing: this is a rehearsal.\n"
    assert path.read_bytes() == (before + entry + after).encode()
    assert git.asked == [("git commit --quiet --all --message=Say something to release", made.root, env)]


def with_section(day: str) -> str:
    return CHANGELOG.replace("[Unreleased]:", SECTION.format(day=day))


@pytest.mark.parametrize(
    ("text", "tags", "expected"),
    [
        (CHANGELOG, [], "0.1.0"),
        (with_section("2026-03-04"), [], None),
        (with_section("2026-03-01"), [], None),
        (with_section("2026-02-01"), [], "0.1.1"),
        (with_section("2026-03-04"), ["v0.1.0"], "0.1.1"),
        (with_section("2026-03-04"), ["v0.1.0", "v0.1.1"], "0.1.2"),
        (CHANGELOG, ["v0.1.0"], "0.1.1"),
        (with_section("2026-03-04").replace("0.1.0", "0.3.0"), ["v0.1.0"], "0.3.1"),
        (with_section("2026-03-04").replace("0.1.0", "1.2.3"), ["v0.1.0"], "1.2.4"),
    ],
)
def test_next_version(tmp_path: Path, text: str, tags: list[str], expected: str | None) -> None:
    """A version that can be released today is rehearsed as it is, otherwise the next one is prepared."""
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    found = scratch.next_version(Project.read(tmp_path), text, tags, today=TODAY)
    assert found == (None if expected is None else Version(expected))


def test_an_entry_makes_an_empty_section_releasable() -> None:
    """What is written is what the changelog's own rules ask for."""
    text = "# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-03-04\n\n- It.\n"
    section = changelog.parse(text).unreleased
    assert section is not None
    found = changelog.parse(scratch.with_an_entry(text, section.line))
    assert [each.entries for each in found.sections] == [1, 1]
    assert changelog.format_problems(scratch.with_an_entry(text, section.line)) == []

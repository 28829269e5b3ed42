"""The doctor sees what is there, what is open and what is wrong, and says what to do about each."""

import re
import shutil
import subprocess
from pathlib import Path
from unittest import mock

import pytest

from release import doctor, pythons
from release.doctor import Finding, State
from release.model import Kind, Report
from tests.release.repo_support import context_on
from tests.release.workflow_support import ROOT


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the doctor looks at, copied from this repository, in a checkout without a person's settings."""
    for name in (".github", "release/publisher.toml", "release/action-pins.toml", "release/locks"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile)(ROOT / name, target)
    for name in ("noxfile.py", "pyproject.toml", ".python-version"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    git(tmp_path, "init", "--quiet")
    monkeypatch.setattr(shutil, "which", Path)
    monkeypatch.setattr(pythons, "found", lambda: dict.fromkeys(pythons.SUPPORTED, "python"))
    return tmp_path


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=root, check=True)


def report(root: Path) -> Report:
    return doctor.run("doctor", context_on(root))


def states(root: Path) -> dict[str, State]:
    found = [finding for check in doctor.CHECKS for finding in check(context_on(root))]
    for finding in found:
        assert finding.found
        assert finding.remedy or finding.state is State.OK
    return {finding.what: finding.state for finding in found}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def complete(root: Path) -> None:
    """Do what a person has to do."""
    facts = root / "release/publisher.toml"
    text = re.sub(
        '^owner-id = ".*"$', 'owner-id = "4711"', facts.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    facts.write_text(text, encoding="utf-8")
    with (root / ".github/allowed_signers").open("a", encoding="utf-8") as file:
        file.write('a@example.org namespaces="git" ssh-ed25519 AAAA\n')
    git(root, "remote", "add", "origin", "git@github.com:theinterneti/tta-agent-coordination.git")
    git(root, "config", "gpg.format", "ssh")
    git(root, "config", "user.signingkey", "key.pub")


def test_what_is_open_is_not_wrong(checkout: Path) -> None:
    """A fresh checkout is in order: people's steps are open, and named as such."""
    found = report(checkout)
    assert found.kind is Kind.DONE
    assert found.problems == []
    open_ones = {what for what, state in states(checkout).items() if state is State.NOT_YET}
    assert {"git tag --sign", "remote origin"} <= open_ones
    assert found.figures["wrong"] == 0
    assert f"{found.figures['not_yet']} not yet" in found.sentence


def test_a_set_up_that_is_complete_leaves_what_cannot_be_seen(checkout: Path) -> None:
    """Settings of PyPI and GitHub are never guessed."""
    complete(checkout)
    left = {what: state for what, state in states(checkout).items() if state is not State.OK}
    assert set(left.values()) == {State.UNSEEN}
    assert len(left) == 4


@pytest.mark.parametrize(
    ("file", "old", "new", "what"),
    [
        ("release/publisher.toml", 'workflow = "release.yml"', 'workflow = ""', "release/publisher.toml"),
        (".github/workflows/release.yml", "environment: pypi", "environment: other", ".github/workflows"),
        ("release/action-pins.toml", '["actions/checkout"]', '["actions/other"]', ".github/"),
        (".python-version", "3.13", "3.11", ".python-version"),
        ("pyproject.toml", '"mutmut>=3.8"', '"mutmut>=3.8", "left-pad"', "release/locks/mutation.txt"),
        (".github/allowed_signers", "# No key", "a@b ssh-ed25519 AAAA\n# No key", ".github/allowed_signers"),
    ],
)
def test_what_is_wrong_is_refused_at_its_place(
    checkout: Path, file: str, old: str, new: str, what: str
) -> None:
    """Each would stop a release, or let one through."""
    edit(checkout / file, old, new)
    found = report(checkout)
    assert found.kind is Kind.REFUSED
    assert all(problem.where.startswith(what) for problem in found.problems), found.problems
    assert found.problems
    assert all(problem.remedy for problem in found.problems)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ssh-ed25519", 'namespaces="git"'),
        ("sk-ssh-ed25519@openssh.com", 'namespaces="git"'),
        ("ecdsa-sha2-nistp256", 'namespaces="git",valid-before="20301231"'),
        ("sk-ecdsa-sha2-nistp256@openssh.com", 'valid-after="20260101",namespaces="git"'),
    ],
)
def test_every_kind_of_key_may_sign(checkout: Path, kind: str, options: str) -> None:
    """A key on a token is the best that a maintainer can have."""
    edit(checkout / ".github/allowed_signers", "# No key", f"a@example.org {options} {kind} AAAA\n# No key")
    assert states(checkout)[".github/allowed_signers"] is State.OK


@pytest.mark.parametrize("file", [".github/allowed_signers", ".python-version", "release/locks/build.txt"])
def test_a_file_that_is_not_there_is_wrong(checkout: Path, file: str) -> None:
    """It was there in every commit."""
    (checkout / file).unlink()
    assert [problem.where for problem in report(checkout).problems] == [file]


@pytest.mark.parametrize(
    ("file", "change", "what"),
    [
        ("release/action-pins.toml", None, "workflows"),
        ("noxfile.py", None, "workflows"),
        ("pyproject.toml", None, "locks"),
        ("pyproject.toml", b"x = [", "locks"),
        ("pyproject.toml", b"", "locks"),
        (".github/workflows/ci.yml", b"\xff", "workflows"),
        (".github/workflows/ci.yml", b"a: &a [*a]", "workflows"),
        (".github/allowed_signers", b"\xff", "signers"),
    ],
)
def test_a_file_that_cannot_be_read_ends_no_other_check(
    checkout: Path, file: str, change: bytes | None, what: str
) -> None:
    """The more is broken, the more there is to show."""
    whole = len(report(checkout).checked)
    path = checkout / file
    path.unlink() if change is None else path.write_bytes(change)
    found = report(checkout)
    assert found.kind is Kind.REFUSED
    assert [problem.where for problem in found.problems] == [what]
    assert "cannot be looked at" in found.problems[0].what
    assert len(found.checked) > whole - 3


def test_what_this_machine_lacks_is_not_yet(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hosted runners have it; a laptop need not."""
    monkeypatch.setattr(shutil, "which", mock.Mock(return_value=None))
    monkeypatch.setattr(pythons, "found", dict)
    found = states(checkout)
    assert {found[name] for name in (*doctor.PROGRAMS, "Pythons")} == {State.NOT_YET}


def test_another_remote_is_named(checkout: Path) -> None:
    """A fork's workflow has another identity, which no index trusts."""
    git(checkout, "remote", "add", "origin", "https://github.com/somebody/fork")
    (finding,) = [
        each
        for check in doctor.CHECKS
        for each in check(context_on(checkout))
        if each.what == "remote origin"
    ]
    assert finding == Finding(
        what="remote origin",
        state=State.NOT_YET,
        found="is another repository",
        remedy="release from a clone of https://github.com/theinterneti/tta-agent-coordination",
    )


def test_a_lock_must_hold_what_its_group_and_all_groups_in_it_ask_for(checkout: Path) -> None:
    """Own packages stand before and behind the included groups, which may include others."""
    project = checkout / "pyproject.toml"
    head, _, _ = project.read_text(encoding="utf-8").partition("[dependency-groups]")
    table = (
        '[dependency-groups]\nlow = ["First_One>=1"]\nmid = [{include-group = "low"}, "second[x]"]\n'
        'top = ["third", {include-group = "mid"}, "fourth; python_version > \'3\'"]\n'
    )
    project.write_text(head + table, encoding="utf-8")
    (checkout / "release/locks/top.txt").write_text("other==1\n", encoding="utf-8")
    found = {
        finding.what: finding.found for check in doctor.CHECKS for finding in check(context_on(checkout))
    }
    assert found["release/locks/top.txt"] == "lacks first-one, fourth, second, third"
    assert found["release/locks/low.txt"] == "does not exist"

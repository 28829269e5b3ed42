"""The repository a rehearsal releases from, with a real git: what is committed, who signs."""

import os
from pathlib import Path

import pytest
from packaging.version import Version

from release.checkout import Checkout, SignatureKind
from release.model import Refused
from release.rehearsal import scratch
from release.rehearsal.scratch import Scratch
from release.rules import changelog
from release.rules.tag import may_release
from release.runner import LocalRunner
from tests.release.ledger_support import rules_of
from tests.release.repo_support import Repo


@pytest.fixture
def clone(repo: Repo, tmp_path: Path) -> Scratch:
    (tmp_path / "scratch").mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    return scratch.clone(LocalRunner(), repo.root, tmp_path / "scratch", env)


def test_clone_is_of_head_and_the_source_stays_as_it_is(repo: Repo, clone: Scratch) -> None:
    """A rehearsal reads the person's repository and writes nothing into it."""
    before = (
        repo.git("for-each-ref"),
        repo.git("status", "--porcelain"),
        repo.git("config", "--list", "--local"),
    )
    clone.publish("v0.1.0")
    assert Checkout(clone.root, LocalRunner()).head() == repo.git("rev-parse", "HEAD")
    after = (
        repo.git("for-each-ref"),
        repo.git("status", "--porcelain"),
        repo.git("config", "--list", "--local"),
    )
    assert before == after


def test_published_tag_may_release(repo: Repo, clone: Scratch) -> None:
    """The throw-away key's tag stands up to the very rules of a release, on the tree of HEAD."""
    assert clone.publish("v0.1.0")
    checkout = Checkout(clone.root, LocalRunner())
    facts = checkout.tag_facts("v0.1.0")
    assert may_release(facts, version=Version("0.1.0"), commit=checkout.head()) == []
    assert facts.signature is SignatureKind.SSH
    assert checkout.tree() == repo.git("rev-parse", "HEAD^{tree}")
    remote = checkout.remote_tag("v0.1.0")
    assert remote is not None
    assert remote.tag_object == facts.tag_object
    assert checkout.dirty() == []


def test_a_shallow_detached_checkout_can_be_rehearsed(repo: Repo, tmp_path: Path) -> None:
    """What a workflow checks out for a pull request: one commit, on no branch."""
    repo.write("other.txt", "x")
    repo.commit()
    shallow = tmp_path / "shallow"
    repo.git("clone", "--quiet", "--depth", "1", repo.root.as_uri(), str(shallow))
    checkout = Checkout(shallow, LocalRunner())
    head = checkout.head()
    LocalRunner()(["git", "checkout", "--quiet", "--detach"], cwd=shallow)
    LocalRunner()(["git", "branch", "--delete", "--force", "main"], cwd=shallow)
    (tmp_path / "scratch").mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    found = scratch.clone(LocalRunner(), shallow, tmp_path / "scratch", env)
    assert found.publish("v0.1.0")
    facts = Checkout(found.root, LocalRunner()).tag_facts("v0.1.0")
    assert may_release(facts, version=Version("0.1.0"), commit=head) == []


def test_without_ssh_keygen_there_is_no_tag(clone: Scratch, tmp_path: Path) -> None:
    """The machine cannot sign: main is pushed, no tag is made, and the caller hears of it."""
    (tmp_path / "bin").mkdir()
    git = next(
        Path(place) / "git"
        for place in os.environ["PATH"].split(os.pathsep)
        if (Path(place) / "git").exists()
    )
    (tmp_path / "bin" / "git").symlink_to(git)
    bare = Scratch(
        root=clone.root,
        folder=clone.folder,
        runner=clone.runner,
        env={**clone.env, "PATH": str(tmp_path / "bin")},
    )
    clone.git("commit", "--quiet", "--allow-empty", "--message=more")
    assert not bare.publish("v0.1.0")
    head = Checkout(clone.root, LocalRunner()).head()
    assert clone.git("ls-remote", "origin").stdout.split() == [head, "HEAD", head, "refs/heads/main"]
    assert Checkout(clone.root, LocalRunner()).tags() == frozenset()


def test_a_key_that_cannot_be_made_is_refused(clone: Scratch) -> None:
    """A broken ssh-keygen is not taken for a missing one."""
    (clone.folder / "key").mkdir()
    with pytest.raises(Refused) as caught:
        clone.publish("v0.1.0")
    assert rules_of(caught.value) == ["rehearsal.repository"]


def test_an_entry_is_committed_only_where_it_is_needed(clone: Scratch) -> None:
    """What the person wrote is released; only an empty section gets the rehearsal's own line."""
    checkout = Checkout(clone.root, LocalRunner())
    head = checkout.head()
    clone.add_entry()
    assert checkout.head() == head
    path = clone.root / changelog.FILE
    path.write_text(path.read_text().replace("- `demo.thing` does it.\n", ""))
    clone.commit_release("0.1.0")
    clone.add_entry()
    section = changelog.parse(path.read_text()).unreleased
    assert section is not None
    assert section.entries == 1
    assert checkout.dirty() == []


def test_git_that_fails_is_quoted(clone: Scratch) -> None:
    """The person reads what git said."""
    with pytest.raises(Refused) as caught:
        clone.git("checkout", "--quiet", "nowhere")
    assert rules_of(caught.value) == ["rehearsal.repository"]
    assert "nowhere" in caught.value.problems[0].what

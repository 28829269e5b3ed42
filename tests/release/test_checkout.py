"""What git is asked, on real repositories with real signatures."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from release.checkout import (
    ALLOWED_SIGNERS,
    REMOTE_WAIT_S,
    Checkout,
    RemoteTag,
    SignatureKind,
    TagFacts,
)
from release.model import Kind, Refused
from release.runner import Finished, LocalRunner
from tests.release.ledger_support import rules_of
from tests.release.repo_support import SIGNER, Repo, new_key, run_git
from tests.release.runner_support import Call, Double


def checkout(repo: Repo) -> Checkout:
    return Checkout(repo.root, LocalRunner())


class Instead(Double):
    """A runner that answers for one of git's commands and keeps how it was asked; all else runs for real."""

    def __init__(self, command: str, *, code: int = 0, error: str = "") -> None:
        self.command, self.code, self.error = command, code, error
        self.asked: list[Call] = []

    def answer(self, call: Call) -> Finished:
        if self.command not in call.words:
            return call.really()
        self.asked.append(call)
        return call.ended(self.code, error=self.error)


def test_commit_tree_and_time_are_gits_own(repo: Repo) -> None:
    """Line 0 is made of these."""
    asked = checkout(repo)
    assert asked.head() == repo.git("rev-parse", "HEAD")
    assert asked.tree() == repo.git("rev-parse", "HEAD^{tree}")
    assert asked.epoch() == 1_700_000_001
    assert repr(asked) == f"Checkout({str(repo.root)!r})"
    first = asked.head()
    repo.write("more.txt", "more\n")
    repo.commit()
    assert asked.tree(first) != asked.tree()
    assert asked.epoch(first) == 1_700_000_001


def test_dirty_names_every_path_that_is_not_committed(repo: Repo) -> None:
    """A changed, staged, removed or untracked file would be in nobody's commit."""
    repo.write("kept.txt", "kept\n")
    repo.write("moved.txt", "moved\nby\nmany\nlines\n")
    repo.commit()
    assert checkout(repo).dirty() == []
    repo.write("dist/ignored.whl", "x")
    assert checkout(repo).dirty() == []
    repo.write("pyproject.toml", "changed")
    repo.write("new folder/üntracked file.txt", "x")
    repo.write("staged.txt", "x")
    repo.git("add", "staged.txt")
    repo.git("mv", "moved.txt", "renamed.txt")
    (repo.root / "kept.txt").unlink()
    assert checkout(repo).dirty() == [
        "kept.txt",
        "moved.txt",
        "new folder/üntracked file.txt",
        "pyproject.toml",
        "renamed.txt",
        "staged.txt",
    ]


def test_a_persons_settings_do_not_hide_what_is_untracked(repo: Repo) -> None:
    """`status.showUntrackedFiles = no` is somebody's taste, not a clean tree."""
    repo.git("config", "status.showUntrackedFiles", "no")
    repo.write("untracked.txt", "x")
    assert checkout(repo).dirty() == ["untracked.txt"]


def test_a_hooks_environment_does_not_lead_elsewhere(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git sets GIT_DIR for its hooks; a stage run from one must still ask about its own root."""
    other = tmp_path / "other"
    run_git(tmp_path, "init", "--quiet", str(other))
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert checkout(repo).head() == repo.git("rev-parse", "HEAD")


def test_no_repository_and_no_commit_are_refused_with_a_remedy(tmp_path: Path) -> None:
    """A person who unpacked an archive, or has just begun, is told so."""
    with pytest.raises(Refused) as caught:
        Checkout(tmp_path, LocalRunner()).head()
    assert rules_of(caught.value) == ["checkout.git"]
    run_git(tmp_path, "init", "--quiet")
    with pytest.raises(Refused) as caught:
        Checkout(tmp_path, LocalRunner()).head()
    assert (caught.value.problems[0].where, caught.value.problems[0].what) == (
        "the git checkout",
        "has no commit yet",
    )


def test_a_commit_that_is_not_here_is_named(repo: Repo) -> None:
    """A shallow clone lacks some: the refusal says which, and quotes git where that says more."""
    asked, absent = checkout(repo), "f" * 40
    with pytest.raises(Refused) as caught:
        asked.tree(absent)
    assert caught.value.problems[0].what == f"has no commit {absent}"
    with pytest.raises(Refused) as caught:
        asked.epoch(absent)
    said = caught.value.problems[0].what
    assert said.startswith("git show failed: fatal: ")
    assert absent in said
    assert said == said.strip()


def test_a_persons_settings_do_not_change_a_commits_time(repo: Repo) -> None:
    """`log.showSignature` has git print the signer before all else."""
    signing = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={repo.key}")
    repo.git(*signing, "commit", "--quiet", "--allow-empty", "--gpg-sign", "--message", "signed")
    repo.git("config", "log.showSignature", "true")
    assert checkout(repo).epoch() == 1_700_000_001


def test_git_is_started_for_an_answer_alone(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks nobody for a password, takes no lock that another git waits for, and speaks plain English."""
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    instead = Instead("status")
    Checkout(repo.root, instead).dirty()
    (asked,) = instead.asked
    env = asked.env
    plain = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    assert {name: env.get(name) for name in plain} == plain
    assert {name for name in env if name.startswith("GIT_")} == plain.keys() - {"LC_ALL"}
    assert env["PATH"] == os.environ["PATH"]


def test_no_git_is_refused_with_a_remedy(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool that is missing is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused) as caught:
        checkout(repo).tree()
    assert "git could not be started" in caught.value.problems[0].what
    assert "install git" in caught.value.problems[0].remedy


def facts_of(repo: Repo, **changes: object) -> TagFacts:
    """What is known about a good v0.1.0 of HEAD; `changes` are what differs."""
    facts = TagFacts(
        name="v0.1.0",
        exists=True,
        tag_object=repo.git("rev-parse", "refs/tags/v0.1.0"),
        annotated=True,
        inner_name="v0.1.0",
        commit=repo.git("rev-parse", "HEAD"),
        signature=SignatureKind.SSH,
        signer=SIGNER,
        main_known=True,
        signers_known=True,
        reachable=True,
    )
    return replace(facts, **changes)  # pyright: ignore[reportArgumentType] - by name


def test_a_good_tag_is_seen_as_one(repo: Repo) -> None:
    """Signed by a listed key, annotated, on main."""
    tag_object = repo.sign("v0.1.0")
    facts = checkout(repo).tag_facts("v0.1.0")
    assert facts.tag_object == tag_object != facts.commit
    assert facts.signature_says.startswith(f'Good "git" signature for {SIGNER} with ED25519 key SHA256:')
    assert facts == facts_of(repo, signature_says=facts.signature_says)


@pytest.mark.parametrize(
    ("code", "said", "signer", "shown"),
    [
        (0, 'noise\nGood "git" signature for a with b with ED25519 key SHA256:x', "a with b", 2),
        (1, 'Good "git" signature for a with ED25519 key SHA256:x\nCould not verify', "", 2),
        (0, "fine", "", 1),
        (1, "1\n2\n3\n4\n5\n6\n7", "", 5),
    ],
)
def test_a_signer_is_read_from_what_the_verifier_says(
    repo: Repo, code: int, said: str, signer: str, shown: int
) -> None:
    """Only where it succeeds, and only as it says it of a signature by a listed key."""
    repo.sign("v0.1.0")
    instead = Instead("verify-tag", code=code, error=said)
    facts = Checkout(repo.root, instead).tag_facts("v0.1.0")
    assert facts.signer == signer
    assert facts.signature_says == "\n".join(said.split("\n")[-shown:])


def test_a_list_of_signers_that_cannot_be_read_is_named_by_its_place(repo: Repo) -> None:
    """What the verifier read is a copy; the person mends the file of main."""
    repo.write(ALLOWED_SIGNERS, f"{SIGNER} ssh-ed25519 no-key\n")
    repo.commit()
    repo.push()
    repo.sign("v0.1.0")
    says = checkout(repo).tag_facts("v0.1.0").signature_says
    assert f"{ALLOWED_SIGNERS}:1: " in says
    assert tempfile.gettempdir() not in says


def test_an_absent_tag_is_a_fact_too(repo: Repo) -> None:
    """The rules say what to do about it."""
    assert checkout(repo).tag_facts("v9") == TagFacts(name="v9", exists=False)


def test_a_lightweight_tag_is_no_object(repo: Repo) -> None:
    """Nobody can have signed it."""
    repo.git("tag", "v0.1.0")
    facts = checkout(repo).tag_facts("v0.1.0")
    nobody = {"annotated": False, "inner_name": "", "signature": SignatureKind.NONE, "signer": ""}
    assert facts == facts_of(repo, **nobody)
    assert facts.tag_object == facts.commit


def test_a_tag_of_no_commit_is_refused(repo: Repo) -> None:
    """Git tags any object; a release is of a commit."""
    repo.git("tag", "v0.1.0", "HEAD:pyproject.toml")
    with pytest.raises(Refused) as caught:
        checkout(repo).tag_facts("v0.1.0")
    said = caught.value.problems[0].what
    assert re.fullmatch(r"v0\.1\.0 is not of a commit: error: .*expected commit type.*", said)


def test_an_unsigned_tag_has_no_signature(repo: Repo) -> None:
    """An annotated tag is anybody's."""
    repo.git("tag", "--annotate", "--message", "v0.1.0", "v0.1.0")
    facts = checkout(repo).tag_facts("v0.1.0")
    assert facts == facts_of(repo, signature=SignatureKind.NONE, signer="")


def test_a_stranger_has_no_name(repo: Repo, tmp_path: Path) -> None:
    """A good signature by a key that main does not list is nobody's."""
    repo.sign("v0.1.0", key=new_key(tmp_path / "stranger"))
    facts = checkout(repo).tag_facts("v0.1.0")
    assert (facts.signature, facts.signer) == (SignatureKind.SSH, "")
    assert facts.signature_says
    assert str(tmp_path) not in facts.signature_says


def test_the_tags_own_tree_cannot_name_its_signer(repo: Repo, tmp_path: Path) -> None:
    """The list is main's: whoever tags a branch of their own cannot add themselves."""
    key = new_key(tmp_path / "stranger")
    public = key.with_suffix(".pub").read_text(encoding="utf-8")
    repo.write(ALLOWED_SIGNERS, f"mallory@example.org {public}")
    repo.commit()
    repo.sign("v0.1.0", key=key)
    facts = checkout(repo).tag_facts("v0.1.0")
    assert (facts.signer, facts.reachable) == ("", False)


@pytest.mark.parametrize("setting", ["gpg.ssh.program", "gpg.ssh.revocationFile"])
def test_a_persons_settings_do_not_keep_a_signature_from_being_read(repo: Repo, setting: str) -> None:
    """Another program to sign with, or a list of revoked keys, is this machine's."""
    repo.sign("v0.1.0")
    repo.git("config", setting, "/nowhere")
    assert checkout(repo).tag_facts("v0.1.0").signer == SIGNER


def test_a_persons_settings_do_not_name_the_signer(repo: Repo, tmp_path: Path) -> None:
    """A local list of signers must not stand in for main's."""
    key = new_key(tmp_path / "stranger")
    signers = tmp_path / "mine"
    signers.write_text(
        f"mallory@example.org {key.with_suffix('.pub').read_text(encoding='utf-8')}", encoding="utf-8"
    )
    repo.git("config", "gpg.ssh.allowedSignersFile", str(signers))
    repo.sign("v0.1.0", key=key)
    assert checkout(repo).tag_facts("v0.1.0").signer == ""


def test_an_edited_tag_is_nobodys(repo: Repo) -> None:
    """The signature covers the commit and the name."""
    text = subprocess.run(
        ["git", "cat-file", "tag", repo.sign("v0.1.0")], cwd=repo.root, check=True, capture_output=True
    ).stdout
    forged = text.replace(b"tag v0.1.0", b"tag v0.2.0")
    made = subprocess.run(
        ["git", "mktag"], cwd=repo.root, input=forged, check=True, capture_output=True
    ).stdout.decode()
    repo.git("update-ref", "refs/tags/v0.2.0", made.strip())
    facts = checkout(repo).tag_facts("v0.2.0")
    assert (facts.inner_name, facts.signature, facts.signer) == ("v0.2.0", SignatureKind.SSH, "")


def test_a_good_tag_under_another_name_shows_its_own(repo: Repo) -> None:
    """Git verifies the object and does not look at the ref's name."""
    repo.git("update-ref", "refs/tags/v0.2.0", repo.sign("v0.1.0"))
    facts = checkout(repo).tag_facts("v0.2.0")
    assert (facts.name, facts.inner_name, facts.signer) == ("v0.2.0", "v0.1.0", SIGNER)


@pytest.mark.parametrize("kind", ["PGP SIGNATURE", "PGP MESSAGE", "SIGNED MESSAGE"])
def test_a_signature_of_another_kind_is_told_apart(repo: Repo, kind: str) -> None:
    """A key ring on this machine must not vouch for a release."""
    message = f"v0.1.0\n\n-----BEGIN {kind}-----\n\nx\n-----END {kind}-----"
    repo.git("tag", "--annotate", "--message", message, "v0.1.0")
    facts = checkout(repo).tag_facts("v0.1.0")
    assert facts == facts_of(repo, signature=SignatureKind.OTHER, signer="")


def test_a_commit_that_main_lacks_is_not_reachable(repo: Repo) -> None:
    """A release is made from what was reviewed and merged."""
    repo.write("more.txt", "x")
    repo.commit()
    repo.sign("v0.1.0")
    assert not checkout(repo).tag_facts("v0.1.0").reachable
    repo.push()
    assert checkout(repo).tag_facts("v0.1.0").reachable


def test_without_main_and_signers_nothing_is_known(repo: Repo) -> None:
    """A checkout of the tag alone cannot vouch for it, and says which part is missing."""
    repo.sign("v0.1.0")
    (repo.root / ALLOWED_SIGNERS).unlink()
    repo.commit()
    repo.push()
    facts = checkout(repo).tag_facts("v0.1.0")
    known = replace(facts_of(repo, signers_known=False, signer=""), commit=repo.git("rev-parse", "HEAD~1"))
    assert facts == known
    repo.git("update-ref", "-d", "refs/remotes/origin/main")
    repo.write("refs/remotes/origin/main", "a file of that name\n")
    facts = checkout(repo).tag_facts("v0.1.0")
    assert facts == replace(known, main_known=False, reachable=False)


def test_a_branch_called_like_the_tag_is_not_it(repo: Repo) -> None:
    """Names are looked up below refs/tags only."""
    repo.git("branch", "v0.1.0")
    repo.write("refs/tags/v0.1.0", "a file of that name\n")
    assert not checkout(repo).tag_facts("v0.1.0").exists


def test_origin_is_asked_what_the_tag_is_now(repo: Repo) -> None:
    """A tag moved at the remote after this checkout was made must show."""
    asked = checkout(repo)
    assert asked.remote_tag("v0.1.0") is None
    tag_object = repo.sign("v0.1.0")
    assert asked.remote_tag("v0.1.0") is None
    repo.git("push", "--quiet", "origin", "v0.1.0")
    assert asked.remote_tag("v0.1.0") == RemoteTag(tag_object=tag_object, commit=asked.head())
    repo.git("tag", "v0.1.0-light")
    repo.git("push", "--quiet", "origin", "v0.1.0-light")
    assert asked.remote_tag("v0.1.0-light") == RemoteTag(tag_object=asked.head(), commit=asked.head())
    assert asked.tags() == {"v0.1.0", "v0.1.0-light"}
    repo.git("push", "--quiet", "origin", "v0.1.0:refs/tags/old/refs/tags/v0")
    # Whatever a person's branch follows, origin is asked.
    repo.git("config", "branch.main.remote", "elsewhere")
    assert asked.remote_tags() == {"v0.1.0", "v0.1.0-light", "old/refs/tags/v0"}


def test_an_origin_that_does_not_answer_is_a_refusal_or_nothing(repo: Repo) -> None:
    """`pypi` must not go on without an answer; `prepare` may, and says so."""
    shutil.rmtree(repo.root.parent / "origin.git")
    with pytest.raises(Refused) as caught:
        checkout(repo).remote_tag("v0.1.0")
    assert (caught.value.kind, rules_of(caught.value)) == (Kind.NOT_YET, ["checkout.origin"])
    assert "ls-remote" in caught.value.problems[0].remedy
    assert checkout(repo).remote_tags() is None


def test_origin_is_waited_for_so_long_and_quoted(repo: Repo) -> None:
    """Who has no network reads what git says of it, at its end."""
    instead = Instead("ls-remote", code=128, error="1\n2\n3\n4\nCould not resolve host")
    with pytest.raises(Refused) as caught:
        Checkout(repo.root, instead).remote_tag("v0.1.0")
    (problem,) = caught.value.problems
    assert problem.where == "tag v0.1.0 at origin"
    assert problem.what == "could not be asked for:\n3\n4\nCould not resolve host"
    assert Checkout(repo.root, instead).remote_tags() is None
    assert [call.timeout_s for call in instead.asked] == [REMOTE_WAIT_S, REMOTE_WAIT_S]


def test_a_checkout_without_origin_cannot_be_asked_for_what_origin_has(repo: Repo) -> None:
    """Waiting does not mend it: a release is made in a clone."""
    repo.git("remote", "remove", "origin")
    with pytest.raises(Refused) as caught:
        checkout(repo).remote_tag("v0.1.0")
    assert (caught.value.kind, rules_of(caught.value)) == (Kind.REFUSED, ["checkout.git"])
    assert caught.value.problems[0].what.startswith("has no remote origin: ")


def test_the_export_is_the_commit_and_nothing_else(repo: Repo, tmp_path: Path) -> None:
    """What is built is what was reviewed: nothing untracked, nothing changed, no setting of this machine."""
    repo.write("crlf.bin", "a\r\nb\n")
    repo.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    repo.git("config", "core.autocrlf", "true")
    repo.git("-c", "core.autocrlf=false", "add", "--all")
    repo.git("-c", "core.autocrlf=false", "commit", "--quiet", "--message", "x")
    commit = repo.git("rev-parse", "HEAD")
    repo.write("untracked.txt", "x")
    repo.write("pyproject.toml", "changed")
    dest = checkout(repo).archive(commit, tmp_path / "out" / "tree")
    assert dest == tmp_path / "out" / "tree"
    files = sorted(path.relative_to(dest).as_posix() for path in dest.rglob("*") if path.is_file())
    assert files == sorted(repo.git("ls-tree", "-r", "--name-only", commit).splitlines())
    assert (dest / "crlf.bin").read_bytes() == b"a\r\nb\n"
    assert "Demo.Project" in (dest / "pyproject.toml").read_text(encoding="utf-8")
    if os.name == "posix":
        assert (dest / "run.sh").stat().st_mode & 0o777 == 0o755
        assert (dest / "crlf.bin").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("setting", ["tar.umask", "core.attributesFile"])
def test_a_persons_settings_do_not_change_an_export(repo: Repo, tmp_path: Path, setting: str) -> None:
    """Neither the permissions that an archive gets here, nor attributes of this machine."""
    attributes = tmp_path / "attributes"
    attributes.write_text("pyproject.toml export-ignore\n", encoding="utf-8")
    repo.git("config", setting, {"tar.umask": "0077"}.get(setting, str(attributes)))
    dest = checkout(repo).archive("HEAD", tmp_path / "tree")
    assert (dest / "pyproject.toml").is_file()
    if os.name == "posix":
        assert (dest / "pyproject.toml").stat().st_mode & 0o077 == 0o044


def test_an_export_of_a_repository_of_long_ids(tmp_path: Path) -> None:
    """Git can name objects by SHA-256; files are then compared in that."""
    root = tmp_path / "long"
    run_git(tmp_path, "init", "--quiet", "--template=", "--object-format=sha256", str(root))
    name = "a\tname.txt" if os.name == "posix" else "a name.txt"
    (root / name).write_text("one\n", encoding="utf-8", newline="\n")
    run_git(root, "add", "--all")
    run_git(root, "commit", "--quiet", "--message", "x")
    dest = Checkout(root, LocalRunner()).archive("HEAD", tmp_path / "tree")
    assert (dest / name).read_text(encoding="utf-8") == "one\n"


@pytest.mark.parametrize(
    ("attributes", "what"),
    [
        ("secret.txt export-ignore", "missing"),
        ("secret.txt export-subst", "other bytes"),
        ("*.txt eol=crlf", "other"),
    ],
)
def test_an_export_that_differs_from_the_tree_is_refused(
    repo: Repo, tmp_path: Path, attributes: str, what: str
) -> None:
    """An attribute that changes what is exported makes the bytes depend on git, not on the commit."""
    repo.write("secret.txt", "$Format:%H$\n")
    repo.write(".gitattributes", attributes + "\n")
    commit = repo.commit()
    with pytest.raises(Refused) as caught:
        checkout(repo).archive(commit, tmp_path / "tree")
    assert rules_of(caught.value) == ["checkout.export-is-the-tree"]
    assert caught.value.problems[0].where == "secret.txt"
    assert what in caught.value.problems[0].what


def test_an_export_of_links_and_submodules(repo: Repo, tmp_path: Path) -> None:
    """A symbolic link is compared by where it points; a submodule cannot be exported and is refused."""
    (repo.root / "link").symlink_to("pyproject.toml")
    commit = repo.commit()
    dest = checkout(repo).archive(commit, tmp_path / "one")
    assert (dest / "link").is_symlink()
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{commit},vendored")
    repo.git("commit", "--quiet", "--message", "x")
    with pytest.raises(Refused) as caught:
        checkout(repo).archive("HEAD", tmp_path / "two")
    assert "submodule" in caught.value.problems[0].what


def test_an_unknown_commit_cannot_be_exported(repo: Repo, tmp_path: Path) -> None:
    """The refusal names it."""
    with pytest.raises(Refused) as caught:
        checkout(repo).archive("f" * 40, tmp_path / "tree")
    assert caught.value.problems[0].what.startswith(f"cannot export {'f' * 40}: fatal: ")

"""The git checkout a release is made from: every question put to git, and the one export of a commit.

It answers with facts and judges nothing; what a fact means for a release is in `release.rules`.
"""

import enum
import hashlib
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from release.model import Kind, Problem, Refused
from release.runner import Finished, Runner

__all__ = ["ALLOWED_SIGNERS", "MAIN", "Checkout", "RemoteTag", "SignatureKind", "TagFacts"]

MAIN = "origin/main"
"""A release is made of commits that are reachable from here, by the signers listed here."""

ALLOWED_SIGNERS = ".github/allowed_signers"
"""Who may sign a release tag, in ssh-keygen's format; read from `MAIN`, never from the tag's own tree."""

REMOTE_WAIT_S = 30.0
"""How long an answer of `origin` may take."""

_GITLINK = "160000"
_SYMLINK = "120000"


class SignatureKind(enum.StrEnum):
    """What stands at the end of a tag object."""

    NONE = "none"
    SSH = "ssh"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class TagFacts:
    """What git knows about one tag of this checkout; empty strings where there is nothing to know."""

    name: str
    exists: bool
    tag_object: str = ""
    """Id of what the ref points at: the tag object, or the commit itself for a lightweight tag."""
    annotated: bool = False
    inner_name: str = ""
    """The name the signature covers. Git does not compare it with the ref's."""
    commit: str = ""
    signature: SignatureKind = SignatureKind.NONE
    signer: str = ""
    """The principal of `ALLOWED_SIGNERS` that the signature is by; empty when there is none."""
    signature_says: str = ""
    """What the verifier printed, for a person."""
    main_known: bool = False
    """True when this checkout has `MAIN`."""
    signers_known: bool = False
    """True when `MAIN` has `ALLOWED_SIGNERS`."""
    reachable: bool = False
    """True when the commit is `MAIN` or one of its ancestors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTag:
    """What the remote repository says about a tag now."""

    tag_object: str
    commit: str


class Checkout:
    """One git checkout, asked through the injected runner.

    Every method raises `Refused` when git is missing, `root` is not a checkout, or what was asked for is
    not there.
    """

    def __init__(self, root: Path, runner: Runner) -> None:
        self.root = root
        self._runner = runner

    def __repr__(self) -> str:
        return f"Checkout({str(self.root)!r})"

    def head(self) -> str:
        """The id of the commit that is checked out."""
        return self._ask("rev-parse", "--verify", "--quiet", "HEAD^{commit}", what="has no commit yet")

    def tree(self, commit: str = "HEAD") -> str:
        """The id of a commit's tree."""
        return self._ask(
            "rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}", what=f"has no commit {commit}"
        )

    def epoch(self, commit: str = "HEAD") -> int:
        """A commit's committer time in seconds since 1970: the time stamp of everything built from it."""
        return int(
            self._ask("show", "--no-patch", "--no-show-signature", "--format=%ct", f"{commit}^{{commit}}")
        )

    def dirty(self) -> list[str]:
        """Paths that are changed, staged or untracked, ignored ones left out, sorted; empty when clean."""
        # Renames are reported as a deletion and an addition, so that every entry is one status and one path.
        words = (
            "status",
            "--porcelain=v1",
            "-z",
            "--untracked-files=all",
            "--no-renames",
            "--ignore-submodules=none",
        )
        found = self._ask(*words, strip=False)
        return sorted(entry[3:] for entry in found.split("\0") if entry)

    def tag_facts(self, tag: str) -> TagFacts:
        """Everything the tag rules need to know; a tag that is not here is a fact too."""
        self.head()
        ref = f"refs/tags/{tag}"
        found = self._git("rev-parse", "--verify", ref)
        if not found.ok:
            return TagFacts(name=tag, exists=False)
        tag_object = found.stdout.strip()
        commit = self._ask(
            "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", what=f"{tag} is not of a commit"
        )
        annotated = self._ask("cat-file", "-t", tag_object) == "tag"
        text = self._ask("cat-file", "tag", tag_object) if annotated else ""
        headers, _, message = text.partition("\n\n")
        fields = {key: value for key, _, value in (line.partition(" ") for line in headers.splitlines())}
        main_known = self._git("rev-parse", "--verify", f"refs/remotes/{MAIN}").ok
        signers = self._git("cat-file", "blob", f"refs/remotes/{MAIN}:{ALLOWED_SIGNERS}")
        kind = _signature_kind(message)
        signer, says = "", ""
        if kind is SignatureKind.SSH and signers.ok:
            signer, says = self._verify(ref, signers.stdout)
        return TagFacts(
            name=tag,
            exists=True,
            tag_object=tag_object,
            annotated=annotated,
            inner_name=fields.get("tag", ""),
            commit=commit,
            signature=kind,
            signer=signer,
            signature_says=says,
            main_known=main_known,
            signers_known=signers.ok,
            reachable=main_known
            and self._git("merge-base", "--is-ancestor", commit, f"refs/remotes/{MAIN}").ok,
        )

    def remote_tag(self, tag: str) -> RemoteTag | None:
        """What `origin` says about a tag now, over the network; None when it does not have it.

        Raises:
            Refused: of kind NOT_YET when `origin` does not answer.
        """
        self._ask("remote", "get-url", "origin", what="has no remote origin")
        ref = f"refs/tags/{tag}"
        answer = self._git("ls-remote", "origin", ref, f"{ref}^{{}}", timeout_s=REMOTE_WAIT_S)
        if not answer.ok:
            raise Refused(
                Problem(
                    rule="checkout.origin",
                    where=f"tag {tag} at origin",
                    what=f"could not be asked for:\n{answer.tail(3)}",
                    remedy="see whether `git ls-remote origin` answers, then run the same command again",
                ),
                kind=Kind.NOT_YET,
            )
        found = {name: oid for oid, _, name in (line.partition("\t") for line in answer.stdout.splitlines())}
        if ref not in found:
            return None
        return RemoteTag(tag_object=found[ref], commit=found.get(f"{ref}^{{}}", found[ref]))

    def tags(self) -> frozenset[str]:
        """Every tag of this checkout."""
        return frozenset(self._ask("tag").split())

    def remote_tags(self) -> frozenset[str] | None:
        """Every tag of `origin`, over the network; None when it does not answer."""
        answer = self._git("ls-remote", "--tags", "--refs", "origin", timeout_s=REMOTE_WAIT_S)
        if not answer.ok:
            return None
        return frozenset(line.partition("refs/tags/")[2] for line in answer.stdout.splitlines())

    def archive(self, commit: str, dest: Path) -> Path:
        """Export a commit's files into the new folder `dest`, prove that they are its tree, return `dest`.

        Files come from `git archive` with a fixed umask and no line-end conversion, so nothing untracked,
        no local attribute and no setting of this machine gets in.

        Raises:
            Refused: when the export differs from the tree (an `export-ignore` or `export-subst` attribute,
                a filter, a line-end attribute that does not fit what is committed).
        """
        dest.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as scratch:
            tar = Path(scratch) / "tree.tar"
            settings = ("tar.umask=0022", "core.autocrlf=false", f"core.attributesFile={os.devnull}")
            self._ask(
                *(word for setting in settings for word in ("-c", setting)),
                "archive",
                f"--output={tar}",
                commit,
                what=f"cannot export {commit}",
            )
            with tarfile.open(tar) as opened:
                opened.extractall(dest, filter="data")
        problems = self._archive_problems(commit, dest)
        if problems:
            raise Refused(*problems)
        return dest

    def _archive_problems(self, commit: str, dest: Path) -> list[Problem]:
        """Every committed file that the export lacks or holds with other bytes."""
        remedy = (
            "remove the git attribute (export-ignore, export-subst, filter, eol) that changes it, and commit"
        )
        listing = self._ask("ls-tree", "-r", "-z", commit)
        problems: list[Problem] = []
        for entry in filter(None, listing.split("\0")):
            facts, _, name = entry.partition("\t")
            mode, _, oid = facts.split()
            path = dest / name
            if mode == _GITLINK:
                what = "is a submodule, which an export leaves out"
            elif not path.is_symlink() and not path.is_file():
                what = "is committed but missing in the export"
            elif _blob_id(path, symlink=mode == _SYMLINK, like=oid) != oid:
                what = "has other bytes in the export than in the commit"
            else:
                continue
            problems.append(Problem(rule="checkout.export-is-the-tree", where=name, what=what, remedy=remedy))
        return problems

    def _verify(self, ref: str, signers: str) -> tuple[str, str]:
        """The principal of an SSH signature by one of `signers`, else an empty text; and what was said."""
        with tempfile.TemporaryDirectory() as scratch:
            file, revoked = Path(scratch) / "allowed_signers", Path(scratch) / "revoked"
            file.write_bytes(signers.encode())
            revoked.touch()
            settings = ("-c", f"gpg.ssh.allowedSignersFile={file}", "-c", "gpg.ssh.program=ssh-keygen")
            verified = self._git(*settings, "-c", f"gpg.ssh.revocationFile={revoked}", "verify-tag", ref)
        says = verified.tail(5).replace(str(file), ALLOWED_SIGNERS)
        start, end = 'Good "git" signature for ', " with "
        line = next((line for line in says.splitlines() if line.startswith(start)), "")
        signer = line.removeprefix(start).rpartition(end)[0] if verified.ok else ""
        return signer, says

    def _git(self, *words: str, timeout_s: float | None = None) -> Finished:
        return self._runner(["git", *words], cwd=self.root, env=_environment(), timeout_s=timeout_s)

    def _ask(self, *words: str, what: str = "", strip: bool = True) -> str:
        """What git printed; a failure is a refusal that quotes it."""
        finished = self._git(*words)
        if not finished.ok:
            said = finished.stderr.strip()
            told = ": ".join(part for part in (what or f"git {words[0]} failed", said) if part)
            raise Refused(
                Problem(
                    rule="checkout.git",
                    where="the git checkout",
                    what=told,
                    remedy="install git if it is missing; run this in a full clone of the repository",
                )
            )
        return finished.stdout.strip() if strip else finished.stdout


def _environment() -> dict[str, str]:
    """This process's environment without what redirects git (a hook sets it), and with plain messages."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # Without optional locks, asking never collides with another git in the same checkout.
    return env | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}


def _signature_kind(message: str) -> SignatureKind:
    """Which signature ends a tag's message."""
    if "-----BEGIN SSH SIGNATURE-----" in message:
        return SignatureKind.SSH
    if "-----BEGIN PGP " in message or "-----BEGIN SIGNED MESSAGE-----" in message:
        return SignatureKind.OTHER
    return SignatureKind.NONE


def _blob_id(path: Path, *, symlink: bool, like: str) -> str:
    """A file's git object id, in the hash of `like`."""
    data = os.fsencode(path.readlink()) if symlink and path.is_symlink() else path.read_bytes()
    name = "sha256" if len(like) == hashlib.sha256().digest_size * 2 else "sha1"
    return hashlib.new(name, b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()

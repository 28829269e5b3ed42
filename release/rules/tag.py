"""Whether a tag may stand for a release: facts about it in, problems out."""

from packaging.version import Version

from release.checkout import ALLOWED_SIGNERS, MAIN, RemoteTag, SignatureKind, TagFacts
from release.ledger import Opening
from release.model import Problem

__all__ = ["fits_version", "may_release", "name_of", "not_moved"]


def name_of(version: Version) -> str:
    """The one tag that releases a version: `v` and its PEP 440 normal form."""
    return f"v{version}"


def fits_version(tag: str, version: Version) -> list[Problem]:
    """Empty when the tag is `v` and the normalised version."""
    if tag == name_of(version):
        return []
    return [
        Problem(
            rule="tag.is-version",
            where=f"tag {tag}",
            what=f"is not {name_of(version)}, which pyproject.toml's version asks for",
            remedy="tag the commit whose pyproject.toml has that version, by that name",
        )
    ]


def may_release(facts: TagFacts, *, version: Version, commit: str) -> list[Problem]:
    """Every reason why a tag may not stand for the release of `version` from `commit`."""
    problems = fits_version(facts.name, version)

    def wrong(rule: str, what: str, remedy: str) -> None:
        problems.append(Problem(rule=f"tag.{rule}", where=f"tag {facts.name}", what=what, remedy=remedy))

    again = (
        f"delete it, then `git tag --sign {facts.name}` on a commit of main; docs/how-to/release.md says how"
    )
    if not facts.exists:
        wrong(
            "exists",
            "does not exist in this checkout",
            f"`git fetch --tags`, or `git tag --sign {facts.name}`",
        )
        return problems
    if facts.commit != commit:
        wrong("is-head", f"is of commit {facts.commit}, not of {commit}", f"check out {facts.name}")
    if not facts.main_known:
        wrong("main-known", f"cannot be compared: this checkout has no {MAIN}", "`git fetch origin main`")
    elif not facts.reachable:
        wrong(
            "on-main",
            f"its commit {facts.commit} is not reachable from {MAIN}",
            "bring the commit to main, then tag it (in a shallow clone: `git fetch --unshallow` first)",
        )
    if not facts.annotated:
        wrong("annotated", "is a lightweight tag, which nobody can sign", again)
        return problems
    if facts.inner_name != facts.name:
        wrong(
            "names-itself", f"was signed as {facts.inner_name}: another tag's object under this name", again
        )
    if facts.signature is SignatureKind.NONE:
        wrong("signed", "is not signed", again)
    elif facts.signature is not SignatureKind.SSH:
        wrong("signed", f"has a signature that is not SSH's, which {ALLOWED_SIGNERS} cannot vouch for", again)
    elif facts.main_known and not facts.signers_known:
        remedy = f'commit {ALLOWED_SIGNERS} to main, a line a signer: e-mail, namespaces="git", public key'
        wrong("signers-known", f"cannot be verified: {MAIN} has no {ALLOWED_SIGNERS}", remedy)
    elif facts.main_known and not facts.signer:
        said = facts.signature_says
        wrong("allowed-signer", f"is not signed by anybody in {ALLOWED_SIGNERS} of {MAIN}: {said}", again)
    return problems


def not_moved(opening: Opening, *, local: TagFacts, remote: RemoteTag | None) -> list[Problem]:
    """Empty when the tag is, here and at the remote, still the object that the ledger opened with.

    Args:
        opening: Line 0.
        local: The tag in this checkout.
        remote: The tag at the remote; None when the remote does not have it.
    """
    here = (local.tag_object, local.commit) if local.exists else None
    there = None if remote is None else (remote.tag_object, remote.commit)
    expected = (opening.tag_object, opening.commit)
    return [
        Problem(
            rule="tag.not-moved",
            where=f"tag {opening.tag} {place}",
            what=f"is {found[0]} of commit {found[1]}, the ledger opened with {expected[0]} of {expected[1]}"
            if found
            else f"is gone; the ledger opened with {expected[0]} of commit {expected[1]}",
            remedy="put the tag back where it was, or burn the version: prepare and tag the next one",
        )
        for place, found in (("in this checkout", here), ("at origin", there))
        if found != expected
    ]

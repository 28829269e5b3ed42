"""Which tags may stand for a release."""

from dataclasses import replace

import pytest
from packaging.version import Version

from release.checkout import RemoteTag, SignatureKind, TagFacts
from release.model import Mode
from release.rules import tag
from tests.release.ledger_support import COMMIT, TAG_OBJECT, TREE, opening

GOOD = TagFacts(
    name="v0.1.0",
    exists=True,
    tag_object=TAG_OBJECT,
    annotated=True,
    inner_name="v0.1.0",
    commit=COMMIT,
    signature=SignatureKind.SSH,
    signer="maintainer@example.org",
    main_known=True,
    signers_known=True,
    reachable=True,
)
STAYED = RemoteTag(tag_object=TAG_OBJECT, commit=COMMIT)


def rules(facts: TagFacts, version: str = "0.1.0", commit: str = COMMIT) -> list[str]:
    problems = tag.may_release(facts, version=Version(version), commit=commit)
    assert all(
        problem.where == f"tag {facts.name}" and problem.what and problem.remedy for problem in problems
    )
    return [problem.rule for problem in problems]


def test_a_signed_tag_of_main_may_release() -> None:
    """Nothing to say about the one good form."""
    assert rules(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"exists": False}, ["tag.exists"]),
        ({"commit": TREE}, ["tag.is-head"]),
        ({"main_known": False, "signers_known": False, "reachable": False, "signer": ""}, ["tag.main-known"]),
        ({"reachable": False}, ["tag.on-main"]),
        ({"annotated": False, "signature": SignatureKind.NONE, "signer": ""}, ["tag.annotated"]),
        ({"annotated": False, "reachable": False}, ["tag.on-main", "tag.annotated"]),
        ({"inner_name": "v0.0.9"}, ["tag.names-itself"]),
        ({"signature": SignatureKind.NONE, "signer": ""}, ["tag.signed"]),
        ({"signature": SignatureKind.OTHER, "signer": ""}, ["tag.signed"]),
        ({"signers_known": False, "signer": ""}, ["tag.signers-known"]),
        ({"signer": ""}, ["tag.allowed-signer"]),
        (
            {"commit": TREE, "reachable": False, "inner_name": "x", "signer": ""},
            ["tag.is-head", "tag.on-main", "tag.names-itself", "tag.allowed-signer"],
        ),
    ],
)
def test_every_other_form_is_refused_by_the_rule_named_for_it(
    changes: dict[str, str], expected: list[str]
) -> None:
    """One weak tag is a release by anybody."""
    assert rules(replace(GOOD, **changes)) == expected  # pyright: ignore[reportArgumentType] - fields by name


@pytest.mark.parametrize(
    ("name", "version", "fits"),
    [
        ("v0.1.0", "0.1.0", True),
        ("v0.1.0rc1", "0.1.0-RC.1", True),
        ("0.1.0", "0.1.0", False),
        ("v0.1", "0.1.0", False),
        ("v0.1.0-rc1", "0.1.0rc1", False),
        ("V0.1.0", "0.1.0", False),
        ("v0.1.0 ", "0.1.0", False),
        ("v0.1.1", "0.1.0", False),
        ("", "0.1.0", False),
    ],
)
def test_a_tag_is_v_and_the_normalised_version(name: str, version: str, fits: bool) -> None:
    """One version has one tag, and a reader of the index finds it."""
    problems = tag.fits_version(name, Version(version))
    assert (problems == []) is fits
    assert all(problem.what.startswith(f"is not v{Version(version)},") for problem in problems)
    named = replace(GOOD, name=name, inner_name=name)
    assert rules(named, version) == ([] if fits else ["tag.is-version"])


def test_a_wrong_name_is_told_together_with_everything_else() -> None:
    """A person mends all of it in one go."""
    assert rules(TagFacts(name="x", exists=False)) == ["tag.is-version", "tag.exists"]


def test_a_tag_that_stayed_is_not_moved() -> None:
    """Here and at the remote it is line 0's object."""
    opened = opening(mode=Mode.RELEASE)
    assert tag.not_moved(opened, local=GOOD, remote=STAYED) == []


def test_what_git_says_of_a_signature_is_passed_on() -> None:
    """A person sees which key it was."""
    facts = replace(GOOD, signer="", signature_says="no principal matched")
    (problem,) = tag.may_release(facts, version=Version("0.1.0"), commit=COMMIT)
    assert problem.what.endswith(": no principal matched")


@pytest.mark.parametrize(
    ("local", "remote", "places", "found"),
    [
        (replace(GOOD, tag_object=TREE), STAYED, ["in this checkout"], f"{TREE} of commit {COMMIT}"),
        (replace(GOOD, commit=TREE), STAYED, ["in this checkout"], f"{TAG_OBJECT} of commit {TREE}"),
        (TagFacts(name="v0.1.0", exists=False), None, ["in this checkout", "at origin"], "gone"),
        (GOOD, RemoteTag(tag_object=TREE, commit=COMMIT), ["at origin"], f"{TREE} of commit {COMMIT}"),
        (
            GOOD,
            RemoteTag(tag_object=TAG_OBJECT, commit=TREE),
            ["at origin"],
            f"{TAG_OBJECT} of commit {TREE}",
        ),
        (GOOD, None, ["at origin"], "gone"),
    ],
)
def test_a_moved_or_removed_tag_is_refused_with_its_place(
    local: TagFacts, remote: RemoteTag | None, places: list[str], found: str
) -> None:
    """What is published must stay what the tag shows."""
    problems = tag.not_moved(opening(mode=Mode.RELEASE), local=local, remote=remote)
    assert [problem.rule for problem in problems] == ["tag.not-moved"] * len(places)
    assert [problem.where for problem in problems] == [f"tag v0.1.0 {place}" for place in places]
    opened = f"{TAG_OBJECT} of commit {COMMIT}" if found == "gone" else f"{TAG_OBJECT} of {COMMIT}"
    ends = "; " if found == "gone" else ", "
    assert {problem.what for problem in problems} == {f"is {found}{ends}the ledger opened with {opened}"}

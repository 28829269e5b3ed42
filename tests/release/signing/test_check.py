"""Whose signature a file has: real attestations by the embedded Sigstore, right and wrong in one thing."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pypi_attestations import Attestation, AttestationType, GitHubPublisher
from sigstore.dsse import StatementBuilder
from sigstore.errors import TUFError
from sigstore.models import ClientTrustConfig
from sigstore.verify import Verifier

from release.model import Kind, Mode, Refused
from release.rehearsal import world
from release.signing.check import (
    COMMIT,
    REF,
    TRUST,
    attestation_problem,
    believing,
    provenance_problem,
    trust_config,
    trust_file,
)
from tests.release.rehearsal.support import FACTS, WHEEL_NAME
from tests.release.signing.support import CLAIMS, PUBLISHER, Signing

DATA = b"the bytes of a wheel"
SHA256 = hashlib.sha256(DATA).hexdigest()
HERE = f"{FACTS.owner}/{FACTS.repository}"


def problem(
    signing: Signing,
    read: Attestation,
    *,
    name: str = WHEEL_NAME,
    sha256: str = SHA256,
    claims: Mapping[str, str] = CLAIMS,
) -> str | None:
    with believing(signing.world.trust):
        return attestation_problem(read, name, sha256, PUBLISHER, claims)


def test_the_jobs_own_word_is_taken(signing: Signing) -> None:
    """Signed by this workflow, for this commit and tag, over this name and these bytes."""
    assert problem(signing, signing.sign(WHEEL_NAME, DATA)) is None


@pytest.mark.parametrize(
    ("name", "sha256", "said"),
    [
        (WHEEL_NAME, "0" * 64, "digest"),
        ("demo_project-1.1-py3-none-any.whl", SHA256, "distribution name"),
        ("no distribution", SHA256, "unknown distribution format"),
    ],
)
def test_another_files_attestation_is_not_taken(signing: Signing, name: str, sha256: str, said: str) -> None:
    """An attestation holds for one name and one digest."""
    found = problem(signing, signing.sign(WHEEL_NAME, DATA), name=name, sha256=sha256)
    assert found is not None
    assert said in found


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"repository": f"{FACTS.owner}/fork"}, "OIDCSourceRepositoryURI"),
        ({"workflow_ref": f"{HERE}/.github/workflows/ci.yml@refs/tags/v1.0"}, "Trusted Publisher"),
        ({"sha": "b" * 40}, f"was signed for '{'b' * 40}'"),
        (
            {
                "ref": "refs/heads/main",
                "workflow_ref": f"{HERE}/.github/workflows/release.yml@refs/heads/main",
            },
            "main",
        ),
    ],
)
def test_another_jobs_attestation_is_not_taken(signing: Signing, claims: dict[str, Any], said: str) -> None:
    """Another repository, workflow, commit or ref: each is named."""
    found = problem(signing, signing.sign(WHEEL_NAME, DATA, **claims))
    assert found is not None
    assert said in found


def test_claims_that_are_not_asked_for_are_not_looked_at(signing: Signing) -> None:
    """An index knows neither commit nor tag."""
    assert problem(signing, signing.sign(WHEEL_NAME, DATA, sha="b" * 40), claims={}) is None
    assert {COMMIT, REF} == set(CLAIMS)


def test_another_sigstores_attestation_is_not_taken(
    signing: Signing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger can run the same programs; the keys are what the trust root is for."""
    with world.start(tmp_path / "other", FACTS) as other:
        monkeypatch.setenv("HTTPS_PROXY", other.proxy_url)
        monkeypatch.setenv("https_proxy", other.proxy_url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other.authority))
        folder = tmp_path / "theirs"
        folder.mkdir()
        theirs = Signing(world=other, folder=folder).sign(WHEEL_NAME, DATA)
    found = problem(signing, theirs)
    assert found is not None
    assert found.startswith("does not verify")


def test_an_attestation_of_something_else_is_not_taken(
    signing: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A builder's provenance is not the publisher's word."""
    usual, other = StatementBuilder.predicate_type, AttestationType.SLSA_PROVENANCE_V1

    def otherwise(builder: StatementBuilder, kind: str) -> StatementBuilder:
        assert kind == AttestationType.PYPI_PUBLISH_V1
        return usual(builder, other)

    monkeypatch.setattr(StatementBuilder, "predicate_type", otherwise)
    signed = signing.sign(WHEEL_NAME, DATA)
    monkeypatch.undo()
    assert problem(signing, signed) == f"attests {other.value}, not the publication"


def _edited(read: Attestation, path: str, value: object) -> Attestation:
    """The attestation with one part of its JSON replaced."""
    whole: Any = json.loads(read.model_dump_json())
    *folders, last = path.split("/")
    place = whole
    for folder in folders:
        place = place[int(folder) if folder.isdigit() else folder]
    place[last] = value
    return Attestation.model_validate(whole)


NOTHING: dict[str, object] = {}
ENTRY = "verification_material/transparency_entries/0"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("verification_material/certificate", base64.b64encode(b"no certificate").decode()),
        ("verification_material/transparency_entries", [NOTHING]),
        (f"{ENTRY}/integratedTime", "1"),
        (f"{ENTRY}/logIndex", "70"),
        (f"{ENTRY}/canonicalizedBody", base64.b64encode(b"{}").decode()),
        (f"{ENTRY}/inclusionProof/checkpoint/envelope", "no note"),
        (f"{ENTRY}/inclusionProof/hashes", [base64.b64encode(b"0" * 32).decode()]),
        (f"{ENTRY}/inclusionPromise/signedEntryTimestamp", base64.b64encode(b"0").decode()),
        ("envelope/signature", base64.b64encode(b"0").decode()),
        ("envelope/statement", base64.b64encode(b"no JSON").decode()),
        ("envelope/statement", base64.b64encode(b"\xff").decode()),
    ],
)
def test_an_attestation_with_a_changed_part_is_not_taken(signing: Signing, path: str, value: object) -> None:
    """Whatever part it is, one line says so and nothing breaks: an index's answer is a stranger's."""
    found = problem(signing, _edited(signing.sign(WHEEL_NAME, DATA), path, value))
    assert found is not None
    assert found.startswith("does not verify: ")
    assert "\n" not in found


def test_a_trust_root_is_believed_for_a_block_only(signing: Signing) -> None:
    """Afterwards Sigstore's own verifier is what it was."""
    before = vars(Verifier)["production"]
    with believing(signing.world.trust):
        assert vars(Verifier)["production"] is not before
    assert vars(Verifier)["production"] is before
    with believing(None):
        assert vars(Verifier)["production"] is before


def test_a_trust_root_that_cannot_be_updated_is_not_yet(
    signing: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network's fault is nobody's forgery."""

    def unreachable(*, offline: bool = False) -> Verifier:
        raise TUFError(f"no network, offline {offline}")

    signed = signing.sign(WHEEL_NAME, DATA)
    monkeypatch.setattr(Verifier, "production", unreachable)
    with pytest.raises(Refused) as caught:
        attestation_problem(signed, WHEEL_NAME, SHA256, PUBLISHER, CLAIMS)
    assert caught.value.kind is Kind.NOT_YET
    assert [each.rule for each in caught.value.problems] == ["attestation.trust-up"]


def test_a_release_takes_no_trust_root_from_the_environment(tmp_path: Path) -> None:
    """Only a rehearsal may bring its own."""
    there = tmp_path / "trust.json"
    there.touch()
    assert trust_file(Mode.RELEASE, {}) is None
    assert trust_file(Mode.REHEARSAL, {}) is None
    assert trust_file(Mode.REHEARSAL, {TRUST: str(there)}) == there
    for mode, named in ((Mode.RELEASE, there), (Mode.REHEARSAL, tmp_path / "absent")):
        with pytest.raises(Refused) as caught:
            trust_file(mode, {TRUST: str(named)})
        assert [each.rule for each in caught.value.problems] == ["attestation.trust"]


def test_without_a_file_sigstores_own_root_is_asked(
    monkeypatch: pytest.MonkeyPatch, signing: Signing
) -> None:
    """And in both cases the log's first version, the only one that an attestation can hold."""
    own = trust_config(signing.world.trust)
    monkeypatch.setattr(ClientTrustConfig, "production", lambda: ClientTrustConfig(own._inner))  # pyright: ignore[reportPrivateUsage]
    assert trust_config(None).trusted_root.get_fulcio_certs() == own.trusted_root.get_fulcio_certs()
    assert (own.force_tlog_version, trust_config(None).force_tlog_version) == (1, 1)


def served(
    *attestations: Attestation, publisher: Mapping[str, object] | None = None, more: object = None
) -> bytes:
    """A provenance as an index serves it."""
    bundle = {
        "publisher": publisher or PUBLISHER.model_dump(),
        "attestations": [json.loads(each.model_dump_json()) for each in attestations],
    }
    bundles: list[object] = [bundle, *([more] if more is not None else [])]
    return json.dumps({"version": 1, "attestation_bundles": bundles}).encode()


def found_in(signing: Signing, data: bytes) -> str | None:
    with believing(signing.world.trust):
        return provenance_problem(data, WHEEL_NAME, SHA256, PUBLISHER, CLAIMS)


def test_a_provenance_with_the_publishers_word_is_taken(signing: Signing) -> None:
    """Further fields of the publisher, which an index may add, are not looked at."""
    signed = signing.sign(WHEEL_NAME, DATA)
    assert found_in(signing, served(signed)) is None
    assert found_in(signing, served(signed, publisher={**PUBLISHER.model_dump(), "claims": None})) is None


def test_a_provenance_that_is_none_is_not_taken(signing: Signing) -> None:
    """No JSON, no bundle, no attestation in one."""
    nothing = json.dumps({"version": 1, "attestation_bundles": []}).encode()
    assert (found_in(signing, b"<html>") or "").startswith("is no provenance: ")
    assert found_in(signing, nothing) == "holds no attestation"
    assert found_in(signing, served()) == "holds no attestation"
    signed = signing.sign(WHEEL_NAME, DATA)
    assert (
        found_in(signing, served(signed, more=json.loads(served())["attestation_bundles"][0]))
        == "holds no attestation"
    )


@pytest.mark.parametrize(
    "publisher",
    [
        {"repository": f"{FACTS.owner}/fork"},
        {"workflow": "ci.yml"},
        {"environment": "testpypi"},
        {"environment": None},
    ],
)
def test_a_provenance_that_names_another_publisher_is_not_taken(
    signing: Signing, publisher: dict[str, object]
) -> None:
    """The certificate does not hold the environment: the index's own word does."""
    other = {**PUBLISHER.model_dump(), **publisher}
    data = served(signing.sign(WHEEL_NAME, DATA), publisher=other)
    assert (found_in(signing, data) or "").startswith("names another publisher, ")


def test_a_provenance_of_another_kind_of_publisher_is_not_taken(signing: Signing) -> None:
    """A person's account at a cloud is no workflow."""
    cloud = {"kind": "Google", "email": "somebody@example.org"}
    data = served(signing.sign(WHEEL_NAME, DATA), publisher=cloud)
    assert (found_in(signing, data) or "").startswith("names another publisher, ")
    assert GitHubPublisher.model_fields.keys() >= {"kind"}


def test_every_attestation_of_a_provenance_is_looked_at(signing: Signing) -> None:
    """A wrong one behind a right one is wrong."""
    right, wrong = signing.sign(WHEEL_NAME, DATA), signing.sign(WHEEL_NAME, b"other bytes")
    assert "digest" in (found_in(signing, served(right, wrong)) or "")

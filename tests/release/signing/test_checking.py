"""What is said of an attestation, with the libraries that verify it played; test_check has the real ones."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pypi_attestations import Attestation, AttestationError, AttestationType, Distribution, GitHubPublisher
from sigstore.errors import Error, TUFError

from release.model import Kind, Mode, Refused
from release.signing import check
from tests.release.signing.test_keeping import attestation

OURS = GitHubPublisher(repository="Somebody/demo-project", workflow="release.yml", environment="pypi")
NAME, SHA256 = "demo-0.1.0.tar.gz", "d" * 64
PUBLISH = AttestationType.PYPI_PUBLISH_V1.value


@pytest.mark.parametrize(
    ("mode", "named", "what", "remedy"),
    [
        (
            Mode.RELEASE,
            "trust.json",
            "is set, and a release trusts Sigstore's own root alone",
            "unset TTA_SIGSTORE",
        ),
        (
            Mode.REHEARSAL,
            "absent.json",
            "names a file that does not exist",
            "run the rehearsal, which writes it, or unset TTA_SIGSTORE",
        ),
    ],
)
def test_a_trust_root_is_a_rehearsals_and_is_there(
    tmp_path: Path, mode: Mode, named: str, what: str, remedy: str
) -> None:
    """Otherwise nothing is believed, and the variable is named."""
    (tmp_path / "trust.json").touch()
    with pytest.raises(Refused) as caught:
        check.trust_file(mode, {"TTA_SIGSTORE": str(tmp_path / named)})
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("attestation.trust", "TTA_SIGSTORE")
    assert (problem.what, problem.remedy) == (what, remedy)


def test_a_trust_root_is_the_same_file_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signer runs from another one."""
    (tmp_path / "trust.json").touch()
    monkeypatch.chdir(tmp_path)
    assert check.trust_file(Mode.REHEARSAL, {"TTA_SIGSTORE": "trust.json"}) == tmp_path / "trust.json"
    assert check.trust_file(Mode.REHEARSAL, {}) is None


@pytest.fixture
def roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust roots are texts."""

    def of(text: str) -> SimpleNamespace:
        return SimpleNamespace(trusted_root=text, force_tlog_version=None)

    monkeypatch.setattr(
        check, "ClientTrustConfig", SimpleNamespace(production=lambda: of("Sigstore's own"), from_json=of)
    )


@pytest.mark.usefixtures("roots")
def test_a_trust_root_is_read_or_sigstores_own(tmp_path: Path) -> None:
    """The log is of the first version either way: an attestation can hold no other entry."""
    (tmp_path / "trust.json").write_text("ü", encoding="utf-8")
    for path, root in ((None, "Sigstore's own"), (tmp_path / "trust.json", "ü")):
        config: Any = check.trust_config(path)
        assert (config.trusted_root, config.force_tlog_version) == (root, 1)


@pytest.mark.usefixtures("roots")
def test_another_verifier_answers_for_sigstores_own_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that believes the given root, on a line or off it; whatever happens, the usual one comes back."""

    class Verifier:
        def __init__(self, *, trusted_root: str) -> None:
            self.root = trusted_root

        @classmethod
        def production(cls) -> "Verifier":
            return cls(trusted_root="Sigstore's own")

    monkeypatch.setattr(check, "Verifier", Verifier)
    production = cast("Callable[..., Verifier]", lambda **given: Verifier.production(**given))  # pyright: ignore[reportUnknownLambdaType,reportUnknownArgumentType]
    (tmp_path / "trust.json").write_text("ours", encoding="utf-8")
    with check.believing(None):
        assert production().root == "Sigstore's own"
    seen: list[Verifier] = []

    def fails() -> None:
        with check.believing(tmp_path / "trust.json"):
            seen.extend([production(), production(offline=True)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert seen[0] is seen[1]
    assert seen[0].root == "ours"
    assert production().root == "Sigstore's own"


def problem(
    claims: Mapping[str, str] | None = None,
    *,
    kind: str = PUBLISH,
    said: Mapping[str, str] | None = None,
    error: Exception | None = None,
) -> str | None:
    """What is said of an attestation that verifies so."""

    def verify(publisher: GitHubPublisher, file: Distribution) -> tuple[str, None]:
        assert (publisher, file) == (OURS, Distribution(name=NAME, digest=SHA256))
        if error is not None:
            raise error
        return kind, None

    read = SimpleNamespace(verify=verify, certificate_claims=said or {})
    return check.attestation_problem(cast("Attestation", read), NAME, SHA256, OURS, claims or {})


def test_an_attestation_that_verifies_is_taken() -> None:
    """And what a certificate says more than is asked for is not looked at."""
    assert problem() is None
    assert problem({"1": "a"}, said={"1": "a", "2": "b"}) is None


@pytest.mark.parametrize(
    ("kind", "error", "what"),
    [
        ("x", None, "attests x, not the publication"),
        (PUBLISH, AttestationError("of\nother\n bytes"), "does not verify: of other bytes"),
        (PUBLISH, Error("odd"), "does not verify: odd"),
        (PUBLISH, ValueError(), "does not verify: ValueError"),
    ],
)
def test_what_is_wrong_with_an_attestation_is_said_on_one_line(
    kind: str, error: Exception | None, what: str
) -> None:
    """In the words of the library, or by the name of its error where it has none."""
    assert problem(kind=kind, error=error) == what


def test_every_claim_that_is_another_is_named() -> None:
    """With what the certificate says in its place."""
    assert problem({"1": "a", "2": "b", "3": "c"}, said={"2": "b", "3": "d"}) == (
        "was signed for None instead of 'a', 'd' instead of 'c'"
    )


def test_a_trust_root_that_could_not_be_brought_up_to_date_is_a_matter_of_time() -> None:
    """Nobody forged anything, and nothing has to be undone."""
    with pytest.raises(Refused) as caught:
        problem(error=TUFError("no network"))
    (said,) = caught.value.problems
    assert caught.value.kind is Kind.NOT_YET
    assert (said.rule, said.where) == ("attestation.trust-up", "Sigstore's trust root")
    assert said.what.startswith("could not be brought up to date: ")
    assert "no network" in said.what
    assert said.remedy == "run the same command again later; nothing has to be undone"


def provenance(*bundles: tuple[Mapping[str, object], list[str]]) -> bytes:
    """As an index serves it: for each publisher, statements of attestations."""
    return json.dumps(
        {
            "version": 1,
            "attestation_bundles": [
                {"publisher": publisher, "attestations": [json.loads(attestation(each)) for each in said]}
                for publisher, said in bundles
            ],
        }
    ).encode()


ME = OURS.model_dump()
CLAIMS = {"1": "a"}


def found_in(monkeypatch: pytest.MonkeyPatch, served: bytes) -> tuple[str | None, list[str]]:
    """What is said of a provenance, and which attestations were looked at; one that says so is wrong."""
    looked: list[str] = []

    def wrong(
        read: Attestation, name: str, sha256: str, publisher: GitHubPublisher, claims: Mapping[str, str]
    ) -> str | None:
        assert (name, sha256, publisher, claims) == (NAME, SHA256, OURS, CLAIMS)
        looked.append(read.envelope.statement.decode())
        return "it says so" if looked[-1] == "wrong" else None

    monkeypatch.setattr(check, "attestation_problem", wrong)
    return check.provenance_problem(served, NAME, SHA256, OURS, CLAIMS), looked


@pytest.mark.parametrize(
    ("served", "found", "looked"),
    [
        (provenance((ME, ["a", "b"]), (ME, ["c"])), None, ["a", "b", "c"]),
        (provenance(({**ME, "claims": {"more": "x"}}, ["a"])), None, ["a"]),
        (provenance((ME, ["a", "wrong", "c"]), (ME, ["d"])), "it says so", ["a", "wrong"]),
        (provenance((ME, ["a"]), (ME, ["wrong"])), "it says so", ["a", "wrong"]),
        (provenance(), "holds no attestation", []),
        (provenance((ME, []), (ME, ["a"])), "holds no attestation", []),
        (
            provenance(({**ME, "environment": None}, ["a"])),
            f"names another publisher, { ({**ME, 'environment': None}) }",
            [],
        ),
        (
            provenance(({"kind": "Google", "email": "x@example.org"}, ["a"])),
            "names another publisher, {'kind': 'Google'}",
            [],
        ),
        (b'{"version": 1}', "is no provenance: attestation_bundles: Field required", []),
        (
            b'{"version": 1, "attestation_bundles": [{"attestations": []}]}',
            "is no provenance: attestation_bundles.0.publisher: Field required",
            [],
        ),
    ],
)
def test_what_is_said_of_a_provenance(
    monkeypatch: pytest.MonkeyPatch, served: bytes, found: str | None, looked: list[str]
) -> None:
    """Every attestation in it must be this publisher's; the first that is not is named."""
    assert found_in(monkeypatch, served) == (found, looked)


def test_what_is_no_json_is_no_provenance(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index's answer is a stranger's."""
    found, _ = found_in(monkeypatch, b"<html>")
    assert found is not None
    assert found.startswith("is no provenance: Invalid JSON")

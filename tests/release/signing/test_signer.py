"""The signer as a program: what it writes, and what it says when it cannot."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import requests
from pypi_attestations import Attestation
from sigstore._internal.fulcio.client import FulcioClientError

from release.model import Kind
from release.rehearsal.issuer import ISSUER
from release.signing import signer
from tests.release.rehearsal.support import SDIST_NAME, WHEEL_NAME
from tests.release.signing.support import Signing


@pytest.fixture
def files(signing: Signing) -> list[Path]:
    made = [signing.folder / name for name in (WHEEL_NAME, SDIST_NAME)]
    for file in made:
        file.write_bytes(file.name.encode())
    return made


def words(signing: Signing, files: list[Path]) -> list[str]:
    return [f"--trust={signing.world.trust}", f"--out={signing.folder}", *map(str, files)]


def granted(signing: Signing, monkeypatch: pytest.MonkeyPatch, *, iss: str = ISSUER) -> None:
    for name, value in signing.job(iss=iss).environment.items():
        monkeypatch.setenv(name, value)


def test_each_file_gets_its_attestation(
    signing: Signing, files: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One certificate, one log entry a file; nothing else is left in the folder."""
    granted(signing, monkeypatch)
    before = len(signing.world.log.entries)
    assert signer.main(words(signing, files)) == Kind.DONE
    made = [signing.folder / (file.name + signer.SUFFIX) for file in files]
    assert sorted(signing.folder.iterdir()) == sorted([*files, *made])
    read = [Attestation.model_validate_json(path.read_bytes()) for path in made]
    assert [each.statement["subject"][0]["name"] for each in read] == [file.name for file in files]
    assert len({each.verification_material.certificate for each in read}) == 1
    assert len(signing.world.log.entries) == before + 2
    assert f"log entry {before}" in capsys.readouterr().out


def test_who_is_no_job_signs_nothing(
    signing: Signing, files: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a laptop there is no identity to sign with; nothing is asked of a person."""
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "BUILDKITE"):
        monkeypatch.delenv(name, raising=False)
    assert signer.main(words(signing, files)) == Kind.REFUSED
    assert "no job" in capsys.readouterr().err


def test_a_job_without_the_grant_signs_nothing(
    signing: Signing, files: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`id-token: write` is missing."""
    granted(signing, monkeypatch)
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    assert signer.main(words(signing, files)) == Kind.REFUSED
    said = capsys.readouterr().err
    assert said.startswith("signer: GitHubOidcPermissionCredentialError: ")
    assert "permission" in said


def test_what_cannot_be_reached_is_not_yet(
    signing: Signing, files: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing was signed, and the same command may succeed later."""
    granted(signing, monkeypatch)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert signer.main(words(signing, files)) == Kind.NOT_YET
    assert sorted(signing.folder.iterdir()) == sorted(files)
    said = capsys.readouterr()
    assert said.err.startswith("signer: ProxyError: ")
    assert "127.0.0.1" in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    ("status", "kind"), [(503, Kind.NOT_YET), (500, Kind.NOT_YET), (400, Kind.REFUSED), (409, Kind.REFUSED)]
)
@pytest.mark.parametrize("service", ["authority", "log"])
def test_what_sigstore_answers_is_said(
    signing: Signing,
    files: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    service: str,
    status: int,
    kind: Kind,
) -> None:
    """Down is not yet; a refusal is one, with the service's own words."""
    granted(signing, monkeypatch)
    usual = requests.Session.send
    host = {"authority": "fulcio", "log": "rekor"}[service]

    def answering(
        session: requests.Session, request: requests.PreparedRequest, **options: object
    ) -> requests.Response:
        response = usual(session, request, **options)  # pyright: ignore[reportArgumentType]
        if host in str(request.url):
            response.status_code = status
            response._content = json.dumps({"code": status, "message": "not now"}).encode()  # pyright: ignore[reportPrivateUsage]
        return response

    monkeypatch.setattr(requests.Session, "send", answering)
    assert signer.main(words(signing, files)) == kind
    assert "not now" in capsys.readouterr().err


def test_a_token_that_the_authority_refuses_is_refused(
    signing: Signing, files: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here one that says it is of another issuer."""
    granted(signing, monkeypatch, iss="https://example.org")
    assert signer.main(words(signing, files)) == Kind.REFUSED
    assert "identity token" in capsys.readouterr().err


def test_a_service_that_answers_nonsense_is_refused(
    signing: Signing, files: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not down, and asking again would not help."""
    granted(signing, monkeypatch)

    def nonsense(*_: object) -> None:
        raise FulcioClientError("no certificate in the answer")

    monkeypatch.setattr(signer, "sign", nonsense)
    assert signer.main(words(signing, files)) == Kind.REFUSED
    assert capsys.readouterr().err == "signer: FulcioClientError: no certificate in the answer\n"


def test_help_says_how_it_is_started_and_what_each_option_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever finds it in a job's log can read what it does, as the program that was started."""
    with pytest.raises(SystemExit) as ended:
        signer.main(["--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("usage: python -m release.signing.signer [-h] [--trust TRUST] --out OUT files")
    assert "Sign files as this job." in said
    assert "--trust TRUST a rehearsal's trust root" in said
    assert "--out OUT where the attestations go" in said


def test_without_a_folder_nothing_is_signed(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line is looked at before a token is asked for."""

    def never(audience: str) -> None:
        pytest.fail(f"asked for a token for {audience}")

    monkeypatch.setattr(signer, "detect_credential", never)
    with pytest.raises(SystemExit) as ended:
        signer.main([str(file) for file in files])
    assert ended.value.code == 2
    assert "--out" in capsys.readouterr().err


def test_the_program_ends_with_what_it_came_to(
    signing: Signing, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage that starts it tells a refusal from success by its exit code."""
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "BUILDKITE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", [signer.__file__, *words(signing, files)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(signer.__file__, run_name="__main__")
    assert ended.value.code == Kind.REFUSED

"""How attestations are kept beside the ledger, with a signer and a verifier that are played."""

import base64
import json
import os
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest
from pypi_attestations import Attestation, GitHubPublisher

from release.context import Context
from release.ledger import Ledger
from release.model import Artifact, Kind, Mode, Refused
from release.runner import Finished
from release.signing import kept
from release.signing.check import TRUST
from tests.release.ledger_support import create, opening
from tests.release.publish_support import PUBLISHER
from tests.release.rehearsal.support import FACTS
from tests.release.repo_support import context_on, printed

ONE = Artifact(name="demo-0.1.0.tar.gz", size=20, sha256="d" * 64)
TWO = Artifact(name="demo-0.1.0-py3-none-any.whl", size=10, sha256="c" * 64)
OURS = GitHubPublisher(repository="Somebody/demo-project", workflow="release.yml", environment="pypi")


def attestation(statement: str) -> bytes:
    """What has the form of an attestation, and a statement by which to tell it from others."""
    text = {name: base64.b64encode(name.encode()).decode() for name in ("certificate", "signature")}
    return json.dumps(
        {
            "version": 1,
            "verification_material": {
                "certificate": text["certificate"],
                "transparency_entries": [{"log": 1}],
            },
            "envelope": {
                "statement": base64.b64encode(statement.encode()).decode(),
                "signature": text["signature"],
            },
        }
    ).encode()


@dataclass
class Stand:
    """A checkout with a ledger, a signer that is played, and a verifier that notes what it is asked."""

    context: Context
    ledger: Ledger
    scratch: Path
    code: int = 0
    wrong: str | None = None
    words: list[list[str]] = field(default_factory=list[list[str]])
    settings: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    looked: list[tuple[str, str, str, GitHubPublisher, Mapping[str, str]]] = field(
        default_factory=list[tuple[str, str, str, GitHubPublisher, Mapping[str, str]]]
    )
    believed: list[Path | None] = field(default_factory=list[Path | None])

    @property
    def folder(self) -> Path:
        return self.context.root / "ledger" / "attestations"

    def sign(self, argv: Sequence[str | os.PathLike[str]], **settings: object) -> Finished:
        """Leave an attestation of each file, as the signer does."""
        words = [os.fspath(word) for word in argv]
        self.words.append(words)
        self.settings.append(settings)
        said = "".join(f"line {number}\n" for number in range(8))
        if self.code == 0:
            for name in (Path(word).name for word in words if word.endswith((".gz", ".whl"))):
                (self.folder / f"{name}.publish.attestation").write_bytes(attestation(f"signed {name}"))
        return Finished(argv=words, code=self.code, stdout=said, stderr="", took_ms=1)

    def verify(
        self, read: Attestation, name: str, sha256: str, publisher: GitHubPublisher, claims: Mapping[str, str]
    ) -> str | None:
        assert self.believed, "the trust root is chosen before anything is checked"
        self.looked.append((read.envelope.statement.decode(), name, sha256, publisher, claims))
        return self.wrong

    @contextmanager
    def believe(self, path: Path | None) -> Generator[None, None, None]:
        self.believed.append(path)
        try:
            yield
        finally:
            self.believed.remove(path)

    def files(self) -> list[Path]:
        """Copies of what is going to be uploaded."""
        for artifact in (ONE, TWO):
            (self.scratch / artifact.name).touch()
        return [self.scratch / artifact.name for artifact in (ONE, TWO)]

    def attested(self) -> list[Path]:
        return kept.attested_files(
            self.context, self.ledger, self.files(), {"ACTIONS_ID_TOKEN_REQUEST_URL": "u"}, self.scratch
        )


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    monkeypatch.delenv(TRUST, raising=False)
    root = tmp_path / "checkout"
    (root / "release").mkdir(parents=True)
    (root / "release" / "publisher.toml").write_text(PUBLISHER, encoding="utf-8")
    ledger = create(root / "ledger", artifacts=(ONE, TWO))
    (tmp_path / "scratch").mkdir()
    made = Stand(context=context_on(root), ledger=ledger, scratch=tmp_path / "scratch")
    made.context = replace(made.context, runner=made.sign)
    monkeypatch.setattr(kept, "attestation_problem", made.verify)
    monkeypatch.setattr(kept, "believing", made.believe)
    yield made
    assert made.believed == []


def test_the_publisher_is_the_workflow_that_goes_to_pypi() -> None:
    """Of the two environments it is PyPI's: nothing is signed for TestPyPI."""
    environments = {**FACTS.environments, "testpypi": "elsewhere"}
    assert kept.identity(FACTS.model_copy(update={"environments": environments})) == OURS


@pytest.mark.parametrize(
    ("tag", "claims"),
    [
        ("", {"1.3.6.1.4.1.57264.1.13": "a" * 40}),
        ("v1", {"1.3.6.1.4.1.57264.1.13": "a" * 40, "1.3.6.1.4.1.57264.1.14": "refs/tags/v1"}),
    ],
)
def test_a_certificate_names_the_commit_and_the_tag_where_there_is_one(
    tag: str, claims: dict[str, str]
) -> None:
    """The numbers are Fulcio's: of the source's digest, and of its ref."""
    assert kept.job_claims(opening(tag=tag, tag_object=tag and "e" * 40)) == claims


def test_every_file_is_signed_once_checked_and_copied(stand: Stand) -> None:
    """The copies lie beside the files, for the upload; a second run starts no signer."""
    copies = stand.attested()
    assert copies == [stand.scratch / f"{each.name}.publish.attestation" for each in (ONE, TWO)]
    assert [path.read_bytes() for path in copies] == [
        attestation(f"signed {each.name}") for each in (ONE, TWO)
    ]
    claims = kept.job_claims(stand.ledger.opening)
    assert stand.looked == [
        (f"signed {each.name}", each.name, each.sha256, OURS, claims) for each in (ONE, TWO)
    ]
    assert len(stand.words) == 1
    assert printed(stand.context) == ""
    stand.attested()
    assert len(stand.words) == 1
    assert printed(stand.context) == "".join(
        f"  {each.name}: signed by an earlier run\n" for each in (ONE, TWO)
    )


def test_only_what_has_no_signature_is_signed(stand: Stand) -> None:
    """The first file's attestation is of an earlier run; the signer hears of the second alone."""
    stand.folder.mkdir()
    (stand.folder / f"{ONE.name}.publish.attestation").write_bytes(attestation("earlier"))
    one, _ = stand.attested()
    assert one.read_bytes() == attestation("earlier")
    (words,) = stand.words
    assert words == [
        *(sys.executable, "-E", "-s", "-m", "release.signing.signer", f"--out={stand.folder}"),
        str(stand.scratch / TWO.name),
    ]
    assert printed(stand.context) == f"  {ONE.name}: signed by an earlier run\n"


def test_the_signer_has_the_grant_and_no_more_of_this_process(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs from the release tools' own folder, is shown, and has two minutes."""
    monkeypatch.setenv("TWINE_PASSWORD", "secret")
    stand.attested()
    (settings,) = stand.settings
    env = cast("dict[str, str]", settings.pop("env"))
    assert env["ACTIONS_ID_TOKEN_REQUEST_URL"] == "u"
    assert env["HOME"].startswith(str(stand.scratch))
    assert "TWINE_PASSWORD" not in env
    home = Path(kept.__file__).resolve().parents[2]
    assert settings == {"cwd": home, "show": True, "timeout_s": 120.0}


def test_a_rehearsals_trust_root_is_for_the_signer_and_for_the_check(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are told of the same file."""
    trust = tmp_path / "trust.json"
    trust.touch()
    monkeypatch.setenv(TRUST, str(trust))
    roots: list[Path | None] = []

    def verify(*_: object) -> None:
        roots.extend(stand.believed)

    monkeypatch.setattr(kept, "attestation_problem", verify)
    stand.attested()
    assert f"--trust={trust}" in stand.words[0]
    assert roots == [trust, trust]


def test_a_release_takes_no_trust_root_from_the_environment(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is signed then: whose word it would be is not known."""
    monkeypatch.setenv(TRUST, str(tmp_path))
    stand.ledger = create(tmp_path / "ledger", mode=Mode.RELEASE)
    with pytest.raises(Refused) as caught:
        stand.attested()
    assert [problem.rule for problem in caught.value.problems] == ["attestation.trust"]
    assert "a release trusts" in caught.value.problems[0].what
    assert stand.words == []


@pytest.mark.parametrize(
    ("code", "kind", "remedy"),
    [
        (124, Kind.NOT_YET, "run the same command again later"),
        (75, Kind.NOT_YET, "run the same command again later"),
        (1, Kind.REFUSED, "mend what is named above"),
    ],
)
def test_what_the_signer_could_not_do_is_quoted(stand: Stand, code: int, kind: Kind, remedy: str) -> None:
    """Too slow, or told to come again, is a matter of time; anything else has to be mended."""
    stand.code = code
    with pytest.raises(Refused) as caught:
        stand.attested()
    (problem,) = caught.value.problems
    assert caught.value.kind is kind
    assert (problem.rule, problem.where) == ("attestation.signed", "Sigstore")
    assert problem.what == "did not sign, and nothing was uploaded:\n" + "\n".join(
        f"line {number}" for number in range(2, 8)
    )
    assert problem.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("data", "wrong", "said"),
    [
        (attestation("earlier"), "attests nothing", "attests nothing"),
        (b"{", None, "is no attestation: Invalid JSON"),
    ],
)
def test_a_foreign_attestation_is_named_with_its_place(
    stand: Stand, data: bytes, wrong: str | None, said: str
) -> None:
    """A person has to know which file to look at, and that another would be made without it."""
    stand.folder.mkdir()
    stand.wrong = wrong
    (stand.folder / f"{ONE.name}.publish.attestation").write_bytes(data)
    with pytest.raises(Refused) as caught:
        stand.attested()
    (problem,) = caught.value.problems
    place = f"ledger/attestations/{ONE.name}.publish.attestation"
    assert caught.value.kind is Kind.REFUSED
    assert (problem.rule, problem.where) == ("attestation.ours", place)
    assert problem.what.startswith(f"is not this job's word about the ledger's file: {said}")
    assert problem.remedy == f"find out who put it there; without {place} the next run signs anew"

"""The upload stages with index, signer and twine played: what is asked of them, said, and recorded."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Self

import pytest

from release import publish
from release.context import Context, Options
from release.indexes import INDEXES, Index, IndexName
from release.ledger import Ledger, Outcome
from release.model import Kind, Mode, Problem, Refused, Report
from release.publish import Credentials
from release.publisher import FILE
from release.rules.archives import measure
from release.runner import TIMED_OUT, Finished
from release.simple import AGAIN, Listed, Listing
from tests.release.ledger_support import COMMIT, create
from tests.release.publish_support import PUBLISHER
from tests.release.repo_support import context_on, printed
from tests.release.runner_support import Call, Double

FILES = {"demo-0.1.0-py3-none-any.whl": b"wheel", "demo-0.1.0.tar.gz": b"sdist"}
TOOLS = {name: version(name) for name in ("twine", "pypi-attestations", "sigstore")}
TRUSTED = Credentials(publisher="trusted", variables={"GITHUB_ACTIONS": "true"})
TESTPYPI, PYPI = INDEXES[IndexName.TESTPYPI], INDEXES[IndexName.PYPI]


@dataclass(slots=True, kw_only=True)
class Played(Double):
    """An upload where index, signer and twine are played, on a real ledger and real files."""

    root: Path
    ledger: Ledger
    patch: pytest.MonkeyPatch
    lists: list[Listed] = field(default_factory=list[Listed])
    """What the index has."""
    ends: tuple[int, str] = (0, "")
    """How twine ends, and what it says."""
    asked: list[tuple[Index, str]] = field(default_factory=list[tuple[Index, str]])
    """Of the index: which one, and for which project."""
    signs: list[tuple[Ledger, Sequence[Path], Mapping[str, str], Path]] = field(
        default_factory=list[tuple[Ledger, Sequence[Path], Mapping[str, str], Path]]
    )
    """What the signer was handed."""
    twine: list[list[str]] = field(default_factory=list[list[str]])
    """Each command."""
    given: list[tuple[Path, Mapping[str, str], bool, float | None]] = field(
        default_factory=list[tuple[Path, Mapping[str, str], bool, float | None]]
    )
    """Its folder and environment, whether it was shown, and when it would have been ended."""
    sent: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """What stood in the files that twine was handed."""

    def answer(self, call: Call) -> Finished:
        words = call.words
        if words[0] == "git":
            return call.ended(said=f"{COMMIT}\n" if "rev-parse" in words else "")
        self.twine.append(words)
        self.given.append((call.cwd, call.env, call.show, call.timeout_s))
        config = next(word for word in words if word.startswith("--config-file="))
        assert Path(config.partition("=")[2]).read_bytes() == b""
        self.sent |= {Path(word).name: Path(word).read_bytes() for word in words[words.index(config) + 1 :]}
        return call.ended(*self.ends, took_ms=41)

    def client(self, index: Index) -> "Client":
        return Client(index, self)

    def sign(
        self,
        context: Context,
        ledger: Ledger,
        files: Sequence[Path],
        grant: Mapping[str, str],
        scratch: Path,
    ) -> list[Path]:
        assert context.root == self.root
        self.signs.append((ledger, files, grant, scratch))
        signed = [file.with_name(f"{file.name}.publish.attestation") for file in files]
        for path in signed:
            path.write_bytes(b"signed")
        return signed

    def context(self, mode: Mode | None = Mode.REHEARSAL) -> Context:
        context = context_on(self.root, options=Options(mode=mode))
        return replace(context, runner=self)

    def run(self, stage: str) -> tuple[Report, str]:
        context = self.context()
        return publish.run(stage, context), printed(context)

    def refused(self, stage: str, mode: Mode | None = Mode.REHEARSAL) -> Refused:
        with pytest.raises(Refused) as caught:
            publish.run(stage, self.context(mode))
        return caught.value

    def job(self) -> None:
        self.patch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "http://127.0.0.1/x")
        self.patch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret")

    def proved(self) -> None:
        """What a release has before it goes to PyPI is not what these tests are about."""
        self.patch.setattr(publish, "unproved", nothing)

    def has(self, name: str, **changes: str) -> None:
        """The index has this file."""
        listed = Listed(
            name=name,
            url="https://x.invalid/",
            sha256=measure(self.root / "dist" / name).sha256,
            size=None,
            yanked=None,
            metadata_sha256=None,
            provenance=None,
        )
        self.lists.append(replace(listed, **changes))  # type: ignore[arg-type] # names of its fields


def nothing(*_: object) -> list[Problem]:
    """Finds no problem."""
    return []


class Client:
    """Stands in for the index."""

    def __init__(self, index: Index, played: Played) -> None:
        self._index, self._played = index, played

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def listing(self, project: str) -> Listing:
        self._played.asked.append((self._index, project))
        return Listing(project=project, files=self._played.lists)


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    """Two files to upload, a ledger that knows them, and nobody's credentials."""
    for name, text in FILES.items():
        (tmp_path / "dist").mkdir(exist_ok=True)
        (tmp_path / "dist" / name).write_bytes(text)
    (tmp_path / "release").mkdir()
    (tmp_path / FILE).write_text(PUBLISHER.replace("demo-project", "demo"), encoding="utf-8")
    artifacts = tuple(measure(tmp_path / "dist" / name) for name in FILES)
    for name in [name for name in os.environ if name.startswith(("ACTIONS_ID_", "TWINE_"))]:
        monkeypatch.delenv(name)
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    made = Played(root=tmp_path, ledger=create(tmp_path / "ledger", artifacts=artifacts), patch=monkeypatch)
    monkeypatch.setattr(publish, "IndexClient", made.client)
    monkeypatch.setattr(publish, "attested_files", made.sign)
    return made


def sizes(played: Played) -> list[tuple[str, str]]:
    return [
        (each.name, f"{each.size} bytes, sha256 {each.sha256}") for each in played.ledger.opening.artifacts
    ]


def test_what_is_uploaded_is_said_and_recorded(played: Played) -> None:
    """The report and the ledger's line say by which right, how much, and with which tools."""
    played.job()
    report, output = played.run("testpypi")
    assert played.asked == [(TESTPYPI, "demo")]
    assert played.sent == FILES
    assert report.kind is Kind.DONE
    assert report.sentence == "2 files of demo 0.1.0 are on TestPyPI: 2 uploaded, 0 there already"
    assert [(each.what, each.found) for each in report.checked] == [
        ("tag", "none: this ledger stands for no tag"),
        ("publisher", "trusted publishing, no stored secret"),
        ("attestations", "none: what is signed for a rehearsal on TestPyPI could be replayed"),
        *sizes(played),
    ]
    figures = {"publisher": "trusted", "uploaded": 2, "present": 0, "signed": 0, "took_ms": 41}
    assert (report.figures, report.tools) == (figures, TOOLS)
    (line,) = Ledger.read(played.root / "ledger").lines
    assert (line.stage, line.leg, line.outcome) == ("testpypi", "all", Outcome.PASSED)
    assert (line.figures, line.tools) == (figures, TOOLS)
    assert "there already" not in output
    assert played.signs == []


def test_what_is_there_is_named_and_nothing_is_needed_for_it(played: Played) -> None:
    """Without anything to upload no credentials are needed, and the line says so."""
    for name in FILES:
        played.has(name)
    report, output = played.run("testpypi")
    assert report.sentence == "2 files of demo 0.1.0 are on TestPyPI: 0 uploaded, 2 there already"
    assert output.splitlines()[:2] == [
        f"  {each.name}: there already, sha256 {each.sha256}" for each in played.ledger.opening.artifacts
    ]
    assert [each.found for each in report.checked][1:3] == ["not needed: nothing was uploaded"] * 2
    assert report.figures == {"publisher": "none", "uploaded": 0, "present": 2, "signed": 0, "took_ms": 0}
    assert played.twine == []


def test_only_what_is_absent_is_sent(played: Played) -> None:
    """The same command goes on where it was cut short; what passed is not recorded again."""
    first, second = FILES
    played.has(first)
    played.job()
    report, _ = played.run("testpypi")
    assert played.sent == {second: FILES[second]}
    assert (report.figures["uploaded"], report.figures["present"]) == (1, 1)
    played.has(second)
    played.run("testpypi")
    assert len(Ledger.read(played.root / "ledger").lines) == 1


def test_other_bytes_on_the_index_end_it_before_anything_is_sent(played: Played) -> None:
    """They hold the name for ever."""
    played.has(next(iter(FILES)), sha256="0" * 64)
    played.job()
    assert [problem.rule for problem in played.refused("testpypi").problems] == ["index.digest"]
    assert played.twine == []


def test_what_twine_is_asked(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies in a folder of its own, no configuration, no prompt, and the credentials for it alone."""
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    played.job()
    played.run("testpypi")
    ((folder, env, shown, ends_after),) = played.given
    (words,) = played.twine
    configuration = words[-3].partition("=")[2]
    assert words == [
        *(sys.executable, "-I", "-m", "twine", "--no-color", "upload"),
        *(f"--repository-url={TESTPYPI.upload_url}", "--non-interactive", "--disable-progress-bar"),
        f"--config-file={configuration}",
        *(str(Path(words[-1]).parent / name) for name in FILES),
    ]
    assert folder in Path(configuration).parents
    assert folder in Path(words[-1]).parents
    assert folder.name.startswith("tta-publish-")
    assert not folder.exists()
    assert (shown, ends_after) == (True, 600)
    assert env["HOME"] == str(folder)
    assert env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] == "secret"
    assert env["GITHUB_ACTIONS"] == "true"
    assert "PYTHONPATH" not in env
    assert "ACTIONS_ID_TOKEN_REQUEST_TOKEN" not in os.environ


def test_a_job_signs_what_it_brings_to_pypi(played: Played) -> None:
    """The signer gets the checked copies and the job's grant; what it signed goes with the files."""
    played.proved()
    played.job()
    report, _ = played.run("pypi")
    ((ledger, files, grant, scratch),) = played.signs
    (words,) = played.twine
    assert ledger.opening == played.ledger.opening
    assert [file.name for file in files] == [*FILES]
    assert grant["ACTIONS_ID_TOKEN_REQUEST_URL"] == "http://127.0.0.1/x"
    assert scratch == played.given[0][0]
    assert words[6:8] == ["--attestations", f"--repository-url={PYPI.upload_url}"]
    assert [Path(word).name for word in words[-4:]] == [
        *FILES,
        *(f"{name}.publish.attestation" for name in FILES),
    ]
    assert report.sentence == "2 files of demo 0.1.0 are on PyPI: 2 uploaded, 0 there already"
    assert report.checked[2].found == "2 signed as this job, checked, and uploaded beside their files"
    assert report.figures["signed"] == 2


def test_a_persons_token_signs_nothing(played: Played) -> None:
    """PyPI would refuse an attestation that comes with it."""
    played.proved()
    played.patch.setenv("TWINE_PASSWORD", "pypi-x")
    report, _ = played.run("pypi")
    assert played.signs == []
    assert "--attestations" not in played.twine[0]
    assert played.given[0][1]["TWINE_USERNAME"] == "__token__"
    assert [each.found for each in report.checked][1:3] == [
        "token (TWINE_PASSWORD); PyPI takes no attestations with it",
        "none: PyPI takes them with trusted publishing only, now or later",
    ]


def test_without_credentials_it_is_said_what_is_missing(played: Played) -> None:
    """Nothing is tried, and nothing recorded."""
    (problem,) = played.refused("testpypi").problems
    assert (problem.rule, problem.where) == ("publish.credentials", "testpypi session")
    assert problem.what == "has neither a job's grant for an ID token nor TWINE_PASSWORD"
    assert "push the signed tag" in problem.remedy
    assert (played.twine, played.ledger.lines) == ([], ())


def test_an_upload_that_failed_is_recorded_as_tried(played: Played) -> None:
    """The index may have taken a part: a smoke of before counts no more."""
    played.proved()
    played.job()
    played.ends = (1, "HTTPError: 403 Forbidden")
    assert [problem.rule for problem in played.refused("pypi").problems] == ["publish.uploaded"]
    (line,) = Ledger.read(played.root / "ledger").lines
    assert (line.stage, line.leg, line.outcome) == ("pypi", "all", Outcome.FAILED)
    assert line.figures == {"publisher": "trusted", "tried": 2, "signed": 2, "took_ms": 41}
    assert line.tools == TOOLS


def test_everything_that_keeps_files_from_an_index_is_told_at_once(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files, project, evidence and tag: a person mends them in one go."""
    for name in FILES:
        (played.root / "dist" / name).unlink()
    (played.root / "dist").rmdir()
    (played.root / FILE).write_text(PUBLISHER, encoding="utf-8")
    seen: list[object] = []

    def moved(context: Context, opening: object) -> list[Problem]:
        seen.extend([context.root, opening])
        return [Problem(rule="tag.not-moved", where="tag v0.1.0", what="moved", remedy="find out who")]

    monkeypatch.setattr(publish, "tag_problems", moved)
    problems = publish.upload_problems(played.context(), played.ledger, IndexName.TESTPYPI)
    assert [(problem.rule, problem.where, problem.what) for problem in problems] == [
        ("publish.dist", "dist/", "does not exist"),
        ("publish.project", FILE, "names project demo-project, the ledger is of demo"),
        ("tag.not-moved", "tag v0.1.0", "moved"),
    ]
    assert all(problem.remedy for problem in problems)
    assert seen == [played.root, played.ledger.opening]


def test_an_index_is_a_release_unless_a_rehearsal_was_asked_for(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rehearsal's ledger opens no real index, and a rehearsal that could reach one is none."""
    played.job()
    assert [each.rule for each in played.refused("testpypi", mode=None).problems] == ["binding.same-mode"]
    monkeypatch.delenv("HTTPS_PROXY")
    (problem,) = played.refused("testpypi").problems
    assert problem.rule == "binding.rehearsal-stays-here"
    assert (played.asked, played.twine) == ([], [])


def test_pypi_asks_for_all_that_comes_before_it(played: Played) -> None:
    """Of the smokes it is the one of what TestPyPI serves."""
    extra = played.root / "dist/extra.whl"
    extra.touch()
    problems = played.refused("pypi").problems
    assert [problem.where for problem in problems] == [
        "dist/extra.whl",
        *("lint all", "test 3.12", "test 3.13", "coverage all", "mutation all", "testpypi all"),
        "smoke testpypi",
    ]
    extra.unlink()
    planned = replace(played.ledger.opening, plan={"build": ("all",), "audit": ("all",)})
    other = Ledger.create(played.root / "other", planned, at=played.context().now())
    problems = publish.upload_problems(played.context(), other, IndexName.PYPI)
    assert [problem.where for problem in problems] == ["build all"]


def test_files_that_are_not_the_ledgers_are_told(played: Played) -> None:
    name = next(iter(FILES))
    (played.root / "dist" / name).write_bytes(b"other")
    played.job()
    assert [problem.where for problem in played.refused("testpypi").problems] == [f"dist/{name}"]
    assert played.asked == []


def test_copies_are_checked_on_their_way(played: Played, tmp_path: Path) -> None:
    """A file that changes between the check and the upload is not sent."""
    good, other = played.ledger.opening.artifacts
    wrong = replace(other, sha256="0" * 64)
    with pytest.raises(Refused) as caught:
        publish._copies(played.root / "dist", [good, wrong], tmp_path / "files")
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("publish.bytes", f"dist/{other.name}")
    assert problem.what == f"has sha256 {other.sha256}, the ledger's is {wrong.sha256}"
    assert "before anything is sent" in problem.remedy
    assert [path.name for path in (tmp_path / "files").iterdir()] == [good.name]


def test_a_ledger_with_a_tag_names_it(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader compares it with what was pushed."""
    opened = replace(played.ledger.opening, tag="v0.1.0", tag_object="e" * 40)
    (played.root / "ledger/ledger.jsonl").unlink()
    Ledger.create(played.root / "ledger", opened, at=played.context().now())
    monkeypatch.setattr(publish, "tag_problems", nothing)
    for name in FILES:
        played.has(name)
    report, _ = played.run("testpypi")
    assert report.checked[0].found == "v0.1.0"


@pytest.mark.parametrize(
    ("said", "code", "kind"),
    [
        ("ERROR HTTPError: 503 Service Unavailable from x", 1, Kind.NOT_YET),
        ("ERROR HTTPError: 429 Too Many Requests from x", 1, Kind.NOT_YET),
        ("ERROR HTTPError: 408\nRequest Timeout from x", 1, Kind.NOT_YET),
        ("requests.exceptions.ConnectionError: (Connection aborted)", 1, Kind.NOT_YET),
        ("it never ended", TIMED_OUT, Kind.NOT_YET),
        ("ERROR HTTPError: 400 Bad Request from x\nFile already exists", 1, Kind.REFUSED),
        ("ERROR HTTPError: 403 Forbidden from x", 1, Kind.REFUSED),
    ],
)
def test_twines_failure_is_read(said: str, code: int, kind: Kind) -> None:
    """An index that fails during the upload asks for patience; one that refuses does not."""
    lines = [f"line {number}" for number in range(20)]
    output = "\n".join([said, *lines])
    finished = Finished(argv=[], code=code, stdout=output, stderr="", took_ms=0)
    found = publish.failure(PYPI, finished)
    (problem,) = found.problems
    assert (found.kind, problem.where) == (kind, PYPI.upload_url)
    assert problem.what == "\n".join([f"twine {version('twine')} did not succeed:", *lines[-12:]])
    if kind is Kind.NOT_YET:
        assert (problem.rule, problem.remedy) == ("publish.index-up", AGAIN)
    else:
        assert problem.rule == "publish.uploaded"
        assert FILE in problem.remedy


def test_credentials_are_taken_out_of_the_environment() -> None:
    """No other child of the stage inherits the grant or a token."""
    env = {
        "PATH": "/usr/bin",
        "ACTIONS_ID_TOKEN_REQUEST_URL": "http://127.0.0.1/x",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret",
        "TWINE_CERT": "/x",
    }
    found = publish.take_credentials(env)
    assert env == {"PATH": "/usr/bin"}
    assert found == Credentials(
        publisher="trusted",
        variables={
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": "http://127.0.0.1/x",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret",
        },
    )
    half = {"ACTIONS_ID_TOKEN_REQUEST_URL": "http://127.0.0.1/x", "TWINE_PASSWORD": ""}
    assert publish.take_credentials(half) == Credentials(publisher="", variables={})
    token = {"TWINE_PASSWORD": "pypi-x", "TWINE_USERNAME": "me", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret"}
    found = publish.take_credentials(token)
    assert token == {}
    assert found == Credentials(
        publisher="token", variables={"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": "pypi-x"}
    )

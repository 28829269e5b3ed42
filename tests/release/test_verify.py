"""The `verify` stage: what an index lists and serves, held against the ledger and a rebuild."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

from release import builder, publisher, pythons, verify
from release.context import Context, Options
from release.evidence import Opening
from release.indexes import INDEXES, IndexName
from release.ledger import Ledger, Outcome
from release.model import Checked, Kind, Mode, Problem, Refused, Report
from release.publisher import PublisherFacts
from release.rules.archives import digest_of, read_archive
from release.runner import Finished, Runner
from release.signing.check import TRUST
from release.signing.kept import identity, job_claims
from release.simple import IndexClient
from tests.release.build_support import FILES, Replaying, built, exported, repacked, replaying, rules, tarred
from tests.release.index_support import Answer, Served, entry, serving
from tests.release.ledger_support import COMMIT, add, create, opening
from tests.release.publish_support import PUBLISHER
from tests.release.repo_support import NOW, context_on, printed
from tests.release.runner_support import Call

REHEARSED = Options(mode=Mode.REHEARSAL)
WHEEL, SDIST = "tiny_demo-1.2.0-py3-none-any.whl", "tiny_demo-1.2.0.tar.gz"


def metadata() -> bytes:
    return read_archive(WHEEL, built().wheel).get("tiny_demo-1.2.0.dist-info/METADATA") or b""


@dataclass(slots=True, kw_only=True)
class Exporting(Replaying):
    """To git, the ledger's commit is checked out and clean, and the tiny project is what it holds."""

    calls: list[Call] = field(default_factory=list[Call])
    """What was built."""
    asked: list[Path] = field(default_factory=list[Path])
    """The checkouts of which a commit was exported."""
    takes: Callable[[], None] = lambda: None
    """What happens while something is built."""

    def answer(self, call: Call) -> Finished:
        if call.words[0] != "git":
            self.calls.append(call)
            self.takes()
            return Replaying.answer(self, call)
        if "archive" in call.words:
            assert call.words[-1] == COMMIT
            self.asked.append(call.cwd)
            [path] = [word.removeprefix("--output=") for word in call.words if word.startswith("--output=")]
            Path(path).write_bytes(tarred([(name, text.encode()) for name, text in FILES.items()]))
        return call.ended(said=f"{COMMIT}\n" if "rev-parse" in call.words else "")


def rebuilding(changes: Mapping[str, bytes] | None = None) -> Exporting:
    """A rebuild that gives what was released, but for `changes`."""
    return Exporting(builds=replaying(changes).builds)


def opened(root: Path, *, mode: Mode = Mode.REHEARSAL) -> Ledger:
    """The ledger of the tiny project after its upload by a token."""
    plan = {**opening().plan, "verify": ("all",)}
    facts = opening(mode=mode, project="tiny-demo", version="1.2.0", artifacts=built().artifacts)
    ledger = Ledger.create(
        root / "ledger", facts if mode is Mode.RELEASE else replace(facts, plan=plan), at=NOW
    )
    add(ledger, "pypi", subject={}, figures={"publisher": "token"})
    return ledger


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny project, uploaded."""
    monkeypatch.setattr(pythons, "found", lambda: {"3.12": sys.executable})
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv(TRUST, raising=False)
    root = exported({publisher.FILE: PUBLISHER}, tmp_path / "repo")
    opened(root)
    return root


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """An index that serves everything as it should be, as PyPI."""
    with serving() as served:
        monkeypatch.setitem(INDEXES, IndexName.PYPI, served.index)
        served.files("tiny-demo", built().files, metadata=metadata())
        yield served


def context_with(root: Path, runner: Runner | None = None, options: Options = REHEARSED) -> Context:
    return replace(context_on(root, options=options), runner=runner or rebuilding())


def run(root: Path, runner: Runner | None = None, options: Options = REHEARSED) -> Report:
    return verify.run("verify", context_with(root, runner, options))


def refused(root: Path, runner: Runner | None = None, options: Options = REHEARSED) -> Refused:
    with pytest.raises(Refused) as caught:
        run(root, runner, options)
    return caught.value


def outcomes(root: Path) -> list[str]:
    return [line.outcome for line in Ledger.read(root / "ledger").lines if line.stage == "verify"]


def finding(*problems: Problem) -> Callable[[Context, Opening], list[Problem]]:
    """What finds these problems with every tag."""

    def found(context: Context, opening: Opening) -> list[Problem]:
        del context, opening
        return [*problems]

    return found


class Clock:
    """Time passes only while something is built."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


TOOLS = {name: version(name) for name in ("build", "hatchling", "pypi-attestations", "sigstore")}
UNSIGNED = "no attestations, since a token uploaded them"


def test_a_release_as_it_should_be_is_verified_every_time(
    tiny: Path, index: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing, bytes, metadata and rebuild; here a token uploaded the files, which signs nothing."""
    del index
    clock = Clock()
    monkeypatch.setattr(verify, "time", clock)
    runner = rebuilding()
    runner.takes = lambda: setattr(clock, "now", clock.now + 1.25)
    context = context_with(tiny, runner)
    assert verify.run("verify", context) == Report(
        kind=Kind.DONE,
        sentence="pypi serves the ledger's 2 files of tiny-demo 1.2.0, "
        f"{UNSIGNED}, and a rebuild gives the same bytes",
        checked=[
            Checked(what="listed", found=f"exactly {WHEEL}, {SDIST}; none yanked"),
            Checked(what="served", found="the ledger's digests and sizes; .metadata is the wheel's METADATA"),
            Checked(what="rebuilt", found=f"{COMMIT[:12]}: the same bytes"),
            Checked(what="attestations", found=UNSIGNED),
        ],
        figures={"files": 2, "attested": 0, "took_ms": 2500},
        tools=TOOLS,
    )
    assert printed(context).startswith(
        f"  asking pypi what it lists and serves\n  building {COMMIT[:12]} afresh\n"
    )
    run(tiny)
    assert outcomes(tiny) == ["passed", "passed"]


def test_a_rebuild_is_made_of_the_ledgers_commit_and_time_in_other_circumstances(
    tiny: Path, index: Served
) -> None:
    """What only one machine, one hour or one umask gives is not what was released."""
    del index
    runner = rebuilding()
    run(tiny, runner)
    assert runner.asked == [tiny]
    [first, again] = runner.calls
    for call in (first, again):
        assert call.words[0] == sys.executable
        assert call.env["SOURCE_DATE_EPOCH"] == "1700000001"
        assert call.env["TZ"] == builder.SECOND.zone
        assert call.cwd.parent.name.startswith("tta-verify-")
        assert not call.cwd.parent.exists(), "nothing of it is left"


def test_a_release_names_its_tag(tiny: Path, index: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads the report finds the release by it."""
    del index
    (tiny / "ledger/ledger.jsonl").unlink()
    opened(tiny, mode=Mode.RELEASE)
    asked: list[object] = []

    def not_moved(*given: object) -> list[Problem]:
        asked.extend(given)
        return []

    monkeypatch.setattr(verify, "tag_problems", not_moved)
    context = context_with(tiny, options=Options())
    report = verify.run("verify", context)
    assert report.checked[2] == Checked(what="rebuilt", found="v0.1.0: the same bytes")
    assert asked == [context, Ledger.read(tiny / "ledger").opening]


def test_a_release_trusts_sigstores_own_root_alone(
    tiny: Path, index: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a rehearsal signed is no release's."""
    del index
    monkeypatch.setenv(TRUST, str(tiny / publisher.FILE))
    monkeypatch.setattr(verify, "tag_problems", finding())
    (tiny / "ledger/ledger.jsonl").unlink()
    opened(tiny, mode=Mode.RELEASE)
    assert rules(refused(tiny, options=Options()).problems) == ["attestation.trust"]


def test_a_rehearsals_ledger_is_not_verified_as_a_release(tiny: Path) -> None:
    """A stage that reaches an index is a release unless it is told otherwise."""
    assert rules(refused(tiny, options=Options()).problems) == ["binding.same-mode"]


def test_what_is_attested_is_checked_against_the_publisher_and_the_commit(
    tiny: Path, index: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signature of another job, or of the job for another commit, vouches for nothing."""
    changes = {"core-metadata": {"sha256": digest_of(metadata())}}
    index.page(
        "tiny-demo",
        [
            entry(WHEEL, built().wheel, provenance="../../p/wheel", **changes),
            entry(SDIST, built().sdist, provenance="../../p/sdist"),
        ],
    )
    index.answers["/p/wheel"], index.answers["/p/sdist"] = Answer(body=b"of it"), Answer(body=b"of that")
    given: list[tuple[object, ...]] = []
    trusted: list[object] = []

    def believing(path: Path | None) -> contextlib.nullcontext[None]:
        trusted.append(path)
        return contextlib.nullcontext()

    def fine(*args: object) -> None:
        given.append(args)

    monkeypatch.setattr(verify, "believing", believing)
    monkeypatch.setattr(verify, "provenance_problem", fine)
    monkeypatch.setenv(TRUST, str(tiny / publisher.FILE))
    report = run(tiny)
    said = "2 attested by the publisher for this commit"
    assert said in report.sentence
    assert report.checked[-1] == Checked(what="attestations", found=said)
    assert report.figures["attested"] == 2
    assert trusted == [tiny / publisher.FILE]
    who = (identity(PublisherFacts.read(tiny)), job_claims(Ledger.read(tiny / "ledger").opening))
    assert given == [
        (b"of it", WHEEL, digest_of(built().wheel), *who),
        (b"of that", SDIST, digest_of(built().sdist), *who),
    ]


def test_nothing_uploaded_is_nothing_to_verify(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the command that is missing; a tag that moved is named as well."""
    moved = Problem(rule="tag.not-moved", where="v1.2.0", what="moved", remedy="move it back")
    monkeypatch.setattr(verify, "tag_problems", finding(moved))
    add(Ledger.read(tiny / "ledger"), "pypi", outcome=Outcome.FAILED, subject={})
    assert refused(tiny).problems == (
        Problem(
            rule="verify.after-upload",
            where="pypi",
            what="the ledger holds no passed upload to it",
            remedy="run `nox -s pypi` first",
        ),
        moved,
    )
    line = Ledger.read(tiny / "ledger").latest("verify", "all")
    assert line is not None
    assert (line.outcome, line.figures) == (Outcome.FAILED, {"problems": 2})


def listing_problems(index: Served) -> list[Problem]:
    with IndexClient(index.index) as client:
        listing = client.listing("tiny-demo")
    return verify.listing_problems(index.index, listing, Version("1.2.0"), built().artifacts)


def listing_rules(index: Served) -> list[str]:
    return rules(listing_problems(index))


def good() -> list[dict[str, object]]:
    core = {"core-metadata": {"sha256": digest_of(metadata())}}
    return [entry(WHEEL, built().wheel, **core), entry(SDIST, built().sdist)]


def test_exactly_the_ledgers_files_are_expected(index: Served) -> None:
    """Files of other versions are somebody else's business."""
    index.page("tiny-demo", [*good(), entry("tiny_demo-1.1.0.tar.gz", b"old", yanked=True)])
    assert listing_rules(index) == []


NEVER = "nothing on an index can be replaced: yank this release, and release the next version"
WHO = "find out who uploaded it; what cannot be explained is yanked: see the rollback runbook"
NOT_OURS = "is listed for this release and is not in the ledger"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiny_demo-1.2.0-cp312-cp312-linux_x86_64.whl", NOT_OURS),
        ("tiny_demo-1.2.tar.gz", NOT_OURS),
        ("tiny_demo-1.2.0-1-py3-none-any.whl", NOT_OURS),
        ("something.egg", "is unknown"),
        ("something.whl", "is unknown"),
    ],
)
def test_a_file_that_is_not_the_ledgers_is_refused(index: Served, name: str, said: str) -> None:
    """An installer on some platform would take it instead."""
    index.page("tiny-demo", [entry("tiny_demo-1.1.0.tar.gz", b"old"), *good(), entry(name, b"x")])
    assert listing_problems(index) == [
        Problem(
            rule="verify.only-ours",
            where=f"pypi: {name}",
            what=said,
            remedy=f"find out who uploaded it; {NEVER}",
        )
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"yanked": "broken"}, ("yanked", SDIST, "is yanked: broken", "see the rollback runbook")),
        ({"yanked": ""}, ("yanked", SDIST, "is yanked: no reason given", "see the rollback runbook")),
        (
            {"core-metadata": False},
            ("metadata", WHEEL, "has no core metadata beside it", "wait a minute and run this again"),
        ),
    ],
)
def test_a_file_in_no_good_standing_is_refused(
    index: Served, change: dict[str, object], problem: tuple[str, str, str, str]
) -> None:
    """Each in its own words."""
    rule, name, what, remedy = problem
    index.page("tiny-demo", [{**each, **change} if each["filename"] == name else each for each in good()])
    where = f"pypi: {name}"
    assert listing_problems(index) == [Problem(rule=f"verify.{rule}", where=where, what=what, remedy=remedy)]


def test_a_missing_and_a_changed_file_are_refused(index: Served) -> None:
    """What is absent can be uploaded still; other bytes hold the name for ever."""
    wheel, sdist = good()
    index.page("tiny-demo", [wheel])
    assert listing_problems(index) == [
        Problem(
            rule="verify.listed",
            where=f"pypi: {SDIST}",
            what="is not listed",
            remedy="run `nox -s pypi` again: it uploads what is absent",
        )
    ]
    index.page("tiny-demo", [wheel, {**sdist, "hashes": {"sha256": "0" * 64}}])
    assert listing_rules(index) == ["index.digest"]


def test_what_is_listed_without_a_signature_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job that uploads signs; only who uploads with a token cannot, and the ledger says who did."""
    monkeypatch.delenv(TRUST, raising=False)
    (tmp_path / publisher.FILE).parent.mkdir()
    (tmp_path / publisher.FILE).write_text(PUBLISHER, encoding="utf-8")
    ledger = create(tmp_path / "ledger", artifacts=built().artifacts)
    context = context_on(tmp_path)

    def found(present: set[str], provenances: dict[str, bytes]) -> list[tuple[str, str]]:
        problems = verify.attested_problems(context, ledger, present, provenances)
        assert rules(problems) == ["verify.attested"] * len(problems)
        return [(problem.where, problem.what.partition(",")[0]) for problem in problems]

    assert found(set(), {}) == [], "what is not listed is said elsewhere"
    unsigned = verify.attested_problems(context, ledger, {WHEEL}, {})
    assert unsigned == [
        Problem(
            rule="verify.attested",
            where=f"pypi: {WHEEL}",
            what="has no attestation, and the job that uploads signs",
            remedy=WHO,
        )
    ]
    add(ledger, "testpypi", subject={}, figures={"publisher": "token"})
    add(ledger, "pypi", subject={}, figures={"publisher": "trusted"})
    ledger = Ledger.read(tmp_path / "ledger")
    assert found({WHEEL}, {}) == [(f"pypi: {WHEEL}", "has no attestation")], "no token uploaded it"
    add(ledger, "pypi", subject={}, figures={"publisher": "token"})
    ledger = Ledger.read(tmp_path / "ledger")
    assert found({WHEEL, SDIST}, {}) == []
    [(where, _)] = found({WHEEL, SDIST}, {SDIST: b"garbage"})
    assert where == f"pypi: {SDIST}"


def test_an_index_that_is_down_is_not_yet(tiny: Path, index: Served) -> None:
    """Nothing has failed, and nothing is recorded."""
    index.answers["/simple/tiny-demo/"] = Answer(status=503)
    assert refused(tiny).kind is Kind.NOT_YET
    assert outcomes(tiny) == []


def test_other_bytes_than_listed_are_refused(tiny: Path, index: Served) -> None:
    """What is served is looked at, not only what is listed."""
    index.answers[f"/files/{SDIST}"] = Answer(body=b"other")
    assert rules(refused(tiny).problems) == ["index.served-bytes"]
    assert outcomes(tiny) == ["failed"]


def test_metadata_that_is_not_the_wheels_is_refused(tiny: Path, index: Served) -> None:
    """An installer resolves by the `.metadata` file: it must be the wheel's own."""
    index.files("tiny-demo", built().files, metadata=metadata().replace(b"redis", b"evils"))
    assert refused(tiny).problems == (
        Problem(
            rule="verify.metadata",
            where=f"pypi: {WHEEL}",
            what="serves a .metadata that is not the METADATA in the wheel",
            remedy=NEVER,
        ),
    )


def test_metadata_beside_an_sdist_is_its_own(tiny: Path, index: Served) -> None:
    """An sdist holds no METADATA of a wheel to compare it with."""
    wheel, sdist = good()
    index.page("tiny-demo", [wheel, {**sdist, "core-metadata": {"sha256": digest_of(b"of the sdist")}}])
    index.answers[f"/files/{SDIST}.metadata"] = Answer(body=b"of the sdist")
    assert run(tiny).kind is Kind.DONE


def test_a_wheel_without_metadata_beside_it_is_refused_once(tiny: Path, index: Served) -> None:
    """What is not listed is not asked for."""
    wheel, sdist = good()
    index.page("tiny-demo", [{**wheel, "core-metadata": False}, sdist])
    assert rules(refused(tiny).problems) == ["verify.metadata"]


def test_a_rebuild_with_other_bytes_is_refused_and_named(tiny: Path, index: Served) -> None:
    """What was published follows from the commit, or somebody has to say why not."""
    del index
    other = repacked(SDIST, built().sdist, {"tiny_demo-1.2.0/README.md": b"other\n"})
    caught = refused(tiny, rebuilding({SDIST: other}))
    assert set(rules(caught.problems)) == {"build.same-bytes"}
    assert any("README.md differs from byte" in problem.what for problem in caught.problems)
    [told, *_] = caught.problems
    assert told.where == SDIST
    assert told.what.endswith(" (first: what PyPI serves, second: rebuilt from the commit)")
    assert outcomes(tiny) == ["failed"]


def test_both_files_of_a_rebuild_are_compared(tiny: Path, index: Served) -> None:
    """Who looks for what differs needs to know all of it."""
    del index
    module = {"tiny_demo/__init__.py": b"other\n"}
    readme = {"tiny_demo-1.2.0/README.md": b"other\n"}
    others = {WHEEL: repacked(WHEEL, built().wheel, module), SDIST: repacked(SDIST, built().sdist, readme)}
    places = {problem.where for problem in refused(tiny, rebuilding(others)).problems}
    assert places == {WHEEL, SDIST, f"dist/{WHEEL}", f"dist/{SDIST}"}


def test_a_file_more_of_this_version_is_refused(tiny: Path, index: Served) -> None:
    """All that an installer may take is what was released."""
    more = entry("tiny_demo-1.2.0-cp312-cp312-linux_x86_64.whl", b"x")
    index.page("tiny-demo", [*good(), more])
    assert rules(refused(tiny).problems) == ["verify.only-ours"]


def test_an_absent_project_is_refused(tiny: Path, index: Served) -> None:
    """After a passed upload and smoke, nothing there is a difference."""
    index.answers["/simple/tiny-demo/"] = Answer(status=404)
    assert rules(refused(tiny).problems) == ["verify.listed", "verify.listed"]
    other = {SDIST: repacked(SDIST, built().sdist, {"tiny_demo-1.2.0/README.md": b"other\n"})}
    found = rules(refused(tiny, rebuilding(other)).problems)
    assert found == ["verify.listed", "verify.listed", "build.same-bytes"], (
        "the rebuild is judged all the same"
    )

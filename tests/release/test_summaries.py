"""What a person sees of a release: complete, and inert whatever the texts hold."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from release import summaries
from release.__main__ import main
from release.context import Options
from release.evidence import Outcome
from release.ledger import Ledger
from release.model import Checked, Kind, Mode, Problem, Refused, Report
from release.summaries import ledger_page, plain, stage_summary, summarise
from tests.release.build_support import context_on
from tests.release.ledger_support import COMMIT, HERE, SDIST, WHEEL, add, create, rewrite
from tests.release.repo_support import NOW

HOSTILE = "a|b\n| c `x` <img src=x> [l](http://e.vil) @root #1 _e_ **b** www.e.vil \x1b[31m"
REPORT = Report(
    kind=Kind.REFUSED,
    sentence=f"sentence {HOSTILE}",
    checked=[Checked(what=f"what {HOSTILE}", found=f"found {HOSTILE}")],
    problems=[Problem(rule=f"rule{HOSTILE}", where=HOSTILE, what=HOSTILE, remedy=HOSTILE)],
    figures={f"figure{HOSTILE}": HOSTILE},
    tools={f"tool{HOSTILE}": HOSTILE},
)


def rows(page: str) -> list[list[str]]:
    """The cells of every row of every table."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("|")
    ]


def test_nothing_in_a_text_is_markup() -> None:
    """A hostile file name or index answer must not put a link or a picture on the maintainer's page."""
    shown = plain(HOSTILE)
    assert not set(re.sub(r"&#\d+;", "", shown)) & set("|`<>[]@#_*.:\n\x1b&")
    page = stage_summary("lint", REPORT)
    assert not re.search(r"[<`@\[\]]|www\.|://", page)
    assert {len(row) for row in rows(page)} == {2, 3}
    assert page.startswith("## lint: refused\n\nsentence a&#124;b")


def test_plain_keeps_what_is_plain_and_cuts_what_is_endless() -> None:
    """A sentence stays readable, a page stays below its limit."""
    assert plain("Grüße, 2 of 3 (ok)") == "Grüße, 2 of 3 (ok)"
    assert plain("v0.1.0") == "v0&#46;1&#46;0"
    assert len(plain("x" * 5_000)) == summaries.MAX_CELL + len(" (cut)")


def test_stage_summary_shows_all_a_stage_reports() -> None:
    """Each part of a report has its table, and an empty one has none."""
    page = stage_summary("lint", REPORT)
    heads = [row for row in rows(page) if row[0] in {"problem", "checked", "figure", "tool"}]
    assert [head[0] for head in heads] == ["problem", "checked", "figure", "tool"]
    bare = stage_summary("verify", Report(kind=Kind.NOT_YET, sentence="wait"))
    assert bare == "## verify: not yet\n\nwait\n"


def test_stage_summary_is_a_table_for_each_kind_of_thing() -> None:
    """As GitHub renders it, to the letter."""
    report = Report(
        kind=Kind.REFUSED,
        sentence="two, as it is",
        checked=[Checked(what="a", found="b"), Checked(what="c", found="d")],
        problems=[Problem(rule="r", where="w", what="x", remedy="y")],
        figures={"two": 2, "one": "1"},
        tools={"uv": "2", "pip": "1"},
    )
    assert stage_summary("a_b", report) == (
        "## a&#95;b: refused\n\ntwo, as it is\n\n"
        "| problem | rule | what to do |\n| --- | --- | --- |\n| w&#58; x | r | y |\n\n"
        "| checked | found |\n| --- | --- |\n| a | b |\n| c | d |\n\n"
        "| figure | value |\n| --- | --- |\n| one | 1 |\n| two | 2 |\n\n"
        "| tool | version |\n| --- | --- |\n| pip | 1 |\n| uv | 2 |\n"
    )


def test_a_text_is_cut_at_its_limit_and_not_before() -> None:
    """What stands between control characters stays apart."""
    limit = summaries.MAX_CELL
    assert plain("x" * limit) == "x" * limit
    assert plain("x" * limit + "y") == "x" * limit + " (cut)"
    assert plain("\x1b a\r\n\tb \x00") == "a b"


def test_long_tables_say_what_they_leave_out() -> None:
    """A thousand problems must not push the rest of the page over its limit in silence."""
    checked = [Checked(what=f"file {n}", found="ok") for n in range(summaries.MAX_ROWS + 7)]
    page = stage_summary("lint", Report(kind=Kind.DONE, sentence="s", checked=checked))
    assert rows(page)[-1] == ["7 more rows are in the log", ""]
    assert page.endswith("\n| 7 more rows are in the log | |\n")
    whole = Report(kind=Kind.DONE, sentence="s", checked=checked[: summaries.MAX_ROWS])
    assert rows(stage_summary("lint", whole))[-1] == [f"file {summaries.MAX_ROWS - 1}", "ok"]
    assert len(rows(page)) == summaries.MAX_ROWS + 3


def test_ledger_page_shows_files_lines_and_what_is_missing(tmp_path: Path) -> None:
    """A maintainer sees the digests, who proved what and what a release still waits for."""
    ledger = create(tmp_path / "ledger")
    add(ledger, "lint", figures={"took_ms": 12, "checks": 16})
    add(ledger, "test", "3.12", Outcome.FAILED)
    page = ledger_page(ledger)
    for artifact in (WHEEL, SDIST):
        assert [plain(artifact.name), str(artifact.size), artifact.sha256] in rows(page)
    assert [row for row in rows(page) if row[0] == "n"] == [
        ["n", "stage", "leg", "outcome", "at (UTC)", "where", "figures"]
    ]
    assert rows(page)[-2][:4] == ["1", "lint", "all", "passed"]
    assert rows(page)[-2][-1] == "checks 16, took&#95;ms 12"
    assert rows(page)[-1][:4] == ["2", "test", "3&#46;12", "failed"]
    missing = page.rstrip().splitlines()[-1]
    assert "test 3&#46;12" in missing
    assert "lint" not in missing


def test_ledger_page_is_complete_to_the_letter(tmp_path: Path) -> None:
    """Two gates wait in it; a release's tag stands beside its commit."""
    ledger = create(tmp_path, plan={"lint": ("all",), "test": ("3.12", "3.13")})
    add(ledger, "lint", figures={"took_ms": 12, "checks": 16})
    head = "| --- | --- | --- | --- | --- | --- | --- |"
    where = plain(f"{HERE.kind} {HERE.os} {HERE.arch}, Python {HERE.python}")
    assert ledger_page(ledger) == (
        f"## The ledger of demo 0&#46;1&#46;0\n\nA rehearsal of commit {COMMIT}; head {ledger.head}.\n\n"
        "| file | bytes | SHA-256 |\n| --- | --- | --- |\n"
        f"| {plain(WHEEL.name)} | 10 | {WHEEL.sha256} |\n| {plain(SDIST.name)} | 20 | {SDIST.sha256} |\n\n"
        f"| n | stage | leg | outcome | at (UTC) | where | figures |\n{head}\n"
        f"| 1 | lint | all | passed | {plain(f'{NOW:%Y-%m-%d %H:%M:%S}')} "
        f"| {where} | checks 16, took&#95;ms 12 |\n\n"
        "Without evidence that counts: test 3&#46;12, test 3&#46;13.\n"
    )
    add(ledger, "test", "3.12")
    add(ledger, "test", "3.13")
    assert ledger_page(ledger).endswith("\nWithout evidence that counts: nothing.\n")
    released = create(tmp_path / "released", mode=Mode.RELEASE)
    assert f"\nA release of commit {COMMIT}, tag v0&#46;1&#46;0; head " in ledger_page(released)
    large = create(tmp_path / "large", artifacts=(replace(WHEEL, size=1_234_567),))
    assert " | 1,234,567 | " in ledger_page(large)


def test_a_summary_is_appended_to_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stage of a job adds its own, a line feed behind it, to the file that the environment names."""
    target, folder = tmp_path / "summary.md", tmp_path / "ledger"
    target.write_text("before, ä\n", encoding="utf-8")
    monkeypatch.setenv(summaries.VARIABLE, str(target))
    done = Report(kind=Kind.DONE, sentence="all is wöll")
    ledger = create(folder)
    assert summarise("lint", done, folder) is True
    assert target.read_text(encoding="utf-8") == (
        f"before, ä\n{stage_summary('lint', done)}\n{ledger_page(ledger)}\n"
    )
    add(ledger, "lint")
    rewrite(folder, lambda lines: [lines[0].replace(b'"demo"', b'"Demo"'), *lines[1:]])
    target.write_text("", encoding="utf-8")
    assert summarise("lint", done, folder) is True
    text = target.read_text(encoding="utf-8")
    assert text.startswith(f"{stage_summary('lint', done)}\nThe ledger cannot be shown: ledger")
    assert text.endswith("\n\n")
    monkeypatch.delenv(summaries.VARIABLE)
    assert summarise("lint", done, folder) is False


def test_a_job_gets_the_stage_and_the_ledger(tmp_path: Path) -> None:
    """Both are appended, as GitHub Actions asks; outside a workflow nothing is written."""
    target = tmp_path / "summary.md"
    folder = tmp_path / "ledger"
    done = Report(kind=Kind.DONE, sentence="all is well")
    assert summarise("lint", done, folder, {}) is False
    assert summarise("lint", done, folder, {summaries.VARIABLE: str(target)}) is True
    assert "The ledger" not in target.read_text(encoding="utf-8")
    ledger = create(folder)
    assert summarise("build", done, folder, {summaries.VARIABLE: str(target)}) is True
    text = target.read_text(encoding="utf-8")
    assert text.index("## lint") < text.index("## build") < text.index("## The ledger of demo")
    assert ledger.head in text


def test_a_broken_ledger_is_said_and_ends_nothing(tmp_path: Path) -> None:
    """The summary of a refusal must not hide the refusal behind an error of its own."""
    target, folder = tmp_path / "summary.md", tmp_path / "ledger"
    add(create(folder), "lint")
    rewrite(folder, lambda lines: [lines[0].replace(b'"demo"', b'"Demo"'), *lines[1:]])
    summarise("test", Report(kind=Kind.REFUSED, sentence="x"), folder, {summaries.VARIABLE: str(target)})
    assert "The ledger cannot be shown: " in target.read_text(encoding="utf-8")


def test_every_stage_is_summarised_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line itself writes the summary, of a stage that failed too."""
    target = tmp_path / "summary.md"
    monkeypatch.setenv(summaries.VARIABLE, str(target))
    assert main(["check", "absent.whl"], root=tmp_path) == 1
    assert "## check: refused" in target.read_text(encoding="utf-8")


def test_report_stage_writes_the_page(tmp_path: Path) -> None:
    """`nox -s report` on a checkout with a ledger."""
    add(create(tmp_path / "ledger"), "lint")
    report = summaries.run("report", context_on(tmp_path, options=Options()))
    assert summaries.run("report", context_on(tmp_path, options=Options())) == report
    page = (tmp_path / summaries.PAGE).read_text(encoding="utf-8")
    assert page == ledger_page(Ledger.read(tmp_path / "ledger"))
    assert report.kind is Kind.DONE
    assert report.sentence == "report/release.md shows demo 0.1.0: 1 lines"
    assert [(each.what, each.found) for each in report.checked] == [("1 lint all", "passed")]


def test_report_stage_refuses_without_a_ledger_or_a_place(tmp_path: Path) -> None:
    """One clear sentence each."""
    context = context_on(tmp_path, options=Options())
    with pytest.raises(Refused, match="nox -s build"):
        summaries.run("report", context)
    create(tmp_path / "ledger")
    (tmp_path / "report").write_text("in the way", encoding="utf-8")
    with pytest.raises(Refused, match="cannot be written: File exists") as caught:
        summaries.run("report", context)
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("report.written", "report/release.md")

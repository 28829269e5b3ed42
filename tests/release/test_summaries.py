"""What a person sees of a release: complete, and inert whatever the texts hold."""

import re
from pathlib import Path

import pytest

from release import summaries
from release.__main__ import main
from release.context import Options
from release.evidence import Outcome
from release.ledger import Ledger
from release.model import Checked, Kind, Problem, Refused, Report
from release.summaries import ledger_page, plain, stage_summary, summarise
from tests.release.build_support import context_on
from tests.release.ledger_support import SDIST, WHEEL, add, create, rewrite

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


def test_long_tables_say_what_they_leave_out() -> None:
    """A thousand problems must not push the rest of the page over its limit in silence."""
    checked = [Checked(what=f"file {n}", found="ok") for n in range(summaries.MAX_ROWS + 7)]
    page = stage_summary("lint", Report(kind=Kind.DONE, sentence="s", checked=checked))
    assert rows(page)[-1] == ["7 more rows are in the log", ""]
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
    page = (tmp_path / summaries.PAGE).read_text(encoding="utf-8")
    assert page == ledger_page(Ledger.read(tmp_path / "ledger"))
    assert [each.found for each in report.checked] == ["passed"]


def test_report_stage_refuses_without_a_ledger_or_a_place(tmp_path: Path) -> None:
    """One clear sentence each."""
    context = context_on(tmp_path, options=Options())
    with pytest.raises(Refused, match="nox -s build"):
        summaries.run("report", context)
    create(tmp_path / "ledger")
    (tmp_path / "report").write_text("in the way", encoding="utf-8")
    with pytest.raises(Refused, match="cannot be written"):
        summaries.run("report", context)

"""The pages a person looks at: what a stage found, as a job's summary, and a release's ledger as a table.

Markdown as GitHub renders it. Every text that comes from outside goes through `plain`, which leaves nothing
in it that could be markup: neither a link, nor a mention, nor HTML.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from release.context import Context
from release.ledger import Ledger
from release.model import Artifact, Checked, Kind, Problem, Refused, Report

__all__ = ["PAGE", "VARIABLE", "ledger_page", "plain", "run", "stage_summary", "summarise"]

PAGE = "report/release.md"
"""Where the `report` stage writes the page, in the checkout; not committed."""
VARIABLE = "GITHUB_STEP_SUMMARY"
"""Names the file that becomes the job's summary."""

MAX_CELL = 2_000
"""Characters of one text; a page has a limit of 1 MiB."""
MAX_ROWS = 200

_MARKUP = re.compile(r"[^\w ,/()-]|_")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def plain(text: str) -> str:
    """A text of any origin as inert text: character references stand for whatever could be markup."""
    cut = text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]} (cut)"
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", _CONTROL.sub(" ", cut).strip())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(' --- ' for _ in head)}|"]
    whole = [f"| {' | '.join(plain(cell) for cell in row)} |" for row in rows]
    lines += whole[:MAX_ROWS]
    if len(whole) > MAX_ROWS:
        lines.append(f"| {len(whole) - MAX_ROWS} more rows are in the log |" + " |" * (len(head) - 1))
    return [*lines, ""]


def _figures(figures: Mapping[str, int | str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(figures.items()))


def stage_summary(stage: str, report: Report) -> str:
    """What one stage checked and found, with its figures and its problems."""
    kind = report.kind.name.lower().replace("_", " ")
    lines = [f"## {plain(stage)}: {kind}", "", plain(report.sentence), ""]
    if report.problems:
        lines += _table(
            ("problem", "rule", "what to do"),
            ((f"{each.where}: {each.what}", each.rule, each.remedy) for each in report.problems),
        )
    if report.checked:
        lines += _table(("checked", "found"), ((each.what, each.found) for each in report.checked))
    if report.figures:
        lines += _table(("figure", "value"), ((name, str(v)) for name, v in sorted(report.figures.items())))
    if report.tools:
        lines += _table(("tool", "version"), sorted(report.tools.items()))
    return "\n".join(lines)


def _artifact_row(artifact: Artifact) -> tuple[str, str, str]:
    return artifact.name, f"{artifact.size:,}", artifact.sha256


def ledger_page(ledger: Ledger) -> str:
    """A release's ledger: what it is about, its files, every line, and what has no evidence yet."""
    opening = ledger.opening
    tag = f", tag {plain(opening.tag)}" if opening.tag else ""
    lines = [
        f"## The ledger of {plain(opening.project)} {plain(opening.version)}",
        "",
        f"A {opening.mode.value} of commit {opening.commit}{tag}; head {ledger.head}.",
        "",
        *_table(("file", "bytes", "SHA-256"), map(_artifact_row, opening.artifacts)),
        *_table(
            ("n", "stage", "leg", "outcome", "at (UTC)", "where", "figures"),
            (
                (
                    str(line.n),
                    line.stage,
                    line.leg,
                    line.outcome.value,
                    f"{line.at:%Y-%m-%d %H:%M:%S}",
                    f"{line.ran.kind} {line.ran.os} {line.ran.arch}, Python {line.ran.python}",
                    _figures(line.figures),
                )
                for line in ledger.lines
            ),
        ),
    ]
    waiting = [
        f"{stage} {leg}"
        for stage, legs in opening.plan.items()
        for leg in legs
        if not ledger.passed(stage, leg)
    ]
    lines += ["Without evidence that counts: " + (plain(", ".join(waiting)) or "nothing") + ".", ""]
    return "\n".join(lines)


def summarise(stage: str, report: Report, folder: Path, environ: Mapping[str, str] | None = None) -> bool:
    """Append a stage's summary, and the ledger as it then stands, to the job's summary.

    Args:
        stage: The stage.
        report: How it ended.
        folder: The ledger's folder; without a ledger, or with a broken one, the stage stands alone.
        environ: The environment; this process's by default. Outside a workflow nothing is written.

    Returns:
        Whether something was written.
    """
    target = (os.environ if environ is None else environ).get(VARIABLE)
    if not target:
        return False
    text = stage_summary(stage, report)
    if (folder / "ledger.jsonl").exists():
        try:
            text += "\n" + ledger_page(Ledger.read(folder))
        except Refused as refused:
            text += f"\nThe ledger cannot be shown: {plain(str(refused.problems[0]))}\n"
    with Path(target).open("a", encoding="utf-8", newline="\n") as file:
        file.write(text + "\n")
    return True


def run(stage: str, context: Context) -> Report:
    """The `report` stage: write the ledger of this checkout as a page.

    Raises:
        Refused: there is no ledger, it is broken, or the page cannot be written.
    """
    del stage
    ledger = Ledger.read(context.ledger)
    page = context.root / PAGE
    try:
        page.parent.mkdir(exist_ok=True)
        page.write_text(ledger_page(ledger), encoding="utf-8", newline="\n")
    except OSError as error:
        raise Refused(
            Problem(
                rule="report.written",
                where=PAGE,
                what=f"cannot be written: {error.strerror}",
                remedy="mend the permissions of report/, or make room",
            )
        ) from error
    opening = ledger.opening
    return Report(
        kind=Kind.DONE,
        sentence=f"{PAGE} shows {opening.project} {opening.version}: {len(ledger.lines)} lines",
        checked=[
            Checked(what=f"{line.n} {line.stage} {line.leg}", found=line.outcome.value)
            for line in ledger.lines
        ],
    )

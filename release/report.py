"""How a stage's report is shown: what was checked, what was found, and one last line that says it all."""

from dataclasses import replace

from rich.console import Console

from release.model import Report

__all__ = ["show", "visible"]


def show(stage: str, report: Report, console: Console) -> None:
    """Print a report; the last line is `RESULT <kind> <stage>: <sentence>`."""
    width = max((len(checked.what) for checked in report.checked), default=0)
    for checked in report.checked:
        console.print(f"  {visible(checked.what):<{width}}  {visible(checked.found)}")
    for problem in report.problems:
        shown = replace(problem, where=visible(problem.where), what=visible(problem.what, "\n\t"))
        console.print(f"PROBLEM {shown}")
    kind = report.kind.name.lower().replace("_", "-")
    console.print(f"RESULT {kind} {stage}: {visible(report.sentence)}")


def visible(text: str, kept: str = "") -> str:
    """A text of any origin, with what a terminal would obey, or cannot print, written out.

    Args:
        text: The text; it may quote a member of a stranger's archive, or an index.
        kept: Characters that stay although they are no printable ones.
    """
    return "".join(each if each.isprintable() or each in kept else ascii(each)[1:-1] for each in text)

"""How a stage's report is shown: what was checked, what was found, and one last line that says it all."""

from rich.console import Console

from release.model import Report

__all__ = ["show"]


def show(stage: str, report: Report, console: Console) -> None:
    """Print a report; the last line is `RESULT <kind> <stage>: <sentence>`."""
    width = max((len(checked.what) for checked in report.checked), default=0)
    for checked in report.checked:
        console.print(f"  {checked.what:<{width}}  {checked.found}")
    for problem in report.problems:
        console.print(f"PROBLEM {problem}")
    kind = report.kind.name.lower().replace("_", "-")
    console.print(f"RESULT {kind} {stage}: {report.sentence}")

"""`python -m release check DIST...`: every rule that files, of any project, would break at PyPI.

The rules are those the embedded index holds uploads against; here they are asked of the files alone, so those
that need an index's memory, an upload form or a token are listed as not checked.
"""

from pathlib import Path

from release.context import Context
from release.model import Checked, Kind, Problem, Refused, Report
from release.rehearsal import archives, rules, uploads

__all__ = ["CHECKED", "NOT_CHECKED", "file_problems", "run"]

CHECKED = frozenset({*rules.FILE_RULES, *archives.RULES, "upload.size"})
"""Ids of the rules that a file alone can break."""
NOT_CHECKED = tuple(sorted({*rules.FORM_RULES, *uploads.STATE_RULES} - CHECKED))
"""Ids of the rules that need an index's memory, the form of an upload, or a token."""


def run(stage: str, context: Context) -> Report:
    """Read every file named on the command line and report all of their problems in one go.

    Raises:
        Refused: a file breaks a rule, or is not there.
    """
    del stage
    files = [context.root / word for word in context.options.words]
    if not files:
        raise Refused(
            Problem(
                rule="check.named",
                where="command line",
                what="no file is named",
                remedy="name wheels and sdists: python -m release check dist/*.whl dist/*.tar.gz",
            ),
            kind=Kind.USAGE,
        )
    problems: list[Problem] = []
    checked: list[Checked] = []
    for file in files:
        found = file_problems(file)
        broken = ", ".join(sorted({problem.rule for problem in found}))
        checked.append(Checked(what=file.name, found=f"breaks {broken}" if found else "breaks no rule"))
        problems += found
    checked.append(
        Checked(
            what=f"not checked ({len(NOT_CHECKED)} rules need an index, an upload form or a token)",
            found=", ".join(NOT_CHECKED),
        )
    )
    count = len(files)
    told = f"{count} file{'s' if count > 1 else ''} held against {len(CHECKED)} rules"
    if problems:
        sentence = f"{told}: {len(problems)} problem{'s' if len(problems) > 1 else ''}"
        return Report(kind=Kind.REFUSED, sentence=sentence, checked=checked, problems=problems)
    return Report(kind=Kind.DONE, sentence=f"{told}: PyPI would take them as files", checked=checked)


def file_problems(path: Path) -> list[Problem]:
    """Every rule that one file breaks, with the place and the remedy."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return [
            Problem(
                rule="check.readable",
                where=str(path),
                what=f"cannot be read: {error.strerror}",
                remedy="name a wheel or an sdist that is there",
            )
        ]
    file = rules.filename(path.name)
    if isinstance(file, Problem):
        return [file]
    found = list(rules.filename_problems(file))
    if len(data) > uploads.MAX_FILE:
        found.append(
            Problem(
                rule="upload.size",
                where=path.name,
                what=f"has {len(data)} bytes, {uploads.MAX_FILE} are allowed",
                remedy="make it smaller, or ask the index for a higher limit",
            )
        )
    contents = archives.read(file, data)
    found += contents.problems
    if contents.metadata is not None:
        found += rules.metadata_problems(f"{path.name}: metadata", contents.metadata, file)
    return found

"""What the documents promise: sessions that exist, commands that parse, links that lead somewhere."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from release.__main__ import STAGES, parse
from release.indexes import IndexName
from release.publisher import PublisherFacts
from release.rules.workflows import nox_line, sessions
from tests.release.workflow_support import ROOT

RUNBOOK = ROOT / "docs/how-to/release.md"
TEMPLATES = ROOT / ".github/ISSUE_TEMPLATE"
TEXTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", ".github/**/*.md")
    for path in ROOT.glob(pattern)
    if path.parent.name != "generated"  # made from the code by a build, and not committed
)
LABELS = {
    "packaging-fixes.md": ["packaging", "refactoring", "tta.dev-migration"],
    "memory-system-extraction.md": ["enhancement", "packaging", "new-package"],
    "tta-refactoring.md": ["refactoring", "tta.dev-migration"],
    "pypi-publishing.md": ["packaging"],
}


def name_of(path: Path) -> str:
    """A test id that a person reads."""
    return path.relative_to(ROOT).as_posix()


def slug(heading: str) -> str:
    """The anchor GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head, back ticks taken off."""
    below = text.split(heading, 1)[1]
    rows = re.findall(r"^\| (.+) \|$", below.split("\n\n|", 1)[1].split("\n\n", 1)[0], re.MULTILINE)
    return [[cell.strip().strip("`") for cell in row.split(" | ")] for row in rows]


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_docs_name_sessions_and_options_that_exist(path: Path) -> None:
    """A command that is copied from a document does not end in a usage error."""
    known = sessions((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    text = path.read_text(encoding="utf-8").replace("VERSION", "0.1.0")
    for command in re.findall(r"python -m nox -s [^`\n|&]+", text):
        line = nox_line(command.strip())
        assert line is not None, command
        for session in line.sessions:
            assert session in known, command
            assert session not in STAGES or parse([session, *line.words])[0] == session, command


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_docs_links_lead_somewhere(path: Path) -> None:
    """A link to a file of this repository, or to a heading, is not broken."""
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        where = (path.parent / file).resolve() if file else path
        assert where.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", where.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, target


def test_runbook_names_the_publisher_as_the_indexes_must_have_it() -> None:
    """What a person types into the indexes' forms is what the workflow's identity will say."""
    facts = PublisherFacts.read(ROOT)
    rows = {row[0]: row[1:] for row in table(RUNBOOK.read_text(encoding="utf-8"), "### 1.")}
    environments = facts.environments
    assert rows == {
        "PyPI project name": [facts.project] * 2,
        "Owner": [facts.owner] * 2,
        "Repository name": [facts.repository] * 2,
        "Workflow name": [facts.workflow] * 2,
        "Environment name": [environments[IndexName.TESTPYPI], environments[IndexName.PYPI]],
    }


def test_runbook_names_rules_that_exist() -> None:
    """A rule id that a maintainer searches for stands in the code."""
    code = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "release").rglob("*.py")))
    named = {row[0] for row in table(RUNBOOK.read_text(encoding="utf-8"), "## It was refused")}
    ids = re.findall(r"\b(?:tag|binding)\.([\w-]+)", " ".join(named))
    assert len(ids) >= 5
    assert [rule for rule in ids if f'"{rule}"' not in code and f'.{rule}"' not in code] == []


@pytest.mark.parametrize("name", sorted(LABELS))
def test_issue_template_has_its_labels_and_relations(name: str) -> None:
    """An issue from a template is sorted, has a checklist, and points at the projects it concerns."""
    _, front, body = (TEMPLATES / name).read_text(encoding="utf-8").split("---\n", 2)
    meta = yaml.safe_load(front)
    assert meta["labels"].split(", ") == LABELS[name]
    assert meta["name"]
    assert meta["about"]
    assert body.count("- [ ]") >= 5
    related = body.split("## Related Issues", 1)[1]
    assert re.search(r"theinterneti/TTA#", related)
    assert re.search(r"theinterneti/TTA\.dev#", related)


def test_every_dependency_has_its_reason() -> None:
    """ADR 14 lists what is installed, all of it and nothing else."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, groups = table["project"], table["dependency-groups"]
    extras = [entry for extra in project["optional-dependencies"].values() for entry in extra]
    entries = [entry for group in groups.values() for entry in group]
    named = [entry for entry in (*project["dependencies"], *extras, *entries) if isinstance(entry, str)]
    wanted = {Requirement(entry).name for entry in named} - {project["name"]}
    text = next((ROOT / "docs/adr").glob("0014-*.md")).read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w, -]+) \|", text, re.MULTILINE)
    listed = {name for row in rows for name in row.split(", ")}
    assert listed - {"dependency"} == wanted


def test_readme_commands_are_the_ones_the_pipeline_keeps() -> None:
    """The two commands a newcomer copies are words a shell splits as meant."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for session in ("rehearse", "test"):
        command = f'python -m pip install "nox[uv]" && python -m nox -s {session}'
        assert f"```sh\n{command}\n```" in text
        assert shlex.split(command)[4] == "nox[uv]"

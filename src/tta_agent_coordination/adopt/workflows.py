"""Rules on Python versions outside of projects: `.python-version`, workflows, container images. Pure.

Files are read line by line: what is written there is what is started, whatever a YAML parser makes of it.
"""

import re
from collections.abc import Iterator

from tta_agent_coordination.adopt.findings import Finding, ReplaceOnLine
from tta_agent_coordination.adopt.pythons import Authority, authority
from tta_agent_coordination.adopt.tree import Workspace, is_image_file

__all__ = ["images", "version_files", "workflows"]

_VERSION = re.compile(r"(?<![\d.<>=^~])(?<![<>=^~] )(?P<version>3\.\d+(?:\.\d+)?)")
"""A version that is named, not a bound of a range."""
_KEY = r"(?:python[-_]?versions?|python|uv_python)"
_IN_WORKFLOW = re.compile(
    rf"^(?P<indent>\s*)(?:-\s+)?[\"']?{_KEY}[\"']?\s*:(?=\s|$)\s*(?P<value>.*)$", re.IGNORECASE
)
_IN_FLOW = re.compile(rf"[{{,]\s*[\"']?{_KEY}[\"']?\s*:\s*(?P<value>\[[^\]]*|[^,}}\]]*)", re.IGNORECASE)
_IN_COMMAND = re.compile(
    r"(?:\buv\s+python\s+(?:install|pin)\s+|\buvx?\b[^|;&]*?\s--python[= ]|\buvx?\b[^|;&]*?\s-p\s+)"
    r"(?P<value>[\"'\d.\s]+)"
)
_OTHER_KEY = re.compile(r"^\s*[\w-]+\s*:(?=\s|$)(?<!default:)")
_IMAGE = re.compile(
    r"(?:\bpython:?(?:\d-)?|\bpython_version\s*[=:]\s*[\"']?|\bpython_version\s+)"
    r"(?P<version>3\.\d+(?:\.\d+)?)(?P<digest>\S*@sha256:)?",
    re.IGNORECASE,
)
_IMAGE_LINE = re.compile(
    r"^\s*(?:-\s+)?[\"']?(?:FROM\b|ARG\b|ENV\b|image[\"']?\s*:|container\s*:|PYTHON_VERSION\b)", re.IGNORECASE
)


def version_files(workspace: Workspace) -> Iterator[Finding]:
    """`python.version-file`: each `.python-version` names only Pythons that fit."""
    held = authority(workspace)
    for path, text in workspace.texts.items():
        if held is None or path.rpartition("/")[2] != ".python-version":
            continue
        lines = {number: line.partition("#")[0] for number, line in enumerate(text.splitlines(), start=1)}
        alone = sum(bool(line.strip()) for line in lines.values()) == 1
        for number, line in lines.items():
            yield from _unfit(held, path, number, line, rule="python.version-file", mended=alone)


def workflows(workspace: Workspace) -> Iterator[Finding]:
    """`python.workflow`: the versions that workflows, their matrices and their uv commands name fit."""
    held = authority(workspace)
    for path, text in workspace.texts.items():
        if held is None or not path.startswith(".github/"):
            continue
        for number, value in _named(text):
            yield from _unfit(held, path, number, value, rule="python.workflow")


def _named(text: str) -> Iterator[tuple[int, str]]:
    """Each line that names Python versions for a job, with the part that does."""
    inside: int | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        line = re.sub(r"(^|\s)#.*", "", raw)
        indent = len(line) - len(line.lstrip())
        for found in (*_IN_FLOW.finditer(line), *_IN_COMMAND.finditer(line)):
            yield number, found["value"]
        if found := _IN_WORKFLOW.match(line):
            value = found["value"].strip()
            open_list = not value or (value.startswith("[") and "]" not in value)
            inside = len(found["indent"]) if open_list else None
            yield number, value
        elif inside is None or not line.strip():
            continue
        elif indent < inside or (indent == inside and line.strip()[0] != "-"):
            inside = None
        elif not _OTHER_KEY.match(line):
            yield number, line


def _unfit(
    held: Authority, path: str, number: int, text: str, *, rule: str, mended: bool = False
) -> Iterator[Finding]:
    """One finding for each version in a text that does not fit."""
    for found in _VERSION.finditer(text):
        if not held.fits(found["version"]):
            yield Finding(
                rule=rule,
                file=path,
                line=number,
                what=f"names Python {found['version']}, which {held.wanted} excludes",
                remedy=f"name one that fits, such as {held.floor}",
                change=ReplaceOnLine(line=number, old=found["version"], new=held.floor) if mended else None,
            )


def images(workspace: Workspace) -> Iterator[Finding]:
    """`python.image`: no container image carries a Python that does not fit."""
    held = authority(workspace)
    for path, text in workspace.texts.items():
        if held is None or not (is_image_file(path) or path.startswith(".github/")):
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            for found in _IMAGE.finditer(line) if _IMAGE_LINE.match(line) else ():
                old = found[0]
                # In a workflow that is a variable, which `workflows` looks at.
                variable = path.startswith(".github/") and old.lower().startswith("python_version")
                if variable or held.fits(found["version"]):
                    continue
                new = old.replace(found["version"], held.floor)
                yield Finding(
                    rule="python.image",
                    file=path,
                    line=number,
                    what=f"the image has Python {found['version']}, which {held.wanted} excludes",
                    remedy=new if not found["digest"] else f"Python {held.floor}, with its digest",
                    change=None if found["digest"] else ReplaceOnLine(line=number, old=old, new=new),
                )

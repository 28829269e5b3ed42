"""The version that a build backend would read: by its own settings, from its own places."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.library.adopt.workspaces import workspace
from tta_agent_coordination.adopt.versioning import version_of

DYNAMIC = "[project]\nname = 'a-b'\ndynamic = ['version']\n"
FLIT = DYNAMIC + "[build-system]\nbuild-backend = 'flit_core.buildapi'\n"
HATCH = DYNAMIC + "[tool.hatch.version]\npath = 'x.py'\n"
PDM = DYNAMIC + "[tool.pdm.version]\npath = 'x.py'\n"
ATTR = DYNAMIC + "[tool.setuptools.dynamic]\nversion = { attr = 'm.n.V' }\n"
FILE = DYNAMIC + "[tool.setuptools.dynamic]\nversion = { file = 'a/../V' }\n"
ONE = "__version__ = '1'\n"


def version(text: str, files: Mapping[str, str]) -> str | None:
    """Return the version of a project with these files, as text."""
    read = workspace(
        {"p/x": "", "packages/a/pyproject.toml": text}
        | {f"packages/a/{path}": code for path, code in files.items()}
    )
    project = read.named("a-b")
    assert project is not None
    found = version_of(read, project)
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("text", "files", "found"),
    [
        ("[project]\nname = 'a-b'\nversion = '1.2'\n", {}, "1.2"),
        ("[project]\nname = 'a-b'\nversion = 'one'\n", {}, None),
        ("[project]\nname = 'a-b'\nversion = 1\n", {}, None),
        ("[project]\nname = 'a-b'\n[tool.hatch.version]\npath = 'x.py'\n", {"x.py": ONE}, None),
        (HATCH, {"x.py": ONE}, "1"),
        (HATCH, {"x.py": "VERSION: str = 'v2'\n"}, "2"),
        (HATCH, {"x.py": 'import y\n\nversion\t=\t"3"\n'}, "3"),
        (HATCH, {"x.py": " __version__ = '1'\n"}, None),
        (HATCH, {"x.py": "my__version__ = '1'\n__versions__ = '2'\n"}, None),
        (HATCH, {}, None),
        (HATCH + "source = 'regex'\n", {"x.py": ONE}, "1"),
        (HATCH + "source = 'code'\n", {"x.py": ONE}, None),
        (HATCH + "pattern = 'y'\n", {"x.py": ONE}, None),
        (HATCH.replace("'x.py'", "3"), {"x.py": ONE}, None),
        (HATCH.replace("'x.py'", "'./y/../x.py'"), {"x.py": ONE}, "1"),
        (PDM + "source = 'file'\n", {"x.py": ONE}, "1"),
        (PDM + "source = 'file'\n", {"x.py": "VERSION = '1'\n"}, None),
        (PDM + "source = 'scm'\n", {"x.py": ONE}, None),
        (PDM.replace("'x.py'", "3") + "source = 'file'\n", {"x.py": ONE}, None),
        (FILE, {"V": " 1.5\n\n"}, "1.5"),
        (FILE, {}, None),
        (ATTR, {"src/m/n/__init__.py": "V = '1'\n"}, "1"),
        (ATTR, {"src/m/n.py": "V = '2'\n", "m/n.py": "V = '3'\n"}, "2"),
        (ATTR, {"m/n/__init__.py": "V = '3'\n", "m/n.py": "V = '4'\n"}, "3"),
        (ATTR, {"src/m/n.py": "W = '2'\n", "m/n.py": "V = '4'\n"}, "4"),
        (ATTR, {"m/n.py": "XV = '4'\n"}, None),
        (ATTR.replace("'m.n.V'", "3"), {"m/n.py": "V = '4'\n"}, None),
        (FLIT, {"a_b.py": ONE}, "1"),
        (FLIT, {"src/a_b/__init__.py": ONE}, "1"),
        (FLIT, {"a_b.py": "VERSION = '1'\n"}, None),
        (FLIT + "[tool.flit.module]\nname = 'c'\n", {"c.py": ONE, "a_b.py": "__version__ = '2'\n"}, "1"),
        (FLIT + "[tool.flit.module]\nname = 3\n", {"a_b.py": ONE}, "1"),
        (FLIT.replace("flit_core.buildapi", "other"), {"a_b.py": ONE}, None),
        (
            FLIT.replace("build-backend = 'flit_core.", "requires = ['flit_core']\nbuild-backend = '"),
            {"a_b.py": ONE},
            None,
        ),
        (DYNAMIC, {"a_b.py": ONE, "src/a_b/__init__.py": ONE}, None),
    ],
)
def test_version_is_the_one_that_the_backend_would_take(
    text: str, files: dict[str, str], found: str | None
) -> None:
    """Broken: a constraint is written for a version that the package never has."""
    assert version(text, files) == found

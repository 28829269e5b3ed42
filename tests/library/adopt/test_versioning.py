"""Which version a project has, where its build backend reads it from a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.library.adopt.trees import TOOLKIT, adopt, found, in_order, write
from tta_agent_coordination.adopt.tree import read_workspace
from tta_agent_coordination.adopt.versioning import version_of

INIT = "packages/ai-dev-toolkit/src/ai_dev_toolkit/__init__.py"


def dynamic(options: str, backend: str = "hatchling.build") -> dict[str, str]:
    """Return the workspace with one member whose version its backend finds, required without one."""
    files = in_order()
    text = files[TOOLKIT].replace('version = "1.0"', 'dynamic = ["version"]')
    files[TOOLKIT] = text.replace("hatchling.build", backend) + options
    files["pyproject.toml"] = files["pyproject.toml"].replace("ai-dev-toolkit>=1.0", "ai-dev-toolkit")
    files[INIT] += '__version__: str = "2.1.dev3+local"\n'
    return files


@pytest.mark.parametrize(
    "files",
    [
        dynamic('[tool.hatch.version]\npath = "src/ai_dev_toolkit/__init__.py"\n'),
        dynamic('[tool.hatch.version]\nsource = "regex"\npath = "./src/ai_dev_toolkit/__init__.py"\n'),
        dynamic(
            '[tool.pdm.version]\nsource = "file"\npath = "src/ai_dev_toolkit/__init__.py"\n', "pdm.backend"
        ),
        dynamic(
            '[tool.setuptools.dynamic]\nversion = { attr = "ai_dev_toolkit.__version__" }\n', "setuptools"
        ),
        dynamic('[tool.setuptools.dynamic]\nversion = { file = "VERSION" }\n', "setuptools")
        | {"packages/ai-dev-toolkit/VERSION": "2.1.dev3+local\n"},
        dynamic("", "flit_core.buildapi"),
        dynamic('[tool.flit.module]\nname = "other"\n', "flit_core.buildapi")
        | {"packages/ai-dev-toolkit/other.py": "__version__ = '2.1.dev3'\n", INIT: "__version__ = '9'\n"},
    ],
)
def test_version_of_a_file_becomes_the_constraint(tmp_path: Path, files: dict[str, str]) -> None:
    """Broken: whoever lets the backend find the version gets no constraint, or one that no index has."""
    (finding,) = found(tmp_path, files)
    assert (finding.rule, finding.remedy) == ("dependency.constraint", "ai-dev-toolkit>=2.1.dev3")
    adopt("workspace", str(tmp_path), "--fix")
    assert '"ai-dev-toolkit>=2.1.dev3"' in (tmp_path / "pyproject.toml").read_text("utf-8")


@pytest.mark.parametrize(
    "files",
    [
        dynamic('[tool.hatch.version]\nsource = "vcs"\npath = "src/ai_dev_toolkit/__init__.py"\n'),
        dynamic('[tool.hatch.version]\npattern = "x"\npath = "src/ai_dev_toolkit/__init__.py"\n'),
        dynamic('[tool.hatch.version]\npath = "src/gone.py"\n'),
        dynamic('[tool.hatch.version]\npath = "../../uv.lock"\n'),
        dynamic(
            '[tool.pdm.version]\nsource = "scm"\npath = "src/ai_dev_toolkit/__init__.py"\n', "pdm.backend"
        ),
        dynamic('[tool.setuptools.dynamic]\nversion = { file = "uv.lock" }\n', "setuptools"),
        dynamic('[tool.setuptools.dynamic]\nversion = { attr = "gone.__version__" }\n', "setuptools"),
        dynamic("", "flit_core.buildapi") | {INIT: "import yaml\n__version__ = yaml.x\n"},
        dynamic("") | {TOOLKIT: dynamic("")[TOOLKIT].replace('dynamic = ["version"]', 'version = "one"')},
    ],
)
def test_version_that_only_a_build_knows_is_asked_for(tmp_path: Path, files: dict[str, str]) -> None:
    """Broken: the requirement without a version passes, or a version is made up."""
    (finding,) = found(tmp_path, files)
    assert finding.rule == "dependency.constraint"
    assert finding.change is None
    assert finding.remedy == f"say which versions fit; {TOOLKIT} does not say which it has, only a build does"


def test_version_of_a_file_is_held_against_the_range(tmp_path: Path) -> None:
    """Broken: a package is released that nobody may install beside its neighbours."""
    files = dynamic('[tool.hatch.version]\npath = "src/ai_dev_toolkit/__init__.py"\n')
    files["pyproject.toml"] = files["pyproject.toml"].replace('"ai-dev-toolkit"', '"ai-dev-toolkit>=2.1"')
    (finding,) = found(tmp_path, files)
    assert finding.what == "ai-dev-toolkit is required as >=2.1, and its version here is 2.1.dev3+local"


def test_file_that_cannot_be_read_has_no_version(tmp_path: Path) -> None:
    """Broken: a file of bytes or a pipe ends the run."""
    files = dynamic('[tool.setuptools.dynamic]\nversion = { file = "VERSION" }\n', "setuptools")
    write(tmp_path, files)
    version = tmp_path / "packages/ai-dev-toolkit/VERSION"
    version.write_bytes(b"\xff")
    for _ in ("bytes", "pipe"):
        workspace = read_workspace(tmp_path)
        project = workspace.named("ai-dev-toolkit")
        assert project is not None
        assert version_of(workspace, project) is None
        version.unlink()
        if hasattr(os, "mkfifo"):
            os.mkfifo(version)

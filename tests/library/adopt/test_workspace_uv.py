"""The rules, the lock and `--validate` against the real uv; offline but for the test marked `network`.

uv builds with its own backend without an index, so that packages without other dependencies need none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.library.adopt.trees import PACKAGES, write
from tta_agent_coordination.adopt.cli import main
from tta_agent_coordination.adopt.rules import check
from tta_agent_coordination.adopt.running import run
from tta_agent_coordination.adopt.tree import read_workspace


@pytest.fixture(autouse=True)
def uv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let uv be this environment's, with this Python, and without an index."""
    monkeypatch.setenv("UV_PYTHON", sys.executable)
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


def built() -> str:
    """Return the table for a build by the uv that is here."""
    version = subprocess.run(["uv", "--version"], check=True, capture_output=True, text=True).stdout.split()[
        1
    ]
    return f'[build-system]\nrequires = ["uv_build=={version}"]\nbuild-backend = "uv_build"\n'


def project(name: str, requires: str = "", more: str = "", version: str = "1.0") -> str:
    """Return a pyproject.toml."""
    return (
        f'[project]\nname = "{name}"\nversion = "{version}"\nrequires-python = ">=3.12"\n'
        f"dependencies = [{requires}]\n{more}"
    )


WORKSPACE = '[tool.uv.workspace]\nmembers = ["packages/*"]\n'
SOURCE = "[tool.uv.sources]\na = { workspace = true }\n"


def two(more: str = "", requires: str = "", a: str = "", **files: str) -> dict[str, str]:
    """Return a root and a member `a`, with more files."""
    return {
        "pyproject.toml": project("root", requires, more),
        "packages/a/pyproject.toml": a or project("a"),
        **files,
    }


REFUSED = {
    "a folder without a pyproject.toml": (
        "workspace.folder",
        two(WORKSPACE) | {"packages/b/readme": ""},
    ),
    "`**` takes the folders of sources too": (
        "workspace.folder",
        two(WORKSPACE.replace("/*", "/**")) | {"packages/a/src/a.py": ""},
    ),
    "a workspace in a workspace": (
        "workspace.nested",
        two(WORKSPACE, a=project("a", more='[tool.uv.workspace]\nmembers = ["x"]\n')),
    ),
    "a member without a name": (
        "project.name",
        two(WORKSPACE, a='[project]\nversion = "1"\nrequires-python = ">=3.12"\n'),
    ),
    "a name twice": ("project.name", two(WORKSPACE) | {"packages/b/pyproject.toml": project("A")}),
    "no version": (
        "project.version",
        two(WORKSPACE, a='[project]\nname = "a"\nrequires-python = ">=3.12"\n'),
    ),
    "a member without a source": ("source.workspace", two(WORKSPACE, '"a>=1"')),
    "a member by path": (
        "source.workspace",
        two(WORKSPACE + '[tool.uv.sources]\na = { path = "packages/a" }\n', '"a>=1"'),
    ),
    "a member by path on one system": (
        "source.workspace",
        two(
            WORKSPACE + "[tool.uv.sources]\na = [{ workspace = true, marker = \"sys_platform == 'linux'\" }, "
            "{ path = 'packages/a', marker = \"sys_platform != 'linux'\" }]\n",
            '"a>=1"',
        ),
    ),
    "a member by its address": ("source.workspace", two(WORKSPACE, '"a @ file:///tmp/a"')),
    "the root without a source": ("source.workspace", two(WORKSPACE, a=project("a", '"root>=1"'))),
    "a source for an extra that has it not": (
        "source.undeclared",
        two(WORKSPACE + '[tool.uv.sources]\na = { workspace = true, extra = "x" }\n', '"a>=1"'),
    ),
    "a source in a folder that is missing": (
        "source.folder",
        two('[tool.uv.sources]\nb = { path = "gone" }\n' + WORKSPACE, '"b"'),
    ),
    "a source in a folder without a project": (
        "source.folder",
        two('[tool.uv.sources]\nb = { path = "b" }\n' + WORKSPACE, '"b"') | {"b/readme": ""},
    ),
    "a source from a workspace without it": (
        "source.folder",
        two("[tool.uv.sources]\nb = { workspace = true }\n" + WORKSPACE, '"b"'),
    ),
    "a group that is missing": (
        "dependency.group",
        two('[dependency-groups]\ndev = [{ include-group = "x" }]\n' + WORKSPACE),
    ),
    "groups in a circle": (
        "dependency.group",
        two(
            '[dependency-groups]\ndev = [{ include-group = "x" }]\nx = [{ include-group = "dev" }]\n'
            + WORKSPACE
        ),
    ),
    "a default group that is missing": (
        "dependency.group",
        two("[tool.uv]\ndefault-groups = ['dev']\n" + WORKSPACE),
    ),
    "Pythons that exclude each other": (
        "python.requires",
        two(WORKSPACE, a=project("a").replace(">=3.12", "<3.12")),
    ),
    "a range that is none": (
        "python.declared",
        two(WORKSPACE) | {"pyproject.toml": project("r", more=WORKSPACE).replace(">=", "^")},
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_uv_refuses_is_found(tmp_path: Path, case: str) -> None:
    """Broken: a rule that uv does not share, or a workspace that passes and cannot be locked."""
    rule, files = REFUSED[case]
    write(tmp_path, files)
    refused = run(["uv", "lock"], cwd=tmp_path)
    assert refused.code, refused.output
    found = check(read_workspace(tmp_path))
    assert {each.rule for each in found} == {rule}


ACCEPTED = {
    "a member by its source": two(WORKSPACE + SOURCE, '"a>=1"'),
    "a member by the root's source": two(WORKSPACE + SOURCE)
    | {"packages/b/pyproject.toml": project("b", '"a>=1"')},
    "the root by its source": two(
        WORKSPACE, a=project("a", '"root>=1"', "[tool.uv.sources]\nroot = { workspace = true }\n")
    ),
    "a list of one": two(
        WORKSPACE + SOURCE.replace("{ workspace = true }", "[{ workspace = true }]"), '"a>=1"'
    ),
    "a source for a group": two(
        WORKSPACE
        + '[dependency-groups]\ndev = ["a>=1"]\n[tool.uv.sources]\na = { workspace = true, group = "dev" }\n'
    ),
    "a source for a build": two(WORKSPACE)
    | {
        "packages/b/pyproject.toml": project("b", more='[build-system]\nrequires = ["a"]\n' + SOURCE),
        "packages/b/b.py": "",
    },
    "a source for an override": two('[tool.uv]\noverride-dependencies = ["a"]\n' + WORKSPACE + SOURCE),
    "exclusions across folders": two(WORKSPACE.replace("/*", "/**") + 'exclude = ["./packages/b*/"]\n')
    | {"packages/b/c/readme": ""},
    "hidden folders, files and folders that are no members": two(WORKSPACE)
    | {"packages/.b/readme": "", "packages/readme": "", "docs/readme": ""},
    "members that are named one by one, and the root": two(
        '[tool.uv.workspace]\nmembers = [".", "./packages/a/", "packages/a/plugins/[!b]"]\n'
    )
    | {"packages/a/plugins/c/pyproject.toml": project("c")},
    "a root that is no project": {"pyproject.toml": WORKSPACE, "packages/a/pyproject.toml": project("a")},
    "a package that is kept out and taken by path": two(
        '[tool.uv.workspace]\nmembers = ["packages/*"]\nexclude = ["plugins/*"]\n'
        '[tool.uv.sources]\nb = { path = "plugins/b" }\n',
        '"b"',
    )
    | {"plugins/b/pyproject.toml": project("b")},
    "groups by other spellings": two(
        WORKSPACE + '[dependency-groups]\ndev = [{ include-group = "X_y" }]\nx-y = []\n'
    ),
    "a byte order mark": two(WORKSPACE) | {"pyproject.toml": "\ufeff" + project("root", more=WORKSPACE)},
    "a bound at Python 4": two(WORKSPACE, a=project("a").replace(">=3.12", "<4,>=3.12")),
    "its own extras": two(
        WORKSPACE + '[project.optional-dependencies]\nx = ["root[Y_z]"]\ny-z = []\n',
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_uv_accepts_is_no_finding(tmp_path: Path, case: str) -> None:
    """Broken: a false alarm on a workspace that uv takes as it is."""
    write(tmp_path, ACCEPTED[case])
    locked = run(["uv", "lock"], cwd=tmp_path)
    assert not locked.code, locked.output
    assert check(read_workspace(tmp_path)) == []


def test_stale_lock_is_found_with_the_words_of_uv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a stale lock passes, or the finding does not say what is stale."""
    write(tmp_path, two(WORKSPACE + SOURCE, '"a>=1"'))
    assert not run(["uv", "lock"], cwd=tmp_path).code
    assert main(["workspace", str(tmp_path)]) == 0
    write(tmp_path, {"packages/a/pyproject.toml": project("a", version="1.1")})
    before = (tmp_path / "uv.lock").read_bytes()
    capsys.readouterr()
    assert main(["workspace", str(tmp_path)]) == 1
    said = capsys.readouterr().out.splitlines()[0]
    assert said.startswith("uv.lock:1: lock.current: `uv lock --check` ended with 1: The lockfile")
    assert "needs to be updated" in said
    assert (tmp_path / "uv.lock").read_bytes() == before


TOOLS = """\
import sys
from importlib import import_module


def pytest() -> int:
    for name in {modules}:
        assert import_module(name).answer == 42
    print("collected", *sys.argv[1:])
    return 0


def ruff() -> int:
    print("Found 3 errors.")
    return 1
"""


def four(tools: str) -> dict[str, str]:
    """Return the roadmap's four packages, built by uv, with a group of tools in the root."""
    requires = {
        name: [other for other in PACKAGES if other in needs] for name, (_, needs, _) in PACKAGES.items()
    }
    versions = {name: version for name, (version, *_) in PACKAGES.items()}

    def constrained(names: list[str]) -> str:
        return ", ".join(f'"{name}>={versions[name]}"' for name in names)

    sources = "[tool.uv.sources]\n" + "".join(f"{name} = {{ workspace = true }}\n" for name in PACKAGES)
    files = {"pyproject.toml": project("tta", constrained([*PACKAGES]), f"{tools}{WORKSPACE}{sources}")}
    for name, others in requires.items():
        module = name.replace("-", "_")
        text = project(name, constrained(others), built(), versions[name])
        files[f"packages/{name}/pyproject.toml"] = text
        files[f"packages/{name}/src/{module}/__init__.py"] = "answer = 42\n"
        files[f"packages/{name}/tests/test_{module}.py"] = (
            f"from {module} import answer\n\n\ndef test_answer() -> None:\n    assert answer == 42\n"
        )
    return files


def test_validate_with_the_real_uv(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: the packages are not installed, the environment around is used, or the workspace is touched.

    The tools are a package of the workspace: one passes, one fails, one is missing there and is on PATH.
    """
    files = four('[dependency-groups]\ndev = ["tools>=1"]\n')
    files["pyproject.toml"] += "tools = { workspace = true }\n"
    scripts = '[project.scripts]\npytest = "tools:pytest"\nruff = "tools:ruff"\n'
    files["packages/tools/pyproject.toml"] = project("tools", "", scripts + built())
    modules = [name.replace("-", "_") for name in PACKAGES]
    files["packages/tools/src/tools/__init__.py"] = TOOLS.format(modules=modules)
    root = write(tmp_path / "root", files)
    elsewhere = write(tmp_path / "elsewhere", {"bin/pyright": "#!/bin/sh\necho from PATH\n"})
    (elsewhere / "bin/pyright").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(elsewhere / "bin"), os.environ["PATH"]]))
    monkeypatch.setenv("UV_PROJECT_ENVIRONMENT", str(tmp_path / "not-this-one"))
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "nor-this"))
    before = sorted(tmp_path.rglob("*"))
    assert main(["workspace", str(root), "--validate"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("passed: uv lock: Resolved 6 packages")
    assert said[1].startswith("passed: uv sync --all-extras: + ")
    assert said[2:] == [
        "passed: uv run pytest -v: collected -v",
        "FAILED: uv run ruff check .: exit 1: Found 3 errors.",
        "FAILED: uv run pyright: the root's environment has no pyright; add it to [dependency-groups] dev",
    ]
    assert sorted(tmp_path.rglob("*")) == before


def test_validate_says_why_uv_cannot_lock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: the last line of uv's advice stands where the reason should, or a piece of the sentence."""
    monkeypatch.setenv("COLUMNS", "40")
    write(tmp_path, REFUSED["a member without a source"][1])
    assert main(["workspace", str(tmp_path), "--validate"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("FAILED: uv lock: exit 1: Failed to build `root @ file://")
    assert "`a` is included as a workspace member, but is missing an entry in `tool.uv.sources`" in said[0]
    assert said[1] == "not run: uv sync --all-extras: uv lock failed"


@pytest.mark.network
def test_validate_with_the_real_tools(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a workspace in order does not get five passes; needs an index."""
    monkeypatch.delenv("UV_OFFLINE")
    tools = '[dependency-groups]\ndev = ["pyright[nodejs]", "pytest", "ruff"]\n'
    root = write(tmp_path, four(tools))
    assert main(["workspace", str(root), "--validate"]) == 0, capsys.readouterr().out
    said = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[:2] for line in said] == [
        ["passed", "uv lock"],
        ["passed", "uv sync --all-extras"],
        ["passed", "uv run pytest -v"],
        ["passed", "uv run ruff check ."],
        ["passed", "uv run pyright"],
    ]
    assert "4 passed" in said[2]
    assert "0 errors" in said[4]
    write(root, {"packages/ai-dev-toolkit/src/ai_dev_toolkit/wrong.py": 'import os\n\nx: int = "a"\n'})
    assert main(["workspace", str(root), "--validate"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in said] == ["passed", "passed", "passed", "FAILED", "FAILED"]

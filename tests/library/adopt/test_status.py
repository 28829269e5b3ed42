"""`tta-adopt status`: from a tree that has done nothing to one that is through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.library.adopt.trees import adopt, write
from tests.library.adopt.tta_tree import FIRST, SECOND, tta
from tests.library.adopt.v0_copy import copy

STEPS = (
    "tta-agent-coordination is required",
    "every copy re-exports what moved",
    "imports name this package",
    "what no tool can move is moved",
    "modules that only re-export are deleted",
    "one copy is left",
    "the package comes from PyPI",
    "staging, production and rollback, by the guide's checklists",
)


def status(root: Path, capsys: pytest.CaptureFixture[str], *, code: int = 1) -> dict[str, Any]:
    """Return what is said for programs."""
    capsys.readouterr()
    assert adopt("status", str(root), "--format", "json") == code
    return json.loads(capsys.readouterr().out)


def test_tree_that_has_done_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: nobody sees how much there is to do."""
    write(tmp_path, tta())
    assert adopt("status", str(tmp_path)) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[:8] == [
        f"copy {FIRST}: 10 modules define what moved, 0 only re-export",
        f"copy {SECOND}: 10 modules define what moved, 0 only re-export",
        "imports of agent_orchestration: 2",
        "imports of relative: 26",
        "imports of src.agent_orchestration: 12",
        "imports of tta_ai.orchestration: 2",
        "dependency: none",
        "by hand, agent-id.type: 10",
    ]
    assert said[-len(STEPS) :] == [
        f"[ ] {STEPS[0]}: tta-adopt dependency PATH --from git --rev COMMIT",
        f"[ ] {STEPS[1]}: 20 modules, by tta-adopt imports PATH --shim",
        f"[ ] {STEPS[2]}: 42 statements, by tta-adopt imports PATH --rewrite",
        f"[ ] {STEPS[3]}: 45 places, which tta-adopt imports PATH --rewrite lists",
        f"[ ] {STEPS[4]}",
        f"[ ] {STEPS[5]}: {FIRST}, {SECOND}",
        f"[ ] {STEPS[6]}: tta-adopt dependency PATH --from pypi",
        f"[?] {STEPS[7]}: a person",
    ]


def test_steps_are_done_one_after_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a step that is done stays open, or one that is not is ticked."""
    consumer = (
        "from src.agent_orchestration.models import AgentMessage\nimport src.agent_orchestration.metrics\n"
    )
    files = {
        f"{FIRST}/models.py": copy(FIRST)[f"{FIRST}/models.py"],
        f"{FIRST}/metrics.py": copy(FIRST)[f"{FIRST}/metrics.py"],
    }
    write(tmp_path, {"pyproject.toml": '[project]\nname = "tta"\n', "x.py": consumer, **files})

    def done() -> list[bool | None]:
        return [step["done"] for step in status(tmp_path, capsys)["steps"]]

    assert done() == [False, False, False, True, False, True, False, None]
    assert adopt("dependency", str(tmp_path), "--from", "git", "--rev", "abc") == 0
    assert status(tmp_path, capsys)["dependency"] == (
        "git https://github.com/theinterneti/tta-agent-coordination at abc"
    )
    assert adopt("imports", str(tmp_path), "--shim", "--apply") == 1
    assert done() == [True, True, False, True, False, True, False, None]
    assert adopt("imports", str(tmp_path), "--rewrite", "--apply") == 1
    seen = status(tmp_path, capsys)
    assert seen["imports"] == {}
    assert seen["steps"][2]["done"] is False
    assert seen["steps"][2]["left"] == ("0 statements, by tta-adopt imports PATH --rewrite, and 1 by hand")
    write(tmp_path, {"x.py": "from tta_agent_coordination import AgentMessage\n"})
    assert seen["copies"][0]["only_re_export"] == ["metrics"]
    (tmp_path / FIRST / "metrics.py").unlink()
    write(tmp_path, {f"{FIRST}/messaging.py": '"""Gone."""\n\nX = 1\n'})
    assert done() == [True, True, True, True, True, True, False, None]
    assert adopt("dependency", str(tmp_path), "--from", "pypi") == 0
    seen = status(tmp_path, capsys, code=0)
    assert (seen["dependency"], seen["open"]) == ("PyPI, >=0.1.0", 0)
    write(tmp_path, {f"{FIRST}/models.py": "x = 1\n"})
    (tmp_path / FIRST / "messaging.py").unlink()
    assert adopt("status", str(tmp_path)) == 0
    assert capsys.readouterr().out.startswith("no copy of v0 is left\n")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('{ git = "g", tag = "v1" }', "git g at v1"),
        ('{ git = "g", branch = "main" }', "git g at main"),
        ('{ path = "../here" }', "path ../here"),
        ("{ workspace = true }", "workspace True"),
        ("3", "a source that is not understood"),
    ],
)
def test_source_is_named_wherever_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, said: str
) -> None:
    """Broken: a member takes the package from somewhere that nobody sees."""
    member = '[project]\nname = "a"\n[dependency-groups]\ndev = ["pytest", "TTA_agent.coordination"]\n'
    write(
        tmp_path,
        {
            "pyproject.toml": f"[tool.uv.sources]\nother = 1\nTTA_agent_coordination = {source}\n",
            "packages/a/pyproject.toml": member,
        },
    )
    assert status(tmp_path, capsys)["dependency"] == said


def test_dependency_of_any_version_and_without_a_root(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a tree without a root project ends the run."""
    write(tmp_path, {"packages/a/pyproject.toml": '[project]\ndependencies = ["tta-agent-coordination"]\n'})
    assert status(tmp_path, capsys, code=0)["dependency"] == "PyPI, any version"

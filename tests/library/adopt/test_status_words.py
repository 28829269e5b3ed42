"""What `tta-adopt status` says of small trees and of figures made by hand, word by word."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from tests.library.adopt.trees import write
from tests.library.adopt.workspaces import ROOT, member, workspace
from tta_agent_coordination.adopt import status
from tta_agent_coordination.adopt.status import CopyLeft, Status, Step, as_json, as_text, look
from tta_agent_coordination.adopt.tree import read_workspace

FIRST = "src/agent_orchestration"
SECOND = "other/agent_orchestration"
DEFINES = "class MessageType:\n    REQUEST = 'request'\n"
RE_EXPORTS = "from tta_agent_coordination import MessageType\n"
NEEDED = "[project]\nname = 'x'\ndependencies = ['tta-agent-coordination>=0.1']\n"

MORE = """\
from agent_orchestration.models import MessageType
import sys
A = 'ao:queue:x'
sys.path.insert(0, 'src')
"""

MADE = Status(
    copies=(
        CopyLeft(folder="a", define=("models", "metrics"), only_re_export=("messaging",)),
        CopyLeft(folder="b", define=(), only_re_export=()),
    ),
    imports={"relative": 3, "src.agent_orchestration": 1},
    dependency="",
    by_hand={"redis.key": 2, "sys.path": 1},
    steps=(
        Step(done=True, what="one"),
        Step(done=False, what="two", left="half of it"),
        Step(done=None, what="three", left="a person"),
        Step(done=False, what="four"),
    ),
)


def test_text_is_a_line_each_for_copies_imports_places_and_steps() -> None:
    """Broken: a person does not see what is left, or a step that is open looks done."""
    assert as_text(MADE).splitlines() == [
        "copy a: 2 modules define what moved, 1 only re-export",
        "copy b: 0 modules define what moved, 0 only re-export",
        "imports of relative: 3",
        "imports of src.agent_orchestration: 1",
        "dependency: none",
        "by hand, redis.key: 2",
        "by hand, sys.path: 1",
        "[x] one",
        "[ ] two: half of it",
        "[?] three: a person",
        "[ ] four",
    ]
    through = Status(copies=(), imports={}, dependency="PyPI, >=1", by_hand={}, steps=())
    assert as_text(through) == "no copy of v0 is left\ndependency: PyPI, >=1\n"


def test_json_has_the_names_that_programs_read() -> None:
    """Broken: a program finds no number under the name it was told."""
    text = as_json(MADE)
    assert json.loads(text) == {
        "copies": [
            {"folder": "a", "define": ["models", "metrics"], "only_re_export": ["messaging"]},
            {"folder": "b", "define": [], "only_re_export": []},
        ],
        "imports": {"relative": 3, "src.agent_orchestration": 1},
        "dependency": "",
        "by_hand": {"redis.key": 2, "sys.path": 1},
        "steps": [
            {"done": True, "what": "one", "left": ""},
            {"done": False, "what": "two", "left": "half of it"},
            {"done": None, "what": "three", "left": "a person"},
            {"done": False, "what": "four", "left": ""},
        ],
        "open": 2,
    }
    assert text.startswith('{\n  "copies": [\n')
    assert text.endswith("}\n")


@pytest.mark.parametrize(
    ("code", "only"),
    [
        ('"""Text."""\nimport a\nfrom b import c\n__all__ = ["c"]\n', True),
        ("", True),
        ("import a\nX = 1\n", False),
        ("import a\nprint(a)\n", False),
        ("def f(): ...\n", False),
        ("X = __all__ = []\n", False),
    ],
)
def test_module_that_only_re_exports_is_known(code: str, *, only: bool) -> None:
    """Broken: a module with something of its own is to be deleted, or an empty shell stays for ever."""
    assert status._re_exports(ast.parse(code)) is only


@pytest.mark.parametrize(
    ("module", "family"),
    [
        (".models", "relative"),
        ("..agent_orchestration.models", "relative"),
        ("agent_orchestration", "agent_orchestration"),
        ("src.agent_orchestration.models", "src.agent_orchestration"),
        ("tta_ai.orchestration.coordinators.x", "tta_ai.orchestration"),
    ],
)
def test_imports_are_counted_by_the_copy_they_name(module: str, family: str) -> None:
    """Broken: nobody sees which copy is still imported."""
    assert status._family(module) == family


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{ git = 'g', rev = 'abc' }", "git g at abc"),
        ("{ git = 'g', tag = 'v1', branch = 'main' }", "git g at v1"),
        ("{ git = 'g', branch = 'main' }", "git g at main"),
        ("{ git = 'g', rev = '', tag = 'v1' }", "git g at v1"),
        ("{ path = '../here', editable = true }", "path ../here"),
        ("{ url = 'https://example.org/a.whl' }", "url https://example.org/a.whl"),
        ("{ index = 'ours' }", "index ours"),
        ("{ workspace = true }", "workspace True"),
        ("3", "a source that is not understood"),
    ],
)
def test_source_is_said_in_words(source: str, said: str) -> None:
    """Broken: a person takes one source for another."""
    sources = f"[tool.uv.sources]\nother = {{ git = 'x' }}\n'TTA_agent.coordination' = {source}\n"
    assert status._dependency(workspace({"pyproject.toml": NEEDED + sources})) == said
    inherited = member(NEEDED, root=ROOT + sources)
    assert status._dependency(workspace(inherited)) == said


def test_own_source_of_a_member_counts_before_the_roots() -> None:
    """Broken: the source that uv takes is not the one that is said."""
    sources = "[tool.uv.sources]\ntta-agent-coordination = {{ path = '{}' }}\n"
    files = member(NEEDED + sources.format("mine"), root=ROOT + sources.format("roots"))
    assert status._dependency(workspace(files)) == "path mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NEEDED, "PyPI, >=0.1"),
        (NEEDED.replace(">=0.1", ""), "PyPI, any version"),
        (NEEDED.replace("tta-agent-coordination", "TTA.agent_coordination"), "PyPI, >=0.1"),
        ("[dependency-groups]\nd = ['x', 'tta-agent-coordination<2']\n", "PyPI, <2"),
        (NEEDED.replace("tta-agent-coordination", "tta-agent"), ""),
        (f"{NEEDED}[tool.uv.sources]\nother = {{ git = 'x' }}\n", "PyPI, >=0.1"),
    ],
)
def test_without_a_source_it_comes_from_pypi(text: str, said: str) -> None:
    """Broken: the last step counts as done though nothing requires the package, or stays open for ever."""
    assert (
        status._dependency(workspace({"a/x/pyproject.toml": "", "packages/a/pyproject.toml": text})) == said
    )


def steps(root: Path) -> list[tuple[bool | None, str]]:
    """Return of each step but the last whether it is done, and what is left of it."""
    *seen, last = look(read_workspace(root)).steps
    assert (last.done, last.left) == (None, "a person")
    return [(step.done, step.left) for step in seen]


def test_tree_where_everything_is_left(tmp_path: Path) -> None:
    """Broken: nobody sees how much there is to do."""
    user = "from agent_orchestration.models import MessageType\nfrom src.agent_orchestration import models\n"
    write(
        tmp_path,
        {
            "pyproject.toml": "[project]\nname = 'x'\n",
            f"{FIRST}/models.py": DEFINES,
            f"{FIRST}/metrics.py": "X = 1\n",
            f"{FIRST}/messaging.py": "class FailureType:\n    TIMEOUT = 'timeout'\n",
            f"{SECOND}/models.py": DEFINES,
            f"{SECOND}/metrics.py": "from tta_agent_coordination.metrics import QueueGauges\n",
            "user.py": user + "from tta_ai.orchestration.messaging import *\n",
            "more.py": MORE,
        },
    )
    seen = look(read_workspace(tmp_path))
    assert seen.copies == (
        CopyLeft(folder=SECOND, define=("models",), only_re_export=("metrics",)),
        CopyLeft(folder=FIRST, define=("models", "messaging"), only_re_export=()),
    )
    assert seen.imports == {"agent_orchestration": 2}
    assert seen.by_hand == {"redis.key": 1, "sys.path": 1}
    assert steps(tmp_path) == [
        (False, "tta-adopt dependency PATH --from git --rev COMMIT"),
        (False, "3 modules, by tta-adopt imports PATH --shim"),
        (False, "2 statements, by tta-adopt imports PATH --rewrite, and 2 by hand"),
        (False, "2 places, which tta-adopt imports PATH --rewrite lists"),
        (False, f"{SECOND}/metrics"),
        (False, f"{SECOND}, {FIRST}"),
        (False, "tta-adopt dependency PATH --from pypi"),
    ]
    assert seen.open == 7
    assert [step.what for step in seen.steps] == [
        "tta-agent-coordination is required",
        "every copy re-exports what moved",
        "imports name this package",
        "what no tool can move is moved",
        "modules that only re-export are deleted",
        "one copy is left",
        "the package comes from PyPI",
        "staging, production and rollback, by the guide's checklists",
    ]


def test_tree_that_is_through(tmp_path: Path) -> None:
    """Broken: the last step stays open for ever."""
    write(tmp_path, {"pyproject.toml": NEEDED, "user.py": RE_EXPORTS})
    assert steps(tmp_path) == [(True, "")] * 7
    assert look(read_workspace(tmp_path)).dependency == "PyPI, >=0.1"


def test_each_step_is_open_or_done_by_itself(tmp_path: Path) -> None:
    """Broken: a step that is done stays open, or one that is not is ticked."""
    shells = {f"{FIRST}/models.py": RE_EXPORTS, f"{FIRST}/metrics.py": "import x\n"}
    write(tmp_path, {"pyproject.toml": NEEDED + "[tool.uv.sources]\ntta-agent-coordination = 3\n", **shells})
    seen = look(read_workspace(tmp_path))
    assert seen.copies == (CopyLeft(folder=FIRST, define=(), only_re_export=("models", "metrics")),)
    left = f"{FIRST}/models, {FIRST}/metrics"
    from_pypi = "tta-adopt dependency PATH --from pypi"
    done = (True, "")
    assert steps(tmp_path) == [done, done, done, done, (False, left), done, (False, from_pypi)]
    write(tmp_path, {f"{FIRST}/models.py": DEFINES, f"{FIRST}/metrics.py": "X = 1\n"})
    assert steps(tmp_path)[4] == (False, "")
    write(
        tmp_path,
        {f"{FIRST}/models.py": RE_EXPORTS + "X = 1\n", "x.py": "import agent_orchestration.models\n"},
    )
    assert steps(tmp_path)[2] == (False, "0 statements, by tta-adopt imports PATH --rewrite, and 1 by hand")
    assert steps(tmp_path)[3:5] == [done, done]
    write(tmp_path, {"x.py": "from agent_orchestration.models import MessageType\n"})
    assert steps(tmp_path)[2] == (False, "1 statements, by tta-adopt imports PATH --rewrite")

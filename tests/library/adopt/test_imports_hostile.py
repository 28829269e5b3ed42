"""Trees with something wrong in them: one line each, and the rest goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.library.adopt.trees import adopt, write
from tests.library.adopt.v0_copy import copy
from tta_agent_coordination.adopt.imports import plan
from tta_agent_coordination.adopt.imports.copies import Copies
from tta_agent_coordination.adopt.imports.moved import PACKAGE, Target
from tta_agent_coordination.adopt.tree import read_workspace

A = "src/agent_orchestration"
B = "packages/tta-ai-framework/src/tta_ai/orchestration"
FROM = "from src.agent_orchestration.models import AgentMessage\n"
STAR = "from src.agent_orchestration.models import *\n"
ROUTING = "from tta_agent_coordination import RoutingKey\n"
OURS = "from tta_agent_coordination import AgentMessage\n"


def rewritten(root: Path, files: dict[str, str]) -> plan.Plan:
    """Write files beside one copy of v0 and return the plan."""
    write(root, {**copy(A), **files})
    return plan.make(read_workspace(root), rewriting=True)


def test_syntax_error_stops_its_file_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: one broken file keeps 84 others from being rewritten."""
    write(tmp_path, {**copy(A), "a.py": FROM + "def f(:\n", "b.py": FROM, f"{A}/metrics.py": "class :\n"})
    assert adopt("imports", str(tmp_path), "--rewrite", "--apply") == 1
    said = capsys.readouterr().out
    assert "a.py:2: input.python: is no Python: " in said
    assert f"{A}/metrics.py:1: input.python: is no Python: " in said
    assert (tmp_path / "a.py").read_text("utf-8") == FROM + "def f(:\n"
    assert (tmp_path / "b.py").read_text("utf-8") == OURS
    assert "class MessageResult" not in (tmp_path / A / "messaging.py").read_text("utf-8")


@pytest.mark.parametrize("text", ["x = '\0'\n", "x" + "(" * 300 + "\n", "x = 1" + " + 1" * 600 + "\n"])
def test_file_that_a_parser_gives_up_on_stops_itself_only(tmp_path: Path, text: str) -> None:
    """Broken: a generated file ends the run with a traceback; ast reads the last one, libcst does not."""
    made = rewritten(tmp_path, {"a.py": FROM + text, "b.py": FROM})
    assert made.new["b.py"] == OURS
    assert "a.py" not in made.new
    assert [each.rule for each in made.findings if each.file == "a.py"] == ["input.python"]


def test_file_that_is_not_utf8_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a file is written back in another encoding, or ends the run."""
    write(tmp_path, {**copy(A), "b.py": FROM})
    latin = b"# -*- coding: latin-1 -*-\n# and\xe9\n" + FROM.encode()
    (tmp_path / "a.py").write_bytes(latin)
    assert adopt("imports", str(tmp_path), "--rewrite", "--apply") == 1
    assert "a.py:1: input.encoding: is not UTF-8 at byte 31; " in capsys.readouterr().out
    assert (tmp_path / "a.py").read_bytes() == latin
    assert (tmp_path / "b.py").read_text("utf-8") == OURS


def test_links_in_a_circle_are_one_line_and_other_links_are_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a run without an end, or a file outside of the tree that is changed."""
    outside = write(tmp_path / "outside", {"c.py": FROM}) / "c.py"
    root = write(tmp_path / "tree", {**copy(A), "b.py": FROM, "README.md": "x\n"})
    (root / "loop").symlink_to(root)
    (root / "nowhere.py").symlink_to(root / "none.py")
    (root / "c.py").symlink_to(outside)
    (root / "d.md").symlink_to(root / "README.md")
    assert adopt("imports", str(root), "--rewrite", "--apply") == 1
    said = capsys.readouterr().out
    assert "loop:1: input.link: is a link that leads nowhere or in a circle; " in said
    assert "nowhere.py:1: input.link: " in said
    assert outside.read_text("utf-8") == FROM
    assert (root / "c.py").is_symlink()
    assert (root / "b.py").read_text("utf-8") == OURS


def test_document_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a file without rights ends the run."""
    read = Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self.name == "secret.md":
            raise PermissionError(13, "Permission denied")
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    made = rewritten(tmp_path, {"secret.md": "x", "b.py": FROM})
    assert [each.rule for each in made.findings if each.file == "secret.md"] == ["input.unreadable"]
    assert made.new["b.py"] == OURS


def test_mark_at_the_beginning_and_the_rights_of_a_file_are_kept(tmp_path: Path) -> None:
    """Broken: an editor or a shell no longer knows the file."""
    write(tmp_path, {**copy(A), "b.py": "\ufeff" + FROM})
    (tmp_path / "b.py").chmod(0o755)
    assert adopt("imports", str(tmp_path), "--rewrite", "--apply") == 1
    assert (tmp_path / "b.py").read_text("utf-8") == "\ufeff" + OURS
    assert (tmp_path / "b.py").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("path", "text", "after"),
    [
        ("src/x.py", "from .agent_orchestration.models import AgentMessage\n", OURS),
        ("x.py", "from ..agent_orchestration.models import AgentMessage\n", None),
        ("x.py", "from .elsewhere.orchestration.models import AgentMessage\n", None),
        ("x.py", f"{STAR}from src.agent_orchestration.models import RoutingKey\n", f"{STAR}{ROUTING}"),
        ("x.py", "from src.agent_orchestration.models import AgentId\n", None),
        ("x.py", "from src.agent_orchestration import AgentMessage\n", OURS),
        ("x.py", "from src.agent_orchestration import OrchestrationRequest, Missing\n", None),
        ("x.py", "from src.agent_orchestration.enhanced_coordinator import AgentMessage\n", None),
        ("x.py", "from src.agent_orchestration.messaging import AgentMessage\n", OURS),
        ("x.py", "from src.agent_orchestration.coordinators import RedisMessageCoordinator\n", None),
        ("x.py", "from src.agent_orchestration.gone import AgentMessage\n", None),
        # A copy that is installed and not in the tree: what v0's modules gave.
        ("x.py", "from tta_ai.orchestration import AgentMessage\n", OURS),
        ("x.py", "from tta_ai.orchestration.models import AgentMessage\n", OURS),
        ("x.py", "from tta_ai.orchestration.models import AgentType\n", None),
        ("x.py", "from tta_ai.orchestration.models import AgentId\n", None),
        (
            "x.py",
            "from tta_ai.orchestration.coordinators import RedisMessageCoordinator\n",
            "from tta_agent_coordination import RedisMessageCoordinator\n",
        ),
        ("x.py", "from tta_ai.orchestration.coordinators import AgentMessage\n", None),
        ("x.py", "from tta_ai.orchestration.registries import RedisAgentRegistry\n", None),
        ("x.py", "from tta_ai.orchestration.router import AgentMessage\n", None),
        ("x.py", "from tta_ai.orchestration import AgentRouter\n", None),
    ],
)
def test_name_is_found_through_the_module_that_gives_it(
    tmp_path: Path, path: str, text: str, after: str | None
) -> None:
    """Broken: an import names this package for something that only TTA has, or stays for no reason."""
    assert rewritten(tmp_path, {path: text}).new.get(path) == after


def test_module_that_was_deleted_already_gives_what_v0s_did(tmp_path: Path) -> None:
    """Broken: who deletes first can no longer rewrite."""
    files = {"x.py": "from src.agent_orchestration.messaging import FailureType\n"}
    write(tmp_path, {**copy(A), **files})
    (tmp_path / A / "messaging.py").unlink()
    made = plan.make(read_workspace(tmp_path), rewriting=True)
    assert made.new["x.py"] == "from tta_agent_coordination import FailureType\n"


def test_name_that_comes_from_elsewhere_stays(tmp_path: Path) -> None:
    """Broken: what TTA took from a third place is taken from this package."""
    root = write(
        tmp_path,
        {
            f"{A}/models.py": "from other.models import AgentMessage\n",
            f"{A}/messaging.py": "",
            "x.py": FROM,
        },
    )
    assert plan.make(read_workspace(root), rewriting=True).new == {}


def test_copies_with_nothing_else_in_common_have_no_line_about_it(tmp_path: Path) -> None:
    """Broken: a report speaks about 0 modules, or about modules that only one copy has."""
    root = write(
        tmp_path,
        {f"{A}/models.py": "", f"{A}/metrics.py": "x = 1\n", f"{A}/own.py": ""}
        | {f"{B}/models.py": "", f"{B}/metrics.py": "x = 2\n", f"{B}/agents.py": ""},
    )
    assert [(each.file, each.what) for each in plan.make(read_workspace(root), rewriting=False).findings] == [
        (f"{A}/metrics.py", f"is in {B}/metrics.py too, another text"),
        (f"{A}/models.py", f"is in {B}/models.py too, the same text"),
    ]


def test_modules_that_import_each_other_end(tmp_path: Path) -> None:
    """Broken: two modules that re-export each other's name are a run without an end."""
    root = write(
        tmp_path,
        {
            f"{A}/models.py": "from .messaging import AgentMessage\n",
            f"{A}/messaging.py": "from .models import AgentMessage\n",
            "x.py": FROM,
        },
    )
    assert plan.make(read_workspace(root), rewriting=True).new == {}


@pytest.mark.parametrize(
    ("code", "stays"),
    [
        ("import src.agent_orchestration.messaging as m\n", True),
        ("from src.agent_orchestration import messaging\n", True),
        ("from src.agent_orchestration.messaging import *\n", True),
        ("patch('src.agent_orchestration.messaging.AgentMessage')\n", True),
        ("from src.agent_orchestration.messaging import AgentMessage\n", True),
        ("from src.agent_orchestration.messaging import FailureType\n", False),
    ],
)
def test_module_keeps_what_somebody_may_take_from_it(tmp_path: Path, code: str, stays: bool) -> None:
    """Broken: re-exports, which change no consumer, break one that takes a name by way of its module."""
    write(tmp_path, {**copy(A), "x.py": code})
    new = plan.make(read_workspace(tmp_path), rewriting=False).new[f"{A}/messaging.py"]
    assert ("AgentMessage" in new) is stays


def test_dots_beyond_the_tree_name_nothing() -> None:
    """Broken: an import that leads out of the tree is taken for one of a copy at its top."""
    copies = Copies(["agent_orchestration/models.py", "agent_orchestration/metrics.py"], {})
    assert copies.named("x.py", 1, "agent_orchestration.models") is not None
    assert copies.named("x.py", 2, "agent_orchestration.models") is None


def test_nearest_copy_is_the_one_that_a_name_means() -> None:
    """Broken: an archive decides what an import of the living code gets."""
    paths = [
        f"{folder}/{name}.py"
        for folder in (A, f"_archive/{A}", B, "src/other", "my-lib/agent_orchestration")
        for name in ("models", "messaging")
    ]
    copies = Copies([*paths, "src/half/agent_orchestration/models.py"], {})
    assert [copy.folder for copy in copies.all] == ["my-lib/agent_orchestration", A, f"_archive/{A}", B]
    assert copies.all[-1].names == ("tta_ai.orchestration", "src.tta_ai.orchestration")
    named = copies.named("x.py", 0, "src.agent_orchestration.models")
    assert named is not None
    assert named.copy is not None
    assert named.copy.folder == A
    assert copies.target(named, "AgentMessage") is None
    assert Target(name="AgentMessage").module == PACKAGE

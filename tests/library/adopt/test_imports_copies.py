"""Where v0 lives in a tree, and what an import of it names."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import pytest

from tta_agent_coordination.adopt.imports.copies import Copies, Copy, Named, module_file, ours
from tta_agent_coordination.adopt.imports.moved import MODULES, PACKAGE, Target

SRC = "src/agent_orchestration"
TTA = "packages/a-b/src/tta_ai/orchestration"
TWO = ("models", "metrics")


def copies(*folders: str, modules: Mapping[str, str] | None = None) -> Copies:
    """Return the copies of a tree that has two modules of v0 in each folder, and others with a text."""
    texts = {f"{folder}/{name}.py": "" for folder in folders for name in TWO} | dict(modules or {})
    return Copies(texts.keys(), {path: ast.parse(text) for path, text in texts.items()})


def test_copy_is_a_folder_with_two_modules_and_the_right_name() -> None:
    """Broken: a folder of TTA's own counts as v0, or a copy is overlooked."""
    paths = {
        f"{SRC}/models.py",
        f"{SRC}/coordinators/redis_message_coordinator.py",
        f"{TTA}/metrics.py",
        f"{TTA}/messaging.py",
        f"{TTA}/agents.py",
        "agent_orchestration/metrics.py",
        "agent_orchestration/adapters.py",
        "one/agent_orchestration/models.py",
        "one/agent_orchestration/router.py",
        "other/orchestration/models.py",
        "other/orchestration/metrics.py",
        "my_agent_orchestration/models.py",
        "my_agent_orchestration/metrics.py",
        "agent_orchestration/sub/models.py",
        "agent_orchestration/sub/metrics.py",
    }
    assert Copies(paths, {}).all == (
        Copy(folder="agent_orchestration", names=("agent_orchestration",)),
        Copy(folder=SRC, names=("agent_orchestration", "src.agent_orchestration")),
        Copy(folder=TTA, names=("tta_ai.orchestration", "src.tta_ai.orchestration")),
    )


def test_copies_are_in_order_of_depth_and_then_of_name() -> None:
    """Broken: two runs take the name for another copy each."""
    folders = ["b/agent_orchestration", "a/b/agent_orchestration", "a/agent_orchestration"]
    assert [copy.folder for copy in copies(*folders).all] == [
        "a/agent_orchestration",
        "b/agent_orchestration",
        "a/b/agent_orchestration",
    ]


def test_modules_have_their_paths_below_the_copy() -> None:
    """Broken: another file is taken for the module."""
    copy = Copy(folder=SRC, names=())
    assert copy.file("models") == f"{SRC}/models.py"
    assert copy.file("a.b") == f"{SRC}/a/b.py"
    assert copy.package("a.b") == f"{SRC}/a/b/__init__.py"
    assert copy.package("") == f"{SRC}/__init__.py"
    assert module_file("a.b.c") == "a/b/c.py"


@pytest.mark.parametrize(
    ("module", "is_ours"),
    [(PACKAGE, True), (f"{PACKAGE}.metrics", True), (f"{PACKAGE}_more", False), ("x", False), (None, False)],
)
def test_our_own_modules_are_known(module: str | None, *, is_ours: bool) -> None:
    """Broken: an import of this package counts as one of v0's."""
    assert ours(module) is is_ours


FIRST = Copy(folder=SRC, names=("agent_orchestration", "src.agent_orchestration"))


@pytest.mark.parametrize(
    ("file", "level", "module", "named"),
    [
        ("x.py", 0, "agent_orchestration", Named(copy=FIRST, module="")),
        ("x.py", 0, "agent_orchestration.models", Named(copy=FIRST, module="models")),
        ("x.py", 0, "src.agent_orchestration.a.b", Named(copy=FIRST, module="a.b")),
        ("x.py", 0, "tta_ai.orchestration.models", Named(copy=None, module="models")),
        ("x.py", 0, "agent_orchestration_component", None),
        ("x.py", 0, "tta_ai", None),
        ("x.py", 0, "", None),
        (f"{SRC}/models.py", 1, "", Named(copy=FIRST, module="")),
        (f"{SRC}/models.py", 1, "metrics", Named(copy=FIRST, module="metrics")),
        (f"{SRC}/a/b.py", 2, "c.d", Named(copy=FIRST, module="c.d")),
        (f"{SRC}/a/b.py", 1, "", Named(copy=FIRST, module="a")),
        (f"{SRC}/models.py", 2, "agent_orchestration.x", Named(copy=FIRST, module="x")),
        (f"{SRC}/models.py", 2, "", None),
        (f"{SRC}/models.py", 2, "agent_orchestration_component", None),
        ("src/x.py", 1, "agent_orchestration.y", Named(copy=FIRST, module="y")),
        ("x.py", 1, "src.agent_orchestration.y", Named(copy=FIRST, module="y")),
        ("x.py", 1, "y", None),
        ("src/x.py", 3, "src.agent_orchestration", None),
    ],
)
def test_import_names_a_module_of_a_copy(file: str, level: int, module: str, named: Named | None) -> None:
    """Broken: an import of v0 is overlooked, or one of TTA's own is rewritten."""
    assert copies(SRC).named(file, level, module) == named


def test_import_of_a_copy_that_is_not_in_the_tree_names_it_all_the_same() -> None:
    """Broken: who imports an installed copy is told that nothing is left."""
    none = Copies((), {})
    for name in ("agent_orchestration", "src.agent_orchestration", "tta_ai.orchestration"):
        assert none.named("x.py", 0, f"{name}.models") == Named(copy=None, module="models")
    both = copies(SRC, TTA)
    named = both.named("x.py", 0, "tta_ai.orchestration.models")
    assert named is not None
    assert named.copy == both.all[1]
    relative = both.named(f"{TTA}/x.py", 1, "models")
    assert relative == Named(copy=both.all[1], module="models")


def given(module: str, name: str, modules: Mapping[str, str]) -> Target | None:
    """Return where this package has what a module of the copy gives under a name."""
    made = copies(SRC, modules={f"{SRC}/{path}.py": text for path, text in modules.items()})
    named = made.named("x.py", 0, f"agent_orchestration.{module}".rstrip("."))
    assert named is not None
    return made.target(named, name)


TYPE = Target(name="MessageType")


@pytest.mark.parametrize(
    ("module", "name", "modules", "target"),
    [
        ("models", "MessageType", {"models": f"from {PACKAGE} import MessageType\n"}, TYPE),
        ("models", "Kind", {"models": f"import x\nfrom {PACKAGE} import A, MessageType as Kind\n"}, TYPE),
        ("models", "MessageType", {"models": f"from {PACKAGE} import MessageType as Kind\n"}, None),
        (
            "models",
            "Q",
            {"models": f"from {PACKAGE}.a import B as Q\n"},
            Target(module=f"{PACKAGE}.a", name="B"),
        ),
        ("models", "MessageType", {"models": "class MessageType: pass\n"}, None),
        ("models", "MessageType", {"models": "from .gone import MessageType\n"}, None),
        ("models", "MessageType", {"models": "from elsewhere import MessageType\n"}, None),
        (
            "models",
            "A",
            {
                "models": "from .metrics import B as A\n",
                "metrics": f"from {PACKAGE} import MessageType as B\n",
            },
            TYPE,
        ),
        (
            "",
            "A",
            {"__init__": "from .models import A\n", "models": f"from {PACKAGE} import MessageType as A\n"},
            TYPE,
        ),
        ("", "A", {"__init__": "from . import A\n"}, None),
        (
            "models",
            "A",
            {"models": "from . import A\n", "__init__": f"from {PACKAGE} import MessageType as A\n"},
            TYPE,
        ),
        ("models", "A", {"models": "from .metrics import A\n", "metrics": "from .models import A\n"}, None),
        ("router", "A", {"router": f"from {PACKAGE} import A\n"}, None),
        ("coordinators", "A", {"coordinators/__init__": f"from {PACKAGE} import MessageType as A\n"}, TYPE),
        ("adapters", "AgentCommunicationError", {}, Target(name="RetryExhaustedError")),
        ("router", "MessageType", {}, None),
        ("", "MessageType", {}, TYPE),
    ],
)
def test_target_is_what_the_module_gives_under_a_name(
    module: str, name: str, modules: Mapping[str, str], target: Target | None
) -> None:
    """Broken: an import is rewritten to what the module never gave, or a moved one is left."""
    assert given(module, name, modules) == target


def test_module_that_could_not_be_read_gives_nothing() -> None:
    """Broken: an import of a file that is no Python is rewritten by guesswork."""
    made = Copies({f"{SRC}/models.py", f"{SRC}/metrics.py"}, {})
    named = made.named("x.py", 0, "agent_orchestration.models")
    assert named is not None
    assert made.target(named, "MessageType") is None


@pytest.mark.parametrize(
    ("module", "name", "target"),
    [
        ("models", "MessageType", TYPE),
        ("models", "MessageResult", None),
        ("models", "AgentId", None),
        ("", "AgentId", None),
        ("", "MessageType", TYPE),
        ("", "RedisMessageCoordinator", Target(name="RedisMessageCoordinator")),
        ("", "AgentRouter", None),
        ("coordinators", "RedisMessageCoordinator", Target(name="RedisMessageCoordinator")),
        ("coordinators", "MessageType", None),
        ("coord", "RedisMessageCoordinator", None),
        ("registries", "RedisAgentRegistry", None),
        ("router", "MessageType", None),
        ("metrics", "RetryStats", Target(module=f"{PACKAGE}.metrics", name="RetryStats")),
    ],
)
def test_copy_that_cannot_be_looked_at_gives_what_v0_gave(
    module: str, name: str, target: Target | None
) -> None:
    """Broken: an import of an installed copy is rewritten to a name that TTA keeps for itself, or left."""
    none = Copies((), {})
    assert none.target(Named(copy=None, module=module), name) == target


def test_every_moved_name_of_an_unseen_copy_has_its_target() -> None:
    """Broken: one of the tables is never looked into."""
    none = Copies((), {})
    for module, table in MODULES.items():
        for name, moved in table.items():
            if name not in {"AgentId", "RedisAgentRegistry"}:
                assert none.target(Named(copy=None, module=module), name) == moved.target
                assert none.target(Named(copy=None, module=""), name) == moved.target

"""What no tool can move: each place is found, with its reason, and nothing else is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.library.adopt.trees import write
from tests.library.adopt.v0_copy import copy
from tta_agent_coordination.adopt.findings import Finding
from tta_agent_coordination.adopt.imports import plan
from tta_agent_coordination.adopt.tree import read_workspace

A = "src/agent_orchestration"
IMPORT = "from src.agent_orchestration.models import AgentId, AgentType\n"


def found(root: Path, files: Mapping[str, str], *, v0: bool = False) -> list[Finding]:
    """Write files, with or without a copy of v0, and return what is left for a person in the given ones."""
    write(root, {**(copy(A) if v0 else {}), **files})
    made = plan.make(read_workspace(root), rewriting=True)
    return [each for each in made.as_before() if each.file in files]


def places(root: Path, code: str, *, head: str = IMPORT) -> list[tuple[str, int, str]]:
    """Return rule, line (of the code alone) and what was found in one file."""
    rows = found(root, {"a.py": head + code})
    return [(each.rule, each.line - head.count("\n"), each.what) for each in rows]


@pytest.mark.parametrize(
    "code",
    [
        "def f(x: AgentId): return x.type.value\n",
        "def f(x: list['AgentId'] | None): return [y.type.name for y in x]\n",
        "def f(xs: 'dict[str, AgentId]'):\n    for x in xs: return x.type.value\n",
        "x = AgentId(type='a')\ny = x.type.value\n",
        "x: AgentId = g()\ny = x.type.value\n",
        "from src.agent_orchestration.models import AgentId as Id\ndef f(z: Id): return z.type.value\n",
        "def f(message): return f'{message.recipient.type.value}'\n",
        "async def f(self): return (await self.get_agent_id()).agent_id.type.value\n",
        "def f(a): return a.target_agent_id.type.value\n",
        "class Ours(AgentId): pass\ndef f(x: Ours): return x.type.value\n",
        "def f(a): return [each.type.value for each in a.recipients]\n",
        "async def f(xs): \n    async for sender in xs: sender.type.value\n",
    ],
)
def test_type_of_an_agent_id_as_an_enumeration_is_found(tmp_path: Path, code: str) -> None:
    """Broken: an id that was read back from Redis raises in the middle of a route."""
    rows = places(tmp_path, code)
    assert [(rule, line) for rule, line, _ in rows] == [("agent-id.type", code.rstrip().count("\n") + 1)]
    assert "one that was read back from Redis has a text there" in rows[0][2]


@pytest.mark.parametrize(
    "code",
    [
        "def f(capability): return capability.type.value\n",
        "def f(x: AgentId): return x.type\n",
        "def f(x: AgentId): return x.type == AgentType.IPA\n",
        "def f(x: AgentId): return AgentId(type=x.type), str(x.type), {}.get(x.type)\n",
        "def f(x: AgentId): return x.type()\n",
        "def f(): return [].type.value\n",
        "def f(x: 'no (annotation'): return x.type.value\n",
        "x: int = 1\ny = x.type.value\n",
    ],
)
def test_type_of_something_else_is_not(tmp_path: Path, code: str) -> None:
    """Broken: the list has so many lines that nobody reads it."""
    assert places(tmp_path, code) == []


def test_type_that_is_handed_on_is_found(tmp_path: Path) -> None:
    """Broken: a function that expects the enumeration gets a text."""
    rows = places(tmp_path, "def f(x: AgentId): return route(x.type), route(kind=x.type)\n")
    assert rows == [("agent-id.type", 1, "x.type goes to route(), which may expect an AgentType")]


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [
        ("def f(self): return self._coordinator._redis\n", "RedisMessageCoordinator", "_redis"),
        ("def f(c: MessageCoordinator): c._queue_size = 1\n", "RedisMessageCoordinator", "_queue_size"),
        ("def f(coordinator): getattr(coordinator, '_pfx', 1)\n", "RedisMessageCoordinator", "_pfx"),
        ("async def f(registry): await registry._delete(1)\n", "RedisAgentRegistry", "_delete"),
        ("async def f(breaker): await breaker._persist_state()\n", "CircuitBreaker", "_persist_state"),
        ("x = CircuitBreaker()\nx._state = 1\n", "CircuitBreaker", "_state"),
        (
            "class C(RedisMessageCoordinator):\n    def f(self): self._retry_attempts = 1\n",
            "RedisMessageCoordinator",
            "_retry_attempts",
        ),
    ],
)
def test_private_name_of_a_class_that_moved_is_found(tmp_path: Path, code: str, kind: str, name: str) -> None:
    """Broken: what TTA reaches for is not known when it goes."""
    rows = found(tmp_path, {"a.py": IMPORT + code})
    assert [each.what for each in rows] == [f"reaches for {name} of a {kind}"]
    kept = "it keeps its effect" in rows[0].remedy
    assert kept is (name != "_persist_state")


@pytest.mark.parametrize(
    "code",
    [
        "def f(self): return self._queue\n",
        "def f(tool_registry): return tool_registry._redis\n",
        "def f(coordinator): return coordinator.__class__, getattr(coordinator, n), getattr(coordinator)\n",
        "class C(Base):\n    def f(self): self._retry_attempts = 1\n",
        "def f(agent_id): return agent_id._redis\n",
        "class C(RedisMessageCoordinator):\n    def f(self): self._own = self._own_too\n",
    ],
)
def test_private_name_of_something_else_is_not(tmp_path: Path, code: str) -> None:
    """Broken: the list has so many lines that nobody reads it."""
    assert places(tmp_path, code) == []


def test_keys_that_are_spelled_out_are_found(tmp_path: Path) -> None:
    """Broken: who reads keys by itself is forgotten when keys get hash tags."""
    code = (
        "a = f'ao:queue:{x}'\n"
        "b = 'ao:cb:state:*'\n"
        "c = f'{pfx}:reserved_deadlines:{x}'\n"
        "d = 'ao:events:all', 'ao:queued', f'{a}{b}:queue:', f'x{a}:nothing:', ':queue:'\n"
    )
    assert [(rule, line) for rule, line, _ in places(tmp_path, code)] == [
        ("redis.key", 1),
        ("redis.key", 2),
        ("redis.key", 3),
    ]


def test_changed_search_path_is_found(tmp_path: Path) -> None:
    """Broken: nobody knows which copy a test imports."""
    code = (
        "import sys\nsys.path.insert(0, 'src')\nsys.path.extend([])\nsys.path = []\n"
        "sys.path.index('a')\nx.path = 1\n"
    )
    assert [(rule, line) for rule, line, _ in places(tmp_path, code)] == [
        ("sys.path", 2),
        ("sys.path", 3),
        ("sys.path", 4),
    ]


def test_second_collector_is_found(tmp_path: Path) -> None:
    """Broken: a metrics page shows zeros."""
    assert places(tmp_path, "c = CircuitBreakerMetricsCollector()\n") == [
        ("collector.second", 1, "makes a collector that no breaker counts in")
    ]


@pytest.mark.parametrize(
    "head",
    [
        "import src.agent_orchestration.models as m\n",
        "from src.agent_orchestration import models\n",
        "from src.agent_orchestration.coordinators import redis_message_coordinator\n",
        "import agent_orchestration.metrics\n",
    ],
)
def test_module_that_is_imported_is_found(tmp_path: Path, head: str) -> None:
    """Broken: an import that names no name is left behind without a word."""
    rows = places(tmp_path, "aid = m.AgentId()\nx = aid.type.value\n", head=head)
    assert [(rule, line) for rule, line, _ in rows] == [("import.module", 0), ("agent-id.type", 2)]


def test_star_is_found(tmp_path: Path) -> None:
    """Broken: nobody knows what a file takes."""
    rows = places(tmp_path, "", head="from tta_ai.orchestration.messaging import *\n")
    assert rows == [("import.star", 0, "takes whatever tta_ai.orchestration.messaging has")]


@pytest.mark.parametrize("head", ["from src.agent_orchestration.router import *\n", "import json\n"])
def test_other_imports_are_not(tmp_path: Path, head: str) -> None:
    """Broken: TTA's own modules are reported."""
    assert places(tmp_path, "x = 'orchestration'\nagent_id.attr = 1\n", head=head) == []


def test_module_named_in_a_text_is_found(tmp_path: Path) -> None:
    """Broken: a test patches a name that nothing uses any more, and passes."""
    code = (
        "patch('src.agent_orchestration.adapters.asyncio.sleep')\n"
        "patch('tta_ai.orchestration.messaging')\n"
        "patch('src.agent_orchestration.router.time', 'other.orchestration.models', 'orchestration, all')\n"
    )
    assert [(rule, line) for rule, line, _ in places(tmp_path, code, head="")] == [
        ("text.module", 1),
        ("text.module", 2),
    ]


def test_half_of_a_class_and_one_that_was_left_are_found(tmp_path: Path) -> None:
    """Broken: nobody looks at what stays of a class, or at what could not be replaced."""
    more = "\n\nclass Extra(BaseModel):\n    message_id: str\n\n\nclass MessageType2:\n    pass\n"
    models = copy(A)[f"{A}/models.py"].replace(
        '    EVENT = "event"\n', '    EVENT = "event"\n    COMMAND = "command"\n'
    )
    messaging = copy(A)[f"{A}/messaging.py"].replace(
        "    error: str | None = None\n",
        "    error: str | None = None\n    trace: str = ''\n    a = 1\n    def f(self): pass\n    print()\n",
    )
    rows = found(tmp_path, {f"{A}/models.py": models + more, f"{A}/messaging.py": messaging}, v0=True)
    assert [(each.file, each.rule, each.what) for each in rows] == [
        (
            f"{A}/messaging.py",
            "class.half",
            "MessageResult keeps trace, a, f, which this package's class has not",
        ),
        (
            f"{A}/models.py",
            "class.differs",
            "MessageType has members that this package's MessageType lacks",
        ),
    ]


def test_document_that_names_a_moved_module_is_found(tmp_path: Path) -> None:
    """Broken: a README sends readers to a file that is gone."""
    files = {
        "README.md": "x\nsee agent_orchestration/messaging.py, `tta_ai.orchestration.circuit_breaker`\n",
        "b.toml": "a = 'agent_orchestration.models_of_mine'\n",
        "c.bin": "agent_orchestration/messaging.py",
        "huge.json": "agent_orchestration/messaging.py" + " " * 1_000_000,
        "d.yml": "agent_orchestration/metrics\n",
    }
    rows = found(tmp_path, files)
    assert [(each.file, each.line, each.rule, each.what) for each in rows] == [
        (
            "README.md",
            2,
            "prose.module",
            "names a module that moved, agent_orchestration/messaging, and 1 more",
        ),
        ("d.yml", 1, "prose.module", "names a module that moved, agent_orchestration/metrics"),
    ]

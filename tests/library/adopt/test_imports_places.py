"""Places that a person has to look at, each as the line of the report that says where, why and what to do."""

from __future__ import annotations

import ast

import pytest

from tta_agent_coordination.adopt.findings import as_text
from tta_agent_coordination.adopt.imports.byhand import by_hand
from tta_agent_coordination.adopt.imports.copies import Copies

COPY = "src/agent_orchestration"
HEAD = "from tta_agent_coordination import AgentId\n"
HALF = "from tta_agent_coordination import MessageResult as BaseMessageResult\n\n\n"
TYPE = "a.type.value on an agent id: one that was read back from Redis has a text there"


def told(code: str, path: str = "a.py") -> list[str]:
    """Return the report on one file of a tree with one copy, its lines without the path."""
    files = {f"{COPY}/{name}.py": ast.Module([], []) for name in ("metrics", "messaging")}
    tree = ast.parse(code)
    rows = as_text([*by_hand(path, tree, Copies({*files, path}, {**files, path: tree}))]).splitlines()
    assert all(row.startswith(f"{path}:") for row in rows)
    return [row.removeprefix(f"{path}:") for row in rows]


def rules(code: str, path: str = "a.py") -> list[str]:
    """Return line and rule of what is told of one file."""
    return [": ".join(row.split(": ")[:2]) for row in told(code, path)]


@pytest.mark.parametrize(
    ("path", "head"),
    [
        (f"{COPY}/own.py", ""),
        (f"{COPY}/sub/own.py", "import json\n"),
        ("src/x.py", "from .agent_orchestration.own import f\n"),
        ("src/y/x.py", "from ..agent_orchestration import own\n"),
        ("x.py", "from src.agent_orchestration import own\n"),
        ("x.py", "import json, src.agent_orchestration.own\n"),
        ("x.py", "import agent_orchestration\n"),
        ("x.py", "from tta_ai.orchestration.own import f\n"),
        ("x.py", "from json import loads\nfrom tta_agent_coordination import AgentId\n"),
        ("x.py", "from tta_agent_coordination.metrics import RetryStats\n"),
    ],
)
def test_file_that_has_to_do_with_v0_is_looked_into(path: str, head: str) -> None:
    """Broken: an agent id that becomes a text is overlooked in one of TTA's files."""
    assert rules(f"{head}agent_id.type.value\n", path) == [f"{head.count('\n') + 1}: agent-id.type"]


@pytest.mark.parametrize(
    ("path", "head"),
    [
        ("x.py", ""),
        (f"{COPY}_of_mine/own.py", ""),
        ("x.py", "from json import loads\nimport json, zlib\n"),
        ("x.py", "from .tta_agent_coordination import AgentId\n"),
        ("src/x.py", "from agents.agent_orchestration import own\n"),
        ("src/x.py", "from ..agent_orchestration import own\n"),
        ("x.py", "from tta_agent_coordination_of_mine import AgentId\n"),
    ],
)
def test_file_that_has_nothing_to_do_with_v0_is_left(path: str, head: str) -> None:
    """Broken: agents of another library are reported."""
    assert told(f"{head}agent_id.type.value\ncoordinator._redis\nsys.path = 'ao:queue:'\n", path) == []


@pytest.mark.parametrize(
    ("code", "path", "name"),
    [
        ("import agent_orchestration.models\n", "a.py", "agent_orchestration.models"),
        ("import json, src.agent_orchestration.models as m\n", "a.py", "src.agent_orchestration.models"),
        ("from src.agent_orchestration import own, models\n", "a.py", "models"),
        ("from . import models\n", f"{COPY}/own.py", "models"),
        (
            "from ..coordinators import redis_message_coordinator\n",
            f"{COPY}/sub/own.py",
            "redis_message_coordinator",
        ),
    ],
)
def test_module_that_is_imported_whole_is_named(code: str, path: str, name: str) -> None:
    """Broken: names come through a module, and nobody is told that they moved."""
    assert told(f"from json import loads\n\n{code}", path) == [
        (
            f"3: import.module: imports the module {name}, and what moved through it; "
            "import the names themselves; until then it works by the re-exports"
        )
    ]


@pytest.mark.parametrize(
    ("code", "path", "name"),
    [
        ("from tta_ai.orchestration.models import *\n", "a.py", "tta_ai.orchestration.models"),
        ("from .models import *\n", f"{COPY}/own.py", ".models"),
        ("from ..models import *\n", f"{COPY}/sub/own.py", "..models"),
        ("from . import *\n", f"{COPY}/agents/own.py", "."),
    ],
)
def test_star_is_told_with_the_module_as_it_is_written(code: str, path: str, name: str) -> None:
    """Broken: nobody finds the import that takes names it does not say."""
    assert told(f"\n{code}", path) == [
        (
            f"2: import.star: takes whatever {name} has; "
            "name what is used; what moved can then be imported from this package"
        )
    ]


@pytest.mark.parametrize(
    "code",
    [
        "from src.agent_orchestration.own import *\n",
        "from src.agent_orchestration import own, models_of_mine\n",
        "from .models import *\nfrom . import models\nimport models\n",
        "from src.agent_orchestration.models import AgentId\n",
        "import src.agent_orchestration.own, agent_orchestration\n",
    ],
)
def test_imports_that_say_their_names_or_take_nothing_that_moved_are_left(code: str) -> None:
    """Broken: the list has so many lines that nobody reads it."""
    assert told(code) == []


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("    trace_id: str = ''\n", "trace_id"),
        ("    message_id: str\n    a = b = 1\n    print()\n    def f(self): ...\n", "a, f"),
        ("    async def f(self): ...\n    class g: ...\n    x[0] = x.y = 1\n", "f, g, x"),
        ("    '''Result.'''\n    x: int\n    def _own(self): ...\n    pass\n    _y = 1\n", "x"),
    ],
)
def test_half_of_a_class_is_told_with_what_it_keeps(body: str, kept: str) -> None:
    """Broken: nobody looks whether what only TTA's class has fits the package's."""
    text = f"{HALF}class MessageResult(x.A, BaseMessageResult):\n{body}"
    assert told(text, f"{COPY}/messaging.py") == [
        (
            f"4: class.half: MessageResult keeps {kept}, which this package's class has not; "
            "see that they still fit; objects that the package makes are of its own class"
        )
    ]


def test_class_that_was_left_is_told() -> None:
    """Broken: nobody hears that a class of v0 stayed, and why."""
    bases = "from .tta_agent_coordination import B\nfrom json import C\n\n\n"
    assert told(f"{bases}class MessageResult(B, C):\n    message_id: str\n", f"{COPY}/messaging.py") == [
        (
            "5: class.differs: MessageResult has members that this package's MessageResult lacks; "
            "take them out or move them into a class of their own; it was left as it is"
        )
    ]
    assert told("class MessageMetrics: ...\n", f"{COPY}/metrics.py")[0].startswith(
        "1: class.differs: MessageMetrics has members that this package's InMemoryMetrics lacks; "
    )


@pytest.mark.parametrize(
    ("code", "path"),
    [
        (
            f"{HALF}class MessageResult(BaseMessageResult):\n    message_id: str\n    _x = 1\n",
            f"{COPY}/messaging.py",
        ),
        ("class Own:\n    x = 1\n\n\nMessageResult = 1\n", f"{COPY}/messaging.py"),
        ("def f():\n    class MessageResult: ...\n", f"{COPY}/messaging.py"),
        ("class MessageResult: ...\n", f"{COPY}/metrics.py"),
        ("class MessageResult: ...\n", f"{COPY}/own.py"),
        ("class MessageResult: ...\n", "messaging.py"),
    ],
)
def test_other_classes_are_left(code: str, path: str) -> None:
    """Broken: TTA's own classes, and halves that keep nothing, are reported."""
    assert told(code, path) == []


def test_type_of_an_agent_id_is_told_with_what_takes_both() -> None:
    """Broken: nobody knows what to write where an id may have a text."""
    assert told(
        f"{HEAD}def f(a: AgentId, b):\n    return a.type.name, b.type.name, (\n        a.type.value)\n"
    ) == [
        f"3: agent-id.type: {TYPE.replace('value', 'name')}; write AgentType(a.type).name, which takes both",
        f"4: agent-id.type: {TYPE}; write AgentType(a.type).value, which takes both",
    ]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("route(a.type)", "route"),
        ("route(1, kind=a.type)", "route"),
        ("self.routes.to(a.type)", "to"),
        ("find()(kind=a.type)", "find"),
        ("str(route(a.type))", "route"),
    ],
)
def test_type_that_is_handed_on_is_told_with_the_call(call: str, name: str) -> None:
    """Broken: a function that expects the enumeration gets a text, and nobody looks."""
    assert told(f"{HEAD}def f(a: AgentId):\n    {call}\n") == [
        (
            f"3: agent-id.type: a.type goes to {name}(), which may expect an AgentType; "
            "write AgentType(a.type) where the enumeration is needed"
        )
    ]


@pytest.mark.parametrize(
    "code",
    [
        "a.type",
        "a.kind.value",
        "a.type.title",
        "a.type()",
        "str(a.type)",
        "AgentType(value=a.type)",
        "{}.get(a.type)",
        "f(x=[a.type])",
        "b.type.value",
        "f(b.type)",
        "f(x=a.instance)",
    ],
)
def test_type_that_may_be_a_text_is_left(code: str) -> None:
    """Broken: the list has so many lines that nobody reads it."""
    assert told(f"{HEAD}def f(a: AgentId, b):\n    {code}\n") == []


KEPT = "it keeps its effect; a public option says the same and will last"
OTHER = "it is not promised here: use what is public, or keep it in a subclass"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("coordinator._redis", "_redis of a RedisMessageCoordinator"),
        ("coordinator._own = 1", "_own of a RedisMessageCoordinator"),
        ("self.breaker._state", "_state of a CircuitBreaker"),
        *(
            (f"{name}(registry, '_ttl', 1)", "_ttl of a RedisAgentRegistry")
            for name in ("getattr", "setattr", "hasattr", "delattr")
        ),
        ("hasattr(registry, '_own')", "_own of a RedisAgentRegistry"),
    ],
)
def test_private_name_is_told_with_what_becomes_of_it(code: str, found: str) -> None:
    """Broken: who reaches for what is private is not told whether it goes on working."""
    remedy = OTHER if found.startswith("_own") else KEPT
    assert told(f"{HEAD}\n{code}\n") == [f"3: private.attribute: reaches for {found}; {remedy}"]


@pytest.mark.parametrize(
    "code",
    [
        "coordinator.metrics",
        "coordinator.__dict__",
        "other._redis",
        "agent_id._redis",
        "get(coordinator, '_redis')",
        "getattr(coordinator)",
        "getattr(coordinator, name)",
        "getattr(coordinator, 'metrics')",
        "hasattr(o, '_ttl')",
        "getattr(coordinator, '__dict__')",
        "getattr(coordinator, b'_redis')",
        "[coordinator, '_redis']",
    ],
)
def test_public_name_or_one_of_something_else_is_left(code: str) -> None:
    """Broken: the list has so many lines that nobody reads it."""
    assert told(f"{HEAD}{code}\n") == []


@pytest.mark.parametrize(
    ("bases", "kinds"),
    [
        ("A, RedisMessageCoordinator", ["RedisMessageCoordinator"]),
        ("AgentId, m.CircuitBreaker", ["CircuitBreaker"]),
        ("RedisMessageCoordinator, AgentRegistry", ["RedisAgentRegistry", "RedisMessageCoordinator"]),
        ("A", []),
        ("AgentId", []),
    ],
)
def test_private_name_in_a_subclass_is_told_of_each_class_it_is_of(bases: str, kinds: list[str]) -> None:
    """Broken: a subclass overwrites what the package keeps under the name, and nobody looks."""
    names = "self._agents, self._redis, self._state, self._own, other._redis, self.redis"
    text = f"{HEAD}class C({bases}):\n    def f(self):\n        return {names}\n"
    private = {
        "RedisMessageCoordinator": ["_redis"],
        "RedisAgentRegistry": ["_agents", "_redis"],
        "CircuitBreaker": ["_state"],
    }
    assert told(text) == [
        f"4: private.attribute: reaches for {name} of a {kind}; {KEPT}"
        for name, kind in sorted((name, kind) for kind in kinds for name in private[kind])
    ]


@pytest.mark.parametrize(
    "key",
    ["'ao:queue:x'", "'ao:agents'", "'ao:dlq'", "f'ao:queue:{x}'", "f'{x}:sched:{y}'"],
)
def test_key_is_told_as_it_is_written(key: str) -> None:
    """Broken: who reads keys by itself is forgotten when keys change."""
    assert told(f"{HEAD}x = 1, (\n    {key})\n") == [
        (
            f"3: redis.key: spells out the key {key}; "
            "keys are v0's, so it goes on working; prefer stats(), dead_letters() and the registry"
        )
    ]


@pytest.mark.parametrize(
    "code",
    [
        "'ao:queued'",
        "'ao:events'",
        "'x:ao:queue'",
        "b'ao:queue:x'",
        "':queue:'",
        "f'{a}{b}:queue:'",
        "f'{a}:queued'",
        "f'{a}/:queue:'",
        "f'ao:{y}:ao:cb'",
        "[x, ':queue:']",
    ],
)
def test_other_texts_are_no_keys(code: str) -> None:
    """Broken: the list has so many lines that nobody reads it."""
    assert told(f"{HEAD}x = {code}\n") == []


@pytest.mark.parametrize(
    "code",
    [
        "sys.path.insert(0, 'src')",
        "sys.path.append('src')",
        "sys.path.extend([])",
        "sys.path.remove('src')",
        "sys.path = []",
        "sys.path += ['src']",
        "sys.path[:0] = ['src']",
        "sys.path[0] = 'src'",
    ],
)
def test_changed_search_path_is_told(code: str) -> None:
    """Broken: nobody knows which copy a test imports."""
    assert told(f"{HEAD}import sys\n\n{code}\n") == [
        (
            "4: sys.path: changes sys.path, and with it which copy an import finds; "
            "install the projects instead; this package is found without it"
        )
    ]


@pytest.mark.parametrize(
    "code",
    [
        "x = sys.path[0]",
        "sys.path.index('src')",
        "os.path.append('src')",
        "sys.paths = []",
        "x.append(sys.path)",
        "y = sys.path",
        "insert(0, 'src')",
        "x.path[0] = 1",
    ],
)
def test_search_path_that_is_read_is_left(code: str) -> None:
    """Broken: the list has so many lines that nobody reads it."""
    assert told(f"{HEAD}{code}\n") == []


@pytest.mark.parametrize(
    "call", ["CircuitBreakerMetricsCollector()", "r.CircuitBreakerMetricsCollector(x=1)"]
)
def test_second_collector_is_told(call: str) -> None:
    """Broken: a metrics page shows zeros."""
    assert told(f"{HEAD}\nx = {call}\ny = CircuitBreakerMetricsCollector, Other()\n") == [
        (
            "3: collector.second: makes a collector that no breaker counts in; "
            "take get_circuit_breaker_metrics(), the one of this process"
        )
    ]


@pytest.mark.parametrize(
    "name", ["models", "models.AgentId", "coordinators.redis_message_coordinator.time.sleep"]
)
@pytest.mark.parametrize("root", ["agent_orchestration", "src.agent_orchestration", "tta_ai.orchestration"])
def test_module_in_a_text_is_told(root: str, name: str) -> None:
    """Broken: a test patches a name that nothing uses any more, and passes."""
    assert told(f"x = 'json.loads'\n\npatch(\n    '{root}.{name}', 1, 'x.y')\n") == [
        (
            f"4: text.module: names {root}.{name} in a text; "
            "name where the code looks it up after the move, which a tool cannot know"
        )
    ]


@pytest.mark.parametrize(
    "text",
    [
        "agent_orchestration",
        "src.agent_orchestration.own",
        "agent_orchestration.models_of_mine.x",
        "x.models",
        "see agent_orchestration.models",
        "agent_orchestration.models.AgentId is gone",
        "a.agent_orchestration.models",
    ],
)
def test_text_that_names_no_module_that_moved_is_left(text: str) -> None:
    """Broken: prose in a docstring is reported."""
    assert told(f"x = {text!r}, {text.encode()!r}\n") == []


def test_places_are_told_by_line_and_once_each() -> None:
    """Broken: the report jumps about in a file, or says the same of one line again."""
    code = (
        "def f(agent_id):\n    coordinator._pfx, sys.path.append('ao:cb')\n"
        "    coordinator._redis, coordinator._redis\n"
        "import agent_orchestration.models\n"
    )
    assert rules(code + "'agent_orchestration.models'\n") == [
        "2: private.attribute",
        "2: redis.key",
        "2: sys.path",
        "3: private.attribute",
        "4: import.module",
        "5: text.module",
    ]

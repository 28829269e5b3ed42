"""Modules of v0 turned into re-exports: what goes, what stays, what is imported in its place."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from tests.library.adopt import v0_contract as v0
from tests.library.adopt.v0_copy import AGENTS, BREAKER_METRICS
from tta_agent_coordination.adopt.imports.moved import MODULES
from tta_agent_coordination.adopt.imports.shim import shimmed


def shim(module: str, text: str, wanted: Collection[str] | None = ()) -> str:
    """Turn a module into re-exports, and see that doing it again changes nothing."""
    new = shimmed(text, MODULES[module], wanted)
    assert shimmed(new, MODULES[module], wanted) == new
    compile(new, module, "exec")
    return new


def test_module_of_which_everything_moved_only_re_exports() -> None:
    """Broken: imports that nobody needs stay behind, or a linter takes the re-exports away."""
    assert shim("messaging", v0.MESSAGING) == (
        '"""What travels between agents."""\n'
        "\n"
        "from tta_agent_coordination import (\n"
        "    FailureType,\n"
        "    MessageResult,\n"
        "    MessageSubscription,\n"
        "    QueueMessage,\n"
        "    ReceivedMessage,\n"
        ")\n"
        "\n"
        "__all__ = [\n"
        '    "FailureType",\n'
        '    "MessageResult",\n'
        '    "MessageSubscription",\n'
        '    "QueueMessage",\n'
        '    "ReceivedMessage",\n'
        "]\n"
    )


def test_helpers_go_with_the_only_code_that_used_them() -> None:
    """Broken: `_now_us`, the logger and what they import are left without a use."""
    assert shim("coordinators.redis_message_coordinator", v0.COORDINATOR) == (
        '"""Messages through Redis."""\n'
        "\n"
        "from tta_agent_coordination import RedisMessageCoordinator\n"
        "\n"
        '__all__ = ["RedisMessageCoordinator"]\n'
    )


def test_names_that_others_import_stay_importable() -> None:
    """Broken: a consumer that took a name from the wrong module fails, though no consumer was to change."""
    new = shim("messaging", v0.MESSAGING, {"AgentMessage", "BaseModel", "FailureType", "_gone"})
    assert "from pydantic import BaseModel\n" in new
    assert "from .models import AgentMessage\n" in new
    assert '"AgentMessage",\n    "BaseModel",\n    "FailureType",\n' in new
    assert '"_gone"' not in new


def test_every_import_stays_where_nobody_knows_what_others_take() -> None:
    """Broken: `messaging.AgentId` fails in a file that imports the module."""
    new = shim("messaging", v0.MESSAGING, None)
    assert "from .models import AgentId, AgentMessage, MessagePriority, MessageType\n" in new
    assert "class MessageResult" not in new


def test_agent_id_becomes_a_subclass_of_two_lines() -> None:
    """Broken: the router always picks the first agent, in silence."""
    new = shim("models", v0.MODELS)
    assert (
        "class AgentId(BaseAgentId, frozen=True):\n    type: AgentType\n\n\n# --- TTA's own half ---\n" in new
    )
    assert "from tta_agent_coordination import (\n    AgentId as BaseAgentId,\n    AgentMessage,\n" in new
    assert 'NGA = "narrative_generator"  # tells the story\n' in new
    assert "# Logseq: [[Orchestration/Models]]\n" in new
    assert (
        "import re\nfrom enum import StrEnum\n\nfrom pydantic import BaseModel, Field, field_validator\n"
        in new
    )


def test_agent_id_of_any_text_is_re_exported() -> None:
    """Broken: a subclass that narrows nothing is left behind."""
    text = "class AgentId(BaseModel):\n    type: str\n    instance: str | None = None\n"
    assert shim("models", text) == ('from tta_agent_coordination import AgentId\n\n__all__ = ["AgentId"]\n')


def test_constructor_of_a_half_makes_what_its_methods_need() -> None:
    """Broken: the half that stays fails at its first call, or overwrites the package's own state."""
    new = shim("registries.redis_agent_registry", v0.REGISTRY)
    assert new.index('"""Agents in Redis, and what they can do."""') < new.index("def __init__")
    body = new.partition("-> None:\n")[2].partition("    def _capability_key")[0]
    assert body == (
        "        super().__init__(redis=redis, key_prefix=key_prefix, heartbeat_ttl_s=heartbeat_ttl_s, "
        "heartbeat_interval_s=heartbeat_interval_s, enable_events=enable_events, "
        "event_publisher=event_publisher)\n"
        "        # Matching\n"
        "        threshold = 0.5\n"
        "        self._capability_matcher = CapabilityMatcher(threshold)\n"
        "\n"
    )
    assert "    # ---- Capabilities ----\n    async def store_capabilities" in new
    assert "_persist" not in new
    assert "import asyncio" not in new


def test_half_without_state_has_no_constructor() -> None:
    """Broken: a constructor that does nothing hides the package's arguments."""
    text = (
        "class RetryConfig:\n"
        "    def __init__(self, max_retries=3):\n"
        "        self.max_retries = max_retries\n\n"
        "    limit = 3\n\n"
        "    def doubled(self):\n"
        "        return self.max_retries * 2\n"
    )
    assert shim("adapters", text) == (
        "from tta_agent_coordination import RetryConfig as BaseRetryConfig\n"
        "\n"
        '__all__ = ["RetryConfig"]\n\n\n'
        "class RetryConfig(BaseRetryConfig):\n"
        "    limit = 3\n\n"
        "    def doubled(self):\n"
        "        return self.max_retries * 2\n"
    )


def test_model_with_a_field_of_its_own_keeps_it() -> None:
    """Broken: a field that only one copy has is lost without a word."""
    text = (
        "class MessageResult(BaseModel):\n"
        '    """What came of it."""\n\n'
        "    model_config = {}\n"
        "    message_id: str\n"
        "    trace_id: str | None = None\n"
        "    __slots__ = ()\n"
        "    if True:\n        hidden = 1\n"
        "    a = b = 1\n"
    )
    kept = '(BaseMessageResult):\n    """What came of it."""\n    trace_id: str | None = None\n'
    assert kept in shim("messaging", text)


def test_enumeration_with_a_member_of_its_own_is_left() -> None:
    """Broken: a member that the package lacks is gone, and its users fail."""
    text = "class FailureType(enum.StrEnum):\n    TRANSIENT = 'transient'\n    POISON = 'poison'\n"
    assert shim("messaging", text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        '"""Nothing."""\n',
        "AgentId = 1\n",
        "from tta_agent_coordination import RoutingKey\n",
        "import tta_agent_coordination as t\n\n\nclass Other(t.AgentId):\n    pass\n",
        "class Outer:\n    class AgentId:\n        pass\n",
    ],
)
def test_module_without_v0s_definitions_stays_to_the_letter(text: str) -> None:
    """Broken: a second run, or TTA's own code, is changed."""
    assert shim("models", text) == text


def test_function_with_names_of_its_own_goes_whole() -> None:
    """Broken: a function that moved is taken for a class of which a half stays."""
    text = "def get_circuit_breaker_metrics():\n    found = 1\n    return found\n"
    assert shim("circuit_breaker_metrics", text) == (
        "from tta_agent_coordination import get_circuit_breaker_metrics\n\n"
        '__all__ = ["get_circuit_breaker_metrics"]\n'
    )


def test_annotations_of_the_future_go_with_the_last_definition() -> None:
    """Broken: a module that only lists names keeps an import that is about annotations."""
    text = "from __future__ import annotations\n\n__all__ = ['RoutingKey']\n\n\nclass RoutingKey: ...\n"
    assert shim("models", text) == (
        "from tta_agent_coordination import RoutingKey\n\n__all__ = ['RoutingKey']\n"
    )
    assert shim("models", f"{text}x: int = 1\n").startswith("from __future__ import annotations\n\nfrom tta")


def test_re_exports_stand_beside_what_is_installed_like_this_package() -> None:
    """Broken: a formatter moves the new import, since a blank line makes it a group of its own."""
    text = (
        '"""Models."""\n\nfrom pydantic import BaseModel\n\nx = BaseModel\nclass RoutingKey(BaseModel): ...\n'
    )
    assert shim("models", text) == (
        '"""Models."""\n\nfrom pydantic import BaseModel\nfrom tta_agent_coordination import RoutingKey\n'
        '\n__all__ = ["RoutingKey", "x"]\n\nx = BaseModel\n'
    )


def test_private_name_that_others_import_is_not_listed() -> None:
    """Broken: what has an underscore becomes public."""
    text = "from .own import _of_own, own\n\n\nclass RoutingKey:\n    x = _of_own, own\n".replace(
        "x =", "topic ="
    )
    assert shim("models", text, {"_of_own", "own"}) == (
        "from tta_agent_coordination import RoutingKey\n\nfrom .own import _of_own, own\n\n"
        '__all__ = ["RoutingKey", "own"]\n'
    )


@pytest.mark.parametrize("above", ["\n", "\n# TTA's own\n", "\n\n\n"])
def test_blank_lines_above_a_definition_are_the_files_own(above: str) -> None:
    """Broken: a file's blank lines change where nothing was written above them."""
    text = f"import json\nclass RoutingKey: ...\n{above}class Own: ...\n"
    assert shim("models", text, {"json"}).endswith(
        f'__all__ = ["Own", "RoutingKey", "json"]\n{above}class Own: ...\n'
    )


def test_definition_right_below_the_list_gets_two_blank_lines() -> None:
    """Broken: the comment above a definition is lost, or sticks to the list of names."""
    text = "class RoutingKey: ...\n# TTA's own\nclass Own: ...\n"
    assert shim("models", text).endswith('"RoutingKey"]\n\n\n# TTA\'s own\nclass Own: ...\n')


@pytest.mark.parametrize(("length", "line"), [(60, True), (61, False)])
def test_list_of_names_stands_in_one_line_where_it_fits(length: int, *, line: bool) -> None:
    """Broken: a formatter writes the list again, since 88 columns hold it, or do not."""
    name = "f" * length
    new = shim("models", f"class RoutingKey: ...\n\n\ndef {name}(): ...\n")
    assert (f'\n__all__ = ["RoutingKey", "{name}"]\n' in new) is line
    assert (f'\n__all__ = [\n    "RoutingKey",\n    "{name}",\n]\n' in new) is not line


def test_list_of_names_that_a_module_has_is_kept() -> None:
    """Broken: TTA's own `__all__` is written over, or names in it lose their imports."""
    text = (
        "import json\nfrom json import dumps\n\n__all__: list[str] = ['AgentProxy', 'json']\n"
        "__all__ += ['dumps']\n\n\nclass AgentProxy:\n    x = json, dumps\n"
    )
    assert shim("interfaces", text.replace("    x =", "    process =")) == (
        "import json\nfrom json import dumps\n\nfrom tta_agent_coordination import AgentProxy\n"
        "\n__all__: list[str] = ['AgentProxy', 'json']\n__all__ += ['dumps']\n"
    )


def test_collector_of_the_module_goes_and_ttas_half_stays() -> None:
    """Broken: two collectors, and TTA's metrics page shows the one that nobody counts in."""
    new = shim("circuit_breaker_metrics", BREAKER_METRICS)
    assert "_global_metrics_collector" not in new
    assert "from tta_agent_coordination.resilience import CircuitBreakerMetricsCollector\n" in new
    assert "from tta_agent_coordination import get_circuit_breaker_metrics, record_state_transition\n" in new
    assert "class CircuitBreakerLogger:" in new
    assert "import logging\n" in new
    assert "dataclass" not in new


def test_helper_that_something_else_uses_stays() -> None:
    """Broken: what is left of a module uses a name that is gone."""
    text = (
        "import json, time\nimport os, re as r, sys\n\n_a = json.loads('1')\n_b: int = _a\n__c__ = r\n"
        "logger = _b\n\n\ndef mine() -> '_c':\n    return 'not (a type'\n\n\n_c = 1\n"
        "class RoutingKey:\n    x = logger, _c, time, r, os, __c__\n"
    )
    assert shim("models", text.replace("x =", "_x =")) == (
        "import re as r, sys\n"
        "\nfrom tta_agent_coordination import RoutingKey\n\n"
        '__all__ = ["RoutingKey", "mine"]\n'
        "\n__c__ = r\n\n\n"
        "def mine() -> '_c':\n    return 'not (a type'\n\n\n_c = 1\n"
    )


def test_half_of_a_module_keeps_its_order_and_imports() -> None:
    """Broken: TTA's half is cut, or imported names that it needs are gone."""
    new = shim("agents", AGENTS)
    assert new.startswith(
        "from __future__ import annotations\n\nimport time\nimport uuid\nfrom typing import Any\n\n"
        "from tta_agent_coordination import AgentRegistry\n\n"
        "from .interfaces import AgentProxy, MessageCoordinator\n"
    )
    assert '__all__ = ["Agent", "AgentRegistry"]\n\n\nclass Agent(AgentProxy):\n' in new
    assert "Awaitable" not in new


def test_line_ends_are_the_files_own() -> None:
    """Broken: one run mixes line ends."""
    new = shim("models", v0.MODELS.replace("\n", "\r\n"))
    assert new == shim("models", v0.MODELS).replace("\n", "\r\n")

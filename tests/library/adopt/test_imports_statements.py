"""Import statements rewritten: each kind of statement, its comments, its place."""

from __future__ import annotations

import pytest

from tta_agent_coordination.adopt.imports.moved import MODULES, Target
from tta_agent_coordination.adopt.imports.rewriting import rewrite


def ask(level: int, module: str, name: str) -> Target | None:
    """Know v0's modules behind any dots or any package; `AgentId` stays TTA's."""
    del level
    moved = MODULES.get(module.rpartition("orchestration.")[2], {}).get(name)
    return moved.target if moved is not None and name != "AgentId" else None


def rewritten(text: str) -> str:
    """Rewrite a text, and see that doing it again changes nothing."""
    new = rewrite(text, ask)
    assert rewrite(new, ask) == new
    compile(new, "new", "exec")
    return new


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from .models import AgentMessage\n", "from tta_agent_coordination import AgentMessage\n"),
        (
            "from ..models import AgentMessage as M\n",
            "from tta_agent_coordination import AgentMessage as M\n",
        ),
        (
            "from tta_ai.orchestration.messaging import QueueMessage, MessageResult\n",
            "from tta_agent_coordination import MessageResult, QueueMessage\n",
        ),
        (
            "from src.agent_orchestration.metrics import MessageMetrics\n",
            "from tta_agent_coordination import InMemoryMetrics as MessageMetrics\n",
        ),
        (
            "from agent_orchestration.adapters import AgentCommunicationError as E\n",
            "from tta_agent_coordination import RetryExhaustedError as E\n",
        ),
        (
            "from .metrics import RetryStats, MessageMetrics\n",
            (
                "from tta_agent_coordination import InMemoryMetrics as MessageMetrics\n"
                "from tta_agent_coordination.metrics import RetryStats\n"
            ),
        ),
        (
            (
                "from .circuit_breaker_metrics import (\n"
                "    record_state_transition,\n    get_circuit_breaker_metrics\n)\n"
            ),
            "from tta_agent_coordination import get_circuit_breaker_metrics, record_state_transition\n",
        ),
        (
            "from .models import \\\n    AgentType, \\\n    RoutingKey\n",
            "from tta_agent_coordination import RoutingKey\n\nfrom .models import AgentType\n",
        ),
    ],
)
def test_statement_is_rewritten(before: str, after: str) -> None:
    """Broken: a name comes from another place than it has."""
    assert rewritten(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "from .models import AgentId, AgentType\n",
        "from .models import *\n",
        "from . import models\n",
        "import src.agent_orchestration.models as models\n",
        "from elsewhere import AgentMessage\n",
        "from tta_agent_coordination import AgentId\nfrom .models import AgentType\n",
        "x  =  1 # as it was\n\n\n\nimport   os\n",
        "",
    ],
)
def test_everything_else_stays_to_the_letter(text: str) -> None:
    """Broken: what is TTA's own is touched."""
    assert rewritten(text) == text


def test_mixed_statement_is_split_and_comments_stay_with_their_names() -> None:
    """Broken: a comment is lost, or speaks about another name."""
    assert (
        rewritten(
            "# of messages\n"
            "from .models import (  # all of it\n"
            "    AgentId,  # who\n"
            "    # the enumeration\n"
            "    # is ours\n"
            "    AgentType,\n"
            "    AgentMessage,  # what\n"
            "    MessageType\n"
            "    # the end\n"
            ")\n"
            "x = 1\n"
        )
        == "# of messages\n"
        "from tta_agent_coordination import (\n"
        "    AgentMessage,  # what\n"
        "    # the end\n"
        "    MessageType,\n"
        ")\n"
        "\n"
        "from .models import (\n"
        "    # all of it\n"
        "    AgentId,  # who\n"
        "    # the enumeration\n"
        "    # is ours\n"
        "    AgentType,\n"
        ")\n"
        "x = 1\n"
    )


def test_comment_above_a_split_statement_is_written_once() -> None:
    """Broken: both halves say what one of them was said about."""
    assert rewritten("x = 1\n# hints\nfrom .models import AgentType, RoutingKey\n") == (
        "x = 1\n# hints\nfrom tta_agent_coordination import RoutingKey\n\nfrom .models import AgentType\n"
    )


def test_names_with_comments_keep_their_order() -> None:
    """Broken: a comment that heads a group stands in the middle of another."""
    text = (
        "from .models import (\n    RoutingKey,\n    # the envelope\n    AgentMessage,\n    MessageType,\n)\n"
    )
    assert rewritten(text) == text.replace(".models", "tta_agent_coordination")


def test_dots_of_a_statement_are_asked_about() -> None:
    """Broken: a module of the same name, but of another package, is taken for v0's."""

    def only_two_dots(level: int, module: str, name: str) -> Target | None:
        return ask(level, module, name) if level == len("..") else None

    text = "from models import RoutingKey\nfrom .models import RoutingKey\nfrom ..models import RoutingKey\n"
    assert rewrite(text, only_two_dots) == text.replace("..models", "tta_agent_coordination")


def test_comment_behind_the_last_name_stays_with_it() -> None:
    """Broken: a comment without a comma before it is lost."""
    assert rewritten("from .models import (\n    AgentType,\n    RoutingKey  # hints\n)\n") == (
        "from tta_agent_coordination import (\n    RoutingKey,  # hints\n)\n\nfrom .models import AgentType\n"
    )


def test_pragma_goes_to_both_statements_and_another_comment_to_one() -> None:
    """Broken: a linter complains about the statement that lost its pragma."""
    assert rewritten("from .models import AgentType, RoutingKey  # noqa: F401\n") == (
        "from tta_agent_coordination import RoutingKey  # noqa: F401\n\n"
        "from .models import AgentType  # noqa: F401\n"
    )
    assert rewritten("from .models import AgentType, RoutingKey  # both\n") == (
        "from tta_agent_coordination import RoutingKey  # both\n\nfrom .models import AgentType\n"
    )


def test_statements_of_one_run_are_joined() -> None:
    """Broken: a file has three imports from one package."""
    assert rewritten(
        "import json\n"
        "\n"
        "from tta_agent_coordination import AgentWorker\n"
        "\n"
        "from .interfaces import AgentProxy\n"
        "from .messaging import FailureType\n"
        "from .models import AgentType, RoutingKey\n"
        "from .router import AgentRouter\n"
        "\n"
        "logger = 1\n"
        "from .models import RoutingKey\n"
    ) == (
        "import json\n"
        "\n"
        "from tta_agent_coordination import AgentProxy, AgentWorker, FailureType, RoutingKey\n"
        "\n"
        "from .models import AgentType\n"
        "from .router import AgentRouter\n"
        "\n"
        "logger = 1\n"
        "from tta_agent_coordination import RoutingKey\n"
    )


def test_blank_line_before_a_joined_statement_stays() -> None:
    """Broken: two groups of imports grow into one."""
    assert rewritten(
        "from .interfaces import AgentProxy\n\nfrom .messaging import FailureType\nimport zlib\n"
    ) == ("from tta_agent_coordination import AgentProxy, FailureType\n\nimport zlib\n")


@pytest.mark.parametrize("behind", ["# of the archive\nimport zlib\n", "class A: ...\n"])
def test_what_stands_behind_a_joined_statement_stays_as_it_is(behind: str) -> None:
    """Broken: the comment above the next statement goes with the one before it."""
    assert rewritten(
        f"from .interfaces import AgentProxy\n\nfrom .messaging import FailureType\n{behind}"
    ) == (f"from tta_agent_coordination import AgentProxy, FailureType\n{behind}")


def test_statement_between_two_of_the_package_is_joined_with_both() -> None:
    """Broken: two statements from one package stay, and the second run does not join them either."""
    assert rewritten(
        "from tta_agent_coordination import AgentWorker\nfrom .models import RoutingKey\n"
        "from tta_agent_coordination import AgentRouter\n"
    ) == ("from tta_agent_coordination import AgentRouter, AgentWorker, RoutingKey\n")


def test_joined_statement_gets_brackets_at_its_depth() -> None:
    """Broken: a joined line grows beyond the 88 columns that TTA's formatter keeps."""
    names = "AgentProxy, FailureType", "MessagePriority, MessageType"
    code = "from tta_agent_coordination import {}\nfrom .models import {}\n".format(*names)
    line = f"from tta_agent_coordination import {', '.join(names)}"
    assert rewritten(code) == f"{line}\n"
    inside = "".join(f"    {row}" for row in code.splitlines(keepends=True))
    brackets = "".join(f"        {name},\n" for name in ", ".join(names).split(", "))
    assert rewritten(f"if x:\n{inside}") == (
        f"if x:\n    from tta_agent_coordination import (\n{brackets}    )\n"
    )


def test_statement_with_a_comment_stands_alone() -> None:
    """Broken: a comment speaks about names that it was not written for."""
    assert rewritten(
        "from .interfaces import AgentProxy\n# for tests\nfrom .messaging import FailureType\n"
        "from .models import RoutingKey  # noqa: F401\n"
    ) == (
        "from tta_agent_coordination import AgentProxy\n# for tests\n"
        "from tta_agent_coordination import FailureType\n"
        "from tta_agent_coordination import RoutingKey  # noqa: F401\n"
    )


def test_existing_statements_of_the_package_are_not_joined_for_nothing() -> None:
    """Broken: the second run changes what a person wrote."""
    text = "from tta_agent_coordination import AgentWorker\nfrom tta_agent_coordination import AgentId\n"
    assert rewritten(text) == text
    after = "x = 1\nfrom {} import RoutingKey\n".format
    assert rewritten(text + after(".models")) == text + after("tta_agent_coordination")


def test_the_last_statement_may_vanish_into_an_earlier_one() -> None:
    """Broken: a file that ends with an import loses it, or keeps it twice."""
    assert rewritten("from .messaging import FailureType\nfrom .messaging import FailureType\n") == (
        "from tta_agent_coordination import FailureType\n"
    )
    assert rewritten(
        "from .messaging import FailureType\nfrom .models import RoutingKey\n\n\nclass A: ...\n"
    ) == ("from tta_agent_coordination import FailureType, RoutingKey\n\n\nclass A: ...\n")


def test_long_statements_get_brackets_at_any_depth() -> None:
    """Broken: lines grow beyond the 88 columns that TTA's formatter keeps."""
    new = rewritten(
        "def f():\n"
        "    if True:\n"
        "        from .models import AgentMessage, MessagePriority, MessageType, RoutingKey, AgentType\n"
        "        return 1\n"
    )
    assert new == (
        "def f():\n"
        "    if True:\n"
        "        from tta_agent_coordination import (\n"
        "            AgentMessage,\n"
        "            MessagePriority,\n"
        "            MessageType,\n"
        "            RoutingKey,\n"
        "        )\n"
        "        from .models import AgentType\n"
        "        return 1\n"
    )


def test_depth_ends_with_its_block() -> None:
    """Broken: a statement that fits gets brackets because of a block above it."""
    text = "def f():\n    if x:\n        if y:\n            pass\n"
    assert rewritten(f"{text}from .models import AgentMessage, MessagePriority, MessageType\n") == (
        f"{text}from tta_agent_coordination import AgentMessage, MessagePriority, MessageType\n"
    )
    inside = text.replace("pass", "from .models import AgentMessage, MessagePriority, MessageType")
    assert rewritten(inside).endswith(
        "coordination import (\n"
        + "".join(f"                {name},\n" for name in ("AgentMessage", "MessagePriority", "MessageType"))
        + "            )\n"
    )


def test_statements_that_share_a_line_go_on_sharing_it() -> None:
    """Broken: a suite of one line is cut in two."""
    assert rewritten("if x: from .models import AgentType, RoutingKey; y = 1\n") == (
        "if x: from tta_agent_coordination import RoutingKey; from .models import AgentType; y = 1\n"
    )
    assert rewritten("a = 1; from .models import RoutingKey, MessageType\n") == (
        "a = 1; from tta_agent_coordination import MessageType, RoutingKey\n"
    )


def test_comments_within_a_shared_line_stay_with_their_names() -> None:
    """Broken: a comment is lost because another statement stands on the line."""
    assert rewritten(
        "def f():\n\ta = 1; from .models import (\n\t\tAgentType,  # who\n"
        "\t\tRoutingKey  # hints\n\t); b = 1\n"
    ) == (
        "def f():\n\ta = 1; from tta_agent_coordination import (\n\t\tRoutingKey,  # hints\n\t)"
        "; from .models import (\n\t\tAgentType,  # who\n\t); b = 1\n"
    )


def test_blocks_of_every_kind_are_looked_into() -> None:
    """Broken: an import inside `try`, a class or `match` is left behind."""
    text = (
        "try:\n    from .models import RoutingKey\nexcept ImportError:\n    RoutingKey = None\n"
        "class A:\n    from .models import RoutingKey\n"
        "async def f():\n    with x:\n        from .models import RoutingKey\n"
        "match x:\n    case 1:\n        from .models import RoutingKey\n"
        "if TYPE_CHECKING:\n\tfrom .models import RoutingKey\n"
    )
    assert rewritten(text) == text.replace("from .models", "from tta_agent_coordination")


def test_line_ends_and_indentation_are_the_files_own() -> None:
    """Broken: one run mixes line ends, and the diff has every line."""
    text = (
        "def f():\r\n\tfrom .models import AgentType, AgentMessage, MessagePriority, MessageType, RoutingKey"
        ", RoutingKey as R\r\n"
    )
    assert rewritten(text) == (
        "def f():\r\n"
        "\tfrom tta_agent_coordination import (\r\n"
        "\t\tAgentMessage,\r\n"
        "\t\tMessagePriority,\r\n"
        "\t\tMessageType,\r\n"
        "\t\tRoutingKey,\r\n"
        "\t\tRoutingKey as R,\r\n"
        "\t)\r\n"
        "\tfrom .models import AgentType\r\n"
    )

"""Owns what moving a tree over costs: `python -m benchmarks adoption [--quick]`.

Generates a tree of 1,000 Python files that all import v0, in TTA's proportions: two copies, six statements
in ten relative, a third of them mixed with names that stay, a fifth inside functions. Prints seconds of a dry
run, of writing and of doing it again, what was rewritten, split and reported, and what a second run changed.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tta_agent_coordination.adopt import fixes
from tta_agent_coordination.adopt.imports import plan
from tta_agent_coordination.adopt.imports.moved import MODULES
from tta_agent_coordination.adopt.tree import read_workspace

FILES = 1_000
COPIES = ("src/agent_orchestration", "packages/tta-ai-framework/src/tta_ai/orchestration")
ROOTS = ("tta_ai.orchestration",) * 31 + ("src.agent_orchestration",) * 7 + ("agent_orchestration",) * 2
"""Absolute imports by the root they name, in hundredths of all; the other sixty are relative."""

FILLER = '''

def step_{n}(value: int, *, limit: int = {n}) -> dict[str, int]:
    """Work a little.

    Args:
        value: Where to begin.
        limit: Where to end.
    """
    found: dict[str, int] = {{}}
    for number in range(value, limit):  # as far as it goes
        if number % 3 == 0 and number not in (6, 9):
            found[f"{{number}}:{{limit}}"] = number * 2
        else:
            found.setdefault("rest", 0)
            found["rest"] += sum(each for each in range(number) if each % 2)
    return found
'''

BY_HAND = """

async def inspect(coordinator: RedisMessageCoordinator, agent_id: AgentId) -> str:
    await coordinator._redis.llen(f"ao:queue:{agent_id.type.value}:default")
    return agent_id.type.value
"""


def _definitions() -> Iterator[tuple[str, str]]:
    """The modules of a copy, each with empty definitions of what v0 has there."""
    for module, table in MODULES.items():
        text = "from enum import StrEnum\n\nfrom pydantic import BaseModel\n"
        if module == "models":
            text += '\n\nclass AgentType(StrEnum):\n    IPA = "input_processor"\n'
        for name, moved in table.items():
            if name[0].islower():
                text += f"\n\ndef {name}():\n    return None\n"
            elif moved.narrows:
                text += f"\n\nclass {name}(BaseModel):\n    {moved.narrows}: AgentType\n"
            else:
                text += f"\n\nclass {name}:\n    pass\n"
        yield f"{module.replace('.', '/')}.py", text


def _consumer(number: int, place: str) -> str:
    """One file with two imports of v0, the second inside a function in two of five files."""
    root = place or ROOTS[number % len(ROOTS)]
    join = "" if root.endswith(".") else "."
    mixed = "AgentId, AgentMessage, AgentType" if number % 3 == 0 else "AgentMessage, MessagePriority"
    lines = [
        f'"""Module {number}."""',
        "",
        "from __future__ import annotations",
        "",
        "import json",
        "import logging",
        "",
        f"from {root}{join}models import {mixed}",
    ]
    second = f"from {root}{join}messaging import (\n    FailureType,  # why\n    MessageResult,\n)"
    used = "MessageResult"
    if number % 3 == 1:
        second, used = f"from {root}{join}adapters import IPAAdapter, RetryConfig", "RetryConfig"
    local = number % 5 < 2
    if not local:
        lines.append(second)
    lines += ["", "logger = logging.getLogger(__name__)", "PLACE = json.dumps([__name__])"]
    text = "\n".join(lines) + "\n" + "".join(FILLER.format(n=n) for n in range(number % 7 + 3))
    if local:
        indented = second.replace("\n", "\n    ")
        text += f"\n\ndef late() -> object:\n    {indented}\n\n    return {used}\n"
    if number % 10 == 0:
        text += BY_HAND
    return text


def generate(root: Path, files: int) -> int:
    """Write the tree and return its lines."""
    texts: dict[str, str] = {}
    for copy in COPIES:
        texts.update({f"{copy}/{path}": text for path, text in _definitions()})
        texts[f"{copy}/__init__.py"] = "from .models import AgentId, AgentMessage, AgentType\n"
    for number in range(files - len(texts)):
        if number % 10 < 6:
            path, place = f"{COPIES[number % 2]}/part_{number % 20}/module_{number}.py", ".."
        else:
            path, place = f"tests/part_{number % 20}/test_{number}.py", ""
        texts[path] = _consumer(number, place)
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return sum(text.count("\n") for text in texts.values())


def _timed(root: Path) -> tuple[plan.Plan, float, float]:
    """Plan a rewrite; wall and processor seconds, with the diff that a dry run prints."""
    wall, processor = time.perf_counter(), time.process_time()
    made = plan.make(read_workspace(root), rewriting=True)
    fixes.diff(made.old, made.new)
    return made, time.perf_counter() - wall, time.process_time() - processor


async def run(port: int, *, quick: bool) -> None:
    """Generate, plan, write, plan again; the server is not needed."""
    del port
    files = FILES // 10 if quick else FILES
    with tempfile.TemporaryDirectory(prefix="tta-adoption-") as folder:
        root = Path(folder)
        lines = generate(root, files)
        first, wall, processor = _timed(root)
        started = time.perf_counter()
        for path, text in first.new.items():
            (root / path).write_bytes(text.encode())
        written = time.perf_counter() - started
        again, wall_again, processor_again = _timed(root)
    split = sum(each.split for each in first.statements)
    print(f"\nadoption: a tree of {first.files} Python files, {lines} lines, --rewrite")
    print(f"  {'seconds of a dry run, processor':36}{wall:8.1f}{processor:8.1f}")
    print(f"  {'seconds of writing the files':36}{written:8.1f}")
    print(f"  {'seconds of doing it again, processor':36}{wall_again:8.1f}{processor_again:8.1f}")
    print(f"  {'modules re-exported':36}{len(first.modules):8}")
    print(f"  {'files changed':36}{len(first.new):8}")
    print(f"  {'statements rewritten':36}{len(first.statements):8}")
    print(f"  {'of them split':36}{split:8}")
    print(f"  {'reported':36}{len(first.findings):8}")
    for rule, count in sorted(Counter(each.rule for each in first.findings).items()):
        print(f"    {rule:34}{count:8}")
    print(f"  {'files that doing it again changes':36}{len(again.new):8}")
    if again.new:
        raise SystemExit(f"not idempotent: {', '.join(sorted(again.new)[:5])}")

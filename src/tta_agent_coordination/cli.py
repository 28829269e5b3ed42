"""Owns the command line of `python -m tta_agent_coordination`: which commands there are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tta_agent_coordination.doctor import command as doctor
from tta_agent_coordination.worker import command as worker

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Run a command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tta_agent_coordination",
        description="Durable per-agent inboxes, a live agent registry and resilience patterns on Redis.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module, what in (
        ("worker", worker, "run an AgentWorker until SIGTERM or SIGINT"),
        ("doctor", doctor, "find what processes of TTA's first version left behind, and mend it"),
    ):
        each = commands.add_parser(name, help=what)
        module.add_arguments(each)
        each.set_defaults(run=module.run)
    values = parser.parse_args(argv)
    code: int = values.run(values)
    return code

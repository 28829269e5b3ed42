"""The words of `tta-adopt imports`: what changed and what is left, for a person and for a program."""

import json
from collections.abc import Sequence

from tta_agent_coordination.adopt import findings
from tta_agent_coordination.adopt.findings import Finding
from tta_agent_coordination.adopt.imports.plan import Plan

__all__ = ["as_json", "as_text"]


def as_text(plan: Plan, found: Sequence[Finding], written: Sequence[str]) -> str:
    """A line a finding, and one line of figures."""
    split = sum(each.split for each in plan.statements)
    change = (
        f"{len(written)} of {len(plan.new)} files written" if written else f"{len(plan.new)} files to write"
    )
    return findings.as_text(found) + (
        f"{plan.files} files read, {change}: {len(plan.modules)} modules re-exported, "
        f"{len(plan.statements)} statements rewritten, {split} of them split; {len(found)} findings\n"
    )


def as_json(plan: Plan, found: Sequence[Finding], written: Sequence[str]) -> str:
    """The same as one JSON object."""
    rows = [
        {"rule": each.rule, "file": each.file, "line": each.line, "what": each.what, "remedy": each.remedy}
        for each in found
    ]
    said = {
        "files": plan.files,
        "changes": sorted(plan.new),
        "written": sorted(written),
        "modules": sorted(plan.modules),
        "statements": len(plan.statements),
        "split": sum(each.split for each in plan.statements),
        "findings": rows,
    }
    return json.dumps(said, indent=2) + "\n"

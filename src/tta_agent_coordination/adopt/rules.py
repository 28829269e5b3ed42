"""Every rule of `tta-adopt workspace` but the lock's, in one list, and the run over all of them. Pure."""

from collections.abc import Callable, Iterator

from tta_agent_coordination.adopt import (
    building,
    imported,
    membership,
    pythons,
    requiring,
    sourcing,
    workflows,
)
from tta_agent_coordination.adopt.findings import Finding
from tta_agent_coordination.adopt.tree import Workspace

__all__ = ["RULES", "Rule", "check"]

type Rule = Callable[[Workspace], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    membership.members,
    membership.folders,
    membership.nested,
    membership.names,
    membership.versions,
    membership.licences,
    building.built,
    sourcing.sources,
    sourcing.without,
    requiring.constraints,
    requiring.extras,
    requiring.requirements,
    requiring.groups,
    pythons.declared,
    pythons.agree,
    pythons.targets,
    pythons.classifiers,
    workflows.version_files,
    workflows.workflows,
    workflows.images,
    imported.undeclared,
)
"""Every pure rule; each docstring names the ids it reports."""


def check(workspace: Workspace) -> list[Finding]:
    """What the reading and all pure rules found, by file, line and rule."""
    found = [*workspace.unread, *(finding for rule in RULES for finding in rule(workspace))]
    return sorted(found, key=lambda each: (each.file, each.line, each.rule, each.what))

"""The rule on the lock: it is there, and uv finds that it agrees."""

from collections.abc import Iterator

from tta_agent_coordination.adopt.findings import Finding
from tta_agent_coordination.adopt.running import Run
from tta_agent_coordination.adopt.tree import Workspace

__all__ = ["locked"]


def locked(workspace: Workspace, run: Run) -> Iterator[Finding]:
    """`lock.missing`, `lock.current`: `uv.lock` exists and `uv lock --check` agrees."""
    if workspace.top is None:
        return
    if "uv.lock" not in workspace.paths:
        yield Finding(
            rule="lock.missing",
            file="uv.lock",
            what="does not exist",
            remedy="run `uv lock` and commit the file",
        )
        return
    ended = run(["uv", "lock", "--check"], cwd=workspace.root)
    if ended.code:
        yield Finding(
            rule="lock.current",
            file="uv.lock",
            what=f"`uv lock --check` ended with {ended.code}: {ended.reason}",
            remedy="run `uv lock` and commit the file; see that uv can be started and reach its index",
        )

"""The command `tta-adopt`: arguments in, lines and an exit code out.

Exit codes: 0 nothing found, 1 findings or a failed verdict, 2 usage.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tta_agent_coordination.adopt import running

__all__ = ["main"]


def main(argv: Sequence[str] | None = None, run: running.Run = running.run) -> int:
    """Run the command.

    Args:
        argv: The arguments without the program's name; None takes the process's.
        run: What starts other programs.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="tta-adopt", description="Move a workspace over to tta-agent-coordination."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    workspace = commands.add_parser("workspace", help="check a workspace's packaging, and mend it")
    workspace.add_argument("path", type=Path, help="the folder with the workspace's pyproject.toml")
    workspace.add_argument("--format", choices=["text", "json"], help="how findings are printed")
    what = workspace.add_mutually_exclusive_group()
    what.add_argument("--fix", action="store_true", help="change what is mechanical, and print the diff")
    what.add_argument("--validate", action="store_true", help="lock, sync, test and check a scratch copy")
    dependency = commands.add_parser("dependency", help="require this package, and say where it comes from")
    dependency.add_argument("path", type=Path, help="the folder with the project's pyproject.toml")
    dependency.add_argument(
        "--from", dest="origin", choices=["git", "pypi"], required=True, help="its source"
    )
    dependency.add_argument("--rev", help="the commit or tag to take, with --from git")
    imports = commands.add_parser("imports", help="take from this package what moved out of the tree")
    imports.add_argument("path", type=Path, help="the folder of the tree")
    how = imports.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--shim", action="store_true", help="turn v0's modules into re-exports; no consumer changes"
    )
    how.add_argument("--rewrite", action="store_true", help="the same, and rewrite the imports themselves")
    imports.add_argument(
        "--apply", action="store_true", help="write the files; without it the diff is printed"
    )
    status = commands.add_parser("status", help="say what is left to do")
    status.add_argument("path", type=Path, help="the folder of the tree")
    for command in (imports, status):
        command.add_argument("--format", choices=["text", "json"], help="how it is printed")
    asked = parser.parse_args(argv)
    if asked.command == "dependency" and (asked.origin == "git") != bool(asked.rev):
        parser.error("--rev COMMIT goes with --from git, and only with it")
    if not asked.path.is_dir():
        sys.stderr.write(f"{asked.path} is no folder; name the one with the workspace's pyproject.toml\n")
        return 2
    try:
        import libcst  # noqa: F401, PLC0415 # pyright: ignore[reportUnusedImport] - an extra
        import packaging  # noqa: F401, PLC0415 # pyright: ignore[reportUnusedImport] - an extra
        import tomlkit  # noqa: F401, PLC0415 # pyright: ignore[reportUnusedImport] - an extra
    except ImportError:
        sys.stderr.write(
            "tta-adopt needs the extra `adopt`: pip install 'tta-agent-coordination[adopt]', "
            "or '.[adopt]' in a checkout\n"
        )
        return 2
    if asked.command == "dependency":
        return _depend(asked.path, asked.rev)
    if asked.command == "imports":
        return _imports(asked.path, rewriting=asked.rewrite, writing=asked.apply, json=asked.format == "json")
    if asked.command == "status":
        return _status(asked.path, json=asked.format == "json")
    if asked.validate:
        return _validate(asked.path, run)
    return _check(asked.path, run, fix=asked.fix, json=asked.format == "json")


def _check(root: Path, run: running.Run, *, fix: bool, json: bool) -> int:
    from tta_agent_coordination.adopt import findings, fixes, lock, rules, tree  # noqa: PLC0415 - an extra's

    workspace = tree.read_workspace(root)
    found = rules.check(workspace)
    unwritten: list[findings.Finding] = []
    if fix:
        new = fixes.changed(workspace.texts, found)
        for path, text in [*new.items()]:
            # A link may lead out of the workspace, where nothing is ours.
            if not (root / path).resolve().is_relative_to(root.resolve()):
                del new[path]
                continue
            try:
                _write(root / path, text)
            except OSError as error:
                unwritten.append(findings.unwritten(path, error))
                del new[path]
        (sys.stderr if json else sys.stdout).write(fixes.diff(workspace.texts, new))
        # A change may be another rule's business: the second look says what is really left.
        workspace = tree.read_workspace(root)
        found = rules.check(workspace)
    found += [*unwritten, *lock.locked(workspace, run)]
    if json:
        sys.stdout.write(findings.as_json(found, files=len(workspace.paths), rules=len(rules.RULES) + 1))
    else:
        sys.stdout.write(findings.as_text(found))
        mendable = sum(each.change is not None for each in found)
        sys.stdout.write(
            f"{len(found)} {'finding' if len(found) == 1 else 'findings'} in {len(workspace.paths)} files, "
            f"{mendable} of them `--fix` can mend\n"
        )
    return 1 if found else 0


def _write(path: Path, text: str) -> None:
    """Replace a file's text in one step, its permissions kept."""
    target = path.resolve()
    fresh = target.with_name(f".{target.name}.tta-adopt")
    try:
        fresh.write_bytes(text.encode())
        fresh.chmod(target.stat().st_mode)
        fresh.replace(target)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _depend(root: Path, rev: str | None) -> int:
    """Take the package from a commit; from PyPI without one."""
    from tta_agent_coordination.adopt import dependency, findings, fixes, tree  # noqa: PLC0415 - an extra's

    workspace = tree.read_workspace(root)
    top = workspace.top
    if top is None:
        sys.stderr.write(
            f"{root}: there is no pyproject.toml that can be read; name the folder that holds the project's\n"
        )
        return 1
    try:
        new = dependency.taken_from_git(top.text, rev) if rev else dependency.taken_from_pypi(top.text)
    except ValueError as error:
        sys.stderr.write(f"{root}: {error}\n")
        return 1
    if new != top.text:
        try:
            _write(root / top.file, new)
        except OSError as error:
            sys.stderr.write(findings.as_text([findings.unwritten(top.file, error)]))
            return 1
        sys.stdout.write(fixes.diff({top.file: top.text}, {top.file: new}))
    sys.stdout.writelines(f"{line}\n" for line in dependency.leftovers(workspace.paths))
    sys.stdout.write(
        f"{dependency.NAME} comes from {f'git at {rev}' if rev else 'PyPI'}; now run `uv lock`\n"
    )
    return 0


def _imports(root: Path, *, rewriting: bool, writing: bool, json: bool) -> int:
    from tta_agent_coordination.adopt import findings, fixes, tree  # noqa: PLC0415 - an extra's
    from tta_agent_coordination.adopt.imports import plan, report  # noqa: PLC0415 - an extra's

    planned = plan.make(tree.read_workspace(root), rewriting=rewriting)
    found = [*(planned.findings if writing else planned.as_before())]
    written: list[str] = []
    for path, text in planned.new.items() if writing else ():
        try:
            _write(root / path, text)
            written.append(path)
        except OSError as error:
            found.append(findings.unwritten(path, error))
    (sys.stderr if json else sys.stdout).write(fixes.diff(planned.old, planned.new))
    say = report.as_json if json else report.as_text
    sys.stdout.write(say(planned, found, written))
    return 1 if found or len(written) != len(planned.new) else 0


def _status(root: Path, *, json: bool) -> int:
    from tta_agent_coordination.adopt import status, tree  # noqa: PLC0415 - an extra's

    seen = status.look(tree.read_workspace(root))
    sys.stdout.write(status.as_json(seen) if json else status.as_text(seen))
    return 1 if seen.open else 0


def _validate(root: Path, run: running.Run) -> int:
    from tta_agent_coordination.adopt import validate  # noqa: PLC0415 - an extra's

    code = 0
    for verdict in validate.validate(root, run):
        sys.stdout.write(f"{verdict}\n")
        sys.stdout.flush()
        if not verdict.passed:
            code = 1
    return code

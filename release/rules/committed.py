"""What no committed file says: a path of a developer's machine, or the address of a package index.

Both make a text true on one machine or against one server only. Indexes are named once, by the tools' own
constants, in `release/indexes.py`.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from release.indexes import INDEXES
from release.model import Problem
from release.runner import LocalRunner, Runner

__all__ = ["check", "hosts", "problems"]

_NOBODY = r"(?!(?:somebody|someone|you|user)\b)"
"""Names that stand for anybody in an example."""
_MACHINE = re.compile(
    rf"(?<![\w.}}>-])(?:/(?:home|Users)/{_NOBODY}[\w.-]+|/root)/"  # a person's folder on Linux or macOS
    rf"|\b[A-Za-z]:\\{{1,2}}Users\\{{1,2}}{_NOBODY}\w"  # and on Windows
)


def hosts() -> list[str]:
    """Every host name of the public indexes, the longest first."""
    names = {host for index in INDEXES.values() for host in index.hosts}
    return sorted(names, key=lambda name: (-len(name), name))


def problems(file: str, text: str, *, private: Sequence[str], registries: Iterable[str]) -> list[Problem]:
    """What is wrong with one file's text.

    Args:
        file: Its path in the repository.
        text: What it says.
        private: Folders of this machine that no file may name, besides everybody's home.
        registries: Host names that no file may name.
    """
    machine = re.compile(
        "|".join([_MACHINE.pattern, *(rf"(?<![\w.]){re.escape(path)}(?![\w-])" for path in private)])
    )
    registry = re.compile(
        "|".join(rf"(?<![\w-]){re.escape(host)}(?![\w-])" for host in registries), re.IGNORECASE
    )
    found: list[Problem] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if match := machine.search(line):
            found.append(
                Problem(
                    rule="committed.machine-path",
                    where=f"{file}:{number}",
                    what=f"names a folder of one machine: {match[0]}",
                    remedy="name it from the repository's root, or take it from the environment",
                )
            )
        if match := registry.search(line):
            found.append(
                Problem(
                    rule="committed.registry",
                    where=f"{file}:{number}",
                    what=f"names a package index: {match[0]}",
                    remedy="take the address from release/indexes.py; in a text, say PyPI or TestPyPI",
                )
            )
    return found


def check(root: Path, runner: Runner | None = None) -> list[Problem]:
    """Read every file that git knows below `root`; what is not text is passed over."""
    listed = (runner or LocalRunner())(["git", "ls-files", "-z"], cwd=root)
    if not listed.ok:
        return [
            Problem(
                rule="committed.listed",
                where=str(root),
                what=f"git does not list its files: {listed.tail(3)}",
                remedy="run this in a checkout of the repository",
            )
        ]
    private = [str(path) for path in (root.resolve(), Path.home()) if len(path.parts) > 2]
    found: list[Problem] = []
    for name in listed.stdout.split("\0"):
        path = root / name
        if not name or not path.is_file():
            continue  # a file that is deleted and not yet committed
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += problems(name, text, private=private, registries=hosts())
    return found

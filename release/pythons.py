"""The Pythons this project supports and those that are on this machine.

Standard library only: the noxfile imports it before any environment exists.
It never installs or downloads an interpreter.
"""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["SUPPORTED", "absent", "find", "found"]

SUPPORTED = ("3.12", "3.13", "3.14", "3.15")
"""The whole matrix, oldest first; `requires-python` and the classifiers agree with it."""

_ASK = (
    "import sys; print('%d.%d' % sys.version_info[:2]);"
    "print(getattr(sys, '_base_executable', sys.executable))"
)
_ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def find(version: str) -> str | None:
    """The absolute path of an interpreter of `version` ("3.12"), or None.

    Asked from the repository's root: version managers answer by the `.python-version` there, and their
    launchers fail in other folders. The path returned is the interpreter's own, so it works everywhere.
    """
    if version == ".".join(map(str, sys.version_info[:2])):
        own = getattr(sys, "_base_executable", sys.executable)  # the interpreter behind a virtual environment
        return str(Path(own).resolve())
    launcher = ["py", f"-{version}"] if os.name == "nt" else [f"python{version}"]
    program = shutil.which(launcher[0])
    if program is None:
        return None
    shims = Path(program).parent
    if shims.name == "shims" and (shims.parent / "versions").is_dir():
        # pyenv: its launcher takes half a second to answer; what it would start stands beside it.
        here = [*(shims.parent / "versions").glob(f"{version}.*/bin/{launcher[0]}")]
        return str(max(here, key=_patch)) if here else None
    asked = subprocess.run(
        [program, *launcher[1:], "-c", _ASK], cwd=_ROOT, capture_output=True, encoding="utf-8", check=False
    )
    answer = asked.stdout.splitlines()
    return answer[1] if asked.returncode == 0 and answer[:1] == [version] else None


def _patch(program: Path) -> tuple[int, str]:
    """Order pyenv's `3.12.9/bin/python3.12` before `3.12.10/bin/python3.12`."""
    name = program.parent.parent.name
    return len(name), name


def found() -> dict[str, str]:
    """Every supported version that is here, oldest first, with its interpreter's absolute path."""
    return {version: path for version in SUPPORTED if (path := find(version)) is not None}


def absent() -> list[str]:
    """Every supported version that is not here."""
    return [version for version in SUPPORTED if find(version) is None]

"""Runs inside a clean environment and reports what is really there; needs the standard library only.

Started as `python -I smoke_probe.py DISTRIBUTION REPORT`: imports every module of the distribution (one that
cannot be imported ends it with a traceback) and writes a JSON file. It judges nothing: what runs beside the
candidate is not trusted to judge it.
"""

import hashlib
import importlib
import importlib.metadata
import json
import pkgutil
import sys
from pathlib import Path

__all__ = ["modules_of", "report"]


def modules_of(package: str) -> list[str]:
    """Every module of a package by dotted name, itself first; `__main__` modules are programs, left out."""
    walked = pkgutil.walk_packages(importlib.import_module(package).__path__, prefix=f"{package}.")
    return [package, *(module.name for module in walked if not module.name.endswith(".__main__"))]


def report(distribution: str) -> dict[str, object]:
    """Everything the other side needs to judge this environment."""
    installed = importlib.metadata.distribution(distribution)
    files = [path for path in installed.files or [] if path.suffix != ".pyc"]
    packages = {path.parts[0] for path in files if path.name == "__init__.py" and len(path.parts) == 2}
    modules = [name for package in sorted(packages) for name in modules_of(package)]
    return {
        "version": installed.version,
        "modules": {name: str(importlib.import_module(name).__file__) for name in modules},
        "files": {
            path.as_posix(): hashlib.sha256(Path(str(path.locate())).read_bytes()).hexdigest()
            for path in files
        },
        "scripts": sorted(point.name for point in installed.entry_points if point.group == "console_scripts"),
        "distributions": sorted(each.name for each in importlib.metadata.distributions()),
    }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(report(sys.argv[1])), encoding="utf-8")

"""The wheel a gate looks at, and its installation into the environment that the gate runs in."""

import sys
from pathlib import Path

from release.context import Context
from release.ledger import Ledger
from release.model import Problem, Refused
from release.rules.archives import digest

__all__ = ["candidate", "install"]


def candidate(context: Context, ledger: Ledger | None, scratch: Path) -> tuple[Path, str]:
    """The wheel to look at and where it is from: the ledger's, or one built from the tree into `scratch`.

    Raises:
        Refused: when the ledger's wheel is missing or changed, or the tree does not build.
    """
    if ledger is not None:
        wheel = next(artifact for artifact in ledger.opening.artifacts if artifact.name.endswith(".whl"))
        path = context.dist / wheel.name
        if not path.is_file() or digest(path) != wheel.sha256:
            raise Refused(
                Problem(
                    rule="candidate.is-the-ledgers",
                    where=f"dist/{wheel.name}",
                    what="is missing or does not have the digest the ledger opened with",
                    remedy="run `nox -s build`: it compares and says what differs",
                )
            )
        return path, "the ledger's wheel"
    words = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(scratch),
        str(context.root),
    ]
    built = context.runner(words, cwd=context.root)
    if not built.ok:
        raise Refused(
            Problem(
                rule="candidate.builds",
                where="pyproject.toml",
                what=f"no wheel could be built from the tree:\n{built.tail()}",
                remedy="mend what the build backend names, then run the session again",
            )
        )
    return next(scratch.glob("*.whl")), "a wheel built from the tree"


def install(context: Context, wheel: Path) -> None:
    """Put the wheel into this stage's own environment, in place of whatever candidate was there before.

    Raises:
        Refused: when it does not install.
    """
    words = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--reinstall"]
    installed = context.runner([*words, f"--python={sys.executable}", str(wheel)], cwd=context.root)
    if not installed.ok:
        raise Refused(
            Problem(
                rule="candidate.installs",
                where=wheel.name,
                what=f"could not be installed:\n{installed.tail()}",
                remedy="run `nox -s build` and mend what it names",
            )
        )

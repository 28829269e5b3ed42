"""The `audit` stage: known vulnerabilities of all that is locked, licences of what users install, the SBOM.

It asks the advisory service every time and takes no earlier answer: an audit is as good as its day. A service
that does not answer is a failure, whatever the tool's exit code says.
"""

import json
import sys
import tempfile
import tomllib
from importlib.metadata import distributions, version
from pathlib import Path

from packaging.utils import canonicalize_name

from release import sbom
from release.binding import bound_or_none
from release.context import Context
from release.locks import RUNTIME
from release.model import Checked, Kind, Problem, Refused, Report
from release.rules import audit as rules

__all__ = ["licences", "run", "write_sbom"]

TIMEOUT_S = 300.0
"""Longest wait for the advisory service, seconds."""


def run(stage: str, context: Context) -> Report:
    """Audit every lock; refuse with all findings."""
    del stage
    folder = context.root / "release" / "locks"
    book = rules.rulebook_of(tomllib.loads((context.root / rules.DATA).read_text(encoding="utf-8")))
    locks = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}
    wanted = sorted({one for text in locks.values() for one in rules.locked(text)})
    console = context.console
    console.print(f"  asking for advisories on {len(wanted)} locked packages")
    problems, audited = rules.advisory_problems(_ask(context, wanted), wanted, book.ignored)
    console.print("  reading the licences of what users install")
    found = licences(context, book)
    problems += rules.licence_problems(found, book)
    if problems:
        raise Refused(*problems)
    written = write_sbom(context)
    return Report(
        kind=Kind.DONE,
        sentence=f"{len(wanted)} packages {audited}, no known vulnerability; {len(found)} licences allowed",
        checked=[
            Checked(what="locks", found=", ".join(locks)),
            Checked(what="licences", found=", ".join(sorted({each for each in found.values() if each}))),
            Checked(what="advisories ignored", found=", ".join(book.ignored) or "none"),
            Checked(what="bill of materials", found=str(written.relative_to(context.root))),
        ],
        figures={"packages": len(wanted), "licences": len(found)},
        tools={"cyclonedx-python-lib": version("cyclonedx-python-lib")},
    )


def _ask(context: Context, wanted: list[rules.Locked]) -> str:
    """What pip-audit prints about the packages, each pinned once."""
    with tempfile.TemporaryDirectory() as scratch:
        pins = Path(scratch) / "pins.txt"
        pins.write_bytes("".join(f"{one.name}=={one.version}\n" for one in wanted).encode())
        words = [sys.executable, "-m", "pip_audit", "--requirement", str(pins), "--no-deps", "--disable-pip"]
        words += ["--format", "json", "--progress-spinner", "off"]
        asked = context.runner(words, cwd=Path(scratch), timeout_s=TIMEOUT_S)
        return asked.stdout or asked.tail()


def licences(context: Context, book: rules.Rulebook) -> dict[str, str | None]:
    """The SPDX expression of each package of the runtime lock that applies here, from its own metadata.

    Raises:
        Refused: The lock cannot be installed.
    """
    lock = context.root / "release" / "locks" / f"{RUNTIME}.txt"
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "uv", "pip", "install", "--quiet", f"--target={folder}"]
        words += [f"--python={sys.executable}", "--require-hashes", "--no-deps", "--only-binary=:all:"]
        installed = context.runner([*words, "--requirement", str(lock)], cwd=context.root)
        if not installed.ok:
            raise Refused(
                Problem(
                    rule="audit.installs",
                    where=lock.name,
                    what=f"could not be installed:\n{installed.tail(5)}",
                    remedy="see whether the index is reachable; `nox -s lock` renews a lock that is stale",
                )
            )
        found: dict[str, str | None] = {}
        for distribution in distributions(path=[folder]):
            metadata = json.loads(json.dumps(distribution.metadata.json))
            name = canonicalize_name(metadata["name"])
            expression, _ = rules.licence_of(
                metadata.get("license_expression"), metadata.get("classifier", ()), book.stated.get(name)
            )
            found[name] = expression
        return found


def write_sbom(context: Context) -> Path:
    """Write the bill of materials to `report/`, with the digests of the ledger's files where there is one."""
    ledger = bound_or_none(context)
    target = context.root / "report" / sbom.FILE
    target.parent.mkdir(exist_ok=True)
    text = sbom.of_checkout(context, () if ledger is None else ledger.opening.artifacts)
    target.write_bytes(text.encode())
    return target

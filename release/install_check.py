"""One installation of the candidate into an empty environment, and the proof that it is right and works.

Owns the legs of a smoke (which artefact, which installer, which Python) and what is done in each. Where the
candidate comes from is decided by the stage.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from packaging.utils import canonicalize_name
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from release import environments, smoke_probe
from release.environments import Environment, Tool
from release.model import Artifact, Problem, Refused
from release.rules.archives import Archive, digest_of
from release.runner import Finished, Runner

__all__ = ["Candidate", "Leg", "Proof", "check", "legs", "proof_problems"]

_EXAMPLE_S = 120.0
"""Seconds one example or command may take."""

_TESTS_S = 600.0
"""Seconds the shipped tests may take."""

_LESS = "not slow and not network"
"""The shipped tests that a smoke runs; those that wait by nature ran against this wheel in `test`."""

_WRITTEN_BY_INSTALLERS = frozenset(
    {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json"}
)
"""Files in an installed `.dist-info` that are not the wheel's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One installation: what is installed, by whom, with which Python."""

    kind: str
    """`wheel` or `sdist`."""
    tool: Tool
    python: str
    """Version, for example 3.12."""
    interpreter: str
    """Absolute path."""
    shipped_tests: bool = False

    @property
    def name(self) -> str:
        """For the reader."""
        return f"{self.kind} by {self.tool.value} on Python {self.python}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is installed and what is known about it before."""

    project: str
    """Normalised."""
    version: str
    wheel: Artifact
    sdist: Artifact
    source: str | Path
    """An index's simple API, or a folder with both files."""
    contents: Archive
    """The wheel's members: what must be installed, whichever file it was installed from."""
    shipped: Path
    """A folder with the sdist's examples, tests and pyproject.toml, and no source."""
    runtime_lock: Path
    test_lock: Path
    wheels: Path | None
    """See `environments.install_locked`."""


class Proof(BaseModel):
    """What `smoke_probe` reports from inside the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: str
    modules: dict[str, str]
    files: dict[str, Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]]
    scripts: list[str]
    distributions: list[str]


def legs(found: Mapping[str, str], *, fast: bool, shipped_tests: bool) -> list[Leg]:
    """The installations of one smoke: both artefacts by both installers, on the oldest and newest Python.

    Args:
        found: Supported version -> interpreter, oldest first; not empty.
        fast: Half of them.
        shipped_tests: Run the shipped tests, in one of them.
    """
    oldest, newest = next(iter(found.items())), list(found.items())[-1]

    def leg(kind: str, tool: Tool, python: tuple[str, str], *, tests: bool = False) -> Leg:
        return Leg(kind=kind, tool=tool, python=python[0], interpreter=python[1], shipped_tests=tests)

    short = [leg("sdist", Tool.UV, oldest, tests=shipped_tests), leg("wheel", Tool.PIP, newest)]
    return short if fast else [*short, leg("sdist", Tool.PIP, newest), leg("wheel", Tool.UV, oldest)]


def check(runner: Runner, leg: Leg, candidate: Candidate, folder: Path) -> str:
    """Install and use the candidate once; returns what was proved, for the reader.

    1. A new environment, an empty working directory, a home of its own.
    2. The hash-locked dependencies, then the candidate alone, by its digest.
    3. What is there is complete, is the wheel's bytes, and comes from that environment.
    4. It works: commands, examples, in one leg the shipped tests.

    Args:
        runner: Starts everything.
        leg: Which installation.
        candidate: What to install.
        folder: A folder of its own, not there yet.

    Raises:
        Refused: with what failed, naming the leg.
    """
    home, empty = folder / "home", folder / "empty"
    home.mkdir(parents=True)
    empty.mkdir()
    environment = environments.create(runner, leg.interpreter, folder / "env", home=home)
    environments.install_locked(
        runner, environment, candidate.runtime_lock, tool=leg.tool, home=home, wheels=candidate.wheels
    )
    artifact = candidate.wheel if leg.kind == "wheel" else candidate.sdist
    installed = environments.install_candidate(
        runner,
        environment,
        artifact,
        requirement=f"{candidate.project}=={candidate.version}",
        source=candidate.source,
        tool=leg.tool,
        home=home,
    )
    _must(
        installed,
        leg,
        "installs",
        artifact.name,
        "look at what the installer says; the digest is the ledger's",
    )
    complete = environments.check(runner, environment, tool=leg.tool, home=home)
    _must(
        complete, leg, "complete", "pip check", "mend the dependencies in pyproject.toml, then `nox -s lock`"
    )
    proof = _probed(runner, leg, candidate, environment, folder)
    problems = proof_problems(proof, candidate, leg, environment.folder)
    if problems:
        raise Refused(*problems)
    run = _user_of(runner, environment, home, empty)
    for script in proof.scripts:
        _must(run([str(environment.scripts / script), "--help"], _EXAMPLE_S), leg, "command", script, _FIX)
    examples = sorted((candidate.shipped / "examples").glob("*.py"))
    for example in examples:
        done = run([str(environment.python), str(example)], _EXAMPLE_S)
        _must(done, leg, "example", f"examples/{example.name}", _FIX)
    said = f"{len(proof.modules)} modules, {len(proof.scripts)} commands, {len(examples)} examples"
    if leg.shipped_tests:
        said += f", {_shipped_tests(runner, leg, candidate, environment, home)}"
    return said


_FOREIGN = "the installed files are not the ledger's: find out where they came from before anything else"
_NO_INIT = "give each of its folders an __init__.py, commit, and build again"
_FIX = "mend it and commit; then build again, since the bytes change"


def _must(done: Finished, leg: Leg, rule: str, where: str, remedy: str) -> None:
    """Refuse with what a program said when it failed."""
    if not done.ok:
        raise Refused(
            Problem(
                rule=f"smoke.{rule}",
                where=f"{leg.name}: {where}",
                what=f"failed with exit code {done.code}:\n{done.tail()}",
                remedy=remedy,
            )
        )


def _probed(runner: Runner, leg: Leg, candidate: Candidate, environment: Environment, folder: Path) -> Proof:
    """Import everything, in the environment, and read what the probe wrote."""
    report = folder / "proof.json"
    words = [environment.python, "-I", smoke_probe.__file__, candidate.project, report]
    done = runner(
        words, cwd=folder / "empty", env=environments.scrubbed(folder / "home"), timeout_s=_EXAMPLE_S
    )
    _must(done, leg, "imports", "every module", _FIX)
    try:
        return Proof.model_validate_json(report.read_bytes())
    except (OSError, ValidationError) as error:
        problem = Problem(
            rule="smoke.imports",
            where=f"{leg.name}: every module",
            what=f"left no report: {error}",
            remedy="look for a module that ends the interpreter when it is imported",
        )
        raise Refused(problem) from error


def proof_problems(proof: Proof, candidate: Candidate, leg: Leg, environment: Path) -> list[Problem]:
    """Where what is installed is not exactly the ledger's wheel, or comes from anywhere else.

    Args:
        proof: What the probe found.
        candidate: What should be there.
        leg: For the reader.
        environment: The environment's folder.
    """

    def problem(rule: str, where: str, what: str, remedy: str = _FOREIGN) -> Problem:
        return Problem(rule=f"smoke.{rule}", where=f"{leg.name}: {where}", what=what, remedy=remedy)

    problems: list[Problem] = []
    if proof.version != candidate.version:
        problems.append(problem("version", candidate.project, f"is {proof.version}, not {candidate.version}"))
    inside = environment.resolve()
    problems += [
        problem("from-there", module, f"was imported from {file}, outside the environment")
        for module, file in sorted(proof.modules.items())
        if not Path(file).resolve().is_relative_to(inside)
    ]
    info = f"{candidate.project.replace('-', '_')}-{candidate.version}.dist-info"
    wanted = {
        member.name: digest_of(member.data)
        for member in candidate.contents.members
        if member.name != f"{info}/RECORD"
    }
    scripts = {f"{name}{end}" for name in proof.scripts for end in ("", ".exe")}
    for name in sorted(wanted.keys() | proof.files.keys()):
        if name not in wanted:
            above, _, last = name.rpartition("/")
            if (above == info and last in _WRITTEN_BY_INSTALLERS) or (
                above.startswith("../") and last in scripts
            ):
                continue
            problems.append(problem("files", name, "is installed but not in the ledger's wheel"))
        elif name not in proof.files:
            problems.append(problem("files", name, "is in the ledger's wheel but not installed"))
        elif proof.files[name] != wanted[name]:
            problems.append(problem("files", name, "is not the same bytes as in the ledger's wheel"))
    missing = _modules(candidate.contents) - proof.modules.keys()
    problems += [
        problem("every-module", name, "is in the wheel, but no walk through the package finds it", _NO_INIT)
        for name in sorted(missing)
    ]
    if canonicalize_name(candidate.project) not in map(canonicalize_name, proof.distributions):
        problems.append(problem("version", candidate.project, "is not listed as installed"))
    return problems


def _modules(wheel: Archive) -> set[str]:
    """Dotted names of the wheel's modules, programs (`__main__`) left out."""
    names = {
        member.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for member in wheel.members
        if member.name.endswith(".py")
    }
    return {name for name in names if not name.endswith(".__main__")}


def _user_of(
    runner: Runner, environment: Environment, home: Path, empty: Path
) -> Callable[[Sequence[str], float], Finished]:
    """Run things as somebody would who has activated the environment."""
    env = environments.scrubbed(home)
    env["PATH"] = os.pathsep.join([str(environment.scripts), env["PATH"]])
    env["VIRTUAL_ENV"] = str(environment.folder)

    def run(words: Sequence[str], timeout_s: float) -> Finished:
        return runner(words, cwd=empty, env=env, timeout_s=timeout_s)

    return run


def _shipped_tests(
    runner: Runner, leg: Leg, candidate: Candidate, environment: Environment, home: Path
) -> str:
    """Run the tests of the sdist against what is installed; the test tools come last, from their own lock."""
    environments.install_locked(
        runner, environment, candidate.test_lock, tool=leg.tool, home=home, wheels=candidate.wheels
    )
    pytest = [environment.python, "-I", "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
    words = [*pytest, "-m", _LESS, "tests/library"]
    done = runner(words, cwd=candidate.shipped, env=environments.scrubbed(home), timeout_s=_TESTS_S)
    _must(done, leg, "shipped-tests", "tests/library", _FIX)
    return f"shipped tests: {done.stdout.strip().splitlines()[-1]}"

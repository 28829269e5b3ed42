"""A small stand-in for each third-party action a workflow uses, for exactly the pinned commit.

act takes them in place of the repositories (`--local-repository owner/name@sha=folder`). A stand-in does what
the workflow asks of the action and refuses what it does not know, so that it never passes for more.
"""

import json
import shlex
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from release.model import Problem
from release.rehearsal.hosted import artefacts
from release.rules.pins import FILE, Pin
from release.rules.workflow_model import Composite, Step, Workflow

__all__ = ["KNOWN", "Tools", "install", "problems", "used"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _StandIn:
    """One action: its inputs with the action's own defaults, and the shell that takes its place."""

    inputs: Mapping[str, str]
    script: str
    """Inputs are in the environment; `@NAME@` is replaced by a quoted word of this machine."""
    output: str = ""


_CHECKOUT = """\
if [ "$FETCH_DEPTH $PERSIST_CREDENTIALS" != "0 false" ]; then
  echo "::error::this stand-in knows fetch-depth 0 without persisted credentials alone"; exit 1
fi
git init --quiet .
git remote add origin @ORIGIN@
git fetch --quiet --prune origin '+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*'
git checkout --quiet --force "$GITHUB_REF"
"""

_SETUP_PYTHON = """\
for version in $PYTHON_VERSION; do
  case " "@FOUND@" " in
    *" $version "*) ;;
    *) echo "::error::Python $version is not on this machine"; exit 1 ;;
  esac
done
echo @PROGRAMS@ >> "$GITHUB_PATH"
"""

_ARTEFACTS = "@PYTHON@ -I @ARTEFACTS@ @STORE@ "

KNOWN: Mapping[str, _StandIn] = {
    "actions/checkout": _StandIn(
        inputs={"fetch-depth": "1", "persist-credentials": "true"}, script=_CHECKOUT
    ),
    "actions/setup-python": _StandIn(inputs={"python-version": ""}, script=_SETUP_PYTHON),
    "actions/upload-artifact": _StandIn(
        inputs={
            "name": "artifact",
            "path": "",
            "if-no-files-found": "warn",
            "retention-days": "",
            "include-hidden-files": "false",
        },
        script=f"{_ARTEFACTS}upload\n",
        output="artifact-id",
    ),
    "actions/download-artifact": _StandIn(
        inputs={"artifact-ids": "", "path": ".", "merge-multiple": "false"},
        script=f"{_ARTEFACTS}download\n",
    ),
}
"""Every action that can be stood in for."""

_VARIABLES = {
    "fetch-depth": "FETCH_DEPTH",
    "persist-credentials": "PERSIST_CREDENTIALS",
    "python-version": "PYTHON_VERSION",
    "name": "ARTIFACT_NAME",
    "path": "ARTIFACT_PATH",
    "if-no-files-found": "ARTIFACT_IF_NO_FILES_FOUND",
    "include-hidden-files": "ARTIFACT_INCLUDE_HIDDEN_FILES",
    "artifact-ids": "ARTIFACT_IDS",
    "merge-multiple": "ARTIFACT_MERGE_MULTIPLE",
}
"""Input -> the variable its script reads; an input without one (retention-days) changes nothing here."""

_SUDO = """\
#!/bin/sh
case "$*" in
  "apt-get -qq update"|"apt-get -qq install --yes --no-install-recommends redis-server")
    echo "stand-in for sudo: nothing is installed, the tests use the server that is here" ;;
  *) echo "stand-in for sudo: refuses $*" >&2; exit 1 ;;
esac
"""

_PYTHON = """\
#!/bin/sh
if [ "${{1-}} ${{2-}}" = "-m nox" ]; then
  shift 2
  exec {nox} -R "$@"
fi
exec {python} "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the stand-ins lead to."""

    origin: Path
    """The repository that is checked out."""
    store: Path
    """Where artefacts are kept."""
    pythons: Collection[str]
    nox: Sequence[str]
    """How nox is started: with the environments that are warm."""


def used(workflow: Workflow, composites: Mapping[str, Composite]) -> list[tuple[str, Step]]:
    """Where each `uses:` of another repository's action stands, in the workflow and in its own actions."""
    steps = [(workflow.file, step) for job in workflow.jobs.values() for step in job.steps]
    own = {step.uses for _, step in steps if step.uses.startswith("$/")}
    for folder, composite in composites.items():
        if f"$/{folder}" in own:
            steps += [(composite.file, step) for step in composite.steps]
    return [(file, step) for file, step in steps if step.uses and not step.uses.startswith("$/")]


def problems(uses: Iterable[tuple[str, Step]], pins: Mapping[str, Pin]) -> list[Problem]:
    """Every action, commit or input that nothing here stands in for."""
    found: list[Problem] = []
    for file, step in uses:
        where = f"{file}:{step.line}"
        action, _, commit = step.uses.partition("@")
        known, pin = KNOWN.get(action), pins.get(action)
        if known is None:
            what = f"{action} has no stand-in, and a rehearsal runs nothing that it would have to fetch"
            found.append(_problem("stand-in", where, what, "write one"))
        elif pin is None or commit != pin.sha:
            what = f"{step.uses} is not the commit of {FILE}, which the stand-in is for"
            remedy = "use the pinned commit, or read what the action changed and follow it"
            found.append(_problem("pinned", where, what, remedy))
        elif unknown := sorted(set(step.settings) - set(known.inputs)):
            what = f"the stand-in for {action} does not know {', '.join(unknown)}"
            found.append(_problem("input", where, what, "teach it what the action does with them"))
    return found


def install(folder: Path, tools: Tools, pins: Mapping[str, Pin]) -> list[str]:
    """Write every stand-in that is pinned below the new folder `folder`; returns act's words for them."""
    programs = folder / "programs"
    programs.mkdir(parents=True)
    python = shlex.quote(sys.executable)
    _program(programs / "python", _PYTHON.format(nox=shlex.join(tools.nox), python=python))
    _program(programs / "sudo", _SUDO)
    words = {
        "ORIGIN": str(tools.origin),
        "FOUND": " ".join(tools.pythons),
        "PROGRAMS": str(programs),
        "PYTHON": sys.executable,
        "ARTEFACTS": str(Path(artefacts.__file__).resolve()),
        "STORE": str(tools.store),
    }
    told: list[str] = []
    for action in sorted(set(KNOWN) & set(pins)):
        place = folder / action
        place.mkdir(parents=True)
        # JSON is YAML too, and needs nobody to think about quoting.
        (place / "action.yml").write_bytes(json.dumps(_action(action, KNOWN[action], words)).encode())
        told += ["--local-repository", f"{action}@{pins[action].sha}={place}"]
    return told


def _action(action: str, known: _StandIn, words: Mapping[str, str]) -> dict[str, object]:
    script = known.script
    for name, word in words.items():
        script = script.replace(f"@{name}@", shlex.quote(word))
    env = {_VARIABLES[name]: f"${{{{ inputs.{name} }}}}" for name in known.inputs if name in _VARIABLES}
    step = {"id": "it", "shell": "bash", "env": env, "run": script}
    outputs = {known.output: {"value": f"${{{{ steps.it.outputs.{known.output} }}}}"}} if known.output else {}
    return {
        "name": f"stand-in for {action}",
        "description": "Takes its place in a rehearsal.",
        "inputs": {name: {"description": name, "default": default} for name, default in known.inputs.items()},
        "outputs": outputs,
        "runs": {"using": "composite", "steps": [step]},
    }


def _program(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
    path.chmod(0o755)


def _problem(rule: str, where: str, what: str, remedy: str) -> Problem:
    remedy = f"{remedy} in release/rehearsal/hosted/standins.py, or rehearse without --act"
    return Problem(rule=f"hosted.{rule}", where=where, what=what, remedy=remedy)

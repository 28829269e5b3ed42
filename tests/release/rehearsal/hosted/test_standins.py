"""The stand-ins: one for each action that a release uses, and each refuses what it does not know."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from release.rehearsal.hosted.standins import KNOWN, Tools, install, problems, used
from release.rules import pins
from release.rules.pins import Pin
from release.rules.workflow_model import read_workflow
from tests.release.repo_support import Repo
from tests.release.workflow_support import FOLDER, ROOT, composites, edit, set_up_text, text_of

RELEASE = text_of("release.yml")
PINS, _ = pins.read((ROOT / pins.FILE).read_text(encoding="utf-8"))


def judged(text: str = RELEASE, set_up: str | None = None, pinned: Mapping[str, Pin] = PINS) -> list[Any]:
    workflow = read_workflow(f"{FOLDER}/release.yml", text)
    return problems(used(workflow, composites(set_up)), pinned)


def test_every_action_of_a_release_has_a_stand_in() -> None:
    """Those of the workflow, and those of the composite action that every job uses."""
    uses = used(read_workflow(f"{FOLDER}/release.yml", RELEASE), composites())
    assert {step.uses.partition("@")[0] for _, step in uses} == set(KNOWN)
    assert {file for file, _ in uses} == {f"{FOLDER}/release.yml", ".github/actions/setup/action.yml"}
    assert judged() == []


def test_actions_of_a_composite_that_nothing_uses_are_nobodys_business() -> None:
    """Only what would run is looked at."""
    text = RELEASE.replace("$/.github/actions/setup", "$/.github/actions/other")
    spoiled = set_up_text().replace("actions/setup-python@", "somebody/else@")
    assert judged(text, spoiled) == []


def test_a_new_action_is_refused_until_it_has_a_stand_in() -> None:
    """It would be fetched, or something else would run in its place."""
    sha = PINS["actions/setup-python"].sha
    found = judged(set_up=edit(set_up_text(), f"actions/setup-python@{sha}", f"astral-sh/setup-uv@{sha}"))
    assert [each.rule for each in found] == ["hosted.stand-in"]
    assert "astral-sh/setup-uv has no stand-in" in found[0].what
    assert found[0].where.startswith(".github/actions/setup/action.yml:")
    assert "write one in release/rehearsal/hosted/standins.py" in found[0].remedy


def test_an_action_inside_a_repository_is_another_action() -> None:
    """`actions/checkout/sub@sha` is not actions/checkout."""
    sha = PINS["actions/checkout"].sha
    found = judged(edit(RELEASE, f"actions/checkout@{sha}", f"actions/checkout/sub@{sha}"))
    assert [each.rule for each in found] == ["hosted.stand-in"]


def test_another_commit_is_refused() -> None:
    """A stand-in is for what was read, at the commit at which it was read."""
    found = judged(edit(RELEASE, PINS["actions/checkout"].sha, "0" * 40, job="pypi"))
    assert [each.rule for each in found] == ["hosted.pinned"]
    assert "0" * 40 in found[0].what
    assert found[0].remedy == (
        "use the pinned commit, or read what the action changed and follow it "
        "in release/rehearsal/hosted/standins.py, or rehearse without --act"
    )
    twice = judged(edit(RELEASE, "actions/checkout@", "actions/checkout@v4@", job="pypi"))
    assert [each.rule for each in twice] == ["hosted.pinned"], "what stands behind the first @ is the commit"
    without = {name: pin for name, pin in PINS.items() if name != "actions/checkout"}
    assert {each.rule for each in judged(pinned=without)} == {"hosted.pinned"}


def test_an_input_that_a_stand_in_does_not_know_is_refused() -> None:
    """It would be ignored without a word."""
    found = judged(
        edit(
            RELEASE,
            "          path: dist\n",
            "          path: dist\n          overwrite: true\n          archive: false\n",
        )
    )
    assert [each.rule for each in found] == ["hosted.input"]
    assert found[0].what == "the stand-in for actions/upload-artifact does not know archive, overwrite"
    assert found[0].remedy.startswith("teach it what the action does with them in release/rehearsal/hosted/")


@pytest.fixture
def laid(tmp_path: Path) -> Path:
    """A folder with every stand-in."""
    tools = Tools(
        origin=tmp_path / "origin.git",
        store=tmp_path / "the store",
        pythons=["3.12", "3.13"],
        nox=[sys.executable, "-c", "import sys; print(sys.argv[1:])"],
    )
    words = install(tmp_path / "actions", tools, PINS)
    assert words == [
        word
        for name in sorted(KNOWN)
        for word in ("--local-repository", f"{name}@{PINS[name].sha}={tmp_path / 'actions' / name}")
    ]
    return tmp_path


def action(laid: Path, name: str) -> dict[str, Any]:
    return json.loads((laid / "actions" / name / "action.yml").read_text(encoding="utf-8"))


def step(laid: Path, name: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a stand-in's shell as a runner does, in the job's workspace."""
    (laid / "job").mkdir(exist_ok=True)
    (it,) = action(laid, name)["runs"]["steps"]
    assert set(env) <= {*it["env"], "GITHUB_REF", "GITHUB_PATH", "GITHUB_OUTPUT"}
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", it["run"]],
        cwd=laid / "job",
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_inputs_have_the_actions_own_defaults(laid: Path) -> None:
    """A workflow that leaves one out must meet what it would meet on GitHub."""
    inputs = {
        name: {key: value["default"] for key, value in action(laid, name)["inputs"].items()} for name in KNOWN
    }
    assert inputs["actions/checkout"] == {"fetch-depth": "1", "persist-credentials": "true"}
    assert inputs["actions/upload-artifact"]["include-hidden-files"] == "false"
    assert inputs["actions/upload-artifact"]["if-no-files-found"] == "warn"
    assert inputs["actions/download-artifact"]["merge-multiple"] == "false"
    (it,) = action(laid, "actions/upload-artifact")["runs"]["steps"]
    assert it["env"]["ARTIFACT_NAME"] == "${{ inputs.name }}"
    assert "retention-days" not in str(it["env"])
    outputs = action(laid, "actions/upload-artifact")["outputs"]
    assert outputs == {"artifact-id": {"value": "${{ steps.it.outputs.artifact-id }}"}}
    assert action(laid, "actions/checkout")["outputs"] == {}


def test_a_stand_in_is_an_action_that_runs_bash(laid: Path) -> None:
    """A runner that cannot read it would fail every job with a word about the stand-in alone."""
    told = action(laid, "actions/setup-python")
    (step,) = told["runs"]["steps"]
    assert step.pop("run").startswith("for version in $PYTHON_VERSION; do\n")
    assert step == {"id": "it", "shell": "bash", "env": {"PYTHON_VERSION": "${{ inputs.python-version }}"}}
    assert told == {
        "name": "stand-in for actions/setup-python",
        "description": "Takes its place in a rehearsal.",
        "inputs": {"python-version": {"description": "python-version", "default": ""}},
        "outputs": {},
        "runs": {"using": "composite", "steps": [step]},
    }


def test_programs_are_run_and_not_written_by_others(laid: Path) -> None:
    """A job starts them; nobody but their owner changes what they are."""
    modes = {path.name: path.stat().st_mode & 0o777 for path in (laid / "actions" / "programs").iterdir()}
    assert modes == {"python": 0o755, "sudo": 0o755}


def test_checkout_lays_the_tag_with_all_history(laid: Path, repo: Repo) -> None:
    """Annotated tags stay what they are: the build looks at the tag's own object."""
    repo.write("file", "tagged")
    repo.commit()
    repo.git("tag", "--annotate", "--message=v1", "v1")
    repo.write("file", "later")
    repo.commit()
    subprocess.run(["git", "clone", "-q", "--bare", repo.root, laid / "origin.git"], check=True)
    env = {"FETCH_DEPTH": "0", "PERSIST_CREDENTIALS": "false", "GITHUB_REF": "refs/tags/v1"}
    done = step(laid, "actions/checkout", env)
    assert done.returncode == 0, done.stderr
    assert (laid / "job" / "file").read_text() == "tagged"

    def git(*words: str) -> str:
        said = subprocess.run(
            ["git", *words], cwd=laid / "job", capture_output=True, text=True, check=True
        ).stdout
        return said.strip()

    assert git("cat-file", "-t", "v1") == "tag"
    assert git("rev-parse", "origin/main") == repo.git("rev-parse", "main")


def test_checkout_of_less_is_refused(laid: Path) -> None:
    """The stand-in does not do what a shallow or a credentialed checkout does."""
    env = {"FETCH_DEPTH": "1", "PERSIST_CREDENTIALS": "false", "GITHUB_REF": "refs/tags/v1"}
    done = step(laid, "actions/checkout", env)
    assert done.returncode == 1
    assert "::error::this stand-in knows fetch-depth 0" in done.stdout


def test_setup_python_offers_what_is_here(laid: Path) -> None:
    """Its programs come first on the job's PATH; another Python is an error."""
    env = {"PYTHON_VERSION": "3.12\n3.13\n", "GITHUB_PATH": str(laid / "path")}
    assert step(laid, "actions/setup-python", env).returncode == 0
    assert (laid / "path").read_text() == f"{laid / 'actions' / 'programs'}\n"
    done = step(laid, "actions/setup-python", env | {"PYTHON_VERSION": "3.1"})
    assert done.returncode == 1
    assert "Python 3.1 is not on this machine" in done.stdout


def test_artefacts_go_to_the_store(laid: Path) -> None:
    """The step's shell starts the store's own program with the folder of this run."""
    (laid / "job").mkdir()
    (laid / "job" / "file").write_text("x")
    env = {
        "ARTIFACT_NAME": "it",
        "ARTIFACT_PATH": "file",
        "ARTIFACT_IF_NO_FILES_FOUND": "error",
        "ARTIFACT_INCLUDE_HIDDEN_FILES": "false",
        "GITHUB_OUTPUT": str(laid / "output"),
    }
    assert step(laid, "actions/upload-artifact", env).returncode == 0
    assert (laid / "the store" / "1" / "files" / "file").read_text() == "x"
    env = {"ARTIFACT_IDS": "1", "ARTIFACT_PATH": "back", "ARTIFACT_MERGE_MULTIPLE": "false"}
    assert step(laid, "actions/download-artifact", env).returncode == 0
    assert (laid / "job" / "back" / "file").read_text() == "x"


def program(laid: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    path = laid / "actions" / "programs" / name
    return subprocess.run([path, *words], capture_output=True, text=True, check=False)


def test_python_starts_nox_with_the_warm_environments(laid: Path) -> None:
    """What a job installs itself on GitHub is there already; every other call is this Python's own."""
    assert program(laid, "python", "-m", "nox", "-s", "a b").stdout == "['-R', '-s', 'a b']\n"
    assert program(laid, "python", "-c", "print(5)").stdout == "5\n"


def test_sudo_installs_nothing_and_refuses_the_rest(laid: Path) -> None:
    """The set-up asks for redis-server; a rehearsal changes nothing on the machine."""
    assert program(laid, "sudo", "apt-get", "-qq", "update").returncode == 0
    words = set_up_text().partition("sudo apt-get -qq install ")[2].splitlines()[0].split()
    done = program(laid, "sudo", "apt-get", "-qq", "install", *words)
    assert done.returncode == 0
    assert "nothing is installed" in done.stdout
    refused = program(laid, "sudo", "rm", "-rf", "x")
    assert refused.returncode == 1
    assert "refuses rm -rf x" in refused.stderr

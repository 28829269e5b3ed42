"""The real act runs small workflows through the stand-ins; deselected unless asked for: `-m network`.

`.nox/rehearse` has act once `nox -s rehearse -- --act` has run; otherwise any `act` on PATH will do.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from release.rehearsal.hosted import namespace, run
from release.rehearsal.hosted.artefacts import held
from release.rehearsal.hosted.run import JobEnd, act_words, event, job_ends
from release.rehearsal.hosted.standins import Tools, install, problems, used
from release.rehearsal.hosted.transcript import Asked, transcribed
from release.rules import pins
from release.rules.workflow_model import Job, read_workflow
from tests.release.rehearsal.support import FACTS
from tests.release.repo_support import Repo
from tests.release.workflow_support import ROOT

pytestmark = pytest.mark.network

PINS, _ = pins.read((ROOT / pins.FILE).read_text(encoding="utf-8"))
CHECKOUT, SETUP, UPLOAD, DOWNLOAD = (
    f"actions/{name}@{PINS[f'actions/{name}'].sha}"
    for name in ("checkout", "setup-python", "upload-artifact", "download-artifact")
)
WORKFLOW = f"""\
name: release
on:
  push:
    tags: ["v*"]
permissions: {{}}
cache-mode: none
concurrency:
  group: release
  queue: max
jobs:
  build:
    runs-on: ubuntu-latest
    outputs:
      dist: ${{{{ steps.dist.outputs.artifact-id }}}}
      head: ${{{{ steps.session.outputs.head }}}}
    steps:
      - uses: {CHECKOUT}
        with:
          fetch-depth: 0
          persist-credentials: false
      - uses: $/.github/actions/setup
      - id: session
        run: |
          test "$(git cat-file -t "$GITHUB_REF_NAME")" = tag
          mkdir dist; cat file > dist/made; printf 'head=h-%s\\n' "$GITHUB_REF_NAME" >> "$GITHUB_OUTPUT"
      - id: dist
        uses: {UPLOAD}
        with:
          name: dist-${{{{ github.run_attempt }}}}
          path: dist
          if-no-files-found: error
  gate:
    needs: [build]
    runs-on: ubuntu-latest
    strategy:
      fail-fast: false
      matrix:
        part: ["1", "2", "3"]
    outputs:
      evidence-1: ${{{{ matrix.part == '1' && steps.evidence.outputs.artifact-id || '' }}}}
      evidence-2: ${{{{ matrix.part == '2' && steps.evidence.outputs.artifact-id || '' }}}}
      evidence-3: ${{{{ matrix.part == '3' && steps.evidence.outputs.artifact-id || '' }}}}
    steps:
      - uses: {DOWNLOAD}
        with:
          artifact-ids: ${{{{ needs.build.outputs.dist }}}}
          path: dist
      - env:
          HEAD: ${{{{ needs.build.outputs.head }}}}
          PART: ${{{{ matrix.part }}}}
        run: |
          test "$HEAD" = h-v1
          mkdir evidence; cat dist/made > "evidence/$PART"
      - run: |
          GATE
      - id: evidence
        uses: {UPLOAD}
        with:
          name: evidence-${{{{ matrix.part }}}}
          path: evidence
          if-no-files-found: error
  upload:
    needs: [build, gate]
    runs-on: ubuntu-latest
    permissions:
      id-token: write # asks for a token
    environment: pypi
    steps:
      - uses: {DOWNLOAD}
        with:
          artifact-ids: >-
            ${{{{ needs.gate.outputs.evidence-1 }}}},
            ${{{{ needs.gate.outputs.evidence-2 }}}},
            ${{{{ needs.gate.outputs.evidence-3 }}}}
          path: all
          merge-multiple: true
      - run: |
          env > all/environment
          for part in 1 2 3; do test "$(cat "all/$part")" = tagged; done
      - uses: {UPLOAD}
        with:
          name: last
          path: all
          if-no-files-found: error
"""
ACTION = f"""\
name: Set up
description: A Python.
runs:
  using: composite
  steps:
    - uses: {SETUP}
      with:
        python-version: "3.13"
    - shell: bash
      run: python -m nox -s one
"""
NOX = "import sys; print('nox was asked for', sys.argv[1:])"
ALONE = (
    "if timeout 5 bash -c ': < /dev/tcp/192.0.2.1/80'; then exit 1; fi; "
    'test "$(grep -c : /proc/net/dev)" = 1'
)
"""Passes where no address of another machine can be reached and loopback is the only interface."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a run of act left."""

    code: int
    output: str
    store: Path

    @property
    def ends(self) -> dict[str, JobEnd]:
        return {each.name.strip(): each for each in job_ends(self.output)}


def given(job: Job) -> dict[str, str]:
    return {"ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:1/?for={job.environment}"}


def acted(repo: Repo, folder: Path, gate: str, *, before: tuple[str, ...] = ()) -> Said:
    """Tag the repository and run the workflow for its tag with the real act."""
    repo.write(".github/actions/setup/action.yml", ACTION)
    repo.write("file", "tagged")
    repo.commit()
    repo.git("tag", "--annotate", "--message=v1", "v1")
    origin, store = folder / "origin.git", folder / "store"
    subprocess.run(["git", "clone", "-q", "--bare", repo.root, origin], check=True)
    store.mkdir()
    workflow = read_workflow("release.yml", WORKFLOW.replace("GATE", gate))
    assert problems(used(workflow, {}), PINS) == []
    asked = Asked(pythons=["3.13"], tested=["3.13"], sample_s=1, fast=False, grant=given, trust={})
    copy = transcribed(workflow, asked)
    nox = [sys.executable, "-c", NOX]
    stand_ins = install(
        folder / "actions", Tools(origin=origin, store=store, pythons=["3.13"], nox=nox), PINS
    )
    (folder / "release.yml").write_text(copy.text, encoding="utf-8")
    (folder / "event.json").write_text(event(FACTS, "v1", repo.git("rev-parse", "HEAD")), encoding="utf-8")
    words = act_words(
        run.program(ROOT) if shutil.which("act") else str(ROOT / ".nox" / "rehearse" / "bin" / "act"),
        workflow=folder / "release.yml",
        event_file=folder / "event.json",
        cache=folder / "cache",
        facts=FACTS,
        jobs=2,
        variables=copy.variables,
        stand_ins=stand_ins,
    )
    home = folder / "home"
    home.mkdir()
    done = subprocess.run(
        [*before, *words],
        cwd=repo.root,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Said(code=done.returncode, output=done.stdout + done.stderr, store=store)


def test_files_and_outputs_go_from_job_to_job(repo: Repo, tmp_path: Path) -> None:
    """By number, each leg's under its own output; the tag stays annotated, the grant reaches its job."""
    said = acted(repo, tmp_path, "true")
    assert said.code == 0, said.output
    assert "nox was asked for ['-R', '-s', 'one']" in said.output
    last = held(said.store, "last")
    assert last is not None
    assert {path.name for path in last.iterdir()} == {"1", "2", "3", "environment"}
    environment = (last / "environment").read_text(encoding="utf-8").splitlines()
    assert "ACTIONS_ID_TOKEN_REQUEST_URL=http://127.0.0.1:1/?for=pypi" in environment
    assert {"GITHUB_REF=refs/tags/v1", "GITHUB_REPOSITORY=Somebody/demo-project", "CI=true"} <= {*environment}
    assert said.output.count("ACTIONS_ID_TOKEN") == 0


def test_a_failing_gate_stops_what_needs_it(repo: Repo, tmp_path: Path) -> None:
    """Whatever the other legs found: the job with the token never starts."""
    said = acted(repo, tmp_path, 'test "${{ matrix.part }}" != 2')
    assert said.code == 1
    assert [name for name, each in said.ends.items() if each.broken] == ["gate-2"]
    assert not any(name.startswith("upload") for name in said.ends)
    assert held(said.store, "last") is None


def test_it_needs_no_network(repo: Repo, tmp_path: Path) -> None:
    """In a network namespace with loopback alone everything goes as it does outside of one."""
    before = ("unshare", "-rn", sys.executable, str(namespace.__file__))
    said = acted(repo, tmp_path, ALONE, before=before)
    assert said.code == 0, said.output
    assert held(said.store, "last") is not None

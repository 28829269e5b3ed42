"""A hosted runner in small: plays the jobs of release.yml in folders of their own.

It reads the committed workflow and does what it says: downloads by id, one session, uploads, outputs.
Sessions bind to their ledger and record as the real ones do; what they would check besides is left out.
"""

import copy
import datetime as dt
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from release import collect
from release.__main__ import parse
from release.binding import bound, record
from release.checkout import Checkout
from release.context import Context
from release.evidence import Opening
from release.gates.mutation.stage import scope_of
from release.ledger import Ledger
from release.model import Artifact, Kind, Mode, Report
from release.outputs import hand_on
from release.plan import RELEASE, unproved
from release.rules.archives import digest
from release.rules.workflow_model import Job, Step, Workflow
from tests.release.repo_support import NOW, Repo, context_on, run_git

TAG = "v0.1.0"
FILES = {"demo_project-0.1.0-py3-none-any.whl": b"wheel", "demo_project-0.1.0.tar.gz": b"sdist"}
_EXPRESSION = re.compile(r"\$\{\{ (.+?) \}\}")
_FROM = re.compile(r"(needs|steps)\.([\w-]+)\.outputs\.([\w-]+)")
_ONE_LEG = re.compile(r"matrix\.(\w+) == '([\d.]+)' && (\S+) \|\| ''")


@dataclass
class Hosted:
    """One workflow run: its artefacts by id, and what each job handed on."""

    workflow: Workflow
    repo: Repo
    folder: Path
    patch: pytest.MonkeyPatch
    run: str = "41"
    attempt: int = 1
    store: dict[str, Path] = field(default_factory=dict[str, Path])
    names: list[str] = field(default_factory=list[str])
    outputs: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def legs(self, job: Job) -> list[dict[str, str]]:
        """One set of matrix values a leg."""
        return [{axis: each} for axis, values in job.matrix.items() for each in values] or [{}]

    def order(self) -> list[str]:
        """Jobs as they can run one after the other."""
        return sorted(self.workflow.jobs, key=lambda name: len(self.workflow.ancestors(name)))

    def fork(self) -> "Hosted":
        """The same state, to go on from differently."""
        return replace(
            self, store=dict(self.store), names=list(self.names), outputs=copy.deepcopy(self.outputs)
        )

    def play(self, name: str) -> None:
        """Run every leg of a job; a later leg's outputs join the earlier ones'."""
        job = self.workflow.jobs[name]
        handed: dict[str, str] = {}
        for matrix in self.legs(job):
            handed |= {key: value for key, value in self._leg(job, matrix).items() if value}
        self.outputs[name] = handed

    def _leg(self, job: Job, matrix: dict[str, str]) -> dict[str, str]:
        root = self.folder / f"{job.id}-{len(self.names)}-{self.attempt}-{len(list(self.folder.iterdir()))}"
        run_git(
            self.folder, "clone", "--quiet", "--branch", TAG, str(self.repo.root / "../origin.git"), str(root)
        )
        steps: dict[str, dict[str, str]] = {}

        def value(text: str) -> str:
            return _EXPRESSION.sub(lambda found: self._value(found[1], job, matrix, steps), text)

        for step in job.steps:
            if step.uses.startswith("actions/download-artifact@"):
                self._download(root, value(step.settings["artifact-ids"]), step.settings["path"])
            elif step.uses.startswith("actions/upload-artifact@"):
                name = value(step.settings["name"])
                steps[step.id] = {"artifact-id": self._upload(root, name, value(step.settings["path"]))}
            elif step.run:
                steps[step.id] = self._session(root, step, value, matrix)
        return {name: value(text) for name, text in job.outputs.items()}

    def _value(self, text: str, job: Job, matrix: dict[str, str], steps: dict[str, dict[str, str]]) -> str:
        if one := _ONE_LEG.fullmatch(text):
            return self._value(one[3], job, matrix, steps) if matrix[one[1]] == one[2] else ""
        if found := _FROM.fullmatch(text):
            assert found[1] == "steps" or found[2] in job.needs
            return (self.outputs if found[1] == "needs" else steps)[found[2]].get(found[3], "")
        return {
            **{f"matrix.{axis}": value for axis, value in matrix.items()},
            "github.run_attempt": str(self.attempt),
            "github.token": "the job's own",
        }[text]

    def _download(self, root: Path, ids: str, path: str) -> None:
        for each in (one.strip() for one in ids.split(",")):
            if each:  # the action passes over what is empty, and so must collect notice
                shutil.copytree(self.store[each], root / path, dirs_exist_ok=True)

    def _upload(self, root: Path, name: str, paths: str) -> str:
        """As upload-artifact lays files out: one path's content at the top, several below their root."""
        assert name not in self.names, f"an artefact {name} is there already"
        ident, wanted = str(1000 + len(self.store)), [root / path for path in paths.split()]
        target = self.folder / f"artefact-{ident}-{self.attempt}-{len(list(self.folder.iterdir()))}"
        assert any(path.exists() for path in wanted), f"no files for {name}"
        for path in wanted:
            inside = target / path.relative_to(root) if len(wanted) > 1 else target
            if path.is_dir():
                shutil.copytree(path, inside, dirs_exist_ok=True)
            else:
                place = inside if len(wanted) > 1 else inside / path.name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)
        self.names.append(name)
        self.store[ident] = target
        return ident

    def _session(
        self, root: Path, step: Step, value: Callable[[str], str], matrix: dict[str, str]
    ) -> dict[str, str]:
        names = {name: value(text) for name, text in step.env.items()} | {"GITHUB_REF_NAME": TAG}
        line = re.sub(r"\$(\w+)", lambda found: names[found[1]], step.run)
        session, words = shlex.split(line)[4], shlex.split(line)[6:]
        stage, options = parse([session.partition("-")[0], *words])
        target = root.with_suffix(".output")
        target.touch()
        for name, text in (
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_RUN_ID", self.run),
            ("GITHUB_RUN_ATTEMPT", str(self.attempt)),
            ("GITHUB_OUTPUT", str(target)),
        ):
            self.patch.setenv(name, text)
        now = NOW + dt.timedelta(hours=self.attempt)
        play(stage, context_on(root, now=now, options=replace(options, leg=matrix.get("python"))))
        hand_on(root / "ledger")
        return dict(line.split("=", 1) for line in target.read_text(encoding="utf-8").splitlines())


def play(stage: str, context: Context) -> None:
    """What a stage does to the ledger."""
    if stage == "build":
        ledger = _open(context)
        record(context, ledger, stage, "all", _report())
    elif stage == "collect":
        collect.run(stage, context)
    elif stage == "announce":
        assert unproved(bound(context, mode=Mode.RELEASE), ("verify",)) == []
    else:
        ledger = bound(context, mode=Mode.RELEASE)
        if stage == "test":
            data = context.root / "report/coverage" / f".coverage.{context.options.leg}"
            data.parent.mkdir(parents=True)
            data.write_text("executed", encoding="utf-8")
        if stage == "coverage":
            found = sorted(path.name for path in (context.root / "report/coverage").iterdir())
            assert found == [f".coverage.{leg}" for leg in RELEASE["test"]]
        shard = scope_of(context.options).leg if context.options.shard else None
        record(
            context, ledger, stage, shard or context.options.index or context.options.leg or "all", _report()
        )


def _open(context: Context) -> Ledger:
    checkout = Checkout(context.root, context.runner)
    tag = checkout.tag_facts(context.options.tag or "")
    context.dist.mkdir()
    for name, content in FILES.items():
        (context.dist / name).write_bytes(content)
    artifacts = tuple(
        Artifact(name=path.name, size=path.stat().st_size, sha256=digest(path))
        for path in sorted(context.dist.iterdir())
    )
    opening: dict[str, Any] = {
        "mode": context.options.mode,
        "project": "demo",
        "version": "0.1.0",
        "tag": tag.name,
        "tag_object": tag.tag_object,
        "commit": checkout.head(),
        "tree": checkout.tree(),
        "epoch": checkout.epoch(),
        "locks": {"release/locks/build.txt": "f" * 64},
        "plan": RELEASE,
        "artifacts": artifacts,
    }
    return Ledger.create(context.ledger, Opening(**opening), at=context.now())


def _report() -> Report:
    return Report(kind=Kind.DONE, sentence="played")

"""The bill of materials: complete, reproducible, and about the very files of the release."""

import datetime as dt
import json
from pathlib import Path

from release import sbom
from release.model import Artifact
from release.project import Project
from release.rules.audit import Locked
from tests.release.gates.support import ScriptedRunner, make_context
from tests.release.repo_support import PYPROJECT

TIME = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)
LOCKED = [Locked(name="two", version="2.0"), Locked(name="one", version="1.0")]
FILES = [
    Artifact(name="demo.tar.gz", size=9, sha256="ab" * 32),
    Artifact(name="demo.whl", size=3, sha256="cd" * 32),
]


def project(folder: Path) -> Project:
    (folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    return Project.read(folder)


def test_bill_names_the_files_and_every_dependency(tmp_path: Path) -> None:
    """Who gets a file finds its digest, and everything that an installation brings along."""
    bill = json.loads(sbom.make(project(tmp_path), LOCKED, commit_time=TIME, artifacts=FILES))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert [component["purl"] for component in bill["components"]] == ["pkg:pypi/one@1.0", "pkg:pypi/two@2.0"]
    subject = bill["metadata"]["component"]
    assert (subject["name"], subject["version"]) == ("Demo.Project", "0.1.0")
    assert subject["type"] == "library"
    assert [(each["version"], each["type"]) for each in bill["components"]] == [
        ("1.0", "library"),
        ("2.0", "library"),
    ]
    assert subject["components"][0]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    depends = {each["ref"]: each.get("dependsOn", []) for each in bill["dependencies"]}
    assert depends["subject"] == ["one==1.0", "two==2.0"]


def test_bill_is_the_same_bytes_for_the_same_release(tmp_path: Path) -> None:
    """Its order, its serial number and its time follow from the release, not from the machine."""
    facts = project(tmp_path)
    once = sbom.make(facts, LOCKED, commit_time=TIME, artifacts=FILES)
    assert once == sbom.make(facts, reversed(LOCKED), commit_time=TIME, artifacts=reversed(FILES))
    assert "2026-11-25T12:00:00" in once
    other = sbom.make(facts, LOCKED[:1], commit_time=TIME, artifacts=FILES)
    assert json.loads(other)["serialNumber"] != json.loads(once)["serialNumber"]


def test_bill_of_a_checkout_is_of_its_runtime_lock_at_its_commits_time(tmp_path: Path) -> None:
    """Every platform's dependencies stand in it, so that it is the same wherever it is written."""
    project(tmp_path)
    locks = tmp_path / "release" / "locks"
    locks.mkdir(parents=True)
    locks.joinpath("runtime.txt").write_text(
        "everywhere==1.0 \\\n    --hash=sha256:aa\n"
        "elsewhere==2.0 ; sys_platform == 'no such platform' \\\n    --hash=sha256:bb\n",
        encoding="utf-8",
    )
    runner = ScriptedRunner(lambda _words, _env: (0, f"{int(TIME.timestamp())}\n"))
    context, _ = make_context(tmp_path, runner)
    assert sbom.of_checkout(context, FILES) == sbom.make(
        Project.read(tmp_path),
        [Locked(name="elsewhere", version="2.0"), Locked(name="everywhere", version="1.0")],
        commit_time=TIME,
        artifacts=FILES,
    )
    assert runner.folders == [tmp_path]

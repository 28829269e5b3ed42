"""The bill of materials: complete, reproducible, and about the very files of the release."""

import datetime as dt
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

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
    assert (subject["type"], subject["purl"]) == ("library", "pkg:pypi/demo-project@0.1.0")
    assert [(each["name"], each["version"], each["type"]) for each in bill["components"]] == [
        ("one", "1.0", "library"),
        ("two", "2.0", "library"),
    ]
    assert [(each["name"], each["type"]) for each in subject["components"]] == [
        ("demo.tar.gz", "file"),
        ("demo.whl", "file"),
    ]
    assert subject["components"][0]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    depends = {each["ref"]: each.get("dependsOn", []) for each in bill["dependencies"]}
    assert depends["subject"] == ["one==1.0", "two==2.0"]


def test_bill_is_the_same_bytes_for_the_same_release(tmp_path: Path) -> None:
    """Its order, its serial number and its time follow from the release, not from the machine."""
    facts = project(tmp_path)
    once = sbom.make(facts, LOCKED, commit_time=TIME, artifacts=FILES)
    assert once == sbom.make(facts, reversed(LOCKED), commit_time=TIME, artifacts=reversed(FILES))
    assert json.loads(once)["metadata"]["timestamp"] == "2026-11-25T12:00:00+00:00"
    assert once == json.dumps(json.loads(once), indent=2) + "\n", "a reviewer compares it line by line"


def test_each_release_has_a_serial_number_of_its_own(tmp_path: Path) -> None:
    """Whoever keeps several bills tells them apart by it: other files, another lock, another version."""
    facts = project(tmp_path)
    bills = [
        sbom.make(facts, LOCKED, commit_time=TIME, artifacts=FILES),
        sbom.make(facts, LOCKED[:1], commit_time=TIME, artifacts=FILES),
        sbom.make(facts, LOCKED, commit_time=TIME, artifacts=FILES[:1]),
        sbom.make(replace(facts, version=Version("0.1.1")), LOCKED, commit_time=TIME, artifacts=FILES),
        sbom.make(replace(facts, name="Other"), LOCKED, commit_time=TIME, artifacts=FILES),
    ]
    assert len({json.loads(bill)["serialNumber"] for bill in bills}) == len(bills)


def test_bill_of_a_checkout_is_of_its_runtime_lock_at_its_commits_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every platform's dependencies stand in it, so that it is the same wherever it is written."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
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

"""The audit stage: asks about every lock, reads the licences of what is installed, writes the bill."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from release import audit
from release.context import Options
from release.model import Kind, Refused
from release.rules.audit import rulebook_of
from tests.release.gates.support import ScriptedRunner, commit_all, make_context
from tests.release.repo_support import PYPROJECT


class Audited:
    """A checkout with one lock, and the tools' scripted answers."""

    def __init__(self, root: Path, *, vulnerable: bool = False, licence: str = "MIT") -> None:
        self.root = root
        self.licence = licence
        self.installs = True
        self.vulns = [{"id": "PYSEC-1"}] if vulnerable else []
        (root / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
        (root / "release" / "locks").mkdir(parents=True)
        lock = f"one==1.0 \\\n    --hash=sha256:{'a' * 64}\n"
        (root / "release" / "locks" / "runtime.txt").write_text(lock, encoding="utf-8")
        (root / "release" / "audit.toml").write_text('licences = ["MIT"]\n', encoding="utf-8")
        (root / ".gitignore").write_text("/report/\n", encoding="utf-8")
        commit_all(root)
        self.target = root
        self.runner = ScriptedRunner(self.answer)
        self.context, self.output = make_context(root, self.runner, Options())

    def answer(self, words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        del env
        if words[0] == "git":
            asked = subprocess.run(words, cwd=self.root, capture_output=True, text=True, check=False)
            return asked.returncode, asked.stdout
        if "pip_audit" in words:
            pins = Path(words[words.index("--requirement") + 1]).read_text(encoding="utf-8")
            name, _, version = pins.strip().partition("==")
            found = {"name": name, "version": version, "vulns": self.vulns}
            return 0, json.dumps({"dependencies": [found]})
        target = next(word for word in words if word.startswith("--target="))
        self.target = Path(target.removeprefix("--target="))
        info = self.target / "one-1.0.dist-info"
        info.mkdir()
        text = "Metadata-Version: 2.4\nName: One\nVersion: 1.0\n"
        text += f"License-Expression: {self.licence}\n" if self.licence else ""
        (info / "METADATA").write_text(text, encoding="utf-8")
        return (0, "") if self.installs else (1, "no route to the index")


def test_clean_audit_leaves_a_bill_of_materials(tmp_path: Path) -> None:
    """The reader sees how many packages were asked about, and where the bill is."""
    audited = Audited(tmp_path)
    report = audit.run("audit", audited.context)
    assert report.kind is Kind.DONE
    assert report.figures == {"packages": 1, "licences": 1}
    assert {each.what: each.found for each in report.checked} == {
        "locks": "runtime",
        "licences": "MIT",
        "advisories ignored": "none",
        "bill of materials": "report/sbom.cdx.json",
    }
    bill = json.loads((tmp_path / "report" / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert [component["name"] for component in bill["components"]] == ["one"]


def test_findings_of_both_kinds_are_shown_together(tmp_path: Path) -> None:
    """A vulnerability does not hide a licence."""
    audited = Audited(tmp_path, vulnerable=True, licence="GPL-3.0-only")
    with pytest.raises(Refused) as caught:
        audit.run("audit", audited.context)
    assert [problem.rule for problem in caught.value.problems] == [
        "audit.vulnerable",
        "audit.licence-allowed",
    ]
    assert not (tmp_path / "report").exists()


def test_lock_that_does_not_install_is_refused(tmp_path: Path) -> None:
    """Licences that could not be read are not taken for allowed ones."""
    audited = Audited(tmp_path)
    audited.installs = False
    with pytest.raises(Refused, match="no route to the index"):
        audit.run("audit", audited.context)


def test_licences_are_those_of_exactly_what_is_locked(tmp_path: Path) -> None:
    """Every file by its digest, nothing that the lock does not name, and no code of it is run."""
    audited = Audited(tmp_path)
    audit.run("audit", audited.context)
    [place] = [n for n, words in enumerate(audited.runner.asked) if "install" in words]
    words = audited.runner.asked[place]
    assert words[:5] == [sys.executable, "-m", "uv", "pip", "install"]
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:", f"--python={sys.executable}"} <= set(
        words
    )
    assert words[-2:] == ["--requirement", str(tmp_path / "release" / "locks" / "runtime.txt")]
    assert audited.runner.folders[place] == tmp_path
    assert not audited.target.exists(), "what was installed only to be read stays behind"


def test_a_licence_that_a_package_does_not_state_may_be_stated_for_it(tmp_path: Path) -> None:
    """By name in the rulebook, after a person has read the licence."""
    audited = Audited(tmp_path, licence="")
    with pytest.raises(Refused) as caught:
        audit.run("audit", audited.context)
    assert [problem.rule for problem in caught.value.problems] == ["audit.licence-known"]
    rulebook = tmp_path / "release" / "audit.toml"
    rulebook.write_text('licences = ["MIT"]\n[stated]\none = "MIT"\n', encoding="utf-8")
    assert audit.licences(audited.context, rulebook_of(tomllib.loads(rulebook.read_text("utf-8")))) == {
        "one": "MIT"
    }

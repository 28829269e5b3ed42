"""The audit stage: asks about every lock, reads the licences of what is installed, writes the bill."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from release import audit
from release.context import Options
from release.model import Kind, Refused
from release.rules.audit import rulebook_of
from release.runner import Finished
from tests.release.gates.support import ScriptedRunner, commit_all, make_context
from tests.release.ledger_support import SDIST, WHEEL, create
from tests.release.repo_support import PYPROJECT


class Audited:
    """A checkout with one lock, and the tools' scripted answers."""

    def __init__(self, root: Path, *, vulnerable: bool = False, licence: str = "MIT") -> None:
        self.root = root
        self.says = {"one": f"License-Expression: {licence}\n" if licence else ""}
        """Package -> what the metadata of its installation says of its licence."""
        self.installs = True
        self.pins = ""
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
            self.pins = Path(words[words.index("--requirement") + 1]).read_text(encoding="utf-8")
            pinned = [line.split("==") for line in self.pins.splitlines()]
            found = [{"name": name, "version": pin, "vulns": self.vulns} for name, pin in pinned]
            return 0, json.dumps({"dependencies": found})
        target = next(word for word in words if word.startswith("--target="))
        self.target = Path(target.removeprefix("--target="))
        for name, licence in self.says.items():
            info = self.target / f"{name}-1.0.dist-info"
            info.mkdir()
            text = f"Metadata-Version: 2.4\nName: {name.title()}\nVersion: 1.0\n{licence}"
            (info / "METADATA").write_text(text, encoding="utf-8")
        return (0, "") if self.installs else (1, "1\n2\n3\n4\n5\n6\nno route to the index\n")


def test_clean_audit_leaves_a_bill_of_materials(tmp_path: Path) -> None:
    """The reader sees how many packages were asked about, and where the bill is."""
    audited = Audited(tmp_path)
    report = audit.run("audit", audited.context)
    assert report.kind is Kind.DONE
    assert report.sentence == "1 packages audited, no known vulnerability; 1 licences allowed"
    assert report.figures == {"packages": 1, "licences": 1}
    assert report.tools == {"cyclonedx-python-lib": version("cyclonedx-python-lib")}
    assert {each.what: each.found for each in report.checked} == {
        "locks": "runtime",
        "licences": "MIT",
        "advisories ignored": "none",
        "bill of materials": "report/sbom.cdx.json",
    }
    bill = json.loads((tmp_path / "report" / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert [component["name"] for component in bill["components"]] == ["one"]


def test_advisories_are_asked_for_once_for_all_that_any_lock_names(tmp_path: Path) -> None:
    """Exactly the pinned versions; pip-audit resolves nothing, reads no settings and leaves nothing here."""
    audited = Audited(tmp_path)
    locks = tmp_path / "release" / "locks"
    (locks / "dev.txt").write_text("two==2.0 --hash=sha256:1\none==1.0 --hash=sha256:1\n", encoding="utf-8")
    report = audit.run("audit", audited.context)
    assert audited.pins == "one==1.0\ntwo==2.0\n"
    assert report.figures == {"packages": 2, "licences": 1}
    assert {each.what: each.found for each in report.checked}["locks"] == "dev, runtime"
    assert audited.output.getvalue().splitlines()[:2] == [
        "  asking for advisories on 2 locked packages",
        "  reading the licences of what users install",
    ]
    [place] = [n for n, words in enumerate(audited.runner.asked) if "pip_audit" in words]
    words = audited.runner.asked[place]
    assert words[:3] == [sys.executable, "-m", "pip_audit"]
    assert {"--no-deps", "--disable-pip"} <= set(words)
    assert words[words.index("--format") :] == ["--format", "json", "--progress-spinner", "off"]
    assert audited.runner.waits[place] == audit.TIMEOUT_S
    scratch = audited.runner.folders[place]
    assert tmp_path not in scratch.parents
    assert not scratch.exists()


def test_what_the_service_says_instead_of_an_answer_is_quoted(tmp_path: Path) -> None:
    """Silence of the service is no clean bill, and its words are on standard error."""
    audited = Audited(tmp_path)

    def answerless(argv: Sequence[str], **options: Any) -> Finished:  # noqa: ANN401 - handed on as they are
        if "pip_audit" in argv:
            return Finished(argv=argv, code=0, stdout="", stderr="no route to the service", took_ms=1)
        return audited.runner(argv, **options)

    with pytest.raises(Refused, match="it printed: no route to the service") as caught:
        audit.run("audit", replace(audited.context, runner=answerless))
    assert [problem.rule for problem in caught.value.problems] == ["audit.answered"]


def test_an_advisory_that_was_read_and_does_not_concern_is_named(tmp_path: Path) -> None:
    """Whoever reads the report sees what was left out."""
    audited = Audited(tmp_path, vulnerable=True)
    rulebook = 'licences = ["MIT"]\n[ignored]\nPYSEC-1 = "needs a shell"\nPYSEC-2 = "gone"\n'
    (tmp_path / "release" / "audit.toml").write_text(rulebook, encoding="utf-8")
    report = audit.run("audit", audited.context)
    assert {each.what: each.found for each in report.checked}["advisories ignored"] == "PYSEC-1, PYSEC-2"


def test_the_bill_has_the_digests_of_the_ledgers_files(tmp_path: Path) -> None:
    """Beside a ledger it says which files it is about; written again it says the same."""
    audited = Audited(tmp_path)
    head = audited.context.runner(["git", "rev-parse", "HEAD"], cwd=tmp_path).stdout.strip()
    create(tmp_path / "ledger", commit=head)
    (tmp_path / ".git" / "info" / "exclude").write_text("/ledger/\n", encoding="utf-8")
    bill = audit.write_sbom(audited.context).read_text(encoding="utf-8")
    assert WHEEL.sha256 in bill
    assert SDIST.sha256 in bill
    assert audit.write_sbom(audited.context).read_text(encoding="utf-8") == bill


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
    with pytest.raises(Refused) as caught:
        audit.run("audit", audited.context)
    assert caught.value.problems[0].what == "could not be installed:\n3\n4\n5\n6\nno route to the index"
    assert [(problem.rule, problem.where) for problem in caught.value.problems] == [
        ("audit.installs", "runtime.txt")
    ]


def test_licences_are_those_of_exactly_what_is_locked(tmp_path: Path) -> None:
    """Every file by its digest, nothing that the lock does not name, and no code of it is run."""
    audited = Audited(tmp_path)
    audit.run("audit", audited.context)
    [place] = [n for n, words in enumerate(audited.runner.asked) if "install" in words]
    words = audited.runner.asked[place]
    assert words[:5] == [sys.executable, "-m", "uv", "pip", "install"]
    own = {"--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:", f"--python={sys.executable}"}
    assert own <= set(words)
    assert words[-2:] == ["--requirement", str(tmp_path / "release" / "locks" / "runtime.txt")]
    assert audited.runner.folders[place] == tmp_path
    assert not audited.target.exists(), "what was installed only to be read stays behind"


def test_each_licence_is_named_once_whatever_metadata_says_it(tmp_path: Path) -> None:
    """A package without an expression may have a classifier that names one licence."""
    audited = Audited(tmp_path)
    classifier = "Classifier: License :: OSI Approved :: Apache Software License\n"
    audited.says |= {"two": classifier, "three": classifier}
    (tmp_path / "release" / "audit.toml").write_text('licences = ["MIT", "Apache-2.0"]\n', encoding="utf-8")
    report = audit.run("audit", audited.context)
    assert {each.what: each.found for each in report.checked}["licences"] == "Apache-2.0, MIT"
    assert report.figures == {"packages": 1, "licences": 3}


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

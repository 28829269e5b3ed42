"""The probe that runs inside a clean environment, run here on a package that is installed."""

import hashlib
import json
import runpy
import sys
from importlib.metadata import files, version
from pathlib import Path

import pytest

from release import smoke_probe
from release.install_check import Proof
from tests.release.build_support import exported

NAME = "iniconfig"


def test_everything_that_is_judged_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules with their files, digests of what is installed, and who else is there."""
    monkeypatch.setattr(sys, "argv", ["smoke_probe.py", NAME, str(tmp_path / "proof.json")])
    runpy.run_path(smoke_probe.__file__, run_name="__main__")
    proof = Proof.model_validate(json.loads((tmp_path / "proof.json").read_text(encoding="utf-8")))
    assert proof.version == version(NAME)
    assert {NAME, f"{NAME}.exceptions"} <= proof.modules.keys()
    assert Path(proof.modules[NAME]).name == "__init__.py"
    listed = {path.as_posix() for path in files(NAME) or [] if path.suffix != ".pyc"}
    assert proof.files.keys() == listed
    assert {NAME, "pytest"} <= set(proof.distributions)


def test_a_program_is_not_run_by_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`__main__` modules do their work when they are imported."""
    exported({"probed/__init__.py": "", "probed/part.py": "", "probed/__main__.py": "1 / 0"}, tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert smoke_probe.modules_of("probed") == ["probed", "probed.part"]


def test_only_what_lies_in_the_distribution_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file with the digest of its own bytes; what the interpreter wrote beside them is left out."""
    files = {
        "probed_own/__init__.py": "",
        "probed_own/part.py": "X = 1\n",
        "probed_own/inner/__init__.py": "",
        "probed_own/__pycache__/part.cpython-313.pyc": "",
        "probed_own-2.5.dist-info/METADATA": "Metadata-Version: 2.1\nName: probed-own\nVersion: 2.5\n",
        "probed_own-2.5.dist-info/entry_points.txt": (
            "[console_scripts]\nb = probed_own:b\na = probed_own:a\n[other]\nc = probed_own:c\n"
        ),
    }
    record = "probed_own-2.5.dist-info/RECORD"
    exported({**files, record: "".join(f"{name},,\n" for name in [*files, record])}, tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    found = smoke_probe.report("probed-own")
    kept = [name for name in [*files, record] if not name.endswith(".pyc")]
    assert found["version"] == "2.5"
    assert found["modules"] == {
        "probed_own": str(tmp_path / "probed_own" / "__init__.py"),
        "probed_own.inner": str(tmp_path / "probed_own" / "inner" / "__init__.py"),
        "probed_own.part": str(tmp_path / "probed_own" / "part.py"),
    }
    assert found["files"] == {
        name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in kept
    }
    assert found["scripts"] == ["a", "b"]
    assert found["distributions"] == sorted(found["distributions"])  # type: ignore[call-overload] # a list
    assert "probed-own" in found["distributions"]  # type: ignore[operator] # a list


def test_only_what_has_an_init_at_the_top_is_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that stands alone is not walked, and an `__init__.py` further down makes no package here."""
    files = {
        "probed_flat/__init__.py": "",
        "probed_deep/inner/__init__.py": "",
        "probed_alone.py": "",
        "__init__.py": "",
        "probed_two-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: probed-two\nVersion: 1.0\n",
    }
    record = "probed_two-1.0.dist-info/RECORD"
    exported({**files, record: "".join(f"{name},,\n" for name in [*files, record])}, tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert smoke_probe.report("probed-two")["modules"] == {
        "probed_flat": str(tmp_path / "probed_flat" / "__init__.py")
    }

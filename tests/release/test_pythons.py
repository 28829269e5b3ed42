"""The interpreters found are real, absolute and of the version asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from release import pythons
from release.rules.metadata import Declared


@pytest.fixture(autouse=True)
def _forget() -> None:
    pythons.find.cache_clear()


def test_find_names_the_interpreter_behind_this_one() -> None:
    """A stage that asks for its own Python must not get a virtual environment's copy."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = pythons.find(own)
    assert found is not None
    assert Path(found).is_absolute()
    asked = subprocess.run(
        [found, "-c", "import sys; print(sys.prefix == sys.base_prefix)"],
        capture_output=True,
        check=True,
    )
    assert asked.stdout.strip() == b"True"


def test_found_works_from_any_folder(tmp_path: Path) -> None:
    """A version manager's launcher answers only beside its version file; the paths must not need it."""
    for version, path in pythons.found().items():
        asked = subprocess.run([path, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert asked.stdout.startswith(f"Python {version}.")


def test_found_and_absent_are_the_whole_matrix() -> None:
    """A Python that is neither found nor named as absent would be left out in silence."""
    assert sorted([*pythons.found(), *pythons.absent()]) == sorted(pythons.SUPPORTED)


def test_the_matrix_is_what_the_package_promises() -> None:
    """A promised Python that no leg runs is a promise nobody checks; pip refuses one that is not promised."""
    declared = Declared.read((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    kind = "Programming Language :: Python :: 3."
    promised = {name.rpartition(" ")[2] for name in declared.classifiers if name.startswith(kind)}
    assert promised == {*pythons.SUPPORTED}
    oldest = int(pythons.SUPPORTED[0].partition(".")[2])
    admitted = [version for version in range(100) if declared.requires_python.contains(f"3.{version}.0")]
    assert admitted == [*range(oldest, 100)]


def test_find_takes_the_newest_patch_of_a_version_manager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3.9.9 sorts after 3.9.10 as text; the newer one must win."""
    shims = tmp_path / "shims"
    for folder in (shims, tmp_path / "versions/3.9.9/bin", tmp_path / "versions/3.9.10/bin"):
        folder.mkdir(parents=True)
        program = folder / "python3.9"
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(shims))
    assert pythons.find("3.9") == str(tmp_path / "versions/3.9.10/bin/python3.9")


def test_find_refuses_a_launcher_that_answers_for_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program named python3.9 that is something else must not run a leg called 3.9."""
    program = tmp_path / "python3.9"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    assert pythons.find("3.9") is None


def test_find_is_none_for_what_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absent Python is an answer, not an error."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pythons.find("3.9") is None

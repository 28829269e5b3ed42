"""The committed locks: complete, hashed, wheels that exist, and no address in them."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from release import locks

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "release" / "locks").glob("*.txt"))


def requirements(path: Path) -> list[tuple[Requirement, int]]:
    """Each requirement of a lock with its number of hashes."""
    joined = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split() for line in joined.splitlines() if line.strip()]
    found: list[tuple[Requirement, int]] = []
    for words in lines:
        hashes = [word for word in words if word.startswith("--hash=")]
        found.append((Requirement(" ".join(words[: len(words) - len(hashes)])), len(hashes)))
    return found


def test_every_group_has_a_lock_and_every_lock_a_group() -> None:
    """A group without a lock installs whatever the index serves that day."""
    wanted = {*locks.groups(ROOT), locks.RUNTIME} - {"backend"}
    assert {path.stem for path in LOCKS} == wanted


def test_every_requirement_is_one_version_with_hashes() -> None:
    """`--require-hashes` refuses anything else at install time; this says it at commit time."""
    for path in LOCKS:
        found = requirements(path)
        assert found, path.name
        for requirement, hashes in found:
            assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), f"{path.name}: {requirement}"
            assert hashes > 0, f"{path.name}: {requirement}"


def test_locks_hold_no_address_and_no_path() -> None:
    """A lock made behind a mirror must not tell where."""
    for path in LOCKS:
        text = path.read_text(encoding="utf-8")
        assert "://" not in text, path.name
        assert not re.search(r"(^|\s)/", text), path.name


def test_locks_agree_with_each_other() -> None:
    """What is tested must be what builds and publishes: one version of a tool in all locks."""
    seen: dict[str, str] = {}
    for path in LOCKS:
        for requirement, _ in requirements(path):
            version = str(requirement.specifier)
            assert seen.setdefault(requirement.name, version) == version, f"{path.name}: {requirement}"


def test_runtime_lock_holds_what_the_package_depends_on() -> None:
    """The clean-venv check installs the candidate with --no-deps behind exactly this lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {Requirement(text).name for text in project["dependencies"]} | {"hatchling", "fakeredis"}
    names = {requirement.name for requirement, _ in requirements(ROOT / "release" / "locks" / "runtime.txt")}
    assert wanted <= names

"""Environments that are really made, and installs into them by the installers that are locked."""

import sys
from pathlib import Path

import pytest

from release import environments
from release.environments import WHEELHOUSE, Environment, Tool
from release.model import Refused
from release.rules.archives import digest_of, measure
from release.runner import LocalRunner
from tests.release.build_support import built, rules

RUNNER = LocalRunner()
WHEEL_NAME = "tiny_demo-1.2.0-py3-none-any.whl"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with the tiny project's wheel and sdist."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, data in built().files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def empty(tmp_path: Path, home: Path) -> Environment:
    return environments.create(RUNNER, sys.executable, tmp_path / "env", home=home)


def installed(environment: Environment, home: Path) -> list[str]:
    code = "import importlib.metadata as m; print(*sorted(d.name for d in m.distributions()))"
    done = RUNNER([environment.python, "-I", "-c", code], cwd=home, env=environments.scrubbed(home))
    assert done.ok, done.tail()
    return done.stdout.split()


def test_a_new_environment_is_empty(empty: Environment, home: Path) -> None:
    """Not even pip is in it: everything found later was asked for."""
    assert installed(empty, home) == []


def test_an_interpreter_that_is_gone_is_refused(tmp_path: Path, home: Path) -> None:
    """The message names the interpreter and the package that is missing."""
    with pytest.raises(Refused) as caught:
        environments.create(RUNNER, str(tmp_path / "python3.99"), tmp_path / "env", home=home)
    assert rules(caught.value.problems) == ["environment.created"]


@pytest.mark.parametrize("tool", Tool)
def test_a_locked_set_with_another_hash_is_refused(
    tool: Tool, empty: Environment, home: Path, wheels: Path, tmp_path: Path
) -> None:
    """A wheel whose bytes are not the lock's is not installed, by either tool."""
    lock = tmp_path / "some.txt"
    lock.write_text(f"tiny-demo==1.2.0 --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    with pytest.raises(Refused) as caught:
        environments.install_locked(RUNNER, empty, lock, tool=tool, home=home, wheels=wheels)
    assert rules(caught.value.problems) == ["environment.locked-set"]
    assert caught.value.problems[0].where == "release/locks/some.txt"
    assert f"the folder {WHEELHOUSE} names" in caught.value.problems[0].what
    assert installed(empty, home) == []


def test_a_locked_set_is_installed_as_the_lock_lists_it(
    empty: Environment, home: Path, wheels: Path, tmp_path: Path
) -> None:
    """Exactly the lock's lines, offline from a folder, nothing resolved."""
    lock = tmp_path / "some.txt"
    lock.write_text(f"tiny-demo==1.2.0 --hash=sha256:{digest_of(built().wheel)}\n", encoding="utf-8")
    environments.install_locked(RUNNER, empty, lock, tool=Tool.UV, home=home, wheels=wheels)
    assert installed(empty, home) == ["tiny-demo"]


@pytest.mark.parametrize("tool", Tool)
def test_a_candidate_is_installed_by_its_digest(
    tool: Tool, empty: Environment, home: Path, wheels: Path
) -> None:
    """The file with the ledger's digest, although an sdist stands beside it."""
    wheel = measure(wheels / WHEEL_NAME)
    done = environments.install_candidate(
        RUNNER, empty, wheel, requirement="tiny-demo==1.2.0", source=wheels, tool=tool, home=home
    )
    assert done.ok, done.tail()
    assert installed(empty, home) == ["tiny-demo"]

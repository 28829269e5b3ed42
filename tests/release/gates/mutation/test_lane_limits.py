"""The plugin of mutation runs, by itself: whom it limits, and that it leaves out nothing without a reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from release.gates.mutation import lane

ROOT = Path(lane.__file__).parents[3]

LIMITED = """
import resource
import sys
from release.gates.mutation import lane

before = tuple(int(number) for number in sys.argv[1:])
if before:
    resource.setrlimit(resource.RLIMIT_AS, before)
lane.limit_memory()
print(*resource.getrlimit(resource.RLIMIT_AS))
"""


def limits(*before: int) -> list[int]:
    """What a process with these limits has once the plugin is configured: soft and hard, in bytes."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", LIMITED, *map(str, before)]
    return [int(word) for word in subprocess.check_output(words, env=env, text=True).split()]


def test_a_lower_limit_stays() -> None:
    """A machine that allows less is not asked for more."""
    lower = lane.MEMORY_LIMIT // 2
    assert limits(lower, lower) == [lower, lower]
    assert limits(lower, lane.MEMORY_LIMIT) == [lower, lane.MEMORY_LIMIT]


def test_a_higher_limit_is_brought_down() -> None:
    """The hard limit stays, so that a test may still set what it needs."""
    higher = lane.MEMORY_LIMIT * 2
    assert limits(higher, higher) == [lane.MEMORY_LIMIT, higher]


def test_where_there_are_no_limits_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no such module; the tests run without a limit there."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "resource", None)
    lane.limit_memory()


def test_where_no_test_needs_a_server_none_is_deselected(tmp_path: Path) -> None:
    """Most modules' tests run whole."""
    (tmp_path / "test_it.py").write_text("def test_alone():\n    pass\n", encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    words = ["-m", "pytest", "-q", "-p", lane.__name__, "-p", "no:cacheprovider", "."]
    ended = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert "1 passed" in ended.stdout, ended.stdout
    assert "deselected" not in ended.stdout


BETWEEN = """
def pytest_runtestloop(session):
    open(__file__).close()
"""

OPENING = """
import pytest

OPEN = "open(__file__).close()"

@pytest.mark.parametrize("name", ["release", "release.x", "tta_agent_coordination.y"])
def test_ours(name):
    with pytest.raises(EncodingWarning):
        exec(OPEN, {"__name__": name, "__file__": __file__})

@pytest.mark.parametrize("name", ["releasing", "tests.release.x", "pytest"])
def test_others(name):
    exec(OPEN, {"__name__": name, "__file__": __file__})
    open(__file__).close()
"""


def test_only_ours_must_name_an_encoding(tmp_path: Path) -> None:
    """A mutant that leaves it to the machine is noticed on every machine; others' code is as it is."""
    (tmp_path / "test_it.py").write_text(OPENING, encoding="utf-8")
    (tmp_path / "conftest.py").write_text(BETWEEN, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    words = [
        "-X",
        "warn_default_encoding",
        "-m",
        "pytest",
        "-q",
        "-p",
        lane.__name__,
        "-p",
        "no:cacheprovider",
    ]
    ended = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert "6 passed" in ended.stdout, ended.stdout

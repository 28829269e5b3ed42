"""The pytest plugin of mutation runs, in a pytest of its own."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import tests.library.conftest
import tests.release.conftest
from release.gates.mutation import lane

ROOT = Path(lane.__file__).parents[3]

CONFTEST = """
import pytest

@pytest.fixture
def server_binary():
    raise AssertionError("started a server")

@pytest.fixture
def private_server(server_binary):
    pass

@pytest.fixture
def redis_lane(request):
    assert request.param == "fakeredis"
"""

TESTS = """
import sys
import pytest

def test_alone(private_server):
    pass

@pytest.mark.parametrize("redis_lane", ["fakeredis", "real"], indirect=True)
def test_both(redis_lane):
    pass

@pytest.mark.parametrize("number", ["real"])
def test_really(number):
    pass

def test_memory():
    if sys.platform != "win32":
        import resource
        from release.gates.mutation.lane import MEMORY_LIMIT
        assert 0 < resource.getrlimit(resource.RLIMIT_AS)[0] <= MEMORY_LIMIT
"""


def test_no_test_needs_a_server_and_none_may_take_all_memory(tmp_path: Path) -> None:
    """A server for each of thousands of mutants takes hours; an endless list takes the machine."""
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_it.py").write_text(TESTS, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    words = ["-m", "pytest", "-q", "-p", "release.gates.mutation.lane", "-p", "no:cacheprovider", "."]
    ended = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert "3 passed, 2 deselected" in ended.stdout, ended.stdout


@pytest.mark.parametrize("conftest", [tests.library.conftest, tests.release.conftest])
def test_what_is_left_out_are_the_tests_of_ours_that_start_servers(conftest: ModuleType) -> None:
    """Left out by a name that no conftest has, they would start a server for each mutant."""
    assert callable(getattr(conftest, lane.SERVER_FIXTURE))

"""A worker's session: real tests, collected once, run by name in forks until one fails."""

import json
import subprocess
import sys
from pathlib import Path

from release.gates.mutation import driver
from release.gates.mutation.driver import Session

ROOT = Path(driver.__file__).parents[3]

JUDGED = """
import pathlib

import pytest


def say(word):
    with pathlib.Path("said").open("a") as said:
        print(word, file=said)


@pytest.fixture(scope="session", autouse=True)
def kept():
    yield
    say("torn down")


def test_passes():
    say("passes")


def test_fails():
    assert False


def test_interrupts():
    raise KeyboardInterrupt


def test_leaves_a_file_open():
    ring = [open(__file__)]
    ring.append(ring)
"""

PROGRAM = """
import json, os, pathlib, sys
sys.path.insert(0, sys.argv[2])
import pytest
from release.gates.mutation.driver import Session

said = pathlib.Path("said")
answers = []

def work():
    session.warm_up()
    for names in json.loads(sys.argv[1]):
        said.write_text("")
        worker = os.fork()
        if worker == 0:
            tests = [f"test_judged.py::test_{name}" for name in names]
            os._exit(session.run_tests(mutant_name="a", tests=tests))
        code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        failed = session.failed().removeprefix("test_judged.py::test_")
        answers.append([code, failed, said.read_text().splitlines()])

session = Session(work, pathlib.Path("failed"))
words = ["-q", "-p", "no:asyncio", "-p", "no:cacheprovider", "-c", "pytest.ini"]
assert pytest.main(words, plugins=[session]) == 0
print(json.dumps(answers))
"""


def test_worker_says_whether_a_test_failed(tmp_path: Path) -> None:
    """The first failure ends it; an interruption counts as one, and what the last test leaves behind."""
    (tmp_path / "test_judged.py").write_text(JUDGED, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    expected: dict[tuple[str, ...], tuple[int, str, list[str]]] = {
        ("passes",): (0, "", ["passes", "torn down"]),
        ("fails", "passes"): (1, "fails", ["torn down"]),
        ("passes", "fails"): (1, "fails", ["passes", "torn down"]),
        ("interrupts", "passes"): (1, "", []),
        ("leaves_a_file_open",): (1, "", ["torn down"]),
        ("passes", "passes"): (0, "", ["passes", "passes", "torn down"]),
    }
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(list(expected)), str(ROOT)],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    answers: list[list[object]] = json.loads(ended.stdout.splitlines()[-1])
    assert [tuple(answer) for answer in answers] == list(expected.values())


def test_failed_test_is_named_once(tmp_path: Path) -> None:
    """It says nothing of the next mutant."""
    session = Session(lambda: None, tmp_path / "failed")
    (tmp_path / "failed").write_text("t::one", encoding="utf-8")
    assert [session.failed(), session.failed()] == ["t::one", ""]

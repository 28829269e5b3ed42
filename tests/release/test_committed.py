"""No committed file is true on one machine or against one server only."""

import subprocess
from pathlib import Path

import pytest

from release.indexes import INDEXES, IndexName
from release.rules import committed
from tests.release.gates.support import ScriptedRunner
from tests.release.workflow_support import rules

HOSTS = committed.hosts()
HOME = "/".join(["", "home", "anna", ""])


def judge(text: str) -> list[str]:
    """The rule ids one text breaks."""
    found = committed.problems("some.md", text, private=["/data/checkout"], registries=HOSTS)
    return [problem.rule for problem in found]


@pytest.mark.parametrize(
    "text",
    [
        f"see {HOME}notes.txt",
        f'"{HOME}x"',
        f"PATH={HOME}bin",
        "/".join(["", "Users", "anna", "x"]),
        "/".join(["", "root", ".pyenv"]),
        "\\".join(["C:", "Users", "anna"]),
        "\\\\".join(["C:", "Users", "anna"]),
        "cd /data/checkout && ls",
        "/data/checkout/src",
    ],
)
def test_committed_refuses_a_folder_of_one_machine(text: str) -> None:
    """A person's home and this very checkout's folder are nowhere else."""
    assert judge(text) == ["committed.machine-path"]


@pytest.mark.parametrize(
    "text",
    [
        "/homepage/x/",
        "/home/somebody/x",
        r"C:\Users\you\x",
        "the /root of a tree",
        "docs/home/index/",
        "/data/checkouts",
        "$HOME/x",
        "~/x",
        "/usr/bin/env",
    ],
)
def test_committed_accepts_what_is_everywhere(text: str) -> None:
    """Neither a word that looks alike nor a path every machine has is refused."""
    assert judge(text) == []


@pytest.mark.parametrize("host", HOSTS)
def test_committed_refuses_an_address_of_an_index(host: str) -> None:
    """Addresses of indexes come from the tools' own constants, in one module."""
    assert judge(f"see https://{host}/simple/") == ["committed.registry"]
    assert judge(host.upper()) == ["committed.registry"]
    assert judge(f"https://mirror.{host}/") == ["committed.registry"]
    assert judge(f"{host}x {host}-y") == []


def test_committed_hosts_are_those_of_both_indexes() -> None:
    """A new host of an index is a new host here."""
    assert set(HOSTS) == {host for name in IndexName for host in INDEXES[name].hosts}
    assert len(HOSTS) >= 4
    found = committed.hosts()
    assert found == HOSTS
    assert found == sorted(sorted(found), key=len, reverse=True), "the longest that fits is what is named"


def test_committed_check_reads_what_git_knows(tmp_path: Path) -> None:
    """Committed texts are read; a binary, a deleted and an unknown file are not, and the line is named."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "known.md").write_text(f"a line\nsee {HOSTS[0]}\n", encoding="utf-8")
    (tmp_path / "zoo.md").write_text(f"ä, and {HOSTS[-1]}\n", encoding="utf-8")
    (tmp_path / "binary.png").write_bytes(b"\xff\xfe" + HOSTS[0].encode())
    (tmp_path / "gone.md").write_text(HOSTS[0], encoding="utf-8")
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    (tmp_path / "gone.md").unlink()
    (tmp_path / "unknown.md").write_text(HOSTS[0], encoding="utf-8")
    found = committed.check(tmp_path)
    assert [(problem.rule, problem.where) for problem in found] == [
        ("committed.registry", "known.md:2"),
        ("committed.registry", "zoo.md:1"),
    ]
    (tmp_path / "zoo.md").unlink()
    (tmp_path / "known.md").write_text(f"in {tmp_path}/x\n", encoding="utf-8")
    assert rules(committed.check(tmp_path)) == {"committed.machine-path"}


def test_committed_check_says_when_git_does_not_answer(tmp_path: Path) -> None:
    """Outside a checkout nothing was checked, and that is a finding."""
    assert rules(committed.check(tmp_path)) == {"committed.listed"}
    runner = ScriptedRunner(lambda _words, _env: (128, "one\ntwo\nthree\nfour\n"))
    (problem,) = committed.check(tmp_path, runner)
    assert problem.where == str(tmp_path)
    assert problem.what == "git does not list its files: two\nthree\nfour"
    assert runner.asked == [["git", "ls-files", "-z"]]
    assert runner.folders == [tmp_path]


@pytest.mark.parametrize(("home", "refused"), [("/a/b", True), ("/a", False), ("/", False)])
def test_committed_knows_whose_machine_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str, refused: bool
) -> None:
    """A home at the very top of a disk has a name that many paths begin with."""
    (tmp_path / "known.md").write_text(f"see {home}/x\n", encoding="utf-8")
    monkeypatch.setattr(Path, "home", lambda: Path(home))
    found = committed.check(tmp_path, ScriptedRunner(lambda _words, _env: (0, "known.md\0")))
    assert rules(found) == ({"committed.machine-path"} if refused else set())

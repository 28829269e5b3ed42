"""What every test of the release tools runs in, and the repository that many of them need."""

import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from release.drills import DRILL, FAULT, FAULTS, PLAYED, REFUSED_BY, STOPPED_BY, TAMPERING
from release.model import Checked, Kind, Problem, Report
from tests.library.support.servers import find_server_binary
from tests.release.repo_support import Repo, begin

collect_ignore = ["test_docs_shell.py", "test_runner_ending.py"] if os.name == "nt" else []
"""Windows has no shell, process groups or named pipes in the file system, which these tests are about."""

Drilled = Callable[[str, Collection[str]], None]
Repaired = Callable[[str, Collection[str], int], None]

_PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
_FOREIGN = ("ACTIONS_", "GITHUB_", "GIT_", "TTA_WHEELHOUSE", *_PROXIES)
"""What a workflow, a git hook or a rehearsal puts into the environment, and tests must not depend on."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, not skip, what needs a server program that is not here."""
    if find_server_binary() is None:
        left_out = [item for item in items if "server_binary" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def server_binary() -> str:
    """The redis-server to start; tests that reach this were collected because there is one."""
    binary = find_server_binary()
    assert binary is not None
    return binary


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests give the same result on a laptop, in a workflow, in a hook and in a rehearsal."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name == "CI":
            monkeypatch.delenv(name)


@pytest.fixture
def untraced_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests whose programs run nothing of ours (twine), or are killed before they could say what ran."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture(autouse=True)
def complete_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal names its rule, the place, what happened and what to do; none of them may be missing."""
    for told in (Problem, Checked):
        make: Callable[..., None] = told.__init__

        def checked(self: object, *, made: Callable[..., None] = make, **parts: str) -> None:
            made(self, **parts)
            assert all(type(part) is str and part for part in parts.values()), parts

        monkeypatch.setattr(told, "__init__", checked)
    report: Callable[..., None] = Report.__init__

    def reported(self: Report, *, kind: Kind, sentence: str, **parts: object) -> None:
        report(self, kind=kind, sentence=sentence, **parts)
        assert type(kind) is Kind
        assert type(sentence) is str

    monkeypatch.setattr(Report, "__init__", reported)


@pytest.fixture(scope="session")
def repo_template(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """Made once; `repo` copies it."""
    return begin(tmp_path_factory.mktemp("template"))


@pytest.fixture
def repo(repo_template: Repo, tmp_path: Path) -> Repo:
    """A clone with one pushed commit, its bare origin, and a key that main's allowed signers list."""
    folder = tmp_path / "repo"
    shutil.copytree(repo_template.root.parent, folder, symlinks=True)
    return Repo(root=folder / repo_template.root.name, key=folder / repo_template.key.name)


@pytest.fixture
def drilled(record_property: Callable[[str, object], None]) -> Drilled:
    """Note for `nox -s drills` that a drill was refused; the rule named for it is among those that did."""

    def note(drill: str, refused_by: Collection[str]) -> None:
        assert TAMPERING[drill] in refused_by, f"{drill}: refused by {refused_by or 'nothing'}"
        record_property(DRILL, drill)
        record_property(REFUSED_BY, TAMPERING[drill])

    return note


@pytest.fixture
def repaired(record_property: Callable[[str, object], None]) -> Repaired:
    """Note for `nox -s drills` that a fault was played so often, each time with the one right end."""

    def note(fault: str, stopped_by: Collection[str], played: int) -> None:
        assert FAULTS[fault] in stopped_by, f"{fault}: stopped by {stopped_by or 'nothing'}"
        assert played > 0
        record_property(FAULT, fault)
        record_property(STOPPED_BY, FAULTS[fault])
        record_property(PLAYED, played)

    return note

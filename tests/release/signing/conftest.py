"""The embedded world, and a process that reaches it and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from release.rehearsal import world
from release.rehearsal.world import World
from tests.release.rehearsal.support import FACTS
from tests.release.signing.support import Signing, reach


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world.start(tmp_path_factory.mktemp("world"), FACTS) as started:
        yield started
        assert started.failures == []


@pytest.fixture
def signing(running: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Signing:
    for name, value in reach(running, tmp_path / "child").items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "files"
    folder.mkdir()
    return Signing(world=running, folder=folder)

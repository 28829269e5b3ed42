"""The embedded world as the real clients see it: twine, pip and uv through the proxy, by the real names."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from release.indexes import INDEXES, IndexName
from release.rehearsal import world
from release.rehearsal.environment import child_environment
from release.rehearsal.world import World
from release.runner import Finished, LocalRunner
from tests.release.rehearsal.support import FACTS, SDIST, SDIST_NAME, WHEEL, WHEEL_NAME, written

TESTPYPI, PYPI = INDEXES[IndexName.TESTPYPI], INDEXES[IndexName.PYPI]
JSON = {"accept": "application/vnd.pypi.simple.v1+json"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world.start(tmp_path_factory.mktemp("world"), FACTS) as started:
        yield started
        assert started.failures == []


@pytest.fixture(scope="module")
def env(running: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("child")
    return child_environment(os.environ, folder=folder, authority=running.authority, proxy=running.proxy_url)


def twine(env: dict[str, str], index: IndexName, folder: Path, *files: Path) -> Finished:
    """The real twine, as the publish stage starts it."""
    config = folder / "no.cfg"
    config.touch()
    words = ["--repository-url", INDEXES[index].upload_url, "--non-interactive", "--disable-progress-bar"]
    command = [sys.executable, "-m", "twine", "upload", *words, "--config-file", config, *files]
    return LocalRunner()(command, cwd=folder, env=env)


@pytest.fixture(scope="module")
def uploaded(running: World, env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose wheel and sdist the real twine has brought to PyPI by trusted publishing."""
    folder = tmp_path_factory.mktemp("dist")
    job = running.issuer.job("pypi", ref="refs/tags/v1.0", sha="a" * 40)
    finished = twine(env | job.environment, IndexName.PYPI, folder, *written(folder))
    assert finished.ok, finished.tail()
    assert "Minted upload token" in " ".join(finished.tail().split())
    return folder


@pytest.mark.usefixtures("uploaded")
def test_twine_uploads_by_trusted_publishing(running: World) -> None:
    """The release's own client works against the embedded index as it will against the real one."""
    index = running.indexes[IndexName.PYPI]
    files = index.projects["demo-project"].files
    assert {name: file.publisher for name, file in files.items()} == {
        WHEEL_NAME: "trusted",
        SDIST_NAME: "trusted",
    }
    assert (index.content(WHEEL_NAME), index.content(SDIST_NAME)) == (WHEEL, SDIST)


def test_twine_says_why_other_bytes_are_refused(
    running: World, env: dict[str, str], uploaded: Path, tmp_path: Path
) -> None:
    """The index's explanation reaches the person through twine's last line."""
    job = running.issuer.job("pypi", ref="refs/tags/v1.0", sha="a" * 40)
    other = written(tmp_path, {SDIST_NAME: SDIST + b"\0"})
    finished = twine(env | job.environment, IndexName.PYPI, uploaded, *other)
    assert not finished.ok
    assert "File already exists" in " ".join(finished.tail().split())


def test_twine_is_refused_with_testpypis_environment(
    running: World, env: dict[str, str], tmp_path: Path
) -> None:
    """A job of another environment cannot mint a token for PyPI, whatever it asks for."""
    job = running.issuer.job("testpypi", ref="refs/tags/v1.0", sha="a" * 40)
    finished = twine(env | job.environment, IndexName.PYPI, tmp_path, *written(tmp_path))
    assert not finished.ok
    assert "invalid-publisher" in finished.tail()


@pytest.mark.usefixtures("uploaded")
@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_installers_read_the_index(env: dict[str, str], tmp_path: Path, tool: str) -> None:
    """The real installers resolve and download under the real host names, hashes checked."""
    target = tmp_path / "site"
    flags = ["--no-cache-dir"] if tool == "pip" else ["--no-cache"]
    command = ["pip"] if tool == "pip" else ["uv", "pip"]
    words = [*command, "install", *flags, "--no-deps", "--target", target, "demo-project"]
    if tool == "uv":
        words += ["--python", sys.executable]
    finished = LocalRunner()([sys.executable, "-m", *words], cwd=tmp_path, env=env)
    assert finished.ok, finished.tail()
    assert (target / "demo_project" / "__init__.py").is_file()


def session(env: dict[str, str]) -> requests.Session:
    """A client that follows the children's environment and nothing of this process's."""
    client = requests.Session()
    client.trust_env = False
    client.proxies = {"https": env["HTTPS_PROXY"], "http": env["HTTP_PROXY"]}
    client.verify = env["REQUESTS_CA_BUNDLE"]
    return client


def test_proxy_tells_the_indexes_apart_by_name(env: dict[str, str], uploaded: Path) -> None:
    """Each real host name reaches its own index, with a certificate for that name."""
    del uploaded
    with session(env) as client:
        page = client.get(PYPI.project_url("demo-project"), headers=JSON, timeout=10)
        assert {file["filename"] for file in page.json()["files"]} == {WHEEL_NAME, SDIST_NAME}
        assert client.get(TESTPYPI.project_url("demo-project"), headers=JSON, timeout=10).status_code == 404
        assert client.get(page.json()["files"][0]["url"], timeout=10).status_code == 200

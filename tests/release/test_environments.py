"""Clean environments: what a child sees, and installs of exactly what a lock or a digest names."""

import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from release import environments
from release.environments import WHEELHOUSE, Environment, Tool
from release.model import Mode, Refused
from release.rules.archives import digest_of, measure
from release.runner import Finished, LocalRunner
from tests.release.build_support import Recording, built, rules

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


def test_a_child_inherits_neither_settings_nor_secrets(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A maintainer's token, index and home never reach a clean environment."""
    for name in (
        "TWINE_PASSWORD",
        "PIP_INDEX_URL",
        "UV_INDEX_URL",
        "PYTHONPATH",
        "UV_PUBLISH_TOKEN",
        "NETRC",
    ):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("SSL_CERT_FILE", "ca.pem")
    inherited = {
        *("PATH", "SYSTEMROOT", "COMSPEC", "PATHEXT", "TMPDIR", "TEMP", "TMP"),
        *("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"),
        *("REQUESTS_CA_BUNDLE", "PIP_CERT", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    }
    env = environments.scrubbed(home, EXTRA="1")
    assert "secret" not in env.values()
    assert (env["HTTPS_PROXY"], env["SSL_CERT_FILE"], env["EXTRA"]) == ("http://127.0.0.1:9", "ca.pem", "1")
    assert {name: value for name, value in env.items() if name not in inherited} == {
        "EXTRA": "1",
        "HOME": str(home),
        "USERPROFILE": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "LC_ALL": "C.UTF-8",
        "PYTHONUTF8": "1",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    assert str(Path(sys.executable).parent) not in env["PATH"].split(os.pathsep)


def test_a_wheelhouse_is_for_rehearsals_only(tmp_path: Path) -> None:
    """No environment variable changes where a release takes its dependencies from."""
    assert environments.wheelhouse(Mode.RELEASE, {}) is None
    assert environments.wheelhouse(Mode.REHEARSAL, {WHEELHOUSE: ""}) is None
    assert environments.wheelhouse(Mode.REHEARSAL, {WHEELHOUSE: str(tmp_path)}) == tmp_path.resolve()
    for mode, folder in ((Mode.RELEASE, tmp_path), (Mode.REHEARSAL, tmp_path / "absent")):
        with pytest.raises(Refused) as caught:
            environments.wheelhouse(mode, {WHEELHOUSE: str(folder)})
        assert rules(caught.value.problems) == ["environment.wheelhouse"]


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


@pytest.mark.parametrize(("tool", "option"), [(Tool.PIP, "--index-url"), (Tool.UV, "--default-index")])
def test_an_index_is_asked_by_each_tool_in_its_own_words(tool: Tool, option: str, home: Path) -> None:
    """The candidate comes from the one index that was named, as the one kind of file that was meant."""
    runner, address = Recording(), "https://example.org/simple"
    environment = Environment(folder=home / "env", made_by="python")
    for artifact in (built().artifacts[0], built().artifacts[1]):
        environments.install_candidate(
            runner,
            environment,
            artifact,
            requirement="tiny-demo==1.2.0",
            source=address,
            tool=tool,
            home=home,
        )
    sdist, wheel = runner.ran
    assert all(words[words.index(option) + 1] == address for words in runner.ran)
    assert all({"--no-deps", "--require-hashes"} <= set(words) for words in runner.ran)
    assert sdist[sdist.index("--no-binary") + 1] == wheel[wheel.index("--only-binary") + 1] == "tiny-demo"
    assert "--no-build-isolation" in sdist
    assert "--no-build-isolation" not in wheel
    pinned = Path(wheel[wheel.index("--requirement") + 1]).read_text(encoding="utf-8")
    assert pinned == f"tiny-demo==1.2.0 --hash=sha256:{built().artifacts[1].sha256}\n"


def test_a_wheelhouse_is_filled_once_for_a_lock_and_an_interpreter(home: Path, tmp_path: Path) -> None:
    """What was fetched is not fetched again, a changed lock is, and a failure leaves no mark."""
    lock, folder = tmp_path / "some.txt", tmp_path / "house"
    lock.write_text("one\n", encoding="utf-8")
    console = Console(file=io.StringIO(), markup=False)

    def fill(runner: Recording, *pythons: str) -> int:
        before = len(runner.ran)
        environments.fill_wheelhouse(
            runner, folder, locks=[lock], pythons=pythons, console=console, home=home
        )
        return len(runner.ran) - before

    with pytest.raises(Refused) as caught:
        fill(Recording(code=1), "/a/python3.12")
    assert rules(caught.value.problems) == ["environment.wheelhouse"]
    runner = Recording()
    assert fill(runner, "/a/python3.12", "/a/python3.13") == 2
    assert {"download", "--require-hashes", "--no-deps", "--python=/a/python3.12"} <= set(runner.ran[0])
    assert fill(runner, "/a/python3.12", "/a/python3.13") == 0
    lock.write_text("two\n", encoding="utf-8")
    assert fill(runner, "/a/python3.12") == 1


def test_only_what_a_lock_names_may_come_from_a_cache(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock's digests make this machine's caches harmless; a candidate is fetched from its index anew."""
    for name in ("XDG_CACHE_HOME", "PIP_CACHE_DIR", "UV_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    given: list[tuple[Path, dict[str, str]]] = []

    def runner(
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        show: bool = False,
        timeout_s: float | None = None,
    ) -> Finished:
        assert (show, timeout_s) == (False, None)
        given.append((cwd, dict(env or {})))
        return Finished(argv=[os.fspath(word) for word in argv], code=0, stdout="", stderr="", took_ms=0)

    def caches() -> list[str | None]:
        """Of the last command's installer: pip's, uv's and the general one, which is always its own."""
        cwd, env = given[-1]
        assert (cwd, env["HOME"], env["XDG_CACHE_HOME"]) == (home, str(home), str(home / "cache"))
        return [env.get("PIP_CACHE_DIR"), env.get("UV_CACHE_DIR")]

    environment, lock = Environment(folder=home / "env", made_by="python"), tmp_path / "some.txt"
    lock.touch()

    def locked() -> None:
        environments.install_locked(runner, environment, lock, tool=Tool.UV, home=home, wheels=None)

    locked()
    assert caches() == [str(tmp_path / ".cache" / "pip"), str(tmp_path / ".cache" / "uv")]
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    monkeypatch.setenv("UV_CACHE_DIR", "/uv")
    locked()
    assert caches() == ["/c/pip", "/uv"]
    console = Console(file=io.StringIO())
    environments.fill_wheelhouse(
        runner, tmp_path / "house", locks=[lock], pythons=["/a/python3.12"], console=console, home=home
    )
    assert caches() == ["/c/pip", "/uv"]
    environments.install_candidate(
        runner,
        environment,
        built().artifacts[1],
        requirement="tiny-demo==1.2.0",
        source="https://example.org/simple",
        tool=Tool.PIP,
        home=home,
    )
    assert caches() == [None, None]
    environments.check(runner, environment, tool=Tool.PIP, home=home)
    assert caches() == [None, None]

"""Clean environments: what a child sees, and the commands that install what a lock or a digest names."""

import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from release import environments
from release.environments import WHEELHOUSE, Environment, Tool
from release.model import Artifact, Mode, Problem, Refused
from release.rules.archives import digest
from release.runner import Finished
from tests.release.build_support import Recording, rules
from tests.release.gates.support import ScriptedRunner

WHEEL = Artifact(name="tiny_demo-1.2.0-py3-none-any.whl", size=1, sha256="a" * 64)
SDIST = Artifact(name="tiny_demo-1.2.0.tar.gz", size=1, sha256="b" * 64)
OURS = [sys.executable, "-I", "-m"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


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


def test_a_child_finds_no_program_of_the_release_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what else is on the search path, or the system's own where there is none."""
    monkeypatch.setattr(sys, "executable", "/env/venv/scripts/python")
    monkeypatch.setattr(sys, "prefix", "/env/venv")
    folders = ["/env/venv/scripts", "/a", "", "/env/venv/bin", "/env/venv/bin/", "/b"]
    monkeypatch.setenv("PATH", os.pathsep.join(folders))
    assert environments.scrubbed(home)["PATH"].split(os.pathsep) == ["/a", "/b"]
    monkeypatch.delenv("PATH")
    assert environments.scrubbed(home)["PATH"] == os.defpath


def test_a_wheelhouse_is_for_rehearsals_only(tmp_path: Path) -> None:
    """No environment variable changes where a release takes its dependencies from."""
    assert environments.wheelhouse(Mode.RELEASE, {}) is None
    assert environments.wheelhouse(Mode.REHEARSAL, {WHEELHOUSE: ""}) is None
    assert environments.wheelhouse(Mode.REHEARSAL, {WHEELHOUSE: str(tmp_path)}) == tmp_path.resolve()
    for mode, folder, what in (
        (Mode.RELEASE, tmp_path, "is set, and a release takes its dependencies from the index"),
        (Mode.REHEARSAL, tmp_path / "absent", "names a folder that does not exist"),
    ):
        with pytest.raises(Refused) as caught:
            environments.wheelhouse(mode, {WHEELHOUSE: str(folder)})
        (problem,) = caught.value.problems
        assert (problem.rule, problem.where, problem.what) == ("environment.wheelhouse", WHEELHOUSE, what)


class Scripted(ScriptedRunner):
    """Every command ends with `code` and what it said; the environments are kept."""

    def __init__(self, code: int = 0) -> None:
        super().__init__(self._end)
        self.code = code
        self.given: list[dict[str, str]] = []

    def _end(self, words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        del words
        self.given.append(dict(env))
        return self.code, "it said so"


def refused(call: Callable[[], object]) -> Problem:
    """The one problem of a call; in it stands what the program said."""
    with pytest.raises(Refused) as caught:
        call()
    (problem,) = caught.value.problems
    assert problem.what.endswith(":\nit said so")
    return problem


def test_an_environment_is_made_by_its_own_interpreter_without_an_installer(
    home: Path, tmp_path: Path
) -> None:
    """In isolation from this one; a Python without venv is named with the reason."""
    runner, folder = Scripted(), tmp_path / "env"
    made = environments.create(runner, "/a/python3.12", folder, home=home)
    assert made == Environment(folder=folder, made_by="/a/python3.12")
    assert made.python == folder / "bin" / "python"
    assert runner.asked == [["/a/python3.12", "-I", "-m", "venv", "--without-pip", str(folder)]]
    assert (runner.folders, runner.given) == ([home], [environments.scrubbed(home)])
    problem = refused(lambda: environments.create(Scripted(1), "/a/python3.12", folder, home=home))
    assert (problem.rule, problem.where) == ("environment.created", "/a/python3.12")


PIP = [*OURS, "pip", "--python=/env/bin/python", "install", "--no-compile"]
UV = [*OURS, "uv", "pip", "install", "--python=/env/bin/python"]
EMPTY = Environment(folder=Path("/env"), made_by="python")


@pytest.mark.parametrize(("tool", "begins"), [(Tool.PIP, PIP), (Tool.UV, UV)])
@pytest.mark.parametrize("wheels", [None, Path("/wheels")])
def test_a_locked_set_is_installed_as_wheels_of_these_digests(
    tool: Tool, begins: list[str], wheels: Path | None, home: Path, tmp_path: Path
) -> None:
    """Nothing is resolved or built; with a folder of wheels no index is asked."""
    runner, lock = Scripted(), tmp_path / "some.txt"
    done = environments.install_locked(runner, EMPTY, lock, tool=tool, home=home, wheels=wheels)
    assert done.stdout == "it said so"
    (words,) = runner.asked
    assert words[: len(begins)] == begins
    folder = ["--no-index", "--find-links", "/wheels"] if wheels else []
    assert words[len(begins) :] == [
        *("--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:"),
        *("--requirement", str(lock), *folder),
    ]
    problem = refused(
        lambda: environments.install_locked(Scripted(1), EMPTY, lock, tool=tool, home=home, wheels=wheels)
    )
    assert (problem.rule, problem.where) == ("environment.locked-set", "release/locks/some.txt")
    source = f"the folder {WHEELHOUSE} names" if wheels else "the package index"
    assert problem.what.startswith(f"{tool.value} could not install it from {source}:")


@pytest.mark.parametrize(("tool", "begins"), [(Tool.PIP, PIP), (Tool.UV, UV)])
def test_a_candidate_in_a_folder_is_taken_from_no_index(tool: Tool, begins: list[str], home: Path) -> None:
    """How it ended is the caller's to judge."""
    runner = Scripted(3)
    done = environments.install_candidate(
        runner, EMPTY, WHEEL, requirement="tiny-demo==1.2.0", source=Path("/dist"), tool=tool, home=home
    )
    assert done.code == 3
    pinned = home / f"candidate-{tool.value}.txt"
    assert runner.asked == [
        [
            *(*begins, "--no-index", "--find-links", "/dist", "--no-deps", "--require-hashes"),
            *("--only-binary", "tiny-demo", "--requirement", str(pinned)),
        ]
    ]
    assert (runner.folders, runner.given) == ([home], [environments.scrubbed(home)])


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        (Tool.PIP, ["pip", "--python=/env/bin/python", "check"]),
        (Tool.UV, ["uv", "pip", "check", "--python=/env/bin/python"]),
    ],
)
def test_each_tool_checks_what_is_installed(tool: Tool, words: list[str], home: Path) -> None:
    """From outside, as it installed."""
    runner = Scripted(1)
    assert environments.check(runner, EMPTY, tool=tool, home=home).code == 1
    assert runner.asked == [[*OURS, *words]]
    assert (runner.folders, runner.given) == ([home], [environments.scrubbed(home)])


def test_wheels_are_fetched_as_the_lock_lists_them(home: Path, tmp_path: Path) -> None:
    """For the interpreter that will run them, over the network that is named; a failure says which lock."""
    lock, folder, said = tmp_path / "some.txt", tmp_path / "deep" / "house", io.StringIO()
    lock.write_text("one\n", encoding="utf-8")

    def fill(runner: Scripted) -> None:
        environments.fill_wheelhouse(
            runner,
            folder,
            locks=[lock],
            pythons=["/a/python3.12"],
            console=Console(file=said, soft_wrap=True, markup=False),
            home=home,
            env={"HTTPS_PROXY": "http://127.0.0.1:9"},
        )

    problem = refused(lambda: fill(Scripted(1)))
    assert (problem.rule, problem.where) == ("environment.wheelhouse", "release/locks/some.txt")
    assert [*folder.iterdir()] == []
    runner = Scripted()
    fill(runner)
    assert runner.asked == [
        [
            *(*OURS, "pip", "--python=/a/python3.12", "download", "--quiet", "--require-hashes", "--no-deps"),
            *("--only-binary", ":all:", "--requirement", str(lock), "--dest", str(folder)),
        ]
    ]
    assert (runner.folders, runner.given) == ([home], [{"HTTPS_PROXY": "http://127.0.0.1:9"}])
    assert said.getvalue() == "  fetching the wheels of some.txt for python3.12\n" * 2
    assert [path.name for path in folder.iterdir()] == [f".filled-some-{digest(lock)[:16]}-python3.12"]


@pytest.mark.parametrize(("tool", "option"), [(Tool.PIP, "--index-url"), (Tool.UV, "--default-index")])
def test_an_index_is_asked_by_each_tool_in_its_own_words(tool: Tool, option: str, home: Path) -> None:
    """The candidate comes from the one index that was named, as the one kind of file that was meant."""
    runner, address = Recording(), "https://example.org/simple"
    environment = Environment(folder=home / "env", made_by="python")
    for artifact in (SDIST, WHEEL):
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
    assert pinned == f"tiny-demo==1.2.0 --hash=sha256:{WHEEL.sha256}\n"


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
    other = tmp_path / "other.txt"
    other.touch()
    environments.fill_wheelhouse(
        runner, folder, locks=[lock, other], pythons=["/a/python3.12"], console=console, home=home
    )
    assert runner.ran[-1][-3] == str(other), "one that is there must not hide one that is not"


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
        WHEEL,
        requirement="tiny-demo==1.2.0",
        source="https://example.org/simple",
        tool=Tool.PIP,
        home=home,
    )
    assert caches() == [None, None]
    environments.check(runner, environment, tool=Tool.PIP, home=home)
    assert caches() == [None, None]

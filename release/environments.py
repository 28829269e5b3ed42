"""Empty virtual environments, and installs into them of exactly what a hash lock or one digest names.

Every child gets a scrubbed environment: its own home, no configuration of pip or uv, no index settings, no
credentials; of this machine it keeps the search path, the proxy and the certificates. Installers are the
release environment's own locked pip and uv; they work on the new environment from outside, so nothing but
what was asked for is in it.
"""

import enum
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from release.model import Artifact, Mode, Problem, Refused
from release.rules.archives import digest
from release.runner import Finished, Runner

__all__ = [
    "WHEELHOUSE",
    "Environment",
    "Tool",
    "check",
    "create",
    "fill_wheelhouse",
    "install_candidate",
    "install_locked",
    "scrubbed",
    "wheelhouse",
]

WHEELHOUSE = "TTA_WHEELHOUSE"
"""Names the folder of wheels that a rehearsal takes dependencies from; hashes are checked all the same."""

_KEPT = (
    # where programs and temporary files are
    "SYSTEMROOT",
    "COMSPEC",
    "PATHEXT",
    "TMPDIR",
    "TEMP",
    "TMP",
    # how the network is reached and whom to trust there
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "PIP_CERT",
)


class Tool(enum.StrEnum):
    """The two installers people use."""

    PIP = "pip"
    UV = "uv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A virtual environment that this process made."""

    folder: Path
    made_by: str
    """Absolute path of the interpreter it was made with."""

    @property
    def scripts(self) -> Path:
        """Where its commands are."""
        return self.folder / ("Scripts" if os.name == "nt" else "bin")

    @property
    def python(self) -> Path:
        """Absolute path of its interpreter."""
        return self.scripts / ("python.exe" if os.name == "nt" else "python")


def scrubbed(home: Path, **extra: str) -> dict[str, str]:
    """The whole environment of a child: nothing inherited but the search path, proxy and certificates.

    Args:
        home: An existing folder; the child's home, and where its caches go.
        extra: Variables to add.
    """
    own = (Path(sys.executable).parent, Path(sys.prefix) / "bin")
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    env = {name: os.environ[name] for name in _KEPT if name in os.environ}
    env |= {
        "PATH": os.pathsep.join(part for part in path if part and Path(part) not in own),
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
    return env | extra


def wheelhouse(mode: Mode, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder dependencies come from, or None for the real index.

    Raises:
        Refused: when one is named in release mode, or the folder does not exist.
    """
    named = environ.get(WHEELHOUSE)
    if not named:
        return None
    if mode is Mode.RELEASE:
        what, remedy = "is set, and a release takes its dependencies from the index", f"unset {WHEELHOUSE}"
    elif not Path(named).is_dir():
        what, remedy = "names a folder that does not exist", f"fill the folder first, or unset {WHEELHOUSE}"
    else:
        return Path(named).resolve()
    raise Refused(Problem(rule="environment.wheelhouse", where=WHEELHOUSE, what=what, remedy=remedy))


def create(runner: Runner, python: str, folder: Path, *, home: Path) -> Environment:
    """Make an empty environment, without pip, in the new folder `folder`.

    Args:
        runner: Starts the interpreter.
        python: Absolute path of the interpreter.
        folder: Where; it must not exist.
        home: See `scrubbed`.

    Raises:
        Refused: when the interpreter cannot make one.
    """
    made = runner([python, "-I", "-m", "venv", "--without-pip", folder], cwd=home, env=scrubbed(home))
    if not made.ok:
        raise Refused(
            Problem(
                rule="environment.created",
                where=python,
                what=f"could not make a virtual environment:\n{made.tail()}",
                remedy="install this Python with its venv module (on Debian the package python3-venv)",
            )
        )
    return Environment(folder=folder, made_by=python)


def _installer(tool: Tool, environment: Environment) -> list[str]:
    """The beginning of an install command of the release environment's own pip or uv."""
    if tool is Tool.PIP:
        return [
            sys.executable,
            "-I",
            "-m",
            "pip",
            f"--python={environment.python}",
            "install",
            "--no-compile",
        ]
    return [sys.executable, "-I", "-m", "uv", "pip", "install", f"--python={environment.python}"]


def install_locked(
    runner: Runner, environment: Environment, lock: Path, *, tool: Tool, home: Path, wheels: Path | None
) -> Finished:
    """Install exactly what a lock lists: hashes checked, wheels only, nothing resolved.

    Args:
        runner: Starts the installer.
        environment: Where to install.
        lock: A requirements file with a hash for every line.
        tool: Which installer.
        home: See `scrubbed`.
        wheels: A folder that holds the wheels; None takes them from the real index.

    Raises:
        Refused: with what the installer said.
    """
    words = ["--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:", "--requirement", str(lock)]
    if wheels is not None:
        words += ["--no-index", "--find-links", str(wheels)]
    # The digests are the lock's, so a cache of this machine can only save time.
    env = scrubbed(home, **_caches())
    done = runner([*_installer(tool, environment), *words], cwd=home, env=env)
    if done.ok:
        return done
    source = f"the folder {WHEELHOUSE} names" if wheels is not None else "the package index"
    raise Refused(
        Problem(
            rule="environment.locked-set",
            where=f"release/locks/{lock.name}",
            what=f"{tool.value} could not install it from {source}:\n{done.tail()}",
            remedy="check the network; if a digest differs, find out why before anything else",
        )
    )


def _caches() -> dict[str, str]:
    """Where pip and uv keep what they have downloaded on this machine."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    return {
        variable: os.environ.get(variable) or str(base / tool)
        for variable, tool in (("PIP_CACHE_DIR", "pip"), ("UV_CACHE_DIR", "uv"))
    }


def install_candidate(
    runner: Runner,
    environment: Environment,
    artifact: Artifact,
    *,
    requirement: str,
    source: str | Path,
    tool: Tool,
    home: Path,
) -> Finished:
    """Install one file of one release by its digest, and nothing else; the caller judges how it ended.

    Args:
        runner: Starts the installer.
        environment: Where to install; for an sdist it must hold the build backend.
        artifact: The wheel or the sdist.
        requirement: `name==version`.
        source: The address of an index's simple API, or a folder that holds the file.
        tool: Which installer.
        home: See `scrubbed`; a fresh one, so that no cached page or file is used.
    """
    pinned = home / f"candidate-{tool.value}.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{artifact.sha256}\n", encoding="utf-8")
    if isinstance(source, Path):
        words = ["--no-index", "--find-links", str(source)]
    else:
        words = ["--index-url" if tool is Tool.PIP else "--default-index", source]
    words += ["--no-deps", "--require-hashes", *_kind(artifact, requirement), "--requirement", str(pinned)]
    return runner([*_installer(tool, environment), *words], cwd=home, env=scrubbed(home))


def check(runner: Runner, environment: Environment, *, tool: Tool, home: Path) -> Finished:
    """Whether every installed distribution has what it requires (`pip check`, `uv pip check`)."""
    python = f"--python={environment.python}"
    words = {Tool.PIP: ["pip", python, "check"], Tool.UV: ["uv", "pip", "check", python]}[tool]
    return runner([sys.executable, "-I", "-m", *words], cwd=home, env=scrubbed(home))


def _kind(artifact: Artifact, requirement: str) -> list[str]:
    """Take exactly this kind of file; an sdist is built with the backend the environment already holds."""
    name = requirement.partition("==")[0]
    if artifact.name.endswith(".whl"):
        return ["--only-binary", name]
    return ["--no-binary", name, "--no-build-isolation"]


def fill_wheelhouse(
    runner: Runner,
    folder: Path,
    *,
    locks: Sequence[Path],
    pythons: Sequence[str],
    console: Console,
    home: Path,
    env: Mapping[str, str] | None = None,
) -> None:
    """Download every wheel the locks list for the given interpreters into `folder`, hashes checked.

    What is there already for the same lock and interpreter is not fetched again. `env` is how the network is
    reached, by default nothing but the proxy and the certificates of this machine.

    Raises:
        Refused: naming the lock that could not be fetched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for python in pythons:
        for lock in locks:
            stamp = folder / f".filled-{lock.stem}-{digest(lock)[:16]}-{Path(python).name}"
            if stamp.exists():
                continue
            console.print(f"  fetching the wheels of {lock.name} for {Path(python).name}")
            words = [
                "--quiet",
                "--require-hashes",
                "--no-deps",
                "--only-binary",
                ":all:",
                "--requirement",
                str(lock),
            ]
            command = [sys.executable, "-I", "-m", "pip", f"--python={python}", "download", *words]
            done = runner([*command, "--dest", str(folder)], cwd=home, env=env or scrubbed(home, **_caches()))
            if not done.ok:
                raise Refused(
                    Problem(
                        rule="environment.wheelhouse",
                        where=f"release/locks/{lock.name}",
                        what=f"its wheels could not be fetched:\n{done.tail()}",
                        remedy="connect to the network once; later runs need none",
                    )
                )
            stamp.touch()

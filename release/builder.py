"""Makes both artefacts from an exported tree, in circumstances that must not matter, and compares them.

Owns the command lines of the locked front end (`build`, without isolation, so that the locked backend is the
one that runs). It knows no ledger and judges only whether bytes are the same.
"""

import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from release.environments import scrubbed
from release.model import Problem, Refused
from release.rules.archives import differences, read_archive
from release.rules.artefacts import Tree
from release.runner import Runner

__all__ = ["FIRST", "SECOND", "Circumstances", "Made", "make", "read_tree", "unequal"]

_UNDER_UMASK = (
    "import os, runpy, sys; os.umask(int(sys.argv.pop(1), 8)); "
    "runpy.run_module('build', run_name='__main__', alter_sys=True)"
)

_UNASKED = ("--skip-dependency-check",)
"""What the environment holds is the lock's word; asking the backend again costs half the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What differs between two builds and must not show in their bytes."""

    name: str
    umask: int
    zone: str
    """`TZ` in POSIX form: needs no time zone data."""
    hash_seed: str
    depth: str
    """Folders below the scratch folder in which the tree is built."""


FIRST = Circumstances(name="first", umask=0o022, zone="UTC0", hash_seed="0", depth="a")
SECOND = Circumstances(
    name="second", umask=0o077, zone="XXX-13:45", hash_seed="4242", depth="another folder/deeper/b"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What one build left."""

    made_in: str
    """The circumstances, for the reader."""
    sdist: Path
    wheel: Path
    wheel_from_sdist: Path


def read_tree(folder: Path) -> Tree:
    """The files of an exported commit."""
    files: dict[str, bytes] = {}
    links: set[str] = set()
    for above, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(above) / name
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink():
                links.add(relative)
            elif path.is_file():
                files[relative] = path.read_bytes()
    return Tree(files=files, links=frozenset(links))


def make(
    runner: Runner,
    tree: Path,
    out: Path,
    *,
    python: str,
    circumstances: Circumstances,
    epoch: int,
    home: Path,
) -> Made:
    """Build sdist and wheel from the tree, then a wheel from the sdist.

    Args:
        runner: Starts the front end.
        tree: The exported commit; its files lose the permissions the umask takes.
        out: A folder that does not exist.
        python: Absolute path of an interpreter whose environment holds the locked front end and backend.
        circumstances: What to vary.
        epoch: The commit's time, `SOURCE_DATE_EPOCH`.
        home: An existing folder, the child's home.

    Raises:
        Refused: when a build fails, or leaves anything but its artefact.
    """
    _mask(tree, circumstances.umask)
    env = scrubbed(
        home,
        SOURCE_DATE_EPOCH=str(epoch),
        TZ=circumstances.zone,
        PYTHONHASHSEED=circumstances.hash_seed,
        PYTHONDONTWRITEBYTECODE="1",
    )
    label = f"the {circumstances.name} build"

    def front_end(source: Path, folder: Path, kinds: Sequence[str]) -> list[Path]:
        words = [python, "-I", "-c", _UNDER_UMASK, f"{circumstances.umask:o}", "--no-isolation", *_UNASKED]
        done = runner([*words, *kinds, "--outdir", folder, source], cwd=home, env=env)
        if not done.ok:
            raise _failed(label, done.tail())
        return sorted(folder.iterdir())

    from_tree, from_sdist = out / "from-tree", out / "from-sdist"
    left = front_end(tree, from_tree, ["--sdist", "--wheel"])
    sdists = [path for path in left if path.name.endswith(".tar.gz")]
    wheels = [path for path in left if path.name.endswith(".whl")]
    if len(left) != 2 or len(sdists) != 1 or len(wheels) != 1:
        raise _failed(label, f"it left {[path.name for path in left]}, expected one sdist and one wheel")
    unpacked = out / "unpacked"
    with tarfile.open(sdists[0]) as archive:
        archive.extractall(unpacked, filter="data")
    roots = sorted(unpacked.iterdir()) if unpacked.exists() else []
    if len(roots) != 1:
        said = f"{sdists[0].name} holds {[path.name for path in roots]}, expected one folder"
        raise _failed(f"{label} from the sdist", said)
    _mask(unpacked, circumstances.umask)
    again = front_end(roots[0], from_sdist, ["--wheel"])
    if [path.name for path in again] != [wheels[0].name]:
        raise _failed(f"{label} from the sdist", f"it left {[path.name for path in again]}")
    return Made(made_in=label, sdist=sdists[0], wheel=wheels[0], wheel_from_sdist=again[0])


def _mask(folder: Path, umask: int) -> None:
    """Give files the permissions they would have had, had they been written under `umask`."""
    for above, _, names in os.walk(folder):
        for path in (Path(above), *(Path(above) / name for name in names)):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~umask)


def _failed(label: str, said: str) -> Refused:
    return Refused(
        Problem(
            rule="build.succeeds",
            where="pyproject.toml",
            what=f"{label} failed:\n{said}",
            remedy="mend what the build backend names and commit; to watch it alone run `python -m build`",
        )
    )


def unequal(reference: Path, reference_label: str, other: Path, other_label: str) -> list[Problem]:
    """What differs between two files that must be the same, naming the members of the archive."""
    one, two = reference.read_bytes(), other.read_bytes()
    said = differences(read_archive(reference.name, one), one, read_archive(other.name, two), two)
    return [
        Problem(
            rule="build.same-bytes",
            where=reference.name,
            what=f"{sentence} (first: {reference_label}, second: {other_label})",
            remedy="find what the build takes from around it: time, order, permissions, a tool's version",
        )
        for sentence in said
    ]

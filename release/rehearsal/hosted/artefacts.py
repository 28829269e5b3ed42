"""The artefact store of a rehearsed workflow: keeps what jobs upload, by number, and hands it out.

Runs by itself, on the standard library alone: `python artefacts.py STORE upload|download`, its inputs in the
environment as the stand-ins of upload-artifact and download-artifact set them. It keeps to what those actions
document: an artefact is written once, by one name; hidden files stay out unless asked for; only what files
hold is kept, not their modes; a single artefact is laid into the path itself.
"""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["held", "main"]

_NAME = "name"
_FILES = "files"


class _FailedError(Exception):
    """What the action would have failed with."""


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one upload or download; returns the exit code of its step."""
    store, verb = Path(argv[0]), argv[1]
    try:
        said = _upload(store, environ) if verb == "upload" else _download(store, environ)
    except _FailedError as error:
        print(f"::error::{error}")
        return 1
    print(said)
    return 0


def held(store: Path, name: str) -> Path | None:
    """The files of the artefact of this name; None when nothing was uploaded under it."""
    for path in sorted(store.glob(f"*/{_NAME}")):
        if path.read_text(encoding="utf-8") == name:
            return path.parent / _FILES
    return None


def _upload(store: Path, environ: Mapping[str, str]) -> str:
    name = environ["ARTIFACT_NAME"]
    if environ["ARTIFACT_IF_NO_FILES_FOUND"] != "error":
        raise _FailedError("this stand-in knows `if-no-files-found: error` alone")
    asked = [Path(line.strip()) for line in environ["ARTIFACT_PATH"].splitlines() if line.strip()]
    if any(set(str(path)) & set("*?[]!~") for path in asked):
        raise _FailedError("this stand-in takes plain paths, no patterns")
    hidden = environ["ARTIFACT_INCLUDE_HIDDEN_FILES"] == "true"
    files = [file for path in asked for file in _files(path, hidden=hidden)]
    if not files:
        raise _FailedError(f"no files were found under {', '.join(map(str, asked))}")
    if held(store, name) is not None:
        raise _FailedError(f"an artefact named {name} is there already: an upload never replaces one")
    number = _number(store)
    for file in files:
        target = store / number / _FILES / file.absolute().relative_to(_root(asked).absolute())
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    (store / number / _NAME).write_text(name, encoding="utf-8")
    with Path(environ["GITHUB_OUTPUT"]).open("ab") as output:
        output.write(f"artifact-id={number}\n".encode())
    return f"artefact {number}, {name}: {len(files)} files"


def _files(path: Path, *, hidden: bool) -> Iterator[Path]:
    """What a path that was asked for stands for."""
    if path.is_file():
        yield path
    for file in sorted(path.rglob("*")):
        inside = file.relative_to(path).parts
        if file.is_file() and (hidden or not any(part.startswith(".") for part in inside)):
            yield file


def _root(asked: Sequence[Path]) -> Path:
    """What names inside the artefact are relative to: one folder itself, else what all paths share."""
    if len(asked) == 1:
        return asked[0] if asked[0].is_dir() else asked[0].parent
    return Path(os.path.commonpath([path.absolute() for path in asked]))


def _number(store: Path) -> str:
    """A number that no other job of the run has: making a folder tells whether it was free."""
    number = 1
    while True:
        try:
            (store / str(number)).mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return str(number)


def _download(store: Path, environ: Mapping[str, str]) -> str:
    target = Path(environ["ARTIFACT_PATH"])
    asked = [word.strip() for word in environ["ARTIFACT_IDS"].split(",") if word.strip()]
    if not asked:
        raise _FailedError("no artefact was asked for: every output that names one is empty")
    for number in asked:
        if not number.isdecimal() or not (store / number / _NAME).is_file():
            raise _FailedError(f"there is no artefact {number!r}")
    into = len(asked) == 1 or environ["ARTIFACT_MERGE_MULTIPLE"] == "true"
    names = {number: (store / number / _NAME).read_text(encoding="utf-8") for number in asked}
    for number, name in names.items():
        shutil.copytree(store / number / _FILES, target if into else target / name, dirs_exist_ok=True)
    return f"downloaded {', '.join(names.values())}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

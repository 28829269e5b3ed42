"""A recording `gh`: keeps releases in a folder, writes down every call, refuses what the real one refuses.

The rehearsal puts it on the rehearsed commands' PATH under the real one's name. It runs by itself, on the
standard library alone: `python github.py STATE release view v1.0 ...`.
"""

import argparse
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["CALLS", "STATE", "install", "main"]

STATE = "releases.json"
CALLS = "calls.jsonl"


def install(folder: Path, state: Path, *, windows: bool = os.name == "nt") -> None:
    """Put a `gh` that keeps its state in `state` into the new folder `folder`."""
    folder.mkdir(parents=True)
    state.mkdir(parents=True)
    words = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(state)]
    if windows:
        quoted = " ".join(f'"{word}"' for word in words)
        (folder / "gh.cmd").write_bytes(f"@{quoted} %*\r\n".encode())
        return
    program = folder / "gh"
    quoted = " ".join(f"'{word}'" for word in words)
    program.write_text(f'#!/bin/sh\nexec {quoted} "$@"\n', encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gh")
    verbs = (
        parser.add_subparsers(required=True).add_parser("release").add_subparsers(dest="verb", required=True)
    )
    for verb in ("view", "create", "upload", "delete-asset", "download", "edit"):
        one = verbs.add_parser(verb, allow_abbrev=False)
        one.add_argument("tag")
        one.add_argument("--repo", required=True)
        if verb == "view":
            one.add_argument("--json", required=True)
        if verb == "create":
            one.add_argument("--draft", action="store_true")
            one.add_argument("--verify-tag", action="store_true")
            one.add_argument("--prerelease", action="store_true")
            one.add_argument("--title", required=True)
            one.add_argument("--notes-file", required=True)
        if verb in {"upload", "delete-asset"}:
            one.add_argument("file")
            one.add_argument("--yes", action="store_true")
        if verb == "download":
            one.add_argument("--pattern", required=True)
            one.add_argument("--dir", required=True)
        if verb == "edit":
            one.add_argument("--draft", choices=["true", "false"], required=True)
            one.add_argument("--prerelease", choices=["true", "false"], required=True)
    return parser.parse_args(list(argv))


def main(argv: Sequence[str]) -> int:
    """Run one call: the state's folder, then gh's own words; returns gh's exit code."""
    state, words = Path(argv[0]), list(argv[1:])
    with (state / CALLS).open("ab") as file:
        file.write(f"{json.dumps(words)}\n".encode())
    asked = _parse(words)
    book = state / STATE
    releases: dict[str, Any] = json.loads(book.read_text(encoding="utf-8")) if book.exists() else {}
    kept = state / "assets" / asked.tag
    found = releases.get(asked.tag)
    if asked.verb == "create":
        if found is not None:
            return _failed("HTTP 422: Validation Failed: tag_name already exists")
        releases[asked.tag] = {
            "isDraft": asked.draft,
            "isPrerelease": asked.prerelease,
            "url": f"https://github.com/{asked.repo}/releases/tag/{asked.tag}",
            "name": asked.title,
            "body": Path(asked.notes_file).read_text(encoding="utf-8"),
            "assets": [],
        }
        kept.mkdir(parents=True)
    elif found is None:
        return _failed("release not found")
    elif asked.verb == "view":
        sys.stdout.write(json.dumps({name: found[name] for name in asked.json.split(",")}) + "\n")
    elif asked.verb == "upload":
        name = Path(asked.file).name
        if name in [each["name"] for each in found["assets"]]:
            return _failed(f"asset under the same name already exists: [{name}]")
        shutil.copyfile(asked.file, kept / name)
        sha256 = hashlib.sha256((kept / name).read_bytes()).hexdigest()
        found["assets"].append({"name": name, "state": "uploaded", "digest": f"sha256:{sha256}"})
    elif asked.verb == "delete-asset":
        found["assets"] = [each for each in found["assets"] if each["name"] != asked.file]
    elif asked.verb == "download":
        shutil.copyfile(kept / asked.pattern, Path(asked.dir) / asked.pattern)
    else:
        found["isDraft"], found["isPrerelease"] = asked.draft == "true", asked.prerelease == "true"
    book.write_text(json.dumps(releases), encoding="utf-8")
    return 0


def _failed(what: str) -> int:
    sys.stderr.write(f"{what}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

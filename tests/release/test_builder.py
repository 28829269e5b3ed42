"""Making both artefacts: what a build may leave, and what it says when it fails."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from release import builder
from release.environments import scrubbed
from release.model import Refused
from release.runner import Finished, Runner
from tests.release.build_support import (
    EPOCH,
    FILES,
    Recording,
    built,
    exported,
    replaying,
    rules,
    tarred,
    zipped,
)

WHEEL, SDIST = "tiny_demo-1.2.0-py3-none-any.whl", "tiny_demo-1.2.0.tar.gz"


def made(
    runner: Runner, tmp_path: Path, circumstances: builder.Circumstances = builder.SECOND
) -> builder.Made:
    """Build the tiny project in `tmp_path`."""
    return builder.make(
        runner,
        exported(FILES, tmp_path / "tree"),
        tmp_path / "made",
        python=sys.executable,
        circumstances=circumstances,
        epoch=EPOCH,
        home=tmp_path,
    )


def failing(runner: Runner, tmp_path: Path) -> str:
    """What a build is refused for."""
    with pytest.raises(Refused) as caught:
        made(runner, tmp_path)
    assert rules(caught.value.problems) == ["build.succeeds"]
    assert caught.value.problems[0].where == "pyproject.toml"
    return caught.value.problems[0].what


def test_a_build_that_fails_says_what_the_backend_said(tmp_path: Path) -> None:
    """The tool's own words reach the person."""
    assert failing(Recording(code=1), tmp_path) == "the second build failed:\nsaid so"


def test_an_sdist_that_builds_another_wheel_is_refused(tmp_path: Path) -> None:
    """One sdist, one wheel, one name."""
    runner = replaying()
    runner.from_sdist["second"] = {"other-1.0-py3-none-any.whl": b""}
    left = ["other-1.0-py3-none-any.whl", WHEEL]
    assert failing(runner, tmp_path) == f"the second build from the sdist failed:\nit left {left}"


@pytest.mark.parametrize(
    ("more", "gone"),
    [
        (["more.txt"], []),
        (["more.whl"], []),
        (["more.whl"], [SDIST]),
        (["more.tar.gz"], [WHEEL]),
        (["more.txt"], [SDIST]),
        (["more.txt"], [WHEEL]),
        ([], [SDIST]),
        ([], [WHEEL]),
    ],
)
def test_a_build_that_does_not_leave_one_of_each_is_refused(
    tmp_path: Path, more: list[str], gone: list[str]
) -> None:
    """Nobody chooses among files, and none is missing; what was left is named."""
    runner = replaying()
    files = runner.builds["second"]
    for name in gone:
        del files[name]
    files.update(dict.fromkeys(more, b""))
    said = f"it left {sorted(files)}, expected one sdist and one wheel"
    assert failing(runner, tmp_path) == f"the second build failed:\n{said}"


@pytest.mark.parametrize("circumstances", [builder.FIRST, builder.SECOND], ids=lambda each: each.name)
def test_the_wheel_is_made_from_the_tree_and_from_the_sdist(
    tmp_path: Path, circumstances: builder.Circumstances
) -> None:
    """The front end is asked for both of the tree, and for the wheel of the sdist."""
    runner = replaying()
    left = made(runner, tmp_path, circumstances)
    assert left.made_in == f"the {circumstances.name} build"
    places = {path.parent: path.name for path in (left.wheel, left.wheel_from_sdist)}
    assert list(places.values()) == [WHEEL, WHEEL]
    assert left.sdist.read_bytes() == built().sdist
    assert left.sdist.parent == left.wheel.parent
    of_tree, of_sdist = runner.ran
    asked = ["--no-isolation", "--skip-dependency-check"]
    assert of_tree[5:] == [
        *asked,
        "--sdist",
        "--wheel",
        "--outdir",
        str(left.wheel.parent),
        str(tmp_path / "tree"),
    ]
    assert of_sdist[5:-1] == [*asked, "--wheel", "--outdir", str(left.wheel_from_sdist.parent)]
    assert Path(of_sdist[-1]).name == SDIST.removesuffix(".tar.gz")
    assert of_tree[:5] == of_sdist[:5]
    assert of_tree[:3] == [sys.executable, "-I", "-c"]
    assert int(of_tree[4], 8) == circumstances.umask


@pytest.mark.parametrize(
    ("roots", "said"), [((), "[]"), (("one", "two"), "['one', 'two']")], ids=["empty", "two folders"]
)
def test_an_sdist_without_its_one_folder_is_refused(
    tmp_path: Path, roots: tuple[str, ...], said: str
) -> None:
    """Nothing is built from whichever folder comes first, and an empty archive ends in a sentence."""
    runner = replaying()
    [name] = [name for name in runner.builds["second"] if name.endswith(".tar.gz")]
    runner.builds["second"][name] = tarred([(f"{root}/PKG-INFO", b"") for root in roots])
    told = f"the second build from the sdist failed:\n{name} holds {said}, expected one folder"
    assert failing(runner, tmp_path) == told
    assert len(runner.ran) == 1


def test_both_builds_start_from_the_same_clean_place(tmp_path: Path) -> None:
    """The commit's time and the circumstances reach the backend; a person's own settings do not."""
    replay, seen = replaying(), list[tuple[Path, Mapping[str, str] | None]]()

    def runner(argv: Sequence[str | os.PathLike[str]], *, cwd: Path, **options: Any) -> Finished:  # noqa: ANN401 - handed on
        seen.append((cwd, options.get("env")))
        return replay(argv, cwd=cwd, **options)

    made(runner, tmp_path)
    own = {"TZ": "XXX-13:45", "PYTHONHASHSEED": "4242", "PYTHONDONTWRITEBYTECODE": "1"}
    env = scrubbed(tmp_path, SOURCE_DATE_EPOCH=str(EPOCH), **own)
    assert seen == [(tmp_path, env), (tmp_path, env)]


def test_unequal_files_are_told_by_member(tmp_path: Path) -> None:
    """The person sees what to look for, and which file is from where."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, text in ((one, b"X = 1\n"), (two, b"X = 2\n")):
        folder.mkdir()
        (folder / "demo-1.0-py3-none-any.whl").write_bytes(zipped([("demo.py", text), ("same.py", b"")]))
    files = [folder / "demo-1.0-py3-none-any.whl" for folder in (one, two)]
    problems = builder.unequal(files[0], "here", files[1], "there")
    assert rules(problems) == ["build.same-bytes"]
    assert "demo.py" in problems[0].what
    assert "same.py" not in problems[0].what
    assert "(first: here, second: there)" in problems[0].what
    assert builder.unequal(files[0], "here", files[0], "there") == []


def test_a_tree_is_read_with_its_links_apart(tmp_path: Path) -> None:
    """A link is not the file it points at, and a folder behind a link is not read."""
    tree = exported({"a/b.txt": "b", "c.txt": "c"}, tmp_path / "tree")
    (tree / "link.txt").symlink_to("c.txt")
    (tree / "folder").symlink_to("a")
    found = builder.read_tree(tree)
    assert found.files == {"a/b.txt": b"b", "c.txt": b"c"}
    assert found.links == {"link.txt", "folder"}


def test_files_lose_the_permissions_a_umask_takes(tmp_path: Path) -> None:
    """The two builds see the modes that two people's checkouts have."""
    tree = exported({"a/b.txt": "b"}, tmp_path / "tree")
    (tree / "link.txt").symlink_to("/nowhere")
    runner = replaying()
    builder.make(
        runner,
        tree,
        tmp_path / "made",
        python=sys.executable,
        circumstances=builder.SECOND,
        epoch=EPOCH,
        home=tmp_path,
    )
    assert (tree / "a/b.txt").stat().st_mode & 0o777 == 0o600
    assert all("77" in words for words in runner.ran)

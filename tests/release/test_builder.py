"""Making both artefacts: what a build may leave, and what it says when it fails."""

import sys
from pathlib import Path

import pytest

from release import builder
from release.model import Refused
from release.runner import Runner
from tests.release.build_support import EPOCH, FILES, Recording, exported, replaying, rules


def failing(runner: Runner, tmp_path: Path) -> str:
    """What a build is refused for."""
    with pytest.raises(Refused) as caught:
        builder.make(
            runner,
            exported(FILES, tmp_path / "tree"),
            tmp_path / "made",
            python=sys.executable,
            circumstances=builder.SECOND,
            epoch=EPOCH,
            home=tmp_path,
        )
    assert rules(caught.value.problems) == ["build.succeeds"]
    return caught.value.problems[0].what


def test_a_build_that_fails_says_what_the_backend_said(tmp_path: Path) -> None:
    """The tool's own words reach the person."""
    assert failing(Recording(code=1), tmp_path) == "the second build failed:\nsaid so"


def test_an_sdist_that_builds_another_wheel_is_refused(tmp_path: Path) -> None:
    """One sdist, one wheel, one name."""
    runner = replaying()
    runner.from_sdist["second"] = {"other-1.0-py3-none-any.whl": b""}
    assert "other-1.0-py3-none-any.whl" in failing(runner, tmp_path)


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

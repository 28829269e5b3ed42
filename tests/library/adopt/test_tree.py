"""A workspace as it is read: its files and projects, and a finding for whatever cannot be read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.library.adopt.trees import write
from tests.library.adopt.workspaces import ROOT, member, workspace
from tta_agent_coordination.adopt.findings import as_text
from tta_agent_coordination.adopt.tree import is_image_file, matches, read_workspace

PROJECT = "[project]\nname = 'a'\n"


def unread(root: Path) -> list[str]:
    """Return what could not be read below a folder, a line each."""
    return as_text(read_workspace(root).unread).splitlines()


def test_every_file_and_folder_is_named_by_its_place(tmp_path: Path) -> None:
    """Broken: a file is missing, or another one has its name."""
    write(tmp_path, {"pyproject.toml": ROOT, "a/b/c.txt": "", "a/x.py": "y = 1\n", "top.txt": ""})
    (tmp_path / "empty/inner").mkdir(parents=True)
    read = read_workspace(tmp_path)
    assert read.root == tmp_path
    assert read.paths == {"pyproject.toml", "a/b/c.txt", "a/x.py", "top.txt"}
    assert read.folders == {"a", "a/b", "empty", "empty/inner"}
    assert read.texts == {"pyproject.toml": ROOT, "a/x.py": "y = 1\n"}
    assert read.unread == ()


MADE = [
    ".git",
    ".hg",
    ".mypy_cache",
    ".nox",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    ".venv",
    "__pycache__",
    "node_modules",
    "site-packages",
    "venv",
]


def test_folders_that_tools_make_are_not_entered(tmp_path: Path) -> None:
    """Broken: another project's files are judged, or thousands of them take minutes."""
    write(tmp_path, {"pyproject.toml": ROOT, "a/kept/x.py": ""})
    for name in (*MADE, "build", "dist"):
        write(tmp_path, {f"a/{name}/x.py": "", f"{name}/y.py": ""})
    write(tmp_path, {"b/build/__init__.py": "", "b/dist/__init__.py/x": ""})
    read = read_workspace(tmp_path)
    assert read.paths == {"pyproject.toml", "a/kept/x.py", "b/build/__init__.py"}
    assert read.folders == {"a", "a/kept", "b", "b/build"}


def test_link_is_kept_unless_it_leads_nowhere_or_in_a_circle(tmp_path: Path) -> None:
    """Broken: a walk never ends, or a link to a shared file counts as missing."""
    root = write(tmp_path / "root", {"pyproject.toml": ROOT, "a/x.py": "", "b/y.py": ""})
    write(tmp_path, {"outside/z.py": ""})
    for link, target in {
        "a/linked.py": root / "b/y.py",
        "beside": root / "b",
        "out": tmp_path / "outside",
        "a/up": root / "a",
        "a/top": root,
        "gone.py": tmp_path / "gone",
        "loop": root / "loop",
    }.items():
        (root / link).symlink_to(target)
    read = read_workspace(root)
    assert read.paths == {"pyproject.toml", "a/x.py", "b/y.py", "a/linked.py"}
    assert read.folders == {"a", "b", "beside", "out"}
    remedy = "remove it; it was not followed"
    assert sorted(as_text(read.unread).splitlines()) == [
        f"{link}:1: input.link: is a link that leads nowhere or in a circle; {remedy}"
        for link in ("a/top", "a/up", "gone.py", "loop")
    ]


def test_link_is_judged_where_the_command_was_told_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: `tta-adopt workspace .` follows a link into itself, or refuses a good one."""
    write(tmp_path, {"pyproject.toml": ROOT, "a/x.py": ""})
    (tmp_path / "a/top").symlink_to(tmp_path)
    (tmp_path / "fine").symlink_to(tmp_path / "a/x.py")
    monkeypatch.chdir(tmp_path)
    read = read_workspace(Path())
    assert [each.file for each in read.unread] == ["a/top"]
    assert read.paths == {"pyproject.toml", "a/x.py", "fine"}


def test_folder_that_cannot_be_listed_is_named_by_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: what is below is passed over in silence, or the rest is."""
    write(tmp_path, {"pyproject.toml": ROOT, "a/b/x.py": "", "a/c/y.py": ""})
    scan = os.scandir

    def refuse(path: int | os.PathLike[str]) -> Any:  # noqa: ANN401 - what os.scandir returns has no public name
        if not isinstance(path, int) and Path(path) == tmp_path / "a/b":
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    read = read_workspace(tmp_path)
    assert read.paths == {"pyproject.toml", "a/c/y.py"}
    assert as_text(read.unread) == (
        "a/b:1: input.unreadable: cannot be listed: Permission denied; "
        "give the user who runs this the right to read it\n"
    )


def test_file_that_cannot_be_read_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: one bad file ends the run, or nobody hears of it."""
    write(tmp_path, {"pyproject.toml": ROOT, "b.py": "x = 'ä'\n", "c.py": "", "d.py": "y = 1\n"})
    (tmp_path / "a.py").write_bytes(b"x = '\xff'\n")
    (tmp_path / "z.bin").write_bytes(b"\xff")
    read_bytes = Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self.name == "c.py":
            raise PermissionError(13, "Permission denied")
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    read = read_workspace(tmp_path)
    assert as_text(read.unread).splitlines() == [
        "a.py:1: input.encoding: is not UTF-8 at byte 5; save it as UTF-8; it was left out",
        (
            "c.py:1: input.unreadable: cannot be read: Permission denied; "
            "give the user who runs this the right to read it"
        ),
    ]
    assert read.texts == {"pyproject.toml": ROOT, "b.py": "x = 'ä'\n", "d.py": "y = 1\n"}


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Broken: the run waits for somebody to write into a pipe."""
    write(tmp_path, {"pyproject.toml": ROOT})
    os.mkfifo(tmp_path / "pipe.py")
    remedy = "give the user who runs this the right to read it"
    assert unread(tmp_path) == [f"pipe.py:1: input.unreadable: cannot be read: it is no file; {remedy}"]
    assert read_workspace(tmp_path).read("pipe.py") == ""


def test_folder_without_a_pyproject_is_no_workspace(tmp_path: Path) -> None:
    """Broken: the wrong folder looks like a workspace in order."""
    write(tmp_path, {"a/pyproject.toml": PROJECT})
    assert unread(tmp_path) == [
        (
            "pyproject.toml:1: input.pyproject: does not exist: this is not a workspace's root; "
            "name the folder that holds it"
        )
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = \n", 2),
        ("a = 1\n\na = 2\n", 3),
        ('a = 1\n\nb = """\n', 3),
        ("a = 1\r\nb = \r\n", 2),
        ('"', 1),
        ("x = " + "[" * 9_999, 1),
    ],
)
def test_what_is_no_toml_is_named_by_its_line(tmp_path: Path, text: str, line: int) -> None:
    """Broken: a person is sent to the wrong line of the wrong file, or the other projects are lost."""
    write(
        tmp_path,
        {"pyproject.toml": ROOT, "packages/a/pyproject.toml": text, "packages/b/pyproject.toml": PROJECT},
    )
    read = read_workspace(tmp_path)
    (finding,) = read.unread
    assert (finding.rule, finding.file, finding.line) == ("input.toml", "packages/a/pyproject.toml", line)
    assert finding.what.startswith("is no TOML: ")
    assert finding.remedy == "correct it; it was left out"
    assert [each.folder for each in read.projects] == ["", "packages/b"]


def test_byte_order_mark_and_line_ends_of_a_project_are_taken(tmp_path: Path) -> None:
    """Broken: a file that uv reads is called broken."""
    write(tmp_path, {"pyproject.toml": "\ufeff" + ROOT.replace("\n", "\r\n")})
    read = read_workspace(tmp_path)
    assert read.unread == ()
    assert read.top is not None
    assert read.top.name == "root"
    assert read.top.text.startswith("\ufeff")


@pytest.mark.parametrize(
    "name",
    [
        ".mypy.ini",
        ".python-version",
        ".ruff.toml",
        "mypy.ini",
        "pyproject.toml",
        "pyrightconfig.json",
        "ruff.toml",
        "setup.cfg",
        "x.py",
        "Dockerfile",
        "x-compose.yml",
    ],
)
def test_text_of_what_a_rule_reads_is_kept(tmp_path: Path, name: str) -> None:
    """Broken: a rule finds nothing in a file that it never sees."""
    write(
        tmp_path,
        {name: "", f"a/{name}": "", f"a/{name}.bak": "", ".github/x.yml": "", ".github/a/y.yaml": ""},
    )
    write(tmp_path, {"x.yml": "", ".github/z.json": "", "a/.github/x.yml": "", "b.pyi": ""})
    assert set(read_workspace(tmp_path).texts) >= {name, f"a/{name}", ".github/x.yml", ".github/a/y.yaml"}
    left_out = {"x.yml", ".github/z.json", "a/.github/x.yml", "b.pyi"}
    if name != "Dockerfile":
        left_out.add(f"a/{name}.bak")
    assert left_out.isdisjoint(read_workspace(tmp_path).texts)


@pytest.mark.parametrize(
    ("path", "is_image"),
    [
        ("Dockerfile", True),
        ("a/dockerfile.dev", True),
        ("Containerfile", True),
        ("dev.Dockerfile", True),
        ("a/docker-compose.yml", True),
        ("Compose.YAML", True),
        (".devcontainer/devcontainer.json", True),
        ("my.dockerfile.txt", False),
        ("compose.json", False),
        ("composed/x.yml", False),
        ("dockerfile/x.txt", False),
        ("x.yml", False),
        ("my-devcontainer.json", False),
    ],
)
def test_files_that_name_images_are_known_by_their_names(path: str, *, is_image: bool) -> None:
    """Broken: the image that a container starts from is never looked at."""
    assert is_image_file(path) is is_image


@pytest.mark.parametrize(
    ("folder", "glob", "fits"),
    [
        ("a", "a", True),
        ("a", "*", True),
        ("a/b", "*", False),
        ("a/b", "a/*", True),
        ("a/b", "a/[bc]", True),
        ("a/b", "./a/b/", True),
        ("X/bX", "/X/bX/", True),
        ("a/b", "x/../a/b", True),
        ("a", "a/*", False),
        ("a/b/c", "a/*", False),
        ("a/b/c", "a/**", True),
        ("a", "a/**", False),
        ("a/b", "**", True),
        ("a/b/c", "**/c", True),
        ("c", "**/c", True),
        ("a/b/c", "a/**/c", True),
        ("a/c", "a/**/c", True),
        ("a/c", "a/**/**/c", True),
        ("a/b/c", "a/**/**/c", True),
        ("a/b/c", "a/**/b", False),
        ("a/b/c/b", "a/**/b", True),
        ("b/c", "a/**/c", False),
    ],
)
def test_member_pattern_means_what_uv_means(folder: str, glob: str, *, fits: bool) -> None:
    """Broken: a package counts as a member that uv does not see, or the other way round."""
    assert matches(folder, glob) is fits
    root = f"[tool.uv.workspace]\nmembers = ['x', '{glob}']\n"
    assert workspace({"pyproject.toml": root}).has_member(folder) is fits


def test_pattern_that_excludes_may_cross_folders_and_wins() -> None:
    """Broken: what the root keeps out is judged as a member."""
    root = "[tool.uv.workspace]\nmembers = ['packages/**']\nexclude = ['./packages/old*/', 'packages/x']\n"
    read = workspace({"pyproject.toml": root})
    for folder, excluded in (
        ("packages/old", True),
        ("packages/old/deep", True),
        ("packages/x", True),
        ("packages/x/y", False),
        ("packages/new", False),
    ):
        assert read.excludes(folder) is excluded
        assert read.has_member(folder) is not excluded
    assert workspace({"pyproject.toml": root.replace("old*/", "**")}).excludes("packages/a/b")


def test_without_a_root_nobody_is_a_member_or_kept_out() -> None:
    """Broken: a folder that is no workspace ends the run."""
    read = workspace({"packages/a/pyproject.toml": PROJECT})
    assert (read.has_member("packages/a"), read.excludes("packages/a"), read.top) == (False, False, None)
    assert [each.folder for each in read.members] == ["packages/a"]


def test_projects_are_the_roots_those_in_packages_and_those_that_the_root_names(tmp_path: Path) -> None:
    """Broken: a project is judged that uv does not see, or one that it sees is not."""
    root = "[tool.uv.workspace]\nmembers = ['libs/*', 'tools/**']\nexclude = ['libs/old', 'packages/b']\n"
    write(tmp_path, {"pyproject.toml": root})
    for folder in (
        "packages/a",
        "packages/b",
        "packages/a/c",
        "libs/X",
        "libs/new",
        "libs/old",
        "tools/x/y",
        "docs",
    ):
        write(
            tmp_path, {f"{folder}/pyproject.toml": f"[project]\nname = '{folder}'\n", "my-pyproject.toml": ""}
        )
    read = read_workspace(tmp_path)
    assert [each.folder for each in read.projects] == [
        "",
        "libs/X",
        "libs/new",
        "packages/a",
        "packages/b",
        "tools/x/y",
    ]
    assert read.projects[2].name == "libs/new"
    assert read.projects[2].text == "[project]\nname = 'libs/new'\n"


def test_what_exists_is_looked_for_on_the_disk(tmp_path: Path) -> None:
    """Broken: a path that leads out counts as missing, or a name that no disk has ends the run."""
    write(tmp_path, {"root/a/x.py": "", "outside/y.py": ""})
    read = read_workspace(tmp_path / "root")
    for path, exists in (
        ("a", True),
        ("a/x.py", True),
        ("../outside", True),
        (str(tmp_path / "outside/y.py"), True),
        ("gone", False),
        ("x" * 5_000, False),
        ("a\0b", False),
    ):
        assert read.exists(path) is exists
    assert (read.is_folder("a"), read.is_folder("a/x.py"), read.is_folder("../outside")) == (
        True,
        False,
        True,
    )


def test_text_is_read_from_what_is_kept_or_from_the_disk(tmp_path: Path) -> None:
    """Broken: a version file beside the sources has no text, or a file of somebody else has one."""
    write(tmp_path, {"root/a.py": "kept", "root/VERSION": "1.0", "outside": "no"})
    (tmp_path / "root/bytes").write_bytes(b"\xff")
    read = read_workspace(tmp_path / "root")
    (tmp_path / "root/a.py").write_text("changed since")
    (tmp_path / "root/new").write_text("new since")
    assert [read.read(path) for path in ("a.py", "VERSION", "bytes", "../outside", "gone", "new")] == [
        "kept",
        "1.0",
        "",
        "",
        "",
        "",
    ]


def test_owner_of_a_file_is_the_nearest_project_above_it() -> None:
    """Broken: what one project imports is asked of another."""
    files = member(PROJECT, "x.py", "deep/y.py") | {
        "packages/a/inner/pyproject.toml": "",
        "packages/a/inner/z.py": "",
        "packages/b/pyproject.toml": "broken [",
        "packages/b/w.py": "",
        "v.py": "",
    }
    read = workspace(files)
    owners = {path: owner and owner.folder for path in files if (owner := read.owner(path)) or path}
    assert owners == {
        "pyproject.toml": "",
        "packages/a/pyproject.toml": "packages/a",
        "packages/a/x.py": "packages/a",
        "packages/a/deep/y.py": "packages/a",
        "packages/a/inner/pyproject.toml": None,
        "packages/a/inner/z.py": None,
        "packages/b/pyproject.toml": None,
        "packages/b/w.py": None,
        "v.py": "",
    }
    assert workspace({"a/x.py": ""}).owner("a/x.py") is None


def test_project_is_found_by_its_normalised_name() -> None:
    """Broken: a member is not known by the name that others require it by."""
    read = workspace(member("[project]\nname = 'B_c.D'\n"))
    found = read.named("b-c-d")
    assert found is not None
    assert found.folder == "packages/a"
    assert read.named("B_c.D") is read.named("c") is None


@pytest.mark.parametrize(("broken", "whole"), [({"packages/b/pyproject.toml": "x ["}, False), ({}, True)])
def test_workspace_is_whole_when_every_project_could_be_read(broken: dict[str, str], *, whole: bool) -> None:
    """Broken: a name that stands in a file which cannot be read counts as missing."""
    assert workspace(member(PROJECT) | broken).is_whole is whole

"""What belongs to a workspace, rule by rule: each finding whole, and nothing where all is in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.library.adopt.trees import write
from tta_agent_coordination.adopt import membership
from tta_agent_coordination.adopt.findings import AddToArray, Finding, as_text
from tta_agent_coordination.adopt.tree import Workspace, read_workspace

TOP = '[tool.uv.workspace]\nmembers = ["packages/*"]\n'
EXCLUDING = f'{TOP}exclude = ["packages/b"]\n'


def named(name: str, more: str = 'version = "1"\n') -> str:
    """Return the pyproject.toml of one project."""
    return f'[project]\nname = "{name}"\n{more}'


def rows(
    root: Path, rule: Callable[[Workspace], Iterator[Finding]], files: Mapping[str, str]
) -> Sequence[str]:
    """Write files, those of a package by its last name, and return what one rule says of them by line."""
    placed = {path if path.startswith("/") else f"/{path}": text for path, text in files.items()}
    write(root, {path.replace("/~", "/packages/").lstrip("/"): text for path, text in placed.items()})
    return as_text([*rule(read_workspace(root))]).splitlines()


@pytest.mark.parametrize(
    ("top", "said"),
    [
        (TOP, []),
        (
            TOP.replace("*", "[ac]"),
            ["pyproject.toml:2: workspace.member: packages/b {no}; add {b} to {members}"],
        ),
        (
            EXCLUDING,
            ["pyproject.toml:2: workspace.member: packages/b {no}; take it out of `exclude` in {table}"],
        ),
        (
            "[project]\nname = 'top'\n",
            [
                f"pyproject.toml:1: workspace.member: packages/{name} {{no}}; add {{{name}}} to {{members}}"
                for name in "abc"
            ],
        ),
    ],
)
def test_every_package_is_a_member(tmp_path: Path, top: str, said: list[str]) -> None:
    """Broken: a package is neither locked nor tested with the others, and nobody is told how to mend it."""
    files = {"pyproject.toml": top, **{f"~{name}/pyproject.toml": named(name) for name in "abc"}}
    words = {name: f'"packages/{name}"' for name in "abc"} | {
        "no": "has a pyproject.toml and is no member",
        "members": "`members` in [tool.uv.workspace]",
        "table": "[tool.uv.workspace]",
    }
    assert rows(tmp_path, membership.members, files) == [line.format(**words) for line in said]


def test_missing_member_is_added_by_a_change_and_an_excluded_one_by_a_person(tmp_path: Path) -> None:
    """Broken: `--fix` writes nothing, or overrules what somebody excluded."""
    write(tmp_path, {"packages/b/pyproject.toml": named("b"), "pyproject.toml": "[project]\n"})
    (missing,) = membership.members(read_workspace(tmp_path))
    assert missing.change == AddToArray(path=("tool", "uv", "workspace", "members"), value="packages/b")
    write(tmp_path, {"pyproject.toml": EXCLUDING})
    (excluded,) = membership.members(read_workspace(tmp_path))
    assert excluded.change is None


def test_member_that_uv_is_told_not_to_manage_is_none(tmp_path: Path) -> None:
    """Broken: a member is left out of the lock, or one that says it is managed is reported."""
    files = {"pyproject.toml": TOP, "~a/pyproject.toml": f"{named('a')}[tool.uv]\nmanaged = true\n"}
    files["~b/pyproject.toml"] = f"{named('b')}[tool.uv]\npackage = true\nmanaged = false\n"
    assert rows(tmp_path, membership.members, files) == [
        (
            "packages/b/pyproject.toml:6: workspace.member: packages/b is no member, since uv is told "
            "not to manage it; take `managed = false` out of [tool.uv]"
        )
    ]


@pytest.mark.parametrize("rule", [membership.members, membership.folders])
def test_workspace_without_a_root_has_no_members(
    tmp_path: Path, rule: Callable[[Workspace], Iterator[Finding]]
) -> None:
    """Broken: a traceback instead of the line that there is no root."""
    assert rows(tmp_path, rule, {"~a/pyproject.toml": named("a"), "~b/readme": ""}) == []


def test_path_that_members_name_is_there(tmp_path: Path) -> None:
    """Broken: a typing error leaves a package out, or a pattern that means nothing yet is reported."""
    globs = ["packages/a", "gone-*", "gone-?", "gon[e]", "missing", "packages/gone"]
    lines = "".join(f"  {glob!r},\n" for glob in globs)
    files = {
        "pyproject.toml": f"[tool.uv.workspace]\nmembers = [\n{lines}]\n",
        "~a/pyproject.toml": named("a"),
    }
    assert rows(tmp_path, membership.folders, files) == [
        f"pyproject.toml:{line}: workspace.folder: `members` names {path}, which does not exist; "
        "correct the path or remove it"
        for line, path in ((7, "missing"), (8, "packages/gone"))
    ]


@pytest.mark.parametrize(
    ("files", "folders"),
    [
        ({"~x/readme": ""}, ["x"]),
        ({"~x/deep/readme": "", "~c/readme": ""}, ["c", "x"]),
        ({"~.x/readme": "", "~y.x/readme": ""}, ["y.x"]),
        ({"~d/.x/readme": "", "~d/y/readme": "", "~d/pyproject.toml": ""}, ["d/y"]),
        ({"~b/readme": "", "~x/readme": ""}, ["x"]),
        ({"~file": "", "docs/readme": ""}, []),
        ({"~empty/none/": "", "~emptying/readme": ""}, ["emptying"]),
    ],
)
def test_folder_that_members_mean_is_a_project(
    tmp_path: Path, files: dict[str, str], folders: list[str]
) -> None:
    """Broken: uv refuses a workspace that passed, or a folder that uv overlooks is reported."""
    for path in [path for path in files if path.endswith("/")]:
        (tmp_path / path.replace("~", "packages/")).mkdir(parents=True)
        files = {other: text for other, text in files.items() if other != path}
    top = EXCLUDING.replace('"packages/*"', '"packages/*", "packages/d/*"')
    assert rows(tmp_path, membership.folders, {"pyproject.toml": top, "~a/pyproject.toml": "", **files}) == [
        f"pyproject.toml:2: workspace.folder: packages/{folder} is meant by `members` and has no "
        "pyproject.toml; add one, or name the folder in `exclude` in [tool.uv.workspace]"
        for folder in folders
    ]


def test_member_is_no_workspace(tmp_path: Path) -> None:
    """Broken: uv refuses a workspace inside of another, and it passed here."""
    files = {"pyproject.toml": TOP, "~a/pyproject.toml": f"{named('a')}[tool.uv]\nmanaged = true\n"}
    files |= {f"~{name}/pyproject.toml": f"{named(name)}[tool.uv.workspace]\n" for name in "bc"}
    assert rows(tmp_path, membership.nested, files) == [
        f"packages/{name}/pyproject.toml:4: workspace.nested: packages/{name} is a member and has a "
        "[tool.uv.workspace] itself; remove the table, and name its members in the root's"
        for name in "bc"
    ]


@pytest.mark.parametrize(
    ("top", "said"),
    [
        (TOP, []),
        (named("top"), []),
        (f"{TOP}[project]\nversion = '1'\n", ["pyproject.toml:3: project.name: has no project name"]),
        (
            f"{TOP}[project]\nversion = '1'\nname = 'a'\n",
            ["packages/a/pyproject.toml:2: project.name: a is the name of pyproject.toml too"],
        ),
    ],
)
def test_every_project_has_a_name_of_its_own(tmp_path: Path, top: str, said: list[str]) -> None:
    """Broken: two packages overwrite each other when they are installed."""
    files = {
        "pyproject.toml": top,
        "~a/pyproject.toml": named("a"),
        "~b/pyproject.toml": "[tool.x]\n",
        "~c/pyproject.toml": "# c\n\n[project]\nversion = '1'\n",
        "~d/pyproject.toml": "[project]\nversion = '1'\nname = 'A'\n",
    }
    first = "pyproject.toml" if "'a'" in top else "packages/a/pyproject.toml"
    told = [
        *said,
        "packages/b/pyproject.toml:1: project.name: has no project name",
        "packages/c/pyproject.toml:3: project.name: has no project name",
        f"packages/d/pyproject.toml:3: project.name: a is the name of {first} too",
    ]
    remedies = {True: "; add `name` to [project]", False: "; rename one of the two"}
    assert rows(tmp_path, membership.names, files) == [line + remedies["no project" in line] for line in told]


def test_every_project_has_a_version(tmp_path: Path) -> None:
    """Broken: a package cannot be built, and it passed here."""
    files = {
        "pyproject.toml": f"{TOP}[project]\nname = 'top'\n",
        "~a/pyproject.toml": named("a"),
        "~b/pyproject.toml": named("b", 'dynamic = ["readme", "version"]\n'),
        "~c/pyproject.toml": "[project]\n",
        "~d/pyproject.toml": named("d", 'dynamic = ["readme"]\n'),
        "~e/pyproject.toml": named("e", 'version = ""\n'),
    }
    assert rows(tmp_path, membership.versions, files) == [
        f"{file}: project.version: {name} has no version; "
        'add `version`, or `dynamic = ["version"]`, to [project]'
        for file, name in (("pyproject.toml:3", "top"), ("packages/d/pyproject.toml:1", "d"))
    ]


FILES = 'license = "MIT"\nlicense-files = {}\n'
GONE = ": licence.file: the licence file {} does not exist; add the file"
NONE = (
    ":4: licence.file: declares a licence, and there is no licence file beside it; "
    "add a LICENSE file to the folder"
)


@pytest.mark.parametrize(
    ("stated", "paths", "said"),
    [
        ("", [], []),
        ("license-files = []\n", [], []),
        ("license = ''\n", [], []),
        (FILES.format("[]"), [], []),
        (FILES.format("['A', 'B', 'C']"), ["B"], [f":5{GONE.format('A')}", f":5{GONE.format('C')}"]),
        (FILES.format("['A*', 'terms/*']"), ["ABC", "terms/x"], []),
        (FILES.format("{ paths = ['A', 'B'] }"), ["A"], [f":5{GONE.format('B')}"]),
        (FILES.format("{ globs = ['A', 'B'] }"), ["A"], [f":5{GONE.format('B')}"]),
        ("license-files = ['A']\n", [], [f":4{GONE.format('A')}"]),
        ("license = { file = 'A' }\n", [], [f":4{GONE.format('A')}"]),
        ("license = { file = 'A' }\n", ["A"], []),
        (
            "license = { file = 'A' }\nlicense-files = ['B']\n",
            [],
            [f":5{GONE.format('B')}", f":4{GONE.format('A')}"],
        ),
        ("license = { text = 'MIT' }\n", [], [NONE]),
        ("license = { text = 'MIT' }\n", ["LICENSE"], []),
        ("license = { file = 5 }\n", [], [NONE]),
        ("license = 'MIT'\n", ["src/LICENSE", "NOTICE", "my-license", "licenses/MIT.txt"], [NONE]),
        *(
            ("license = 'MIT'\n", [path], [])
            for path in (
                "LICENSE",
                "License.txt",
                "LICENCE.md",
                "copying",
                "COPYING.LESSER",
                "UNLICENSE",
                "LICENSES/MIT.txt",
            )
        ),
    ],
)
@pytest.mark.parametrize("folder", ["", "packages/b/"])
def test_licence_has_its_file(
    tmp_path: Path, folder: str, stated: str, paths: list[str], said: list[str]
) -> None:
    """Broken: a package is published without the licence that it declares, or one in order is reported."""
    files = {"pyproject.toml": TOP, "~a/pyproject.toml": named("a"), "~bb/LICENSE": "", "~bb/A": ""}
    files[f"{folder}pyproject.toml"] = named("b", 'version = "1"\n') + stated + (TOP if not folder else "")
    files |= {f"{folder}{path}": "" for path in paths}
    files |= {"~c/pyproject.toml": named("c", "license = 'MIT'\nversion = '1'\n")}
    other = f"packages/c/pyproject.toml{NONE}".replace(":4:", ":3:")
    assert rows(tmp_path, membership.licences, files) == [
        *(f"{folder}pyproject.toml{line}" for line in said),
        other,
    ]

"""What a member is built from: each backend looks in its own places, and what it misses is named."""

from __future__ import annotations

import pytest

from tests.library.adopt.workspaces import member, said
from tta_agent_coordination.adopt.building import built

NAMED = '[project]\nname = "a-b"\n'
NOTHING = "packages/a/pyproject.toml:3: workspace.sources: there is nothing to build: "
FOR_HATCHLING = "no a_b/__init__.py, src/a_b/__init__.py or a_b.py"
NO_PYTHON = "no Python file outside of tests/"


def by(backend: str, more: str = "", name: str = "a-b") -> str:
    """Return the pyproject.toml of a member that a backend builds."""
    return f'[project]\nname = "{name}"\n[build-system]\nbuild-backend = "{backend}"\n{more}'


def missing(what: str, wanted_by: str) -> list[str]:
    """Return the one line for a member without sources."""
    return [f"{NOTHING}{what}; add the sources, or name their folder as {wanted_by} wants it"]


@pytest.mark.parametrize(
    ("text", "paths", "what", "wanted_by"),
    [
        (NAMED + "[build-system]\nrequires = []\n", (), NO_PYTHON, "setuptools"),
        (by("setuptools.build_meta"), ("tests/x.py", "a/tests/y.py", "lib.rs/x.rs"), NO_PYTHON, "setuptools"),
        (
            by("setuptools"),
            ("setup.py", "conftest.py", "noxfile.py", "hatch_build.py"),
            NO_PYTHON,
            "setuptools",
        ),
        (by("poetry.core.masonry.api"), ("src/lib.rs",), NO_PYTHON, "poetry"),
        (by("flit_core.buildapi"), ("src/lib.rs",), NO_PYTHON, "flit_core"),
        (by("pdm.backend"), ("src/lib.rs",), NO_PYTHON, "pdm"),
        (
            by("setuptools", "[tool.hatch.build.targets.wheel]\npackages = ['src']\n"),
            ("src/x.txt",),
            NO_PYTHON,
            "setuptools",
        ),
        (by("maturin"), ("lib.rs", "tests/lib.rs", "src/conftest.py"), NO_PYTHON, "maturin"),
        (by("maturin"), ("../ab/src/lib.rs", "../ab/x.py"), NO_PYTHON, "maturin"),
        (by("hatchling.build"), (), FOR_HATCHLING, "hatchling"),
        (
            by("hatchling.build"),
            ("b.py", "src/a_b.py", "a_b/x.py", "lib/x/a_b.py"),
            FOR_HATCHLING,
            "hatchling",
        ),
        (by("hatchling.build"), ("x/y/a_b/__init__.py", "x/z_a_b/__init__.py"), FOR_HATCHLING, "hatchling"),
        (by("hatchling.build"), ("x/a_b/__init__.py", "y/a_b/__init__.py"), FOR_HATCHLING, "hatchling"),
        (by("hatchling.build"), ("x/a_b/__init__xpy", "../b/x/a_b/__init__.py"), FOR_HATCHLING, "hatchling"),
        (
            by("hatchling.build", name="A.b"),
            ("x/Axb/__init__.py", "A/b/__init__.py"),
            "no a_b/__init__.py, src/a_b/__init__.py or a_b.py",
            "hatchling",
        ),
        (by("hatchling.build", "[tool.hatch.build]\nexclude = ['x']\n"), (), FOR_HATCHLING, "hatchling"),
        (by("uv_build"), ("a_b/__init__.py", "src/a_b.py"), "no src/a_b/__init__.py", "uv_build"),
        (
            by("uv_build", "[tool.uv.build-backend]\nmodule-root = '/lib/'\n"),
            ("src/a_b/__init__.py", "a_b/__init__.py"),
            "no lib/a_b/__init__.py",
            "uv_build",
        ),
        (
            by("uv_build", "[tool.uv.build-backend]\nmodule-name = ['c', 'd.e']\n"),
            ("src/c/__init__.py", "src/d/__init__.py", "src/a_b/__init__.py"),
            "no src/d/e/__init__.py",
            "uv_build",
        ),
        (
            by("uv_build", "[tool.uv.build-backend]\nmodule-name = 'c.d'\nnamespace = true\n"),
            ("src/c/d.py",),
            "no src/c/d/",
            "uv_build",
        ),
        (
            by("uv_build", "[tool.uv.build-backend]\nmodule-name = 'c'\nnamespace = false\n"),
            ("src/c/d.py",),
            "no src/c/__init__.py",
            "uv_build",
        ),
    ],
)
def test_what_the_backend_misses_is_named(
    text: str, paths: tuple[str, ...], what: str, wanted_by: str
) -> None:
    """Broken: a member is released with nothing in it, or a person looks for the sources elsewhere."""
    files = member(text)
    for path in paths:
        files["packages/" + path.removeprefix("../") if path.startswith("../") else f"packages/a/{path}"] = ""
    assert said(built, files) == missing(what, wanted_by)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (NAMED, ()),
        (by("hatchling.build", "[tool.uv]\npackage = false\n"), ()),
        (NAMED + "[build-system]\nrequires = []\n", ("x.py",)),
        (by("setuptools"), ("src/x.pyi",)),
        (by("maturin"), ("x.py",)),
        (by("maturin"), ("src/lib.rs",)),
        (by("hatchling.build"), ("a_b/__init__.py",)),
        (by("hatchling.build"), ("src/a_b/__init__.py",)),
        (by("hatchling.build"), ("a_b.py",)),
        (by("hatchling.build"), ("x/a_b/__init__.py",)),
        (by("hatchling.build", name="A.b"), ("A.b.py",)),
        (by("hatchling.build", name="A  b"), ("A_b.py",)),
        (by("hatchling.build", name="A.b"), ("x/A.b/__init__.py",)),
        *(
            (by("hatchling.build", f"[tool.hatch.build{table}]\n{option} = {value}\n"), ())
            for table in ("", ".targets.wheel")
            for option, value in (
                ("bypass-selection", "true"),
                ("force-include", "{ x = 'y' }"),
                ("include", "['x']"),
                ("only-include", "['x']"),
            )
        ),
        (by("hatchling.build", "[tool.hatch.build]\npackages = ['x']\n"), ()),
        (by("uv_build"), ("src/a_b/__init__.py",)),
        (by("uv_build", "[tool.uv.build-backend]\nmodule-root = ''\n"), ("a_b/__init__.py",)),
        (by("uv_build", "[tool.uv.build-backend]\nmodule-root = '/X/'\n"), ("X/a_b/__init__.py",)),
        (
            by("uv_build", "[tool.uv.build-backend]\nmodule-name = ['c', 'd.e']\n"),
            ("src/c/__init__.py", "src/d/e/__init__.py"),
        ),
        (
            by("uv_build", "[tool.uv.build-backend]\nmodule-name = 'c.d'\nnamespace = true\n"),
            ("src/c/d/e.py",),
        ),
        (by("uv_build", "[tool.uv.build-backend]\nmodule-name = 'c_stubs'\n"), ("src/c-stubs/x.pyi",)),
    ],
)
def test_member_with_sources_where_its_backend_looks_is_fine(text: str, paths: tuple[str, ...]) -> None:
    """Broken: a false alarm for a layout that the backend takes."""
    assert said(built, member(text, *paths)) == []


@pytest.mark.parametrize(
    "option", ["module-name = ['c_stubs', 'd']", "module-name = ['c', 'd']\nnamespace = true"]
)
def test_every_module_of_uv_is_looked_for(option: str) -> None:
    """Broken: the first of several modules stands for all of them."""
    files = member(by("uv_build", f"[tool.uv.build-backend]\n{option}\n"), "src/c/x.py")
    assert len(said(built, files)) == 1


def test_listed_packages_are_looked_for_one_by_one() -> None:
    """Broken: a folder that is gone is left out of a release without a word, or all the others with it."""
    listed = "[tool.hatch.build.targets.wheel]\nexclude = ['gone', 'far']\npackages = [\n"
    listed += '  "src/c",\n  "./X/",\n  "e.py",\n  "gone",\n  "far",\n]\n'
    text = by("hatchling.build", listed)
    where = "packages/a/pyproject.toml"
    why = "which does not exist; name the folder that holds the sources"
    assert said(built, member(text, "src/c/x.py", "X/x.py", "e.py")) == [
        f"{where}:11: workspace.sources: `packages` names gone, {why}",
        f"{where}:12: workspace.sources: `packages` names far, {why}",
    ]


def test_each_member_is_looked_at_and_the_root_is_not() -> None:
    """Broken: the first member without a build hides what is wrong with the next."""
    files = member(NAMED) | {
        "packages/b/pyproject.toml": by("uv_build"),
        "packages/c/pyproject.toml": by("hatchling.build", "[tool.uv]\npackage = false\n"),
        "packages/d.e/pyproject.toml": by("hatchling.build"),
        "packages/dxe/y/a_b/__init__.py": "",
        "pyproject.toml": by("hatchling.build", "[tool.uv.workspace]\nmembers = ['packages/*']\n"),
    }
    assert [line.partition(":")[0] for line in said(built, files)] == [
        "packages/b/pyproject.toml",
        "packages/d.e/pyproject.toml",
    ]

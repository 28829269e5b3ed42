"""Whatever a project imports, it declares: which imports count, and who may import what."""

from __future__ import annotations

import ast

import pytest

from tests.library.adopt.workspaces import ROOT, member, said
from tta_agent_coordination.adopt.imported import undeclared

A = "packages/a/pyproject.toml"
CODE = "packages/a/src/a_a/more.py"


def project(dependencies: str = "", more: str = "", name: str = "a-a") -> str:
    """Return a pyproject.toml that declares something."""
    return f"[project]\nname = '{name}'\ndependencies = [{dependencies}]\n{more}"


def coded(
    code: str, dependencies: str = "", more: str = "", path: str = CODE, root: str = ROOT
) -> dict[str, str]:
    """Return a workspace whose one member has one file of code."""
    return member(project(dependencies, more), "src/a_a/__init__.py", root=root) | {path: code}


def missing(files: dict[str, str]) -> list[tuple[int, str]]:
    """Return the line of each import that nothing declares, and the module."""
    found = [line.split(" ") for line in said(undeclared, files)]
    assert {words[1] for words in found} <= {"import.undeclared:"}
    return [(int(words[0].split(":")[1]), words[3].rstrip(",")) for words in found]


def test_import_that_nothing_declares_is_named_with_its_line() -> None:
    """Broken: the package cannot be imported where only its dependencies are installed."""
    files = coded("import os\n\nimport zlib, requests.x\nfrom httpx.y import z\n")
    assert said(undeclared, files) == [
        (
            f"{CODE}:4: import.undeclared: imports httpx, which no dependency of a-a declares; "
            f"declare what it comes from in {A}"
        ),
        (
            f"{CODE}:3: import.undeclared: imports requests, which no dependency of a-a declares; "
            f"declare what it comes from in {A}"
        ),
    ]
    nameless = {"pyproject.toml": "[tool.uv.workspace]\n", "x.py": "import requests\n"}
    assert said(undeclared, nameless) == [
        (
            "x.py:1: import.undeclared: imports requests, which no dependency of the root declares; "
            "declare what it comes from in pyproject.toml"
        )
    ]


def test_import_of_another_member_names_it() -> None:
    """Broken: a person does not know which dependency is missing."""
    files = coded("import b_b\nimport c\n", "'C'") | {
        "packages/b/pyproject.toml": project(name="b-b"),
        "packages/b/src/b_b/__init__.py": "",
        "packages/c/pyproject.toml": project(name="c"),
        "packages/c/src/other/__init__.py": "import a_a\n",
        "packages/c/src/c/x.py": "import zipapp\nimport other\n",
    }
    assert [line.partition("; ")[::2] for line in said(undeclared, files)] == [
        (
            f"{CODE}:1: import.undeclared: imports b_b, which no dependency of a-a declares",
            f"declare b-b in {A}",
        ),
        (
            (
                "packages/c/src/other/__init__.py:1: import.undeclared: imports a_a, "
                "which no dependency of c declares"
            ),
            "declare a-a in packages/c/pyproject.toml",
        ),
    ]
    assert missing(files | {CODE: "import other\n"}) == [(1, "a_a")]


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("import x\nimport x\n", [(1, "x")]),
        ("import y\nimport x\nimport x.a as b, y.c\n", [(2, "x"), (1, "y")]),
        ("from x import y\nfrom .z import a\nfrom . import z\nfrom ..z.a import b\n", [(1, "x")]),
        ("def f():\n    import x\n", [(2, "x")]),
        ("class A:\n    async def f(self):\n        import x\n", [(3, "x")]),
        ("if a:\n    import x\nelif b:\n    import y\nelse:\n    import z\n", [(2, "x"), (4, "y"), (6, "z")]),
        ("for a in b:\n    import x\nelse:\n    import y\n", [(2, "x"), (4, "y")]),
        ("match a:\n    case 1:\n        import x\n", [(3, "x")]),
        ("with a() as b, c:\n    import x\n", [(2, "x")]),
        ("try:\n    import x\nexcept E:\n    import y\nelse:\n    import z\nfinally:\n    import w\n",
         [(8, "w"), (6, "z")]),
        ("import w\ntry:\n    import x\nexcept E:\n    pass\n", [(1, "w")]),
        ("import w\nif TYPE_CHECKING:\n    import x\n", [(1, "w")]),
        ("try:\n    import x\nexcept* E:\n    import y\nelse:\n    import z\n", [(6, "z")]),
        ("if TYPE_CHECKING:\n    import x\nelse:\n    import y\n", [(4, "y")]),
        ("if typing.TYPE_CHECKING and a:\n    import x\nimport y\n", [(3, "y")]),
        ("if 'TYPE_CHECKING':\n    import x\n", [(2, "x")]),
        ("with suppress(ImportError):\n    import x\nimport y\n", [(3, "y")]),
        ("with a, contextlib.suppress(E):\n    import x\nimport y\n", [(3, "y")]),
        ("while suppress:\n    import x\n", [(2, "x")]),
        ("async def f():\n    async with suppress():\n        import x\n", [(3, "x")]),
        ("\ufeffimport x\n", [(1, "x")]),
        ("'\\d'\nimport x\n", [(2, "x")]),
    ],
)  # fmt: skip
def test_imports_that_are_no_options_count(code: str, lines: list[tuple[int, str]]) -> None:
    """Broken: what a package cannot do without is overlooked, or what it can is asked for."""
    assert missing(coded(code)) == lines


@pytest.mark.parametrize(
    ("code", "line", "what"),
    [
        ("x = 1\ny = (\n", 2, "'(' was never closed"),
        ("x = 1\0\n", 1, "source code string cannot contain null bytes"),
    ],
)
def test_file_that_is_no_python_is_one_line_and_the_rest_goes_on(code: str, line: int, what: str) -> None:
    """Broken: one broken file hides the others."""
    files = coded(code) | {"packages/a/src/a_a/next.py": "import x\n"}
    remedy = "correct it; its imports were not looked at"
    broken, other = said(undeclared, files)
    assert broken == f"{CODE}:{line}: input.python: is no Python: {what}; {remedy}"
    assert "imports x" in other


@pytest.mark.parametrize(
    ("error", "why"), [(MemoryError(), "MemoryError"), (ValueError("zero bytes"), "zero bytes")]
)
def test_file_that_python_gives_up_on_is_said_with_its_reason(
    error: Exception, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a person learns that something is wrong, and not what."""

    def refuse(_text: str) -> ast.Module:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(ast, "parse", refuse)
        (line, *_) = said(undeclared, coded("x = 1\n"))
    assert f":1: input.python: is no Python: {why}; " in line


def test_dependencies_that_a_backend_finds_are_not_judged() -> None:
    """Broken: what only a build knows is called missing, or the next project is no longer looked at."""
    hidden = project(more="dynamic = ['dependencies']\n").replace("dependencies = []\n", "")
    files = coded("import x\n") | {
        A: hidden,
        "packages/a/src/a_a/z.py": "broken (",
        "packages/b/pyproject.toml": project(name="b"),
        "packages/b/b.py": "import y\n",
    }
    assert [line.split(": ")[1] for line in said(undeclared, files)] == ["input.python", "import.undeclared"]


def test_files_of_nobody_and_of_other_kinds_are_left_alone() -> None:
    """Broken: text that is no code, or belongs to a project that cannot be read, is judged."""
    files = coded("import x\n") | {
        "packages/a/README.md": "import y\n",
        "packages/b/pyproject.toml": "broken [",
        "packages/b/z.py": "import z\n",
        "packages/a/examples/pyproject.toml": project(name="e"),
        "packages/a/examples/w.py": "import w\n",
    }
    assert missing(dict(sorted(files.items()))) == [(1, "x")]


@pytest.mark.parametrize(
    ("module", "distribution"),
    [
        ("x", "x"),
        ("x_y", "X.y"),
        ("x", "python-x"),
        ("x", "pyx"),
        ("x", "x-python"),
        ("x", "x-anything"),
        ("x_y", "xy"),
        ("xy", "x-y"),
        ("yaml", "PyYAML"),
        ("yaml", "ruamel.yaml"),
        ("PIL", "pillow"),
        ("cv2", "opencv-python-headless"),
    ],
)
def test_distribution_that_a_modules_name_leads_to_is_enough(module: str, distribution: str) -> None:
    """Broken: a person declares what is declared already."""
    assert missing(coded(f"import {module}\n", f"'{distribution}>=1'")) == []


@pytest.mark.parametrize(
    ("module", "distribution"),
    [("x", "xy"), ("x", "y-x"), ("x_y", "x"), ("x", "z-python"), ("PIL", "pil-low"), ("pillow", "pil")],
)
def test_distribution_with_another_name_is_not(module: str, distribution: str) -> None:
    """Broken: what is missing passes because something has a name like it."""
    allowed = {("PIL", "pil-low")}
    wanted = [] if (module, distribution) in allowed else [(1, module)]
    assert missing(coded(f"import {module}\n", f"'{distribution}'")) == wanted


SCRIPT = "# /// script\n# dependencies = [\n#   'X_x[y]>=1',\n#'z',\n# ]\n#\n# ///\nimport x_x, z, w\n"


def test_script_has_its_own_dependencies() -> None:
    """Broken: a script is asked to have its needs installed with the package."""
    assert missing(coded(SCRIPT)) == [(8, "w"), (8, "x_x"), (8, "z")]
    assert missing(coded(SCRIPT.replace("#'z'", "# 'z'"))) == [(8, "w")]
    assert missing(coded("# no ///\n" + SCRIPT.replace("#'z'", "# 'z'"))) == [(9, "w")]


@pytest.mark.parametrize(
    "head", ["# dependencies = [\n", "# dependencies = ['no requirement']\n", "# a = " + "[" * 9_999 + "\n"]
)
def test_script_whose_head_means_nothing_declares_nothing(head: str) -> None:
    """Broken: a typing error in one script ends the run."""
    assert missing(coded(f"# /// script\n{head}# ///\nimport x\n")) == [(4, "x")]


def test_import_of_a_neighbour_is_no_dependency() -> None:
    """Broken: a module of the project itself is to be declared."""
    files = coded("import b_next\nimport a_a\nimport beside\nimport far\n") | {
        "packages/a/src/a_a/b_next.py": "",
        "packages/a/beside.py": "",
        "packages/a/src/a_a/far/x.py": "",
        "far.py": "",
    }
    assert missing(files) == [(4, "far")]
    assert missing({"pyproject.toml": ROOT, "x.py": "import y\nimport z\n", "y.py": ""}) == [(2, "z")]


@pytest.mark.parametrize(
    ("listed", "path", "found"),
    [
        ("src/a_a", "src/b.py", []),
        ("lib/a_a", "lib/b/__init__.py", []),
        ("/lib/a_a/", "lib/b.py", []),
        ("lib/deep/a_a", "lib/deep/b.py", []),
        ("lib/deep/a_a", "b/c.py", []),
        ("X/a_a", "X/b.py", []),
        ("lib/deep/a_a", "lib/deep/c/b.py", [(1, "b")]),
        ("lib/deep/a_a", "lib/b.py", [(1, "b")]),
        ("lib/a_a", "b/c.txt", [(1, "b")]),
    ],
)
def test_modules_of_a_project_lie_where_it_is_built_from(
    listed: str, path: str, found: list[tuple[int, str]]
) -> None:
    """Broken: a package that a folder of its own holds counts as a stranger."""
    more = f"[tool.hatch.build.targets.wheel]\npackages = ['x', '{listed}']\n"
    files = coded("import b\n", more=more, path=f"packages/a/{listed.strip('/')}/m.py")
    assert missing(files | {f"packages/a/{path}": ""}) == found


GROUP = "[dependency-groups]\ndev = ['g']\n"
ROOT_GROUP = (
    ROOT.replace("requires-python", "dependencies = ['r']\nrequires-python")
    + "[dependency-groups]\nd = ['s']\n"
)
BUILD = "[build-system]\nrequires = ['h']\n"


@pytest.mark.parametrize(
    ("path", "apart"),
    [
        ("src/a_a/more.py", False),
        ("src/conf.py", False),
        ("tests/test_x.py", True),
        ("src/a_a/tests/x.py", True),
        ("src/a_a/test/x.py", True),
        ("src/a_a/conftest.py", True),
        ("scripts/run.py", True),
        ("noxfile.py", True),
        ("src.py", True),
    ],
)
def test_groups_and_the_roots_needs_are_for_what_is_not_installed(path: str, *, apart: bool) -> None:
    """Broken: an installed module imports what only developers have; or a test has to be installed."""
    files = coded("import g, h, r, s\n", more=GROUP + BUILD, path=f"packages/a/{path}", root=ROOT_GROUP)
    assert [name for _, name in missing(files)] == ([] if apart else ["g", "h", "r", "s"])


def test_without_a_folder_for_sources_the_package_is_installed() -> None:
    """Broken: a flat project's modules count as scripts, or its scripts as modules."""
    files = member(project(more=GROUP), "a_a/__init__.py")
    assert missing(files | {"packages/a/a_a/x.py": "import g\n"}) == [(1, "g")]
    assert missing(files | {"packages/a/b_a/x.py": "import g\n"}) == []
    assert missing(files | {"packages/a/a_a.py": "import g\n"}) == []


@pytest.mark.parametrize("listed", ["['Xlib']", "['/Xlib/']", "['x', 'Xlib']"])
def test_folders_that_hatchling_is_told_to_install_are_installed(listed: str) -> None:
    """Broken: what is installed counts as a script, or the other way round."""
    more = f"{GROUP}[tool.hatch.build.targets.wheel]\npackages = {listed}\n"
    for path, found in (("Xlib/y.py", [(1, "g")]), ("src/a_a/y.py", []), ("Xlibrary/y.py", [])):
        assert missing(coded("import g\n", more=more, path=f"packages/a/{path}")) == found


def test_file_that_is_installed_is_judged_by_itself() -> None:
    """Broken: the first file of a project decides for all of them."""
    files = coded("import g\n", more=GROUP, path="packages/a/a.py") | {
        CODE: "import g\n",
        "packages/a/tests/z.py": "import g\n",
        "packages/b/pyproject.toml": project(name="b"),
        "packages/b/tests/z.py": "import g\n",
    }
    assert [line.partition(": ")[0] for line in said(undeclared, files)] == [
        f"{CODE}:1",
        "packages/b/tests/z.py:1",
    ]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("tests/helper.py", []),
        ("tools/helper.py", []),
        ("tests/helper/x.py", []),
        ("tests/helper/__init__.py", []),
        ("tests/helper/test_x.py", [(1, "helper")]),
        ("tests/helper.txt", [(1, "helper")]),
        ("tests/deep/__init__.py", [(1, "helper")]),
        ("../b/tests/helper.py", [(1, "helper")]),
    ],
)
def test_tests_import_what_lies_beside_tests(path: str, found: list[tuple[int, str]]) -> None:
    """Broken: a helper of the tests is to be declared, or something with its name stands for it."""
    files = coded("import helper\n", path="packages/a/tests/test_it.py")
    files["packages/b/pyproject.toml"] = project(name="b")
    place = path.removeprefix("../") if path.startswith("../") else f"a/{path}"
    assert missing(files | {f"packages/{place}": ""}) == found
    assert missing({**files, CODE: "import helper\n", f"packages/{place}": ""})[:1] == [(1, "helper")]


def test_module_inside_a_package_is_not_beside_tests() -> None:
    """Broken: the inside of a package counts as importable by itself."""
    files = coded("import helper, pack, deep\n", path="packages/a/tests/test_it.py") | {
        "packages/a/tools/pack/__init__.py": "",
        "packages/a/tools/pack/helper.py": "",
        "packages/a/tools/pack/deep/x.py": "",
    }
    assert [name for _, name in missing(files)] == ["deep", "helper"]
    root = {"pyproject.toml": ROOT, "tests/test_it.py": "import one, two\n", "__init__.py": "", "one.py": ""}
    assert [name for _, name in missing(root)] == ["two"]


def test_tests_of_a_project_import_the_roots_modules_and_its_own_groups() -> None:
    """Broken: a test that runs in the workspace is asked to declare the workspace."""
    root = ROOT + "[dependency-groups]\nd = ['b']\n"
    files = coded("import root, b_inside\n", path="packages/a/tests/test_it.py", root=root) | {
        "packages/b/pyproject.toml": project(name="b"),
        "packages/b/src/b_inside/__init__.py": "",
    }
    assert missing(files) == []
    assert [name for _, name in missing({**files, CODE: "import root\n"})] == ["root"]
    without_root = {path: text for path, text in files.items() if path != "pyproject.toml"}
    assert [name for _, name in missing(without_root)] == ["b_inside", "root"]


def test_tests_import_what_a_project_builds_from_another_language() -> None:
    """Broken: the package itself is to be declared, because none of its code is Python."""
    assert missing(member(project(), "src/lib.rs") | {"packages/a/tests/test_it.py": "import a_a\n"}) == []

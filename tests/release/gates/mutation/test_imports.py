"""Which tests judge a module, and what their word depends on."""

import pytest

from release.gates.mutation.imports import Graph, dotted, is_test

FILES = {
    "release/__init__.py": "",
    "release/model.py": "",
    "release/ledger.py": "from release.model import Problem",
    "release/alone.py": "",
    "release/workflow_model.py": "from release import model",
    "release/test.py": "",
    "release/build_zeta.py": "",
    "release/zeta.py": "",
    "release/quiet.py": "import release.lib.low",
    "release/lib/low.py": "",
    "release/main.py": "STAGES = ['release.late']",
    "release/late.py": "",
    "release/rules/__init__.py": "",
    "release/rules/tag.py": "from . import pins\nfrom ..model import Problem",
    "release/rules/pins.py": "import release.model",
    "release/rules/deep/__init__.py": "",
    "release/rules/deep/far.py": "from ...model import Problem\nfrom ..tag import rules\nfrom .. import pins",
    "src/pkg/__init__.py": "from pkg._keys import key\nfrom pkg.coordinators import one",
    "src/pkg/_keys.py": "",
    "src/pkg/coordinators/__init__.py": "",
    "src/pkg/coordinators/one.py": "",
    "src/pkg/alone.py": "",
    "tests/__init__.py": "",
    "tests/release/__init__.py": "",
    "tests/release/conftest.py": "from tests.release.support import help_out",
    "tests/release/support.py": "import release.ledger, release.quiet",
    "tests/release/test_other.py": "import release.ledger, release.rules.tag",
    "tests/release/test_quiet.py": "from tests.release.support import help_out",
    "tests/release/test_test.py": "from release import test",
    "tests/release/test_build_zeta.py": "from release import build_zeta, zeta",
    "tests/release/test_the_tag.py": "import release.rules.tag",
    "tests/release/test_ledger.py": "from release.ledger import Ledger",
    "tests/release/test_ledger_chain.py": "import release.ledger as ledger",
    "tests/release/test_workflow_model.py": "from release import model, workflow_model",
    "tests/release/test_main.py": "from release import main",
    "tests/release/rules/test_tag.py": "from release.rules.tag import rules",
    "tests/library/__init__.py": "",
    "tests/library/test_keys.py": "from pkg import key",
    "tests/library/test_other.py": "import pkg",
    "tests/library/test_pkg.py": "from pkg import key",
    "tests/library/coordinators/test_sending.py": "import pkg",
    "tests/library/coordinators/test_settling.py": "import pkg",
}


@pytest.fixture
def graph() -> Graph:
    return Graph.of(FILES)


def test_names_and_test_files() -> None:
    """Imports are by name, files by path."""
    assert dotted("src/pkg/coordinators/__init__.py") == "pkg.coordinators"
    assert dotted("release/rules/tag.py") == "release.rules.tag"
    assert is_test("tests/release/test_a.py")
    assert not is_test("tests/release/support.py")
    assert not is_test("release/test_a.py")
    assert not is_test("tests/release/test_data.toml")


@pytest.mark.parametrize(
    ("module", "tests"),
    [
        ("release/ledger.py", ("tests/release/test_ledger.py", "tests/release/test_ledger_chain.py")),
        # Named after the longer of two modules, and still the only one that imports this one.
        ("release/model.py", ("tests/release/test_workflow_model.py",)),
        ("release/workflow_model.py", ("tests/release/test_workflow_model.py",)),
        ("release/rules/tag.py", ("tests/release/rules/test_tag.py", "tests/release/test_the_tag.py")),
        ("release/test.py", ("tests/release/test_test.py",)),
        ("release/build_zeta.py", ("tests/release/test_build_zeta.py",)),
        ("release/zeta.py", ("tests/release/test_build_zeta.py",)),
        ("release/quiet.py", ("tests/release/test_quiet.py",)),
        # A package is named by its folder.
        ("src/pkg/__init__.py", ("tests/library/test_pkg.py",)),
        # Named after it and in the mirrored folder, without importing it itself.
        ("src/pkg/_keys.py", ("tests/library/test_keys.py",)),
        # In the mirrored folder, whatever their names.
        (
            "src/pkg/coordinators/one.py",
            ("tests/library/coordinators/test_sending.py", "tests/library/coordinators/test_settling.py"),
        ),
        # Reached from the mirrored folder.
        ("release/rules/pins.py", ("tests/release/rules/test_tag.py",)),
        # Imported by name at run time only: not judged by that.
        ("release/late.py", ()),
        ("src/pkg/alone.py", ()),
    ],
)
def test_own_tests(graph: Graph, module: str, tests: tuple[str, ...]) -> None:
    """A module is judged by its own tests: what only a distant test notices does not count."""
    assert graph.own_tests(module) == tests


@pytest.mark.parametrize(
    ("named", "tests"),
    [
        ("tests/library/coordinators", 2),
        ("tests/library/test_keys.py", 1),
        ("tests/library/test_key", 0),
        ("tests/library/coordinators/nothing", 0),
    ],
)
def test_named_tests_judge_in_place_of_those_found(named: str, tests: int) -> None:
    """What the wrapper of a script does shows in the suite of its callers: pyproject.toml names it."""
    found = Graph.of(FILES, named={"src/pkg/_keys.py": [named]}).own_tests("src/pkg/_keys.py")
    assert len(found) == tests
    assert all(path.startswith(named) for path in found)


def test_reached_includes_packages_and_conftests(graph: Graph) -> None:
    """Importing a test runs more than the test."""
    assert graph.reached("tests/release/rules/test_tag.py") == {
        "tests/release/rules/test_tag.py",
        "release/rules/tag.py",
        "release/rules/pins.py",
        "release/rules/__init__.py",
        "release/__init__.py",
        "release/model.py",
        "tests/__init__.py",
        "tests/release/__init__.py",
        "tests/release/conftest.py",
        "tests/release/support.py",
        "release/ledger.py",
        "release/quiet.py",
        "release/lib/low.py",
    }


def test_relative_imports_from_a_package_itself() -> None:
    """In `__init__.py` one dot is the package, elsewhere the one around."""
    graph = Graph.of({"a/__init__.py": "from . import b\nfrom .c import d", "a/b.py": "", "a/c.py": ""})
    assert graph.direct["a/__init__.py"] == {"a/b.py", "a/c.py"}


def test_last_resort_is_every_test_that_reaches_a_module(graph: Graph) -> None:
    """A test's conftest may be what reaches it."""
    assert graph.own_tests("release/lib/low.py") == tuple(
        path for path in sorted(FILES) if path.startswith("tests/release/") and "test_" in path
    )


def test_relative_imports_reach_up(graph: Graph) -> None:
    """Each further dot is one package more."""
    assert graph.direct["release/rules/deep/far.py"] == {
        "release/model.py",
        "release/rules/tag.py",
        "release/rules/pins.py",
    }


def test_package_is_imported_only_by_who_takes_something_from_it(graph: Graph) -> None:
    """`from release import model` is about the module."""
    assert graph.direct["release/workflow_model.py"] == {"release/model.py"}
    assert graph.direct["tests/library/test_keys.py"] == {"src/pkg/__init__.py"}


def test_file_that_is_no_python_is_named() -> None:
    """The person is told which."""
    with pytest.raises(SyntaxError) as error:
        Graph.of({"release/a.py": "("})
    assert error.value.filename == "release/a.py"


INPUTS = [
    ("release/ledger.py", True),
    ("release/model.py", True),
    ("tests/release/test_ledger.py", True),
    ("tests/release/support.py", True),
    ("release/rules/tag.py", False),
    ("src/pkg/alone.py", False),
    ("tests/release/test_main.py", False),
]


@pytest.mark.parametrize(("changed", "matters"), INPUTS)
def test_inputs_change_with_all_that_verdicts_depend_on(graph: Graph, changed: str, matters: bool) -> None:
    """A verdict is used again only while nothing changed that it depends on."""
    tests = graph.own_tests("release/ledger.py")
    other = Graph.of(FILES | {changed: f"{FILES[changed]}\nx = 1"})
    before = graph.inputs("release/ledger.py", tests, "outside")
    assert (other.inputs("release/ledger.py", tests, "outside") != before) is matters
    assert graph.inputs("release/ledger.py", tests, "other data") != before


def test_inputs_follow_what_is_imported_by_name(graph: Graph) -> None:
    """A table of stages imports its modules at run time."""
    other = Graph.of(FILES | {"release/late.py": "x = 1"})
    for module, tests in (("release/main.py", []), ("release/alone.py", ["tests/release/test_main.py"])):
        assert graph.inputs(module, tests, "") != other.inputs(module, tests, "")

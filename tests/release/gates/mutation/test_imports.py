"""Which tests judge a module, and what their word depends on."""

import pytest

from release.gates.mutation.imports import Graph, dotted, is_test

FILES = {
    "release/__init__.py": "",
    "release/model.py": "",
    "release/ledger.py": "from release.model import Problem",
    "release/workflow_model.py": "from release import model",
    "release/main.py": "STAGES = ['release.late']",
    "release/late.py": "",
    "release/rules/__init__.py": "",
    "release/rules/tag.py": "from . import pins\nfrom ..model import Problem",
    "release/rules/pins.py": "import release.model",
    "src/pkg/__init__.py": "from pkg._keys import key\nfrom pkg.coordinators import one",
    "src/pkg/_keys.py": "",
    "src/pkg/coordinators/__init__.py": "",
    "src/pkg/coordinators/one.py": "",
    "src/pkg/alone.py": "",
    "tests/__init__.py": "",
    "tests/release/__init__.py": "",
    "tests/release/conftest.py": "from tests.release.support import help_out",
    "tests/release/support.py": "import release.ledger",
    "tests/release/test_ledger.py": "from release.ledger import Ledger",
    "tests/release/test_ledger_chain.py": "import release.ledger as ledger",
    "tests/release/test_workflow_model.py": "from release import model, workflow_model",
    "tests/release/test_main.py": "from release import main",
    "tests/release/rules/test_tag.py": "from release.rules.tag import rules",
    "tests/library/__init__.py": "",
    "tests/library/test_keys.py": "from pkg import key",
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
        ("release/rules/tag.py", ("tests/release/rules/test_tag.py",)),
        # Named after it and in the mirrored folder, without importing it itself.
        ("src/pkg/_keys.py", ("tests/library/test_keys.py",)),
        # In the mirrored folder, whatever their names.
        (
            "src/pkg/coordinators/one.py",
            ("tests/library/coordinators/test_sending.py", "tests/library/coordinators/test_settling.py"),
        ),
        # Only reached: the last resort.
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
    }


def test_relative_imports_from_a_package_itself() -> None:
    """In `__init__.py` one dot is the package, elsewhere the one around."""
    graph = Graph.of({"a/__init__.py": "from . import b\nfrom .c import d", "a/b.py": "", "a/c.py": ""})
    assert graph.direct["a/__init__.py"] == {"a/b.py", "a/c.py"}


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
    tests = graph.own_tests("release/main.py")
    other = Graph.of(FILES | {"release/late.py": "x = 1"})
    assert graph.inputs("release/main.py", tests, "") != other.inputs("release/main.py", tests, "")

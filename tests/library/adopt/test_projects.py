"""One pyproject.toml as a value: its names, and every requirement with the array it stands in."""

from __future__ import annotations

import tomllib

import pytest

from tta_agent_coordination.adopt.projects import Project, project

TEXT = """\
[build-system]
requires = ["hatchling", "= no"]

[project]
name = "My_own.Name"
dynamic = ["version", "readme"]
dependencies = ["A_b>=1", "broken one", "c[x]; python_version > '3'"]

[project.optional-dependencies]
Fast_one = ["d"]
slow = ["e", ">"]

[dependency-groups]
dev = ["f", { include-group = "Docs" }]
Docs = ["g", "<"]

[tool.uv]
dev-dependencies = ["h", "!"]
build-constraint-dependencies = ["i"]
constraint-dependencies = ["j", "?"]
override-dependencies = ["k"]

[tool.uv.extra-build-dependencies]
c = ["l", "#"]
"""


def read(text: str, folder: str = "packages/a") -> Project:
    """Return a project of a text."""
    return project(folder, text, tomllib.loads(text))


def test_every_requirement_is_known_with_its_array() -> None:
    """Broken: what is required is looked for in another array, or what stands in one is overlooked."""
    made = read(TEXT)
    dependencies, extras, uv = (
        ("project", "dependencies"),
        ("project", "optional-dependencies"),
        ("tool", "uv"),
    )
    assert [(each.text, each.name, each.path) for each in made.dependencies] == [
        ("A_b>=1", "a-b", dependencies),
        ("c[x]; python_version > '3'", "c", dependencies),
        ("d", "d", (*extras, "Fast_one")),
        ("e", "e", (*extras, "slow")),
    ]
    assert [(each.text, each.path) for each in made.development] == [
        ("h", (*uv, "dev-dependencies")),
        ("f", ("dependency-groups", "dev")),
        ("g", ("dependency-groups", "Docs")),
    ]
    assert [(each.text, each.path) for each in made.other] == [
        ("hatchling", ("build-system", "requires")),
        ("i", (*uv, "build-constraint-dependencies")),
        ("j", (*uv, "constraint-dependencies")),
        ("k", (*uv, "override-dependencies")),
        ("l", (*uv, "extra-build-dependencies", "c")),
    ]
    assert str(made.dependencies[0].requirement.specifier) == ">=1"


def test_what_is_no_requirement_is_kept_with_its_array() -> None:
    """Broken: a typing error is overlooked, or ends the run."""
    uv = ("tool", "uv")
    assert sorted(read(TEXT).broken) == sorted(
        [
            ("broken one", ("project", "dependencies")),
            (">", ("project", "optional-dependencies", "slow")),
            ("!", (*uv, "dev-dependencies")),
            ("<", ("dependency-groups", "Docs")),
            ("= no", ("build-system", "requires")),
            ("?", (*uv, "constraint-dependencies")),
            ("#", (*uv, "extra-build-dependencies", "c")),
        ]
    )


def test_project_is_kept_as_it_was_read() -> None:
    """Broken: a rule sees another file than the one that it names."""
    made = read(TEXT)
    assert (made.folder, made.text, made.data) == ("packages/a", TEXT, tomllib.loads(TEXT))
    assert (made.file, made.name, made.module) == ("packages/a/pyproject.toml", "my-own-name", "my_own_name")
    assert made.inside("src") == "packages/a/src"
    root = read("", "")
    assert (root.file, root.name, root.module, root.inside("src")) == ("pyproject.toml", "", "", "src")
    assert (root.dependencies, root.development, root.other, root.broken) == ((), (), (), ())


@pytest.mark.parametrize(("field", "dynamic"), [("version", True), ("readme", True), ("name", False)])
def test_field_that_the_backend_decides_is_dynamic(field: str, *, dynamic: bool) -> None:
    """Broken: what only a build knows is called missing, or what is missing is left to a build."""
    assert read(TEXT).dynamic(field) is dynamic
    assert read("[project]\nname = 'a'\n").dynamic(field) is False


def test_line_is_that_of_a_key_or_of_a_text_in_its_value() -> None:
    """Broken: a person is sent to the wrong line."""
    made = read('[project]\nkeywords = ["x"]\ndependencies = [\n  "w",\n  "x",\n]\n')
    assert made.line("project", "dependencies") == 3
    assert made.line("project", "dependencies", needle="x") == 5
    assert made.line("project") == 1

"""Only actions of the list run, each at the commit that was read."""

import tomllib
from pathlib import Path

import pytest

from release.rules import pins
from release.rules.workflow_model import Use
from tests.release.workflow_support import FOLDER, ROOT, SETUP, edit, rules, set_up_text, text_of

SHA = "3d3c42e5aac5ba805825da76410c181273ba90b1"
LIST = {
    "actions/checkout": pins.Pin(tag="v7.0.1", sha=SHA),
    "github/codeql-action": pins.Pin(tag="v4.37.8", sha="d" * 40),
}


def test_pins_of_the_committed_workflows_are_in_the_list() -> None:
    """What `nox -s lint` calls finds nothing in this tree."""
    assert pins.check(ROOT) == []


def test_pins_list_is_sorted_and_not_empty() -> None:
    """A person looks an action up in a second."""
    listed = list(tomllib.loads((ROOT / pins.FILE).read_text(encoding="utf-8")))
    assert listed == sorted(listed)
    assert "actions/checkout" in listed


@pytest.mark.parametrize(
    ("what", "comment", "rule"),
    [
        ("actions/checkout@v7.0.1", "v7.0.1", "pins.sha"),
        ("actions/checkout@main", "", "pins.sha"),
        (f"actions/checkout@{SHA[:12]}", "v7.0.1", "pins.sha"),
        (f"actions/checkout@{SHA.upper()}", "v7.0.1", "pins.sha"),
        (f"actions/checkout@{SHA}", "", "pins.tag"),
        (f"actions/checkout@{SHA}", "v7", "pins.tag"),
        (f"actions/checkout@{SHA}@{SHA}", "v7.0.1", "pins.sha"),
        (f"someone/checkout@{SHA}", "v7.0.1", "pins.listed"),
        (f"Actions/checkout@{SHA}", "v7.0.1", "pins.listed"),
        ("actions/checkout", "v7.0.1", "pins.form"),
        ("./.github/actions/setup", "", "pins.form"),
        (f"./actions/checkout@{SHA}", "v7.0.1", "pins.form"),
        (f"../actions/checkout@{SHA}", "v7.0.1", "pins.form"),
        ("docker://python:3.13@sha256:0", "", "pins.form"),
    ],
)
def test_pins_refuse_what_is_not_a_listed_commit(what: str, comment: str, rule: str) -> None:
    """A tag, a short SHA, a stranger's action, an image: none of them is what was read."""
    found = pins.problems("ci.yml", [Use(what=what, comment=comment, line=7)], LIST)
    assert [(problem.rule, problem.where) for problem in found] == [(rule, "ci.yml:7")]
    assert found[0].remedy
    assert rule in pins.RULES


@pytest.mark.parametrize(
    ("what", "comment"),
    [
        (f"actions/checkout@{SHA}", "v7.0.1"),
        (f"github/codeql-action/init@{'d' * 40}", "v4.37.8"),
        ("$/.github/actions/setup", ""),
    ],
)
def test_pins_accept_a_listed_commit_and_our_own_actions(what: str, comment: str) -> None:
    """A path inside a listed repository is that repository's commit; `$/` is the running commit itself."""
    assert pins.problems("ci.yml", [Use(what=what, comment=comment, line=1)], LIST) == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[", "pins.readable"),
        ('["actions/checkout"]\ntag = "v7"\nsha = "v7"\n', "pins.entry"),
        (f'["actions/checkout"]\nsha = "{SHA}"\n', "pins.entry"),
        (f'["actions/checkout"]\ntag = ""\nsha = "{SHA}"\n', "pins.entry"),
        (f'["checkout"]\ntag = "v7"\nsha = "{SHA}"\n', "pins.entry"),
        (f'["a/b"]\ntag = "v7"\nsha = "{SHA}"\nwhy = "x"\n', "pins.entry"),
        ('"a/b" = "v7"\n', "pins.entry"),
    ],
)
def test_pins_list_refuses_an_entry_that_pins_nothing(text: str, rule: str) -> None:
    """A broken list pins nothing, and says which entry is broken."""
    found = pins.read(text)
    assert found[0] == {}
    assert rules(found[1]) == {rule}


def test_pins_list_says_where_it_is_broken() -> None:
    """Each entry and field by its name; a file that is no TOML by its line."""
    _, (problem,) = pins.read("a = \n")
    assert (problem.where, "line 1" in problem.what) == (pins.FILE, True)
    text = '["actions/checkout"]\ntag = ""\nsha = "v7"\n["checkout"]\ntag = "v7"\n'
    _, found = pins.read(text)
    assert [problem.where for problem in found] == [
        f"{pins.FILE} actions/checkout tag",
        f"{pins.FILE} actions/checkout sha",
        f"{pins.FILE} checkout [key]",
        f"{pins.FILE} checkout sha",
    ]
    assert [problem.what for problem in found][3] == "Field required"


def test_pins_check_reads_workflows_and_actions(tmp_path: Path) -> None:
    """Every `uses:` is judged, wherever it stands; a file that is no YAML is another rule's finding."""
    (tmp_path / "release").mkdir()
    (tmp_path / pins.FILE).write_text((ROOT / pins.FILE).read_text(encoding="utf-8"), encoding="utf-8")
    for folder in (FOLDER, SETUP):
        (tmp_path / folder).mkdir(parents=True)
    spoiled = edit(text_of("ci.yml"), f"checkout@{SHA}", "checkout@v7")
    (tmp_path / FOLDER / "ci.yaml").write_text(spoiled, encoding="utf-8")
    (tmp_path / FOLDER / "broken.yml").write_text("jobs: [", encoding="utf-8")
    (tmp_path / SETUP / "action.yml").write_text(edit(set_up_text(), "# v7.0.0", "# v6"), encoding="utf-8")
    (tmp_path / ".github/dependabot.yml").write_text("uses: a/b@c\n", encoding="utf-8")
    (tmp_path / FOLDER / "other.yml").write_text(spoiled, encoding="utf-8")
    found = [(problem.rule, problem.where.partition(":")[0]) for problem in pins.check(tmp_path)]
    assert sorted(set(found)) == [
        ("pins.sha", f"{FOLDER}/ci.yaml"),
        ("pins.sha", f"{FOLDER}/other.yml"),
        ("pins.tag", f"{SETUP}/action.yml"),
    ]


def test_pins_check_tells_what_is_wrong_with_the_list_beside_what_is_not_in_it(tmp_path: Path) -> None:
    """A list that cannot be read pins nothing, so that every `uses:` is refused as well."""
    (tmp_path / "release").mkdir()
    (tmp_path / pins.FILE).write_text("[", encoding="utf-8")
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / SETUP).mkdir(parents=True)
    (tmp_path / FOLDER / "ci.yml").write_text(text_of("ci.yml"), encoding="utf-8")
    (tmp_path / SETUP / "action.yml").write_text(set_up_text(), encoding="utf-8")
    found = [(problem.rule, problem.where.partition(":")[0]) for problem in pins.check(tmp_path)]
    assert found[0] == ("pins.readable", pins.FILE)
    assert {*found[1:]} == {("pins.listed", f"{FOLDER}/ci.yml"), ("pins.listed", f"{SETUP}/action.yml")}

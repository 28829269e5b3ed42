"""The trusted publisher's facts: the committed file is right, a wrong one is refused field by field."""

from pathlib import Path

import pytest

from release.indexes import IndexName
from release.model import Refused
from release.project import Project
from release.publisher import FILE, PublisherFacts
from tests.release.ledger_support import rules_of

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / FILE).read_text(encoding="utf-8")


def test_committed_facts_are_this_projects() -> None:
    """What the indexes are told must be what the project is called and where its workflow is."""
    facts = PublisherFacts.read(ROOT)
    assert facts.project == Project.read(ROOT).normalised
    assert (ROOT / ".github" / "workflows" / facts.workflow).is_file()
    assert facts.environments == {IndexName.TESTPYPI: "testpypi", IndexName.PYPI: "pypi"}
    assert (facts.owner, facts.repository) == ("theinterneti", "tta-agent-coordination")


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        (None, ["publisher.readable"]),
        ("owner = ", ["publisher.readable"]),
        (TEXT.replace('owner-id = ""', 'owner-id = "theinterneti"'), ["publisher.fields"]),
        (TEXT.replace('pypi = "pypi"\n', "", 1).replace('testpypi = "testpypi"', ""), ["publisher.fields"]),
        (TEXT.replace('owner = "theinterneti"', 'proprietor = "x"'), ["publisher.fields"] * 2),
    ],
)
def test_wrong_facts_are_refused(tmp_path: Path, text: str | None, rules: list[str]) -> None:
    """Every wrong field is named at once."""
    (tmp_path / "release").mkdir()
    if text is not None:
        (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(Refused) as caught:
        PublisherFacts.read(tmp_path)
    assert rules_of(caught.value) == rules
    assert all(problem.what not in {"", "None"} for problem in caught.value.problems)


def test_every_environment_that_is_missing_is_named(tmp_path: Path) -> None:
    """One edit mends the file."""
    (tmp_path / "release").mkdir()
    text = TEXT.replace('\ntestpypi = "testpypi"', "").replace('\npypi = "pypi"', "")
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(Refused) as caught:
        PublisherFacts.read(tmp_path)
    assert caught.value.problems[0].what == "names no environment for testpypi, pypi"


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ('pypi = "pypi"\n', "pypi = 1\n", f"{FILE} environments.pypi", "valid string"),
        ('testpypi = "testpypi"\n', "", f"{FILE} [environments]", "names no environment for testpypi"),
    ],
)
def test_a_wrong_field_is_named_by_its_place(
    tmp_path: Path, old: str, new: str, where: str, what: str
) -> None:
    """Several tables of the file have a field of one name."""
    (tmp_path / "release").mkdir()
    assert f"\n{old}" in TEXT
    (tmp_path / FILE).write_text(TEXT.replace(f"\n{old}", f"\n{new}"), encoding="utf-8")
    with pytest.raises(Refused) as caught:
        PublisherFacts.read(tmp_path)
    [problem] = caught.value.problems
    assert problem.where.startswith(where)
    assert what in problem.what

"""Keep a Changelog: what is read, what is refused, and how Unreleased becomes a release."""

import datetime as dt

import pytest
from packaging.version import Version

from release.rules import changelog

TODAY = dt.date(2026, 3, 4)
HOME = "https://code.example.org/demo"

GOOD = f"""\
# Changelog

Words about the format.

## [Unreleased]

### Added

- `demo.more` does more.

```text
## [9.9.9] - 2000-01-01
```

## [0.2.0] - 2026-03-01

### Fixed

- One.
* Two.

## [0.1.0] - 2026-01-31 [YANKED]

### Security

- Three.

[Unreleased]: {HOME}/compare/v0.2.0...HEAD
[0.2.0]: {HOME}/compare/v0.1.0...v0.2.0
[0.1.0]: {HOME}/releases/tag/v0.1.0
"""


def rules(text: str) -> list[str]:
    problems = changelog.format_problems(text)
    assert all(problem.where and problem.what and problem.remedy for problem in problems)
    return [problem.rule.removeprefix("changelog.") for problem in problems]


def test_sections_are_read_in_order_and_fenced_text_is_not() -> None:
    """An example in a code block is no release."""
    read = changelog.parse(GOOD)
    assert [(section.name, section.date, section.entries) for section in read.sections] == [
        ("Unreleased", "", 1),
        ("0.2.0", "2026-03-01", 2),
        ("0.1.0", "2026-01-31", 1),
    ]
    assert [section.line for section in read.sections] == [5, 15, 22]
    assert read.sections[1].body == "### Fixed\n\n- One.\n* Two."
    assert read.unreleased == read.sections[0]
    assert read.section(Version("0.2")) == read.sections[1]
    assert read.section(Version("0.3")) is None
    assert [(link.name, link.url, link.line) for link in read.links] == [
        ("Unreleased", f"{HOME}/compare/v0.2.0...HEAD", 28),
        ("0.2.0", f"{HOME}/compare/v0.1.0...v0.2.0", 29),
        ("0.1.0", f"{HOME}/releases/tag/v0.1.0", 30),
    ]
    assert changelog.released(GOOD) == [Version("0.2.0"), Version("0.1.0")]


def test_text_of_a_section_is_kept_as_it_is() -> None:
    """Blank lines around it aside: an indented line is code, and a link inside a fence is an example."""
    read = changelog.parse("## [1.0]\n\n    code X\n\n~~~\n[a]: b\n~~~\nX  \n\n")
    assert read.sections[0].body == "    code X\n\n~~~\n[a]: b\n~~~\nX  "
    assert read.links == ()
    assert changelog.parse("## [1.0]\n\nX marks\nthe spot, X\n").sections[0].body == "X marks\nthe spot, X"


def test_a_good_changelog_has_no_problem() -> None:
    """Nothing is refused for taste."""
    assert rules(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("## [Unreleased]\n", "", ["unreleased-first"]),
        ("### Fixed", "### Repaired", ["category"]),
        ("[0.2.0] - 2026-03-01", "[0.2.0]", ["date"]),
        ("2026-03-01", "01.03.2026", ["date"]),
        ("2026-03-01", "2026-02-30", ["date"]),
        ("2026-03-01", "20260301", ["date"]),
        ("## [0.2.0]", "## [0.2.0-rc.1]", ["normal-version"]),
        ("## [0.2.0]", "## [next]", ["normal-version"]),
        ("## [0.2.0]", "## [0.0.9]", ["order"]),
        ("## [0.2.0]", "## [0.1.0]", ["once"]),
        ("## [0.2.0] - 2026-03-01", "## [Unreleased]", ["once"]),
        (GOOD, "", ["unreleased-first"]),
    ],
)
def test_what_tools_and_readers_would_stumble_over_is_refused(
    old: str, new: str, expected: list[str]
) -> None:
    """A section that cannot be found by its version is no section."""
    assert old in GOOD
    assert rules(GOOD.replace(old, new, 1)) == expected


@pytest.mark.parametrize(
    ("date", "fits"),
    [
        ("2026-03-04", True),
        ("2026-03-01", True),
        ("2026-02-28", False),
        ("2026-03-05", False),
        ("soon", False),
    ],
)
def test_a_section_is_dated_that_day_or_up_to_three_before(date: str, fits: bool) -> None:
    """The date in the changelog is the date of the release, give or take a review and a weekend."""
    problems = changelog.dated(GOOD.replace("2026-03-01", date), Version("0.2.0"), today=TODAY)
    assert [problem.rule for problem in problems] == ([] if fits else ["changelog.dated"])


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Each with the line of its section; a heading that cannot be read hides none of those below."""
    text = GOOD.replace("## [0.2.0]", "## [next]").replace("### Security", "### Safety").replace("31", "32")
    assert [(each.rule, each.where, each.remedy) for each in changelog.format_problems(text)] == [
        (
            "changelog.normal-version",
            "CHANGELOG.md line 15 [next]",
            "write `## [0.2.0] - 2026-01-31`",
        ),
        (
            "changelog.category",
            "CHANGELOG.md line 22 [0.1.0]",
            "use one of Added, Changed, Deprecated, Removed, Fixed, Security",
        ),
        ("changelog.date", "CHANGELOG.md line 22 [0.1.0]", "write YYYY-MM-DD behind the version"),
    ]


@pytest.mark.parametrize(("date", "said"), [(" - 2026-02-01", "2026-02-01"), ("", "not at all")])
def test_a_section_that_is_not_of_today_says_when_it_is_of(date: str, said: str) -> None:
    """And which days would do."""
    text = GOOD.replace(" - 2026-03-01", date)
    (problem,) = changelog.dated(text, Version("0.2.0"), today=TODAY)
    assert problem.where == "CHANGELOG.md line 15 [0.2.0]"
    assert problem.what == f"is dated {said}; today it must be 2026-03-01 to 2026-03-04 (UTC)"


def test_a_release_without_section_or_words_is_refused() -> None:
    """Users read what changed before they upgrade."""
    assert [problem.rule for problem in changelog.dated(GOOD, Version("0.3.0"), today=TODAY)] == [
        "changelog.has-version"
    ]
    empty = GOOD.replace("- One.\n* Two.\n", "")
    assert [problem.rule for problem in changelog.dated(empty, Version("0.2.0"), today=TODAY)] == [
        "changelog.says-something"
    ]
    undated = GOOD.replace(" - 2026-03-01", "").replace("- One.\n* Two.\n", "")
    assert len(changelog.dated(undated, Version("0.2.0"), today=TODAY)) == 2


def test_a_release_changes_the_heading_and_the_links_and_nothing_else() -> None:
    """The diff a maintainer looks at holds the release and no reformatting."""
    made = changelog.with_release(
        GOOD, Version("0.3.0"), today=TODAY, repository=HOME, before=Version("0.2.0")
    )
    assert made == GOOD.replace(
        "## [Unreleased]\n", "## [Unreleased]\n\n## [0.3.0] - 2026-03-04\n", 1
    ).replace(
        f"[Unreleased]: {HOME}/compare/v0.2.0...HEAD\n",
        f"[Unreleased]: {HOME}/compare/v0.3.0...HEAD\n[0.3.0]: {HOME}/compare/v0.2.0...v0.3.0\n",
    )
    assert changelog.dated(made, Version("0.3.0"), today=TODAY) == []
    assert rules(made) == []
    assert changelog.parse(made).section(Version("0.3.0")) is not None
    unreleased = changelog.parse(made).unreleased
    assert unreleased is not None
    assert unreleased.entries == 0


@pytest.mark.parametrize("links", [True, False], ids=["with a link", "without links"])
def test_the_first_release_links_to_its_tag(links: bool) -> None:
    """There is nothing to compare it with."""
    text = "# Changelog\n\n## [Unreleased]\n\n- All of it.\n"
    definition = f"\n[Unreleased]: {HOME}/commits/main\n" if links else ""
    made = changelog.with_release(
        text + definition, Version("0.1.0rc1"), today=TODAY, repository=HOME, before=None
    )
    assert made == (
        "# Changelog\n\n## [Unreleased]\n\n## [0.1.0rc1] - 2026-03-04\n\n- All of it.\n\n"
        f"[Unreleased]: {HOME}/compare/v0.1.0rc1...HEAD\n[0.1.0rc1]: {HOME}/releases/tag/v0.1.0rc1\n"
    )


def test_a_stale_link_of_the_version_is_replaced() -> None:
    """A definition twice would make the older one win."""
    text = GOOD.replace("[0.1.0]: ", "[0.3.0]: somewhere\n[0.1.0]: ")
    made = changelog.with_release(text, Version("0.3.0"), today=TODAY, repository=HOME, before=None)
    assert [link.name for link in changelog.parse(made).links] == ["Unreleased", "0.3.0", "0.2.0", "0.1.0"]
    assert "somewhere" not in made


@pytest.mark.parametrize(
    ("links", "made"),
    [
        (["0.1.0", "Unreleased"], ["Unreleased", "0.2.0", "0.1.0"]),
        (["Unreleased", "0.2.0", "0.1.0"], ["Unreleased", "0.2.0", "0.1.0"]),
        (["0.1.0", "home"], ["Unreleased", "0.2.0", "0.1.0", "home"]),
        (["home", "0.2.0", "0.1.0"], ["Unreleased", "0.2.0", "home", "0.1.0"]),
    ],
)
def test_new_links_stand_before_all_that_are_kept(links: list[str], made: list[str]) -> None:
    """Each name once, wherever the old definitions stood; those of other names are left as they are."""
    text = "# Changelog\n\n## [Unreleased]\n\n- One.\n\n"
    text += "".join(f"[{name}]: https://example.org/{name}\n" for name in links)
    changed = changelog.with_release(
        text, Version("0.2.0"), today=TODAY, repository=HOME, before=Version("0.1.0")
    )
    assert changed.splitlines()[-len(made) :] == [
        {
            "Unreleased": f"[Unreleased]: {HOME}/compare/v0.2.0...HEAD",
            "0.2.0": f"[0.2.0]: {HOME}/compare/v0.1.0...v0.2.0",
        }.get(name, f"[{name}]: https://example.org/{name}")
        for name in made
    ]
    assert len(changelog.parse(changed).links) == len(made)


def test_without_unreleased_there_is_nothing_to_turn() -> None:
    """The stage asks first; a caller that does not is told."""
    with pytest.raises(ValueError, match="no Unreleased"):
        changelog.with_release("# Changelog\n", Version("1"), today=TODAY, repository=HOME, before=None)

"""The page of all messages: each once, in order, in the table it belongs to."""

from release.site.errors import errors_page
from release.site.messages import Logged, Raised, Said, Stated

TABLES = (
    "What the library raises",
    "What the library logs",
    "What the commands say",
    "What tta-adopt finds",
    "What the doctor finds",
    "The release tools",
)


def rows(page: str) -> dict[str, list[str]]:
    """Title -> the rows below it, without the heads of the tables."""
    found: dict[str, list[str]] = {}
    title = ""
    lines = page.splitlines()
    for place, line in enumerate(lines):
        if line.startswith("#"):
            title = line.lstrip("# ")
            found[title] = []
        elif line.startswith("|---"):
            assert lines[place - 1].count(" |") == line.count("---|")
            found[title].pop()
        elif line.startswith("| "):
            found[title].append(line)
    return found


def stated(rule: str) -> Stated:
    return Stated(rule=rule, where="a file", what="it is so", remedy="mend it")


def test_nothing_said_is_a_page_of_empty_tables() -> None:
    """Every version of the page has the same parts, in the same order."""
    page = rows(errors_page())
    assert page == {title: [] for title in ("Errors", *TABLES)}
    assert [*page][1:] == [*TABLES]


def test_each_exception_has_its_messages_and_what_to_do_next() -> None:
    """In the alphabet's order, a message that stands twice once, with every place that raises it."""
    full = Raised(error="QueueFullError", message="{agent} is full", where="a.send")
    again = Raised(error="QueueFullError", message="{agent} is full", where="a.forward")
    own = Raised(error="OurError", message="no", where="b.run")
    page = errors_page(raised=[full, own, again, full])
    table = "| message | raised in |\n|---|---|\n"
    assert (
        f"### OurError\n\nWhat to do next: see its page in the API reference.\n\n{table}| no | `b.run` |\n\n"
        "### QueueFullError\n\nWhat to do next: send later or raise `queue_size`; see with `stats` who does "
        f"not keep up.\n\n{table}| {{agent}} is full | `a.forward` |\n| {{agent}} is full | `a.send` |\n\n##"
    ) in page


def test_what_a_command_turns_into_words_stands_with_what_it_says() -> None:
    """A private exception never reaches a caller: its message is what the command ends with."""
    page = rows(
        errors_page(
            raised=[
                Raised(error="_UsageError", message="no such agent", where="cli.main"),
                Raised(error="argparse.ArgumentTypeError", message="{text} is no number", where="cli.number"),
                Raised(error="ValueError", message="must be text", where="codec.encode"),
            ],
            said=[Said(message="no server", where="cli.run"), Said(message="no server", where="cli.run")],
        )
    )
    assert page["What the commands say"] == [
        "| no server | `cli.run` |",
        "| no such agent | `cli.main` |",
        "| {text} is no number | `cli.number` |",
    ]
    assert [title for title in page if title not in TABLES] == ["Errors", "ValueError"]
    assert page["ValueError"] == ["| must be text | `codec.encode` |"]


def test_lines_of_the_log_are_sorted_by_level() -> None:
    """A reader who sees a level in a log looks below that level."""
    lost = Logged(level="warning", message="lost", where="worker")
    page = rows(errors_page(logged=[lost, Logged(level="info", message="up", where="worker"), lost]))
    assert page["What the library logs"] == ["| info | up | `worker` |", "| warning | lost | `worker` |"]


def test_findings_kinds_and_problems_stand_in_their_own_tables() -> None:
    """The doctor's kinds have no place: they are about a whole Redis."""
    page = rows(
        errors_page(
            findings=[stated("b.rule"), stated("a.rule"), stated("b.rule")],
            kinds=[stated("stale"), stated("lost"), stated("stale")],
            problems=[stated("lint.x")],
        )
    )
    assert page["What tta-adopt finds"] == [
        "| `a.rule` | a file | it is so | mend it |",
        "| `b.rule` | a file | it is so | mend it |",
    ]
    assert page["What the doctor finds"] == [
        "| `lost` | it is so | mend it |",
        "| `stale` | it is so | mend it |",
    ]
    assert page["The release tools"] == ["| `lint.x` | a file | it is so | mend it |"]


def test_a_cell_holds_any_text() -> None:
    """What Markdown would read as its own is shown as it was written; a line break would end the row."""
    odd = Stated(rule="a|b", where="`x`\n y", what="<name> \\ |", remedy="a\n\n  b")
    page = rows(errors_page(problems=[odd], findings=[odd]))
    assert page["The release tools"] == [r"| `a\|b` | x y | &lt;name> \\ \| | a b |"]
    assert page["What tta-adopt finds"] == page["The release tools"]

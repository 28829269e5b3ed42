"""Messages read from source: what the library raises, logs and says, and what checks state."""

import pytest

from release.site import errors, messages
from release.site.messages import Logged, Raised, Said, Stated

LIBRARY = """
LIMIT = "at most " + "nine"

def check(n):
    hint = f"give {LIMIT}"
    if n > 9:
        raise ValueError(f"n is {n!r}: {hint}")
    hint = compute()
    raise errors.QueueFullError(hint if n else "full")

class Box:
    async def put(self):
        raise
        raise known
        raise failure(1)
        raise AssertionError("unreachable")
        raise Empty()

def mapped(error):
    problem = (DownError if gone else LostError)(str(error))
    return _UsageError("which server?")
"""

LOG = """
logger: logging.Logger = logging.getLogger(__name__)
_log = logging.getLogger("m")

def work(inbox):
    logger.warning("%s failed %d times, %5.1f s, %s", inbox.name, 3, pause)
    _log.error("odd" if inbox else "even")
    _log.log(logging.WARNING if inbox.full else logging.INFO, "%s to %s", inbox, "full")
    logger.setLevel("no")
    report.error("no")
"""

COMMAND = """
def main():
    parser.error("--rev goes with --from")
    print("fine")
    print(f"{name} is not there\\n", file=sys.stderr)
    sys.stderr.write()
    sys.stderr.write("no folder\\n")
    _say("interrupted")
"""

CHECKS = """
KINDS = (
    Kind(name="ghost", what="a copy of nothing", mending="removed"),
    Kind(name="odd", what="odd", mending=""),
)

def examined(key):
    return Finding("ghost", key, subject="a copy")

def images(workspace) -> Iterator[Finding]:
    rule = workspace.rule
    yield Finding(rule="python.image", file=path, what="is old", remedy="take a newer one")
    yield from _unfit(path, rule="python.file")

def _unfit(path, *, rule) -> Iterator[Finding]:
    yield Finding(rule=rule, file=path, what="does not fit", remedy="correct it")

def _named(what) -> Iterator[Finding]:
    yield Finding(rule="python.name", file=path, what=what, remedy="write a name")
"""

TOOLS = """
AGAIN = "run it again"

def _problem(rule: str, what: str, remedy: str = AGAIN) -> Problem:
    return Problem(rule=f"tool.{rule}", where="here", what=what, remedy=remedy)

def _other() -> Problem:
    return _problem("passed-on", "is odd")

def check(name):
    remedy = "write a name"
    console.print(name)
    if not name:
        raise Refused(_problem("name", what="is empty", remedy=remedy))
    yield Problem(rule="tool.direct", where=name, what=f"{name} is wrong", remedy=AGAIN)
    yield Problem(rule="tool.bare", **facts)
"""


def test_raised_messages_show_what_is_filled_in_by_name() -> None:
    """Names of texts are followed to their text; what is only known at run time stands in braces."""
    assert messages.raised_in("m", LIBRARY) == [
        Raised(error="ValueError", message="n is {n}: give at most nine", where="m.check"),
        Raised(error="errors.QueueFullError", message="{hint} | full", where="m.check"),
        Raised(error="DownError", message="{str(error)}", where="m.mapped"),
        Raised(error="LostError", message="{str(error)}", where="m.mapped"),
        Raised(error="_UsageError", message="which server?", where="m.mapped"),
    ]


@pytest.mark.parametrize(
    "source",
    [
        "LIMIT = 'nine'\n\ndef check(n):\n    hint = {}\n    raise ValueError(hint)",
        "LIMIT = 'nine'\nhint = {}\nraise ValueError(hint)",
    ],
    ids=["a function's", "the module's"],
)
@pytest.mark.parametrize(
    ("assigned", "shown"),
    [
        ("'at most ' + LIMIT", "at most nine"),
        ("LIMIT + ' at most'", "nine at most"),
        ("compute() + ' more'", "{compute()} more"),
        ("'more ' + compute()", "more {compute()}"),
        ("'odd' if n else compute()", "odd | {compute()}"),
        ("compute() if n else 'odd'", "{compute()} | odd"),
        ("LIMIT if n else 'odd'", "nine | odd"),
        ("'odd' if n else LIMIT", "odd | nine"),
        ("compute()", "{hint}"),
        ("compute() + compute()", "{hint}"),
    ],
)
def test_text_that_a_name_holds_is_put_together(source: str, assigned: str, shown: str) -> None:
    """What a reader of the page sees is what a user of the library sees."""
    [raised] = messages.raised_in("m", source.format(assigned))
    assert raised.message == shown


def test_name_that_is_assigned_anew_is_read_as_it_was() -> None:
    """A line that takes a name's text and assigns the name still shows that text."""
    source = "def check(n):\n    error = 'is gone'\n    error = LookupError(error)\n    raise error\n"
    assert messages.raised_in("m", source) == [
        Raised(error="LookupError", message="is gone", where="m.check")
    ]


def test_lines_for_the_log_have_their_arguments_put_in() -> None:
    """Who searches for a line of a log finds it, whatever stood in its places."""
    assert messages.logged_in("m", LOG) == [
        Logged(level="warning", message="{inbox.name} failed 3 times, {pause} s, %s", where="m.work"),
        Logged(level="error", message="odd | even", where="m.work"),
        Logged(level="warning or info", message="{inbox} to full", where="m.work"),
    ]


def test_what_a_command_says_is_read_where_it_says_it() -> None:
    """What goes to standard error is a message; what goes to standard output is a result."""
    assert messages.said_in("m", COMMAND) == [
        Said(message="--rev goes with --from", where="m.main"),
        Said(message="{name} is not there", where="m.main"),
        Said(message="no folder", where="m.main"),
        Said(message="interrupted", where="m.main"),
    ]


def test_findings_are_read_with_the_rule_that_a_caller_names() -> None:
    """A rule that shares its code with another one stands on the page by its own name."""
    assert messages.findings_in(CHECKS) == [
        Stated(rule="python.image", where="{path}", what="is old", remedy="take a newer one"),
        Stated(rule="python.file", where="{path}", what="does not fit", remedy="correct it"),
        Stated(rule="python.name", where="{path}", what="{what}", remedy="write a name"),
    ]
    assert messages.problems_in(CHECKS) == []


def test_kinds_that_cannot_be_mended_are_left_to_a_person() -> None:
    """An empty cell would read as if nothing had to be done."""
    assert messages.kinds_in(CHECKS) == [
        Stated(rule="ghost", where="", what="a copy of nothing", remedy="removed"),
        Stated(rule="odd", where="", what="odd", remedy="a person has to look"),
    ]


def test_stated_problems_are_read_through_helpers() -> None:
    """What a helper fills in (place, prefix of the rule, default remedy) belongs to each of its problems."""
    assert messages.problems_in(TOOLS) == [
        Stated(rule="tool.passed-on", where="here", what="is odd", remedy="run it again"),
        Stated(rule="tool.name", where="here", what="is empty", remedy="write a name"),
        Stated(rule="tool.direct", where="{name}", what="{name} is wrong", remedy="run it again"),
        Stated(rule="tool.bare", where="", what="", remedy=""),
    ]


def test_errors_page_holds_each_message_once() -> None:
    """One row a message, with what to do next, and no cell broken by what a message holds."""
    raised = messages.raised_in("m", LIBRARY.replace("errors.", ""))
    page = errors.errors_page(
        raised=[*raised, *raised],
        logged=messages.logged_in("m", LOG) * 2,
        said=messages.said_in("m", COMMAND) * 2,
        findings=messages.findings_in(CHECKS) * 2,
        kinds=messages.kinds_in(CHECKS) * 2,
        problems=messages.problems_in(TOOLS) * 2,
    )
    for row in (
        "| n is {n}: give at most nine | `m.check` |",
        "| {hint} \\| full | `m.check` |",
        "| error | odd \\| even | `m.work` |",
        "| no folder | `m.main` |",
        "| which server? | `m.mapped` |",
        "| `ghost` | a copy of nothing | removed |",
        "| `python.file` | {path} | does not fit | correct it |",
        "| `tool.direct` | {name} | {name} is wrong | run it again |",
    ):
        assert page.count(row) == 1, row
    assert "### QueueFullError\n\nWhat to do next: send later or raise" in page
    assert "### _UsageError" not in page
    unknown = errors.errors_page(raised=[Raised(error="OddError", message="<b>`x`", where="m")])
    assert "What to do next: see its page in the API reference." in unknown
    assert "| &lt;b>x | `m` |" in unknown

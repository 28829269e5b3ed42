"""Messages read from source: what the library raises, what the release tools state."""

from release.site import messages
from release.site.messages import Raised, Stated

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
"""

TOOLS = """
AGAIN = "run it again"

def _problem(rule: str, what: str, remedy: str = AGAIN) -> Problem:
    return Problem(rule=f"tool.{rule}", where="here", what=what, remedy=remedy)

def _other() -> Problem:
    return _problem("passed-on", "is odd")

def check(name):
    remedy = "write a name"
    if not name:
        raise Refused(_problem("name", what="is empty", remedy=remedy))
    yield Problem(rule="tool.direct", where=name, what=f"{name} is wrong", remedy=AGAIN)
"""


def test_raised_messages_show_what_is_filled_in_by_name() -> None:
    """Names of texts are followed to their text; what is only known at run time stands in braces."""
    assert messages.raised_in("m", LIBRARY) == [
        Raised(error="ValueError", message="n is {n}: give at most nine", where="m.check"),
        Raised(error="errors.QueueFullError", message="{hint} | full", where="m.check"),
    ]


def test_stated_problems_are_read_through_helpers() -> None:
    """What a helper fills in (place, prefix of the rule, default remedy) belongs to each of its problems."""
    assert messages.problems_in(TOOLS) == [
        Stated(rule="tool.passed-on", where="here", what="is odd", remedy="run it again"),
        Stated(rule="tool.name", where="here", what="is empty", remedy="write a name"),
        Stated(rule="tool.direct", where="{name}", what="{name} is wrong", remedy="run it again"),
    ]


def test_errors_page_holds_each_message_once() -> None:
    """One row a message, with what to do next, and no cell broken by what a message holds."""
    raised = messages.raised_in("m", LIBRARY.replace("errors.", ""))
    page = messages.errors_page([*raised, *raised], [*messages.problems_in(TOOLS)] * 2)
    assert page.count("| n is {n}: give at most nine | `m.check` |") == 1
    assert "### QueueFullError\n\nWhat to do next: send later or raise" in page
    assert "| {hint} \\| full | `m.check` |" in page
    assert page.count("| `tool.direct` | {name} | {name} is wrong | run it again |") == 1
    unknown = messages.errors_page([Raised(error="OddError", message="<b>`x`", where="m")], [])
    assert "What to do next: see its page in the API reference." in unknown
    assert "| &lt;b>x | `m` |" in unknown

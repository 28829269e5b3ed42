"""Pages from the headers of the Lua scripts."""

import pytest

from release.site import lua

SOURCE = """-- Purpose: move one thing,
--   and no other.
-- KEYS:
--   1 from  zset    entry -> score
--   2 to    list    a|b copies
-- ARGV:
--   9 now_us   integer  microseconds,
--                       or empty
--  10 rest...  text     what follows
-- RETURNS:
--   ok | none
-- COST: O(1)
local x = 1
-- KEYS: this is no header any more
"""


def test_header_is_read_section_by_section() -> None:
    """A line that goes on, a number of two digits and a section on one line all belong to the contract."""
    header = lua.read_header("move", SOURCE)
    assert header.purpose == "move one thing, and no other."
    assert [(each.place, each.name, each.kind) for each in header.keys] == [
        ("1", "from", "zset"),
        ("2", "to", "list"),
    ]
    assert [(each.place, each.name) for each in header.arguments] == [("9", "now_us"), ("10", "rest...")]
    assert header.arguments[0].text == "microseconds, or empty"
    assert header.notes == {"RETURNS": "ok | none", "COST": "O(1)"}


def test_header_without_purpose_is_refused() -> None:
    """A script that nobody explains would be an empty place in the reference."""
    with pytest.raises(ValueError, match=r"bare\.lua has no Purpose"):
        lua.read_header("bare", "-- just a comment\nlocal x = 1\n")


def test_a_header_may_be_all_there_is() -> None:
    """A script of comments alone, and text in front of the first number, are read as they stand."""
    only = lua.read_header("only", "-- Purpose: nothing at all\n-- ARGV:\n")
    assert ([*only.keys], [*only.arguments], only.notes) == ([], [], {})
    header = lua.read_header(
        "bare", "-- Purpose: nothing yet\n-- KEYS:\n--   none so far\n--   1 to list x\n"
    )
    assert header.purpose == "nothing yet"
    assert [(each.place, each.text) for each in header.keys] == [("1", "x")]


def test_scripts_page_shows_every_part() -> None:
    """A bar inside a cell does not end the cell."""
    page = lua.scripts_page([lua.read_header("move", SOURCE), lua.Header(name="bare", purpose="do it")])
    assert page.startswith("# Scripts\n")
    head = "| | name | type | what it is |\n|---|---|---|---|\n"
    assert page.partition("\n\n## ")[2] == (
        "move\n\nMove one thing, and no other.\n\n"
        f"**KEYS**\n\n{head}| 1 | `from` | zset | entry -> score |\n| 2 | `to` | list | a\\|b copies |\n\n"
        f"**ARGV**\n\n{head}| 9 | `now_us` | integer | microseconds, or empty |\n"
        "| 10 | `rest...` | text | what follows |\n\n"
        "**RETURNS**: `ok | none`\n\n**COST**: O(1)\n\n"
        "## bare\n\nDo it\n"
    )


def test_keys_page_names_who_touches_a_key() -> None:
    """Somebody who finds a key in a server learns which operations use it."""
    headers = [lua.read_header("move", SOURCE), lua.read_header("again", SOURCE)]
    own = [("inbox, queue", "ao:queue:a:b", "ao:queue:{a:b}"), ("lane", "ao:op", "ao:{op}")]
    page = lua.keys_page(own, headers)
    assert page.startswith("# Keys\n")
    assert page.endswith(
        "|---|---|---|\n| inbox, queue | `ao:queue:a:b` | `ao:queue:{a:b}` |\n"
        "| lane | `ao:op` | `ao:{op}` |\n\n## What the scripts keep in them\n\n"
        "| in the scripts | type | holds | touched by |\n|---|---|---|---|\n"
        "| `from` | zset | entry -> score | move, again |\n| `to` | list | a\\|b copies | move, again |\n"
    )

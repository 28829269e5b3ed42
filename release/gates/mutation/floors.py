"""The floors in `release/mutation-floors.toml`: how much a module's tests must notice, and who has none yet.

Pure. A module has a floor, or an estimated one, or a written reason why it has none yet. Floors only rise;
how many survivors a module may leave unexplained only falls.
"""

import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import cast

from release.model import Problem

__all__ = ["FLOORS", "REST", "Floors", "floor_problems", "read_floors"]

FLOORS = "release/mutation-floors.toml"
"""Where the floors stand."""

REST = "*"
"""The floor over all modules that have none of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """What the file says of each module."""

    percent: Mapping[str, int] = field(default_factory=dict[str, int])
    """Module, or `*` -> whole per cent of what can be noticed."""
    estimated: Mapping[str, int] = field(default_factory=dict[str, int])
    """Module -> whole per cent that a part of its mutants showed; its survivors need no explanation yet."""
    unexplained: Mapping[str, int] = field(default_factory=dict[str, int])
    """Module -> mutants that no test notices and nobody explained yet; 0 for those not named."""
    none_yet: Mapping[str, str] = field(default_factory=dict[str, str])
    """Module -> why it has no floor yet."""


def read_floors(text: str) -> tuple[Floors, list[Problem]]:
    """Read the file; what is wrong with it comes back as problems, and an empty text is no floors."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Floors(), [_bad(FLOORS, f"is no TOML: {error}")]
    kinds: dict[str, type] = {"floors": int, "estimated": int, "unexplained": int, "none-yet": str}
    problems = [_bad(f"{FLOORS}: {name}", "is no table of this file") for name in tables if name not in kinds]
    good: dict[str, dict[str, object]] = {name: {} for name in kinds}
    for name, kind in kinds.items():
        table: object = tables.get(name, {})
        if not isinstance(table, dict):
            problems.append(_bad(f"{FLOORS}: {name}", "is not a table"))
            continue
        for module, value in cast("dict[str, object]", table).items():
            if type(value) is not kind or not _sensible(name, value):
                problems.append(_bad(f"{FLOORS}: {name} {module!r}", f"is {value!r}"))
            else:
                good[name][module] = value
    percent, estimated, unexplained = (
        cast("dict[str, int]", good[name]) for name in ("floors", "estimated", "unexplained")
    )
    floors = Floors(
        percent=percent,
        estimated=estimated,
        unexplained=unexplained,
        none_yet=cast("dict[str, str]", good["none-yet"]),
    )
    return floors, problems


def _sensible(table: str, value: object) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    least, most = (1, None) if table == "unexplained" else (0, 100)
    return isinstance(value, int) and least <= value and (most is None or value <= most)


def _bad(where: str, what: str) -> Problem:
    return Problem(
        rule="mutation.floors-readable",
        where=where,
        what=what,
        remedy="[floors] and [estimated] hold whole per cent, [unexplained] numbers from 1 on, "
        "[none-yet] reasons",
    )


def floor_problems(
    floors: Floors, before: Floors, exists: Callable[[str], bool], functions: Collection[str]
) -> list[Problem]:
    """Floors that fell or vanished, are of files that do not exist, or are missing without a reason.

    Args:
        floors: The floors now.
        before: The floors on the main branch.
        exists: True for the path of a module that there is.
        functions: The modules that have functions to mutate.
    """
    # An estimate may become a floor; a floor does not become an estimate again.
    risen = {"floors": floors.percent, "estimated": {**floors.estimated, **floors.percent}}
    problems = [
        Problem(
            rule="mutation.floor-only-rises",
            where=f"{FLOORS}: {table} {name!r}",
            what=f"was {was} % on the main branch and is "
            + (f"{risen[table][name]} %" if name in risen[table] else "gone"),
            remedy="put it back and write the missing tests",
        )
        for table, held in (("floors", before.percent), ("estimated", before.estimated))
        for name, was in held.items()
        if risen[table].get(name, -1) < was and (name == REST or exists(name))
    ]
    problems.extend(
        Problem(
            rule="mutation.unexplained-only-falls",
            where=f"{FLOORS}: unexplained {name!r}",
            what=f"was {before.unexplained.get(name, 0)} on the main branch and is {count}",
            remedy="test or explain the mutants that are new among them",
        )
        for name, count in floors.unexplained.items()
        if name in before.percent and count > before.unexplained.get(name, 0)
    )
    named = {name: "floors" for name in floors.percent if name != REST}
    for table, names in (
        ("estimated", floors.estimated),
        ("unexplained", floors.unexplained),
        ("none-yet", floors.none_yet),
    ):
        named |= dict.fromkeys(names, table)
    problems.extend(
        Problem(
            rule="mutation.floor-fits",
            where=f"{FLOORS}: {table} {name!r}",
            what="there is no such module",
            remedy="name the module where it is now, with the same floor",
        )
        for name, table in named.items()
        if not exists(name)
    )
    problems.extend(
        Problem(
            rule="mutation.floor-or-reason",
            where=name,
            what="stands in " + " and in ".join(f"[{table}]" for table in tables)
            if tables
            else "has neither a floor nor a reason to have none",
            remedy=f"run `nox -s mutation -- --only {name}` and write the per cent it reached "
            f"into [floors] of {FLOORS}, or why not yet into [none-yet]; nowhere else",
        )
        for name, tables in ((name, _tables(floors, name)) for name in sorted(functions))
        if len(tables) != 1
    )
    return problems


def _tables(floors: Floors, name: str) -> list[str]:
    """Where a module stands of the tables of which one must name it."""
    tables = {"floors": floors.percent, "estimated": floors.estimated, "none-yet": floors.none_yet}
    return [table for table, names in tables.items() if name in names]

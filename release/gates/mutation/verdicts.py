"""Whether the tests are good enough: survivors that were explained, floors kept, and what refuses.

Pure. A module with a floor is judged: each of its mutants is noticed by the module's own tests or explained
in `release/mutation-survivors.toml`, but for as many as `floors` still lets it leave unexplained, and at
least the floor's per cent of what can be noticed is. A module whose floor is estimated from a part of its
mutants is held against that alone. Modules without a floor are held together against the floor named `*`, and
the output says which they are.
"""

import bisect
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

import tomlkit

from release.gates.mutation.floors import REST, Floors
from release.gates.mutation.mutants import Mutant, Skipped, Verdict
from release.model import Problem

__all__ = [
    "SURVIVORS",
    "Explanation",
    "Measured",
    "estimate",
    "explanation_problems",
    "is_surely_under",
    "is_under",
    "judge",
    "ran_score",
    "read_explanations",
    "score",
    "suggestions",
    "unexplained",
]

SURVIVORS = "release/mutation-survivors.toml"
"""Where mutants that no test notices are explained, one by one."""

EQUIVALENT = "equivalent"
"""The mutant behaves like the original: nothing could notice it. It does not count."""

ACCEPTED = "accepted"
"""A test could notice it and would not be worth it. It counts as unnoticed."""

UNLIKELY = Fraction(1, 100)
"""How improbable a part's result must be before it speaks against the whole."""

NOTICED = (Verdict.KILLED, Verdict.TIMEOUT)
UNNOTICED = (Verdict.SURVIVED, Verdict.NO_TEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a mutant that no test notices is let be."""

    module: str
    function: str
    was: str
    becomes: str
    kind: str
    """`equivalent` or `accepted`."""
    reason: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Equal to that of the mutants it explains."""
        return self.module, self.function, self.was, self.becomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of one module after a run."""

    module: str
    tests: Sequence[str] = ()
    """The files that judged it."""
    mutants: Sequence[Mutant] = ()
    """All of them; in a sample those of the chosen functions."""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict[str, Verdict])
    """By the mutant's name; those that were not run are absent."""
    skipped: Sequence[Skipped] = ()
    baseline: str = ""
    """What pytest printed when the tests failed without any mutant; empty when they passed."""
    failure: str = ""
    """What went wrong with the run itself."""
    reused: int = 0
    """How many verdicts are from an earlier run on the same sources and tests."""
    took_ms: int = 0

    @property
    def runnable(self) -> list[Mutant]:
        """The mutants that tests are run against."""
        return [mutant for mutant in self.mutants if not mutant.inert]

    def count(self, *verdicts: Verdict) -> int:
        """How many mutants ended as one of these."""
        return sum(1 for found in self.verdicts.values() if found in verdicts)

    def unnoticed(self) -> list[Mutant]:
        """Mutants that ran and that no test noticed."""
        return [mutant for mutant in self.mutants if self.verdicts.get(mutant.name) in UNNOTICED]


def read_explanations(text: str) -> tuple[list[Explanation], list[Problem]]:
    """Read the file of explained survivors; what is wrong with it comes back as problems."""
    try:
        entries: object = tomllib.loads(text).get("survivor", [])
    except tomllib.TOMLDecodeError as error:
        return [], [_bad(what=f"is no TOML: {error}")]
    if not isinstance(entries, list):
        return [], [_bad(what="`survivor` is not an array of tables")]
    names = ("module", "function", "was", "becomes", "kind", "reason")
    found: list[Explanation] = []
    problems: list[Problem] = []
    for number, entry in enumerate(cast("list[object]", entries), start=1):
        fields = cast("dict[str, str]", entry) if isinstance(entry, dict) else {}
        if sorted(fields) != sorted(names) or {type(value) for value in fields.values()} != {str}:
            problems.append(_bad(what=f"entry {number} does not have exactly the texts {', '.join(names)}"))
        elif fields["kind"] not in (EQUIVALENT, ACCEPTED):
            problems.append(_bad(what=f"entry {number} is of kind {fields['kind']!r}"))
        elif not fields["reason"].strip():
            problems.append(_bad(what=f"entry {number} ({fields['function']}) has no reason"))
        else:
            found.append(Explanation(**fields))
    return found, problems


def _bad(*, what: str) -> Problem:
    return Problem(
        rule="mutation.explanations-readable",
        where=SURVIVORS,
        what=what,
        remedy=f"write [[survivor]] entries; kind is {EQUIVALENT} or {ACCEPTED}, reason a sentence",
    )


def explanation_problems(explained: Iterable[Explanation], measured: Iterable[Measured]) -> list[Problem]:
    """Explanations of mutants that do not exist: the code they were written for has changed.

    Only the modules in `measured` are looked at, and all their mutants must be there.
    """
    known = {each.module: {mutant.key for mutant in each.mutants} for each in measured}
    return [
        Problem(
            rule="mutation.explanation-fits",
            where=f"{SURVIVORS}: {each.module} {each.function}",
            what=f"explains a mutant that does not exist: {each.was!r} -> {each.becomes!r}",
            remedy="remove the entry; if the mutant is there in another form, look at it again",
        )
        for each in explained
        if each.module in known and each.key not in known[each.module]
    ]


def unexplained(
    measured: Measured, explained: Mapping[tuple[str, str, str, str], Explanation]
) -> list[Mutant]:
    """Mutants of the module that ran, that no test noticed, and that nobody explained."""
    return [mutant for mutant in measured.unnoticed() if mutant.key not in explained]


def score(measured: Measured, explained: Mapping[tuple[str, str, str, str], Explanation]) -> tuple[int, int]:
    """How many of a module's mutants count as noticed, and of how many that could be.

    Equivalent mutants do not count. One that this run left out counts as noticed unless it is accepted as
    unnoticed, so that each shard can hold the whole module against its floor.
    """
    noticed = total = 0
    for mutant in measured.runnable:
        explanation = explained.get(mutant.key)
        found = measured.verdicts.get(mutant.name)
        if explanation is not None and explanation.kind == EQUIVALENT and found not in NOTICED:
            continue
        total += 1
        noticed += found in NOTICED or (found is None and explanation is None)
    return noticed, total


def ran_score(
    measured: Measured, explained: Mapping[tuple[str, str, str, str], Explanation]
) -> tuple[int, int, int]:
    """Of a module's mutants: how many were noticed, of how many that ran, of how many that there are.

    Equivalent mutants are not among them.
    """
    equivalent = {key for key, each in explained.items() if each.kind == EQUIVALENT}
    found = [
        measured.verdicts.get(mutant.name)
        for mutant in measured.runnable
        if mutant.key not in equivalent or measured.verdicts.get(mutant.name) in NOTICED
    ]
    return sum(each in NOTICED for each in found), sum(each is not None for each in found), len(found)


def is_under(noticed: int, ran: int, floor: int) -> bool:
    """True when so many noticed of those that ran are less than the floor's per cent."""
    return noticed * 100 < floor * ran


def is_surely_under(noticed: int, ran: int, floor: int) -> bool:
    """True when a part of all mutants shows that the whole is under its floor.

    If the whole were just at its floor, so few noticed among so many would come up less than once in a
    hundred times: the binomial distribution's lower tail.
    """
    share = floor / 100
    if not 0 < share < 1:
        return is_under(noticed, ran, floor)
    # In logarithms: the numbers of ways are too large for a float.
    tail = sum(
        math.exp(
            math.lgamma(ran + 1)
            - math.lgamma(count + 1)
            - math.lgamma(ran - count + 1)
            + count * math.log(share)
            + (ran - count) * math.log1p(-share)
        )
        for count in range(noticed + 1)
    )
    return tail < UNLIKELY


def estimate(noticed: int, ran: int, total: int) -> int:
    """Whole per cent of all mutants that are noticed at least, by what a random part of them shows.

    With fewer noticed in all, so many among those that ran would come up less than once in a hundred times:
    the hypergeometric distribution's upper tail. With all mutants run it is what was reached.

    Args:
        noticed: How many of those that ran were noticed.
        ran: How many ran.
        total: How many there are.
    """

    def is_likely(good: int) -> bool:
        ways = sum(
            math.comb(good, count) * math.comb(total - good, ran - count)
            for count in range(noticed, min(ran, good) + 1)
        )
        return ways >= UNLIKELY * math.comb(total, ran)

    good = noticed + bisect.bisect_left(range(noticed, total), True, key=is_likely)  # noqa: FBT003 - a value
    return good * 100 // total if total else 100


def judge(
    measured: Sequence[Measured],
    floors: Floors,
    explained: Sequence[Explanation],
    *,
    whole: bool = True,
    rest_is_under: Callable[[int, int, int], bool] | None = is_under,
) -> list[Problem]:
    """Everything that refuses, over all modules that were measured.

    Args:
        measured: What is known of each module.
        floors: What each module must reach, and how many it may leave unexplained.
        explained: The mutants that a person let be.
        whole: False where only some functions of each module have mutants: what nobody notices may all lie in
            those, so that they cannot be held against the module's floor.
        rest_is_under: Says of the modules without a floor, from how many were noticed, how many ran and
            the floor `*`, whether they are under it; None does not ask, as where they are a chosen few.
    """
    by_key = {each.key: each for each in explained}
    problems: list[Problem] = []
    for each in measured:
        problems.extend(_run_problems(each))
        if each.baseline or each.failure:
            continue
        if each.module in floors.percent:
            left, allowed = unexplained(each, by_key), floors.unexplained.get(each.module, 0)
            if len(left) > allowed:
                problems.extend(_mutant_problems(each, left, allowed))
            noticed, total = score(each, by_key)
            if whole and is_under(noticed, total, floors.percent[each.module]):
                problems.append(_under(each.module, noticed, total, floors.percent[each.module]))
        elif each.module in floors.estimated and whole:
            noticed, ran, total = ran_score(each, by_key)
            under = is_under if ran == total else is_surely_under
            if under(noticed, ran, floors.estimated[each.module]):
                problems.append(_under(each.module, noticed, ran, floors.estimated[each.module]))
    held = {*floors.percent, *floors.estimated} if whole else {*floors.percent}
    rest = [each for each in measured if each.module not in held]
    if REST in floors.percent and rest_is_under is not None:
        noticed = sum(each.count(*NOTICED) for each in rest)
        ran = sum(each.count(*NOTICED, *UNNOTICED) for each in rest)
        if rest_is_under(noticed, ran, floors.percent[REST]):
            problems.append(
                _under("all modules without a floor of their own", noticed, ran, floors.percent[REST])
            )
    return problems


def _run_problems(measured: Measured) -> list[Problem]:
    """A red baseline, a run that failed, mutants of which nothing is known."""
    if measured.baseline:
        return [
            Problem(
                rule="mutation.baseline-is-green",
                where=", ".join(measured.tests),
                what=f"failed without any mutant, so says nothing of {measured.module}:\n{measured.baseline}",
                remedy="mend the test; when `nox -s test` is green, see what it takes from its surroundings",
            )
        ]
    if measured.failure:
        return [
            Problem(
                rule="mutation.runs",
                where=measured.module,
                what=f"its mutants could not be judged:\n{measured.failure}",
                remedy="run the same command again; judged mutants are kept",
            )
        ]
    broken = [mutant for mutant in measured.mutants if measured.verdicts.get(mutant.name) is Verdict.BROKEN]
    return [
        Problem(
            rule="mutation.judged",
            where=f"{measured.module} {mutant.function}",
            what=f"the tests neither passed nor failed under {mutant.was!r} -> {mutant.becomes!r}",
            remedy="see why the test process dies: a crash, too little memory, tests named by what is random",
        )
        for mutant in broken
    ]


def _mutant_problems(measured: Measured, left: Sequence[Mutant], allowed: int) -> list[Problem]:
    """A problem for each mutant that is left; which of them are the new ones is not known."""
    problems: list[Problem] = []
    stay = f"; {allowed} of these {len(left)} may stay as they are" if allowed else ""
    for mutant in left:
        untested = measured.verdicts[mutant.name] is Verdict.NO_TEST
        problems.append(
            Problem(
                rule="mutation.has-test" if untested else "mutation.survivor-explained",
                where=f"{mutant.module} {mutant.function}",
                what=f"{'no own test runs' if untested else 'no test notices'} "
                f"{mutant.was!r} -> {mutant.becomes!r}",
                remedy=f"write the test, or explain it in {SURVIVORS}: "
                f"report/mutation-survivors.toml has the entry{stay}",
            )
        )
    return problems


def _under(where: str, noticed: int, total: int, floor: int) -> Problem:
    share = noticed * 10_000 // total
    return Problem(
        rule="mutation.floor",
        where=where,
        what=f"{noticed} of {total} mutants are noticed, {share / 100:.2f} %; the floor is {floor} %",
        remedy="test what report/mutation.json lists as survived or without a test; a floor is never lowered",
    )


def suggestions(mutants: Iterable[Mutant]) -> str:
    """Entries for the file of explained survivors, complete but for the kind and the reason."""
    names = ("module", "function", "was", "becomes")
    entries = [
        {name: getattr(mutant, name) for name in names} | {"kind": "", "reason": ""} for mutant in mutants
    ]
    return tomlkit.dumps({"survivor": entries})

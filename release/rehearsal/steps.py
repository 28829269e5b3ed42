"""Which sessions a rehearsal runs, in which order and with which words: the order of a release."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from release.indexes import IndexName
from release.plan import GATES

__all__ = ["FAST_SAMPLE_S", "SAMPLE_S", "Step", "sessions", "steps"]

SAMPLE_S = 30
"""Seconds of mutants in a whole rehearsal."""
FAST_SAMPLE_S = 5
"""Seconds of mutants with --fast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One child run of nox."""

    session: str
    words: Sequence[str] = ()
    """Behind `--`, the mode left out."""
    uploads_to: IndexName | None = None
    """The index the step's job may ask an ID token for."""

    @property
    def name(self) -> str:
        """For the reader: the session and, of a smoke, the index."""
        return f"smoke {self.words[1]}" if self.session == "smoke" else self.session


def steps(
    plan: Mapping[str, Sequence[str]],
    *,
    tag: str | None,
    fast: bool,
    reused: Collection[tuple[str, str]],
    tested: Collection[str] = (),
) -> list[Step]:
    """The steps of a release, without what need not run again.

    Args:
        plan: Stage -> legs.
        tag: The signed tag; None where none could be made.
        fast: A smaller sample, fewer installations.
        reused: (stage, leg) that are proved already.
        tested: Pythons that are tested without leaving evidence, for want of a real server.
    """
    build = Step(session="build", words=["--tag", tag] if tag else [])
    sample = ["--sample", str(FAST_SAMPLE_S if fast else SAMPLE_S)]
    legs = {stage: plan[stage] for stage in GATES}
    legs["test"] = sorted({*plan["test"], *tested}, key=lambda leg: [int(part) for part in leg.split(".")])
    gates = [
        Step(
            session=f"test-{leg}" if stage == "test" else stage,
            words=[*(sample if stage == "mutation" else []), "--evidence"],
        )
        for stage in GATES
        for leg in legs[stage]
        if (stage, leg) not in reused
    ]
    less = ["--fast"] if fast else []
    return [
        build,
        *gates,
        Step(session="collect"),
        Step(session="testpypi", uploads_to=IndexName.TESTPYPI),
        Step(session="smoke", words=["--index", "testpypi", *less]),
        Step(session="pypi", uploads_to=IndexName.PYPI),
        Step(session="smoke", words=["--index", "pypi", *less]),
        Step(session="verify"),
        Step(session="announce"),
    ]


def sessions(chosen: Sequence[Step]) -> list[str]:
    """The sessions whose environments the steps need, each once, in order."""
    return list(dict.fromkeys(step.session for step in chosen))

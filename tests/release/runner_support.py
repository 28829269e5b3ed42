"""What every double of the runner has in common: the call, as one value, and how it is said to have ended."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from release.runner import Finished, LocalRunner

__all__ = ["Call", "Double"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One program that is to be run."""

    words: list[str]
    cwd: Path
    given: Mapping[str, str] | None
    """Its environment; None inherits this process's."""
    show: bool
    timeout_s: float | None

    @property
    def env(self) -> dict[str, str]:
        """What it was given, nothing where it inherits."""
        return dict(self.given or {})

    def really(self) -> Finished:
        """Run it."""
        return LocalRunner()(
            self.words, cwd=self.cwd, env=self.given, show=self.show, timeout_s=self.timeout_s
        )

    def ended(self, code: int = 0, said: str = "", *, error: str = "", took_ms: int = 1) -> Finished:
        """Say that it ended, without running it."""
        return Finished(argv=self.words, code=code, stdout=said, stderr=error, took_ms=took_ms)


class Double(ABC):
    """A runner that leaves each call to `answer`."""

    __slots__ = ()

    def __call__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        show: bool = False,
        timeout_s: float | None = None,
    ) -> Finished:
        """Hand the call on."""
        words = [os.fspath(word) for word in argv]
        return self.answer(Call(words=words, cwd=cwd, given=env, show=show, timeout_s=timeout_s))

    @abstractmethod
    def answer(self, call: Call) -> Finished:
        """Say how a call ended."""

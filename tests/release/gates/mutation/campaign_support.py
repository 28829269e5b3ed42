"""A campaign over the small project, without git, in which one module is judged after the other."""

import io
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from release.context import Options
from release.gates.mutation.campaign import Campaign, Part, Scope
from release.gates.mutation.imports import Graph
from release.gates.mutation.scratch import Kept, Settings
from release.gates.mutation.verdicts import Measured
from tests.release.gates.mutation.support import PYPROJECT, TREE, Machine, context_of, name_of

A, B, C, LONELY = "release/a.py", "release/b.py", "src/pkg/c.py", "release/untested.py"
MODULES = [A, B, LONELY, C]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where campaigns run one after the other, with the same memory."""

    root: Path
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def begin(
        self,
        machine: Machine,
        scope: Scope | None = None,
        *,
        modules: Sequence[str] = MODULES,
        options: Options | None = None,
        outside: str = "",
    ) -> tuple[Campaign, io.StringIO]:
        """A campaign over a new copy of the tree."""
        scratch = self.root / f"scratch-{next(self.numbers)}"
        for name, text in TREE.items():
            path = scratch / "pristine" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        context, output = context_of(self.root, machine, options)
        made = Campaign(
            context=context,
            scope=scope or Scope(part=Part.ALL),
            scratch=scratch,
            settings=Settings.read(PYPROJECT),
            graph=Graph.of({name: text for name, text in TREE.items() if name.endswith(".py")}),
            modules=modules,
            seed="seed",
            outside=outside,
            kept=Kept(folder=self.root / "mutants", tool="3.8.1"),
        )
        return made, output

    def measure(
        self,
        machine: Machine,
        scope: Scope | None = None,
        *,
        modules: Sequence[str] = MODULES,
        options: Options | None = None,
        outside: str = "",
    ) -> dict[str, Measured]:
        """What such a campaign finds, by module."""
        made, _ = self.begin(machine, scope, modules=modules, options=options, outside=outside)
        found = made.measure()
        assert [each.module for each in found] == sorted(each.module for each in found)
        return {each.module: each for each in found}


@pytest.fixture(autouse=True)
def one_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One module after the other."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(root=tmp_path)


def both(module: str) -> list[str]:
    return [name_of(module, 1), name_of(module, 2)]

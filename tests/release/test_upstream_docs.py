"""What the documents for TTA say of the code: modules, kept names and dependencies are really there."""

import re
import tomllib

from packaging.requirements import Requirement
from redis.asyncio import Redis

from tests.library.test_layers import LAYERS, MODULES, OUTSIDE
from tests.release.workflow_support import ROOT
from tta_agent_coordination import CircuitBreaker, RedisAgentRegistry, RedisMessageCoordinator

SPEC = (ROOT / "docs/MEMORY_SYSTEM_EXTRACTION_SPEC.md").read_text(encoding="utf-8")
DESIGN = (ROOT / "docs/PACKAGE_DESIGN.md").read_text(encoding="utf-8")


def test_components_are_modules_of_this_package() -> None:
    """Whoever looks for what was taken finds it under the name in the table."""
    rows = re.findall(r"^\| .+ \| .+ \| .+ \| (.+) \|$", SPEC.partition("## Components")[2], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert {"models", "coordinators", "registries", "resilience"} <= named
    assert named - set(MODULES) == set()


def test_defects_have_the_tests_that_are_named() -> None:
    """A file that was renamed would leave the claim without its proof."""
    named = re.findall(r"`(tests/[^`]+)`", SPEC)
    assert len(named) >= 3
    assert [name for name in named if not (ROOT / name).is_file()] == []


async def test_names_that_tta_reaches_for_are_kept() -> None:
    """TTA assigns and calls these; without one it would set an attribute that nobody reads."""
    redis = Redis()  # none of them connects before it is used
    objects = {
        "coordinator": RedisMessageCoordinator(redis),
        "breaker": CircuitBreaker(redis, "model"),
        "registry": RedisAgentRegistry(redis),
    }
    sentence = SPEC.partition("what it reaches is kept:")[2].partition("keys under the prefix")[0]
    kept = {
        owner: re.findall(r"`(_\w+)", part)
        for part in sentence.split(";")
        for owner in objects
        if owner in part
    }
    assert {owner: len(names) >= 1 for owner, names in kept.items()} == dict.fromkeys(objects, True)
    missing = [name for owner, names in kept.items() for name in names if not hasattr(objects[owner], name)]
    await redis.aclose()
    assert missing == []


def test_design_draws_the_layers_that_are_tested() -> None:
    """A layer that the drawing lacks is one that its reader puts things into by chance."""
    drawing = DESIGN.partition("```mermaid")[2].partition("```")[0]
    tops = {name for layer in LAYERS for name in layer if name in MODULES and not name.startswith("__")}
    tops = {name for name in tops if "." not in name}
    assert [name for name in sorted(tops) if name not in drawing] == []
    assert [name for name in filter(None, OUTSIDE) if f"`{name}`" not in DESIGN] == []


def test_design_names_every_extra() -> None:
    """An extra that is not named is found by nobody; each stands beside what it brings."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    below = DESIGN.partition("## Dependencies")[2].partition("\n## ")[0]
    for extra, wanted in table["optional-dependencies"].items():
        assert f"(`{extra}`)" in below
        assert all(Requirement(each).name in below for each in wanted)

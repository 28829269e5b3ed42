"""Which names of a file hold what moved, as far as its text says."""

from __future__ import annotations

import ast

import pytest

from tta_agent_coordination.adopt.imports.holders import KINDS, Holders, last_name

ID, COORDINATOR, REGISTRY, BREAKER = (
    "AgentId",
    "RedisMessageCoordinator",
    "RedisAgentRegistry",
    "CircuitBreaker",
)


def expression(text: str) -> ast.expr:
    """Return an expression."""
    return ast.parse(text, mode="eval").body


def kind(text: str, code: str = "") -> str:
    """Return what an expression holds in a file of this code."""
    return Holders([*ast.walk(ast.parse(code))]).kind(expression(text))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a", "a"),
        ("a.b.c", "c"),
        ("a.b()", "b"),
        ("a.b(c).d(e)", "d"),
        ("(await a.b())", "b"),
        ("a.b[0]", "b"),
        ("1", ""),
        ("[a]", ""),
        ("-a", ""),
    ],
)
def test_last_name_is_the_one_that_says_what_it_is(text: str, name: str) -> None:
    """Broken: an object is judged by the name of what it is taken from."""
    assert last_name(expression(text)) == name
    assert last_name(None) == ""


@pytest.mark.parametrize(("held", "names"), KINDS.items())
def test_names_that_people_use_say_what_they_hold(held: str, names: frozenset[str]) -> None:
    """Broken: what has the usual name is overlooked."""
    for name in names:
        for text in (name, f"self.{name}", f"self._{name}", f"{name}s[0]", name.upper(), f"{name}_"):
            assert kind(text) == held
        assert kind(f"{name}.x") == kind(f"my{name}") == kind("[]") == ""


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("target_agent_id", ID),
        ("x.target_agent_ids", ID),
        ("agent_id_of", ""),
        ("my_coordinator", ""),
        ("x", ""),
    ],
)
def test_name_that_ends_like_an_id_holds_one(text: str, held: str) -> None:
    """Broken: an id with a longer name is overlooked."""
    assert kind(text) == held


@pytest.mark.parametrize(
    ("code", "held"),
    [
        ("def f(x: AgentId): ...", ID),
        ("def f(x: models.AgentId | None): ...", ID),
        ("def f(x: 'AgentId'): ...", ID),
        ("def f(x: 'dict[str, AgentId]'): ...", ID),
        ("def f(x: 'AgentId|None'): ...", ID),
        ("def f(x: 'list[AgentId]'): ...", ID),
        ("def f(x: list['str | AgentId']): ...", ID),
        ("def f(x: int, y: AgentId): ...", ""),
        ("def f(x): ...", ""),
        ("x: AgentId", ID),
        ("self.x: CircuitBreaker = y()", BREAKER),
        ("x: int = AgentId", ""),
        ("x = AgentId()", ID),
        ("x = y = models.AgentId()", ID),
        ("self.x = RedisAgentRegistry(z)", REGISTRY),
        ("x = other()", ""),
        ("x = AgentId", ""),
        ("x = AgentRegistry()", REGISTRY),
        ("x = MessageCoordinator()", COORDINATOR),
        ("x = EnhancedRedisMessageCoordinator()", COORDINATOR),
        ("x = WorkflowAwareMessageCoordinator()", COORDINATOR),
        ("from a import b as c, AgentId as Id\nx = Id()", ID),
        ("from a import Other as Id\nx = Id()", ""),
        ("class Mine(Other, m.AgentId): ...\nx = Mine()", ID),
        ("class Mine(Other): ...\nx = Mine()", ""),
        ("class AgentId(CircuitBreaker): ...\nx = AgentId()", ID),
        ("for x in sender: ...", ID),
        ("async def f():\n    async for x in recipients: ...", ID),
        ("[x for x in agent_ids]", ID),
        ("for x in others: ...", ""),
        ("def f(xs: list[AgentId]):\n    for x in xs: ...", ID),
        ("x = AgentId()\nx = CircuitBreaker()", ID),
        ("x = AgentId()\nfor x in breakers: ...", ID),
    ],
)
def test_text_of_a_file_says_what_a_name_holds(code: str, held: str) -> None:
    """Broken: an id that is called otherwise is overlooked, or something else is taken for one."""
    assert kind("a.x", code) == held


def test_what_a_file_says_counts_before_the_usual_name() -> None:
    """Broken: a breaker that is called like a registry is taken for one."""
    assert kind("registry", "def f(registry: CircuitBreaker): ...") == BREAKER


@pytest.mark.parametrize(
    ("name", "held"), [("AgentId", ID), ("AgentRegistry", REGISTRY), ("Mine", BREAKER), ("Other", "")]
)
def test_class_is_of_the_kind_that_its_objects_are(name: str, held: str) -> None:
    """Broken: a subclass of what moved is taken for TTA's own."""
    tree = ast.parse("class Mine(CircuitBreaker): ...\nclass Other(Base): ...")
    assert Holders([*ast.walk(tree)]).of_class(name) == held

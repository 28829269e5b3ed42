"""Which names of a file hold an agent id, a coordinator, a registry or a breaker, as far as its text says.

Flow is not looked at: annotations, what is constructed, what a loop runs over, and the names people use.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Holders", "last_name"]

KINDS: Mapping[str, frozenset[str]] = {
    "AgentId": frozenset({"agent_id", "aid", "sender", "recipient"}),
    "RedisMessageCoordinator": frozenset(
        {"coord", "coordinator", "enhanced_coordinator", "message_coordinator", "redis_coordinator"}
    ),
    "RedisAgentRegistry": frozenset({"agent_registry", "redis_registry", "registry"}),
    "CircuitBreaker": frozenset({"breaker", "cb", "circuit_breaker"}),
}
"""A kind, and the names that say it where nothing else does."""
_FAMILIES = {
    "AgentRegistry": "RedisAgentRegistry",
    "EnhancedRedisMessageCoordinator": "RedisMessageCoordinator",
    "MessageCoordinator": "RedisMessageCoordinator",
    "WorkflowAwareMessageCoordinator": "RedisMessageCoordinator",
}
"""Classes whose objects are looked at as those of another."""


def last_name(node: ast.expr | None) -> str:
    """The last name of `a.b.c`, of a call's function and of what is awaited or indexed; else empty."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=inner) | ast.Await(value=inner) | ast.Subscript(value=inner):
            return last_name(inner)
        case _:
            return ""


class Holders:
    """What each name of one file holds.

    Args:
        nodes: The syntax tree of the file, its nodes in any order.
    """

    def __init__(self, nodes: Sequence[ast.AST]) -> None:
        self._classes = {name: name for name in KINDS} | _FAMILIES
        self._kinds: dict[str, str] = {}
        for node in nodes:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if alias.asname and alias.name in self._classes:
                        self._classes[alias.asname] = self._classes[alias.name]
            elif isinstance(node, ast.ClassDef):
                for base in node.bases:
                    if last_name(base) in self._classes:
                        self._classes.setdefault(node.name, self._classes[last_name(base)])
        for node in nodes:
            for target, kind in self._said(node):
                self._kinds.setdefault(target, kind)
        for node in nodes:
            for target, source in _loops(node):
                if kind := self.kind(source):
                    self._kinds.setdefault(last_name(target), kind)

    def of_class(self, name: str) -> str:
        """The kind that objects of a class are; empty where they are of none."""
        return self._classes.get(name, "")

    def kind(self, node: ast.expr | None) -> str:
        """What an expression holds, judged by its last name; empty where nothing is said."""
        name = last_name(node)
        if not name:
            return ""
        if name in self._kinds:
            return self._kinds[name]
        singular = name.lower().strip("_").removesuffix("s")
        if singular.endswith("_agent_id"):
            return "AgentId"
        return next((kind for kind, words in KINDS.items() if singular in words), "")

    def _said(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        """The names that a node declares to hold something."""
        match node:
            case ast.arg(arg=name, annotation=annotation) if annotation is not None:
                yield from ((name, kind) for kind in self._annotated(annotation))
            case ast.AnnAssign(target=target, annotation=annotation):
                yield from ((last_name(target), kind) for kind in self._annotated(annotation))
            case ast.Assign(targets=targets, value=ast.Call(func=called)):
                if kind := self.of_class(last_name(called)):
                    yield from ((last_name(target), kind) for target in targets)
            case _:
                pass

    def _annotated(self, annotation: ast.expr) -> Sequence[str]:
        for node in ast.walk(annotation):
            if isinstance(node, ast.Name | ast.Attribute) and (kind := self.of_class(last_name(node))):
                return [kind]
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words = node.value.replace("[", " ").replace("]", " ").replace("|", " ").split()
                for word in words:
                    if kind := self.of_class(word):
                        return [kind]
        return []


def _loops(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What a loop or a comprehension takes one at a time, and from what."""
    if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        yield node.target, node.iter

"""Workflows and composite actions as frozen values, read from their YAML text. Judges nothing, opens no file.

Every scalar stays the text that was written (`true`, `90`, `3.15`): GitHub decides what it means, and a rule
that compares text cannot be fooled by a YAML type. Comments behind `uses:` and behind grants are kept, since
rules read them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import yaml

__all__ = [
    "Composite",
    "Grant",
    "Job",
    "Step",
    "UnreadableError",
    "Use",
    "Workflow",
    "read_composite",
    "read_workflow",
]

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""The C parser where the wheel has it: twenty times faster, the same nodes."""

type Tree = str | list[Tree] | dict[str, Tree]
"""Plain YAML: scalars are text, the empty scalar is the empty text."""


class UnreadableError(Exception):
    """A file that is not the YAML of a workflow or composite action; says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One `uses:` as written."""

    what: str
    """`actions/checkout@<ref>` or `$/.github/actions/setup`."""
    comment: str
    """Behind it on its line, without the `#`; empty without one."""
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One line of a job's `permissions:`."""

    scope: str
    access: str
    reason: str
    """The comment behind it; empty without one."""
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a job or of a composite action."""

    keys: frozenset[str]
    """Every key that was written, so that a rule can refuse what it does not know."""
    line: int
    id: str
    uses: str
    settings: Mapping[str, str]
    """`with:`."""
    run: str
    env: Mapping[str, str]
    condition: str
    """`if:`."""
    shell: str
    """Empty where it is the default's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job of a workflow."""

    keys: frozenset[str]
    line: int
    id: str
    needs: Sequence[str]
    runs_on: str
    timeout: str
    grants: Sequence[Grant]
    grants_all: str
    """`permissions:` when it is one word (`write-all`) or not there at all ("inherited"); otherwise empty."""
    environment: str
    condition: str
    matrix: Mapping[str, Sequence[str]]
    """The matrix' own axes; `include` and `exclude` are in `matrix_extra`."""
    matrix_extra: frozenset[str]
    outputs: Mapping[str, str]
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """One file of `.github/workflows`."""

    file: str
    text: str
    keys: frozenset[str]
    triggers: Tree
    """What stands under `on:`."""
    permissions: Tree
    concurrency: Mapping[str, str]
    cache_mode: str
    defaults: Tree
    jobs: Mapping[str, Job]
    uses: Sequence[Use]

    def ancestors(self, job: str) -> frozenset[str]:
        """Every job that must pass before `job` starts, at any distance; in a cycle also `job` itself."""
        seen: set[str] = set()
        waiting = list(self.jobs[job].needs) if job in self.jobs else []
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting.extend(self.jobs[name].needs if name in self.jobs else ())
        return frozenset(seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """One `action.yml` of `.github/actions`."""

    file: str
    text: str
    using: str
    inputs: frozenset[str]
    steps: Sequence[Step]
    uses: Sequence[Use]


def read_workflow(file: str, text: str) -> Workflow:
    """The workflow that `text` says.

    Raises:
        UnreadableError: not YAML, a key twice, or not shaped like a workflow.
    """
    root = _compose(file, text)
    top = _mapping(file, _tree(file, root))
    jobs_node = _child(root, "jobs")
    jobs: dict[str, Job] = {}
    for key, node in _pairs(jobs_node):
        jobs[key.value] = _job(file, text.splitlines(), key, node)
    return Workflow(
        file=file,
        text=text,
        keys=frozenset(top),
        triggers=top.get("on", ""),
        permissions=top.get("permissions", "inherited"),
        concurrency=_texts(file, top.get("concurrency", {})),
        cache_mode=_text(file, top.get("cache-mode", "")),
        defaults=top.get("defaults", ""),
        jobs=jobs,
        uses=tuple(_uses(text.splitlines(), root)),
    )


def read_composite(file: str, text: str) -> Composite:
    """The composite action that `text` says.

    Raises:
        UnreadableError: not YAML, a key twice, or not shaped like an action.
    """
    root = _compose(file, text)
    top = _mapping(file, _tree(file, root))
    runs = _mapping(file, top.get("runs", {}))
    steps = _child(_child(root, "runs"), "steps")
    return Composite(
        file=file,
        text=text,
        using=_text(file, runs.get("using", "")),
        inputs=frozenset(_mapping(file, top.get("inputs", {}))),
        steps=tuple(_step(file, node) for node in _items(steps)),
        uses=tuple(_uses(text.splitlines(), root)),
    )


def _job(file: str, lines: Sequence[str], key: yaml.ScalarNode, node: yaml.Node) -> Job:
    where = f"{file}: job {key.value}"
    plain = _mapping(where, _tree(file, node))
    needs = plain.get("needs", [])
    strategy = _mapping(where, plain.get("strategy", {}))
    matrix = _mapping(where, strategy.get("matrix", {}))
    permissions = plain.get("permissions", "inherited")
    environment = plain.get("environment", "")
    return Job(
        keys=frozenset(plain),
        line=_line(key),
        id=key.value,
        needs=(needs,) if isinstance(needs, str) else tuple(_list(where, needs)),
        runs_on=_text(where, plain.get("runs-on", "")),
        timeout=_text(where, plain.get("timeout-minutes", "")),
        grants=tuple(_grants(where, lines, _child(node, "permissions"))),
        grants_all=permissions if isinstance(permissions, str) else "",
        environment=environment
        if isinstance(environment, str)
        else _text(where, _mapping(where, environment).get("name", "")),
        condition=_text(where, plain.get("if", "")),
        matrix={
            axis: tuple(_list(where, values))
            for axis, values in matrix.items()
            if axis not in {"include", "exclude"}
        },
        matrix_extra=frozenset(matrix) & {"include", "exclude"},
        outputs=_texts(where, plain.get("outputs", {})),
        steps=tuple(_step(where, step) for step in _items(_child(node, "steps"))),
    )


def _step(where: str, node: yaml.Node) -> Step:
    plain = _mapping(where, _tree(where, node))
    return Step(
        keys=frozenset(plain),
        line=_line(node),
        id=_text(where, plain.get("id", "")),
        uses=_text(where, plain.get("uses", "")),
        settings=_texts(where, plain.get("with", {})),
        run=_text(where, plain.get("run", "")),
        env=_texts(where, plain.get("env", {})),
        condition=_text(where, plain.get("if", "")),
        shell=_text(where, plain.get("shell", "")),
    )


def _grants(where: str, lines: Sequence[str], node: yaml.Node | None) -> Iterator[Grant]:
    for key, value in _pairs(node):
        yield Grant(
            scope=key.value,
            access=_text(f"{where}: permissions", _tree(where, value)),
            reason=_comment(lines[_line(value) - 1], value.end_mark.column),
            line=_line(key),
        )


def _uses(lines: Sequence[str], node: yaml.Node) -> Iterator[Use]:
    """Every `uses:` at any depth, in the order of the file."""
    if isinstance(node, yaml.SequenceNode):
        for item in _items(node):
            yield from _uses(lines, item)
    for key, value in _pairs(node):
        if key.value == "uses" and isinstance(value, yaml.ScalarNode):
            comment = _comment(lines[_line(value) - 1], value.end_mark.column)
            yield Use(what=value.value, comment=comment, line=_line(value))
        else:
            yield from _uses(lines, value)


def _comment(line: str, column: int) -> str:
    behind = line[column:].strip()
    return behind.removeprefix("#").strip() if behind.startswith("#") else ""


def _compose(file: str, text: str) -> yaml.Node:
    try:
        node = _LOADER(text).get_single_node()
    except yaml.YAMLError as error:
        raise UnreadableError(f"{file}: {error}") from None
    if not isinstance(node, yaml.MappingNode):
        raise UnreadableError(f"{file}: is not a mapping")
    return node


def _tree(where: str, node: yaml.Node) -> Tree:
    """Plain values of `node`; a key written twice is an error, since readers disagree on which one counts."""
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_tree(where, item) for item in _items(node)]
    plain: dict[str, Tree] = {}
    for key, value in _pairs(node):
        if key.value in plain:
            raise UnreadableError(f"{where}:{_line(key)}: the key {key.value!r} stands there twice")
        plain[key.value] = _tree(where, value)
    return plain


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        return []
    return [(key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]


def _items(node: yaml.Node | None) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _child(node: yaml.Node | None, name: str) -> yaml.Node | None:
    return next((value for key, value in _pairs(node) if key.value == name), None)


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _mapping(where: str, tree: Tree) -> dict[str, Tree]:
    if tree == "":
        return {}
    if not isinstance(tree, dict):
        raise UnreadableError(f"{where}: {tree!r} stands where a mapping belongs")
    return tree


def _texts(where: str, tree: Tree) -> dict[str, str]:
    return {name: _text(f"{where}: {name}", value) for name, value in _mapping(where, tree).items()}


def _list(where: str, tree: Tree) -> list[str]:
    if not isinstance(tree, list):
        raise UnreadableError(f"{where}: {tree!r} stands where a list belongs")
    return [_text(where, item) for item in tree]


def _text(where: str, tree: Tree) -> str:
    if not isinstance(tree, str):
        raise UnreadableError(f"{where}: {tree!r} stands where a text belongs")
    return tree

"""Reference pages of what Python names: the API for autodoc, metrics, the noxfile's sessions. Pure."""

import ast
import re
from collections.abc import Mapping, Sequence

__all__ = ["api_page", "as_rst", "metrics_page", "sessions_page"]

_API = """\
# API

Everything here is importable from `tta_agent_coordination`, but for `testing` and the exporters,
which are imported by their own names.

"""

_SESSIONS = """\
# Sessions

`python -m nox -l` lists them; `python -m nox -s NAME` runs one. Each installs a hash lock and
calls one stage of `python -m release`.

| session | what it does |
|---|---|
"""

_METRICS = """\
# Metrics

What the adapters of the extras export; `docs/how-to/observe.md` says how to switch them on.
Without one, `InMemoryMetrics.snapshot()` has the numbers.
"""

_RULE = re.compile(r"^\s*\|(\s*:?-+:?\s*\|)+\s*$")


def api_page(groups: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """The page of the public names.

    Args:
        groups: Module -> its public names, each with autodoc's word for it: class, exception, function.
    """
    lines: list[str] = []
    for module, members in groups.items():
        lines += [f"## {module}", "", "```{eval-rst}"]
        for name, kind in members:
            lines += [f".. auto{kind}:: {module}.{name}"]
            if kind != "function":
                lines += ["   :members:", "   :show-inheritance:"]
            lines.append("")
        lines += ["```", ""]
    return _API + "\n".join(lines)


def as_rst(lines: Sequence[str]) -> list[str]:
    """A docstring's Markdown tables as reStructuredText, which autodoc reads; every other line as it is."""
    result: list[str] = []
    table: list[str] = []
    for line in [*lines, ""]:
        if line.lstrip().startswith("|"):
            table.append(line)
            continue
        result += _list_table(table)
        table = []
        result.append(line)
    return result[:-1]


def _list_table(table: Sequence[str]) -> list[str]:
    if len(table) < 2 or not _RULE.match(table[1]):
        return list(table)
    margin = table[0][: len(table[0]) - len(table[0].lstrip())]
    lines = [f"{margin}.. list-table::", f"{margin}   :header-rows: 1", ""]
    for row in (table[0], *table[2:]):
        for number, cell in enumerate(row.strip().strip("|").split("|")):
            lines.append(f"{margin}   {'  -' if number else '* -'} {cell.strip()}".rstrip())
    return ["", *lines, ""]


def sessions_page(noxfile: str) -> str:
    """The page of all nox sessions, from their docstrings, in the noxfile's order."""
    rows: list[str] = []
    for node in ast.parse(noxfile).body:
        if isinstance(node, ast.FunctionDef) and any(
            "nox.session" in ast.unparse(d) for d in node.decorator_list
        ):
            text = " ".join((ast.get_docstring(node) or "").split()).replace("|", "\\|")
            rows.append(f"| `{node.name}` | {text} |\n")
    return _SESSIONS + "".join(rows)


def metrics_page(adapters: Mapping[str, str]) -> str:
    """The page of all metrics: the table that each adapter's class has in its docstring.

    Args:
        adapters: Name of the class -> source of its module.

    Raises:
        ValueError: A module lacks the class, or the class a table.
    """
    parts: list[str] = []
    for name, source in adapters.items():
        classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
        text = ast.get_docstring(classes[name]) if name in classes else None
        table = [line.strip() for line in (text or "").splitlines() if line.strip().startswith("|")]
        if not table:
            raise ValueError(f"{name} has no table of its metrics in its docstring")
        parts.append("\n".join(["", f"## {name}", "", *table, ""]))
    return _METRICS + "".join(parts)

"""The top level of a module that became re-exports: which helpers and imports go, and which stay."""

from __future__ import annotations

from collections.abc import Collection

import libcst as cst
import pytest

from tests.library.adopt.test_imports_shim import shim
from tta_agent_coordination.adopt.imports.bodies import imported, is_standard

HEAD = 'from tta_agent_coordination import RoutingKey\n\n__all__ = ["RoutingKey"'


def left(above: str, *, uses: str = "", wanted: Collection[str] = (), below: str = "") -> str:
    """Return a module with a `RoutingKey` that used names, without the lines that import and list it."""
    new = shim("models", f"{above}\n\nclass RoutingKey:\n    _own = {uses or None}\n{below}", wanted)
    assert new.count("from tta_agent_coordination import RoutingKey\n") == 1
    before, _, behind = new.partition("from tta_agent_coordination import RoutingKey\n")
    return (
        before.strip("\n")
        + "|"
        + behind.partition("__all__ = ")[0].strip("\n")
        + "|"
        + behind.partition("]\n")[2].strip("\n")
    )


@pytest.mark.parametrize(
    ("line", "uses", "stays"),
    [
        ("import json as j", "j", ""),
        ("import os.path", "os", ""),
        ("import os.path as p", "os, p", ""),
        ("import json as j", "json", "import json as j"),
        ("import os, sys", "os", "import sys"),
        ("import os, sys", "sys", "import os"),
        ("import os, json as j, re, sys", "j", "import os, re, sys"),
        ("import os, json as j, re, sys", "sys, j", "import os, re"),
        ("import os.path, os.path as p, re", "os", "import os.path as p, re"),
        ("from json import dumps as d, loads", "d", "from json import loads"),
        ("from json import dumps as d, loads", "dumps, loads", "from json import dumps as d"),
        ("from json import dumps as d, loads", "d, loads", ""),
    ],
)
def test_names_that_only_what_went_used_are_not_imported(line: str, uses: str, stays: str) -> None:
    """Broken: a linter finds an unused import, or a name that is used is gone."""
    assert left(line, uses=uses).partition("|")[0] == stays


@pytest.mark.parametrize("below", ["x = d\n", "def f(x: 'list[d]'): ...\n"])
def test_import_that_something_else_uses_stays(below: str) -> None:
    """Broken: what is left of a module fails at its first call, or where its types are read."""
    assert left("from json import dumps as d, loads", uses="d, loads", below=below).startswith(
        "from json import dumps as d|"
    )


def test_imported_names_keep_comments_and_brackets() -> None:
    """Broken: a comment is lost with the name beside it, or a line grows beyond 88 columns."""
    kept = "".join(f"    {'x' * 30}{number},  # {number}\n" for number in range(3))
    line = f"from json import (\n{kept}    loads,\n)"
    assert left(line, uses="loads").partition("|")[0] == f"from json import (\n{kept})"


@pytest.mark.parametrize("below", ["def f() -> Later: ...\n", ""])
def test_import_of_the_future_is_no_import_of_a_name(below: str) -> None:
    """Broken: annotations that stay are read too early, for a name of that word that went."""
    future = "from __future__ import annotations"
    assert left(future, uses="annotations", below=below).startswith(f"{future}|" if below else "|")


@pytest.mark.parametrize(
    ("above", "uses", "wanted", "stays"),
    [
        ("_a = 1\n", "_a", (), ""),
        ("log = 1\n", "log", (), ""),
        ("logger = 1\n", "logger", (), ""),
        ("_a = _b = 1\n", "_a, _b", (), "_a = _b = 1"),
        ("_a: int\n", "_a", (), ""),
        ("_a.b = 1\n", "_a", (), "_a.b = 1"),
        ("_a = 1; _c = 2\n", "_a, _c", (), "_a = 1; _c = 2"),
        ("_a = 1\n", "", (), "_a = 1"),
        ("_a = 1\n", "_a", ("_a",), "_a = 1"),
        ("_a = 1\n", "", ("_a",), "_a = 1"),
        ("public = 1\n", "public", (), "public = 1"),
        ("__a__ = 1\n", "__a__", (), "__a__ = 1"),
        ("def _a(): return _b\n\n\n_b = 1\n", "_a", (), ""),
        ("_b = 1\n_a = _b\n", "_a", (), ""),
        ("_c = 1\n\n\ndef _a(): return _b\n\n\n_b = _c\n", "_a", (), ""),
        ("_b = 1\n_a = _b\nc = _b\n", "_a", (), "_b = 1\nc = _b"),
    ],
)
def test_helper_goes_with_the_only_code_that_used_it(
    above: str, uses: str, wanted: Collection[str], stays: str
) -> None:
    """Broken: a linter finds an unused helper, or one that is needed, or was unused before, is gone."""
    assert left(f"import zlib\n\n{above}", uses=uses, wanted=wanted).split("|")[-1] == stays


@pytest.mark.parametrize(
    ("line", "standard"),
    [
        ("import os.path\n", True),
        ("from os.path import join, split\n", True),
        ("import json, redis\n", False),
        ("import redis.asyncio\n", False),
        ("from .json import x\n", False),
        ("x = 1\n", False),
        ("import json; import os\n", False),
    ],
)
def test_import_of_the_standard_library_is_known_by_its_first_name(line: str, standard: bool) -> None:
    """Broken: blank lines are put inside of a group of imports, or left out between two."""
    assert is_standard(cst.parse_statement(line)) is standard


def test_names_of_an_import_are_those_it_binds() -> None:
    """Broken: a name that is used is taken for one that is not."""
    assert imported(cst.parse_statement("import a.b, a.c as d, e\n")) == {"a": "a.b", "d": "a.c", "e": "e"}
    assert imported(cst.parse_statement("from ..a import b, c as d\n")) == {"b": "..a", "d": "..a"}
    assert imported(cst.parse_statement("from a import *\n")) == {}

"""The plan for a tree: which files change to what, what is found on the way, and on which lines."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path

import pytest

from tests.library.adopt.trees import write
from tests.library.adopt.workspaces import workspace
from tta_agent_coordination.adopt.findings import Finding, as_text
from tta_agent_coordination.adopt.imports import plan
from tta_agent_coordination.adopt.imports.copies import Copies
from tta_agent_coordination.adopt.imports.plan import Plan, Statement, imported_names, make, parsed, sources
from tta_agent_coordination.adopt.tree import Workspace, read_workspace

V0 = "src/agent_orchestration"
OTHER = "x/agent_orchestration"
METRICS = "class MessageMetrics:\n    pass\n\n\nclass Own:\n    pass\n"
SHELL = "from tta_agent_coordination import InMemoryMetrics as MessageMetrics\n"
USER = "from agent_orchestration.metrics import MessageMetrics\n"


def copy(metrics: str = METRICS, folder: str = V0) -> dict[str, str]:
    """Return a copy of v0 of two modules, one of them without anything that moved."""
    return {f"{folder}/metrics.py": metrics, f"{folder}/models.py": "X = 1\n"}


def found(made: Plan, *rules: str) -> list[str]:
    """Return the findings of some rules, a line each."""
    return as_text([each for each in made.findings if each.rule in rules]).splitlines()


def at(file: str, line: int) -> Finding:
    """Return a finding on a line."""
    return Finding(rule="r", file=file, line=line, what="w", remedy="m")


def test_findings_are_told_on_the_lines_before_the_change() -> None:
    """Broken: without `--apply` the list leads to lines that are not there yet."""
    old = {"a.py": "one\ntwo\nthree\nfour\n", "b.py": "one\n"}
    new = {"a.py": "zero\none\nnew\nthree\nthree and a half\nfour\n"}
    lines = range(1, 8)
    made = Plan(
        old=old,
        new=new,
        files=2,
        modules=(),
        statements=(),
        findings=(*(at("a.py", line) for line in lines), at("b.py", 5), at("README.md", 7)),
    )
    assert [(each.file, each.line) for each in made.as_before()] == [
        *(("a.py", line) for line in (1, 1, 2, 3, 4, 4, 1)),
        ("b.py", 5),
        ("README.md", 7),
    ]
    assert {(each.rule, each.what, each.remedy) for each in made.as_before()} == {("r", "w", "m")}


def test_lines_of_a_long_file_of_equal_lines_are_found_too() -> None:
    """Broken: in a generated file every finding leads to its beginning."""
    old = "".join(f"{'same' if number % 2 else number}\n" for number in range(600))
    new = "first\n" + old
    made = Plan(
        old={"a.py": old}, new={"a.py": new}, files=1, modules=(), statements=(), findings=(at("a.py", 403),)
    )
    assert [each.line for each in made.as_before()] == [402]
    equal = "same\n" * 300
    made = Plan(
        old={"a.py": equal},
        new={"a.py": "start\n" + equal},
        files=1,
        modules=(),
        statements=(),
        findings=(at("a.py", 151),),
    )
    assert [each.line for each in made.as_before()] == [150]


def test_sources_are_python_files_and_no_links(tmp_path: Path) -> None:
    """Broken: a file is written through a link, twice or outside of the tree."""
    write(tmp_path, {"a.py": "x = 1\n", "b/c.py": "", "setup.cfg": "", "README.md": ""})
    (tmp_path / "b/link.py").symlink_to(tmp_path / "a.py")
    assert sources(read_workspace(tmp_path)) == {"a.py": "x = 1\n", "b/c.py": ""}


def test_files_that_may_name_v0_are_parsed() -> None:
    """Broken: a file that imports v0 is passed over, or a broken one that does not is reported."""
    texts = {
        "a.py": "import orchestration\n",
        "orchestration/b.py": "\ufeffx = 1\n",
        "c.py": "broken (",
        "d.py": "'orchestration'\nbroken (\n",
        "e.py": "orchestration = 1\0\n",
        "f.py": "'\\d orchestration'\n",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trees, broken = parsed(texts)
    assert set(trees) == {"a.py", "orchestration/b.py", "f.py"}
    assert ast.unparse(trees["orchestration/b.py"]) == "x = 1"
    assert as_text(broken).splitlines() == [
        "d.py:2: input.python: is no Python: '(' was never closed; correct it; it was left as it is",
        (
            "e.py:1: input.python: is no Python: source code string cannot contain null bytes; "
            "correct it; it was left as it is"
        ),
    ]


@pytest.mark.parametrize(
    ("error", "line", "why"),
    [
        (SyntaxError("odd", ("a", 7, 1, "x")), 7, "odd"),
        (SyntaxError("odd", ("a", None, 1, "x")), 1, "odd"),
        (ValueError("zero bytes"), 1, "zero bytes"),
        (MemoryError(), 1, "MemoryError"),
    ],
)
def test_what_a_parser_gives_up_on_is_said_with_its_reason(error: Exception, line: int, why: str) -> None:
    """Broken: a person learns that something is wrong, and not what."""
    broken = plan._broken("a.py", error)
    assert (
        as_text([broken])
        == f"a.py:{line}: input.python: is no Python: {why}; correct it; it was left as it is\n"
    )


def test_re_exports_leave_every_other_file_as_it_is() -> None:
    """Broken: a change that should touch no consumer does."""
    files = {**copy(), "user.py": USER}
    made = make(workspace(files), rewriting=False)
    assert set(made.new) == {f"{V0}/metrics.py"}
    assert made.new[f"{V0}/metrics.py"].startswith(SHELL)
    assert "class Own" in made.new[f"{V0}/metrics.py"]
    assert (dict(made.old), made.files) == (files, 3)
    assert (made.modules, made.statements) == ((f"{V0}/metrics.py",), ())


def test_rewriting_names_each_statement_that_it_changes() -> None:
    """Broken: the figures are of other statements than those in the diff."""
    user = (
        f"{USER}\n\ndef f():\n    from src.agent_orchestration.metrics import MessageMetrics, Own\n\n"
        "from agent_orchestration.models import X\nfrom .orchestration import y\n"
    )
    inner = "from .metrics import MessageMetrics\nfrom . import metrics\n"
    made = make(
        workspace({**copy(), "user.py": user, f"{V0}/use.py": inner, "z.py": "x = 'orchestration'\n"}),
        rewriting=True,
    )
    assert made.new["user.py"].startswith(SHELL)
    assert "    from src.agent_orchestration.metrics import Own\n" in made.new["user.py"]
    assert set(made.new) == {f"{V0}/metrics.py", "user.py", f"{V0}/use.py"}
    assert sorted(made.statements, key=lambda each: (each.file, each.line)) == [
        Statement(file=f"{V0}/use.py", line=1, module=".metrics", split=False),
        Statement(file="user.py", line=1, module="agent_orchestration.metrics", split=False),
        Statement(file="user.py", line=5, module="src.agent_orchestration.metrics", split=True),
    ]


def test_again_changes_nothing() -> None:
    """Broken: every run makes a new diff."""
    files = {**copy(), "user.py": USER}
    new = make(workspace(files), rewriting=True).new
    again = make(workspace({**files, **new}), rewriting=True)
    assert (dict(again.new), again.modules, again.statements) == ({}, (), ())


def test_mark_at_the_beginning_stays_where_it_was() -> None:
    """Broken: an editor no longer knows the file, or the mark stands in its middle."""
    made = make(workspace({**copy("\ufeff" + METRICS), "user.py": "\ufeff" + USER}), rewriting=True)
    assert made.new["user.py"] == "\ufeff" + SHELL
    for text in made.new.values():
        assert text.startswith("\ufeff")
        assert text.count("\ufeff") == 1


def test_module_of_a_copy_is_changed_twice_where_it_imports_what_moved() -> None:
    """Broken: the second change of a file undoes the first."""
    more = "from .models import MessageType\n" + METRICS
    files = {
        **copy(more),
        f"{V0}/models.py": "class MessageType:\n    REQUEST = 1\n",
        "user.py": "import orchestration\n",
    }
    made = make(workspace(files), rewriting=True)
    assert made.modules == (f"{V0}/models.py", f"{V0}/metrics.py")
    text = made.new[f"{V0}/metrics.py"]
    assert "class MessageMetrics" not in text
    assert ".models" not in text


def test_file_that_one_parser_cannot_take_stays_and_is_told() -> None:
    """Broken: a generated file ends the run, or is counted as changed."""
    deep = "x = 1" + " + 1" * 600 + "\n"
    made = make(
        workspace({**copy(METRICS + deep), "user.py": USER.replace("agent_", "tta_ai.") + deep}),
        rewriting=True,
    )
    assert dict(made.new) == {}
    assert (made.modules, made.statements) == ((), ())
    assert [each.what for each in made.findings if "None" in each.what] == []
    assert [each.file for each in made.findings if each.rule == "input.python"] == [
        f"{V0}/metrics.py",
        "user.py",
    ]


def test_import_of_a_module_goes_unless_somebody_takes_it_from_there() -> None:
    """Broken: re-exports break who takes a name by way of its module, or keep what nobody needs."""
    files = copy("import json\n\n\nclass MessageMetrics:\n    def snapshot(self): return json\n")
    for user, stays in (
        ("", False),
        (USER, False),
        ("from agent_orchestration.metrics import json\n", True),
        ("import agent_orchestration.metrics\n", True),
    ):
        made = make(workspace({**files, "user.py": user}), rewriting=False)
        assert ("import json" in made.new[f"{V0}/metrics.py"]) is stays


def test_import_from_the_package_itself_is_named_by_its_dots() -> None:
    """Broken: a relative import has another name in the figures than in the file."""
    inner = {f"{V0}/__init__.py": "from .metrics import MessageMetrics\n"}
    files = copy() | inner | {f"{V0}/use.py": "from . import MessageMetrics\n"}
    shown = {each.file: each.module for each in make(workspace(files), rewriting=True).statements}
    assert shown == {f"{V0}/__init__.py": ".metrics", f"{V0}/use.py": "."}


def test_half_that_stays_in_tta_is_not_taken_from_the_package() -> None:
    """Broken: an import of a class that TTA extended gets the package's own."""
    extended = METRICS.replace("    pass", "    def extra(self): ...", 1)
    made = make(workspace({**copy(extended), "user.py": USER}), rewriting=True)
    assert set(made.new) == {f"{V0}/metrics.py"}


def test_findings_are_in_order_and_of_all_kinds(tmp_path: Path) -> None:
    """Broken: what could not be read is missing from the list, or two runs list it otherwise."""
    write(
        tmp_path,
        {
            **copy(),
            "z.py": "import agent_orchestration.metrics\nimport sys\nsys.path.append('a')\n",
            "a.py": "'orchestration' (\n",
            "b.md": "agent_orchestration.metrics\n",
        },
    )
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "m.py").write_bytes(b"\xff")
    made = make(read_workspace(tmp_path), rewriting=False)
    assert [(each.file, each.line, each.rule) for each in made.findings] == [
        ("a.py", 1, "input.python"),
        ("b.md", 1, "prose.module"),
        ("loop", 1, "input.link"),
        ("m.py", 1, "input.encoding"),
        ("z.py", 1, "import.module"),
        ("z.py", 3, "sys.path"),
    ]


def names(code: str, *, file: str = "x.py", more: dict[str, str] | None = None) -> dict[str, set[str] | None]:
    """Return what a file takes from a copy of v0, by the copy's file."""
    texts = {**copy(), file: code} | (more or {})
    trees = {path: ast.parse(text) for path, text in texts.items()}
    return imported_names(trees, Copies(texts.keys(), trees))


M, N = f"{V0}/metrics.py", f"{V0}/models.py"


@pytest.mark.parametrize(
    ("code", "taken"),
    [
        ("from agent_orchestration.metrics import A, B as C\n", {M: {"A", "B"}}),
        (
            "from agent_orchestration.metrics import A\nfrom src.agent_orchestration.metrics import B\n",
            {M: {"A", "B"}},
        ),
        ("from agent_orchestration.metrics import *\n", {M: None}),
        ("from agent_orchestration.metrics import *\nfrom agent_orchestration.metrics import A\n", {M: None}),
        ("from agent_orchestration.metrics import A, *\n".replace("A, ", ""), {M: None}),
        ("import agent_orchestration.metrics\n", {M: None}),
        ("import os, agent_orchestration.models as m\n", {N: None}),
        ("from agent_orchestration import metrics, other\n", {M: None}),
        ("def f():\n    from agent_orchestration.metrics import A\n", {M: {"A"}}),
        ("patch('agent_orchestration.metrics.A')\n", {M: {"A"}}),
        ("patch('agent_orchestration.metrics.A.b')\n", {M: {"A"}}),
        ("patch('see agent_orchestration.metrics.A')\n", {}),
        ("patch('agent_orchestration.metrics.A and more')\n", {}),
        ("patch(b'agent_orchestration.metrics.A', 3)\n", {}),
        ("from agent_orchestration.router import A\nimport agent_orchestration\n", {}),
        ("from tta_ai.orchestration.metrics import A\n", {}),
        ("import json\nfrom . import x\n", {}),
    ],
)
def test_names_that_others_take_from_a_module_are_known(code: str, taken: dict[str, set[str] | None]) -> None:
    """Broken: re-exports break who takes a name by way of its module, or keep what nobody takes."""
    assert names(code) == taken


def test_names_that_are_taken_by_dots_are_known() -> None:
    """Broken: a module beside it takes a name that is gone."""
    assert names("from .metrics import A\nfrom . import models\n", file=f"{V0}/router.py") == {
        M: {"A"},
        N: None,
    }
    assert names("from ..metrics import A\nfrom .. import models\n", file=f"{V0}/a/b.py") == {
        M: {"A"},
        N: None,
    }


def test_names_of_several_files_are_taken_together() -> None:
    """Broken: the last file that is read decides what a module keeps."""
    more = {"y.py": "from agent_orchestration.metrics import B\nimport agent_orchestration.models\n"}
    taken = names("from agent_orchestration.metrics import A\n", more=more)
    assert taken == {M: {"A", "B"}, N: None}


def twice(files: dict[str, str]) -> list[str]:
    """Return what is said of modules that are in several copies."""
    return found(make(workspace(files), rewriting=False), "module.copies")


CHOOSE = "choose the copy that stays, then delete the other"


def test_module_in_two_copies_is_a_line() -> None:
    """Broken: nobody sees that two copies of a module differ."""
    files = (
        copy("A = 1\n")
        | copy("A = 2\n", OTHER)
        | {f"{V0}/adapters.py": "", "y/agent_orchestration/models.py": ""}
    )
    assert twice(files) == [
        f"{V0}/metrics.py:1: module.copies: is in {OTHER}/metrics.py too, another text; {CHOOSE}",
        f"{V0}/models.py:1: module.copies: is in {OTHER}/models.py too, the same text; {CHOOSE}",
    ]


def test_other_modules_in_two_copies_are_counted() -> None:
    """Broken: the list has a line for each of a hundred modules, or none."""
    more = {f"{folder}/{path}": "" for folder in (V0, OTHER) for path in ("a.py", "b/c.py")}
    files = (
        copy()
        | copy(folder=OTHER)
        | more
        | {f"{V0}/own.py": "", f"{OTHER}/its.py": "", f"{V0}_more/a.py": ""}
    )
    assert twice(files)[0] == (f"{V0}:1: module.copies: has 2 more modules that are in {OTHER} too; {CHOOSE}")
    assert len(twice(files)) == 3


def test_every_two_of_three_copies_are_compared() -> None:
    """Broken: the third copy is never looked at."""
    files = copy("1\n") | copy("2\n", OTHER) | copy("1\n", "y/agent_orchestration")
    assert len(twice(files)) == 6
    assert sum("the same text" in line for line in twice(files)) == 4


def test_text_after_the_change_is_compared() -> None:
    """Broken: two modules that are the same re-exports now are said to differ."""
    files = copy("class MessageMetrics:\n    def snapshot(self): ...\n") | copy(
        "class MessageMetrics:\n    pass\n", OTHER
    )
    assert all("the same text" in line for line in twice(files))


def prose(root: Path, files: dict[str, str]) -> list[str]:
    """Return what is said of documents and settings."""
    made = make(read_workspace(write(root, files)), rewriting=False)
    return found(made, "prose.module", "input.unreadable")


SAY = "say that it is in tta_agent_coordination now"


def test_document_that_names_what_moved_is_told_with_its_first_line(tmp_path: Path) -> None:
    """Broken: a README sends readers to a file that is gone."""
    breaker = "a module that moved, agent_orchestration.circuit_breaker_metrics"
    assert prose(
        tmp_path,
        {
            "a.md": "one\n\nsee agent_orchestration/metrics.py\n",
            "b.rst": "tta_ai.orchestration.models, tta_ai/orchestration/agents, agent_orchestration.adapters",
            "c.txt": "agent_orchestration.circuit_breaker_metrics",
            "d.toml": "a = 'agent_orchestration.coordinators.redis_message_coordinator:x'",
        },
    ) == [
        f"a.md:3: prose.module: names a module that moved, agent_orchestration/metrics; {SAY}",
        f"b.rst:1: prose.module: names a module that moved, tta_ai.orchestration.models, and 2 more; {SAY}",
        f"c.txt:1: prose.module: names {breaker}; {SAY}",
        (
            "d.toml:1: prose.module: names a module that moved, "
            f"agent_orchestration.coordinators.redis_message_coordinator; {SAY}"
        ),
    ]


@pytest.mark.parametrize(
    "suffix", ["cfg", "ini", "ipynb", "json", "md", "rst", "sh", "toml", "txt", "yaml", "yml"]
)
def test_documents_of_every_kind_are_read(suffix: str, tmp_path: Path) -> None:
    """Broken: a setting goes on naming a module that is gone."""
    text = "# agent_orchestration.metrics\n"
    files = {
        f"a.{suffix}": text,
        "b.py": text,
        "c.bin": text,
        f"d{suffix}": text,
        "e.md": "orchestration.metrics\n",
    }
    assert [line.split(":")[0] for line in prose(tmp_path, files)] == [f"a.{suffix}"]
    (line,) = prose(tmp_path, {f"a.{suffix}": "\n" + text * 2})
    assert line.startswith(f"a.{suffix}:2: ")
    assert ", and 1 more; " in line


def test_document_with_bytes_of_another_encoding_is_read_and_data_is_not(tmp_path: Path) -> None:
    """Broken: one odd byte ends the run, or a file of data takes minutes."""
    name = b"agent_orchestration.metrics"
    (tmp_path / "a.md").write_bytes(b"\xff\n" + name)
    (tmp_path / "b.json").write_bytes(name + b" " * (1_000_000 - len(name)))
    (tmp_path / "c.json").write_bytes(name + b" " * (1_000_001 - len(name)))
    (tmp_path / "d.md").symlink_to(tmp_path / "a.md")
    assert [line.split(": ")[0] for line in prose(tmp_path, {"e.md": name.decode()})] == [
        "a.md:2",
        "b.json:1",
        "e.md:1",
    ]


def test_document_that_cannot_be_read_is_told_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a file without rights ends the run."""
    read = Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self.name == "a.md":
            raise PermissionError(13, "Permission denied")
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert prose(tmp_path, {"a.md": "", "b.md": "agent_orchestration.metrics"}) == [
        (
            "a.md:1: input.unreadable: cannot be read: Permission denied; "
            "give the user who runs this the right to read it"
        ),
        f"b.md:1: prose.module: names a module that moved, agent_orchestration.metrics; {SAY}",
    ]


def test_unread_files_of_a_workspace_are_findings_but_for_the_missing_project() -> None:
    """Broken: a tree without a pyproject.toml of its own is told to name another folder."""
    read = workspace({"a/pyproject.toml": "broken ["})
    missing = Finding(rule="input.pyproject", file="pyproject.toml", what="w", remedy="r")
    seen = Workspace(
        root=read.root,
        projects=(),
        paths=frozenset(),
        folders=frozenset(),
        texts={},
        unread=(missing, *read.unread),
    )
    assert [each.rule for each in make(seen, rewriting=True).findings] == ["input.toml"]

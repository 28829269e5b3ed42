"""The generated pages of this repository: complete, and every message says what to do."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

import tta_agent_coordination
from release.site import errors, messages, pages
from tests.release.workflow_support import ROOT
from tta_agent_coordination import exceptions
from tta_agent_coordination.doctor.findings import KINDS
from tta_agent_coordination.exporters.prometheus import PrometheusMetrics

SOURCE = ROOT / "src" / pages.PACKAGE
SOURCES = {path: path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.py"))}
PASSED_ON = {
    "make": "the class of a result's cause, with the result's own text",
    "mapped": "the error that stands for the client's",
    "self._refusal": "CircuitBreakerOpenError",
    "type(answer)": "the failure of a batch, once for each call in it",
}
"""Calls that return an exception whose message is read where it is made."""


@pytest.fixture(scope="module", name="made")
def made_pages() -> dict[str, str]:
    """Every page: made once, and not where the tests are only collected."""
    return pages.generate(ROOT)


@cache
def library_messages() -> list[messages.Raised]:
    return [each for path, text in SOURCES.items() for each in messages.raised_in(path.as_posix(), text)]


@cache
def library_findings() -> list[messages.Stated]:
    return [each for text in SOURCES.values() for each in messages.findings_in(text)]


@cache
def tool_messages() -> list[messages.Stated]:
    return [
        each
        for path in sorted((ROOT / "release").rglob("*.py"))
        for each in messages.problems_in(path.read_text(encoding="utf-8"))
    ]


def test_pages_are_written_below_one_folder(tmp_path: Path, made: dict[str, str]) -> None:
    """Every page that there is, from the tree alone."""
    for name in ("src", "release", "noxfile.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    written = pages.write(tmp_path)
    assert sorted(path.name for path in written) == [
        "api.md",
        "errors.md",
        "keys.md",
        "metrics.md",
        "scripts.md",
        "sessions.md",
    ]
    assert {path.name: path.read_text(encoding="utf-8") for path in written} == made


def test_api_page_has_every_public_class_and_function(made: dict[str, str]) -> None:
    """A name that is exported and not documented is a riddle."""
    for name in tta_agent_coordination.__all__:
        if name != "__version__":
            assert re.search(rf"^\.\. auto\w+:: [\w.]+\.{name}$", made["api.md"], re.MULTILINE), name


def test_metrics_page_names_what_prometheus_is_given(made: dict[str, str]) -> None:
    """A metric that is exported and not on the page is found by nobody; the page is read from docstrings."""
    metrics = PrometheusMetrics(CollectorRegistry())
    exported = {
        f"{family.name}_total" if family.type == "counter" else family.name for family in metrics.collect()
    }
    named = set(re.findall(r"`([a-z_]+)`", made["metrics.md"].partition("## OpenTelemetry")[0]))
    assert {name.removeprefix("tta_agents_") for name in exported} <= named
    assert "`tta.agents.queue.time`" in made["metrics.md"]


def test_scripts_page_has_every_script(made: dict[str, str]) -> None:
    """Each operation's contract can be read without opening the source."""
    names = {path.stem for path in (SOURCE / "_redis" / "lua").glob("*.lua")}
    assert set(re.findall(r"^## (\w+)$", made["scripts.md"], re.MULTILINE)) == names
    assert len(names) >= 20


def test_keys_page_shows_v0s_families_and_ours(made: dict[str, str]) -> None:
    """An operator who sees a key finds it here, with and without hash tags."""
    for key in (
        "ao:queue:world_builder:main",
        "ao:sched:{world_builder:main}:prio:9",
        "ao:cb:state:payments",
    ):
        assert f"`{key}`" in made["keys.md"], key


def test_every_exception_says_what_to_do_next() -> None:
    """Each class that can be raised has its advice, and none is for a class that is gone."""
    raised = {
        each.error.rpartition(".")[2]
        for each in library_messages()
        if not each.error.startswith(errors.OF_COMMANDS)
    }
    assert raised - errors.NEXT.keys() == set(), "give it a line in NEXT of release/site/errors.py"
    assert errors.NEXT.keys() - raised - set(exceptions.__all__) == set()


def test_every_exception_with_a_message_is_read() -> None:
    """A raise that the page's reader does not understand would be missing there without a word."""
    known = {each.error for each in library_messages()} | PASSED_ON.keys() | {"AssertionError"}
    calls = {
        ast.unparse(node.exc.func)
        for text in SOURCES.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args
    }
    assert calls - known == set()
    assert PASSED_ON.keys() <= calls


def test_what_is_logged_or_said_names_what_it_is_about() -> None:
    """A line that is the same whatever went wrong sends its reader into the source."""
    logged = [each for path, text in SOURCES.items() for each in messages.logged_in(path.stem, text)]
    said = [each for path, text in SOURCES.items() for each in messages.said_in(path.stem, text)]
    calls = re.compile(r"^ +(?:await )?_?log(?:ger)?\.\w+\(", re.MULTILINE)
    assert len(logged) == sum(len(calls.findall(text)) for text in SOURCES.values()) >= 40
    bare = [each.message for each in (*logged, *said) if "{" not in each.message]
    assert [message for message in bare if len(message.split()) < 5] == []


def test_messages_of_the_library_say_what_is_wrong() -> None:
    """A message is a sentence or names what was handed over, never a lone word."""
    found = library_messages()
    assert len(found) >= 30
    for each in found:
        assert len(each.message.split()) >= 4 or "{" in each.message, each
        assert not each.message.endswith("."), each


def test_bad_arguments_are_told_what_is_allowed() -> None:
    """A ValueError names the rule: what must, needs, may or cannot be."""
    rule = re.compile(r"\b(must|needs|already|at most|at least|not|no|nested|only|cannot|differ|both)\b|; ")
    assert [
        each for each in library_messages() if each.error == "ValueError" and not rule.search(each.message)
    ] == []


def test_every_problem_has_a_place_and_a_remedy() -> None:
    """What happened, to what, and what to do next: no field of a problem is empty anywhere."""
    assert len(library_findings()) >= 25
    found = [*tool_messages(), *library_findings()]
    assert len(found) >= 275
    for each in found:
        assert each.rule, each
        assert each.where, each
        assert each.what, each
        assert each.remedy, each


def test_errors_page_has_every_message(made: dict[str, str]) -> None:
    """The page is what the tools and the library say, all of it."""
    parts = re.split(r"^## (.*)$", made["errors.md"], flags=re.MULTILINE)
    page = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert page["The release tools"].count("\n| `") == len(set(tool_messages()))
    assert page["What tta-adopt finds"].count("\n| `") == len(set(library_findings()))
    raised = set(library_messages())
    assert page["What the doctor finds"].count("\n| `") == len(KINDS)
    usage = {each for each in raised if each.error.startswith(errors.OF_COMMANDS)}
    assert page["What the library raises"].count("` |\n") == len(raised - usage)
    assert page["What the commands say"].count("` |\n") > len(usage)
    assert all(f"### {each.error}" in page["What the library raises"] for each in raised - usage)
    for line in ("leases of {self._box.name} cannot be renewed", "| info | the worker of "):
        assert line in page["What the library logs"]

"""The command line: exit codes, the last line, and that every stage it names exists."""

import datetime as dt
import errno
import importlib
import io
import os
import re
import sys
import traceback
import types
from pathlib import Path

import pytest
from rich.console import Console

from release import __main__ as cli
from release.context import Context, Options
from release.ledger import Ledger
from release.model import Checked, Kind, Mode, Problem, Refused, Report
from release.runner import LocalRunner
from release.summaries import VARIABLE
from tests.release.ledger_support import create

FLAGS = ("fast", "again", "changed", "evidence", "require_redis")


def install_stage(monkeypatch: pytest.MonkeyPatch, run: object) -> None:
    """Put one stage called `lint` in the place of the real one."""
    module = types.ModuleType("stand_in_stage")
    module.__dict__["run"] = run
    monkeypatch.setitem(sys.modules, "stand_in_stage", module)
    monkeypatch.setitem(cli.STAGES, "lint", ("stand_in_stage", "a stand-in"))


def execute(tmp_path: Path, *words: str) -> tuple[int, list[str]]:
    output = io.StringIO()
    code = cli.main(words, root=tmp_path, console=Console(file=output, soft_wrap=True, markup=False))
    return code, output.getvalue().splitlines()


def test_refusal_is_all_its_problems_as_a_text() -> None:
    """A traceback of one still says what is wrong."""
    one = Problem(rule="a.b", where="here", what="first", remedy="mend it")
    two = Problem(rule="a.c", where="there", what="second", remedy="mend that")
    assert str(Refused(one, two)) == f"{one}\n{two}"


def test_every_stage_has_a_module_that_runs_it() -> None:
    """A stage in the help that cannot be imported is a stub called done."""
    for name, (module, _) in cli.STAGES.items():
        assert callable(importlib.import_module(module).run), name


def test_done_prints_what_was_checked_and_ends_with_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last line of output is the one a person and a script look at."""

    def run(_stage: str, _context: Context) -> Report:
        return Report(kind=Kind.DONE, sentence="all is well", checked=[Checked(what="moon", found="full")])

    install_stage(monkeypatch, run)
    code, lines = execute(tmp_path, "lint")
    assert code == 0
    assert lines == ["  moon  full", "RESULT done lint: all is well"]


def test_what_a_stage_prints_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An extra's name is not swallowed, a number not coloured, a long line not broken in two."""
    line = "  [red]pkg[embedded] 42 " + "long " * 60

    def run(_stage: str, context: Context) -> Report:
        context.console.print(line)
        return Report(kind=Kind.DONE, sentence="[b]fine[/b]")

    install_stage(monkeypatch, run)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert cli.main(["lint"], root=tmp_path) == 0
    assert capsys.readouterr().out == f"{line}\nRESULT done lint: [b]fine[/b]\n"


def test_what_a_terminal_would_obey_is_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member of a stranger's archive neither clears a screen, nor begins a line, nor ends the stage."""
    name = "a\x1b[2J\n::error::\udcff"
    written = r"a\x1b[2J\n::error::\udcff"

    def run(_stage: str, _context: Context) -> Report:
        return Report(
            kind=Kind.DONE,
            sentence=name,
            checked=[Checked(what=name, found=name)],
            problems=[Problem(rule="a.b", where=name, what="says:\n\t\x07é", remedy="look")],
        )

    install_stage(monkeypatch, run)
    assert execute(tmp_path, "lint")[1] == [
        f"  {written}  {written}",
        f"PROBLEM {written}: says:",
        "        \\x07é [a.b]",
        "    remedy: look",
        f"RESULT done lint: {written}",
    ]


@pytest.mark.parametrize(("kind", "code"), [(Kind.REFUSED, 1), (Kind.NOT_YET, 75)])
def test_refused_shows_every_problem_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, code: int
) -> None:
    """A person mends all problems in one go, so all of them are shown."""
    one = Problem(rule="a.b", where="here", what="first [broken]", remedy="mend it")
    two = Problem(rule="a.c", where="there", what="second", remedy="mend that")

    def run(_stage: str, _context: Context) -> Report:
        raise Refused(one, two, kind=kind)

    install_stage(monkeypatch, run)
    got, lines = execute(tmp_path, "lint")
    assert got == code
    assert lines[0] == "PROBLEM here: first [broken] [a.b]"
    assert lines[1] == "    remedy: mend it"
    assert lines[-1] == f"RESULT {kind.name.lower().replace('_', '-')} lint: 2 problems, listed above"


def test_a_single_problem_that_quotes_a_tool_still_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that reads the last line must find the result there, with its place."""

    def run(_stage: str, _context: Context) -> Report:
        raise Refused(Problem(rule="a.b", where="here", what="broke:\nquoted\nlines", remedy="mend it"))

    install_stage(monkeypatch, run)
    _, lines = execute(tmp_path, "lint")
    assert lines[-1] == "RESULT refused lint: here: broke:"


def test_interrupt_says_that_the_command_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in a release must leave a person knowing what to do."""

    def run(_stage: str, _context: Context) -> Report:
        raise KeyboardInterrupt

    install_stage(monkeypatch, run)
    code, lines = execute(tmp_path, "lint")
    assert code == 1
    assert "goes on where it stopped" in lines[-1]


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "wheel.whl"), "wheel.whl"),
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG)), "a file of this stage"),
    ],
)
def test_a_full_disk_says_that_the_command_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, where: str
) -> None:
    """A traceback would leave a maintainer guessing whether anything is half done."""

    def run(_stage: str, _context: Context) -> Report:
        raise error

    install_stage(monkeypatch, run)
    code, lines = execute(tmp_path, "lint")
    assert code == 1
    assert lines[0] == f"PROBLEM {where}: could not be written: {error.strerror} [main.room]"
    assert "run the same command again" in lines[1]
    assert lines[-1].startswith(f"RESULT refused lint: {where}: could not be written")
    assert lines[-1].endswith("goes on where it stopped")


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "lost"), KeyError("x"), ValueError()]
)
def test_other_errors_are_defects_and_shown_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What nobody expected is not dressed up, and the last line is still the one that a script looks at."""

    def run(_stage: str, _context: Context) -> Report:
        raise error

    install_stage(monkeypatch, run)
    code, lines = execute(tmp_path, "lint")
    assert code == Kind.REFUSED
    assert lines[0] == "Traceback (most recent call last):"
    assert any("raise error" in line for line in lines)
    place = lines.index(f"PROBLEM {type(error).__name__}: {str(error) or 'says nothing'} [main.defect]")
    assert lines[place - 1] == "".join(traceback.format_exception_only(error)).rstrip()
    told = f"{type(error).__name__}, which no stage expects; shown whole above"
    assert lines[-1] == f"RESULT refused lint: {told}"


def test_usage_errors_exit_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    """2 is kept for usage, so that a script tells it from a refusal."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["no-such-stage"])
    assert caught.value.code == 2
    assert "no-such-stage" in capsys.readouterr().err


def test_words_behind_the_dashes_belong_to_the_tool() -> None:
    """`-k` is pytest's, not ours, and must arrive unchanged."""
    stage, options = cli.parse(["test", "--leg", "3.12", "--", "-k", "dedup"])
    assert stage == "test"
    assert (options.leg, options.rest) == ("3.12", ("-k", "dedup"))


def test_options_are_typed() -> None:
    """A mode that is no Mode would compare unequal to every gate's and loosen it."""
    _, options = cli.parse(["build", "--mode", "rehearsal", "--tag", "v0.1.0"])
    assert options.mode is Mode.REHEARSAL
    assert options.tag == "v0.1.0"
    assert not options.sharded
    assert cli.parse(["build", "--sharded"])[1].sharded
    assert cli.parse(["rehearse", "--act"])[1].act
    assert not cli.parse(["rehearse"])[1].act


def test_missing_library_is_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stage started by hand, outside its session, ends with one sentence and not with a traceback."""
    monkeypatch.setitem(cli.STAGES, "lint", ("no_such_library", "a stand-in"))
    assert cli.main(["lint"]) == Kind.USAGE
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "RESULT usage lint: this Python lacks what the stage needs"
    assert "has no module 'no_such_library', which stage lint needs [main.environment]" in said
    assert "run the stage as its nox session" in said


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", {}),
        ("--fast --again --changed --evidence --require-redis", dict.fromkeys(FLAGS, True)),
        ("--kills 1 --messages 1", {"kills": 1, "messages": 1}),
        ("--kills 3 --messages 40 --at-most 5", {"kills": 3, "messages": 40, "at_most": 5}),
        ("--sample", {"sample": 30}),
        ("--sample 7 --shard 1/4", {"sample": 7, "shard": "1/4"}),
        ("--expect-head aa --expect-digests bb", {"expect_head": "aa", "expect_digests": "bb"}),
        ("--only a b --only c", {"only": ("a", "b", "c")}),
        *((f"--index {name}", {"index": name}) for name in ("local", "testpypi", "pypi")),
    ],
)
def test_a_stage_is_handed_what_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, found: dict[str, object]
) -> None:
    """Each option as its stage reads it, and nothing that nobody asked for."""
    handed: list[Context] = []

    def run(stage: str, context: Context) -> Report:
        assert stage == "lint"
        handed.append(context)
        return Report(kind=Kind.DONE, sentence="fine")

    install_stage(monkeypatch, run)
    assert execute(tmp_path, "lint", *words.split())[0] == 0
    (context,) = handed
    assert context.options == Options(**found)  # pyright: ignore[reportArgumentType] - named by the table
    assert context.root == tmp_path
    assert isinstance(context.runner, LocalRunner)
    assert context.now().utcoffset() == dt.timedelta()


@pytest.mark.parametrize(
    "words",
    ["--index PyPI", "--mode trial", "--kills 1.5", "--kills 0", "--messages -3", "--fast=y", "--kills"],
)
def test_an_option_that_cannot_be_meant_is_a_usage_error(words: str) -> None:
    """Refused at once, not read as something else by a stage."""
    with pytest.raises(SystemExit) as caught:
        cli.parse(["lint", *words.split()])
    assert caught.value.code == 2


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "x", ""])
def test_a_count_that_is_none_is_quoted(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Who sees the refusal sees what was read and what would be taken."""
    with pytest.raises(SystemExit):
        cli.parse(["chaos", f"--kills={number}"])
    assert f"argument --kills: {number!r} is no whole number from 1 on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "words", "version"),
    [
        ("prepare", (), None),
        ("prepare", ("0.2.0",), "0.2.0"),
        ("check", (), None),
        ("check", ("a.whl", "b.tar.gz"), None),
    ],
)
def test_a_stage_is_handed_the_words_behind_its_name(
    stage: str, words: tuple[str, ...], version: str | None
) -> None:
    """The version to prepare, the files to check."""
    assert cli.parse([stage, *words]) == (stage, Options(words=words, version=version))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("build a.whl", "build takes no words, not 'a.whl'"),
        ("lint x y", "lint takes no words, not 'x y'"),
        ("prepare 0.2.0 0.3.0", "prepare takes one word, not '0.2.0 0.3.0'"),
    ],
)
def test_words_that_a_stage_does_not_take_are_a_usage_error(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`build dist/x.whl` or two versions are mistakes, not something to ignore."""
    with pytest.raises(SystemExit) as caught:
        cli.parse(words.split())
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["prepare", "testpypi", "pypi", "announce"])
def test_a_stage_that_cannot_only_look_refuses_to_be_asked(
    stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who takes `--check` for a dry run must not publish by it."""
    with pytest.raises(SystemExit) as caught:
        cli.parse([stage, "--check"])
    assert caught.value.code == 2
    assert f"{stage} has no --check" in capsys.readouterr().err
    assert cli.parse(["lock", "--check"])[1].check


TAKES = {
    "mode": "{release,rehearsal}",
    "leg": "LEG",
    "tag": "TAG",
    "index": "{local,testpypi,pypi}",
    "again": "",
    "fast": "",
    "act": "",
    "changed": "",
    "only": "MODULE [MODULE ...]",
    "at-most": "N",
    "shard": "I/N",
    "sharded": "",
    "sample": "[SECONDS]",
    "check": "",
    "kills": "N",
    "messages": "N",
    "require-redis": "",
    "evidence": "",
    "expect-head": "SHA256",
    "expect-digests": "SHA256",
}
"""Each option -> what stands behind it in the help."""


def test_the_help_says_how_to_call_it_and_names_every_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever calls it by hand finds the stages in it, one a line, and what each option takes and is for."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    with pytest.raises(SystemExit):
        cli.parse(["--help"])
    said = capsys.readouterr().out
    assert said.startswith("usage: python -m release ")
    assert " STAGE [VERSION | DIST ...]\n" in said
    assert "`nox -l` lists the sessions" in said
    assert re.search(r"^  VERSION \| DIST +prepare: ", said, re.MULTILINE)
    # Behind each option what it takes, then, on this line or the next, what it is for.
    explained = re.findall(r"^  --([a-z-]+)(?: (\S.*?))?(?: {2,}|\n {10,})\S", said, re.MULTILINE)
    assert dict(explained) == TAKES
    lines = said.splitlines()
    assert {f"  {name:<10} {text}" for name, (_, text) in cli.STAGES.items()} <= set(lines)


def test_a_workflow_is_left_the_ledgers_digests_and_a_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stage ran: the next job is handed what it must compare, and a person a page."""

    def run(_stage: str, context: Context) -> Report:
        create(context.ledger)
        return Report(kind=Kind.DONE, sentence="all is well")

    install_stage(monkeypatch, run)
    output, page = tmp_path / "output", tmp_path / "page.md"
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    monkeypatch.setenv(VARIABLE, str(page))
    assert execute(tmp_path, "lint")[0] == 0
    ledger = Ledger.read(tmp_path / "ledger")
    assert output.read_text("utf-8") == f"head={ledger.head}\ndigests={ledger.digests}\n"
    shown = page.read_text("utf-8")
    assert "## lint: done" in shown
    assert "all is well" in shown
    assert ledger.genesis in shown

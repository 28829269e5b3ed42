"""Every line of shell that the documents show runs as it stands, or is listed with the reason why it cannot.

The lines of a page run in order in one shell, as a reader types them: in a scratch folder with a home of its
own, where the repository's address leads to a copy of this tree, and where pip finds the test environment's
packages in place of an index. Nothing leaves the machine.
"""

import asyncio
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from release.__main__ import STAGES, parse
from release.rules.workflows import nox_line, sessions
from tests.library.adopt.trees import write
from tests.library.adopt.tta_tree import tta
from tests.library.support.servers import embedded_gap, started_server
from tests.release.test_docs import TEXTS
from tests.release.test_validate_package import committed
from tests.release.workflow_support import ROOT
from tta_agent_coordination import AgentId, AgentMessage, MessageType, RedisMessageCoordinator
from tta_agent_coordination.__main__ import main as command
from tta_agent_coordination.adopt.cli import main as adopt

ADDRESS = "https://github.com/theinterneti/tta-agent-coordination"
SHELL = ("sh", "bash", "shell", "console")
OTHERS = ("python", "text", "toml", "mermaid", "{toctree}")
"""What else a fence may hold; a fence of any other kind would be run by no test."""

FENCE = re.compile(r"^( *)```([^\s`]*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
OWN_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
RUNS = ("cd", "git", "mkdir", "python", "python3", "ssh-keygen", "tta-adopt", ".")
"""What a line may begin with to be run; another word has to be looked at by a person first."""

SESSION = "makes an environment from an index and takes minutes"
UNPUBLISHED = "uploads to, or asks, a hosted index"
LEFT_OUT: Mapping[str, Mapping[str, str]] = {
    "CONTRIBUTING.md": {
        'python -m pip install "nox[uv]" && python -m nox -s test': f"{SESSION}; .ci/run runs it",
    },
    "README.md": {
        'python -m pip install "nox[uv]" && python -m nox -s rehearse': f"{SESSION}; .ci/run runs it",
        'python -m pip install "nox[uv]" && python -m nox -s test': f"{SESSION}; .ci/run runs it",
    },
    "SECURITY.md": {
        "python -m pip install pypi-attestations": "asks the real index",
        (
            "python -m pypi_attestations verify pypi "
            "--repository https://github.com/theinterneti/tta-agent-coordination "
            "pypi:tta_agent_coordination-0.1.0-py3-none-any.whl"
        ): "asks the real index for a file that is there from the first release on",
    },
    "docs/how-to/deploy.md": {
        "TTA_REDIS_SERVER=/usr/bin/valkey-server python -m nox -s test-3.13 -- -- tests/library": (
            f"{SESSION}; and Valkey is in no package that the gate installs"
        ),
    },
    "docs/TTA_MIGRATION_GUIDE.md": {
        f"python -m tta_agent_coordination doctor --v0 redis://localhost:6379/0{rest}": (
            "needs the server of the reader: test_doctor_command.py runs it against one"
        )
        for rest in ("", " --repair")
    },
    "docs/how-to/mend-what-v0-left.md": {
        f"python -m tta_agent_coordination doctor --v0 redis://localhost:6379/0{rest}": (
            "needs the server of the reader: test_doctor_command.py runs it against one"
        )
        for rest in ("", " --repair")
    },
    "docs/how-to/release.md": {
        "python -m nox -s doctor": f"{SESSION}; test_roadmap.py runs the stage itself",
        "python -m nox -s rehearse": f"{SESSION}; .ci/run runs it",
        "python -m nox -s rehearse -- --act --fast": f"{SESSION}; test_act.py runs act",
        (
            "unshare -rn python release/rehearsal/hosted/namespace.py "
            "python -m nox -s rehearse -- --act --fast"
        ): f"{SESSION}; test_act.py runs act so",
        "python -m nox -s prepare -- 0.1.0rc1": f"{SESSION}; test_prepare.py runs the stage itself",
        "python -m nox -s prepare -- 0.2.0": f"{SESSION}; test_prepare.py runs the stage itself",
        "python -m nox -s prepare -- 0.2.1": f"{SESSION}; test_prepare.py runs the stage itself",
        "python -m nox -s build -- --mode release --tag v0.2.0": f"{SESSION}; the rehearsal does the same",
        "python -m nox -s lint test coverage -- --mode release": f"{SESSION}; the rehearsal does the same",
        **{
            f"python -m nox -s mutation -- --mode release --shard {shard}/4": "takes hours"
            for shard in range(1, 5)
        },
        'TWINE_PASSWORD="$TESTPYPI_TOKEN" python -m nox -s testpypi': UNPUBLISHED,
        "python -m nox -s smoke -- --index testpypi": UNPUBLISHED,
        'TWINE_PASSWORD="$PYPI_TOKEN" python -m nox -s pypi': UNPUBLISHED,
        "python -m nox -s smoke -- --index pypi": UNPUBLISHED,
        "python -m nox -s verify": UNPUBLISHED,
        'GH_TOKEN="$GITHUB_TOKEN_OF_YOURS" python -m nox -s announce': "writes to GitHub",
    },
    "docs/how-to/run-a-worker.md": {
        "python -m tta_agent_coordination worker clerk:worker --url redis://localhost:6379/0": (
            "runs until it is told to end: test_worker_of_the_page_starts_works_and_ends"
        ),
    },
    "docs/how-to/workspace.md": {
        "tta-adopt workspace PATH --validate": "uv fetches what the workspace asks for from an index",
    },
}
"""Page -> each line that is not run here -> why. Whoever changes one reads it again and lists it anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One command line of a page."""

    number: int
    text: str


def fences(text: str) -> Iterator[tuple[str, int, str]]:
    """What each fence of a page holds: its kind, the number of its first line, and its text."""
    for found in FENCE.finditer(text):
        margin = len(found[1])
        body = "".join(line[margin:] or "\n" for line in found[3].splitlines(keepends=True))
        yield found[2], text.count("\n", 0, found.start(3)) + 1, body


def commands(text: str) -> list[Line]:
    """The command lines of a page's shell fences: continued lines joined, prompts off, output left out."""
    found: list[Line] = []
    for kind, first, body in fences(text):
        if kind not in SHELL:
            continue
        prompted = any(line.startswith("$ ") for line in body.splitlines())
        pending, begun = "", first
        for number, line in enumerate(body.splitlines(), first):
            shown = line.removeprefix("$ ")
            if prompted and not pending and shown == line:
                continue
            begun = begun if pending else number
            pending += shown.removesuffix("\\")
            if not shown.endswith("\\"):
                if pending.strip() and not pending.lstrip().startswith("#"):
                    found.append(Line(number=begun, text=" ".join(pending.split())))
                pending = ""
    return found


PAGES = {path.relative_to(ROOT).as_posix(): commands(path.read_text(encoding="utf-8")) for path in TEXTS}
RUN = {
    name: [line for line in lines if line.text not in LEFT_OUT.get(name, {})] for name, lines in PAGES.items()
}


WITH_LINES = [
    name
    for name, lines in RUN.items()
    if lines and not (embedded_gap() and any("[embedded]" in line.text for line in lines))
]
"""Pages with lines to run; without a Lua for fakeredis its extra cannot be installed here."""


def words_of(line: str) -> list[list[str]]:
    """The simple commands of a line, without the variables set before them."""
    simple: list[list[str]] = [[]]
    for word in shlex.split(line):
        if word in ("&&", "||", ";", "|"):
            simple.append([])
        elif simple[-1] or not re.fullmatch(r"\w+=.*", word):
            simple[-1].append(word)
    return simple


def shown_help(main: Callable[[Sequence[str]], int], words: Sequence[str]) -> str:
    """What a command of ours says for --help; a usage error where there is no such command."""
    said = io.StringIO()
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        pytest.raises(SystemExit) as left,
    ):
        main([*words, "--help"])
    return said.getvalue() if left.value.code == 0 else ""


def problem(simple: Sequence[str]) -> str:
    """Why a command that is not run cannot be right; empty where it names only what exists."""
    line = " ".join(simple)
    options = [word.partition("=")[0] for word in simple if word.startswith("--") and word != "--"]
    match simple:
        case ["unshare", "-rn", "python", file, *inner]:
            return problem(inner) if (ROOT / file).is_file() else f"no file {file}"
        case ["python", "-m", "nox", *_]:
            asked = nox_line(line)
            if asked is None:
                return "nox would not understand it"
            absent = set(asked.sessions) - sessions((ROOT / "noxfile.py").read_text(encoding="utf-8"))
            for name in {*asked.sessions} & {*STAGES}:
                parse([name, *asked.words])
            return f"no session {', '.join(sorted(absent))}" if absent else ""
        case ["python", "-m", "pip", "install", *asked]:
            for each in asked:
                Requirement(each)
            return ""
        case ["python", "-m", "tta_agent_coordination", name, *_]:
            said = shown_help(command, [name])
        case ["tta-adopt", name, *_]:
            said = shown_help(adopt, [name])
        case ["python", "-m", "benchmarks", *asked]:
            words = [sys.executable, "-m", "benchmarks", "--help"]
            said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
            return ", ".join(word for word in asked if word not in said)
        case ["python", "-m", "pypi_attestations", *asked] if options:
            words = [sys.executable, "-m", "pypi_attestations", *asked[:2], "--help"]
            said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        case ["python", "-m", "release", name, *asked]:
            return "" if parse([name, *asked])[0] in STAGES else "no such stage"
        case _:
            return "no rule of this test knows it"
    return "" if said and all(option in said for option in options) else "no such command or option"


def is_new(line: Line) -> bool:
    """True for a line that nobody has looked at yet: it is not run before somebody has."""
    begun = [simple for simple in words_of(line.text) if simple]
    return any(simple[0] not in RUNS or simple[:3] == ["python", "-m", "nox"] for simple in begun)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with this tree as its only commit: what the documents' address leads to."""
    folder = committed(tmp_path_factory.mktemp("origin"))
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    for words in (("init", "-q", "-b", "main"), ("add", "."), (*author, "commit", "-qm", "all")):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test environment's packages without ours: pip finds here what an index would give it."""
    folder = tmp_path_factory.mktemp("packages")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.lower().startswith(("tta_agent_coordination", "__editable__")):
            (folder / path.name).symlink_to(path, target_is_directory=path.is_dir())
    return folder


@dataclass(kw_only=True)
class Desk:
    """Where a reader sits: a scratch folder, a home, an environment of its own and nothing of ours in it."""

    folder: Path
    origin: Path
    packages: Path
    words: dict[str, str] = field(default_factory=dict[str, str])
    """Placeholder of a page -> what a reader puts in its place."""

    def environment(self) -> dict[str, str]:
        """What the shell is given."""
        python = self.folder / "python"
        venv.create(python, symlinks=True)
        kept = {name: os.environ[name] for name in ("LANG", "SYSTEMROOT", "TMPDIR") if name in os.environ}
        settings = [
            (f"url.{self.origin}.insteadOf", ADDRESS),
            ("user.name", "t"),
            ("user.email", "t@example.org"),
        ]
        config = {"GIT_CONFIG_COUNT": str(len(settings)), "GIT_CONFIG_NOSYSTEM": "1"}
        for number, (key, value) in enumerate(settings):
            config |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return {
            **kept,
            **config,
            "HOME": str(self.folder / "home"),
            "PATH": os.pathsep.join(
                (str(python / "bin"), str(Path(sys.executable).parent), os.environ["PATH"])
            ),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip's word for "no isolation": the backend is in `packages`
            "PIP_NO_INDEX": "1",
            "PYTHONPATH": str(self.packages),
            "UV_OFFLINE": "1",
        }

    def type(self, lines: Sequence[Line], expected: Mapping[str, int]) -> str:
        """Type the lines into one shell; return all it printed, and fail at the first wrong exit code."""
        (self.folder / "home").mkdir()
        script = "".join(
            f'{self.put(line.text)}\ncode=$?\n[ "$code" = {expected.get(line.text, 0)} ] || '
            f'{{ echo "line {line.number}: exit code $code" >&2; exit 1; }}\n'
            for line in lines
        )
        done = subprocess.run(
            ["bash", "-x", "-c", script],
            cwd=self.folder / "checkout" if (self.folder / "checkout").exists() else self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # no terminal: what asks gets no answer
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def put(self, text: str) -> str:
        """A line with the page's placeholders filled in."""
        for word, value in self.words.items():
            text = re.sub(rf"\b{word}\b", value, text)
        return text


@pytest.fixture
def desk(tmp_path: Path, origin: Path, packages: Path) -> Desk:
    """One for each page."""
    return Desk(folder=tmp_path, origin=origin, packages=packages)


def in_a_checkout(desk: Desk) -> None:
    """The page is read by somebody who has cloned the repository and stands in it."""
    subprocess.run(["git", "clone", "-q", desk.origin, desk.folder / "checkout"], check=True)


def beside_a_workspace(desk: Desk) -> None:
    """The page is about a uv workspace: one with a member that its root does not know yet."""
    in_a_checkout(desk)
    member = desk.folder / "workspace/packages/tales"
    (member / "src/tales").mkdir(parents=True)
    (member / "src/tales/__init__.py").touch()
    build = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    project = '[project]\nname = "{}"\nversion = "1"\nrequires-python = ">=3.12"\n'
    (member / "pyproject.toml").write_text(project.format("tales") + build, encoding="utf-8")
    root = member.parent.parent / "pyproject.toml"
    root.write_text(project.format("root") + "[tool.uv.workspace]\nmembers = []\n", encoding="utf-8")
    desk.words["PATH"] = str(root.parent)


def beside_tta(desk: Desk) -> None:
    """The page is read by who maintains TTA: a repository of its shape lies beside the checkout."""
    in_a_checkout(desk)
    desk.words["PATH"] = str(write(desk.folder / "tta", tta()))


BEGIN: Mapping[str, Callable[[Desk], None]] = {
    "docs/TTA_MIGRATION_GUIDE.md": beside_tta,
    "README.md": in_a_checkout,
    "docs/how-to/observe.md": in_a_checkout,
    "docs/how-to/release.md": in_a_checkout,
    "docs/how-to/workspace.md": beside_a_workspace,
}
EXPECTED: Mapping[str, Mapping[str, int]] = {
    "docs/TTA_MIGRATION_GUIDE.md": {
        "tta-adopt status PATH": 1,
        **{f"tta-adopt imports PATH --{way}": 1 for way in ("shim", "rewrite")},
        **{f"tta-adopt imports PATH --{way} --apply": 1 for way in ("shim", "rewrite")},
    },
    "docs/how-to/workspace.md": {"tta-adopt workspace PATH": 1, "tta-adopt workspace PATH --fix": 1},
}
"""Page -> line -> its exit code, where that is not 0: a workspace without a lock has a finding left, and
TTA's code has places for a person."""

PRINTED: Mapping[str, Sequence[str]] = {
    "docs/TTA_MIGRATION_GUIDE.md": (
        "[ ] every copy re-exports what moved: 20 modules",
        "+class AgentId(BaseAgentId, frozen=True):",
        "20 of 20 files written: 20 modules re-exported",
        "agent-id.type: ",
        "42 statements rewritten, 19 of them split",
    ),
    "README.md": ("draft-1: done at delivery 2", "left in the inbox: 0"),
    "docs/how-to/observe.md": ("Successfully installed tta-agent-coordination",),
    "docs/how-to/release.md": ("[new tag]", "v0.2.0 -> v0.2.0"),
    "docs/how-to/workspace.md": ("workspace.member", '+members = ["packages/tales"]'),
    "docs/tutorial/first-inbox.md": ("Successfully installed tta-agent-coordination",),
}
"""Page -> what its lines must have printed: exit codes alone would not tell that they did their work."""


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_LINES)
def test_shell_of_the_page_runs(name: str, desk: Desk) -> None:
    """What a reader types works, in the order of the page, and does what the page says."""
    assert not any(map(is_new, RUN[name])), "list it in LEFT_OUT with a reason, or its program in RUNS"
    BEGIN.get(name, lambda _: None)(desk)
    printed = desk.type(RUN[name], EXPECTED.get(name, {}))
    assert [words for words in PRINTED[name] if words not in printed] == []


def test_lines_that_are_not_run_are_on_their_pages() -> None:
    """A line that was changed is no longer the one that was looked at: run it, or list it anew."""
    on_page = {name: {line.text for line in lines} for name, lines in PAGES.items()}
    assert [
        (name, line)
        for name, listed in LEFT_OUT.items()
        for line in listed
        if line not in on_page.get(name, ())
    ] == []
    assert all(reason for listed in LEFT_OUT.values() for reason in listed.values())


@pytest.mark.parametrize("line", [line for listed in LEFT_OUT.values() for line in listed])
def test_lines_that_are_not_run_name_what_exists(line: str) -> None:
    """A session, a command and its options: a line that nobody runs here can still be wrong."""
    assert [each for each in map(problem, words_of(line)) if each] == []


INLINE = re.compile(r"`((?:tta-adopt|python -m (?:tta_agent_coordination|benchmarks|release)) [a-z][^`<]*)`")
"""A command inside a sentence; one with a `<placeholder>` in place of a name is none."""


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_inside_sentences_name_what_exists(path: Path) -> None:
    """A command or option that is spoken of is there, but for what is called "not yet"."""
    text = path.read_text(encoding="utf-8")
    parts = [part for part in re.split(r"\n(?=[-|#])|\n\n", text) if "Not yet" not in part]
    found = [shlex.split(each) for part in parts for each in INLINE.findall(part)]
    assert [(each, problem(each)) for each in found if problem(each)] == []


WORKER = "docs/how-to/run-a-worker.md"


@pytest.mark.slow
async def test_worker_of_the_page_starts_works_and_ends(tmp_path: Path, server_binary: str) -> None:
    """The module of the page, started by the line of the page, takes a message, and ends when told to."""
    text = (ROOT / WORKER).read_text(encoding="utf-8").partition("## As a process of its own")[2]
    module = next(body for kind, _, body in fences(text) if kind == "python")
    (tmp_path / "clerk.py").write_text(module, encoding="utf-8")
    [line] = [line.text for line in commands(text)]
    where = re.search(r"redis://\S+", line)
    assert where
    with started_server(server_binary) as server:
        address = f"redis://127.0.0.1:{server.port}/0"
        async with RedisMessageCoordinator.from_url(address) as coordinator:
            clerk = AgentId(type="clerk")
            form = AgentMessage(
                message_id="form-1",
                sender=clerk,
                recipient=clerk,
                message_type=MessageType.REQUEST,
                payload={"form": "B12"},
            )
            (await coordinator.send_message(clerk, clerk, form)).raise_for_error()
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            f"exec {line.replace(where[0], address)}",
            cwd=tmp_path,
            env={**os.environ, "PATH": OWN_PATH},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"filling in B12\n"
        process.terminate()
        _, said = await process.communicate()
        assert process.returncode == 0
        assert f"takes messages from {address}" in said.decode()


def test_lines_that_are_run_begin_with_words_that_were_looked_at() -> None:
    """A page that begins to use another program, or shows another session, is read by a person first."""
    assert [(name, line.text) for name, lines in RUN.items() for line in lines if is_new(line)] == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_fences_are_of_a_kind_that_some_test_knows(path: Path) -> None:
    """A fence without a language, or with another one, would be run by nobody."""
    text = path.read_text(encoding="utf-8")
    found = [kind for kind, _, _ in fences(text)]
    assert {*found} <= {*SHELL, *OTHERS}
    assert len(re.findall(r"^\s*```", text, re.MULTILINE)) == 2 * len(found), "a fence that is not closed"


def test_commands_are_read_as_a_shell_reads_them() -> None:
    """Continued lines are one, remarks none; behind a prompt the rest is output."""
    text = "  ```sh\n  # no\n  a \\\n    b\n\n  c\n  ```\n\n```console\n$ d\nout\n```\n\n```text\nno\n```\n"
    assert commands(text) == [
        Line(number=3, text="a b"),
        Line(number=6, text="c"),
        Line(number=10, text="d"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "python -m nox -s nothing",
        "python -m tta_agent_coordination nothing",
        "python -m tta_agent_coordination worker a:b --nothing",
        "tta-adopt nothing PATH",
        "tta-adopt workspace PATH --nothing",
        "make release",
    ],
)
def test_a_line_that_names_nothing_is_seen(line: str) -> None:
    """The check above can fail, for each kind of command."""
    assert problem(shlex.split(line))

"""What holds for every workflow: each rule is seen refusing a committed file with one thing spoiled in it."""

import re
from pathlib import Path

import pytest

from release.rules import pins, release_graph, workflows
from release.rules.workflow_model import read_workflow
from tests.release.workflow_support import (
    FOLDER,
    ROOT,
    SETUP,
    edit,
    job_at,
    judge,
    rules,
    set_up_text,
    text_of,
)

FILES = sorted(path.name for path in (ROOT / FOLDER).iterdir())
TARGET = "pull_request_target"


@pytest.mark.parametrize("name", FILES)
def test_workflow_is_sound(name: str) -> None:
    """Every committed workflow keeps the rules."""
    assert judge(name, text_of(name)) == []


def test_workflow_check_reads_the_whole_repository() -> None:
    """What `nox -s lint` calls finds nothing in this tree."""
    assert workflows.check(ROOT) == []


SPOILED = [
    ("workflow.permissions", "ci.yml", "", "permissions: {}\n", ""),
    ("workflow.permissions", "ci.yml", "", "permissions: {}\n", "permissions: {contents: read}\n"),
    ("workflow.permissions", "ci.yml", "", "permissions: {}\n", "permissions:\n"),
    ("workflow.permissions", "ci.yml", "lint", "    permissions:\n      contents: read # check out\n", ""),
    (
        "workflow.permissions",
        "ci.yml",
        "lint",
        "    permissions:\n      contents: read # check out\n",
        "    permissions: write-all\n",
    ),
    ("workflow.reasons", "ci.yml", "lint", "contents: read # check out", "contents: read"),
    ("workflow.reasons", "ci.yml", "lint", "contents: read # check out", "contents: read #"),
    ("workflow.writes", "ci.yml", "lint", "contents: read", "contents: write"),
    (
        "workflow.writes",
        "ci.yml",
        "rehearse",
        "    permissions:\n",
        "    permissions:\n      id-token: write # x\n",
    ),
    ("workflow.writes", "scorecard.yml", "", "contents: read", "id-token: write"),
    ("workflow.writes", "release.yml", "verify", "contents: read", "id-token: write"),
    ("workflow.secrets", "ci.yml", "test", "PYTHON: ${{ matrix.python }}", "PYTHON: ${{ secrets.TOKEN }}"),
    ("workflow.secrets", "ci.yml", "test", "PYTHON: ${{ matrix.python }}", "PYTHON: ${{ github.token }}"),
    *(
        ("workflow.secrets", "ci.yml", "test", "PYTHON: ${{ matrix.python }}", f"PYTHON: {expression}")
        for expression in (
            "${{ SECRETS.TOKEN }}",
            "${{ secrets['TOKEN'] }}",
            "${{ format('}}', secrets.TOKEN) }}",
            ">-\n            ${{\n            secrets.TOKEN }}",
            "${{ GitHub.Token }}",
            "${{ github['token'] }}",
            "${{ github .\n              token }}",
            "${{ toJSON(github) }}",
            "${{ github.* }}",
        )
    ),
    ("workflow.secrets", "release.yml", "announce", "${{ github.token }}", "${{ secrets.PAT }}"),
    ("workflow.secrets", "release.yml", "announce", "GH_TOKEN: $", "OTHER: $"),
    (
        "workflow.secrets",
        "release.yml",
        "verify",
        "HEAD: $",
        "GH_TOKEN: ${{ github.token }}\n          HEAD: $",
    ),
    ("workflow.writes", "release.yml", "announce", "contents: write", "packages: write"),
    ("workflow.writes", "release.yml", "verify", "contents: read", "contents: write"),
    ("workflow.triggers", "ci.yml", "", "  pull_request:\n", f"  {TARGET}:\n"),
    (
        "workflow.triggers",
        "ci.yml",
        "",
        "on:\n  push:\n    branches: [main]\n  pull_request:\n",
        f"on: {TARGET}\n",
    ),
    (
        "workflow.triggers",
        "ci.yml",
        "",
        "on:\n  push:\n    branches: [main]\n  pull_request:\n",
        "on: [push, workflow_run]\n",
    ),
    (
        "workflow.triggers",
        "ci.yml",
        "",
        "on:\n  push:\n    branches: [main]\n  pull_request:\n",
        "on: discussion_comment\n",
    ),
    ("workflow.timeouts", "ci.yml", "lint", "    timeout-minutes: 20\n", ""),
    ("workflow.timeouts", "ci.yml", "lint", "timeout-minutes: 20", "timeout-minutes: 360"),
    ("workflow.timeouts", "ci.yml", "lint", "timeout-minutes: 20", "timeout-minutes: 0"),
    ("workflow.conditions", "ci.yml", "build", "    runs-on", "    if: ${{ always() }}\n    runs-on"),
    ("workflow.conditions", "ci.yml", "build", "    runs-on", "    if: '!failure( )'\n    runs-on"),
    ("workflow.conditions", "ci.yml", "build", "        run:", "        if: cancelled()\n        run:"),
    ("workflow.conditions", "ci.yml", "build", "        run:", "        if: Always()\n        run:"),
    (
        "workflow.conditions",
        "ci.yml",
        "build",
        "        run:",
        "        if: success() == false\n        run:",
    ),
    ("workflow.failures", "ci.yml", "build", "    runs-on", "    continue-on-error: true\n    runs-on"),
    ("workflow.failures", "ci.yml", "build", "        run:", "        continue-on-error: true\n        run:"),
    ("workflow.injection", "ci.yml", "test", '"test-$PYTHON"', "test-${{ matrix.python }}"),
    (
        "workflow.injection",
        "codeql.yml",
        "",
        "          category: ${{ matrix.language }}",
        "          script: run('${{ github.head_ref }}')",
    ),
    (
        "workflow.shell",
        "ci.yml",
        "lint",
        "run: python -m nox -s lint",
        "run: |\n          a\n          b\n          c\n          d",
    ),
    (
        "workflow.shell",
        "ci.yml",
        "lint",
        "        run:",
        "        shell: bash -c 'x; bash {0}'\n        run:",
    ),
    ("workflow.shell", "ci.yml", "lint", "        run:", "        working-directory: tests\n        run:"),
    ("workflow.shell", "ci.yml", "lint", "    steps:", "    defaults: {run: {shell: pwsh}}\n    steps:"),
    ("workflow.checkouts", "ci.yml", "lint", "          persist-credentials: false\n", ""),
    ("workflow.checkouts", "codeql.yml", "", "persist-credentials: false", "persist-credentials: true"),
    (
        "workflow.checkouts",
        "ci.yml",
        "lint",
        "          fetch-depth: 0\n",
        "          ref: ${{ github.head_ref }}\n",
    ),
    ("workflow.called", "ci.yml", "lint", "    runs-on", "    uses: $/.github/workflows/x.yml\n    runs-on"),
    ("workflow.local", "ci.yml", "lint", "$/.github/actions/setup", "$/.github/actions/set-up"),
    ("workflow.runners", "ci.yml", "lint", "runs-on: ubuntu-latest", "runs-on: self-hosted"),
    ("workflow.runners", "ci.yml", "test", "windows-latest]", "my-machine]"),
    ("workflow.runners", "ci.yml", "test", "        exclude:\n", "        include:\n"),
    (
        "workflow.runners",
        "ci.yml",
        "lint",
        "runs-on: ubuntu-latest",
        "runs-on: ${{ github.event.label.name }}",
    ),
    ("workflow.needs", "ci.yml", "lint", "    runs-on", "    needs: nobody\n    runs-on"),
    ("workflow.needs", "ci.yml", "lint", "    runs-on", "    needs: [lint]\n    runs-on"),
    ("workflow.one-session", "ci.yml", "lint", "-s lint", "-s build"),
    ("workflow.one-session", "ci.yml", "lint", "-s lint", "-s lint && curl example.org"),
    ("workflow.one-session", "ci.yml", "lint", "python -m nox -s lint", "make lint"),
    ("workflow.one-session", "ci.yml", "lint", "python -m nox -s lint", "python -m nox -s"),
    ("workflow.one-session", "ci.yml", "lint", "-s lint", "-s 'lint"),
    (
        "workflow.one-session",
        "ci.yml",
        "lint",
        "      - name: Lint\n",
        "      - run: ls\n      - name: Lint\n",
    ),
    ("workflow.one-session", "ci.yml", "", "  lint:\n", "  linting:\n"),
    ("workflow.one-session", "ci.yml", "coverage", "test-3.13 coverage", "tests coverage"),
    ("workflow.one-session", "release.yml", "smoke-pypi", "--index pypi", "--index testpypi"),
    ("workflow.one-session", "release.yml", "smoke-pypi", "-s smoke", "-s verify"),
    (
        "workflow.one-session",
        "codeql.yml",
        "",
        "      - name: Prepare\n",
        "      - run: ls\n      - name: Prepare\n",
    ),
    ("workflow.uploads", "ci.yml", "coverage", "test-3.13 coverage", "pypi coverage"),
    ("workflow.uploads", "release.yml", "verify", "-s verify", "-s pypi"),
    ("workflow.uploads", "release.yml", "pypi", "-s pypi", "-s testpypi"),
    ("workflow.uploads", "ci.yml", "build", "python -m nox -s build", "twine upload x.whl"),
    (
        "workflow.uploads",
        "ci.yml",
        "build",
        "uses: $/.github/actions/setup",
        "uses: pypa/gh-action-pypi-publish@dc37677b2e1c63e2034f94d8a5b11f265b73ba33",
    ),
]


@pytest.mark.parametrize(("rule", "name", "job", "old", "new"), SPOILED)
def test_workflow_rule_refuses_what_it_is_for(rule: str, name: str, job: str, old: str, new: str) -> None:
    """A change that a reviewer could miss turns lint red, under the id of the rule it breaks."""
    text = edit(text_of(name), old, new, job=job)
    found = [problem for problem in judge(name, text) if problem.rule == rule]
    assert len(found) == 1
    place = job_at(name, text, found[0].where)
    assert place in ({job} if job else {"on", "permissions", "codeql", "scorecard", "linting"})


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "defaults", ["", "defaults: {run: {shell: python}}", "defaults: {run: {shell: bash, x: y}}"]
)
def test_every_file_that_runs_a_shell_says_which(name: str, defaults: str) -> None:
    """A default of another shell, or of another folder, would run what no rule has read."""
    text = text_of(name).replace("defaults:\n  run:\n    shell: bash\n", "")
    found = [(problem.rule, problem.where) for problem in judge(name, f"{text}\n{defaults}\n")]
    silent = name in workflows.ANALYSERS and not defaults
    assert found == ([] if silent else [("workflow.shell", f"{FOLDER}/{name}: defaults")])


SAID = [
    ("lint", "timeout-minutes: 20", "timeout-minutes: 360", "job lint has 360 timeout-minutes"),
    ("lint", "    timeout-minutes: 20\n", "", "job lint has no timeout-minutes"),
    (
        "lint",
        "    runs-on",
        "    needs: [nobody, no-one]\n    runs-on",
        "job lint needs nobody, no-one, which",
    ),
    (
        "lint",
        "    runs-on",
        "    needs: [lint]\n    runs-on",
        "job lint needs itself, at some distance, which",
    ),
    (
        "test",
        "windows-latest]",
        "my-machine]",
        "job test runs on ubuntu-latest, macos-latest, my-machine",
    ),
    ("lint", "runs-on: ubuntu-latest", "runs-on: ${{ matrix.os }}", "job lint runs on ${{ matrix.os }}"),
    ("coverage", "test-3.13 coverage", "tests coverage", "job coverage runs tests, coverage"),
    ("lint", "-s lint", "-s lint lint build", "job lint runs lint, lint, build"),
    (
        "lint",
        "      - name: Lint\n",
        "      - run: ls\n      - name: Lint\n",
        "job lint has 2 shell lines, or one that is more than a nox session",
    ),
    (
        "lint",
        "        run: python -m nox -s lint\n",
        "        run: python -m nox -s lint\n      - run: ls\n",
        "job lint has 2 shell lines, or one that is more than a nox session",
    ),
    (
        "lint",
        "      - name: Lint\n        run: python -m nox -s lint\n",
        "",
        "job lint has 0 shell lines, or one that is more than a nox session",
    ),
    (
        "lint",
        "          fetch-depth: 0\n",
        "          token: x\n          path: y\n          fetch-depth: 0\n",
        "the checkout's path is not the default; the checkout's token is not the default",
    ),
    ("build", "    runs-on", "    if: failure()\n    runs-on", "`if: failure()` goes on after a failure"),
    (
        "lint",
        "contents: read # check out",
        "contents: read",
        "job lint is granted contents: read without a reason",
    ),
    ("lint", "contents: read", "contents: write", "job lint may write contents"),
    ("lint", "$/.github/actions/setup", "$/.github/set-up", "`$/.github/set-up` is not there"),
]


@pytest.mark.parametrize(("job", "old", "new", "what"), SAID)
def test_a_refusal_says_what_is_there(job: str, old: str, new: str, what: str) -> None:
    """All of it at once, so that one edit mends it."""
    found = judge("ci.yml", edit(text_of("ci.yml"), old, new, job=job))
    assert "; ".join(problem.what for problem in found).startswith(what)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("timeout-minutes: 20", "timeout-minutes: 1"),
        ("contents: read", "contents: none"),
    ],
)
def test_the_least_that_is_allowed_is_allowed(old: str, new: str) -> None:
    """A rule that refuses more than it says is worked around."""
    assert judge("ci.yml", edit(text_of("ci.yml"), old, new, job="lint")) == []


@pytest.mark.parametrize("key", ["ref", "repository", "token", "ssh-key", "path"])
def test_a_checkout_of_something_else_is_refused(key: str) -> None:
    """Whichever word leads it there."""
    text = edit(text_of("ci.yml"), "          fetch-depth: 0\n", f"          {key}: x\n", job="lint")
    assert f"the checkout's {key} is not the default" in [problem.what for problem in judge("ci.yml", text)]


def test_every_job_is_looked_at_behind_one_that_is_refused() -> None:
    """A person mends all of them in one go."""
    text = text_of("ci.yml").replace("python -m nox -s", "make")
    jobs = [
        problem.what.split()[1] for problem in judge("ci.yml", text) if problem.rule == "workflow.one-session"
    ]
    assert jobs == [*read_workflow("ci.yml", text).jobs]
    extra = "jobs:\n  more:\n    steps:\n      - run: ls\n"
    text = edit(text_of("codeql.yml"), "      - name: Prepare\n", "      - run: ls\n      - name: Prepare\n")
    found = judge("codeql.yml", edit(text, "jobs:\n", extra))
    assert sum(problem.rule == "workflow.one-session" for problem in found) == 2


def test_a_secret_is_found_on_its_line_below_an_empty_first_one() -> None:
    """Who looks for it there finds it."""
    text = "\n" + edit(text_of("ci.yml"), "${{ matrix.python }}", "${{ secrets.TOKEN }}", job="test")
    (problem,) = judge("ci.yml", text)
    assert "secrets.TOKEN" in text.splitlines()[int(problem.where.rpartition(":")[2]) - 1]


def test_a_smoke_test_may_name_its_index_last() -> None:
    """The order of a session's words is nobody's rule."""
    line = 'smoke -- --mode release --index pypi --expect-head "$HEAD" --expect-digests "$DIGESTS"'
    text = edit(text_of("release.yml"), line, "smoke -- --mode release --index pypi", job="smoke-pypi")
    assert judge("release.yml", text) == []


def test_a_job_is_no_uploader_by_its_name_alone() -> None:
    """A second file with a job called pypi would upload past everything that release.yml waits for."""
    text = edit(text_of("ci.yml"), "python -m nox -s lint", "python -m nox -s pypi", job="lint")
    found = judge("ci.yml", edit(text, "  lint:\n", "  pypi:\n"))
    assert [problem.rule for problem in found] == ["workflow.uploads"]


def test_a_runner_that_is_refused_is_told_which_there_are() -> None:
    """And that a matrix does not bring in others."""
    text = edit(text_of("ci.yml"), "runs-on: ubuntu-latest", "runs-on: mine", job="lint")
    (problem,) = judge("ci.yml", text)
    assert (
        problem.remedy
        == "use one of ubuntu-latest, macos-latest, windows-latest, and no `include` in a matrix"
    )


def test_every_workflow_rule_is_seen_refusing() -> None:
    """No rule is there that could not fail."""
    assert {rule for rule, *_ in SPOILED} == workflows.RULES.keys()


def test_workflow_rules_see_a_longer_circle() -> None:
    """Two jobs that wait for each other never start."""
    text = edit(text_of("ci.yml"), "    runs-on", "    needs: [build]\n    runs-on", job="lint")
    text = edit(text, "    runs-on", "    needs: [lint]\n    runs-on", job="build")
    assert [problem.rule for problem in judge("ci.yml", text)] == ["workflow.needs"] * 2


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("workflow.injection", "run: |\n        if", "run: |\n        echo ${{ inputs.python }}\n        if"),
        ("workflow.shell", "run: |\n        if", "run: |\n        :\n        if"),
        ("workflow.failures", "      shell: bash\n", "      continue-on-error: true\n      shell: bash\n"),
        ("workflow.conditions", "      shell: bash\n", "      if: failure()\n      shell: bash\n"),
        ("workflow.secrets", "${{ inputs.redis }}", "${{ secrets.REDIS }}"),
        ("workflow.shell", "      shell: bash\n", "      shell: sh\n"),
        ("workflow.local", "using: composite", "using: node24"),
    ],
)
def test_workflow_rules_read_the_composite_action_too(rule: str, old: str, new: str) -> None:
    """What a job may not do, it may not do by way of the set-up either."""
    found = judge("ci.yml", text_of("ci.yml"), edit(set_up_text(), old, new))
    (where,) = [problem.where for problem in found if problem.rule == rule]
    assert where.startswith(f"{SETUP}/action.yml:")
    assert where.endswith(": runs") or int(where.rpartition(":")[2]) > 1


def test_workflow_check_names_a_file_it_cannot_read(tmp_path: Path) -> None:
    """A broken file is a finding, never a file that is passed over."""
    for name in ("noxfile.py", "release"):
        (tmp_path / name).symlink_to(ROOT / name)
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    (folder / "release.yml").write_text(text_of("release.yml"), encoding="utf-8")
    (folder / "ci.yaml").write_text("jobs: [", encoding="utf-8")
    (tmp_path / SETUP).mkdir(parents=True)
    (tmp_path / SETUP / "action.yml").write_text("- a list\n", encoding="utf-8")
    found = workflows.check(tmp_path)
    assert {problem.where for problem in found if problem.rule == "workflow.readable"} == {
        f"{FOLDER}/ci.yaml: YAML",
        f"{SETUP}/action.yml: YAML",
    }
    assert "workflow.local" in rules(found)
    assert all(problem.remedy for problem in found)
    unreadable = {problem.where: problem.what for problem in found if problem.rule == "workflow.readable"}
    assert unreadable[f"{SETUP}/action.yml: YAML"] == f"{SETUP}/action.yml: is not a mapping"
    (folder / "release.yml").unlink()
    gone = [
        problem.where for problem in workflows.check(tmp_path) if "is not there or cannot" in problem.what
    ]
    assert gone == [f"{FOLDER}/release.yml: file"]


def test_nox_line_knows_sessions_legs_and_words() -> None:
    """A leg is a session's, and everything behind `--` is the session's own."""
    line = workflows.nox_line('python -m nox -s "test-$PYTHON" coverage -- --mode release --tag "$TAG"\n')
    assert line == workflows.NoxLine(
        sessions=("test", "coverage"), words=("--mode", "release", "--tag", "$TAG")
    )


@pytest.mark.parametrize(
    "run",
    ["", "nox -s lint", "python -m nox -s lint; ls", "python -m nox -s lint\nls", "python -m nox -s 'lint"],
)
def test_nox_line_is_nothing_more(run: str) -> None:
    """A line that does more than call nox is not a nox line."""
    assert workflows.nox_line(run) is None


def test_sessions_are_the_decorated_functions() -> None:
    """A helper in the noxfile is not a session."""
    text = "@nox.session(python='3.13')\ndef lint(s): ...\n@nox.session\ndef build(s): ...\ndef x(): ...\n"
    assert workflows.sessions(text) == {"lint", "build"}


def test_the_page_of_properties_is_the_rules() -> None:
    """The page counts what is proven: no rule is missing there, and none is promised that is not."""
    text = (ROOT / "docs/explanation/workflow-properties.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| `([a-z]+\.[a-z-]+)` \|", text, re.MULTILINE)
    assert len(shown) == len(set(shown))
    assert set(shown) == {*workflows.RULES, *release_graph.RULES, *pins.RULES}
    assert f"**{len(shown)} graph\nproperties**" in text

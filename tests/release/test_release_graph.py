"""The release's workflow, read as a graph: what a hosted runner would do is proven from the YAML.

Every test takes the committed file or spoils one thing in it. A rule that does not refuse what it is there
for fails here.
"""

import itertools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from release import plan, pythons
from release.__main__ import parse
from release.model import Mode
from release.rules import release_graph, workflows
from release.rules.workflow_model import read_workflow
from tests.release.workflow_support import (
    ENVIRONMENTS,
    FOLDER,
    ROOT,
    SETUP,
    composites,
    edit,
    job_at,
    judge_release,
    rules,
    set_up_text,
    text_of,
)

RELEASE = text_of("release.yml")
GRAPH = read_workflow(f"{FOLDER}/release.yml", RELEASE)
BEFORE_PYPI = ("build", "lint", "test", "mutation", "coverage", "collect", "testpypi", "smoke-testpypi")


def test_release_workflow_is_sound() -> None:
    """The committed workflow keeps every promise below; this is what `nox -s lint` runs."""
    assert judge_release(RELEASE) == []


SPOILED = [
    # The one door.
    ("release.trigger", "", 'tags: ["v*"]', 'tags: ["*"]'),
    ("release.trigger", "", '    tags: ["v*"]\n', '    tags: ["v*"]\n  workflow_dispatch:\n'),
    ("release.trigger", "", '    tags: ["v*"]\n', '    tags: ["v*"]\n    branches: [main]\n'),
    # One release at a time, none cancelled.
    ("release.concurrency", "", "group: release", "group: release-${{ github.ref }}"),
    ("release.concurrency", "", "cancel-in-progress: false", "cancel-in-progress: true"),
    ("release.concurrency", "", "queue: max", "queue: single"),
    # No cache.
    ("release.cache", "", "cache-mode: none", "cache-mode: read"),
    ("release.cache", "", "cache-mode: none\n", ""),
    ("release.cache", "lint", "          path: ledger\n", "          path: ledger\n          cache: pip\n"),
    # Nothing conditional, nothing brought from elsewhere.
    ("release.keys", "pypi", "    runs-on", "    if: github.actor != 'x'\n    runs-on"),
    ("release.keys", "lint", "      - name: Lint\n", "      - name: Lint\n        if: success()\n"),
    ("release.keys", "lint", "      - name: Lint\n", "      - name: Lint\n        continue-on-error: true\n"),
    ("release.keys", "test", "    runs-on", "    container: python:3.13\n    runs-on"),
    ("release.keys", "test", "    runs-on", "    services: {redis: {image: redis}}\n    runs-on"),
    ("release.keys", "pypi", "    runs-on", "    env: {TWINE_REPOSITORY_URL: elsewhere}\n    runs-on"),
    ("release.keys", "", "permissions: {}\n", "permissions: {}\nenv: {PIP_INDEX_URL: elsewhere}\n"),
    ("release.keys", "pypi", "        run: python", "        shell: python\n        run: python"),
    # Each job, and no other.
    ("release.roles", "", "  mutation:\n", "  mutants:\n"),
    # Both environments, at the two uploads alone.
    ("release.environments", "pypi", "    environment: pypi\n", ""),
    ("release.environments", "pypi", "environment: pypi", "environment: testpypi"),
    ("release.environments", "testpypi", "    environment: testpypi\n", ""),
    ("release.environments", "verify", "    runs-on", "    environment: pypi\n    runs-on"),
    # Tokens: the two uploads and nobody else.
    ("release.tokens", "lint", "    permissions:\n", "    permissions:\n      id-token: write # why\n"),
    ("release.tokens", "verify", "    permissions:\n", "    permissions:\n      id-token: write # why\n"),
    ("release.tokens", "pypi", "id-token: write", "id-token: none"),
    # An upload job does nothing besides.
    (
        "release.shape",
        "pypi",
        "      - name: Upload to PyPI\n",
        "      - name: More\n        run: make\n      - name: Upload to PyPI\n",
    ),
    (
        "release.shape",
        "pypi",
        "      - name: Upload to PyPI\n",
        "      - uses: a/b@c\n      - name: Upload to PyPI\n",
    ),
    ("release.shape", "testpypi", "uses: $/.github/actions/setup", "uses: $/.github/actions/other"),
    # The tag as it was pushed, with its history and without a token.
    ("release.checkout", "build", "fetch-depth: 0", "fetch-depth: 1"),
    ("release.checkout", "build", "persist-credentials: false", "persist-credentials: true"),
    ("release.checkout", "pypi", "fetch-depth: 0", "fetch-depth: 0\n          ref: main"),
    # The session's line, word for word.
    ("release.lines", "pypi", "--mode release", "--mode rehearsal"),
    ("release.lines", "pypi", ' --expect-head "$HEAD"', ""),
    ("release.lines", "pypi", ' --expect-digests "$DIGESTS"', ""),
    ("release.lines", "lint", " --evidence", ""),
    ("release.lines", "test", " --require-redis", ""),
    ("release.lines", "smoke-testpypi", "--index testpypi", "--index local"),
    ("release.lines", "verify", "-s verify", "-s lint"),
    ("release.lines", "lint", '"$DIGESTS"', '"$DIGESTS" || true'),
    ("release.lines", "build", '--tag "$GITHUB_REF_NAME"', "--tag v0.1.0"),
    # What to expect comes from the jobs before.
    ("release.expectations", "pypi", "needs.smoke-testpypi.outputs.head", "needs.build.outputs.head"),
    ("release.expectations", "pypi", "needs.build.outputs.digests", "needs.build.outputs.dist"),
    ("release.expectations", "pypi", "        env:\n", "        env:\n          PIP_INDEX_URL: elsewhere\n"),
    # The ledger of the job before, the files of build.
    ("release.taken", "pypi", "needs.smoke-testpypi.outputs.ledger", "needs.build.outputs.ledger"),
    ("release.taken", "pypi", "          path: dist\n", "          path: elsewhere\n"),
    # Nothing is announced that the world was not seen to hold; one session is given the job's own token.
    ("release.gates", "announce", "needs: [build, verify]", "needs: [build, smoke-pypi]"),
    ("release.expectations", "announce", "          GH_TOKEN: ${{ github.token }}\n", ""),
    ("release.expectations", "verify", "HEAD: $", "GH_TOKEN: ${{ github.token }}\n          HEAD: $"),
    ("release.tokens", "announce", "    permissions:\n", "    permissions:\n      id-token: write # why\n"),
    ("release.environments", "announce", "    runs-on", "    environment: pypi\n    runs-on"),
    # By id, from a job that is needed.
    (
        "release.by-id",
        "lint",
        "artifact-ids: ${{ needs.build.outputs.dist }}",
        "name: dist-1",
    ),
    (
        "release.by-id",
        "lint",
        "          path: dist\n",
        "          path: dist\n          run-id: 1\n",
    ),
    ("release.by-id", "verify", "needs: [build, smoke-pypi]", "needs: [smoke-pypi]"),
    ("release.by-id", "build", "dist: ${{ steps.dist.", "dist: ${{ steps.session."),
    # Outputs are filled by the step they are named for.
    ("release.outputs", "collect", "head: ${{ steps.session.outputs.head }}", "head: '0'"),
    ("release.outputs", "collect", "ledger: ${{ steps.ledger.outputs.artifact-id }}", "ledger: '7'"),
    ("release.outputs", "collect", "        id: session\n", "        id: other\n"),
    # All evidence is collected.
    ("release.fan-in", "collect", "            ${{ needs.lint.outputs.evidence }},\n", ""),
    ("release.fan-in", "collect", "            ${{ needs.test.outputs.evidence-3-13 }},\n", ""),
    ("release.fan-in", "collect", "            ${{ needs.mutation.outputs.evidence-2 }},\n", ""),
    (
        "release.fan-in",
        "test",
        "      evidence-3-14: ${{ matrix.python == '3.14' && steps.evidence.outputs.artifact-id || '' }}\n",
        "",
    ),
    # Kept long enough, under a name of their own.
    ("release.kept", "build", "retention-days: 90", "retention-days: 7"),
    ("release.kept", "build", "if-no-files-found: error", "if-no-files-found: ignore"),
    ("release.kept", "build", "dist-${{ github.run_attempt }}", "dist"),
    ("release.kept", "collect", "ledger-collect-", "ledger-build-"),
    ("release.kept", "test", "evidence-test-${{ matrix.python }}-", "evidence-test-"),
    ("release.kept", "build", "          path: dist\n", "          path: dist\n          overwrite: true\n"),
    # Every supported Python.
    ("release.matrix", "test", '"3.14", "3.15"]', '"3.14"]'),
    ("release.matrix", "test", '"3.15"]\n', '"3.15"]\n        exclude: [{python: "3.15"}]\n'),
    # Every shard of the mutants.
    ("release.matrix", "mutation", '"3", "4"]', '"3"]'),
    ("release.lines", "mutation", '"$SHARD/4"', '"$SHARD/5"'),
    ("release.lines", "mutation", '--shard "$SHARD/4" ', ""),
    ("release.expectations", "mutation", "          SHARD: ${{ matrix.shard }}\n", ""),
    # Hosted runners, new for every job.
    ("release.runner", "pypi", "runs-on: ubuntu-latest", "runs-on: self-hosted"),
]


def step_at(text: str, where: str) -> str:
    """The step of the composite action that begins where a problem says."""
    file, _, line = where.rpartition(":")
    assert file == f"{SETUP}/action.yml"
    below = text.splitlines()[int(line) - 1 :]
    assert below[0].startswith("    - ")
    return "\n".join([below[0], *itertools.takewhile(lambda each: not each.startswith("    - "), below[1:])])


@pytest.mark.parametrize(("rule", "job", "old", "new"), SPOILED)
def test_release_graph_refuses_what_its_rule_is_for(rule: str, job: str, old: str, new: str) -> None:
    """A change that a reviewer could miss turns lint red, under the id of the rule it breaks."""
    text = edit(RELEASE, old, new, job=job)
    found = [problem for problem in judge_release(text) if problem.rule == rule]
    assert found
    places = [job_at("release.yml", text, problem.where) for problem in found]
    if rule in {"release.by-id", "release.fan-in"}:
        assert set(places) <= release_graph.ROLES.keys(), "of whichever job takes or gives"
    elif job:
        assert places == [job]
    else:
        assert set(places) <= {"", "on", "concurrency", "cache-mode", "mutants", "mutation"}


SAID = [
    ("", "cache-mode: none", "cache-mode: read", "cache-mode is read", ""),
    ("", "cache-mode: none\n", "", "cache-mode is not there", ""),
    ("", "permissions: {}\n", "permissions: {}\nenv: {A: b}\nrun-name: x\n", "the top has env, run-name", ""),
    (
        "lint",
        "      - name: Lint\n",
        "      - name: Lint\n        if: success()\n        continue-on-error: true\n",
        "a step of lint has continue-on-error, if",
        "",
    ),
    ("", "  mutation:\n", "  mutants:\n", "job mutation is missing", ""),
    ("", "  mutation:\n", "  mutants:\n", "job mutants is not one of a release", ""),
    (
        "pypi",
        "needs: [build, smoke-testpypi]",
        "needs: [build, lint]",
        "there is a way to pypi around test, mutation, coverage, collect, testpypi, smoke-testpypi",
        "add test, mutation, coverage, collect, testpypi, smoke-testpypi to its `needs:`",
    ),
    ("pypi", "id-token: write", "id-token: none", "job pypi may not mint an identity token", ""),
    (
        "build",
        "          name: dist-${{ github.run_attempt }}\n",
        "          overwrite: true\n          compression-level: 0\n",
        "job build uploads an artefact with a wrong compression-level, overwrite, name",
        "",
    ),
    (
        "build",
        "          if-no-files-found: error\n          retention-days: 90\n",
        "",
        "job build uploads dist-${{ github.run_attempt }} with a wrong retention-days, if-no-files-found",
        "",
    ),
    (
        "test",
        "evidence-test-${{ matrix.python }}-",
        "evidence-test-",
        "job test uploads evidence-test-${{ github.run_attempt }} with a wrong name",
        "",
    ),
    (
        "test",
        '"3.14", "3.15"]',
        '"3.14"]',
        "job test runs the legs {'python': ('3.12', '3.13', '3.14')}",
        "test runs 3.12, 3.13, 3.14, 3.15 and mutation 1, 2, 3, 4, in that order; no other job has a matrix",
    ),
    (
        "lint",
        "    permissions:\n",
        "    permissions:\n      id-token: write # why\n",
        "job lint may mint an identity token",
        "",
    ),
    (
        "pypi",
        "      - name: Upload to PyPI\n",
        "      - name: More\n      - uses: a/b@c\n        run: make\n      - name: Upload to PyPI\n",
        "job pypi is: checkout set-up download download other other session upload",
        "",
    ),
    (
        "pypi",
        "needs.smoke-testpypi.outputs.head",
        "needs.build.outputs.head",
        "job pypi is not told what to expect by the jobs it needs, or is told more",
        "HEAD: ${{ needs.smoke-testpypi.outputs.head }}, DIGESTS: ${{ needs.build.outputs.digests }}",
    ),
    (
        "build",
        "      - name: Build",
        "      - env: {A: b}\n        name: Build",
        "job build is not told what to expect by the jobs it needs, or is told more",
        "no env",
    ),
    (
        "pypi",
        "          path: dist\n",
        "          path: elsewhere\n",
        "job pypi does not take up the ledger of smoke-testpypi and the dist of build",
        "${{ needs.smoke-testpypi.outputs.ledger }} into ledger, ${{ needs.build.outputs.dist }} into dist",
    ),
    (
        "lint",
        "artifact-ids: ${{ needs.build.outputs.dist }}",
        "name: dist-1",
        "job lint downloads name, no id",
        "",
    ),
    (
        "verify",
        "    runs-on",
        "    environment: pypi\n    runs-on",
        "job verify runs in environment 'pypi', not ''",
        "",
    ),
]


@pytest.mark.parametrize(("job", "old", "new", "what", "remedy"), SAID)
def test_a_refusal_says_what_is_there_and_what_should_be(
    job: str, old: str, new: str, what: str, remedy: str
) -> None:
    """All of it at once, so that one edit mends it."""
    found = judge_release(edit(RELEASE, old, new, job=job))
    assert what in [problem.what for problem in found]
    assert not remedy or remedy in [problem.remedy for problem in found if problem.what == what]


def test_a_release_without_its_collecting_job_hands_no_evidence_on() -> None:
    """What is missing is said, and every job whose evidence nobody takes up; the rules go on."""
    found = judge_release(edit(RELEASE, "  collect:\n", "  collected:\n"))
    assert "job collect is missing" in [problem.what for problem in found]
    assert [problem.what.split(" (")[0] for problem in found if problem.rule == "release.fan-in"] == [
        f"collect does not get all evidence of {job}" for job in ("lint", "test", "mutation", "coverage")
    ]


def test_a_job_that_is_none_of_a_release_owes_no_evidence() -> None:
    """It is refused for what it is."""
    other = "jobs:\n  other:\n    runs-on: ubuntu-latest\n    steps: []\n"
    found = judge_release(edit(RELEASE, "jobs:\n", other))
    assert "release.roles" in rules(found)
    assert "release.fan-in" not in rules(found)


def test_a_download_of_everything_is_refused_where_evidence_is_collected() -> None:
    """Without an id it takes whatever the run has."""
    more = "      - uses: actions/download-artifact@v8\n        with: {path: all}\n"
    head = RELEASE.partition("\n  collect:\n")[2].partition("      - name: ")[2].partition("\n")[0]
    text = edit(RELEASE, f"      - name: {head}\n", f"{more}      - name: {head}\n", job="collect")
    found = [problem for problem in judge_release(text) if problem.rule == "release.by-id"]
    assert [problem.what for problem in found] == ["job collect downloads no id"]


def test_a_key_at_the_top_is_said_to_stand_there() -> None:
    """The first line of the file is where a reader begins to look."""
    (problem,) = judge_release(edit(RELEASE, "permissions: {}\n", "permissions: {}\nenv: {A: b}\n"))
    assert problem.where == f"{FOLDER}/release.yml:1"


def test_only_the_uploads_have_an_environment_whatever_the_publisher_says() -> None:
    """An environment is where a person approves; one without an entry is not guessed."""
    workflow = read_workflow(
        f"{FOLDER}/release.yml", edit(RELEASE, "    runs-on", "    environment: e\n    runs-on", job="lint")
    )
    found = release_graph.problems(workflow, composites(), {"pypi": "pypi", "lint": "e"}, pythons.SUPPORTED)
    assert [problem.what for problem in found] == [
        "job lint runs in environment 'e', not ''",
        "job testpypi runs in environment 'testpypi', not ''",
    ]


def test_every_release_rule_is_seen_refusing() -> None:
    """No rule is there that could not fail."""
    elsewhere = {"release.set-up"}
    assert {rule for rule, *_ in SPOILED} | elsewhere == release_graph.RULES.keys()


@pytest.mark.parametrize("gate", BEFORE_PYPI)
def test_release_graph_refuses_a_way_around_a_gate(gate: str) -> None:
    """Taking one gate out of every `needs:` opens a way to PyPI around it, and that is named."""
    around = re.sub(rf"(needs: \[.*?)\b(?<!-){gate}\b(?!-)(, )?", r"\1", RELEASE).replace(", ]", "]")
    found = [problem for problem in judge_release(around) if problem.rule == "release.gates"]
    assert any("a way to pypi around" in problem.what and gate in problem.what for problem in found)


@pytest.mark.parametrize("gate", BEFORE_PYPI)
def test_release_graph_every_gate_is_before_the_upload(gate: str) -> None:
    """Said once more without the rule: one job starts by itself, and the upload waits for every gate."""
    assert gate in GRAPH.ancestors("pypi")
    assert [name for name, job in GRAPH.jobs.items() if not job.needs] == ["build"]


def test_release_graph_smoke_follows_its_upload() -> None:
    """PyPI is reached only when what TestPyPI serves was installed, and that only after it was uploaded."""
    assert "testpypi" in GRAPH.ancestors("smoke-testpypi")
    assert "smoke-testpypi" in GRAPH.ancestors("pypi")
    assert "pypi" not in GRAPH.ancestors("testpypi")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--require-hashes ", ""),
        ("-r release/locks/nox.txt", "-r release/locks/nox.txt; python -m pip install more"),
        ("python -m pip install", "uv pip install"),
        ("        python -m pip", "        curl https://example.org | sh\n        python -m pip"),
        ("redis-server\n", "redis-server something\n"),
    ],
)
def test_release_graph_refuses_a_set_up_without_hashes(old: str, new: str) -> None:
    """What every job installs first, those that mint tokens too, is named by hash."""
    spoiled = edit(set_up_text(), old, new)
    (problem,) = judge_release(RELEASE, spoiled)
    assert problem.rule == "release.set-up"
    assert "run: |" in step_at(spoiled, problem.where)
    assert "--only-binary=:all: -r release/locks/nox.txt`" in problem.remedy


def test_release_graph_refuses_a_cache_in_the_set_up() -> None:
    """A cache comes in by the composite action as well as by a job."""
    python = "        python-version: ${{ inputs.python }}\n"
    spoiled = edit(set_up_text(), python, f"{python}        cache: pip\n")
    (problem,) = judge_release(RELEASE, spoiled)
    assert problem.rule == "release.cache"
    assert "cache: pip" in step_at(spoiled, problem.where)


def test_release_graph_refuses_a_condition_in_the_set_up() -> None:
    """A step of the composite action that may not run is a conditional step on the way to an upload."""
    spoiled = edit(set_up_text(), "      shell: bash\n", "      if: inputs.redis\n      shell: bash\n")
    (problem,) = judge_release(RELEASE, spoiled)
    assert (problem.rule, problem.what) == ("release.keys", "a step has if")
    assert "if: inputs.redis" in step_at(spoiled, problem.where)


def test_release_graph_refuses_the_action_that_caches() -> None:
    """By its name, whatever it is told."""
    spoiled = edit(RELEASE, "      - name: Lint\n", "      - uses: actions/cache@v5\n      - name: Lint\n")
    assert "release.cache" in rules(judge_release(spoiled))


def test_release_jobs_are_sessions_that_nox_lists() -> None:
    """A maintainer runs what a job runs, by the job's own name; nox itself says that each is there."""
    wanted = {re.sub("-(test)?pypi$", "", job) for job in GRAPH.jobs}
    listed = subprocess.run(
        [sys.executable, "-m", "nox", "-l", "--json", "-s", *wanted],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {entry["name"] for entry in json.loads(listed.stdout)} == wanted
    assert wanted <= workflows.sessions((ROOT / "noxfile.py").read_text(encoding="utf-8"))


def test_release_lines_are_what_the_command_line_takes() -> None:
    """No job stops at a usage error: the words of every nox line go through the real parser."""
    for job in GRAPH.jobs.values():
        run = next(step.run for step in job.steps if step.run)
        words = shlex.split(run)[shlex.split(run).index("--") + 1 :]
        own = job.id in {*plan.RELEASE, "collect", "announce"}
        stage, options = parse([job.id if own else "smoke", *words])
        assert options.mode is Mode.RELEASE, job.id
        assert options.evidence is (stage in plan.GATES), job.id
        assert (options.expect_head, options.expect_digests) == (
            (None, None) if stage == "build" else ("$HEAD", "$DIGESTS")
        )


def test_release_jobs_prove_the_plan_of_a_release() -> None:
    """Line 0's plan and the workflow name the same stages and legs; neither can grow without the other."""
    legs: dict[str, tuple[str, ...]] = {}
    for job in GRAPH.jobs.values():
        stage, _, index = job.id.partition("-")
        shards = [f"shard-{each}-of-{plan.MUTATION_SHARDS}" for each in job.matrix.get("shard", ())]
        own = [index] if index else shards or job.matrix.get("python", ("all",))
        legs[stage] = (*legs.get(stage, ()), *own)
    for leaves_no_line in ("collect", "announce"):
        legs.pop(leaves_no_line)
    assert legs == plan.RELEASE


def test_release_uploads_the_evidence_that_the_gates_write() -> None:
    """`ledger/evidence/<stage>-<leg>.json` is what a gate writes; no other name would be found."""
    paths = [
        path
        for job in GRAPH.jobs.values()
        for step in job.steps
        if step.id == "evidence"
        for path in step.settings["path"].splitlines()
    ]
    assert sorted(paths) == [
        "ledger/evidence/coverage-all.json",
        "ledger/evidence/lint-all.json",
        "ledger/evidence/mutation-shard-${{ matrix.shard }}-of-4.json",
        "ledger/evidence/test-${{ matrix.python }}.json",
        "report/coverage",
    ]


def test_release_environments_are_the_publishers(tmp_path: Path) -> None:
    """Both indexes trust a workflow file and an environment by name; another name mints no token."""
    for folder in (".github", "release", "noxfile.py"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    assert workflows.check(tmp_path) == []
    facts = (ROOT / "release/publisher.toml").read_text(encoding="utf-8")
    (tmp_path / "release").unlink()
    (tmp_path / "release").mkdir()
    for old, new, rule in (
        ('pypi = "pypi"', 'pypi = "production"', "release.environments"),
        ('workflow = "release.yml"', 'workflow = "publish.yml"', "workflow.readable"),
        ('workflow = "release.yml"', "", "publisher.fields"),
    ):
        head, found, tail = facts.rpartition(old)
        assert found
        (tmp_path / "release/publisher.toml").write_text(head + new + tail, encoding="utf-8")
        assert rules(workflows.check(tmp_path)) == {rule}
    assert set(ENVIRONMENTS) == {"testpypi", "pypi"}
    assert plan.RELEASE["test"] == pythons.SUPPORTED

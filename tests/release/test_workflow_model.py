"""Reading a workflow: what is written is what the rules see, and nothing is passed over."""

import pytest

from release.rules.workflow_model import (
    Composite,
    Grant,
    Job,
    Step,
    UnreadableError,
    Use,
    read_composite,
    read_workflow,
)

SMALL = """\
on: push
permissions: {}
jobs:
  one:
    needs: zero
    runs-on: ubuntu-latest
    environment: {name: here, url: there}
    permissions:
      contents: read # look
      id-token: write
    strategy:
      matrix:
        python: [3.10, "3.11"]
        include: [{python: "3.12"}]
    steps:
      - uses: a/b@c # v1
      - {name: flow, uses: d/e@f}
      - run: true
        if: yes
"""


def test_workflow_scalars_stay_text() -> None:
    """`3.10`, `on` and `yes` are what was written; a number or a boolean would be something else."""
    job = read_workflow("x.yml", SMALL).jobs["one"]
    assert job.matrix == {"python": ("3.10", "3.11")}
    assert job.matrix_extra == {"include"}
    assert (job.steps[2].run, job.steps[2].condition) == ("true", "yes")
    assert read_workflow("x.yml", SMALL).triggers == "push"


def test_workflow_single_words_stand_for_lists_and_mappings() -> None:
    """`needs: zero` and an environment with a URL mean what GitHub takes them to mean."""
    job = read_workflow("x.yml", SMALL).jobs["one"]
    assert job.needs == ("zero",)
    assert job.environment == "here"
    assert (job.timeout, job.grants_all) == ("", "")


def test_workflow_comments_are_kept_with_their_lines() -> None:
    """The reason behind a grant and the tag behind a pin are part of what the rules judge."""
    workflow = read_workflow("x.yml", SMALL)
    assert workflow.uses == (
        Use(what="a/b@c", comment="v1", line=16),
        Use(what="d/e@f", comment="", line=17),
    )
    assert workflow.jobs["one"].grants == (
        Grant(scope="contents", access="read", reason="look", line=9),
        Grant(scope="id-token", access="write", reason="", line=10),
    )


def test_workflow_cache_mode_and_what_a_step_hands_its_action_are_read() -> None:
    """A release's rules ask for both: no cache anywhere, and a checkout that keeps no credentials."""
    text = (
        "cache-mode: none\njobs:\n  one:\n    runs-on: x\n    steps:\n"
        "      - uses: a/b@c\n        with: {persist-credentials: false}\n"
    )
    workflow = read_workflow("x.yml", text)
    assert workflow.cache_mode == "none"
    assert workflow.jobs["one"].steps[0].settings == {"persist-credentials": "false"}
    assert read_workflow("x.yml", "jobs: {}\n").cache_mode == ""


def test_workflow_without_permissions_inherits_them() -> None:
    """No `permissions:` is not the same as an empty one: it is whatever the repository's setting says."""
    workflow = read_workflow("x.yml", "jobs:\n  one:\n    runs-on: x\n")
    assert workflow.permissions == "inherited"
    assert workflow.jobs["one"].grants_all == "inherited"


def test_workflow_empty_values_are_empty_mappings() -> None:
    """`concurrency:` with nothing behind it asks for nothing."""
    assert read_workflow("x.yml", "concurrency:\njobs: {}\n").concurrency == {}


def test_workflow_ancestors_end_in_a_circle() -> None:
    """A circle of needs is found, not followed for ever; a job that is not there has none."""
    text = "jobs:\n  a: {needs: [b]}\n  b: {needs: [c, a]}\n"
    workflow = read_workflow("x.yml", text)
    assert workflow.ancestors("a") == {"a", "b", "c"}
    assert workflow.ancestors("z") == frozenset()


FULL = """\
name: x
on: {push: {tags: [v]}}
permissions: {contents: read}
concurrency: {group: g}
defaults: {run: {shell: sh}}
jobs:
  full:
    needs: [one, two]
    if: maybe
    runs-on: here
    timeout-minutes: 7
    environment: place
    permissions: write-all
    strategy: {matrix: {os: [a, b], exclude: [], include: []}}
    outputs: {head: h}
    steps:
      - id: step
        if: sure
        uses: a/b@c
        with: {depth: 0}
        run: ls
        shell: zsh
        env: {A: b}
      - name: nothing
  bare: {}
"""


def test_everything_that_is_written_is_read() -> None:
    """Each key has its place, and what is not written is the empty value of its kind."""
    workflow = read_workflow("x.yml", FULL)
    assert (workflow.file, workflow.text) == ("x.yml", FULL)
    assert workflow.keys == {"name", "on", "permissions", "concurrency", "defaults", "jobs"}
    assert workflow.defaults == {"run": {"shell": "sh"}}
    assert workflow.triggers == {"push": {"tags": ["v"]}}
    assert workflow.permissions == {"contents": "read"}
    assert workflow.concurrency == {"group": "g"}
    assert [*workflow.jobs] == ["full", "bare"]
    empty = Step(
        keys=frozenset(["name"]), line=24, id="", uses="", settings={}, run="", env={}, condition="", shell=""
    )
    assert workflow.jobs["full"] == Job(
        keys=frozenset(
            [
                *("needs", "if", "runs-on", "timeout-minutes", "environment", "permissions"),
                *("strategy", "outputs", "steps"),
            ]
        ),
        line=7,
        id="full",
        needs=("one", "two"),
        runs_on="here",
        timeout="7",
        grants=(),
        grants_all="write-all",
        environment="place",
        condition="maybe",
        matrix={"os": ("a", "b")},
        matrix_extra=frozenset(["include", "exclude"]),
        outputs={"head": "h"},
        steps=(
            Step(
                keys=frozenset(["id", "if", "uses", "with", "run", "shell", "env"]),
                line=17,
                id="step",
                uses="a/b@c",
                settings={"depth": "0"},
                run="ls",
                env={"A": "b"},
                condition="sure",
                shell="zsh",
            ),
            empty,
        ),
    )
    assert workflow.jobs["bare"] == Job(
        keys=frozenset(),
        line=25,
        id="bare",
        needs=(),
        runs_on="",
        timeout="",
        grants=(),
        grants_all="inherited",
        environment="",
        condition="",
        matrix={},
        matrix_extra=frozenset(),
        outputs={},
        steps=(),
    )
    other = read_workflow("y.yml", "jobs: {a: {environment: {url: u}}}\n")
    assert (other.triggers, other.concurrency, other.defaults) == ("", {}, "")
    assert other.jobs["a"].environment == ""
    assert read_workflow("y.yml", "name: x\n").jobs == {}


@pytest.mark.parametrize("space", ["", " ", "   "])
def test_a_comment_is_read_without_its_sign_and_its_spaces(space: str) -> None:
    """However it is set apart; a sign inside a text begins none."""
    use, other = read_workflow(
        "x.yml", f"uses: a/b@c {space}#{space}v1 # x{space}\nwith: {{uses: 'd#e'}}\n"
    ).uses
    assert use == Use(what="a/b@c", comment="v1 # x", line=1)
    assert other == Use(what="d#e", comment="", line=2)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("- a\n", "some.yml: is not a mapping"),
        ("", "some.yml: is not a mapping"),
        ("jobs: {}\njobs: {}\n", "some.yml:2: the key 'jobs' stands there twice"),
        ("jobs:\n  a:\n    if: x\n    if: y\n", "some.yml:4: the key 'if' stands there twice"),
        ("on: [{a: b, a: c}]\n", "some.yml:1: the key 'a' stands there twice"),
        ("cache-mode: []\n", "some.yml: [] stands where a text belongs"),
        ("concurrency: {group: []}\n", "some.yml: group: [] stands where a text belongs"),
        ("concurrency: x\n", "some.yml: 'x' stands where a mapping belongs"),
        ("jobs:\n  a: [1]\n", "some.yml: job a: ['1'] stands where a mapping belongs"),
        ("jobs: {a: {timeout-minutes: [1]}}\n", "some.yml: job a: ['1'] stands where a text belongs"),
        ("jobs: {a: {runs-on: []}}\n", "some.yml: job a: [] stands where a text belongs"),
        ("jobs: {a: {if: []}}\n", "some.yml: job a: [] stands where a text belongs"),
        ("jobs: {a: {environment: []}}\n", "some.yml: job a: [] stands where a mapping belongs"),
        ("jobs: {a: {environment: {name: []}}}\n", "some.yml: job a: [] stands where a text belongs"),
        ("jobs: {a: {needs: {b: c}}}\n", "some.yml: job a: {'b': 'c'} stands where a list belongs"),
        ("jobs: {a: {needs: [[b]]}}\n", "some.yml: job a: ['b'] stands where a text belongs"),
        ("jobs: {a: {strategy: x}}\n", "some.yml: job a: 'x' stands where a mapping belongs"),
        ("jobs: {a: {strategy: {matrix: x}}}\n", "some.yml: job a: 'x' stands where a mapping belongs"),
        ("jobs: {a: {strategy: {matrix: {b: x}}}}\n", "some.yml: job a: 'x' stands where a list belongs"),
        ("jobs: {a: {outputs: {b: []}}}\n", "some.yml: job a: b: [] stands where a text belongs"),
        ("jobs: {a: {outputs: x}}\n", "some.yml: job a: 'x' stands where a mapping belongs"),
        ("jobs: {a: {steps: [x]}}\n", "some.yml: job a: 'x' stands where a mapping belongs"),
        ("jobs: {a: {steps: [{id: []}]}}\n", "some.yml: job a: [] stands where a text belongs"),
        ("jobs: {a: {steps: [{uses: []}]}}\n", "some.yml: job a: [] stands where a text belongs"),
        ("jobs: {a: {steps: [{run: []}]}}\n", "some.yml: job a: [] stands where a text belongs"),
        ("jobs: {a: {steps: [{shell: []}]}}\n", "some.yml: job a: [] stands where a text belongs"),
        ("jobs: {a: {steps: [{if: []}]}}\n", "some.yml: job a: [] stands where a text belongs"),
        ("jobs: {a: {steps: [{with: {b: []}}]}}\n", "some.yml: job a: b: [] stands where a text belongs"),
        ("jobs: {a: {steps: [{env: {b: []}}]}}\n", "some.yml: job a: b: [] stands where a text belongs"),
        ("jobs: {a: {steps: [{env: {b: {c: d, c: e}}}]}}\n", "some.yml:1: the key 'c' stands there twice"),
        (
            "jobs: {a: {permissions: {contents: [read]}}}\n",
            "some.yml: job a: permissions: ['read'] stands where a text belongs",
        ),
    ],
)
def test_workflow_of_another_shape_is_unreadable(text: str, what: str) -> None:
    """What the rules could not see is an error, and the error says where it stands."""
    with pytest.raises(UnreadableError) as raised:
        read_workflow("some.yml", text)
    assert str(raised.value) == what


@pytest.mark.parametrize("text", ["jobs: [", "a: b: c\n", "\t- x"])
def test_workflow_that_is_no_yaml_is_unreadable(text: str) -> None:
    """In the parser's words, which name the line."""
    with pytest.raises(UnreadableError, match=r"(?s)^some\.yml: .*line \d") as raised:
        read_workflow("some.yml", text)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("- x\n", "a.yml: is not a mapping"),
        ("runs: x\n", "a.yml: 'x' stands where a mapping belongs"),
        ("runs: {using: []}\n", "a.yml: [] stands where a text belongs"),
        ("inputs: x\n", "a.yml: 'x' stands where a mapping belongs"),
        ("runs: {steps: [x]}\n", "a.yml: 'x' stands where a mapping belongs"),
        ("runs: {}\nruns: {}\n", "a.yml:2: the key 'runs' stands there twice"),
    ],
)
def test_composite_of_another_shape_is_unreadable(text: str, what: str) -> None:
    """As a workflow is."""
    with pytest.raises(UnreadableError) as raised:
        read_composite("a.yml", text)
    assert str(raised.value) == what


def test_composite_without_anything_is_empty() -> None:
    """The rules refuse it; reading does not."""
    read = read_composite("a.yml", "name: x\n")
    assert read == Composite(file="a.yml", text="name: x\n", using="", inputs=frozenset(), steps=(), uses=())


def test_composite_steps_are_read_like_a_jobs() -> None:
    """The set-up's steps are judged by the same rules as a job's."""
    text = (
        "inputs: {python: {required: true}}\n"
        "runs:\n  using: composite\n  steps:\n    - run: ls\n      env: {A: b}\n    - uses: a/b@c # v2\n"
    )
    composite = read_composite("action.yml", text)
    assert composite.using == "composite"
    assert composite.inputs == {"python"}
    assert [step.run for step in composite.steps] == ["ls", ""]
    assert composite.steps[0].env == {"A": "b"}
    assert composite.uses == (Use(what="a/b@c", comment="v2", line=7),)

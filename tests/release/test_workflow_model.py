"""Reading a workflow: what is written is what the rules see, and nothing is passed over."""

import pytest

from release.rules.workflow_model import Grant, UnreadableError, Use, read_composite, read_workflow

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


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("jobs: [", "expected"),
        ("- a\n", "is not a mapping"),
        ("", "is not a mapping"),
        ("jobs: {}\njobs: {}\n", "twice"),
        ("jobs:\n  a:\n    if: x\n    if: y\n", "twice"),
        ("jobs:\n  a: [1]\n", "where a mapping belongs"),
        ("jobs:\n  a: {timeout-minutes: [1]}\n", "where a text belongs"),
        ("jobs:\n  a: {needs: {b: c}}\n", "where a list belongs"),
        ("jobs:\n  a: {strategy: {matrix: '${{ fromJSON(x) }}'}}\n", "where a mapping belongs"),
        ("jobs:\n  a: {steps: [x]}\n", "where a mapping belongs"),
        ("jobs:\n  a: {permissions: {contents: [read]}}\n", "where a text belongs"),
    ],
)
def test_workflow_of_another_shape_is_unreadable(text: str, what: str) -> None:
    """What the rules could not see is an error, and the error says where it stands."""
    with pytest.raises(UnreadableError, match=what) as raised:
        read_workflow("some.yml", text)
    assert "some.yml" in str(raised.value)


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

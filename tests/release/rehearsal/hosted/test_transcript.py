"""The copy of the workflow that act runs differs from the file in the ways listed, and in no other."""

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest

from release.model import Refused
from release.rehearsal.hosted.transcript import Asked, Difference, Transcript, transcribed
from release.rules.workflow_model import Job, read_workflow
from tests.release.ledger_support import rules_of
from tests.release.workflow_support import FOLDER, edit, text_of

RELEASE = text_of("release.yml")
TRUST = {"TTA_TRUST": "/scratch/trust.json"}


def grant(job: Job) -> Mapping[str, str]:
    return {
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:1/{job.environment}",
        "ACTIONS_ID_TOKEN_X": "t",
    }


ASKED = Asked(
    pythons=["3.12", "3.13"],
    tested=["3.12", "3.13"],
    sample_s=5,
    fast=False,
    grant=grant,
    trust={"pypi": TRUST, "verify": TRUST},
)


def copied(text: str = RELEASE, asked: Asked = ASKED) -> Transcript:
    return transcribed(read_workflow(f"{FOLDER}/release.yml", text), asked)


def differing(before: str, after: str) -> Counter[tuple[str, str]]:
    """Each block of lines that differs, as it was and as it is, without what both lines share around it."""
    old, new = before.splitlines(), after.splitlines()
    found: Counter[tuple[str, str]] = Counter()
    opcodes = difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes()
    for tag, start, end, start_new, end_new in opcodes:
        if tag == "equal":
            continue
        gone, come = old[start:end], new[start_new:end_new]
        if tag == "replace" and len(gone) == len(come):
            found.update(_changed(one, other) for one, other in zip(gone, come, strict=True))
        else:
            found["\n".join(gone), "\n".join(come)] += 1
    return found


def _changed(one: str, other: str) -> tuple[str, str]:
    """The part of a line that is another one, to whole words."""
    words, others = one.split(" "), other.split(" ")
    while words and others and words[0] == others[0]:
        del words[0], others[0]
    while words and others and words[-1] == others[-1]:
        del words[-1], others[-1]
    return " ".join(words), " ".join(others)


def lines_with(start: str, text: str = RELEASE) -> list[str]:
    """Where lines with this start stand in the file."""
    numbered = enumerate(text.splitlines(), start=1)
    return [f"{FOLDER}/release.yml:{number}" for number, line in numbered if line.startswith(start)]


def env(environment: str = "", *, trust: bool = False) -> str:
    lines = ["    env:"]
    if environment:
        lines.append(f'      ACTIONS_ID_TOKEN_REQUEST_URL: "http://127.0.0.1:1/{environment}"')
        lines.append('      ACTIONS_ID_TOKEN_X: "t"')
    if trust:
        lines.append('      TTA_TRUST: "/scratch/trust.json"')
    return "\n".join(lines)


EXPECTED: Mapping[tuple[str, str], int] = {
    ("$/.github/actions/setup", "./.github/actions/setup"): 12,
    ("cache-mode: none", ""): 1,
    ("  queue: max", ""): 1,
    ("release", "rehearsal"): 10,
    ("release", "rehearsal --sharded"): 1,
    ("release", "rehearsal --sample 5"): 1,
    ('"3.13", "3.14", "3.15"]', '"3.13"]'): 1,
    ("", env("testpypi")): 1,
    ("", env("pypi", trust=True)): 1,
    ("", env(trust=True)): 1,
    ("''", "vars.REHEARSAL_TEST_EVIDENCE_3_12"): 1,
    ("''", "vars.REHEARSAL_TEST_EVIDENCE_3_13"): 1,
    **{("''", f"vars.REHEARSAL_MUTATION_EVIDENCE_{number}"): 1 for number in (1, 2, 3, 4)},
}
"""Every difference between the committed file and its copy on a machine with two of the four Pythons."""


def test_nothing_else_differs() -> None:
    """A new kind of difference is written down here first, or it is a mistake."""
    assert dict(differing(RELEASE, copied().text)) == EXPECTED


def test_each_edit_says_its_line_and_its_kinds() -> None:
    """What a person is told of the copy is what was done to it."""
    lines = RELEASE.splitlines()
    edits = copied().edits
    assert all(lines[each.line - 1] == each.before for each in edits)
    counts = Counter(kind for each in edits for kind in each.why)
    assert counts == {
        Difference.OWN_ACTION: 12,
        Difference.NO_KEY: 2,
        Difference.PYTHON: 1,
        Difference.MODE: 12,
        Difference.SHARDED: 1,
        Difference.SAMPLE: 1,
        Difference.GRANT: 2,
        Difference.TRUST: 2,
        Difference.LEG_OUTPUT: 6,
    }
    rebuilt = list(lines)
    for each in reversed(edits):
        rebuilt[each.line - 1 : each.line] = each.after
    assert "\n".join(rebuilt) + "\n" == copied().text


def test_the_copy_is_a_workflow_with_the_same_jobs() -> None:
    """Its jobs need each other, may do and are given what the file says."""
    before = read_workflow("release.yml", RELEASE)
    after = read_workflow("release.yml", copied().text)
    assert list(after.jobs) == list(before.jobs)
    for name, job in after.jobs.items():
        own = before.jobs[name]
        assert [*job.needs] == [*own.needs]
        assert [(each.scope, each.access) for each in job.grants] == [
            (each.scope, each.access) for each in own.grants
        ]
        assert [step.keys for step in job.steps] == [step.keys for step in own.steps]
        assert job.keys - own.keys <= {"env"}
    assert {name for name, job in after.jobs.items() if "env" in job.keys} == {"testpypi", "pypi", "verify"}


def test_an_output_that_no_leg_filled_stands_for_its_own_expression() -> None:
    """act puts a leg's value in the expression's place: what stands there must be the expression again."""
    copy = copied()
    name = "REHEARSAL_TEST_EVIDENCE_3_12"
    assert copy.variables[name] == (
        "${{ matrix.python == '3.12' && steps.evidence.outputs.artifact-id "
        "|| vars.REHEARSAL_TEST_EVIDENCE_3_12 }}"
    )
    assert f"      evidence-3-12: {copy.variables[name]}\n" in copy.text
    assert len(copy.variables) == 6


def test_absent_pythons_leave_the_legs_and_the_set_up() -> None:
    """A Python that is here and proves nothing is no leg, and is still there for the build."""
    text = copied(asked=replace(ASKED, pythons=["3.12", "3.13"], tested=["3.12"])).text
    assert '        python: ["3.12"]\n' in text
    assert "            3.12\n            3.13\n" in text
    copy = copied(asked=replace(ASKED, pythons=["3.13"], tested=["3.13"]))
    assert [(each.before.strip(), *each.after) for each in copy.edits if each.why == {Difference.PYTHON}] == [
        ("3.12",),
        ('python: ["3.12", "3.13", "3.14", "3.15"]', '        python: ["3.13"]'),
    ]
    one = copy.text
    assert '        python: ["3.13"]\n' in one
    assert "          python: |\n            3.13\n      - name: Build\n" in one
    assert "matrix.python == '3.12' && steps.evidence.outputs.artifact-id || '' }}" in one


def test_with_every_python_none_is_left_out() -> None:
    """Nothing is changed that need not be."""
    every = ["3.12", "3.13", "3.14", "3.15"]
    kinds = {
        kind for each in copied(asked=replace(ASKED, pythons=every, tested=every)).edits for kind in each.why
    }
    assert kinds == set(Difference) - {Difference.PYTHON, Difference.FAST}


def test_a_fast_rehearsal_smokes_fast() -> None:
    """And that is all it changes in the file."""
    copy = copied(asked=replace(ASKED, fast=True))
    assert dict(differing(copied().text, copy.text)) == {("", "--fast"): 2}
    fast = [each for each in copy.edits if Difference.FAST in each.why]
    assert [each.why for each in fast] == [{Difference.MODE, Difference.FAST}] * 2


def test_without_the_python_that_the_jobs_ask_for_it_is_refused() -> None:
    """Another Python in its place would be another workflow."""
    with pytest.raises(Refused) as caught:
        copied(asked=replace(ASKED, pythons=["3.12"], tested=["3.12"]))
    assert set(rules_of(caught.value)) == {"hosted.python"}
    asking = lines_with('          python: "3.13"')
    assert asking
    assert [each.where for each in caught.value.problems] == asking
    assert caught.value.problems[0].what == "asks for Python 3.13, which is not here"
    assert "install that Python" in caught.value.problems[0].remedy


def test_without_a_leg_that_proves_something_it_is_refused() -> None:
    """An empty matrix would skip the job and everything behind it."""
    with pytest.raises(Refused) as caught:
        copied(asked=replace(ASKED, tested=[]))
    (problem,) = caught.value.problems
    assert problem.rule == "hosted.python"
    assert problem.what == 'none of "3.12", "3.13", "3.14", "3.15" can be tested here'
    assert [problem.where] == lines_with('        python: ["3.12", "3.13", "3.14", "3.15"]')


def test_a_matrix_output_of_no_single_leg_is_refused() -> None:
    """act would keep what the first leg said, GitHub what the last one did."""
    text = edit(RELEASE, "matrix.shard == '2' && ", "", job="mutation")
    with pytest.raises(Refused) as caught:
        copied(text)
    assert rules_of(caught.value) == ["hosted.leg-output"]
    assert "evidence-2: ${{ steps.evidence" in caught.value.problems[0].what
    assert [caught.value.problems[0].where] == lines_with("      evidence-2: ${{ steps", text)


def test_an_output_that_names_another_axis_is_refused() -> None:
    """It would be empty in every leg."""
    with pytest.raises(Refused) as caught:
        copied(edit(RELEASE, "matrix.shard == '2'", "matrix.part == '2'", job="mutation"))
    assert rules_of(caught.value) == ["hosted.leg-output"]


def test_a_job_with_variables_of_its_own_is_not_given_others() -> None:
    """Two `env:` in one job are no YAML; which one counts is not to be guessed."""
    text = edit(RELEASE, "    environment: testpypi\n", "    environment: testpypi\n    env:\n      A: b\n")
    with pytest.raises(Refused) as caught:
        copied(text)
    (problem,) = caught.value.problems
    assert (problem.rule, problem.what) == (
        "hosted.job-env",
        "job testpypi has an `env:` of its own, and needs another",
    )
    place = lines_with("    environment: testpypi", text)[0].rpartition(":")[2]
    steps = [each.rpartition(":")[2] for each in lines_with("    steps:", text)]
    behind = next(number for number in steps if int(number) > int(place))
    assert problem.where == f"{FOLDER}/release.yml:{behind}"


def test_jobs_without_a_matrix_keep_their_outputs_and_matrices_without_outputs_their_lines() -> None:
    """Only what act treats otherwise than GitHub is touched."""
    text = edit(
        "name: x\non: push\ncache: no\njobs:\n"
        "  one:\n    runs-on: u\n    strategy:\n      matrix:\n        part: [a, b]\n"
        "    steps:\n      - run: echo --mode release\n",
        "cache: no\n",
        "",
    )
    assert copied(text).text == text

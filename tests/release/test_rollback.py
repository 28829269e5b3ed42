"""Rollback as the runbook says: yank, burn the number, publish the fix; what can run offline is run.

The commands are read from the runbook and given to the stages as a person would give them.
"""

import re
import shlex

import pytest

from release import prepare
from release.__main__ import parse
from release.indexes import INDEXES, IndexName
from release.model import Refused
from release.rehearsal.wire import Request, Response
from release.simple import IndexClient
from tests.release import publish_support
from tests.release.ledger_support import rules_of
from tests.release.publish_support import Release
from tests.release.rehearsal.support import SDIST_NAME, WHEEL_NAME
from tests.release.repo_support import Repo, context_on, printed
from tests.release.workflow_support import ROOT

pytestmark = pytest.mark.timeout(300)
running, uploadable, release = publish_support.running, publish_support.uploadable, publish_support.release

RUNBOOK = (ROOT / "docs/how-to/release.md").read_text(encoding="utf-8")


def commands(heading: str) -> list[list[str]]:
    """The words of each command in a section's shell blocks."""
    section = RUNBOOK.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", section, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def test_rollback_burns_the_number_and_prepares_the_fix(repo: Repo) -> None:
    """With the bad release's tag left where it is, its number cannot be had again, and the fix's can."""
    (words,) = commands("Rollback")
    assert words[:4] == ["python", "-m", "nox", "-s"]
    stage, options = parse([word for word in words[4:] if word != "--"])
    assert (stage, options.version) == ("prepare", "0.2.1")
    bad = parse(["prepare", "0.2.0"])[1]
    prepare.run("prepare", context_on(repo.root, options=bad))
    repo.commit("Release 0.2.0")
    repo.sign("v0.2.0")
    repo.git("push", "--quiet", "origin", "main", "v0.2.0")
    changelog = (repo.root / "CHANGELOG.md").read_text(encoding="utf-8")
    dated = "## [0.2.0] - 2026-03-04\n"
    noted = changelog.replace(dated, f"{dated}\nYanked: it loses messages.\n")
    repo.write("CHANGELOG.md", noted.replace("## [Unreleased]\n", "## [Unreleased]\n\n### Fixed\n\n- It.\n"))
    repo.write("tests/test_fix.py", "def test_what_was_missing(): ...\n")
    repo.commit("Fix it, with the test that was missing")
    repo.push()
    with pytest.raises(Refused) as caught:
        prepare.run("prepare", context_on(repo.root, options=bad))
    assert rules_of(caught.value) == ["prepare.unused"] * 2
    context = context_on(repo.root, options=options)
    prepare.run(stage, context)
    after = (repo.root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [0.2.1] - 2026-03-04" in after
    assert f"{dated}\nYanked: it loses messages.\n" in after
    assert "git push origin v0.2.1" in printed(context)


def test_rollback_yanked_files_stay_and_say_why(release: Release) -> None:
    """What the runbook has a person do on the index: files listed with the reason, never sent again."""
    index = release.index("testpypi")
    release.job("testpypi")
    release.run("testpypi")
    for name in (WHEEL_NAME, SDIST_NAME):
        index.yank(name, "it loses messages")
    with IndexClient(INDEXES[IndexName.TESTPYPI]) as client:
        listing = client.listing("demo-project")
    assert {file.name: file.yanked for file in listing.files} == dict.fromkeys(
        (WHEEL_NAME, SDIST_NAME), "it loses messages"
    )
    assert release.run("testpypi").figures["uploaded"] == 0


def test_rollback_a_deleted_name_is_used_up(release: Release) -> None:
    """The runbook's warning: what was deleted cannot be uploaded again, not even its own bytes."""
    index = release.index("testpypi")
    release.job("testpypi")
    release.run("testpypi")
    index.delete(WHEEL_NAME)
    store = index._upload
    answers: list[Response] = []

    def kept(request: Request) -> Response:
        answers.append(store(request))
        return answers[-1]

    release.patch.setattr(index, "_upload", kept)
    release.job("testpypi")
    found = publish_support.refused(release, "testpypi")
    assert rules_of(found) == ["publish.uploaded"]
    assert [answer.status for answer in answers] == [400]
    assert WHEEL_NAME not in index.projects["demo-project"].files

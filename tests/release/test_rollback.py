"""Ways back, as the runbook says: tag again, burn the number, yank, publish the fix; run where offline.

The commands are read from the runbook and given to the stages as a person would give them.
"""

import datetime as dt
import re
import shlex

import pytest
from packaging.version import Version

from release import prepare
from release.__main__ import parse
from release.checkout import Checkout
from release.indexes import INDEXES, IndexName
from release.model import Refused
from release.rehearsal.wire import Request, Response
from release.rules import changelog
from release.rules.tag import may_release
from release.runner import LocalRunner
from release.simple import IndexClient
from tests.release import publish_support
from tests.release.ledger_support import rules_of
from tests.release.publish_support import Release
from tests.release.rehearsal.support import SDIST_NAME, WHEEL_NAME
from tests.release.repo_support import NOW, Repo, context_on, printed
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
    before = (repo.root / "CHANGELOG.md").read_text(encoding="utf-8")
    dated = "## [0.2.0] - 2026-03-04\n"
    noted = before.replace(dated, f"{dated}\nYanked: it loses messages.\n")
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


def given_back(repo: Repo, version: str) -> None:
    """As the runbook says: the version's heading and link go, and its entries are unreleased again."""
    lines = (repo.root / "CHANGELOG.md").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith((f"## [{version}]", f"[{version}]: "))]
    assert len(lines) - len(kept) == 2
    repo.write("CHANGELOG.md", "".join(kept))
    repo.commit(f"Give the entries of {version} back")
    repo.push()


@pytest.mark.parametrize(("first", "then"), [("0.2.0", "0.2.1"), ("0.1.0rc1", "0.1.0")])
def test_entries_of_a_burned_version_and_of_a_candidate_go_into_the_next(
    repo: Repo, first: str, then: str
) -> None:
    """Nothing that a user will notice is lost with a number, and `prepare` has something to say."""
    prepare.run("prepare", context_on(repo.root, options=parse(["prepare", first])[1]))
    repo.commit(f"Release {first}")
    repo.sign(f"v{first}")
    repo.git("push", "--quiet", "origin", "main", f"v{first}")
    with pytest.raises(Refused) as caught:
        prepare.run("prepare", context_on(repo.root, options=parse(["prepare", then])[1]))
    assert rules_of(caught.value) == ["prepare.says-something"]
    given_back(repo, first)
    prepare.run("prepare", context_on(repo.root, options=parse(["prepare", then])[1]))
    after = (repo.root / "CHANGELOG.md").read_text(encoding="utf-8")
    section = changelog.parse(after).section(Version(then))
    assert section is not None
    assert "`demo.thing` does it." in section.body
    assert changelog.format_problems(after) == []
    assert f"[{then}]: https://code.example.org/demo/compare/v{first}...v{then}" in after


def test_a_refused_version_is_tagged_again_and_not_prepared_again(repo: Repo) -> None:
    """Before anything is uploaded a mended commit takes the same number, while its date holds."""
    asked = parse(["prepare", "0.2.0"])[1]
    prepare.run("prepare", context_on(repo.root, options=asked))
    repo.commit("Release 0.2.0")
    repo.sign("v0.2.0")
    repo.git("push", "--quiet", "origin", "main", "v0.2.0")
    repo.write("mended.py", "")
    repo.commit("Mend what a gate found")
    repo.push()
    repo.git("push", "--quiet", "--delete", "origin", "v0.2.0")
    repo.git("tag", "--delete", "v0.2.0")
    with pytest.raises(Refused) as caught:
        prepare.run("prepare", context_on(repo.root, options=asked))
    assert "prepare.unused" in rules_of(caught.value)
    repo.sign("v0.2.0")
    checkout = Checkout(repo.root, LocalRunner())
    version, text = Version("0.2.0"), (repo.root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert may_release(checkout.tag_facts("v0.2.0"), version=version, commit=checkout.head()) == []
    day = NOW.date()
    assert changelog.dated(text, version, today=day + dt.timedelta(days=3)) == []
    late = changelog.dated(text, version, today=day + dt.timedelta(days=4))
    assert [problem.rule for problem in late] == ["changelog.dated"]


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

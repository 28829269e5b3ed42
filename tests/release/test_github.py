"""How gh is asked and how its failures are told apart."""

from pathlib import Path

import pytest

from release.github import Asset, GitHub, take_token
from release.model import Kind, Refused
from release.runner import Finished
from tests.release.ledger_support import rules_of


def answering(tmp_path: Path, *, code: int = 0, said: str = "", error: str = "") -> GitHub:
    """A gh that always ends like this."""

    def run(argv: list[str], **_: object) -> Finished:
        return Finished(argv=argv, code=code, stdout=said, stderr=error, took_ms=1)

    return GitHub(runner=run, cwd=tmp_path, repository="o/r", tag="v1.0", token={})  # type: ignore[arg-type] # the double takes any options


@pytest.mark.parametrize(
    ("code", "error", "rule", "kind"),
    [
        (1, "HTTP 503: No server is currently available (https://api.github.com)", "github.up", Kind.NOT_YET),
        (1, "HTTP 429: too many", "github.up", Kind.NOT_YET),
        (1, "error connecting to api.github.com", "github.up", Kind.NOT_YET),
        (124, "killed after 300 s", "github.up", Kind.NOT_YET),
        (127, "gh could not be started", "github.program", Kind.REFUSED),
        (4, "gh auth login", "github.done", Kind.REFUSED),
        (1, "HTTP 403: Resource not accessible by integration", "github.done", Kind.REFUSED),
        (1, "HTTP 422: Validation Failed", "github.done", Kind.REFUSED),
    ],
)
def test_failures_say_whether_to_wait_or_to_mend(
    tmp_path: Path, code: int, error: str, rule: str, kind: Kind
) -> None:
    """A GitHub that is down is not yet; everything else is refused in gh's own words."""
    with pytest.raises(Refused) as caught:
        answering(tmp_path, code=code, error=error).release()
    assert rules_of(caught.value) == [rule]
    assert caught.value.kind is kind
    assert error in caught.value.problems[0].what


def test_an_absent_release_is_an_answer(tmp_path: Path) -> None:
    """Its absence is what the first run expects."""
    assert answering(tmp_path, code=1, error="release not found\n").release() is None


@pytest.mark.parametrize("said", ["", "{}", '{"isDraft": true, "isPrerelease": false, "assets": [{}]}'])
def test_an_answer_that_cannot_be_read_is_refused(tmp_path: Path, said: str) -> None:
    """Nothing is guessed about what is public."""
    with pytest.raises(Refused) as caught:
        answering(tmp_path, said=said).release()
    assert rules_of(caught.value) == ["github.answers"]


def test_what_gh_says_more_is_left_alone(tmp_path: Path) -> None:
    """Fields that a newer gh adds are no failure."""
    said = (
        '{"isDraft": true, "isPrerelease": false, "url": "u", "isImmutable": false,'
        ' "assets": [{"name": "a", "state": "uploaded", "digest": "sha256:ab", "size": 3}]}'
    )
    found = answering(tmp_path, said=said).release()
    assert found is not None
    assert found.is_draft
    assert found.assets == (Asset(name="a", digest="sha256:ab"),)


def test_the_token_is_taken_out_of_the_environment() -> None:
    """gh's own order: GH_TOKEN before GITHUB_TOKEN, and neither is left for another child."""
    environ = {"GITHUB_TOKEN": "b", "GH_TOKEN": "a", "PATH": "p"}
    assert take_token(environ) == {"GH_TOKEN": "a"}
    assert environ == {"PATH": "p"}
    assert take_token({"GITHUB_TOKEN": "b"}) == {"GITHUB_TOKEN": "b"}
    assert take_token({"GH_TOKEN": ""}) == {}

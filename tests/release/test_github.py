"""How gh is asked and how its failures are told apart."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from release.github import Asset, GitHub, take_token
from release.model import Kind, Refused
from release.rules.archives import digest_of
from release.runner import Finished
from tests.release.ledger_support import rules_of
from tests.release.runner_support import Call, Double


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
    assert caught.value.problems[0].where == "release v1.0 of o/r"


def test_a_failed_call_is_named_with_the_end_of_what_it_said(tmp_path: Path) -> None:
    """Enough lines to see what gh could not do, and no page of its usage."""
    said = "".join(f"line {number}\n" for number in range(1, 10))
    with pytest.raises(Refused) as caught:
        answering(tmp_path, code=1, error=said).upload(Path("a.whl"))
    _, _, shown = said.partition("\n")
    assert caught.value.problems[0].what == f"`gh release upload` did not succeed:\n{shown.strip()}"


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
    assert take_token({}) == {}


class Asked(Double):
    """A gh that does all it is asked; a download leaves `served`."""

    def __init__(self, served: bytes = b"") -> None:
        self.served = served
        self.words: list[str] = []
        self.folder: Path | None = None
        self.env: dict[str, str] = {}
        self.cwd: Path | None = None
        self.timeout_s: float | None = None

    def answer(self, call: Call) -> Finished:
        self.words, self.env, self.cwd, self.timeout_s = call.words, call.env, call.cwd, call.timeout_s
        if "download" in self.words:
            folder, name = (self.words[self.words.index(word) + 1] for word in ("--dir", "--pattern"))
            (Path(folder) / name).write_bytes(self.served)
            self.folder = Path(folder)
        return call.ended(said='{"isDraft": true, "isPrerelease": false}')

    def on(self, folder: Path, **token: str) -> GitHub:
        return GitHub(runner=self, cwd=folder, repository="o/r", tag="v1.0", token=token)


def drafted(github: GitHub, *, prerelease: bool) -> None:
    github.create(title="T", notes=Path("n.md"), prerelease=prerelease)


CALLS: list[tuple[Callable[[GitHub], object], str]] = [
    (GitHub.release, "view v1.0 --json assets,isDraft,isPrerelease,url"),
    (
        partial(drafted, prerelease=False),
        "create v1.0 --draft --verify-tag --title T --notes-file n.md",
    ),
    (
        partial(drafted, prerelease=True),
        "create v1.0 --draft --verify-tag --title T --notes-file n.md --prerelease",
    ),
    (partial(GitHub.upload, file=Path("a.whl")), "upload v1.0 a.whl"),
    (partial(GitHub.delete, name="a.whl"), "delete-asset v1.0 a.whl --yes"),
    (partial(GitHub.publish, prerelease=True), "edit v1.0 --draft=false --prerelease=true"),
    (partial(GitHub.publish, prerelease=False), "edit v1.0 --draft=false --prerelease=false"),
]


@pytest.mark.parametrize(("call", "said"), CALLS)
def test_each_call_names_its_release_and_its_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[GitHub], object], said: str
) -> None:
    """A word that gh does not know shows in a real release only; `--clobber` stands nowhere."""

    def found(name: str) -> str:
        return f"/bin/{name}"

    monkeypatch.setattr(shutil, "which", found)
    asked = Asked()
    call(asked.on(tmp_path))
    assert asked.words == ["/bin/gh", "release", *said.split(), "--repo", "o/r"]
    assert asked.cwd == tmp_path
    assert asked.timeout_s is not None, "a gh that waits for an answer would hold the release"


def test_a_gh_that_is_not_found_is_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What starts it then says that there is none."""

    def missing(_name: str) -> None:
        return None

    monkeypatch.setattr(shutil, "which", missing)
    asked = Asked()
    asked.on(tmp_path).release()
    assert asked.words[:2] == ["gh", "release"]


def test_gh_is_led_nowhere_else_and_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the token it is given counts; what would lead it to another host is not handed on."""
    for name in ("GH_HOST", "GH_REPO", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GH_DEBUG"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("GITHUB_TOKEN", "another's")
    monkeypatch.setenv("HOME", "kept")
    asked = Asked()
    asked.on(tmp_path, GH_TOKEN="given").release()
    asked.env.pop("GH_CONFIG_DIR", None)
    assert {name: value for name, value in asked.env.items() if name.startswith(("GH_", "GITHUB_T"))} == {
        "GH_PROMPT_DISABLED": "1",
        "GH_NO_UPDATE_NOTIFIER": "1",
        "GH_TOKEN": "given",
    }
    assert "elsewhere" not in asked.env.values()
    assert (asked.env["NO_COLOR"], asked.env["HOME"]) == ("1", "kept")


def test_a_file_that_github_has_no_digest_of_is_fetched(tmp_path: Path) -> None:
    """GitHub's word is taken where it gives one in SHA-256; otherwise the bytes speak."""
    asked = Asked(b"the file")
    github = asked.on(tmp_path)
    assert github.sha256(Asset(name="a.whl", digest="sha256:ab")) == "ab"
    assert asked.words == []
    assert github.sha256(Asset(name="a.whl")) == digest_of(b"the file")
    assert asked.folder is not None
    assert asked.folder.name.startswith("tta-announce-"), "who finds it there must know whose it is"
    assert not asked.folder.exists()
    assert github.sha256(Asset(name="a.whl", digest="sha512:cd")) == digest_of(b"the file")


def test_a_fetched_file_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    """The caller reads the file it is handed."""
    asked = Asked(b"the file")
    file = asked.on(tmp_path).fetch(Asset(name="a.whl"), tmp_path)
    assert file == tmp_path / "a.whl"
    assert file.read_bytes() == b"the file"
    assert asked.words[2:4] == ["download", "v1.0"]

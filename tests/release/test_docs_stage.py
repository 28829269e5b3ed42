"""The docs stage: Sphinx over the tree, every warning a refusal."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from release import docs
from release.model import Kind, Refused
from release.site.pages import FOLDER
from tests.release.gates.support import ScriptedRunner, make_context


class Site:
    """A tree whose Sphinx answers as told."""

    def __init__(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, *, there: bool = True, code: int = 0
    ) -> None:
        self.root, self.code = root, code
        self.said = "docs/x.md:3: WARNING: odd"
        self.environments: list[Mapping[str, str]] = []

        def find(name: str) -> object:
            return object() if there and name == "sphinx" else None

        monkeypatch.setattr(docs, "find_spec", find)
        self.runner = ScriptedRunner(self.answer)
        self.context, _ = make_context(root, self.runner)

    def answer(self, words: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        self.environments.append(env)
        assert "--fail-on-warning" in words
        site = Path(words[-1])
        assert not site.exists()
        (site / "a").mkdir(parents=True)
        (site / "index.html").write_text("x", encoding="utf-8")
        (site / "a" / "b.html").write_text("x", encoding="utf-8")
        return self.code, self.said


def test_docs_builds_anew_with_the_tree_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that was deleted is not left over, and the reference is read from this tree."""
    site = Site(tmp_path, monkeypatch)
    (tmp_path / docs.SITE).mkdir(parents=True)
    (tmp_path / docs.SITE / "old.html").write_text("x", encoding="utf-8")
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "code.md").touch()
    (tmp_path / FOLDER / "another.md").touch()
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("KEPT", "as it is")
    report = docs.run("docs", site.context)
    assert report.kind is Kind.DONE
    assert report.figures == {"pages": 2}
    assert report.sentence == "2 pages without a warning: report/site/index.html"
    assert site.runner.folders == [tmp_path]
    assert site.environments[0]["KEPT"] == "as it is"
    assert [(each.what, each.found) for each in report.checked] == [
        ("pages", "2"),
        ("read from the code", "another.md, code.md"),
    ]
    assert site.environments[0]["PYTHONPATH"].split(os.pathsep) == [str(tmp_path / "src"), str(tmp_path)]
    assert site.environments[0]["PYTHONWARNINGS"] == "", "a person's `error` would be another build"
    (words,) = site.runner.asked
    assert words == [
        *(sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--fresh-env"),
        *("--builder", "html", "--doctree-dir", str(tmp_path / "report" / "doctrees")),
        *(str(tmp_path / "docs"), str(tmp_path / docs.SITE)),
    ]


def test_docs_says_so_when_nothing_is_read_from_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site without its reference is half a site."""
    report = docs.run("docs", Site(tmp_path, monkeypatch).context)
    assert [each.found for each in report.checked] == ["2", "nothing"]


def test_docs_refuses_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken reference does not become a page."""
    site = Site(tmp_path, monkeypatch, code=1)
    with pytest.raises(Refused) as refused:
        docs.run("docs", site.context)
    (problem,) = refused.value.problems
    assert (problem.rule, problem.where) == ("docs.warnings", "docs/")
    assert problem.what == "Sphinx ended with exit code 1:\ndocs/x.md:3: WARNING: odd"
    site = Site(tmp_path / "other", monkeypatch, code=2)
    site.said = "\n".join(f"line {number}" for number in range(61))
    with pytest.raises(Refused) as refused:
        docs.run("docs", site.context)
    assert refused.value.problems[0].what.splitlines()[1:] == site.said.splitlines()[1:]


def test_docs_says_which_python_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with Python 3.12 alone the reason is named, and nothing is built."""
    site = Site(tmp_path, monkeypatch, there=False)
    with pytest.raises(Refused, match=r"docs\.sphinx") as refused:
        docs.run("docs", site.context)
    assert site.runner.asked == []
    here = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    (problem,) = refused.value.problems
    assert (problem.rule, problem.where) == ("docs.sphinx", here)

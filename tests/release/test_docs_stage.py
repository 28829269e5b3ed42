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
        return self.code, "docs/x.md:3: WARNING: odd"


def test_docs_builds_anew_with_the_tree_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that was deleted is not left over, and the reference is read from this tree."""
    site = Site(tmp_path, monkeypatch)
    (tmp_path / docs.SITE).mkdir(parents=True)
    (tmp_path / docs.SITE / "old.html").write_text("x", encoding="utf-8")
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / "code.md").touch()
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    report = docs.run("docs", site.context)
    assert report.kind is Kind.DONE
    assert report.figures == {"pages": 2}
    assert [(each.what, each.found) for each in report.checked] == [
        ("pages", "2"),
        ("read from the code", "code.md"),
    ]
    assert site.environments[0]["PYTHONPATH"].split(os.pathsep) == [str(tmp_path / "src"), str(tmp_path)]
    assert site.environments[0]["PYTHONWARNINGS"] == "", "a person's `error` would be another build"
    (words,) = site.runner.asked
    assert words == [
        *(sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--fresh-env"),
        *("--builder", "html", "--doctree-dir", str(tmp_path / "report" / "doctrees")),
        *(str(tmp_path / "docs"), str(tmp_path / docs.SITE)),
    ]


def test_docs_refuses_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken reference does not become a page."""
    site = Site(tmp_path, monkeypatch, code=1)
    with pytest.raises(Refused) as refused:
        docs.run("docs", site.context)
    assert refused.value.problems[0].rule == "docs.warnings"
    assert "docs/x.md:3: WARNING: odd" in refused.value.problems[0].what


def test_docs_says_which_python_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with Python 3.12 alone the reason is named, and nothing is built."""
    site = Site(tmp_path, monkeypatch, there=False)
    with pytest.raises(Refused, match=r"docs\.sphinx"):
        docs.run("docs", site.context)
    assert site.runner.asked == []

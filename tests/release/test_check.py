"""`python -m release check` holds any project's files against what an index asks of them."""

from pathlib import Path

import pytest

from release import check
from release.__main__ import main
from release.context import Options
from release.model import Kind, Refused
from release.rehearsal import archives, minting, rules, uploads
from tests.release.build_support import context_on
from tests.release.rehearsal.support import (
    METADATA,
    SDIST,
    SDIST_NAME,
    WHEEL,
    WHEEL_NAME,
    sdist_members,
    tarred,
    wheel_members,
    written,
    zipped,
)

LOCAL = METADATA.replace("Version: 1.0\n", "Version: 1.0+local\n").replace("Python :: 3", "Python :: 33")


def test_right_files_break_no_rule(tmp_path: Path) -> None:
    """A file that PyPI takes must not be talked down."""
    names = tuple(path.name for path in written(tmp_path))
    report = check.run("check", context_on(tmp_path, options=Options(words=names)))
    assert report.kind is Kind.DONE
    assert [(each.what, each.found) for each in report.checked[:2]] == [(n, "breaks no rule") for n in names]
    rules_held = len(check.CHECKED)
    assert report.sentence == f"2 files held against {rules_held} rules: PyPI would take them as files"
    assert report.checked[2].what.startswith(f"not checked ({len(check.NOT_CHECKED)} rules need ")
    assert report.checked[2].found == ", ".join(check.NOT_CHECKED)
    one = check.run("check", context_on(tmp_path, options=Options(words=names[:1])))
    assert one.sentence.startswith(f"1 file held against {rules_held} rules: ")


def test_every_problem_of_every_file_is_reported(tmp_path: Path) -> None:
    """A person mends all of them in one go, and sees which file breaks which rule."""
    files = {
        WHEEL_NAME: zipped(wheel_members(LOCAL).items()),
        SDIST_NAME: tarred({name: data for name, data in sdist_members().items() if "LICENSE" not in name}),
        "demo-project.zip": b"",
    }
    written(tmp_path, files)
    report = check.run("check", context_on(tmp_path, options=Options(words=(*files, "absent.whl"))))
    assert report.kind is Kind.REFUSED
    assert {problem.rule for problem in report.problems} == {
        "metadata.local-version",
        "metadata.classifier",
        "filename.version",
        "archive.licence-files",
        "filename.form",
        "check.readable",
    }
    assert report.checked[0].found == "breaks filename.version, metadata.classifier, metadata.local-version"
    (absent,) = [each for each in report.problems if each.rule == "check.readable"]
    assert absent.where == str(tmp_path / "absent.whl")
    assert absent.what == "cannot be read: No such file or directory"
    (local,) = [each for each in report.problems if each.rule == "metadata.local-version"]
    assert local.where.startswith(f"{WHEEL_NAME}: metadata")
    assert report.sentence == f"4 files held against {len(check.CHECKED)} rules: 6 problems"


@pytest.mark.parametrize(("names", "told"), [(("a.zip",), "1 problem"), (("a.zip", "b.zip"), "2 problems")])
def test_problems_are_counted(tmp_path: Path, names: tuple[str, ...], told: str) -> None:
    """The last line is what a person reads first."""
    written(tmp_path, dict.fromkeys(names, b""))
    report = check.run("check", context_on(tmp_path, options=Options(words=names)))
    assert report.sentence.endswith(f" rules: {told}")


def test_archive_without_metadata_is_reported_alone(tmp_path: Path) -> None:
    """What cannot be opened has no metadata to hold against anything."""
    written(tmp_path, {WHEEL_NAME: b"not a zip"})
    assert {problem.rule for problem in check.file_problems(tmp_path / WHEEL_NAME)} == {"archive.readable"}


def test_file_above_the_limit_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index would answer so only after the upload of 100 MiB."""
    (path,) = written(tmp_path, {SDIST_NAME: SDIST})
    monkeypatch.setattr(uploads, "MAX_FILE", len(SDIST))
    assert check.file_problems(path) == []
    monkeypatch.setattr(uploads, "MAX_FILE", len(SDIST) - 1)
    (problem,) = check.file_problems(path)
    assert (problem.rule, problem.where) == ("upload.size", SDIST_NAME)
    assert problem.what == f"has {len(SDIST)} bytes, {len(SDIST) - 1} are allowed"


def test_every_rule_of_the_index_is_checked_or_named_as_not_checked() -> None:
    """A rule in neither list would read as kept."""
    asked = {*rules.FILE_RULES, *rules.FORM_RULES, *archives.RULES, *uploads.STATE_RULES}
    assert check.CHECKED | {*check.NOT_CHECKED} == asked
    assert not check.CHECKED & {*check.NOT_CHECKED}
    assert "upload.exists" in check.NOT_CHECKED
    assert not asked & {*minting.RULES}


def test_no_file_is_a_usage_error(tmp_path: Path) -> None:
    """A check of nothing must not pass."""
    with pytest.raises(Refused) as caught:
        check.run("check", context_on(tmp_path, options=Options()))
    assert caught.value.kind is Kind.USAGE
    (problem,) = caught.value.problems
    assert (problem.rule, problem.where) == ("check.named", "command line")
    assert "name wheels and sdists" in str(caught.value)


def test_command_line_hands_files_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command as the documents have it, on a wheel given by an absolute path."""
    (path,) = written(tmp_path, {WHEEL_NAME: WHEEL})
    assert main(["check", str(path)], root=tmp_path) == 0
    said = capsys.readouterr().out
    assert "not checked (" in said
    assert said.rstrip().endswith("PyPI would take them as files")

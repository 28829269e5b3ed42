"""What stands in `dist/` and `ledger/` when a build ends, from whatever a build before left."""

from pathlib import Path

import pytest

from release.context import Context
from release.dist import dist_problems, keep
from release.ledger import Ledger, Opening
from release.model import Artifact, Refused
from release.resume import Build
from release.rules.archives import digest_of
from tests.release.build_support import rules, zipped
from tests.release.ledger_support import opening
from tests.release.repo_support import NOW, context_on, printed

WHEEL, SDIST = "demo-0.1.0-py3-none-any.whl", "demo-0.1.0.tar.gz"
FILES = {WHEEL: zipped([("demo/__init__.py", b"one\n")]), SDIST: b"sdist"}
OTHER = {WHEEL: zipped([("demo/__init__.py", b"two\n")]), SDIST: b"sdist"}


def of(files: dict[str, bytes], commit: str = "a" * 40) -> Opening:
    artifacts = tuple(
        Artifact(name=name, size=len(data), sha256=digest_of(data)) for name, data in files.items()
    )
    return opening(artifacts=artifacts, commit=commit)


def write(folder: Path, files: dict[str, bytes]) -> list[Path]:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name.startswith(("dist", "ledger")))


@pytest.fixture
def context(tmp_path: Path) -> Context:
    root = tmp_path / "root"
    root.mkdir()
    return context_on(root)


def kept(
    context: Context, decision: Build, ledger: Ledger | None, files: dict[str, bytes], **more: str
) -> Ledger:
    made = write(context.root.parent / f"made-{len(list(context.root.parent.iterdir()))}", files)
    return keep(context, decision, ledger, of(files, **more), made)


def test_a_first_build_places_both_files_and_opens_the_ledger(context: Context) -> None:
    """What was built is there, whole, and bound."""
    ledger = kept(context, Build.OPEN, None, FILES)
    assert read(context.dist) == FILES
    assert folders(context.root) == ["dist", "ledger"]
    assert ledger.opening == of(FILES)
    assert ledger.opened_at == NOW.replace(microsecond=0)


def test_a_comparison_that_fits_changes_nothing(context: Context) -> None:
    """The same commit again is a check."""
    first = kept(context, Build.OPEN, None, FILES)
    again = kept(context, Build.COMPARE, first, FILES)
    assert again.head == first.head
    assert read(context.dist) == FILES


def test_a_comparison_that_does_not_fit_names_the_member(context: Context) -> None:
    """A person sees what the tools of today do differently."""
    first = kept(context, Build.OPEN, None, FILES)
    with pytest.raises(Refused) as caught:
        kept(context, Build.COMPARE, first, OTHER)
    assert set(rules(caught.value.problems)) == {"build.same-bytes"}
    told = [problem.what for problem in caught.value.problems]
    assert any("demo/__init__.py differs from byte 0" in what for what in told)
    assert any(what.endswith("(first: dist/, second: made now)") for what in told)
    assert read(context.dist) == FILES


@pytest.mark.parametrize("name", [WHEEL, SDIST])
def test_an_edited_file_in_dist_is_refused_and_not_repaired(context: Context, name: str) -> None:
    """A byte flipped after the build is found, and nothing is mended behind a person's back."""
    first = kept(context, Build.OPEN, None, FILES)
    edited = bytearray(FILES[name])
    edited[len(edited) // 2] ^= 1
    (context.dist / name).write_bytes(bytes(edited))
    with pytest.raises(Refused) as caught:
        kept(context, Build.COMPARE, first, FILES)
    assert "build.dist" in rules(caught.value.problems)
    assert (context.dist / name).read_bytes() == bytes(edited)


@pytest.mark.parametrize("damage", ["extra", "missing", "folder"])
def test_a_dist_that_is_not_exactly_the_ledgers_files_is_refused(context: Context, damage: str) -> None:
    """`dist/` holds the wheel and the sdist, and nothing else."""
    first = kept(context, Build.OPEN, None, FILES)
    if damage == "extra":
        (context.dist / "README.txt").write_text("hello", encoding="utf-8")
    else:
        (context.dist / WHEEL).unlink()
    if damage == "folder":
        (context.dist / WHEEL).mkdir()
    with pytest.raises(Refused) as caught:
        kept(context, Build.COMPARE, first, FILES)
    assert rules(caught.value.problems) == ["build.dist"]
    assert caught.value.problems[0].where == f"dist/{'README.txt' if damage == 'extra' else WHEEL}"


def test_a_dist_that_is_gone_is_made_again(context: Context) -> None:
    """Cleaned up, or lost: the same bytes come back, and the ledger stays."""
    first = kept(context, Build.OPEN, None, FILES)
    context.dist.rename(context.root / "gone")
    assert kept(context, Build.COMPARE, first, FILES).head == first.head
    assert read(context.dist) == FILES


def test_other_bytes_do_not_take_the_place_of_a_dist_that_is_gone(context: Context) -> None:
    """Nothing stands there to compare with: the ledger's digests still say what was built."""
    first = kept(context, Build.OPEN, None, FILES)
    context.dist.rename(context.root / "gone")
    with pytest.raises(Refused) as caught:
        kept(context, Build.COMPARE, first, OTHER)
    assert rules(caught.value.problems) == ["build.same-bytes"]
    assert folders(context.root) == ["ledger"]


def test_a_dist_that_cannot_be_written_is_said(context: Context) -> None:
    """A full disk, or as here a file in the way: a reason, no traceback, and nothing half-written stands."""
    (context.root / "dist.new").write_text("in the way")
    with pytest.raises(Refused) as caught:
        kept(context, Build.OPEN, None, FILES)
    assert [(problem.rule, problem.where) for problem in caught.value.problems] == [
        ("build.dist-written", "dist/")
    ]
    assert folders(context.root) == ["dist.new"]
    (context.root / "dist.new").unlink()
    kept(context, Build.OPEN, None, FILES)
    assert read(context.dist) == FILES


def test_a_build_killed_while_it_placed_the_files_is_taken_up(context: Context) -> None:
    """A half-written folder is never `dist/`."""
    write(context.root / "dist.new", {"half.whl": b"half"})
    kept(context, Build.OPEN, None, FILES)
    assert folders(context.root) == ["dist", "ledger"]
    assert read(context.dist) == FILES


def test_a_build_killed_before_it_opened_the_ledger_is_taken_up(context: Context) -> None:
    """`dist/` stands, the ledger does not: the same bytes stay where they are."""
    write(context.dist, FILES)
    kept(context, Build.OPEN, None, FILES)
    assert folders(context.root) == ["dist", "ledger"]


def test_files_that_no_ledger_speaks_of_are_kept_aside(context: Context) -> None:
    """Nothing is overwritten."""
    write(context.dist, OTHER)
    kept(context, Build.OPEN, None, FILES)
    assert folders(context.root) == ["dist", "dist.unknown", "ledger"]
    assert read(context.root / "dist.unknown") == OTHER
    assert "dist/ is of another commit: kept as dist.unknown/" in printed(context)


def test_another_commits_folders_are_kept_under_its_name(context: Context) -> None:
    """The record of what was built before stays readable, however often."""
    first = kept(context, Build.OPEN, None, FILES)
    second = kept(context, Build.SET_ASIDE, first, OTHER, commit="b" * 40)
    assert folders(context.root) == ["dist", f"dist.{'a' * 12}", "ledger", f"ledger.{'a' * 12}"]
    assert read(context.root / f"dist.{'a' * 12}") == FILES
    assert Ledger.read(context.root / f"ledger.{'a' * 12}").genesis == first.genesis
    assert Ledger.read(context.ledger).opening.commit == second.opening.commit == "b" * 40


def test_a_build_killed_between_the_two_folders_is_taken_up(context: Context) -> None:
    """The old ledger is aside, the old files are not yet: they follow."""
    first = kept(context, Build.OPEN, None, FILES)
    context.ledger.rename(context.root / f"ledger.{'a' * 12}")
    del first
    kept(context, Build.OPEN, None, OTHER, commit="b" * 40)
    assert folders(context.root) == ["dist", "dist.unknown", "ledger", f"ledger.{'a' * 12}"]
    assert read(context.dist) == OTHER


def test_a_ledger_that_went_away_meanwhile_is_not_missed(context: Context) -> None:
    """Somebody moved it while the build ran: there is nothing left to set aside."""
    first = kept(context, Build.OPEN, None, FILES)
    context.ledger.rename(context.root / "elsewhere")
    kept(context, Build.SET_ASIDE, first, OTHER, commit="b" * 40)
    assert folders(context.root) == ["dist", f"dist.{'a' * 12}", "ledger"]


def test_no_dist_has_no_problem_of_its_own(tmp_path: Path) -> None:
    """Whoever needs the files says so; whoever makes them does not."""
    assert dist_problems(tmp_path / "dist", of(FILES).artifacts) == []

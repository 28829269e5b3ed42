"""`tta-adopt imports` on a repository shaped like TTA, whose own tests run before and after."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.library.adopt.trees import adopt, write
from tests.library.adopt.tta_tree import FIRST, SECOND, imported_by, run_own_tests, tta
from tests.library.support.servers import RealServer
from tta_agent_coordination.adopt.imports.moved import MODULES

DEFINE = {f"{copy}/{name.replace('.', '/')}.py" for copy in (FIRST, SECOND) for name in MODULES}
COORDINATOR = "coordinators.redis_message_coordinator"


def files(root: Path) -> dict[str, bytes]:
    """Return every Python file below a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.py"))}


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    """Return the files that differ."""
    return {path for path in before | after if before.get(path) != after.get(path)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the repository on disk."""
    return write(tmp_path / "tta", tta())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_re_exports_change_no_consumer_and_its_tests_pass(
    root: Path, shared_server: RealServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: TTA cannot take the package in without touching its 85 files."""
    before = files(root)
    assert run_own_tests(root, shared_server.port).startswith("12 passed")
    assert adopt("imports", str(root), "--shim", "--apply") == 1
    assert changed(before, files(root)) == DEFINE
    assert "20 of 20 files written: 20 modules re-exported, 0 statements rewritten" in capsys.readouterr().out
    assert run_own_tests(root, shared_server.port).startswith("12 passed")
    for package in ("src.agent_orchestration", "tta_ai.orchestration"):
        module = f"{package}.{COORDINATOR}"
        base = imported_by(
            root,
            f"from {module} import RedisMessageCoordinator as c",
            "[b.__module__ for b in c.__mro__][:2]",
        )
        assert "tta_agent_coordination.coordinators.redis_message_coordinator" in base
    assert (root / SECOND / "models.py").read_text("utf-8").count(
        "class AgentId(BaseAgentId, frozen=True):\n    type: AgentType\n"
    ) == 1
    once = files(root)
    assert adopt("imports", str(root), "--shim", "--apply") == 1
    assert changed(once, files(root)) == set()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_rewritten_imports_pass_too_and_what_only_re_exports_can_go(
    root: Path, shared_server: RealServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: a name is imported from where it is not, or v0's modules can never be deleted."""
    other = Path(shutil.copytree(root, root.parent / "other"))
    assert adopt("imports", str(root), "--rewrite", "--apply") == 1
    assert "20 modules re-exported, 42 statements rewritten, 19 of them split" in capsys.readouterr().out
    assert run_own_tests(root, shared_server.port).startswith("12 passed")
    once = files(root)
    assert adopt("imports", str(root), "--rewrite", "--apply") == 1
    assert changed(once, files(root)) == set()
    # One step or two come to the same.
    assert adopt("imports", str(other), "--shim", "--apply") == 1
    assert adopt("imports", str(other), "--rewrite", "--apply") == 1
    assert changed(once, files(other)) == set()
    capsys.readouterr()
    adopt("status", str(root), "--format", "json")
    for copy in json.loads(capsys.readouterr().out)["copies"]:
        assert copy["only_re_export"]
        for name in copy["only_re_export"]:
            (root / copy["folder"] / f"{name.replace('.', '/')}.py").unlink()
    assert run_own_tests(root, shared_server.port).startswith("12 passed")


def test_dry_run_prints_what_apply_writes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: what was read is not what is done, or reading already does it."""
    before = files(root)
    assert adopt("imports", str(root), "--rewrite") == 1
    assert files(root) == before
    diff, _, report = capsys.readouterr().out.partition("README.md:3: ")
    assert "42 statements rewritten, 19 of them split" in report
    patched = shutil.copytree(root, root.parent / "patched")
    subprocess.run(["git", "apply", "-"], cwd=patched, input=diff, text=True, check=True)
    assert adopt("imports", str(root), "--rewrite", "--apply") == 1
    assert files(Path(patched)) == files(root)
    assert list(root.rglob("*.tta-adopt")) == []


def test_findings_have_the_lines_that_a_person_sees(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: the list leads to other lines, before the change or after it."""
    for words in ((), ("--apply",)):
        adopt("imports", str(root), "--shim", "--format", "json", *words)
        rows = json.loads(capsys.readouterr().out)["findings"]
        seen = 0
        for row in rows:
            if row["rule"] in {"agent-id.type", "sys.path"} and row["file"].endswith(".py"):
                line = (root / row["file"]).read_text("utf-8").splitlines()[row["line"] - 1]
                assert (".type" if row["rule"] == "agent-id.type" else "sys.path.insert") in line
                seen += 1
        assert seen == 13


def test_report_as_json_is_for_programs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a program has to parse sentences, or a diff."""
    assert adopt("imports", str(root), "--rewrite", "--format", "json") == 1
    said = capsys.readouterr()
    data = json.loads(said.out)
    assert said.err.startswith("--- a/")
    assert (data["files"], len(data["modules"]), data["statements"], data["split"]) == (47, 20, 42, 19)
    assert (len(data["changes"]), data["written"]) == (31, [])
    assert {row["rule"] for row in data["findings"]} == {
        "agent-id.type",
        "class.half",
        "collector.second",
        "module.copies",
        "private.attribute",
        "prose.module",
        "redis.key",
        "sys.path",
    }
    assert set(data["findings"][0]) == {"rule", "file", "line", "what", "remedy"}


def test_tree_without_v0_is_exit_code_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: what is done goes on failing."""
    write(tmp_path, {"a.py": "from orchestration import x\n"})
    assert adopt("imports", str(tmp_path), "--rewrite") == 0
    assert capsys.readouterr().out == (
        "1 files read, 0 files to write: 0 modules re-exported, 0 statements rewritten, 0 of them split; "
        "0 findings\n"
    )


def test_one_of_the_two_ways_has_to_be_chosen(tmp_path: Path) -> None:
    """Broken: a run without a choice rewrites everything."""
    for words in ((), ("--shim", "--rewrite")):
        with pytest.raises(SystemExit) as ended:
            adopt("imports", str(tmp_path), *words)
        assert ended.value.code == 2


def test_file_that_cannot_be_written_is_one_line_and_the_rest_is_written(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: one folder without rights stops a run in its middle, and nobody knows where."""
    replace = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if target.name == "metrics.py":
            raise PermissionError(13, "Permission denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    before = files(root)
    assert adopt("imports", str(root), "--shim", "--apply") == 1
    said = capsys.readouterr().out
    assert f"{FIRST}/metrics.py:1: input.unwritable: cannot be written: Permission denied; " in said
    assert "18 of 20 files written" in said
    assert changed(before, files(root)) == {path for path in DEFINE if not path.endswith("/metrics.py")}
    assert [*root.rglob("*.tta-adopt")] == []

"""The generated pages of a tree in small: what is read from where."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from release.site import pages
from tests.release.build_support import exported

PACKAGE = "src/tta_agent_coordination"
TABLE = '"""Counts.\n\n    | name | kind |\n    |---|---|\n    | `{0}_ä` | gauge |\n    """\n'
TREE = {
    f"{PACKAGE}/__init__.py": 'raise ValueError("the root is wrong, ä")\n',
    f"{PACKAGE}/worker/__init__.py": "",
    f"{PACKAGE}/worker/pump.py": (
        "import logging\nimport sys\n_log = logging.getLogger(__name__)\n\n\ndef run():\n"
        '    _log.warning("%s is late", agent)\n    print("no server is there", file=sys.stderr)\n'
    ),
    f"{PACKAGE}/worker/quiet.py": "def run():\n    pass\n",
    f"{PACKAGE}/adopt/rules.py": 'Finding(rule="a.rule", file="x", what="it is so", remedy="mend it")\n',
    f"{PACKAGE}/doctor/kinds.py": 'Kind(name="stale", what="old keys", mending="deletes them")\n',
    f"{PACKAGE}/_redis/lua/take.lua": "-- Purpose: take one, ä.\n-- KEYS:\n--   1 from zset entries\n",
    f"{PACKAGE}/_redis/lua/give.lua": "-- Purpose: give one.\n",
    f"{PACKAGE}/exporters/prometheus.py": "class PrometheusMetrics:\n    " + TABLE.format("scraped"),
    f"{PACKAGE}/exporters/otel.py": "class OpenTelemetryMetrics:\n    " + TABLE.format("pushed"),
    "release/gates/gate.py": 'Problem(rule="a.gate", where="here", what="it is open", remedy="ä")\n',
    "noxfile.py": '@nox.session\ndef lint(session):\n    """Style, ä."""\n',
}


@pytest.fixture(name="made")
def made_pages(tmp_path: Path) -> dict[str, str]:
    return pages.generate(exported(TREE, tmp_path))


def test_messages_are_read_from_every_module_below_its_folder(made: dict[str, str]) -> None:
    """Each under the name by which a reader imports the module; the root has the package's own."""
    heads = ("| rule |", "| kind |", "| message |", "| level |")
    rows = [line for line in made["errors.md"].splitlines() if line.startswith("| ")]
    assert [row for row in rows if not row.startswith(heads)] == [
        "| the root is wrong, ä | `tta_agent_coordination` |",
        "| warning | {agent} is late | `worker.pump.run` |",
        "| no server is there | `worker.pump.run` |",
        "| `a.rule` | x | it is so | mend it |",
        "| `stale` | old keys | deletes them |",
        "| `a.gate` | here | it is open | ä |",
    ]


def test_scripts_metrics_and_sessions_are_read_from_their_files(made: dict[str, str]) -> None:
    """Scripts by name; of each adapter the table in its class."""
    assert sorted(made) == ["api.md", "errors.md", "keys.md", "metrics.md", "scripts.md", "sessions.md"]
    assert re.findall(r"^## (\w+)\n\n(.*)\n", made["scripts.md"], re.MULTILINE) == [
        ("give", "Give one."),
        ("take", "Take one, ä."),
    ]
    assert "| `from` | zset | entries | take |" in made["keys.md"]
    assert "## PrometheusMetrics\n\n| name | kind |\n|---|---|\n| `scraped_ä` |" in made["metrics.md"]
    assert "## OpenTelemetryMetrics\n\n| name | kind |\n|---|---|\n| `pushed_ä` |" in made["metrics.md"]
    assert "| `lint` | Style, ä. |" in made["sessions.md"]


def test_keys_are_those_that_the_package_makes(made: dict[str, str]) -> None:
    """With hash tags the same key, its part in braces aside; what is of no agent has none."""
    shown = re.findall(r"^\| ([\w, ]+) \| `([^`]+)` \| `([^`]+)` \|$", made["keys.md"], re.MULTILINE)
    rows = {owner: (plain, tagged) for owner, plain, tagged in shown}
    assert len(rows) == len(shown) == len({plain for plain, _ in rows.values()})
    assert all(tagged.replace("{", "").replace("}", "") == plain for plain, tagged in rows.values())
    alike = {owner for owner, (plain, tagged) in rows.items() if plain == tagged}
    assert alike == {"all inboxes", "subscribers of a type", "all breakers", "breaker, channel"}
    assert all(
        re.search(r"\{(world_builder:main|payments)\}", tagged)
        for owner, (_, tagged) in rows.items()
        if owner not in alike
    )
    assert rows["inbox, dlq info"] == ("ao:dlq_info:world_builder:main", "ao:dlq_info:{world_builder:main}")
    assert rows["lane"][0] == "ao:op:world_builder:main:OWNER:0"
    assert rows["idempotency key"][0] == "ao:dedup:world_builder:main:bdbeeb7686a17a2b05e0bc0ea6c91696"
    assert rows["all breakers"][0] == "ao:cb:registry"
    assert rows["all inboxes"][0] == "ao:inboxes"
    assert rows["subscribers of a type"][0] == "ao:subscribers:event"
    assert rows["breaker, shared"] == ("ao:cb:shared:payments", "ao:cb:shared:{payments}")
    owners = [owner for owner, _, _ in shown]
    assert [owner for owner in owners if not owner.startswith(("inbox, ", "breaker, "))] == [
        *("lane", "idempotency key", "all inboxes", "subscribers of a type", "all breakers")
    ]
    for kind in ("inbox, ", "breaker, "):
        fields = [owner for owner in owners if owner.startswith(kind)]
        assert fields == sorted(fields)


def test_public_names_are_classes_and_functions_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A constant has its place in the text, and what two modules export is one thing."""
    root, beside = ModuleType("demo"), ModuleType("demo.beside")

    class Inbox:
        """A class."""

    class Full(Exception):  # noqa: N818 - as a user may call it
        """An exception."""

    def ask() -> None:
        """A function."""

    def never(name: str) -> None:
        pytest.fail(f"asked for {name}: a version is known only of what is installed")

    for module, names in ((root, [Inbox, Full]), (beside, [Inbox, ask])):
        module.__dict__.update({each.__name__: each for each in names}, LIMIT=7, __getattr__=never)
        module.__dict__["__all__"] = ["LIMIT", "__version__", *(each.__name__ for each in names)]
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for each in (Inbox, Full, ask):
        each.__module__ = "demo.inner" if each is not ask else "demo.beside"
    monkeypatch.setattr(pages, "PACKAGE", "demo")
    monkeypatch.setattr(pages, "BESIDE", ("beside", "absent"))
    monkeypatch.setattr(pages, "find_spec", {"demo.beside": root, "demo.absent": None}.__getitem__)
    found = pages.public_names()
    assert found == {
        "demo.beside": [("ask", "function")],
        "demo.inner": [("Full", "exception"), ("Inbox", "class")],
    }
    assert [*found] == sorted(found)


def test_pages_are_written_and_left_alone_when_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that changes nothing touches no file, so that only what changed is read again."""
    texts = {"b.md": "one, ä\n", "a.md": "two\n"}

    def made(root: Path) -> dict[str, str]:
        assert root == tmp_path
        return texts

    monkeypatch.setattr(pages, "generate", made)
    folder = tmp_path / "docs" / "reference" / "generated"
    for _ in range(2):
        assert pages.write(tmp_path) == [folder / "b.md", folder / "a.md"]
    assert {path.name: path.read_bytes().decode() for path in folder.iterdir()} == texts
    before = (folder / "a.md").stat().st_mtime_ns
    (folder / "b.md").write_text("stale", encoding="utf-8")
    pages.write(tmp_path)
    assert {path.name: path.read_bytes().decode() for path in folder.iterdir()} == texts
    assert (folder / "a.md").stat().st_mtime_ns == before

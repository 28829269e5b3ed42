"""Pages from Python: the public API and the sessions."""

import pytest

from release.site import code

NOXFILE = '''
@nox.session(python=MAIN)
def lint(session):
    """Style | types:
    any finding fails."""

@other
def helper():
    """No session."""

@nox.session
def bare(session):
    pass
'''


def test_sessions_page_is_the_noxfiles_docstrings() -> None:
    """A person who reads the page knows what `nox -l` shows, and no helper is taken for a session."""
    page = code.sessions_page(NOXFILE)
    assert page.startswith("# Sessions\n")
    assert page.partition("| session | what it does |\n|---|---|\n")[2] == (
        "| `lint` | Style \\| types: any finding fails. |\n| `bare` |  |\n"
    )


def test_api_page_asks_autodoc_for_each_name() -> None:
    """Classes with their members, functions without."""
    page = code.api_page(
        {
            "pkg.mod": [("Box", "class"), ("OddError", "exception"), ("run", "function")],
            "pkg.other": [("stop", "function")],
        }
    )
    assert page.startswith("# API\n")
    assert page.partition("\n\n## ")[2] == (
        "pkg.mod\n\n```{eval-rst}\n"
        ".. autoclass:: pkg.mod.Box\n   :members:\n   :show-inheritance:\n\n"
        ".. autoexception:: pkg.mod.OddError\n   :members:\n   :show-inheritance:\n\n"
        ".. autofunction:: pkg.mod.run\n\n```\n\n"
        "## pkg.other\n\n```{eval-rst}\n.. autofunction:: pkg.other.stop\n\n```\n"
    )


def test_tables_in_docstrings_become_what_autodoc_reads() -> None:
    """A Markdown table is a table on the site too; anything else with bars stays as it is."""
    text = ["Before.", "", "    | a | b |", "    |---|:-:|", "    | 1 | |", "after", "| no table"]
    assert code.as_rst(text) == [
        "Before.",
        "",
        "",
        "    .. list-table::",
        "       :header-rows: 1",
        "",
        "       * - a",
        "         - b",
        "       * - 1",
        "         -",
        "",
        "after",
        "| no table",
    ]
    assert code.as_rst(["| a |", "| b |"]) == ["| a |", "| b |"]
    assert code.as_rst(["  |Xa|", "|---|"])[1] == "  .. list-table::"
    assert code.as_rst(["|Xa|bX|", "|---|---|"])[4:6] == ["   * - Xa", "     - bX"]
    assert (
        code.as_rst(["|a|", "|-|"])
        == ["", ".. list-table::", "   :header-rows: 1", "", "   * - a", "", ""][:-1]
    )


def test_metrics_page_needs_a_table_of_each_adapter() -> None:
    """An adapter without its table would be an empty chapter."""
    source = (
        'class Counts:\n    """Counts.\n\n    | name | kind |\n    |---|---|\n    | `a` | gauge |\n    """\n'
    )
    page = code.metrics_page({"Counts": source, "More": source.replace("Counts", "More")})
    assert page.startswith("# Metrics\n")
    table = "| name | kind |\n|---|---|\n| `a` | gauge |\n"
    assert page.partition("\n\n## ")[2] == f"Counts\n\n{table}\n## More\n\n{table}"
    for other in ("class Other: pass\n", 'class Counts:\n    """Counts."""\n', "x = 1\n"):
        with pytest.raises(ValueError, match="Counts has no table"):
            code.metrics_page({"Counts": other})

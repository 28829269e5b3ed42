"""The site's settings; `python -m nox -s docs` builds it. Nothing is fetched from the network."""

import tomllib
from pathlib import Path

from sphinx.application import Sphinx

from release.site.code import as_rst
from release.site.pages import write

ROOT = Path(__file__).resolve().parents[1]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = str(_PROJECT["name"])
author = str(_PROJECT["authors"][0]["name"])
release = version = str(_PROJECT["version"])
html_title = project
html_theme = "furo"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.mermaid"]
# An ordinary ```mermaid fence, which GitHub draws too.
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 4
# Docstrings write code in single back ticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
# Links to the repository's other files work on GitHub; on the site they would need the repository's address.
suppress_warnings = ["myst.xref_missing"]
exclude_patterns = ["**/README.md"]


def _docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Let tables in docstrings through: autodoc reads reStructuredText."""
    del app, what, name, obj, options
    lines[:] = as_rst(lines)


def setup(app: Sphinx) -> None:
    """Write the generated pages before anything is read."""
    write(ROOT)
    app.connect("autodoc-process-docstring", _docstring, priority=100)

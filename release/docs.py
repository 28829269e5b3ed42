"""The `docs` stage: the reference from the code, and the whole site with it; a warning is a failure.

Offline: nothing is fetched, so what a page needs from elsewhere would be a broken page here first.
"""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from release.context import Context
from release.model import Checked, Kind, Problem, Refused, Report
from release.site.pages import FOLDER

__all__ = ["SITE", "run"]

SITE = "report/site"
"""Where the finished site stands."""


def run(stage: str, context: Context) -> Report:
    """Build the site anew; refuse with every warning."""
    del stage
    if find_spec("sphinx") is None:
        raise Refused(
            Problem(
                rule="docs.sphinx",
                where=f"Python {sys.version_info.major}.{sys.version_info.minor}",
                what="has no Sphinx: the locked one needs Python 3.13 or newer",
                remedy="install Python 3.13 or newer so that `python3.13` starts it, then `nox -s docs`",
            )
        )
    site = context.root / SITE
    shutil.rmtree(site, ignore_errors=True)
    paths = [str(context.root / "src"), str(context.root)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": ""}
    words = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--fresh-env"]
    words += ["--builder", "html", "--doctree-dir", str(context.root / "report" / "doctrees")]
    built = context.runner([*words, str(context.root / "docs"), str(site)], cwd=context.root, env=env)
    if not built.ok:
        raise Refused(
            Problem(
                rule="docs.warnings",
                where="docs/",
                what=f"Sphinx ended with exit code {built.code}:\n{built.tail(60)}",
                remedy="mend the page or docstring that each line names, then run `nox -s docs` again",
            )
        )
    pages = _names(site, "*.html")
    generated = _names(context.root / FOLDER, "*.md")
    return Report(
        kind=Kind.DONE,
        sentence=f"{len(pages)} pages without a warning: {SITE}/index.html",
        checked=[
            Checked(what="pages", found=str(len(pages))),
            Checked(what="read from the code", found=", ".join(generated) or "nothing"),
        ],
        figures={"pages": len(pages)},
    )


def _names(folder: Path, pattern: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob(pattern))

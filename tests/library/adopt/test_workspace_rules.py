"""Every rule of `tta-adopt workspace`: a workspace in order breaks none, one change breaks exactly one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.library.adopt.trees import (
    CI,
    ENGINE,
    MEMBER,
    TOOLKIT,
    all_with,
    built_by,
    code,
    found,
    in_order,
    more,
    nested_licence,
    replaced,
    rootless,
    toolkit_with,
    without,
)
from tta_agent_coordination.adopt import fixes
from tta_agent_coordination.adopt.rules import RULES
from tta_agent_coordination.adopt.tables import line_of, strings
from tta_agent_coordination.adopt.tree import matches


def excluding_the_framework() -> dict[str, str]:
    """Return one pyproject: a root that keeps out what another member requires."""
    files = replaced(
        "pyproject.toml", '["packages/*"]', '["packages/*"]\nexclude = ["packages/tta-ai-framework"]'
    )
    return {"pyproject.toml": files["pyproject.toml"]}


def test_workspace_in_order_breaks_no_rule(tmp_path: Path) -> None:
    """Broken: a person cannot reach zero findings."""
    assert found(tmp_path, in_order()) == []


ONE_CHANGE = [
    (
        "workspace.member",
        "pyproject.toml",
        9,
        replaced("pyproject.toml", '"packages/*"', '"packages/[atu]*y*"'),
    ),
    (
        "workspace.member",
        "pyproject.toml",
        9,
        replaced(
            "pyproject.toml", '["packages/*"]', '["packages/*"]\nexclude = ["./packages/ai-dev-toolki[t]/"]'
        )
        | {"packages/ai-dev-toolkit/sub/readme": ""},
    ),
    (
        "workspace.member",
        "pyproject.toml",
        9,
        replaced(ENGINE, "workspace = true", 'path = "../tta-ai-framework"') | excluding_the_framework(),
    ),
    (
        "workspace.member",
        "pyproject.toml",
        9,
        replaced(ENGINE, "[tool.uv.sources]\ntta-ai-framework = { workspace = true }\n", "")
        | excluding_the_framework(),
    ),
    ("workspace.member", TOOLKIT, 15, toolkit_with("\n[tool.uv]\nmanaged = false\n")),
    ("workspace.folder", "pyproject.toml", 9, {**in_order(), "packages/other/readme": "no pyproject"}),
    (
        "workspace.folder",
        "pyproject.toml",
        11,
        replaced("pyproject.toml", '["packages/*"]', '[\n  "packages/*",\n  "packages/gone",\n]'),
    ),
    ("workspace.nested", TOOLKIT, 14, toolkit_with('\n[tool.uv.workspace]\nmembers = ["x"]\n')),
    ("workspace.sources", TOOLKIT, 1, without("packages/ai-dev-toolkit/src/ai_dev_toolkit/__init__.py")),
    (
        "workspace.sources",
        TOOLKIT,
        1,
        {
            **without("packages/ai-dev-toolkit/src/ai_dev_toolkit/__init__.py"),
            TOOLKIT: in_order()[TOOLKIT].replace("hatchling", "flit_core"),
            "packages/ai-dev-toolkit/tests/test_x.py": "",
            "packages/ai-dev-toolkit/setup.py": "",
        },
    ),
    ("workspace.sources", TOOLKIT, 1, built_by("maturin", {"Cargo.toml": "", "tests/all.rs": ""})),
    ("workspace.sources", TOOLKIT, 1, built_by("uv_build", {"src/ai_dev_toolkit/a.py": ""})),
    (
        "workspace.sources",
        TOOLKIT,
        1,
        built_by(
            "uv_build", {"src/a/b.py": ""}, '[tool.uv.build-backend]\nmodule-name = "a.c"\nnamespace = true\n'
        ),
    ),
    (
        "workspace.sources",
        TOOLKIT,
        1,
        built_by("hatchling", {"a/ai_dev_toolkit/__init__.py": "", "b/ai_dev_toolkit/__init__.py": ""}),
    ),
    (
        "workspace.sources",
        TOOLKIT,
        15,
        toolkit_with('\n[tool.hatch.build.targets.wheel]\npackages = ["src/ai_dev_toolkit", "src/gone"]\n'),
    ),
    ("source.workspace", ENGINE, 15, replaced(ENGINE, "workspace = true", 'path = "../tta-ai-framework"')),
    (
        "source.workspace",
        ENGINE,
        12,
        replaced(ENGINE, "[tool.uv.sources]\ntta-ai-framework = { workspace = true }\n", ""),
    ),
    (
        "source.folder",
        TOOLKIT,
        15,
        toolkit_with('\n[tool.uv.sources]\npyyaml = { path = "../gone" }\n'),
    ),
    (
        "source.folder",
        TOOLKIT,
        15,
        toolkit_with("\n[tool.uv.sources]\npyyaml = { workspace = true }\n"),
    ),
    (
        "source.undeclared",
        TOOLKIT,
        15,
        toolkit_with('\n[tool.uv.sources]\nrequests = { git = "https://example.org/requests" }\n'),
    ),
    (
        "source.folder",
        TOOLKIT,
        15,
        toolkit_with('\n[tool.uv.sources]\npyyaml = { path = "../../empty" }\n') | {"empty/readme": ""},
    ),
    (
        "source.folder",
        TOOLKIT,
        15,
        toolkit_with(
            "\n[tool.uv.sources]\n"
            "pyyaml = [{ path = '../gone', marker = 'python_version > \"3.13\"' }, { index = 'ours' }]\n"
        ),
    ),
    (
        "source.workspace",
        ENGINE,
        15,
        replaced(ENGINE, "{ workspace = true }", '[{ workspace = true }, { git = "x", marker = "y" }]'),
    ),
    (
        "source.workspace",
        ENGINE,
        12,
        replaced(ENGINE, "tta-ai-framework>=0.1", "tta-ai-framework @ https://example.org/x.whl")
        | {
            ENGINE: replaced(ENGINE, "tta-ai-framework>=0.1", "tta-ai-framework @ https://example.org/x.whl")[
                ENGINE
            ].partition("[tool.uv.sources]")[0]
        },
    ),
    (
        "source.workspace",
        TOOLKIT,
        12,
        replaced(TOOLKIT, '"pyyaml>=6"', '"pyyaml>=6", "tta>=0.1"'),
    ),
    (
        "source.undeclared",
        TOOLKIT,
        15,
        toolkit_with("\n[tool.uv.sources]\npyyaml = { index = 'ours', extra = 'fast' }\n"),
    ),
    (
        "source.undeclared",
        TOOLKIT,
        17,
        toolkit_with(
            "\n[dependency-groups]\ndev = ['ruff']\n"
            "[tool.uv.sources]\nruff = { index = 'ours', group = 'docs' }\n"
        ),
    ),
    ("dependency.constraint", ENGINE, 12, replaced(ENGINE, "tta-ai-framework>=0.1", "tta-ai-framework")),
    ("dependency.constraint", ENGINE, 12, replaced(ENGINE, "tta-ai-framework>=0.1", "tta-ai-framework<0.1")),
    ("dependency.group", TOOLKIT, 15, toolkit_with("\n[dependency-groups]\na = [{ include-group = 'B' }]\n")),
    (
        "dependency.group",
        TOOLKIT,
        15,
        toolkit_with(
            "\n[dependency-groups]\n"
            "a-b = [{ include-group = 'c' }]\nc = [{ include-group = 'd' }]\n"
            "d = [{ include-group = 'A.b' }]\n"
        ),
    ),
    ("dependency.group", TOOLKIT, 15, toolkit_with("\n[tool.uv]\ndefault-groups = ['dev']\n")),
    ("project.version", TOOLKIT, 5, replaced(TOOLKIT, 'version = "1.0"', 'dynamic = ["readme"]')),
    ("dependency.extra", ENGINE, 12, replaced(ENGINE, "tta-ai-framework>=", "tta-ai-framework[gpu]>=")),
    ("dependency.requirement", ENGINE, 12, replaced(ENGINE, '>=0.1"]', '>=0.1", "no requirement"]')),
    (
        "project.name",
        "packages/zzz/pyproject.toml",
        1,
        {
            **in_order(),
            "packages/zzz/pyproject.toml": '[project]\nversion = "1"\nrequires-python = ">=3.12"\n',
        },
    ),
    (
        "project.name",
        "packages/zzz/pyproject.toml",
        2,
        {
            **in_order(),
            "packages/zzz/pyproject.toml": '[project]\nname = "AI_dev.toolkit"\nversion = "1"\n'
            'requires-python = ">=3.12"\n',
        },
    ),
    ("licence.file", TOOLKIT, 10, without("packages/ai-dev-toolkit/LICENSE")),
    (
        "licence.file",
        TOOLKIT,
        9,
        {
            **without("packages/ai-dev-toolkit/LICENSE"),
            TOOLKIT: in_order()[TOOLKIT].replace('license-files = ["LICENSE"]\n', ""),
        },
    ),
    (
        "licence.file",
        TOOLKIT,
        9,
        replaced(TOOLKIT, 'license = "MIT"\nlicense-files = ["LICENSE"]', 'license = { file = "COPYING" }'),
    ),
    (
        "licence.file",
        TOOLKIT,
        10,
        replaced(TOOLKIT, '["LICENSE"]', '{ paths = ["NOTICE"] }'),
    ),
    ("licence.file", TOOLKIT, 10, replaced(TOOLKIT, '["LICENSE"]', '["LICENSES/*"]') | nested_licence()),
    ("python.declared", "pyproject.toml", 2, replaced("pyproject.toml", "requires-python", "requires-snake")),
    ("python.declared", "pyproject.toml", 5, replaced("pyproject.toml", ">=3.12", ">=12.3.")),
    ("python.declared", "pyproject.toml", 5, replaced("pyproject.toml", ">=3.12", ">=4")),
    ("python.declared", "pyproject.toml", 1, rootless(">=3.12,<3.12")),
    ("python.requires", TOOLKIT, 8, replaced(TOOLKIT, ">=3.12", ">=3.11")),
    ("python.requires", TOOLKIT, 8, replaced(TOOLKIT, ">=3.12", ">=3.12.1")),
    ("python.requires", TOOLKIT, 8, replaced(TOOLKIT, ">=3.12", ">=3.12,<3.14")),
    ("python.requires", TOOLKIT, 8, replaced(TOOLKIT, ">=3.12", ">=3.12,!=3.13.2")),
    (
        "python.requires",
        TOOLKIT,
        8,
        rootless(">=3.12") | {TOOLKIT: replaced(TOOLKIT, ">=3.12", ">=3.11")[TOOLKIT]},
    ),
    ("python.ruff", "pyproject.toml", 16, replaced("pyproject.toml", "py312", "py311")),
    (
        "python.pyright",
        "pyproject.toml",
        19,
        replaced("pyproject.toml", 'pythonVersion = "3.12"', 'pythonVersion = "3.11"'),
    ),
    ("python.pyright", TOOLKIT, 15, toolkit_with('\n[tool.basedpyright]\npythonVersion = "3.13"\n')),
    ("python.mypy", TOOLKIT, 15, toolkit_with('\n[tool.mypy]\npython_version = "3.11"\n')),
    (
        "python.ruff",
        "packages/ai-dev-toolkit/ruff.toml",
        1,
        more("packages/ai-dev-toolkit/ruff.toml", "target-version = 'py311'\n"),
    ),
    (
        "python.ruff",
        ".ruff.toml",
        2,
        more(".ruff.toml", '# target-version = "py310"\ntarget-version = "py311"\n'),
    ),
    (
        "python.pyright",
        "pyrightconfig.json",
        3,
        more("pyrightconfig.json", '{\n  // "pythonVersion": "3.9"\n  "pythonVersion": "3.11",\n}\n'),
    ),
    ("python.mypy", "mypy.ini", 2, more("mypy.ini", "[mypy]\npython_version = 3.11\n")),
    ("python.mypy", "setup.cfg", 2, more("setup.cfg", "[mypy]\npython_version: 3.11\n")),
    (
        "python.classifier",
        TOOLKIT,
        11,
        replaced(TOOLKIT, ":: 3.12", ':: 3.12", "Programming Language :: Python :: 3.11'),
    ),
    ("python.classifier", TOOLKIT, 11, replaced(TOOLKIT, ":: 3.12", ":: 3.13")),
    ("python.version-file", ".python-version", 1, {**in_order(), ".python-version": "3.11.4\n"}),
    ("python.version-file", ".python-version", 2, {**in_order(), ".python-version": "3.13\n3.11\n"}),
    (
        "python.version-file",
        ".python-version",
        1,
        all_with(">=3.12", ">=3.12.5") | {".python-version": "cpython-3.12.4\n"},
    ),
    ("python.workflow", CI, 6, replaced(CI, '"3.12", ', '"3.11", ')),
    (
        "python.workflow",
        CI,
        7,
        replaced(CI, '["3.12", "3.13"]', '\n          - "3.11"\n          # - "3.10"\n          - "3.12"'),
    ),
    ("python.workflow", CI, 10, replaced(CI, "${{ matrix.python-version }}", "3.11\n          cache: x3.9")),
    (
        "python.workflow",
        CI,
        8,
        replaced(CI, '"3.12", "3.13"]', "\n          3.12,\n          3.11,\n        ]\n        os: [x-3.9]"),
    ),
    (
        "python.workflow",
        CI,
        11,
        replaced(CI, "python-version: $", "cache: true\n          python-version: 3.9  #$"),
    ),
    (
        "python.workflow",
        CI,
        6,
        replaced(CI, "python-version: [", 'include: [{ os: x, python-version: "3.11" }] # ['),
    ),
    (
        "python.workflow",
        CI,
        11,
        replaced(CI, "matrix.python-version }}", "x }}\n      - run: uv run --python 3.11 x"),
    ),
    (
        "python.workflow",
        CI,
        11,
        replaced(CI, "matrix.python-version }}", "x }}\n      - run: uv python install 3.13 3.11"),
    ),
    ("python.workflow", CI, 3, replaced(CI, "jobs:", 'env:\n  UV_PYTHON: "3.11"\njobs:')),
    ("python.workflow", CI, 3, replaced(CI, "jobs:", 'env:\n  PYTHON_VERSION: "3.11"\njobs:')),
    (
        "python.workflow",
        CI,
        6,
        replaced(
            CI,
            "on: push",
            "on:\n  workflow_dispatch:\n    inputs:\n      python-version:\n"
            "        description: not 3.9\n        default: '3.11'",
        ),
    ),
    ("python.image", CI, 4, replaced(CI, "    strategy:", "    container: python:3.11-slim\n    strategy:")),
    ("python.image", "Dockerfile", 1, replaced("Dockerfile", "3.12", "3.11")),
    ("python.image", "Dockerfile", 1, replaced("Dockerfile", "3.12-slim", "3.11@sha256:0f")),
    ("python.image", "Dockerfile", 2, replaced("Dockerfile", "COPY . .", "ENV PYTHON_VERSION 3.11")),
    (
        "python.image",
        ".devcontainer/devcontainer.json",
        2,
        more(
            ".devcontainer/devcontainer.json",
            '{\n  "image": "example.org/devcontainers/python:1-3.11-bookworm"\n}\n',
        ),
    ),
    (
        "python.image",
        "compose.yaml",
        3,
        {**in_order(), "compose.yaml": "services:\n  app:\n    image: python:3.11.9-slim\n"},
    ),
    (
        "import.undeclared",
        "packages/ai-dev-toolkit/src/ai_dev_toolkit/more.py",
        2,
        code("import os\nimport requests\n"),
    ),
    (
        "import.undeclared",
        "packages/ai-dev-toolkit/src/ai_dev_toolkit/more.py",
        1,
        code("from tta_ai_framework import x\n"),
    ),
    (
        "import.undeclared",
        "packages/ai-dev-toolkit/scripts/run.py",
        6,
        code(
            '# /// script\n# dependencies = [\n#   "httpx>=0.27",\n# ]\n# ///\nimport httpx, requests\n',
            "scripts/run.py",
        ),
    ),
    (
        "import.undeclared",
        "packages/ai-dev-toolkit/scripts/run.py",
        4,
        code("# /// script\n# dependencies = [\n# ///\nimport httpx\n", "scripts/run.py"),
    ),
    (
        "import.undeclared",
        "packages/ai-dev-toolkit/tests/test_it.py",
        1,
        code("import inside\n", "tests/test_it.py")
        | {"packages/ai-dev-toolkit/tools/__init__.py": "", "packages/ai-dev-toolkit/tools/inside.py": ""},
    ),
    (
        "import.undeclared",
        "packages/ai-dev-toolkit/tests/redis/test_it.py",
        1,
        code("import redis\n", "tests/redis/test_it.py"),
    ),
    ("input.python", "packages/ai-dev-toolkit/src/ai_dev_toolkit/more.py", 2, code("x = 1\ndef (:\n")),
]


@pytest.mark.parametrize(("rule", "file", "line", "files"), ONE_CHANGE)
def test_one_change_breaks_one_rule(
    tmp_path: Path, rule: str, file: str, line: int, files: dict[str, str]
) -> None:
    """Broken: the rule overlooks its violation, points elsewhere, or another rule cries too."""
    findings = found(tmp_path, files)
    assert {(each.rule, each.file) for each in findings} == {(rule, file)}
    assert findings[0].line == line
    assert all(each.what and each.remedy for each in findings)


def test_every_rule_says_its_ids_and_each_is_tested() -> None:
    """Broken: an id that nobody has seen reported."""
    stated = {
        word for rule in RULES for word in (rule.__doc__ or "").split("`") if "." in word and " " not in word
    }
    stated -= {"uv.lock", ".python-version"}
    assert {rule for rule, *_ in ONE_CHANGE} == stated


@pytest.mark.parametrize(
    ("folder", "glob", "fits"),
    [
        ("packages/a", "packages/*", True),
        ("packages/a/b", "packages/*", False),
        ("packages/a/b", "packages/**", True),
        ("packages/a/b", "./**/b/", True),
        ("packages/a", "packages/b", False),
        ("packages", "packages/*", False),
        ("packages", "packages/**", False),
        ("packages/a", "packages/**/**/b", False),
        ("packages/a/b", "packages/**/**/b", True),
    ],
)
def test_member_patterns_mean_what_uv_means(folder: str, glob: str, *, fits: bool) -> None:
    """Broken: a package counts as a member that uv does not see."""
    assert matches(folder, glob) is fits


def test_line_is_the_nearest_that_can_be_found() -> None:
    """Broken: a person is sent to the wrong line."""
    text = 'a = 1\n[t."x.y"]\n# c\nb.c = [\n  "one",\n  "two",\n]\n'
    assert line_of(text, "t", "x.y", "b", "c") == 4
    assert line_of(text, "t", "x.y", "b", "c", needle="two") == 6
    assert line_of(text, "t", "x.y", "b", "c", needle="gone") == 4
    assert line_of(text, "t", "x.y", "other") == 2
    assert line_of(text, "elsewhere") == 1
    assert strings({"a": ["x", 1, "y"]}, "a") == ["x", "y"]


def test_member_template_is_what_the_line_numbers_count() -> None:
    """Broken: the table above counts lines of another template."""
    assert MEMBER.splitlines()[9].startswith("license-files")


def test_diff_says_where_a_last_line_has_no_end() -> None:
    """Broken: the diff cannot be applied."""
    assert fixes.diff({"f": "a"}, {"f": "b"}).endswith(
        "-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n"
    )

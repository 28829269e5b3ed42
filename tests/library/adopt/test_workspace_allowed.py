"""What `tta-adopt workspace` leaves alone: what is allowed, and what only a person can decide."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.library.adopt.trees import (
    CI,
    ENGINE,
    FRAMEWORK,
    TOOLKIT,
    built_by,
    code,
    found,
    in_order,
    more,
    replaced,
    rootless,
    toolkit_with,
    without,
)


@pytest.mark.parametrize(
    "files",
    [
        code("try:\n    import tomli\nexcept ImportError:\n    tomli = None\n"),
        code("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mypy_extensions\n"),
        code("from . import other\nfrom .other import thing\nimport ai_dev_toolkit.more\n"),
        code("import helper\nimport tta\n", "tests/test_it.py")
        | {"packages/ai-dev-toolkit/tests/helper.py": ""},
        code("import pytest\n", "tests/test_it.py")
        | {
            "pyproject.toml": in_order()["pyproject.toml"]
            + '\n[dependency-groups]\ndev = ["pytest", {include-group = "x"}]\nx = []\n'
        },
        toolkit_with('\n[project.optional-dependencies]\ngpu = ["opentelemetry-api"]\n')
        | {"packages/ai-dev-toolkit/src/ai_dev_toolkit/more.py": "import opentelemetry.trace\n"},
        toolkit_with("\n[tool.uv]\npackage = false\n") | {"docs/readme": "no pyproject, no member"},
        {**in_order(), "docs/pyproject.toml": "[project]\n"},
        {**in_order(), "packages/.venv/lib/pyproject.toml": "broken ["},
        {
            **in_order(),
            "packages/.hidden/x": "",
            "packages/old/__pycache__/x.pyc": "",
            "packages/notes.md": "",
        },
        replaced(
            "pyproject.toml", '["packages/*"]', '[".", "packages/*", "examples/*"]\nexclude = ["examples/b*"]'
        )
        | {"examples/b/pyproject.toml": "[tool.x]\n", "examples/b/c/x": "", "examples/bb/x": ""},
        code("import contextlib\nwith contextlib.suppress(ImportError):\n    import uvloop\n"),
        code("import speech_recognition\nfrom google.protobuf import message\n")
        | {
            TOOLKIT: in_order()[TOOLKIT].replace(
                '"pyyaml>=6"', '"pyyaml>=6", "SpeechRecognition>=3", "protobuf>=5"'
            )
        },
        code("import helpers\nimport setuptools\nimport made\n", "scripts/run.py")
        | {
            "packages/ai-dev-toolkit/tools/helpers.py": "",
            "packages/ai-dev-toolkit/tools/made/__init__.py": "",
            TOOLKIT: in_order()[TOOLKIT].replace('["hatchling"]', '["hatchling", "setuptools"]'),
        },
        code("import requests\n")
        | {
            TOOLKIT: in_order()[TOOLKIT].replace('dependencies = ["pyyaml>=6"]', 'dynamic = ["dependencies"]')
        },
        {
            **without("packages/ai-dev-toolkit/LICENSE"),
            TOOLKIT: in_order()[TOOLKIT].replace('license-files = ["LICENSE"]', "license-files = []"),
        },
        {
            **without("packages/ai-dev-toolkit/LICENSE"),
            TOOLKIT: in_order()[TOOLKIT].replace('license-files = ["LICENSE"]\n', ""),
            "packages/ai-dev-toolkit/LICENSES/MIT.txt": "",
        },
        built_by("maturin", {"src/lib.rs": ""}),
        built_by("setuptools.build_meta", {"ai.py": ""}),
        built_by("hatchling", {"team/ai_dev_toolkit/__init__.py": ""}),
        built_by("hatchling", {"AI.Dev_Toolkit/__init__.py": ""}, name="AI.Dev-Toolkit"),
        built_by("hatchling", {"x/y.py": ""}, '[tool.hatch.build]\ninclude = ["x"]\n'),
        built_by("uv_build", {"src/ai_dev_toolkit/__init__.py": ""}),
        built_by(
            "uv_build",
            {"a/b/c.py": ""},
            "[tool.uv.build-backend]\nmodule-root = ''\nmodule-name = 'a.b'\nnamespace = true\n",
        ),
        built_by(
            "uv_build", {"src/x/__init__.pyi": ""}, "[tool.uv.build-backend]\nmodule-name = 'x_stubs'\n"
        ),
        built_by("pdm.backend", {"src/a/__init__.py": ""}),
        toolkit_with(
            "\n[tool.uv.sources]\npyyaml = [{ index = 'a', marker = 'x' }, { index = 'b', marker = 'y' }]\n"
        ),
        toolkit_with(
            "\n[project.optional-dependencies]\nFast_one = ['orjson>=3', 'ai-dev-toolkit[fast.one]']\n"
            "[tool.uv.sources]\norjson = { index = 'a', extra = 'fast-one' }\nhatchling = { index = 'a' }\n"
        ),
        toolkit_with(
            "\n[tool.uv]\noverride-dependencies = ['a']\nconstraint-dependencies = ['b>1']\n"
            "[tool.uv.extra-build-dependencies]\npyyaml = ['c']\n"
            "[tool.uv.sources]\na = { index = 'x' }\nb = { index = 'x' }\nc = { index = 'x' }\n"
        ),
        toolkit_with("\n[tool.uv]\ndefault-groups = 'all'\ndev-dependencies = ['ruff']\n"),
        toolkit_with("\n[tool.uv]\ndefault-groups = ['dev']\ndev-dependencies = ['ruff']\n"),
        toolkit_with(
            "\n[dependency-groups]\n"
            "all = [{ include-group = 'Te_st' }, { include-group = 'te-st' }]\nte-st = ['pytest']\n"
        ),
        toolkit_with("\n[tool.uv.sources]\nhidden = { index = 'x' }\n")
        | {
            TOOLKIT: toolkit_with("\n[tool.uv.sources]\nhidden = { index = 'x' }\n")[TOOLKIT].replace(
                'dependencies = ["pyyaml>=6"]', 'dynamic = ["dependencies"]'
            )
        },
        code(
            "#!/usr/bin/env python\n# /// script\n"
            '# dependencies = ["HTTPX[http2]>=0.27"]\n#\n# ///\nimport httpx\n',
            "run.py",
        ),
        code("import src.ai_dev_toolkit\n", "tests/test_it.py"),
        replaced(TOOLKIT, 'version = "1.0"', 'version = "1.1.dev2"'),
        replaced(ENGINE, "tta-ai-framework>=0.1", "tta-ai-framework[made]>=0.1")
        | {
            FRAMEWORK: in_order()[FRAMEWORK].replace(
                'version = "0.1"', 'version = "0.1"\ndynamic = ["optional-dependencies"]'
            )
        },
        replaced(TOOLKIT, ":: 3.12", ':: 3.12", "Programming Language :: Python :: 3.x'),
        code("from protos import x_pb2\n", "tests/test_it.py")
        | {"packages/ai-dev-toolkit/tests/protos/x_pb2.py": ""},
        code("import beside\n") | {"packages/ai-dev-toolkit/src/ai_dev_toolkit/beside.py": ""},
        replaced(TOOLKIT, ">=3.12", "<4,>=3.12.0"),
        replaced(TOOLKIT, ">=3.12", "~=3.12"),
        rootless(">=3.12"),
        more("mypy.ini", "[mypy]\npython_version = 3.12\n[mypy-x]\nstrict = true\n"),
        more("docs/ruff.toml", "target-version = 'py38'\n"),
        toolkit_with("\n[tool.mypy]\npython_version = 3.12\n"),
        replaced(CI, '["3.12", "3.13"]', '">=3.9 <3.14"  # 3.8'),
        replaced(CI, '["3.12", "3.13"]', '">= 3.9"'),
        {**in_order(), ".python-version": "# no 3.10\n3.12  # not 3.11\n"},
        replaced("Dockerfile", "COPY . .", "# FROM python:3.9\nCOPY python:3.9 ."),
        replaced("Dockerfile", "3.12-slim", "3.13.1-slim@sha256:0f"),
    ],
)
def test_what_is_allowed_is_no_finding(tmp_path: Path, files: dict[str, str]) -> None:
    """Broken: a false alarm makes people ignore the true ones."""
    assert found(tmp_path, files) == []


@pytest.mark.parametrize(
    ("rule", "files"),
    [
        (
            "workspace.member",
            replaced(
                "pyproject.toml", '["packages/*"]', '["packages/*"]\nexclude = ["packages/ai-dev-toolkit"]'
            ),
        ),
        ("workspace.member", toolkit_with("\n[tool.uv]\nmanaged = false\n")),
        (
            "source.workspace",
            replaced(ENGINE, "{ workspace = true }", '[{ workspace = true }, { git = "x", marker = "y" }]'),
        ),
        (
            "source.workspace",
            {
                **in_order(),
                ENGINE: in_order()[ENGINE]
                .partition("[tool.uv.sources]")[0]
                .replace(">=0.1", " @ https://example.org/x"),
            },
        ),
        ("dependency.constraint", replaced(ENGINE, "tta-ai-framework>=0.1", "tta-ai-framework<0.1")),
        ("python.version-file", {**in_order(), ".python-version": "3.13\n3.11\n"}),
        ("python.image", replaced("Dockerfile", "3.12-slim", "3.11@sha256:0f")),
    ],
)
def test_what_a_person_has_to_decide_is_not_changed(tmp_path: Path, rule: str, files: dict[str, str]) -> None:
    """Broken: `--fix` undoes what somebody meant, or writes what uv refuses."""
    assert [(each.rule, each.change) for each in found(tmp_path, files)] == [(rule, None)]

"""The environment of a rehearsed command: nothing of the person's, and the world as the only way out."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from release.rehearsal.environment import child_environment


def test_environment_passes_nothing_secret(tmp_path: Path) -> None:
    """A maintainer's tokens, indexes and agents never reach a rehearsed command."""
    base = {
        "PATH": "/usr/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": str(tmp_path / "person"),
        **dict.fromkeys(
            [
                *(
                    "TWINE_PASSWORD",
                    "TWINE_USERNAME",
                    "UV_PUBLISH_TOKEN",
                    "UV_INDEX",
                    "PIP_INDEX_URL",
                    "NETRC",
                ),
                *(
                    "NO_PROXY",
                    "no_proxy",
                    "ALL_PROXY",
                    "all_proxy",
                    "https_proxy",
                    "SSH_AUTH_SOCK",
                    "GH_TOKEN",
                ),
                *("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "GITHUB_ACTIONS", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH"),
            ],
            "secret",
        ),
    }
    env = child_environment(
        base,
        folder=tmp_path / "child",
        authority=tmp_path / "a.pem",
        proxy="http://127.0.0.1:1",
        first_on_path=[Path("/first")],
    )
    assert "secret" not in env.values()
    home, nothing = tmp_path / "child" / "home", tmp_path / "child" / "empty"
    assert home.is_dir()
    assert list(nothing.iterdir()) == []
    authorities = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT", "CURL_CA_BUNDLE")
    proxies = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
    assert env == {
        "PATH": os.pathsep.join(["/first", "/usr/bin"]),
        "LC_ALL": "C.UTF-8",
        "HOME": str(home),
        "USERPROFILE": str(home),
        "APPDATA": str(home / "appdata"),
        "LOCALAPPDATA": str(home / "localappdata"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        **dict.fromkeys(authorities, str(tmp_path / "a.pem")),
        **dict.fromkeys(proxies, "http://127.0.0.1:1"),
        "SSL_CERT_DIR": str(nothing),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "PYTHONUTF8": "1",
    }


def in_scratch(base: Mapping[str, str], folder: Path) -> dict[str, str]:
    return child_environment(
        base, folder=folder / "child", authority=folder / "a.pem", proxy="http://127.0.0.1:1"
    )


def test_environment_keeps_the_version_manager(tmp_path: Path) -> None:
    """Interpreters below the person's HOME are found although HOME changes; the person's word comes first."""
    (tmp_path / ".pyenv").mkdir()
    base = {"HOME": str(tmp_path)}
    assert in_scratch(base, tmp_path)["PYENV_ROOT"] == str(tmp_path / ".pyenv")
    assert in_scratch(base | {"PYENV_ROOT": "/elsewhere"}, tmp_path)["PYENV_ROOT"] == "/elsewhere"
    shutil.rmtree(tmp_path / ".pyenv")
    assert "PYENV_ROOT" not in in_scratch(base, tmp_path)


@pytest.mark.parametrize("base", [{}, {"HOME": ""}], ids=["absent", "empty"])
def test_a_person_without_a_home_has_no_version_manager(
    base: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that happens to lie where the rehearsal was started is nobody's."""
    (tmp_path / ".pyenv").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "PYENV_ROOT" not in in_scratch(base, tmp_path)


def test_a_command_finds_programs_where_nobody_said_where_they_are(tmp_path: Path) -> None:
    """Without a PATH the system's own places are searched, as it would do itself."""
    assert in_scratch({}, tmp_path)["PATH"] == os.defpath

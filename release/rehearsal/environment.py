"""The environment a rehearsed command runs in: nothing of the person's settings and secrets, no way out.

Built from a short list of what may pass, so that a variable nobody thought of does not. Clients trust the
rehearsal's authority alone: a connection that escaped the proxy would fail its TLS handshake.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["child_environment"]

_PASSED = frozenset(
    {
        # what any program needs to run and to print
        *("PATH", "LANG", "LANGUAGE", "TZ", "TERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TMPDIR"),
        # Windows
        *("COMSPEC", "PATHEXT", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "WINDIR", "NUMBER_OF_PROCESSORS"),
        # where a version manager keeps interpreters; its own default is below HOME, which changes
        "PYENV_ROOT",
        # implies --require-redis: what a hosted runner must prove, its rehearsal must prove too
        "CI",
    }
)


def child_environment(
    base: Mapping[str, str],
    *,
    folder: Path,
    authority: Path,
    proxy: str,
    first_on_path: Sequence[Path] = (),
) -> dict[str, str]:
    """The whole environment of a rehearsed command.

    Args:
        base: The environment of the person who rehearses.
        folder: A scratch folder; HOME and everything below it goes there.
        authority: PEM file of the rehearsal's certificate authority.
        proxy: Address of the rehearsal's proxy.
        first_on_path: Folders of programs that stand before those of `base`.
    """
    kept = {name: value for name, value in base.items() if name in _PASSED or name.startswith("LC_")}
    home, nothing = folder / "home", folder / "empty"
    for made in (home, nothing):
        made.mkdir(parents=True, exist_ok=True)
    if "PYENV_ROOT" not in kept and (person := base.get("HOME")):
        pyenv = Path(person) / ".pyenv"
        if pyenv.is_dir():
            kept["PYENV_ROOT"] = str(pyenv)
    path = os.pathsep.join([*(str(place) for place in first_on_path), kept.get("PATH", os.defpath)])
    ours = {
        "PATH": path,
        "HOME": str(home),
        "USERPROFILE": str(home),
        "APPDATA": str(home / "appdata"),
        "LOCALAPPDATA": str(home / "localappdata"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        # both spellings: some clients read only one, and the lower-case one first
        **dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), proxy),
        **{
            name: str(authority)
            for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT", "CURL_CA_BUNDLE")
        },
        # OpenSSL would otherwise add the machine's own folder of authorities
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
    return kept | ours

"""Installations that are played and not made, for the tests of what a smoke and a verify conclude."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from release import smoke_probe
from release.install_check import Proof
from release.rules.archives import digest_of, read_archive
from release.runner import Finished, LocalRunner
from tests.release.build_support import Built, built


def proof_of(made: Built, environment: Path) -> Proof:
    """What the probe reports where everything is as it should be."""
    members = read_archive(made.declared.wheel, made.wheel).members
    site = environment / "lib/python3/site-packages"
    modules = ("tiny_demo", "tiny_demo.inner", "tiny_demo.inner.part")
    by_installer = {"../../../bin/tiny-demo": "0" * 64, f"{made.declared.stem}.dist-info/INSTALLER": "0" * 64}
    return Proof(
        version=str(made.declared.version),
        modules={name: f"{site}/{name.replace('.', '/')}.py" for name in modules},
        files={member.name: digest_of(member.data) for member in members} | by_installer,
        scripts=["tiny-demo"],
        distributions=["tiny-demo"],
    )


@dataclass(slots=True, kw_only=True)
class Played:
    """A runner for which every installation works, but for the command with a word that ends in `fails`."""

    fails: str = "nothing fails"
    report: str | None = None
    """What the probe writes instead of a proof that all is well."""
    ran: list[list[str]] = field(default_factory=list[list[str]])
    given: list[tuple[Path, Mapping[str, str]]] = field(default_factory=list[tuple[Path, Mapping[str, str]]])
    """Of each command in `ran`: where it ran, and its environment."""
    waits: list[float | None] = field(default_factory=list[float | None])
    """Of each command in `ran`: after how many seconds it would have been ended."""

    def __call__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        show: bool = False,
        timeout_s: float | None = None,
    ) -> Finished:
        words = [os.fspath(word) for word in argv]
        if words[0] == "git":
            return LocalRunner()(argv, cwd=cwd, env=env, show=show, timeout_s=timeout_s)
        self.ran.append(words)
        self.given.append((cwd, env or {}))
        self.waits.append(timeout_s)
        if any(word.endswith(self.fails) for word in words):
            return Finished(argv=words, code=1, stdout="", stderr="it failed here", took_ms=0)
        if smoke_probe.__file__ in words:
            path = Path(words[-1])
            proof = proof_of(built(), path.parent / "env").model_dump_json()
            path.write_text(self.report or proof, encoding="utf-8")
        return Finished(argv=words, code=0, stdout="12 passed in 0.10s\n", stderr="", took_ms=0)

"""Installations that are played and not made, for the tests of what a smoke and a verify conclude."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from release import smoke_probe
from release.install_check import Proof
from release.rules.archives import digest_of, read_archive
from release.runner import Finished
from tests.release.build_support import Built, built
from tests.release.ledger_support import COMMIT
from tests.release.runner_support import Call, Double


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
class Played(Double):
    """A runner for which every installation works, but for the command with a word that ends in `fails`.

    To git, `commit` is checked out, and nothing is changed.
    """

    commit: str = COMMIT
    fails: str = "nothing fails"
    report: str | None = None
    """What the probe writes instead of a proof that all is well."""
    ran: list[list[str]] = field(default_factory=list[list[str]])
    given: list[tuple[Path, Mapping[str, str]]] = field(default_factory=list[tuple[Path, Mapping[str, str]]])
    """Of each command in `ran`: where it ran, and its environment."""
    waits: list[float | None] = field(default_factory=list[float | None])
    """Of each command in `ran`: after how many seconds it would have been ended."""

    def answer(self, call: Call) -> Finished:
        words = call.words
        if words[0] == "git":
            return call.ended(said=f"{self.commit}\n" if "rev-parse" in words else "")
        self.ran.append(words)
        self.given.append((call.cwd, call.env))
        self.waits.append(call.timeout_s)
        if any(word.endswith(self.fails) for word in words):
            return call.ended(1, error="it failed here")
        if smoke_probe.__file__ in words:
            path = Path(words[-1])
            proof = proof_of(built(), path.parent / "env").model_dump_json()
            path.write_text(self.report or proof, encoding="utf-8")
        return call.ended(said="12 passed in 0.10s\n")

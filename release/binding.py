"""How a stage is bound to its ledger: what it must fit before a stage runs, and how a stage adds to it.

Every stage gets its ledger here and nowhere else, so that none can forget the mode, the commit, the clean
tree or the digests that the job before handed on.
"""

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from release.checkout import Checkout
from release.context import Context
from release.evidence import LOCAL, Evidence, Proof, Ran, proof_problems, write_evidence
from release.ledger import Ledger, Opening, Outcome
from release.model import Mode, Problem, Refused, Report
from release.plan import RELEASE
from release.rules.tag import not_moved

__all__ = ["bound", "bound_or_none", "index_mode", "record", "tag_problems"]

_TREE_STAGES = ("lint", "mutation")
"""They vouch for the commit and its tree; every other stage vouches for files."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def index_mode(context: Context, environ: Mapping[str, str] | None = None) -> Mode:
    """The mode of a stage that reaches an index: release, unless `--mode rehearsal` was given.

    Raises:
        Refused: when a rehearsal was asked for and `HTTPS_PROXY` does not point at this machine, or
            `NO_PROXY` leads around it: it could reach the real index.
    """
    env = os.environ if environ is None else environ
    mode = context.options.mode or Mode.RELEASE
    proxies = [env[name] for name in ("HTTPS_PROXY", "https_proxy") if env.get(name)]
    around = ",".join(env.get(name, "") for name in ("NO_PROXY", "no_proxy")).replace(" ", "").split(",")
    here = proxies and all(urlsplit(proxy).hostname in _LOOPBACK for proxy in proxies)
    if mode is Mode.REHEARSAL and not (here and all(not host or host in _LOOPBACK for host in around)):
        raise Refused(
            Problem(
                rule="binding.rehearsal-stays-here",
                where="HTTPS_PROXY, NO_PROXY",
                what="do not lead every request to this machine, so a rehearsal could reach a real index",
                remedy="run `nox -s rehearse`, which starts the proxy; or leave --mode rehearsal out",
            )
        )
    return mode


def bound(context: Context, *, mode: Mode | None) -> Ledger:
    """The ledger of this checkout, after everything it must fit was checked.

    Args:
        context: The stage's context; `--mode`, `--expect-head` and `--expect-digests` are obeyed.
        mode: The mode the ledger must have; None accepts what `--mode` says, or either.

    Raises:
        Refused: when there is no ledger or a broken one, or with every way in which it does not fit: the
            mode, HEAD, in release mode a dirty tree, and what the job before handed on.
    """
    ledger = _read(context)
    problems = _problems(context, ledger, mode or context.options.mode)
    if problems:
        raise Refused(*problems)
    return ledger


def bound_or_none(context: Context) -> Ledger | None:
    """The ledger for a gate that also runs without one; None means that no evidence is recorded.

    In release mode, in a parallel job and where the job before handed a digest on, a ledger is a must and
    this is `bound`. Otherwise a ledger that is absent, is another commit's, or is a rehearsal's while the
    tree has uncommitted changes counts as none, and one line says so.

    Raises:
        Refused: as `bound`; also when the ledger there is broken.
    """
    options = context.options
    asked = options.evidence or options.expect_head is not None or options.expect_digests is not None
    if asked or options.mode is Mode.RELEASE:
        return bound(context, mode=None)
    try:
        ledger = _read(context)
    except Refused as refused:
        if all(problem.rule == "ledger.present" for problem in refused.problems):
            return _none(context, "there is no ledger")
        raise
    checkout = Checkout(context.root, context.runner)
    if checkout.head() != ledger.opening.commit:
        return _none(
            context, f"the ledger is of commit {ledger.opening.commit[:12]}, which is not checked out"
        )
    if options.mode is None and ledger.opening.mode is Mode.REHEARSAL and checkout.dirty():
        return _none(context, "the tree has uncommitted changes")
    return bound(context, mode=None)


def tag_problems(context: Context, opening: Opening) -> list[Problem]:
    """Empty when the tag, here and at origin, is what the ledger opened with, or it opened without one.

    Raises:
        Refused: of kind NOT_YET when origin does not answer.
    """
    if not opening.tag:
        return []
    checkout = Checkout(context.root, context.runner)
    return not_moved(opening, local=checkout.tag_facts(opening.tag), remote=checkout.remote_tag(opening.tag))


def record(
    context: Context,
    ledger: Ledger,
    stage: str,
    leg: str,
    report: Report,
    outcome: Outcome = Outcome.PASSED,
    *,
    subject: Mapping[str, str] | None = None,
) -> None:
    """Add a stage's evidence: a ledger line, or with `--evidence` a file for `collect`.

    Args:
        context: The stage's context.
        ledger: What `bound` gave.
        stage: The stage.
        leg: Its leg, "all" when it has one only.
        report: Its figures and tools are kept.
        outcome: How it ended.
        subject: What it vouches for; by default commit and tree for lint and mutation, the wheel for test,
            every artefact for all others.
    """
    opening = ledger.opening
    if leg not in opening.plan.get(stage, ()):
        context.console.print(f"  no evidence recorded: {stage} {leg} is not in the ledger's plan")
        return
    proof = Proof(
        stage=stage,
        leg=leg,
        outcome=outcome,
        subject=dict(_subject(ledger, stage) if subject is None else subject),
        figures=dict(report.figures),
        tools=dict(report.tools),
        at=context.now().replace(microsecond=0),
        ran=Ran.here(),
    )
    problems = proof_problems(opening, proof, where=f"{stage} {leg}")
    if problems:
        raise Refused(*problems)
    if context.options.evidence:
        path = write_evidence(context.ledger, Evidence.of(proof, genesis=ledger.genesis))
        context.console.print(f"  evidence: ledger/{path.parent.name}/{path.name}")
        return
    line = ledger.append(
        stage=stage,
        leg=leg,
        outcome=outcome,
        subject=proof.subject,
        figures=proof.figures,
        tools=proof.tools,
        at=proof.at,
        ran=proof.ran,
    )
    context.console.print(f"  evidence: ledger line n={line.n}, head {ledger.head}")


def _read(context: Context) -> Ledger:
    ledger = Ledger.read(context.ledger)
    if ledger.torn is not None:
        context.console.print(
            f"  the ledger's last line was torn and is set aside as ledger/{ledger.torn.name}; "
            f"it counts as never written",
        )
    return ledger


def _problems(context: Context, ledger: Ledger, mode: Mode | None) -> list[Problem]:
    """Every way in which a ledger does not fit this checkout and this run."""
    problems: list[Problem] = []
    opening, options = ledger.opening, context.options

    def wrong(rule: str, where: str, what: str, remedy: str) -> None:
        problems.append(Problem(rule=f"binding.{rule}", where=where, what=what, remedy=remedy))

    if mode is not None and opening.mode is not mode:
        wrong(
            "same-mode",
            "ledger/ledger.jsonl line 1 (n=0)",
            f"is a {opening.mode} ledger, this stage runs in {mode} mode; each refuses the other's",
            f"build in {mode} mode in a clone of its own, or give the mode the ledger has",
        )
    if opening.mode is Mode.RELEASE and opening.plan != RELEASE:
        wrong(
            "whole-plan",
            "ledger/ledger.jsonl line 1 (n=0)",
            "does not hold the plan of a release, which is a constant",
            "build again from this commit; a release ledger is never edited",
        )
    checkout = Checkout(context.root, context.runner)
    head = checkout.head()
    if head != opening.commit:
        wrong(
            "same-commit",
            "HEAD",
            f"is {head}, the ledger is of {opening.commit}",
            f"check out {opening.tag or opening.commit}, or run `nox -s build` for this commit",
        )
    if opening.mode is Mode.RELEASE or mode is Mode.RELEASE:
        for path in checkout.dirty():
            wrong(
                "clean-tree",
                path,
                "is changed or untracked",
                "commit it, ignore it, or move it out of the checkout",
            )
    hosted = opening.mode is Mode.RELEASE and Ran.here().kind != LOCAL
    for option, given, found, what in (
        ("--expect-head", options.expect_head, ledger.head, "the ledger's last line"),
        ("--expect-digests", options.expect_digests, ledger.digests, "the ledger's artefact list"),
    ):
        if given is None and hosted:
            wrong(
                f"expected{option.removeprefix('--expect')}",
                option,
                "was not given: in a workflow each job checks what the job before handed on",
                "hand on that job's output",
            )
        elif given is not None and given != found:
            wrong(
                f"expected{option.removeprefix('--expect')}",
                option,
                f"{what} has sha256 {found}, the job before handed on {given or 'nothing'}",
                "fetch the artefact by the id that job handed on; if it is that one, it was changed",
            )
    return problems


def _subject(ledger: Ledger, stage: str) -> Mapping[str, str]:
    """What a stage vouches for."""
    opening = ledger.opening
    tree = {"commit": opening.commit, "tree": opening.tree}
    files = {artifact.name: artifact.sha256 for artifact in opening.artifacts}
    if stage in _TREE_STAGES:
        return tree
    if stage == "test":
        return {name: sha256 for name, sha256 in files.items() if name.endswith(".whl")}
    return {**tree, **files} if stage == "build" else files


def _none(context: Context, why: str) -> None:
    context.console.print(f"  no evidence recorded: {why}")

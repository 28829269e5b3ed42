"""The page of all messages, as `messages` read them, with what to do about each exception. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from release.site.messages import Logged, Raised, Said, Stated

__all__ = ["NEXT", "OF_COMMANDS", "errors_page"]

OF_COMMANDS = ("_", "argparse.")
"""How the names of exceptions begin that a command of ours turns into a message and an exit code."""

NEXT: Mapping[str, str] = {
    "AgentRegistryError": "see whether the server is reachable; agents go on working from what they know",
    "AttributeError": "use a name that the package exports",
    "BadReplyError": "nothing: the breaker takes it as a store that does not answer, and works locally",
    "CircuitBreakerOpenError": "wait `retry_after` seconds, or do without what is protected",
    "CoordinationError": "look at the leaf that was raised; this is the root to catch",
    "ImportError": "install the extra that the message names",
    "MessageCoordinatorError": "see whether the server is reachable and what it answered",
    "OSError": "nothing: what cannot be read is left out, and named in a finding",
    "OutcomeUnknownError": "look with `explain`, or repeat a send under the same `dedup_id`",
    "PayloadError": "change the message; sending it again cannot help",
    "PayloadNotJSONError": "send only what JSON has: objects with string keys, finite numbers, no sets",
    "PayloadTooLargeError": "put the data elsewhere and send where it is, or raise `max_payload_bytes`",
    "QueueFullError": "send later or raise `queue_size`; see with `stats` who does not keep up",
    "ResponseError": "nothing: what the server said of one call of a batch becomes that call's own error",
    "RetryExhaustedError": "look at `__cause__`, the last failure",
    "RuntimeError": "call things in the order that the message names",
    "SlotMismatchError": "send with a `dedup_id` first, then acknowledge: two steps, the same effect",
    "StoreUnavailableError": "nothing was done, so the same call can be repeated once the server is well",
    "TypeError": "hand over what the message asks for",
    "UndecodableEntryError": "nothing: what cannot be read becomes a dead letter with this as its cause",
    "ValueError": "mend the argument; nothing was sent",
}
"""What to do about each exception of the library; `tests/release/site` asks for one line a class."""


_PAGE = """\
# Errors

Every message there is, read from the source. Braces stand for what is filled in.

## What the library raises

All exceptions but those for bad arguments descend from `CoordinationError`. A send does not
raise for what the store or the payload does: it returns a `MessageResult` whose `cause` is the
machine-readable form of the same errors, and `raise_for_error()` turns it into one of them.

{raised}

## What the library logs

Below the logger `tta_agent_coordination`. A warning says what it goes on without; an error, that a
message or an agent needs a person.

| level | message | logged in |
|---|---|---|
{logged}

## What the commands say

To standard error, with an exit code that `--help` names. What to do next stands in the message.

| message | said in |
|---|---|
{said}

## What tta-adopt finds

One line a finding, as `file:line: rule: what; remedy`.

| rule | where | what | what to do next |
|---|---|---|---|
{findings}

## What the doctor finds

What v0's processes leave behind in Redis, and what `--repair` does about it.

| kind | what | mended by |
|---|---|---|
{kinds}

## The release tools

A stage refuses with one or more problems: the rule, the place, what is wrong there, the remedy.

| rule | where | what | what to do next |
|---|---|---|---|
{problems}
"""

_ERROR = """\
### {error}

What to do next: {next}.

| message | raised in |
|---|---|
{rows}"""


def _cell(text: str) -> str:
    return (
        " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "")
    )


def _rows(cells: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _stated(stated: Sequence[Stated]) -> str:
    return _rows(
        (f"`{_cell(each.rule)}`", _cell(each.where), _cell(each.what), _cell(each.remedy))
        for each in sorted(set(stated))
    )


def errors_page(
    *,
    raised: Sequence[Raised] = (),
    logged: Sequence[Logged] = (),
    said: Sequence[Said] = (),
    findings: Sequence[Stated] = (),
    kinds: Sequence[Stated] = (),
    problems: Sequence[Stated] = (),
) -> str:
    """The page of all messages, each once.

    Args:
        raised: The library's exceptions.
        logged: Its lines for the log.
        said: What its commands say.
        findings: What `tta-adopt` finds.
        kinds: What the doctor finds.
        problems: What the release tools refuse for.
    """
    once = sorted(set(raised))
    usage = [Said(message=each.message, where=each.where) for each in once if _is_of_commands(each)]
    errors = sorted({each.error for each in once if not _is_of_commands(each)})
    return _PAGE.format(
        raised="\n\n".join(
            _section(error, [each for each in once if each.error == error]) for error in errors
        ),
        logged=_rows((each.level, _cell(each.message), f"`{each.where}`") for each in sorted(set(logged))),
        said=_rows((_cell(each.message), f"`{each.where}`") for each in sorted({*said, *usage})),
        findings=_stated(findings),
        kinds=_rows((f"`{each.rule}`", _cell(each.what), _cell(each.remedy)) for each in sorted(set(kinds))),
        problems=_stated(problems),
    )


def _is_of_commands(raised: Raised) -> bool:
    return raised.error.startswith(OF_COMMANDS)


def _section(error: str, raised: Sequence[Raised]) -> str:
    """What one exception says, and what to do about it."""
    return _ERROR.format(
        error=error,
        next=NEXT.get(error, "see its page in the API reference"),
        rows=_rows((_cell(each.message), f"`{each.where}`") for each in raised),
    )

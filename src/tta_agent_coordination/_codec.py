"""Owns the stored form of an entry: message to text, text to message, and the few bytes at its end that vary.

Pure: no Redis, no asyncio. The form is v0's, compact and ASCII, with two fields of ours behind v0's last one:

    {"message":{...},"priority":5,"enqueued_at":"...","delivery_attempts":0,"last_error":null,"nonce":"..."}

and `"expires_at":N` behind the nonce, added by the server. The Lua scripts splice the same tail.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, cast

from pydantic import ValidationError

from tta_agent_coordination.messaging import QueueMessage
from tta_agent_coordination.models import AgentId, AgentMessage, MessagePriority, MessageType

__all__ = [
    "MAX_ERROR_CHARS",
    "UndecodableEntryError",
    "decode",
    "encode_entry",
    "encode_error",
    "encode_message",
    "entry_id",
    "fail",
    "needle",
    "revive",
]

MAX_ERROR_CHARS = 2_000
"""How much of an error text is kept, in characters."""

_MIN_ID_CHARS = 6
_MAX_DEPTH = 190
"""Nesting that readers accept: their JSON parser stops at 200, and a payload stands two levels deep."""

_CONTAINERS = (dict, list, tuple)

_STRICT = json.JSONEncoder(separators=(",", ":"), allow_nan=False)

_NONCE = re.compile(rb'"nonce":\s*"(\w+)"(?:,\s*"expires_at":\s*\d+)?\s*}\Z')
_TAIL = re.compile(
    rb'("delivery_attempts":)\s*\d{1,9},\s*"last_error":\s*(?:null|"(?:[^"\\]|\\.)*")'
    rb'(?:,\s*"nonce":\s*"(\w+)")?(?:,\s*"expires_at":\s*\d+)?\s*}\Z',
    re.DOTALL,
)


class UndecodableEntryError(ValueError):
    """A stored text is not an entry."""


@lru_cache(maxsize=1024)
def _agent(name: str, instance: str | None) -> str:
    checked = AgentId(type=name, instance=instance)  # one that was assigned unchecked would be unreadable
    return f'{{"type":{json.dumps(checked.type)},"instance":{json.dumps(checked.instance)}}}'


def _require_readable(payload: object) -> None:
    """Refuse what `json.dumps` converts in silence or no reader accepts: keys not text, deep nesting."""
    containers: list[object] = [payload]
    depth = 0
    while containers:
        depth += 1
        if depth > _MAX_DEPTH:
            raise ValueError(f"payload is nested deeper than {_MAX_DEPTH} levels")
        inner: list[object] = []
        for container in containers:
            if isinstance(container, dict):
                mapping = cast("dict[object, object]", container)
                for key in mapping:
                    if not isinstance(key, str):
                        raise TypeError(f"payload key {key!r} is not text")
                values: Iterable[object] = mapping.values()
            else:
                values = cast("Iterable[object]", container)
            inner += [value for value in values if isinstance(value, _CONTAINERS)]
        containers = inner


def _are_texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def encode_payload(payload: object) -> str:
    """Return a payload as strict, compact, ASCII JSON.

    Raises:
        TypeError: If a value or a key has no JSON form.
        ValueError: If it is circular, too deep, not a finite number, or not valid Unicode.
    """
    if not isinstance(payload, dict):
        raise TypeError(f"payload must be a JSON object, not {type(payload).__name__}")
    try:
        text = _STRICT.encode(payload)
    except RecursionError:
        raise ValueError(f"payload is nested deeper than {_MAX_DEPTH} levels") from None
    _require_readable(cast("object", payload))
    if "\\ud" in text:
        json.dumps(payload, ensure_ascii=False).encode()
    return text


def encode_message(message: AgentMessage) -> tuple[str, int]:
    """Return a message as JSON text, and how many bytes of it are payload.

    Raises:
        TypeError: If a field or payload value has no JSON form.
        ValueError: If a field holds what no reader would accept.
    """
    payload = encode_payload(message.payload)
    message_id, timestamp, routing = message.message_id, message.timestamp, message.routing
    sender, recipient = message.sender, message.recipient
    if not _are_texts(message_id, timestamp or "") or len(message_id) < _MIN_ID_CHARS:
        raise ValueError("message_id (at least 6 characters) and timestamp must be texts")
    routing_json = '{"topic":null,"tags":[]}'
    if routing.topic is not None or routing.tags:
        if not _are_texts(routing.topic or "", *routing.tags):
            raise ValueError("topic and tags must be texts")
        routing_json = _STRICT.encode({"topic": routing.topic, "tags": list(routing.tags)})
    head = (
        f'{{"message_id":{_STRICT.encode(message_id)},"sender":{_agent(sender.type, sender.instance)},'
        f'"recipient":{_agent(recipient.type, recipient.instance)},'
        f'"message_type":"{MessageType(message.message_type).value}","payload":'
    )
    end = (
        f',"priority":{int(MessagePriority(message.priority))},"routing":{routing_json},'
        f'"timestamp":{_STRICT.encode(timestamp)}}}'
    )
    if "\\ud" in head or "\\ud" in end:
        json.dumps(json.loads(head + "null" + end), ensure_ascii=False).encode()
    return head + payload + end, len(payload)


def encode_entry(message_json: str, *, priority: int, enqueued_at: str, nonce: str) -> bytes:
    """Return a fresh entry around an encoded message; `nonce` (hex) makes it unlike every other."""
    return (
        f'{{"message":{message_json},"priority":{priority},"enqueued_at":"{enqueued_at}",'
        f'"delivery_attempts":0,"last_error":null,"nonce":"{nonce}"}}'
    ).encode("ascii")


def encode_error(error: object) -> str:
    """Return an error text as JSON: cut to `MAX_ERROR_CHARS`, and with what no reader accepts replaced."""
    if error is None:
        return "null"
    return json.dumps(str(error)[:MAX_ERROR_CHARS].encode("utf-8", "replace").decode())


def decode(entry: bytes) -> QueueMessage:
    """Return what an entry says, whoever wrote it.

    Raises:
        UndecodableEntryError: If it is not the JSON of a `QueueMessage`.
    """
    try:
        return QueueMessage.model_validate_json(entry)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UndecodableEntryError(f"{where}: {first['msg']}" if where else first["msg"]) from None


def entry_id(entry: bytes) -> str:
    """Return what names an entry: its nonce, or its own text where it has none."""
    found = _NONCE.search(entry[-128:])
    return (found.group(1) if found else entry).decode("utf-8", "backslashreplace")


def needle(message_id: str) -> bytes:
    """Return a text that every entry with this message id contains."""
    return json.dumps(message_id).encode()


def revive(entry: bytes, nonce: str) -> tuple[int, bytes] | None:
    """Return level and text of a dead entry as a new one: no attempts, no error, no expiry, a new nonce.

    Returns:
        None where the entry cannot be read.
    """
    try:
        queue_message = decode(entry)
    except UndecodableEntryError:
        return None
    level = int(queue_message.priority)
    tail = _TAIL.search(entry, max(0, entry.rfind(b'"delivery_attempts":')))
    if tail:
        return level, entry[: tail.end(1)] + f'0,"last_error":null,"nonce":"{nonce}"}}'.encode()
    fields = json.loads(entry)
    fields.pop("expires_at", None)
    fields.update(delivery_attempts=0, last_error=None, nonce=nonce)
    try:
        return level, _in_order(fields)
    except ValueError:  # a number that is none: v0 stores it, and nobody can write it as JSON again
        return None


def fail(entry: bytes, error: object) -> tuple[int, bytes] | None:
    """Return attempts and text of an entry with one more failure, for tails that the script does not know.

    Returns:
        None where the entry cannot be read.
    """
    try:
        attempts = decode(entry).delivery_attempts + 1
        fields = json.loads(entry)
        fields.update(delivery_attempts=attempts, last_error=json.loads(encode_error(error)))
        return attempts, _in_order(fields)
    except (ValueError, RecursionError):
        return None


def _in_order(fields: dict[str, Any]) -> bytes:
    """Write fields back with ours at the end, where the scripts look for them."""
    tail = {
        name: fields.pop(name)
        for name in ("delivery_attempts", "last_error", "nonce", "expires_at")
        if name in fields
    }
    first = {name: fields.pop(name) for name in ("message", "priority", "enqueued_at") if name in fields}
    return json.dumps(first | fields | tail, separators=(",", ":"), allow_nan=False).encode("ascii")

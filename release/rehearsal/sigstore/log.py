"""The transparency log: takes a signed statement, and proves with a Merkle tree that it is in the log.

Shapes follow Rekor's v1 API (entries of kind `dsse`); the tree and its proofs follow RFC 6962, section 2.1,
the signed checkpoint follows the log's note format.
"""

import base64
import binascii
import datetime as dt
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import rfc8785
from pydantic import BaseModel, Field, ValidationError

from release.rehearsal.sigstore.keys import SigningKey
from release.rehearsal.wire import Request, Response, json_response

__all__ = ["TransparencyLog", "inclusion", "tree_hash"]

_ORIGIN = "rekor.sigstore.dev"
_TREE = 1


class _Proposed(BaseModel):
    envelope: str
    verifiers: Annotated[list[str], Field(min_length=1, max_length=1)]


class _Spec(BaseModel):
    content: Annotated[_Proposed, Field(alias="proposedContent")]


class _Entry(BaseModel):
    """What a client proposes."""

    kind: Literal["dsse"]
    version: Annotated[Literal["0.0.1"], Field(alias="apiVersion")]
    spec: _Spec


class _Signature(BaseModel):
    sig: str


class _Envelope(BaseModel):
    """A signed statement (DSSE)."""

    payload: str
    signatures: Annotated[list[_Signature], Field(min_length=1, max_length=1)]


class TransparencyLog:
    """An append-only list of entries with one key.

    Args:
        clock: UTC.
    """

    def __init__(self, clock: Callable[[], dt.datetime]) -> None:
        self._clock = clock
        self.key = SigningKey()
        self.entries: list[bytes] = []
        """The body of each entry, in order."""

    async def handle(self, request: Request) -> Response:
        """Take an entry, or say why not."""
        if (request.method, request.path.rstrip("/")) != ("POST", "/api/v1/log/entries"):
            return json_response({"code": 404, "message": "not found"}, status=404)
        try:
            body = _body(request.body)
        except (ValidationError, binascii.Error) as error:
            said = f"error processing entry: {str(error).splitlines()[0]}"
            return json_response({"code": 400, "message": said}, status=400)
        self.entries.append(body)
        return json_response(self._integrated(body), status=201)

    def _integrated(self, body: bytes) -> dict[str, object]:
        """The newest entry with its promise and its proof, under its id."""
        leaves = [_leaf(entry) for entry in self.entries]
        index, root = len(leaves) - 1, tree_hash(leaves)
        entry: dict[str, str | int] = {
            "body": base64.b64encode(body).decode(),
            "integratedTime": int(self._clock().timestamp()),
            "logID": self.key.key_id.hex(),
            "logIndex": index,
        }
        promise = self.key.sign(rfc8785.dumps(dict(entry)))
        proof = {
            "checkpoint": self._checkpoint(len(leaves), root),
            "hashes": [node.hex() for node in inclusion(leaves, index)],
            "logIndex": index,
            "rootHash": root.hex(),
            "treeSize": len(leaves),
        }
        verification = {
            "inclusionProof": proof,
            "signedEntryTimestamp": base64.b64encode(promise).decode(),
        }
        return {leaves[index].hex(): {**entry, "verification": verification}}

    def _checkpoint(self, size: int, root: bytes) -> str:
        note = f"{_ORIGIN} - {_TREE}\n{size}\n{base64.b64encode(root).decode()}\n"
        signed = self.key.key_id[:4] + self.key.sign(note.encode())
        return f"{note}\n\N{EM DASH} {_ORIGIN} {base64.b64encode(signed).decode()}\n"


def _body(proposed: bytes) -> bytes:
    """The entry that is logged for a proposed one: digests, and who signed; not the statement itself.

    Raises:
        ValidationError: when it is not an entry of kind `dsse`.
        binascii.Error: when the statement is not Base64.
    """
    content = _Entry.model_validate_json(proposed).spec.content
    envelope = _Envelope.model_validate_json(content.envelope)
    statement = base64.b64decode(envelope.payload, validate=True)
    spec = {
        "envelopeHash": _digest(content.envelope.encode()),
        "payloadHash": _digest(statement),
        "signatures": [{"signature": envelope.signatures[0].sig, "verifier": content.verifiers[0]}],
    }
    return json.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}, separators=(",", ":")).encode()


def _digest(data: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


def _leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """The root over at least one leaf hash (RFC 6962, section 2.1)."""
    if len(leaves) == 1:
        return leaves[0]
    half = _half(len(leaves))
    return _node(tree_hash(leaves[:half]), tree_hash(leaves[half:]))


def inclusion(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes that prove the leaf at `index`, from the leaf upwards (RFC 6962, section 2.1.1)."""
    if len(leaves) == 1:
        return []
    half = _half(len(leaves))
    if index < half:
        return [*inclusion(leaves[:half], index), tree_hash(leaves[half:])]
    return [*inclusion(leaves[half:], index - half), tree_hash(leaves[:half])]


def _half(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)

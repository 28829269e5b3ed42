"""What a loopback index makes of attestations: as PyPI, it asks whether they are the publisher's word."""

import hashlib
import json

import pytest

from release.indexes import IndexName
from release.rehearsal.minting import Publisher
from tests.release.rehearsal.support import FACTS, WHEEL_NAME
from tests.release.signing.support import Signing

DATA = b"the bytes of a wheel"
SHA256 = hashlib.sha256(DATA).hexdigest()
WORKFLOW = Publisher(
    owner=FACTS.owner,
    owner_id=FACTS.owner_id,
    repository=FACTS.repository,
    workflow=FACTS.workflow,
    environment="pypi",
    project=FACTS.project,
)


@pytest.mark.parametrize("name", list(IndexName))
def test_an_index_takes_the_publishers_word(signing: Signing, name: IndexName) -> None:
    """For whichever commit: an index does not know which one is released."""
    signed = json.loads(signing.sign(WHEEL_NAME, DATA, sha="b" * 40).model_dump_json())
    assert signing.world.indexes[name].verifier(signed, WORKFLOW, WHEEL_NAME, SHA256) is None


def test_an_index_takes_no_other_word(signing: Signing) -> None:
    """Other bytes, another publisher, no attestation at all: each in its own words."""
    verifier = signing.world.indexes[IndexName.PYPI].verifier
    signed = json.loads(signing.sign(WHEEL_NAME, DATA).model_dump_json())
    assert "digest" in (verifier(signed, WORKFLOW, WHEEL_NAME, "0" * 64) or "")
    theirs = json.loads(signing.sign(WHEEL_NAME, DATA, repository=f"{FACTS.owner}/fork").model_dump_json())
    assert (verifier(theirs, WORKFLOW, WHEEL_NAME, SHA256) or "").startswith("does not verify: ")
    none = verifier({"version": 2}, WORKFLOW, WHEEL_NAME, SHA256)
    assert none == "is no attestation: Input should be 1"

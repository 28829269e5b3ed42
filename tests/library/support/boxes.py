"""The keys and the lane that tests on a stand-in for the store name in what they expect."""

from __future__ import annotations

from tests.library.support.builders import NARRATIVE, WORLD
from tta_agent_coordination import _keys
from tta_agent_coordination._redis.scripts import Lane

__all__ = ["BOX", "LANE", "OTHER"]

BOX = _keys.inbox("ao", WORLD, hash_tags=False)
"""The recipient's inbox."""
OTHER = _keys.inbox("ao", NARRATIVE, hash_tags=False)
"""Somebody else's inbox."""
LANE = Lane(b"lane", 5)
"""A lane that is told apart from any that a coordinator takes."""

"""Owns the message coordinators: shells that check, encode, call one script, decode, and map errors."""

from tta_agent_coordination.coordinators.redis_message_coordinator import RedisMessageCoordinator

__all__ = ["RedisMessageCoordinator"]

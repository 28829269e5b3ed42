"""Owns `AgentWorker`: takes an agent's messages, hands them to handlers, and settles them."""

from tta_agent_coordination.worker._handling import Follow, Handler
from tta_agent_coordination.worker._worker import AgentWorker

__all__ = ["AgentWorker", "Follow", "Handler"]

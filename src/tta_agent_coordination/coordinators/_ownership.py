"""Owns whose leases a coordinator takes: bound to a registration, they come back when it is declared dead.

It is a part of `RedisMessageCoordinator`; what it shares with its other operations is declared here. It knows
no registry: a registration is a number that somebody tells.
"""

from __future__ import annotations

from collections.abc import Callable

from tta_agent_coordination import _keys
from tta_agent_coordination.coordinators._addressing import Addressing
from tta_agent_coordination.coordinators._leases import Leases
from tta_agent_coordination.models import AgentId

__all__ = ["Ownership"]


class Ownership(Addressing):
    """The part of a coordinator that couples leases to registrations."""

    _leases: Leases

    def bind_leases(self, agent_id: AgentId, epoch: Callable[[], int | None] | None) -> None:
        """Have every lease that is taken from an inbox from now on record the registration it is taken for.

        Args:
            agent_id: Whose inbox.
            epoch: Tells the registration's epoch when a lease is taken, None for none; None unbinds.
        """
        name = _keys.inbox_name(agent_id)
        if epoch is None:
            self._leases.owners.pop(name, None)
        else:
            self._leases.owners[name] = epoch

    async def return_leases(self, agent_id: AgentId, epoch: int) -> int:
        """End the leases that a registration took and never renewed, 500 looked at in one atomic script.

        For whoever found that the registration is dead. Messages go back to the place they had, with one
        expiry counted; a lease that was renewed since it was taken is left to run out.

        Args:
            agent_id: Whose inbox.
            epoch: The dead registration.

        Returns:
            How many messages went back.

        Raises:
            MessageCoordinatorError: If the store failed.
        """
        return await self._leases.return_owned(self._box(agent_id), epoch)

"""Owns the registry that many processes share: v0's synchronous names, in front of `_membership`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from pydantic import BaseModel

from tta_agent_coordination import _keys, _numbers
from tta_agent_coordination._clock import Clock
from tta_agent_coordination._redis.client import Client, is_cluster
from tta_agent_coordination.coordinators._ownership import Ownership
from tta_agent_coordination.interfaces import Agent
from tta_agent_coordination.models import AgentId
from tta_agent_coordination.registries._capabilities import CapabilityMatch, matches, read_capabilities
from tta_agent_coordination.registries._directory import Directory
from tta_agent_coordination.registries._entries import agent_id_of, stored_id
from tta_agent_coordination.registries._events import AgentEvent, RegistryWatch
from tta_agent_coordination.registries._liveness import Liveness
from tta_agent_coordination.registries._membership import Membership, SupersededCallback
from tta_agent_coordination.registries._store import RegistryStore
from tta_agent_coordination.registries._tasks import Pending, nothing
from tta_agent_coordination.registries.agent_registry import AgentRegistry

__all__ = ["RedisAgentRegistry"]

MIN_TTL_S, MAX_TTL_S = 0.001, 31_536_000.0
"""Bounds of the heartbeat TTL: a millisecond, and a year. Seconds."""


class RedisAgentRegistry(AgentRegistry):
    """The agents of many processes, and which of them are alive, by the Redis server's clock.

    An agent is alive while its last heartbeat is younger than one TTL, suspect up to two, then dead: within
    one more TTL whoever heartbeats takes it away, and tells everybody once. From 20 agents on, when half of
    them or more lapse together, the store is held to be the reason, and deaths wait for two TTLs at most.

    Each registration has an epoch. An agent that registers again takes the name over: the older registration
    can neither write nor deregister any more, stops heartbeating and is told. Safe for concurrent use in one
    event loop; nothing binds to a loop at construction. `aclose` ends heartbeats and waits for what is on its
    way; the registrations stay and lapse unless they were taken away.

    Args:
        redis: A redis-py asyncio client for one server, or for a cluster with `hash_tags`.
        key_prefix: Begins every key, as in v0; a trailing colon is dropped.
        heartbeat_ttl_s: How long a heartbeat keeps an agent alive, seconds.
        heartbeat_interval_s: Seconds between heartbeats; None is a third of the TTL, a second at least.
        enable_events: Also bring events that this process caused to `event_publisher`.
        event_publisher: Has v0's `publish_agent_status_event(agent_id=, agent_type=, status=, instance=,
            previous_status=, heartbeat_age=, metadata=)`.
        hash_tags: Put the prefix in braces, so that all keys of the registry share a slot.
        clock: Takes the place of the server's clock, for tests.

    Raises:
        ValueError: A number or the prefix cannot be used, or a cluster client comes without `hash_tags`.
    """

    def __init__(
        self,
        redis: Any,  # noqa: ANN401 - redis-py's classes are generic in ways that no user should have to spell
        key_prefix: str = "ao",
        heartbeat_ttl_s: float = 30.0,
        heartbeat_interval_s: float | None = None,
        enable_events: bool = False,
        event_publisher: object = None,
        *,
        hash_tags: bool = False,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(clock=clock)
        if is_cluster(redis) and not hash_tags:
            raise ValueError(
                "a cluster client needs hash_tags=True: the keys of a registry must share a slot"
            )
        self._ttl = _numbers.number("heartbeat_ttl_s", heartbeat_ttl_s, low=MIN_TTL_S, high=MAX_TTL_S)
        self._hb_interval_s = (
            max(1.0, self._ttl / 3)
            if heartbeat_interval_s is None
            else _numbers.number(
                "heartbeat_interval_s", heartbeat_interval_s, low=0, high=MAX_TTL_S, open_low=True
            )
        )
        self._pfx = _keys.clean_prefix(key_prefix)
        self._redis: Any = redis
        self._returning: list[Ownership] = []
        self._store = RegistryStore(
            cast("Client", redis), _keys.registry(self._pfx, hash_tags=hash_tags), clock
        )
        self._directory = Directory(self._store)
        self._membership = Membership(
            self._store,
            self._directory,
            self._tasks,
            ttl_s=self._ttl,
            interval_s=self._hb_interval_s,
            clock=clock,
            publisher=event_publisher if enable_events else None,
        )

    def __repr__(self) -> str:
        """Show the prefix, the TTL and how many agents are of this process."""
        return f"{type(self).__name__}({self._pfx!r}, ttl={self._ttl:g} s, {len(self._agents)} agents)"

    async def aclose(self) -> None:
        """End heartbeats and health checks and wait for what is on its way. Repeatable."""
        self.stop_periodic_health_checks()  # told before anything is waited for: this may be cancelled
        await self._membership.close()
        await super().aclose()

    # v0's synchronous names.

    def register(self, agent: Agent) -> Awaitable[None]:
        """Add an agent here, give it the state that a predecessor stored, and register it for everybody.

        The store is told in the background; a failure is logged and tried again, at last by the heartbeats.
        Without a running event loop it is told at the first heartbeat, or when the answer is awaited.

        Returns:
            Something that can be awaited, and need not be: done once the store knows the agent. It raises
            `AgentRegistryError` where the store could not be told in some seconds.
        """
        super().register(agent)
        record = self._membership.add(agent)
        return Pending(lambda: self._membership.registered(record))

    def deregister(self, agent_id: AgentId) -> Awaitable[None]:
        """Take an agent of this process away, for everybody unless somebody else has its name by now.

        Works as `register` does: in the background, tried again, without a loop at the next heartbeat.
        """
        super().deregister(agent_id)
        record = self._membership.remove(_keys.inbox_name(agent_id))
        return Pending(nothing if record is None else lambda: self._membership.deregistered(record))

    def start_heartbeats(self) -> Awaitable[None]:
        """Begin to heartbeat for this process's agents; does nothing where that is so already.

        The task ends with `stop_heartbeats` or `aclose` and with nothing else. Needs a running event loop;
        without one it only says so.

        Returns:
            Something that can be awaited: done after the first heartbeat that the store took.
        """
        return self._membership.start()

    def stop_heartbeats(self) -> Awaitable[None]:
        """End the heartbeats, if there are any. Awaiting the answer waits until they have ended."""
        return self._membership.stop()

    def set_superseded_callback(self, callback: SupersededCallback) -> None:
        """Say what happens when another process registers the name of an agent of this one.

        Args:
            callback: An async function of the agent whose registration is over. It is still in this registry,
                but nothing is written for it.
        """
        self._membership.on_superseded = callback

    def add_death_callback(self, callback: Callable[[AgentEvent], Awaitable[object]]) -> None:
        """Have an async function called for each death that this process found; one process finds each."""
        self._membership.on_death.append(callback)

    def return_leases_through(self, coordinator: Ownership) -> None:
        """Have the leases of each agent whose death this process finds come back at once, not at their end.

        Only leases that a worker took while it was bound to the dead registration, and never renewed.

        Args:
            coordinator: Reaches the inboxes, with the prefix and the options of those who work on them.
        """

        async def give_back(event: AgentEvent) -> None:
            if event.agent_id is not None:
                await coordinator.return_leases(event.agent_id, event.epoch)

        if coordinator not in self._returning:
            self._returning.append(coordinator)
            self.add_death_callback(give_back)

    def on_draining(self, agent_id: AgentId, callback: Callable[[bool], object]) -> Callable[[], None]:
        """Have a function called when an agent of this process begins or ends to drain.

        Returns:
            A function that ends that.
        """
        return self._membership.listen(_keys.inbox_name(agent_id), callback)

    async def _delete(self, agent_id: AgentId) -> None:
        """Take whatever is registered under an id away, whoever registered it; TTA calls this."""
        record = self._membership.remove(_keys.inbox_name(agent_id), told=True)
        if record is not None:
            await self._membership.ended(record)
        await self._membership.deregister_any(_keys.inbox_name(agent_id))

    # Draining.

    def discover(self, agent_type: str) -> list[Agent]:
        """Return this process's agents of a type that run, are not degraded and do not drain."""
        return [agent for agent in super().discover(agent_type) if not self.is_draining(agent.agent_id)]

    async def set_draining(self, agent_id: AgentId, draining: bool = True) -> bool:
        """Say that an agent of this process takes nothing new, or takes it again.

        Returns:
            False where it is not registered from here, or no longer.

        Raises:
            AgentRegistryError: The store failed.
        """
        return await self._membership.drain(_keys.inbox_name(agent_id), draining=draining)

    def is_draining(self, agent_id: AgentId) -> bool:
        """Return whether an agent of this process drains."""
        record = self._membership.records.get(_keys.inbox_name(agent_id))
        return record is not None and record.draining

    def epoch_of(self, agent_id: AgentId) -> int | None:
        """Return the epoch of an agent of this process, None while it has none."""
        record = self._membership.records.get(_keys.inbox_name(agent_id))
        return None if record is None else record.epoch

    # What is registered.

    async def list_registered(self) -> list[dict[str, Any]]:
        """Return everybody's agents: v0's entries, with `alive`, `liveness`, `epoch` and `draining` added.

        Reads pages of about 150 agents; what v0 processes registered is included, alive while its key lives.

        Raises:
            AgentRegistryError: The store failed; it is never an empty list.
        """
        return await self._directory.list()

    async def snapshot_async(self) -> dict[str, Any]:
        """Return `local`, the snapshot of this process, and `redis_index`, everybody's agents.

        Raises:
            AgentRegistryError: The store failed.
        """
        return {"local": self.snapshot(), "redis_index": await self.list_registered()}

    async def get_all_agents(self) -> dict[str, dict[str, Any]]:
        """Return everybody's agents by `type:instance`, each as `get_agent_info` does.

        Raises:
            AgentRegistryError: The store failed.
        """
        named = ((stored_id(entry), entry) for entry in await self.list_registered())
        return {str(agent_id): _info(entry) for agent_id, entry in named if agent_id is not None}

    async def get_agent_info(self, agent_id: str | AgentId) -> dict[str, Any] | None:
        """Return what is known of the agent called `type:instance`, None where nothing is.

        Returns:
            `agent_type`, `instance`, `name`, `status`, `alive`, `last_heartbeat`, `capabilities`, `state`;
            also `liveness`, `epoch`, `draining`.

        Raises:
            AgentRegistryError: The store failed.
        """
        try:
            name = _keys.inbox_name(agent_id_of(str(agent_id)))
        except ValueError:
            return None
        entry = await self._directory.get(name)
        return None if entry is None else _info(entry)

    async def restore_state_if_available(self, agent: Agent) -> bool:
        """Give an agent the state that its predecessor stored; tell whether there was one and it took it.

        Raises:
            AgentRegistryError: The store failed.
        """
        return await self._membership.restore(agent)

    async def liveness(self, agent_id: AgentId) -> Liveness:
        """Ask the store whether an agent is alive.

        Raises:
            AgentRegistryError: The store failed.
        """
        return await self._directory.liveness(_keys.inbox_name(agent_id))

    def liveness_view(self) -> Callable[[str], str]:
        """Return a function that says of `type:instance` whether it is alive, from memory.

        It knows what the last heartbeat of this process found, and says `unknown` until there was one. Give
        it to a coordinator as `liveness`, and each send says whether its recipient is alive.
        """
        membership = self._membership
        if membership.view is None:
            membership.view = {}

        def look(name: str) -> str:
            return (membership.view or {}).get(name, Liveness.UNKNOWN).value

        return look

    def watch(self) -> RegistryWatch:
        """Return the events of all agents from now on, as an async iterator over `AgentEvent`."""
        return RegistryWatch(self._redis, self._store.keys.channel)

    # Capabilities.

    async def register_capabilities(self, agent_id: AgentId, capability_set: BaseModel) -> bool:
        """Store what an agent of this process can do, in the place of what it says itself.

        Args:
            agent_id: An agent that is registered here.
            capability_set: A model with a list `capabilities` of objects that have a `name`, and perhaps a
                `type`.

        Returns:
            False where the agent is not registered here.

        Raises:
            ValueError: It is no such model.
            AgentRegistryError: The store failed.
        """
        capabilities = read_capabilities(capability_set)
        if capabilities is None:
            raise ValueError(
                f"{type(capability_set).__name__} is no set of capabilities: it needs a list `capabilities`"
            )
        return await self._membership.advertise(_keys.inbox_name(agent_id), capabilities)

    async def get_agent_capabilities(self, agent_id: AgentId) -> dict[str, Any] | None:
        """Return what an agent stored of what it can do, None where it stored nothing or is not registered.

        Raises:
            AgentRegistryError: The store failed.
        """
        entry = await self._directory.get(_keys.inbox_name(agent_id))
        return None if entry is None else entry.get("capabilities")

    async def list_all_capabilities(self) -> list[dict[str, Any]]:
        """Return the set of capabilities of each agent that has one.

        Raises:
            AgentRegistryError: The store failed.
        """
        return [entry["capabilities"] for entry in await self.list_registered() if entry.get("capabilities")]

    async def find_by_capability(
        self, name: str | None = None, *, capability_type: str | None = None
    ) -> list[CapabilityMatch]:
        """Return who can do something, best first; agents that drain are left out.

        Args:
            name: What it is called, or a part of that, in any case; None for anything.
            capability_type: Of which type it is, in any case; None for any.

        Raises:
            AgentRegistryError: The store failed.
        """
        return matches(await self.list_registered(), name=name, capability_type=capability_type)


def _info(entry: dict[str, Any]) -> dict[str, Any]:
    agent_id = entry["agent_id"]
    return {
        "agent_type": agent_id.get("type"),
        "instance": agent_id.get("instance"),
        **{
            key: entry.get(key)
            for key in ("name", "status", "alive", "last_heartbeat", "capabilities", "state")
        },
        **{key: entry.get(key) for key in ("liveness", "epoch", "draining")},
    }

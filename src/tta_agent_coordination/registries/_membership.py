"""Owns this process's part in the registry: registrations, heartbeats, what is done about who has gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from tta_agent_coordination import _clock, _keys
from tta_agent_coordination._clock import Clock
from tta_agent_coordination._redis import registry_scripts as scripts
from tta_agent_coordination._redis.registry_scripts import RegistryReply, RegistryStatus, parse_change
from tta_agent_coordination.exceptions import AgentRegistryError
from tta_agent_coordination.interfaces import Agent
from tta_agent_coordination.registries._directory import Directory
from tta_agent_coordination.registries._events import AgentEvent, AgentEventKind, PublisherRelay, to_event
from tta_agent_coordination.registries._liveness import Liveness
from tta_agent_coordination.registries._record import Registration
from tta_agent_coordination.registries._store import RegistryStore
from tta_agent_coordination.registries._tasks import OwnedTasks, Pending, ending, has_loop, nothing, runs

__all__ = ["Membership", "SupersededCallback"]

type SupersededCallback = Callable[[Agent], Awaitable[object]]

_RETRY_DELAYS_S = (0.1, 0.3, 1.0, 3.0)

SWEEPS = 100
"""Sweeps in a row, of 200 lapses and 200 deaths each, before the next heartbeat is due."""

_log = logging.getLogger("tta_agent_coordination.registries")


class Membership:
    """The registrations of one process.

    Attributes:
        records: By name; what is not here is not heartbeated.
        on_superseded: Told of each agent whose name somebody else has now.
        on_death: Told of each death that this process found.
        view: Everybody's liveness as of the last heartbeat, kept where somebody asked for it.
    """

    def __init__(
        self,
        store: RegistryStore,
        directory: Directory,
        tasks: OwnedTasks,
        *,
        ttl_s: float,
        interval_s: float,
        clock: Clock | None,
        publisher: object,
    ) -> None:
        self.records: dict[str, Registration] = {}
        self.on_superseded: SupersededCallback | None = None
        self.on_death: list[Callable[[AgentEvent], Awaitable[object]]] = []
        self._store = store
        self._directory = directory
        self._tasks = tasks
        self._ttl_s = ttl_s
        self._interval_s = interval_s
        self._clock = clock
        self._relay = PublisherRelay(publisher, tasks)
        self._leaving: list[Registration] = []
        self._on_draining: dict[str, list[Callable[[bool], object]]] = {}
        self.view: dict[str, Liveness] | None = None
        self._heartbeats: asyncio.Task[None] | None = None
        self._first: asyncio.Event | None = None
        self._prune_due = 0.0
        self._missing: dict[str, float] = {}

    def __repr__(self) -> str:
        """Show how many agents are registered from here."""
        return f"Membership({len(self.records)} agents)"

    def _wall(self) -> float:
        return time.time() if self._clock is None else _clock.from_us(self._clock.now_us())

    # Registering.

    def add(self, agent: Agent) -> Registration:
        """Begin to register an agent, after what is still under way for its name."""
        name = _keys.inbox_name(agent.agent_id)
        old = self.records.get(name)
        if old is not None:
            old.closed = True
        leaving = next((record for record in reversed(self._leaving) if record.name == name), None)
        before = old or leaving
        record = Registration(agent, None if before is None else before.step)
        self.records[name] = record
        if has_loop():
            self._step_register(record)
        return record

    def _step_register(self, record: Registration) -> asyncio.Task[None]:
        task = self._tasks.start(self._register(record), f"register {record.name}")
        record.step = task
        return task

    async def registered(self, record: Registration) -> None:
        """Wait until the store knows a registration, and tell it where nobody has."""
        if record.epoch is None and not runs(record.step) and not record.closed:
            self._step_register(record)
        if record.step is not None and record.step.get_loop() is asyncio.get_running_loop():
            await asyncio.shield(record.step)

    async def _register(self, record: Registration) -> None:
        await _gone(record.after)
        await _retried(f"Registering {record.name}", lambda: self._register_once(record))

    async def _register_once(self, record: Registration) -> None:
        if not record.restored and not record.closed:
            await self.restore(record.agent)
            record.restored = True
        await record.ask()
        if record.closed:
            return
        beat = record.beat(self._wall())
        reply = await self._store.write(
            lambda lane: scripts.registry_register(
                lane,
                self._store.keys,
                now_us=self._store.now_us(),
                name=record.name,
                ttl_us=_clock.to_us(self._ttl_s),
                draining=record.draining,
                status=beat.status,
                entry=beat.entry,
                capabilities=beat.capabilities,
            )
        )
        epoch, _, at_us = reply.text.partition("|")
        record.epoch = int(epoch)
        event = AgentEvent(
            kind=AgentEventKind.REGISTERED,
            agent_id=record.agent.agent_id,
            epoch=record.epoch,
            status=beat.status,
            at=_clock.iso_from_us(int(at_us)),
        )
        self._relay.tell(event, {"name": record.agent.name, **record.status})

    async def restore(self, agent: Agent) -> bool:
        """Give an agent what a predecessor left; tell whether there was something and it took it."""
        entry = await self._directory.get(_keys.inbox_name(agent.agent_id))
        state: object = None if entry is None else entry.get("state")
        if not isinstance(state, dict) or not state:
            return False
        try:
            await agent.import_state(cast("dict[str, Any]", state))
        except Exception as error:  # noqa: BLE001 - the user's agent
            _log.warning("Agent %s: import_state failed: %s: %s", agent.name, type(error).__name__, error)
            return False
        return True

    # Leaving.

    def remove(self, name: str, *, told: bool = False) -> Registration | None:
        """Stop heartbeating for a name and begin to deregister it; with `told` the caller does that."""
        record = self.records.pop(name, None)
        if record is None:
            return None
        record.closed = True
        if told:
            return record
        if has_loop():
            self._step_deregister(record)
        else:
            self._leaving.append(record)
        return record

    def _step_deregister(self, record: Registration) -> asyncio.Task[None]:
        task = self._tasks.start(self._deregister(record, record.step), f"deregister {record.name}")
        record.step = task
        self._leaving.append(record)
        task.add_done_callback(lambda _: self._left(record))
        return task

    def _left(self, record: Registration) -> None:
        if record.epoch is None and record in self._leaving:
            self._leaving.remove(record)

    async def deregistered(self, record: Registration) -> None:
        """Wait until the store has forgotten a registration, and tell it where nobody has."""
        if record.epoch is not None and not runs(record.step):
            self._leaving = [other for other in self._leaving if other is not record]
            self._step_deregister(record)
        await self.ended(record, quietly=False)

    async def ended(self, record: Registration, *, quietly: bool = True) -> None:
        """Wait for the last step of a registration."""
        if quietly:
            await _gone(record.step)
        elif record.step is not None and record.step.get_loop() is asyncio.get_running_loop():
            await asyncio.shield(record.step)

    async def _deregister(self, record: Registration, before: asyncio.Task[Any] | None) -> None:
        await _gone(before)
        epoch = record.epoch
        if epoch is not None:
            await _retried(f"Deregistering {record.name}", lambda: self._take_away(record.name, epoch))
            record.epoch = None

    async def deregister_any(self, name: str) -> None:
        """Take away whatever is registered under a name."""
        await self._take_away(name, None)

    async def _take_away(self, name: str, epoch: int | None) -> None:
        reply = await self._store.write(
            lambda lane: scripts.registry_deregister(
                lane, self._store.keys, now_us=self._store.now_us(), name=name, epoch=epoch
            )
        )
        self._take_lines(reply)

    # Changes.

    async def drain(self, name: str, *, draining: bool) -> bool:
        """Mark a registration of ours as draining or not."""
        record = self.records.get(name)
        if record is None:
            return False
        record.draining = draining
        for callback in self._on_draining.get(name, ()):
            callback(draining)
        await self.registered(record)
        epoch = record.epoch
        if epoch is None:
            return False
        reply = await self._store.write(
            lambda lane: scripts.registry_drain(
                lane, self._store.keys, now_us=self._store.now_us(), name=name, epoch=epoch, draining=draining
            )
        )
        self._take_lines(reply)
        return reply.status is RegistryStatus.OK

    def listen(self, name: str, callback: Callable[[bool], object]) -> Callable[[], None]:
        """Have a function called when one of our agents begins or ends to drain; return what ends that."""
        listening = self._on_draining.setdefault(name, [])
        listening.append(callback)
        return lambda: listening.remove(callback)

    async def advertise(self, name: str, capabilities: dict[str, Any]) -> bool:
        """Store what one of our agents can do."""
        record = self.records.get(name)
        if record is None:
            return False
        record.advertise(capabilities)
        await self.registered(record)
        if record.epoch is not None:
            await self._send([record.beat(self._wall())], sweep=False)
        return record.epoch is not None

    # Heartbeats.

    def start(self) -> Pending[None]:
        """Begin to heartbeat."""
        if not has_loop():
            _log.warning("Heartbeats need a running event loop; they are not started")
            return Pending(nothing)
        if not runs(self._heartbeats) or self._first is None:
            self._first = asyncio.Event()
            self._heartbeats = self._tasks.start(self._beat_for_ever(self._first), "registry heartbeats")
        first = self._first

        async def begun() -> None:
            await first.wait()

        return Pending(begun)

    def stop(self) -> Pending[None]:
        """End the heartbeats."""
        task, self._heartbeats = self._heartbeats, None
        return ending(task)

    async def close(self) -> None:
        """End the heartbeats, and what agents are still asked for."""
        await self.stop()
        for record in self.records.values():
            await ending(record.export)

    async def _beat_for_ever(self, first: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        failing = False
        while True:
            started = loop.time()
            try:
                await self.beat()
            except AgentRegistryError as error:
                if not failing:
                    _log.warning(
                        "The store takes no heartbeats: %s; they go on, and this is said once", error
                    )
                failing = True
            except Exception:  # noqa: BLE001 - whatever the users' agents do
                _log.exception("A heartbeat failed; the next one is tried all the same")
            else:
                if failing:
                    _log.info("The store takes heartbeats again")
                failing = False
                first.set()
            await asyncio.sleep(max(0.0, self._interval_s - (loop.time() - started)))

    async def beat(self) -> None:
        """Heartbeat once for all our agents, and take away who has stopped.

        Raises:
            AgentRegistryError: The store failed.
        """
        for record in [record for record in self._leaving if not runs(record.step)]:
            self._leaving.remove(record)
            self._step_deregister(record)
        wall, beats = self._wall(), list[scripts.Beat]()
        for record in list(self.records.values()):
            if record.epoch is None:
                if not runs(record.step):
                    self._step_register(record)
                continue
            if not runs(record.export):
                record.export = self._tasks.start(record.ask(), f"ask {record.name}")
            try:
                beats.append(record.beat(wall))
            except Exception as error:  # noqa: BLE001 - the user's agent
                _log.warning("Agent %s has no heartbeat: %s: %s", record.name, type(error).__name__, error)
        # Our own heartbeats come first: a sweep before the last of them would find ours lapsed.
        size = scripts.AGENTS_A_SCRIPT
        while len(beats) > size:
            await self._send(beats[:size], sweep=False)
            beats = beats[size:]
        for _ in range(SWEEPS):
            reply = await self._send(beats, sweep=True)
            if reply.status is not RegistryStatus.AGAIN:
                break
            beats = []
        if self.view is not None:
            self.view = await self._directory.view()
        await self._prune()

    async def _send(self, beats: list[scripts.Beat], *, sweep: bool) -> RegistryReply:
        reply = await self._store.write(
            lambda lane: scripts.registry_beat(
                lane,
                self._store.keys,
                now_us=self._store.now_us(),
                ttl_us=_clock.to_us(self._ttl_s),
                sweep=sweep,
                beats=beats,
            ),
            within_s=max(self._ttl_s, 1.0),
        )
        self._take_lines(reply, {beat.name: beat.epoch for beat in beats})
        return reply

    def _take_lines(self, reply: RegistryReply, sent: dict[str, int] | None = None) -> None:
        for line in reply.lines:
            kind, _, name = line.partition("|")
            if kind in {"gone", "superseded"}:
                record = self.records.get(name)
                if record is not None and record.epoch == (sent or {}).get(name):
                    self._lost(record, superseded=kind == "superseded")
                continue
            change = parse_change(line)
            event = None if change is None else to_event(change)
            if event is not None:
                self._happened(event)

    def _lost(self, record: Registration, *, superseded: bool) -> None:
        record.epoch = None
        if not superseded:
            # Declared dead, or taken away by hand, while we live: a new registration, under a new epoch.
            _log.warning("Agent %s was taken out of the registry and registers again", record.name)
            self._step_register(record)
            return
        record.closed = True
        del self.records[record.name]
        _log.warning(
            "Agent %s: another process has registered its name; its heartbeats end here", record.name
        )
        if self.on_superseded is not None:
            self._tasks.start(_call(self.on_superseded, record.agent), f"superseded {record.name}")

    def _happened(self, event: AgentEvent) -> None:
        if event.kind is AgentEventKind.EXPIRY_PAUSED:
            _log.warning(
                "%s of %s agents lapsed together: the store is held to be the reason, and deaths wait for "
                "two heartbeat TTLs at most",
                event.status,
                event.previous_status,
            )
            return
        name = str(event.agent_id)
        record = self.records.get(name)
        metadata: dict[str, Any] = {} if record is None else {"name": record.agent.name, **record.status}
        if event.kind is AgentEventKind.DIED:
            _log.warning("Agent %s died: no heartbeat for %.1f s", name, event.heartbeat_age)
            for callback in self.on_death:
                self._tasks.start(_call(callback, event), f"death of {name}")
        elif event.kind is AgentEventKind.DEREGISTERED:
            metadata["reason"] = "explicit_deregistration"
        self._relay.tell(event, metadata)

    async def _prune(self) -> None:
        """Take from v0's index what was without a key at two looks, more than one TTL apart."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now < self._prune_due:
            return
        self._prune_due = now + self._ttl_s
        since = {name: self._missing.get(name, now) for name in await self._directory.unrenewed()}
        old = [name for name, at in since.items() if now - at >= self._ttl_s]
        self._missing = {name: at for name, at in since.items() if now - at < self._ttl_s}
        for start in range(0, len(old), scripts.AGENTS_A_SCRIPT):
            page = old[start : start + scripts.AGENTS_A_SCRIPT]
            await self._store.write(lambda lane: scripts.registry_prune(lane, self._store.keys, names=page))  # noqa: B023 - awaited here


async def _retried(what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do something until the store takes it; the last failure is raised."""
    delays = iter(_RETRY_DELAYS_S)
    while True:
        try:
            return await work()
        except AgentRegistryError as error:
            delay = next(delays, None)
            if delay is None:
                raise
            _log.warning("%s, next try in %s s: %s", what, delay, error)
        await asyncio.sleep(delay)


async def _gone(task: asyncio.Task[Any] | None) -> None:
    if runs(task):
        await asyncio.wait([cast("asyncio.Task[Any]", task)])


async def _call[T](callback: Callable[[T], Awaitable[object]], argument: T) -> None:
    await callback(argument)

"""Owns one run of the doctor: which keys there are, who is suspect, and that debris is what stays debris.

A v0 process works in several steps, and between two of them its keys look like debris. So the scripts look
three times, a pause apart, and only what had the same mark each time is found, and mended at the third
look. The pause is longer than a v0 process may stand still between two steps. A reservation has at most two
such moments in its life, when it is made and when it ends; each falls into one look at most, so three looks
spare every living one. A ghost may still be a message that was on its way at each look: that is why it
becomes a dead letter, and is neither deleted nor delivered.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

from tta_agent_coordination import _keys
from tta_agent_coordination._clock import Clock
from tta_agent_coordination._redis.client import Client
from tta_agent_coordination.coordinators._calls import Calls
from tta_agent_coordination.doctor.findings import Debris, Report, shown
from tta_agent_coordination.doctor.inboxes import Inboxes, Suspect
from tta_agent_coordination.doctor.indexes import FAMILIES, Indexes, Listed
from tta_agent_coordination.exceptions import CoordinationError
from tta_agent_coordination.registries._store import RegistryStore

__all__ = ["LOOKS", "MAX_SUSPECTS", "Examination"]

LOOKS = 3
"""How often the scripts look at a suspect."""

MAX_SUSPECTS = 100_000
"""Suspects that one run holds in memory; what is beyond them is for the next run."""

_PAGE = 1_000
_BOXES_A_PAGE = 20
_SAY_EVERY = 10_000


class Examination:
    """One run over one server and one prefix.

    Args:
        client: A client for one server, the doctor's own.
        prefix: Begins every key, without trailing colons.
        server: How a report names the server.
        repair: Mend what is found.
        settle: Awaited between two looks, for longer than a v0 process may stand still between two steps.
        say: Told how far the run is, a line each.
        clock: Used instead of the server's time; only for tests.
    """

    def __init__(
        self,
        client: Client,
        prefix: str,
        *,
        server: str,
        repair: bool,
        settle: Callable[[], Awaitable[object]],
        say: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        self._calls = Calls(client)
        self._prefix = prefix
        self._repair = repair
        self._settle = settle
        self._say = say
        self._inboxes = Inboxes(self._calls, clock)
        self._indexes = Indexes(RegistryStore(client, _keys.registry(prefix, hash_tags=False), None))
        self._report = Report(server=server, prefix=prefix, repair=repair)
        self._boxes: dict[str, set[bytes]] = {}
        self._agents: dict[str, set[str]] = {family: set() for family in FAMILIES}
        self._held = 0

    async def run(self) -> Report:
        """Look, wait, look again, and once more; return what was found.

        Raises:
            MessageCoordinatorError: The store failed; what was mended stays mended.
            AgentRegistryError: Likewise.
        """
        await self._find_keys()
        suspects = await self._suspect_inboxes()
        listed = await self._suspect_agents()
        for look in range(LOOKS):
            if not suspects and not listed:
                break
            mending = self._repair and look == LOOKS - 1
            if look:
                await self._settle()
            suspects = await self._judge_inboxes(suspects, repair=mending)
            listed = await self._judge_agents(listed, repair=mending)
            left = sum(map(len, [*suspects.values(), *listed.values()]))
            self._say(f"look {look + 1} of {LOOKS}: {left:,} suspects are not as they should be")
        for name, mine in suspects.items():
            for suspect in mine:
                self._report.add(suspect.finding(self._box(name), mended=self._repair))
        for family, names in listed.items():
            for each in names:
                self._report.add(each.finding(self._indexes.index(family), mended=self._repair))
        return self._report

    def _box(self, name: str) -> _keys.Inbox:
        return _keys.inbox_of(self._prefix, name, hash_tags=False)

    async def _find_keys(self) -> None:
        pattern = _keys.scan_pattern(self._prefix, "*")
        nameless: set[bytes] = set()
        cursor = 0
        while True:
            cursor, page = await self._calls.scan_page("SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE)
            before = self._report.keys
            self._report.keys += len(page)
            for key in page:
                place = _keys.parse_place(self._prefix, key)
                if place is None:
                    continue
                if place.name is None:
                    nameless.add(key)
                elif place.family == "inbox":
                    self._boxes.setdefault(place.name, set()).add(key)
                else:
                    self._agents[place.family].add(place.name)
            if before // _SAY_EVERY != self._report.keys // _SAY_EVERY:
                self._say(f"{self._report.keys:,} keys seen, {len(self._boxes):,} inboxes")
            if cursor == 0:
                break
        for key in sorted(nameless):
            self._add("nameless", key, "key")
        self._report.inboxes = len(self._boxes)

    async def _suspect_inboxes(self) -> dict[str, list[Suspect]]:
        found: dict[str, list[Suspect]] = {}
        names = sorted(self._boxes)
        for start in range(0, len(names), _BOXES_A_PAGE):
            boxes = {self._box(name): self._boxes[name] for name in names[start : start + _BOXES_A_PAGE]}
            wrong = await self._inboxes.wrong_types(boxes)
            for key in wrong:
                self._add("wrong-type", key, "inbox")
            unfit = {box.name for box in wrong.values()}
            fit = {box: there for box, there in boxes.items() if box.name not in unfit}
            for box, first in (await self._first_pages(fit)).items():
                mine = await self._gathered(box.queue, self._inboxes.suspects(box, first))
                if mine := self._within_bounds(box.queue, mine):
                    found[box.name] = mine
            done = start + len(boxes)
            if done // _SAY_EVERY != start // _SAY_EVERY or done == len(names):
                self._say(f"{done:,} of {len(names):,} inboxes read, {self._held:,} suspects")
        return found

    async def _first_pages(self, boxes: dict[_keys.Inbox, set[bytes]]) -> dict[_keys.Inbox, dict[bytes, Any]]:
        """Read the first pages of some inboxes; one whose key became another type is left out."""
        try:
            first = await self._inboxes.first_pages(boxes)
        except CoordinationError as error:
            self._must_be_wrong_type(error)
            if len(boxes) > 1:
                singly = [await self._first_pages({box: there}) for box, there in boxes.items()]
                return {box: first for each in singly for box, first in each.items()}
            [box] = boxes
            self._add("wrong-type", box.queue, "became another type meanwhile")
            return {}
        return dict.fromkeys(boxes, first)

    async def _suspect_agents(self) -> dict[str, list[Listed]]:
        found: dict[str, list[Listed]] = {}
        for family in FAMILIES:
            index = self._indexes.index(family)
            if not await self._indexes.is_readable(family):
                self._add("wrong-type", index, "index")
                continue
            names = self._agents[family]
            async for member, name in self._indexes.members(family):
                if name is None:
                    self._add("nameless", index, shown(member))
                else:
                    names.add(name)
            if family == "agents":
                self._report.agents = len(names)
                async for name in self._indexes.broken(sorted(names)):
                    self._add("registration", index, name)
            if names:
                found[family] = [Listed(name) for name in sorted(names)]
        return found

    def _within_bounds(self, place: bytes, suspects: list[Suspect]) -> list[Suspect]:
        room = MAX_SUSPECTS - self._held
        if len(suspects) > room:
            self._add("not-looked-at", place, f"{len(suspects) - room:,} suspects")
        self._held += min(len(suspects), room)
        return suspects[:room]

    async def _judge_inboxes(
        self, suspects: dict[str, list[Suspect]], *, repair: bool
    ) -> dict[str, list[Suspect]]:
        left: dict[str, list[Suspect]] = {}
        for name, mine in suspects.items():
            judged = self._inboxes.judge(self._box(name), mine, repair=repair)
            if found := await self._gathered(self._box(name).queue, judged):
                left[name] = found
        return left

    async def _judge_agents(
        self, listed: dict[str, list[Listed]], *, repair: bool
    ) -> dict[str, list[Listed]]:
        left: dict[str, list[Listed]] = {}
        for family, mine in listed.items():
            judged = self._indexes.judge(family, mine, repair=repair)
            if found := await self._gathered(self._indexes.index(family), judged):
                left[family] = found
        return left

    async def _gathered[T](self, place: bytes, stream: AsyncIterable[T]) -> list[T]:
        """Gather what a part of the run yields; a key that became another type ends that part alone."""
        found: list[T] = []
        try:
            async for each in stream:
                found.append(each)  # noqa: PERF401 - what came before the error counts
        except CoordinationError as error:
            self._must_be_wrong_type(error)
            self._add("wrong-type", place, "became another type meanwhile")
        return found

    @staticmethod
    def _must_be_wrong_type(error: CoordinationError) -> None:
        if "WRONGTYPE" not in str(error):
            raise error

    def _add(self, kind: str, place: bytes, subject: str) -> None:
        self._report.add(Debris(kind, shown(place), subject))

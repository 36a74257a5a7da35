"""The port `farm`: which Asterisk shall place a call? Knows the call farm by its heartbeats.

The one with the fewest channels is chosen. Between heartbeats the calls that were sent somewhere count as
channels there, so that a burst does not all go to the same place.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from uuid import UUID

from call_manager.domain.ports import ChooseAsterisk, ChosenAsterisk
from evercall.bus.bus import Bus
from evercall.contracts.asterisk import Heartbeat
from evercall.service.errors import PlatformError, Unavailable

ROLE = "call"

FRESH = 3.0
"""Seconds after which an Asterisk that does not speak does not count: six heartbeats."""

PATIENCE = 2.0
"""Seconds that a process that was just started waits for its first heartbeats."""


@dataclass(slots=True)
class _Member:
    heartbeat: Heartbeat
    heard: float
    load: int


class FarmPort:
    """Chooses an Asterisk for each outgoing call."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._clock = clock
        self._members: dict[str, _Member] = {}
        self._since = clock()
        self._heard = asyncio.Event()

    async def start(self) -> None:
        """Begins to listen for heartbeats."""
        self._since = self._clock()
        await self._bus.subscribe_farm(["heartbeat.*"], (Heartbeat,), self.hear)

    async def hear(self, heartbeat: Heartbeat) -> None:
        """An Asterisk is alive."""
        if heartbeat.role == ROLE:
            self._members[heartbeat.asterisk_id] = _Member(
                heartbeat, self._clock(), heartbeat.channels
            )
            self._heard.set()

    def known(self, request: ChooseAsterisk) -> ChosenAsterisk | PlatformError | None:
        """The choice, unless this process has only just begun to listen."""
        chosen = self._choose(request)
        if chosen is not None:
            return chosen
        if self._clock() - self._since < PATIENCE:
            return None
        return _none_there()

    async def answer(self, request: ChooseAsterisk) -> ChosenAsterisk:
        """The choice, after waiting for first heartbeats.

        Raises:
            Unavailable: no Asterisk takes calls now.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                while (chosen := self._choose(request)) is None:
                    self._heard.clear()
                    await self._heard.wait()
                return chosen
        except TimeoutError:
            raise _none_there() from None

    def _choose(self, request: ChooseAsterisk) -> ChosenAsterisk | None:
        now = self._clock()
        takers = [
            member
            for member in self._members.values()
            if member.heartbeat.connected
            and not member.heartbeat.draining
            and now - member.heard < FRESH
            and _chosen(member) not in request.tried
        ]
        if not takers:
            return None
        chosen = min(takers, key=lambda member: (member.load, _distance(request.call_id, member)))
        chosen.load += 1
        return _chosen(chosen)


def _chosen(member: _Member) -> ChosenAsterisk:
    beat = member.heartbeat
    return ChosenAsterisk(asterisk_id=beat.asterisk_id, boot_id=beat.boot_id)


def _distance(call_id: UUID, member: _Member) -> bytes:
    """Among equals the call's id decides, so that replicas do not all prefer the same one."""
    return blake2b(call_id.bytes + member.heartbeat.asterisk_id.encode(), digest_size=8).digest()


def _none_there() -> Unavailable:
    return Unavailable("asterisk_unavailable", "No Asterisk takes calls now")

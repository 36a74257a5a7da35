"""Watches the Asterisks of the farm: hears heartbeats, asks those of whom it hears none, tells who is lost.

Every process that must know runs one; they do not talk to each other. What each concludes may be told twice.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from prometheus_client import Counter

from evercall.bus.bus import Bus
from evercall.contracts.asterisk import Heartbeat
from evercall.contracts.membership import Echo
from evercall.membership import sip
from evercall.membership.detector import Detector
from evercall.service.errors import Unavailable
from evercall.service.lifecycle import Tasks
from evercall.service.logging import get_logger
from evercall.service.settings import Address, parse_address

log = get_logger(__name__)

INTERVAL = 0.5
PROBE_SECONDS = 1.0
"""For so long an answer is waited for; Asterisk needs milliseconds."""

LATE_ECHO = 2.0
"""Seconds after which an echo is of no use: heartbeats that take as long would look like silence."""

TELL_INTERVAL = 5.0
"""Seconds after which a loss is told again, for what was not there to hear it."""

LOST = Counter("evercall_membership_lost_total", "Asterisks that were found to be lost")

Tell = Callable[[str, str], Awaitable[None]]


class Watch:
    """`tell` hears the id and the boot id of each Asterisk that is lost, again and again while it is. It may
    raise `Unavailable`: then it is told soon again."""

    def __init__(self, bus: Bus, tasks: Tasks, instance: str, after: float, tell: Tell) -> None:
        """`after` is the number of seconds without a sign of life."""
        self._bus = bus
        self._tasks = tasks
        self._instance = instance
        self._tell = tell
        self._detector = Detector(after)
        self._addresses: dict[str, Address] = {}
        self._asked: set[str] = set()
        self._told: dict[tuple[str, str], float] = {}

    async def start(self) -> None:
        """Begins to listen and to judge."""
        await self._bus.subscribe_farm(["heartbeat.*"], (Heartbeat,), self.hear)
        await self._bus.subscribe_farm([f"echo.{self._instance}"], (Echo,), self.hear_echo)
        self._tasks.start("watch", self._run())

    async def hear(self, beat: Heartbeat) -> None:
        """A proxy tells of its Asterisk."""
        self._addresses[beat.asterisk_id] = parse_address(beat.sip_address)
        now = time.monotonic()
        self._detector.heard(beat.asterisk_id, beat.boot_id, now, alive=beat.connected)

    async def hear_echo(self, echo: Echo) -> None:
        """Our own word came back. One that took long proves that we hear no better."""
        now = time.monotonic()
        if now - echo.sent < LATE_ECHO:
            self._detector.echoed(now)

    async def _run(self) -> None:
        while True:
            try:
                await self._bus.publish_farm(f"echo.{self._instance}", Echo(sent=time.monotonic()))
                await self._tell_lost()
            except Unavailable:
                log.debug("watch_is_deaf")
            for asterisk_id in self._detector.suspects(time.monotonic()):
                if asterisk_id not in self._asked:
                    self._asked.add(asterisk_id)
                    self._tasks.start("probe", self._ask(asterisk_id))
            await asyncio.sleep(INTERVAL)

    async def _ask(self, asterisk_id: str) -> None:
        try:
            if await sip.answers(self._addresses[asterisk_id], PROBE_SECONDS):
                self._detector.answered(asterisk_id, time.monotonic())
        except OSError as error:
            # The way there is cut off, which is not its fault, but no sign of life either.
            log.warning("probe_failed", asterisk_id=asterisk_id, error=repr(error))
        finally:
            self._asked.discard(asterisk_id)

    async def _tell_lost(self) -> None:
        now = time.monotonic()
        lost = self._detector.lost(now)
        self._told = {one: at for one, at in self._told.items() if one in lost}
        for one in lost:
            if one not in self._told:
                LOST.inc()
                log.error("asterisk_lost", asterisk_id=one[0], boot_id=one[1])
            elif now - self._told[one] < TELL_INTERVAL:
                continue
            await self._tell(*one)
            self._told[one] = now

"""Publishes what the outbox holds, in order, until the broker has it safe.

A publish that is not confirmed, or refused, is repeated from here: the shards and what they work on are not
touched by it. Should the process end, the next owner finds the rows in the database.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

from prometheus_client import Counter

from evercall.actor.store import OutboxRow
from evercall.service.logging import get_logger

log = get_logger(__name__)

CHUNK = 256
"""Rows that are published together."""

MOST = 10_000
"""Rows that may wait here before the engine takes no more work."""

FIRST_DELAY = 0.25
LAST_DELAY = 5.0

RETRIES = Counter(
    "evercall_actor_outbox_retries_total",
    "Times that the broker did not confirm what the outbox published",
    ["service"],
)


class Outbox:
    """The rows that are committed and not yet confirmed."""

    def __init__(
        self,
        service: str,
        publish: Callable[[Sequence[OutboxRow]], Awaitable[bool]],
        published: Callable[[Sequence[OutboxRow]], None],
    ) -> None:
        """`publish` returns whether the broker has all of the rows; `published` hears of those it has."""
        self._publish = publish
        self._published = published
        self._retries = RETRIES.labels(service)
        self._rows: deque[OutboxRow] = deque()
        self._more = asyncio.Event()
        self._generation = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing should be added."""
        return len(self._rows) >= MOST

    def add(self, rows: Sequence[OutboxRow]) -> None:
        """Takes committed rows."""
        if rows:
            self._rows.extend(rows)
            self._more.set()

    def clear(self) -> None:
        """Forgets all rows: who claims their shards loads them again."""
        self._rows.clear()
        self._generation += 1

    async def run(self) -> None:
        """Publishes until it is cancelled."""
        delay = FIRST_DELAY
        while True:
            await self._more.wait()
            if await self._publish_chunk():
                delay = FIRST_DELAY
                continue
            self._retries.inc()
            await asyncio.sleep(delay)
            delay = min(LAST_DELAY, 2 * delay)

    async def _publish_chunk(self) -> bool:
        rows = list(islice(self._rows, CHUNK))
        if not rows:
            self._more.clear()
            return True
        generation = self._generation
        if not await self._publish(rows):
            log.debug("outbox_not_confirmed", rows=len(rows))
            return False
        if generation == self._generation:
            for _ in rows:
                self._rows.popleft()
        self._published(rows)
        return True

"""What is to be done later: timers of actors, and retries of what was asked and not answered. Pure."""

import heapq
from collections.abc import Callable
from datetime import datetime
from itertools import count
from uuid import UUID

from evercall.actor.turn import Due, Retry, Work

COMPACT_FROM = 1_000
"""Entries below which nothing is tidied up."""


class Schedule:
    """Work by time. Entries that were cancelled or moved stay until they are due or the heap is compacted;
    whoever takes them finds that they are out of date."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Work]] = []
        self._number = count()
        self._compact_at = COMPACT_FROM

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next(self) -> datetime | None:
        """When the first entry is due."""
        return self._heap[0][0] if self._heap else None

    def add(self, kind: str, actor: UUID, body: Due | Retry) -> None:
        """Schedules a timer or a retry of an actor."""
        entry = (body.at, next(self._number), Work(kind, actor, body))
        heapq.heappush(self._heap, entry)

    def due(self, now: datetime) -> list[Work]:
        """Takes what is due, earliest first."""
        found: list[Work] = []
        while self._heap and self._heap[0][0] <= now:
            found.append(heapq.heappop(self._heap)[2])
        return found

    def compact(self, is_current: Callable[[Work], bool]) -> None:
        """Drops entries that are out of date, once there are so many entries that it pays."""
        if len(self._heap) < self._compact_at:
            return
        self._heap = [entry for entry in self._heap if is_current(entry[2])]
        heapq.heapify(self._heap)
        self._compact_at = max(COMPACT_FROM, 2 * len(self._heap))

    def clear(self) -> None:
        """Drops everything."""
        self._heap.clear()
        self._compact_at = COMPACT_FROM

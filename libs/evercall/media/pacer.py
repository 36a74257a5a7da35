"""One 20 ms ticker for all streams of a process: who owes how many frames now.

A timer per stream costs ten times as much as one for all (1000 streams: 26 % of a core against 3 %,
measured with uvloop). All streams at the same instant would hold up whatever else arrives, though, and the
last one would be late by the work for all before it. So the 20 ms are divided into slots, each with its
share of the streams; within a slot the order never changes, and with it no stream's distance between frames.

Who falls behind (another process had the processor) sends the frames of up to `CATCH_UP` ticks at once,
which a receiver's jitter buffer takes without a gap. What is behind more than that is skipped: time has
passed in which nothing was sent. Nothing of the audio that waits is lost by it, it is played later.

    while True:
        sleep until pacer.next_at()
        for due in pacer.due(now()):
            for stream in due.streams: …
"""

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import msgspec

from evercall.media.audio import FRAME_MILLISECONDS

INTERVAL = FRAME_MILLISECONDS / 1000
SLOTS = 4
CATCH_UP = 3
"""Ticks that are made up for: 60 ms, what the shortest of common jitter buffers holds (Asterisk's fixed one
holds 200 ms, a telephone's 40 to 100)."""

Stream = TypeVar("Stream", bound=Hashable)


class Due(msgspec.Struct, Generic[Stream], frozen=True):
    """Streams that all owe `frames` frames, after `skipped` frames of time without any."""

    streams: Sequence[Stream]
    frames: int
    skipped: int


class Pacer(Generic[Stream]):
    """The ticks of all streams."""

    def __init__(self, now: float, slots: int = SLOTS) -> None:
        self._slots: list[list[Stream]] = [[] for _ in range(slots)]
        self._slot_of: dict[Stream, int] = {}
        self._joining: dict[Stream, None] = {}
        self._step = INTERVAL / slots
        self._begun = now
        self._done = 0
        """Slots that are over, since the beginning."""

    def __len__(self) -> int:
        return len(self._slot_of) + len(self._joining)

    def __contains__(self, stream: Stream) -> bool:
        return stream in self._slot_of or stream in self._joining

    def add(self, stream: Stream) -> None:
        """A stream joins at the next tick, and owes nothing for the time before."""
        if stream not in self._slot_of:
            self._joining[stream] = None

    def remove(self, stream: Stream) -> None:
        """A stream leaves."""
        self._joining.pop(stream, None)
        slot = self._slot_of.pop(stream, None)
        if slot is not None:
            self._slots[slot] = [other for other in self._slots[slot] if other != stream]

    def next_at(self) -> float:
        """When the next slot is due."""
        # Counted from the beginning, not added up: sums of 5 ms would drift.
        return self._begun + (self._done + 1) * self._step

    def due(self, now: float) -> list[Due[Stream]]:
        """What is due, in the order in which it became so."""
        count = len(self._slots)
        # The smallest part of a slot early is in time: dividing may have rounded down.
        over = int((now - self._begun) / self._step + 1e-6)
        first, self._done = self._done, max(self._done, over)
        due = []
        for number in range(first, min(self._done, first + count)):
            ticks = (self._done - number - 1) // count + 1
            streams = self._slots[number % count]
            if streams:
                frames = min(ticks, CATCH_UP)
                due.append(Due(streams, frames, ticks - frames))
        self._admit()
        return due

    def _admit(self) -> None:
        """Into the slots with the fewest."""
        for stream in self._joining:
            slot = min(range(len(self._slots)), key=lambda number: len(self._slots[number]))
            # A new list: the one that `due` has handed out is still in use.
            self._slots[slot] = [*self._slots[slot], stream]
            self._slot_of[stream] = slot
        self._joining.clear()

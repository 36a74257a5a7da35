"""Audio that waits to be played: any pieces in, exact frames out, with marks and a bound.

Positions count the bytes that were put in, from the stream's beginning. A frame that nothing is left for is
filled with silence, which has no position.
"""

from collections import deque
from enum import Enum

import msgspec

from evercall.media.audio import AudioFormat


class Pressure(Enum):
    """What the sender should do."""

    PAUSE = "pause"
    RESUME = "resume"


class Frame(msgspec.Struct, frozen=True, gc=False):
    """What is to be played now. `data` is None where there is nothing; `marks` were reached with it."""

    data: bytes | None
    marks: tuple[str, ...] = ()


class Cleared(msgspec.Struct, frozen=True):
    """What `clear` did: bytes played since the stream began, bytes dropped, marks that will not be reached."""

    played: int
    dropped: int
    marks: tuple[str, ...]


MOST_MARKS = 1000

_NOTHING = Frame(None)
_NO_MARK = -1
_SMALL_FRAMES = 8
"""Small pieces are joined up to so many frames: a million of one byte would take fifty times their size."""


class Playout:
    """The audio of one stream in one direction."""

    def __init__(self, audio_format: AudioFormat, limit: int, start_frames: int = 2) -> None:
        """Makes an empty queue.

        Args:
            audio_format: of all that goes in and out.
            limit: bytes that may wait.
            start_frames: what must wait before playing begins, after a beginning or a pause: a sender in
                real time is a little early or late each time. Less than that is played when it has waited
                for as long.
        """
        self.overflowed = 0
        """Bytes that did not fit."""
        self._frame_bytes = audio_format.frame_bytes
        self._silence = audio_format.silence
        self._limit = limit
        self._start_frames = start_frames
        self._pieces: deque[bytes] = deque()
        self._offset = 0
        """Bytes of the first piece that are played."""
        self._queued = 0
        self._played = 0
        self._marks: deque[tuple[int, str]] = deque()
        self._next_mark = _NO_MARK
        self._is_playing = False
        self._waited = 0
        self._is_paused = False

    @property
    def queued(self) -> int:
        """Bytes that wait."""
        return self._queued

    @property
    def played(self) -> int:
        """Bytes that were played since the stream began."""
        return self._played

    def put(self, data: bytes) -> int:
        """Queues audio. Returns the bytes that did not fit: the last ones, they are dropped."""
        room = self._limit - self._queued
        dropped = max(0, len(data) - room)
        if dropped:
            self.overflowed += dropped
            data = data[:room]
        if data:
            self._queued += len(data)
            if len(data) < self._frame_bytes and self._pieces and self._is_small(self._pieces[-1]):
                self._pieces[-1] += data
            else:
                self._pieces.append(data)
        return dropped

    def mark(self, name: str) -> bool:
        """A mark at the end of what is queued. False where there are too many of them already."""
        if len(self._marks) >= MOST_MARKS:
            return False
        self._marks.append((self._played + self._queued, name))
        self._next_mark = self._marks[0][0]
        return True

    def take(self) -> Frame:
        """The next 20 ms."""
        if not self._is_playing and not self._may_begin():
            return Frame(None, self._reached()) if self._marks else _NOTHING
        first = self._pieces[0]
        end = self._offset + self._frame_bytes
        if end < len(first):
            data = first[self._offset : end]
            self._offset = end
            self._advance(self._frame_bytes)
        elif self._offset == 0 and end == len(first):
            data = first
            self._pieces.popleft()
            self._advance(end)
        else:
            data = self._join()
        marks = self._reached() if self._next_mark >= 0 else ()
        return Frame(data, marks)

    def clear(self) -> Cleared:
        """Drops all that waits."""
        dropped, marks = self._queued, tuple(name for _, name in self._marks)
        self._pieces.clear()
        self._marks.clear()
        self._offset = self._queued = self._waited = 0
        self._next_mark = _NO_MARK
        self._is_playing = False
        return Cleared(self._played, dropped, marks)

    def pressure(self) -> Pressure | None:
        """What the sender should be told now: to pause at three quarters of the limit, to go on at a quarter.
        Each is said once."""
        if not self._is_paused and self._queued * 4 >= self._limit * 3:
            self._is_paused = True
            return Pressure.PAUSE
        if self._is_paused and self._queued * 4 <= self._limit:
            self._is_paused = False
            return Pressure.RESUME
        return None

    def _is_small(self, piece: bytes) -> bool:
        return len(piece) < _SMALL_FRAMES * self._frame_bytes

    def _may_begin(self) -> bool:
        if not self._queued:
            return False
        self._waited += 1
        enough = self._queued >= self._start_frames * self._frame_bytes
        if not enough and self._waited <= self._start_frames:
            return False
        self._is_playing = True
        self._waited = 0
        return True

    def _join(self) -> bytes:
        """A frame of several pieces, or of what is left and silence."""
        parts, missing = [], self._frame_bytes
        while missing and self._pieces:
            piece = self._pieces[0]
            part = piece[self._offset : self._offset + missing]
            parts.append(part)
            missing -= len(part)
            self._offset += len(part)
            if self._offset == len(piece):
                self._pieces.popleft()
                self._offset = 0
        self._advance(self._frame_bytes - missing)
        if missing:
            parts.append(self._silence[:missing])
        return b"".join(parts)

    def _advance(self, count: int) -> None:
        self._played += count
        self._queued -= count
        self._is_playing = self._queued > 0

    def _reached(self) -> tuple[str, ...]:
        reached = []
        while self._marks and self._marks[0][0] <= self._played:
            reached.append(self._marks.popleft()[1])
        self._next_mark = self._marks[0][0] if self._marks else _NO_MARK
        return tuple(reached)

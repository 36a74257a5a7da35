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


class Playout:
    """The audio of one stream in one direction.

    All that waits is one `bytearray`: taking from its front only moves its beginning, and a million pieces
    of one byte take a million bytes.
    """

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
        self.is_paused = False
        """Whether `pressure` has told the sender to pause, and not yet to go on."""
        self._frame_bytes = audio_format.frame_bytes
        self._silence = audio_format.silence_byte
        self._limit = limit
        self._start_frames = start_frames
        self._waiting = bytearray()
        self._played = 0
        self._marks: deque[tuple[int, str]] = deque()
        self._next_mark = _NO_MARK
        self._is_playing = False
        self._ticks_waited = 0

    @property
    def queued(self) -> int:
        """Bytes that wait."""
        return len(self._waiting)

    @property
    def played(self) -> int:
        """Bytes that were played since the stream began."""
        return self._played

    def waiting(self) -> tuple[bytes, list[tuple[int, str]]]:
        """All that waits, for a player elsewhere: the audio, and the marks with their positions in it."""
        marks = [(position - self._played, name) for position, name in self._marks]
        return bytes(self._waiting), marks

    def put(self, data: bytes) -> int:
        """Queues audio. Returns the bytes that did not fit: the last ones, they are dropped."""
        dropped = len(self._waiting) + len(data) - self._limit
        if dropped <= 0:
            self._waiting += data
            return 0
        self.overflowed += dropped
        self._waiting += data[: len(data) - dropped]
        return dropped

    def mark(self, name: str) -> bool:
        """A mark at the end of what is queued. False where there are too many of them already."""
        if len(self._marks) >= MOST_MARKS:
            return False
        self._marks.append((self._played + len(self._waiting), name))
        self._next_mark = self._marks[0][0]
        return True

    def take(self) -> Frame:
        """The next 20 ms."""
        if not self._is_playing and not self._may_begin():
            return Frame(None, self._reached()) if self._marks else _NOTHING
        size = self._frame_bytes
        frame = bytes(self._waiting[:size])
        del self._waiting[:size]
        self._played += len(frame)
        self._is_playing = bool(self._waiting)
        if len(frame) < size:
            frame = frame.ljust(size, self._silence)
        return Frame(frame, self._reached() if self._next_mark >= 0 else ())

    def clear(self) -> Cleared:
        """Drops all that waits."""
        dropped, marks = len(self._waiting), tuple(name for _, name in self._marks)
        self._waiting.clear()
        self._marks.clear()
        self._next_mark = _NO_MARK
        self._ticks_waited = 0
        self._is_playing = False
        return Cleared(self._played, dropped, marks)

    def pressure(self) -> Pressure | None:
        """What the sender should be told now: to pause at three quarters of the limit, to go on at a quarter.
        Each is said once."""
        queued = len(self._waiting)
        if not self.is_paused and queued * 4 >= self._limit * 3:
            self.is_paused = True
            return Pressure.PAUSE
        if self.is_paused and queued * 4 <= self._limit:
            self.is_paused = False
            return Pressure.RESUME
        return None

    def _may_begin(self) -> bool:
        if not self._waiting:
            return False
        self._ticks_waited += 1
        enough = len(self._waiting) >= self._start_frames * self._frame_bytes
        if not enough and self._ticks_waited <= self._start_frames:
            return False
        self._is_playing = True
        self._ticks_waited = 0
        return True

    def _reached(self) -> tuple[str, ...]:
        reached = []
        while self._marks and self._marks[0][0] <= self._played:
            reached.append(self._marks.popleft()[1])
        self._next_mark = self._marks[0][0] if self._marks else _NO_MARK
        return tuple(reached)

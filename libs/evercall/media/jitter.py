"""A jitter buffer for RTP over a network: packets in as they arrive, packets out when they are due.

Each packet has a transit: its arrival minus its timestamp. The fastest of the last seconds is what the path
takes at least, the slowest says how much the path varies; a packet is due when the time has come at which
the slowest one would have arrived (the fastest one's transit plus the depth). That time is kept until

- a packet comes too late: everything is put off, so that the next one will not;
- the path has been calm for a while, or the sender's clock is faster than ours: one packet is left out;
- nothing was played for a moment: the next packet sets the time anew, at no cost.

Nothing here waits: who plays asks every 20 ms. `now` is in seconds; within, time is in units of the
timestamp. A telephone event has a number but no audio: `pass_over` says so, or it would look lost.
"""

from enum import Enum

import msgspec

CAPACITY = 64
"""Packets that fit, 1.28 s of audio; a power of two, since a packet's slot is its number modulo this."""

MISORDER = 100
"""A packet further back than that belongs to a sender that numbers anew (RFC 3550 A.1)."""

_MASK = CAPACITY - 1
_WINDOW_SECONDS = 5.0
"""The fastest and the slowest are remembered for one to two of these."""
_SHRINK_SECONDS = 0.5
_NO_AUDIO = b""
_EXACT = -1.0
"""One sample early is rounding."""
_HALF_RANGE = 1 << 31


class Gap(Enum):
    """Why there is no packet now."""

    NOTHING_DUE = "nothing_due"
    """None has come, or its time has not: silence."""
    LOST = "lost"
    """The packet of this time did not come, but a later one did: a gap to be concealed."""


class JitterStatistics(msgspec.Struct, frozen=True):
    """What happened so far. `left_out` were there but not played, to catch up. `jitter` is RFC 3550's
    (§6.4.1), `depth` what the fastest packets wait at present; both in seconds."""

    received: int
    played: int
    lost: int
    late: int
    duplicates: int
    reordered: int
    left_out: int
    restarts: int
    jitter: float
    depth: float


class JitterBuffer:
    """The packets of one source."""

    def __init__(
        self, rate: int = 8000, *, frame: int = 160, shortest: float = 0.02, longest: float = 0.2
    ) -> None:
        """Makes an empty buffer.

        Args:
            rate: of the timestamps.
            frame: what a packet lasts, in units of the timestamp.
            shortest: the least depth in seconds.
            longest: the greatest.
        """
        self._rate = rate
        self._frame = frame
        # Ticks are never exact: half a frame early is in time, and one frame behind may be a tick that was
        # missed. More is too far behind to be played.
        self._early = -frame / 2
        self._overdue = frame * 1.5
        self._shortest = shortest * rate
        self._longest = longest * rate
        self._payloads: list[bytes | None] = [None] * CAPACITY
        self._stamps = [-1] * CAPACITY
        self._count = 0
        self._next = -1
        """Number of the packet that is due next; -1 before the first."""
        self._suspect = -1
        """Number that would prove that the sender numbers anew."""
        self._expected = 0
        """Timestamp of the packet that is due next, if no pause comes before it."""
        self._stamp = 0
        """The newest packet's timestamp, without wrapping."""
        self._offset = 0.0
        """A packet is due at its timestamp plus this."""
        self._is_set = False
        """Whether the offset fits the ticks of whoever plays."""
        self._ideal = 0.0
        """What the offset would be if it were chosen now."""
        self._deepest = 0.0
        """What it must not stay above."""
        self._fastest = self._slowest = 0.0
        self._fastest_before = self._slowest_before = 0.0
        self._window_end = 0.0
        self._shrunk = 0.0
        self._transit = 0.0
        self._jitter = 0.0
        self._received = self._played = self._lost = self._late = self._duplicates = 0
        self._reordered = self._left_out = self._restarts = 0

    def __len__(self) -> int:
        return self._count

    def statistics(self) -> JitterStatistics:
        """The counters."""
        return JitterStatistics(
            received=self._received,
            played=self._played,
            lost=self._lost,
            late=self._late,
            duplicates=self._duplicates,
            reordered=self._reordered,
            left_out=self._left_out,
            restarts=self._restarts,
            jitter=self._jitter / self._rate,
            depth=(self._offset - min(self._fastest, self._fastest_before)) / self._rate,
        )

    def reset(self) -> None:
        """Another source: its numbers have nothing to do with those before."""
        self._payloads = [None] * CAPACITY
        self._left_out += self._count
        self._count = 0
        self._next = self._suspect = -1

    # -- packets come --------------------------------------------------------------------------

    def add(self, sequence: int, timestamp: int, payload: bytes, now: float) -> None:
        """A packet has arrived."""
        self._received += 1
        arrival = now * self._rate
        if self._next < 0 or sequence - self._next & 0xFFFF >= CAPACITY:
            if not self._accept(sequence, timestamp, arrival):
                return
            self._start(sequence, timestamp, arrival)
        slot = sequence & _MASK
        if self._payloads[slot] is not None:
            self._duplicates += 1
            return
        stamp = self._unwrap(timestamp)
        transit = arrival - stamp
        if stamp >= self._stamp:
            self._stamp = stamp
        else:
            self._reordered += 1
        # RFC 3550 A.8.
        self._jitter += (abs(transit - self._transit) - self._jitter) / 16
        self._transit = transit
        if not self._fastest <= transit <= self._slowest or arrival >= self._window_end:
            self._observe(transit, stamp, arrival)
        if transit > self._offset:
            self._put_off(transit, stamp, arrival)
        self._payloads[slot] = payload
        self._stamps[slot] = stamp
        self._count += 1

    def pass_over(self, sequence: int) -> None:
        """A packet has arrived that holds no audio."""
        slot = sequence & _MASK
        is_near = self._next >= 0 and sequence - self._next & 0xFFFF < CAPACITY
        if is_near and self._payloads[slot] is None:
            self._payloads[slot] = _NO_AUDIO
            self._count += 1

    def _unwrap(self, timestamp: int) -> int:
        """The timestamp nearest to the newest one that has these 32 bits."""
        newest = self._stamp
        return newest + (timestamp - newest + _HALF_RANGE & 0xFFFFFFFF) - _HALF_RANGE

    def _accept(self, sequence: int, timestamp: int, arrival: float) -> bool:
        """Whether a packet that is not among the next ones begins a new numbering."""
        if self._next < 0:
            return True
        back = self._next - sequence & 0xFFFF
        if back <= MISORDER:
            self._came_late(sequence, timestamp, arrival)
            return False
        # RFC 3550 A.1: one packet may be astray; two in a row mean it.
        if sequence == self._suspect:
            self._restarts += 1
            return True
        self._suspect = sequence + 1 & 0xFFFF
        self._left_out += 1
        return False

    def _came_late(self, sequence: int, timestamp: int, arrival: float) -> None:
        stamp = self._unwrap(timestamp)
        if self._stamps[sequence & _MASK] == stamp:
            self._duplicates += 1
            return
        self._late += 1
        self._observe(arrival - stamp, stamp, arrival)
        self._put_off(arrival - stamp, stamp, arrival)

    # -- when a packet is due ------------------------------------------------------------------

    def _start(self, sequence: int, timestamp: int, arrival: float) -> None:
        self.reset()
        self._next = sequence
        self._expected = timestamp
        self._time_anew(arrival - timestamp, timestamp, arrival)

    def _time_anew(self, transit: float, stamp: int, arrival: float) -> None:
        """What was known of the path does not hold any more."""
        self._stamp = stamp
        self._transit = transit
        self._fastest = self._slowest = transit
        self._fastest_before = self._slowest_before = transit
        self._window_end = arrival + _WINDOW_SECONDS * self._rate
        self._offset = self._ideal = transit + self._shortest
        self._deepest = transit + self._longest + self._overdue
        self._is_set = False

    def _observe(self, transit: float, stamp: int, arrival: float) -> None:
        """Takes note of the fastest and the slowest; the windows slide, so that a clock that drifts and a
        path that calms down are followed."""
        if transit < self._fastest - self._rate:
            # A second faster than ever is no packet that hurried but a sender that sets its clock.
            self._time_anew(transit, stamp, arrival)
            return
        if arrival >= self._window_end:
            self._fastest_before, self._slowest_before = self._fastest, self._slowest
            self._fastest = self._slowest = transit
            self._window_end = arrival + _WINDOW_SECONDS * self._rate
        self._fastest = min(self._fastest, transit)
        self._slowest = max(self._slowest, transit)
        fastest = min(self._fastest, self._fastest_before)
        spread = max(self._slowest, self._slowest_before) - fastest
        self._ideal = fastest + min(max(spread, self._shortest), self._longest)
        self._deepest = fastest + self._longest + self._overdue

    def _put_off(self, transit: float, stamp: int, arrival: float) -> None:
        """A packet came after its time."""
        if self._count == 0 and transit > self._ideal:
            # Nothing waits, so that nothing is lost by waiting for it: a sender whose timestamps stand
            # still while it is silent, or a path that has become longer.
            self._time_anew(transit, stamp, arrival)
        elif self._ideal > self._offset:
            self._offset = self._ideal
            self._is_set = False

    # -- packets go ----------------------------------------------------------------------------

    def get(self, now: float) -> bytes | Gap:
        """What is to be played now. To be asked once for each frame of time."""
        time = now * self._rate
        while self._count:
            slot = self._next & _MASK
            payload = self._payloads[slot]
            stamp = self._stamps[slot] if payload else self._stamp_of_missing()
            if stamp > self._expected and self._offset > self._ideal:
                # After a pause less is waited for, and nobody hears it.
                self._offset = self._ideal
            behind = time - self._offset - stamp
            if behind < (self._early if self._is_set else _EXACT) and payload != _NO_AUDIO:
                break
            self._next = self._next + 1 & 0xFFFF
            if payload is None:
                self._lost += 1
                self._expected = stamp + self._frame
                if behind < -self._early:
                    return Gap.LOST
                # Its time was an earlier tick, when nobody knew yet that it is lost.
                continue
            self._payloads[slot] = None
            self._count -= 1
            if payload == _NO_AUDIO:
                continue
            self._expected = stamp + self._frame
            if behind >= self._overdue or self._is_too_deep(behind, time):
                self._left_out += 1
                continue
            if not self._is_set:
                self._is_set = True
                self._offset += behind
            self._played += 1
            return payload
        self._is_set = False
        return Gap.NOTHING_DUE

    def _stamp_of_missing(self) -> int:
        """As if no pause came before it, but not later than what follows allows."""
        for ahead in range(1, CAPACITY):
            slot = self._next + ahead & _MASK
            if self._payloads[slot]:
                return min(self._expected, self._stamps[slot] - ahead * self._frame)
        return self._expected

    def _is_too_deep(self, behind: float, time: float) -> bool:
        """Whether a packet is to be left out because all of them wait longer than they need to."""
        offset = self._offset + behind
        if offset - self._ideal < self._overdue:
            return False
        if offset < self._deepest and time - self._shrunk < _SHRINK_SECONDS * self._rate:
            return False
        self._shrunk = time
        self._offset -= self._frame
        return True

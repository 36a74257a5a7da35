"""Puts numbered packets in order without a clock: for packets that come over a reliable transport.

Over a WebSocket packets are neither lost nor late on the way; an application may still hand them over out
of order, or leave some out. How fast it does says nothing, so that time cannot decide here (as it does in
`jitter`): a packet is waited for until `WINDOW` later ones are there, or until the player runs dry.
"""

from evercall.media.rtp import sequence_distance

WINDOW = 16
"""How far ahead of a missing packet others may wait for it: 320 ms of audio."""

# RFC 3550 A.1: further back, or further ahead, than that is no disorder but a sender that numbers anew.
MISORDER = 100
DROPOUT = 3000

AGAIN = 3
"""So many in a row that all seem late are a sender that numbers anew, a little behind (each prompt from 0)."""

_NONE_YET = -1


class Reorder:
    """The packets of one sender."""

    def __init__(self) -> None:
        self.late = 0
        """Packets that came twice, or after their place was given up."""
        self.missing = 0
        """Packets whose place was given up."""
        self._next = _NONE_YET
        self._held: dict[int, bytes] = {}
        self._again: list[bytes] = []
        self._again_next = _NONE_YET

    @property
    def held(self) -> int:
        """Packets that wait."""
        return len(self._held)

    def push(self, sequence: int, payload: bytes) -> list[bytes]:
        """What is in order with this packet."""
        if sequence == self._next and not self._held and not self._again:
            self._next = sequence + 1 & 0xFFFF
            return [payload]
        distance = sequence_distance(sequence, self._next)
        begun = self._next != _NONE_YET
        if (begun and -MISORDER <= distance < 0) or sequence in self._held:
            return self._behind(sequence, payload)
        self._again = []
        ordered = self._make_room(sequence, distance)
        self._held[sequence] = payload
        return ordered + self._in_order()

    def release(self) -> list[bytes]:
        """All that waits, in order; what is missing is given up."""
        released = []
        while self._held:
            released += self._give_up()
        return released

    def restart(self) -> list[bytes]:
        """Another sender: its numbers have nothing to do with those before. All that waits, in order."""
        released = self.release()
        self._next = _NONE_YET
        return released

    def _behind(self, sequence: int, payload: bytes) -> list[bytes]:
        """A packet whose place is past: it is left out, unless it and others go on with each other."""
        if sequence != self._again_next:
            self._again = []
        self._again.append(payload)
        self._again_next = sequence + 1 & 0xFFFF
        self.late += 1
        if len(self._again) < AGAIN:
            return []
        self.late -= AGAIN
        ordered = self.restart() + self._again
        self._next, self._again = self._again_next, []
        return ordered

    def _make_room(self, sequence: int, distance: int) -> list[bytes]:
        """Gives up what is missing until the packet is within the window."""
        ordered: list[bytes] = []
        if self._next == _NONE_YET or not -MISORDER <= distance < DROPOUT:
            ordered = self.release()
            self._next = sequence
            return ordered
        while distance >= WINDOW and self._held:
            ordered += self._give_up()
            distance = sequence_distance(sequence, self._next)
        if distance >= WINDOW:
            self.missing += distance
            self._next = sequence
        return ordered

    def _give_up(self) -> list[bytes]:
        """Goes on with the earliest packet that is there."""
        missing = min(sequence_distance(sequence, self._next) for sequence in self._held)
        self.missing += missing
        self._next = self._next + missing & 0xFFFF
        return self._in_order()

    def _in_order(self) -> list[bytes]:
        ordered = []
        while (payload := self._held.pop(self._next, None)) is not None:
            ordered.append(payload)
            self._next = self._next + 1 & 0xFFFF
        return ordered

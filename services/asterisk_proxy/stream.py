"""The bytes that came from Asterisk and are not settled yet, in memory that outlives this process.

A ring in a memfd that the proxy and its keeper map. Offsets count all bytes ever received, so they only
grow, and each is one aligned 8-byte store: whoever is killed between two of them leaves a state that
the next one understands.

    settled ≤ cuts ≤ received        taken ≤ received

    settled    before it everything is confirmed by the broker
    cuts       the ends of the batches that are on their way: sent again, they must be cut at the same
               places, because their messages are known by ids made from these offsets
    received   up to it bytes are in the ring
    taken      up to it bytes are gone from the socket

Reading must survive a kill between any two instructions as well. So bytes are first *peeked* into the
ring, then counted, then removed from the socket (`receive`, `reconcile`).

Standard library only: the keeper lives on it, and must be small.
"""

import mmap
import os
import socket
from contextlib import suppress

VERSION = 2
HEADER_SIZE = 4096
GIVEN_SLOTS = 65_536
CAPACITY = 256 * 1024 * 1024
"""About 280,000 events. Address space, not memory: what is settled is given back to the system."""

CHUNK = 256 * 1024
"""Most bytes taken from the socket at once."""

_GIVE_BACK = 4 * 1024 * 1024

_BOOT_AT = 1024
_BOOT_SIZE = 256
_VERSION, _RECEIVED, _TAKEN, _CUTS, _SETTLED, _WRITING, _GIVEN, _NONCE = range(8)
_CUTS_AT = 256
"""In words of 8 bytes: behind the boot id, in the header's second half."""
MOST_CUTS = 128
_RING_AT = HEADER_SIZE + GIVEN_SLOTS * 8
_TOTAL = _RING_AT + CAPACITY


class Stream:
    """The shared ring. One process at a time may call what changes it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _TOTAL)
        view = memoryview(self._memory)
        self._numbers = view[:HEADER_SIZE].cast("Q")
        self._given = view[HEADER_SIZE:_RING_AT].cast("Q")
        self._ring = view[_RING_AT:]
        self._scratch = memoryview(bytearray(CHUNK))
        self._given_back = self.settled // _GIVE_BACK * _GIVE_BACK

    @classmethod
    def create(cls) -> "Stream":
        """A new, empty one."""
        descriptor = os.memfd_create("evercall-ari", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _TOTAL)
        stream = cls(descriptor)
        stream._numbers[_NONCE] = int.from_bytes(os.urandom(8), "little")
        stream._numbers[_VERSION] = VERSION
        return stream

    # -- offsets -------------------------------------------------------------------------------

    @property
    def nonce(self) -> int:
        """Tells this stream from all others."""
        return self._numbers[_NONCE]

    @property
    def received(self) -> int:
        return self._numbers[_RECEIVED]

    @property
    def cuts(self) -> list[int]:
        """The ends of the batches that were begun and are not settled, in order."""
        count = self._numbers[_CUTS]
        ends = (
            self._numbers[_CUTS_AT + n % MOST_CUTS] for n in range(max(0, count - MOST_CUTS), count)
        )
        return [end for end in ends if end > self.settled]

    @property
    def settled(self) -> int:
        return self._numbers[_SETTLED]

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to send."""
        return self.settled == self.received

    @property
    def used(self) -> int:
        """Bytes that are not settled."""
        return self.received - self.settled

    @property
    def is_full(self) -> bool:
        """Whether nothing more fits."""
        return self.used >= CAPACITY

    @property
    def is_filling(self) -> bool:
        """Whether it is time to let Asterisk keep its events itself."""
        return self.used > CAPACITY * 3 // 4

    def cut_at(self, offset: int) -> None:
        """A batch that ends at `offset` is about to be sent. `MOST_CUTS` may be on their way."""
        count = self._numbers[_CUTS]
        self._numbers[_CUTS_AT + count % MOST_CUTS] = offset
        self._numbers[_CUTS] = count + 1

    def settle(self, offset: int) -> None:
        """Everything before `offset` is safe elsewhere; its place in the ring is free."""
        self._numbers[_SETTLED] = offset
        while offset - self._given_back >= _GIVE_BACK:
            place = _RING_AT + self._given_back % CAPACITY
            self._memory.madvise(mmap.MADV_REMOVE, place, _GIVE_BACK)
            self._given_back += _GIVE_BACK

    # -- bytes ---------------------------------------------------------------------------------

    def receive(self, source: socket.socket) -> int:
        """Moves what has arrived on the socket into the ring, at most `CHUNK` bytes.

        Returns:
            How many bytes; 0 when the peer has closed.

        Raises:
            BlockingIOError: nothing has arrived, or the ring is full.
            OSError: the connection is broken.
        """
        start = self.received
        position = start % CAPACITY
        room = min(CAPACITY - self.used, CAPACITY - position, CHUNK)
        if room == 0:
            raise BlockingIOError
        size = source.recv_into(self._ring[position : position + room], room, socket.MSG_PEEK)
        if size:
            self._numbers[_RECEIVED] = start + size
            self._discard(source, size)
        return size

    def reconcile(self, source: socket.socket) -> None:
        """Removes from the socket what its former reader had counted but perhaps not removed."""
        size = self.received - self._numbers[_TAKEN]
        if size == 0:
            return
        with suppress(OSError):
            waiting = source.recv(size, socket.MSG_PEEK)
            # Events carry times and answers ids: equal bytes are the same bytes.
            if waiting == self.read(self._numbers[_TAKEN], size):
                self._discard(source, size)
        self._numbers[_TAKEN] = self.received

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from `offset` on; fewer than `size` where fewer were received."""
        size = min(size, self.received - offset)
        position = offset % CAPACITY
        first = bytes(self._ring[position : position + size])
        if len(first) == size:
            return first
        return first + bytes(self._ring[: size - len(first)])

    def cut(self, offset: int) -> None:
        """The connection ended: what stands after `offset` is the piece of a frame that will never
        be whole."""
        self._numbers[_TAKEN] = offset
        self._numbers[_RECEIVED] = offset

    def _discard(self, source: socket.socket, size: int) -> None:
        # MSG_TRUNC on TCP drops the bytes without copying them (tcp(7)); what was just peeked goes in
        # one call, so that no kill leaves a part of it.
        if source.recv_into(self._scratch[:size], size, socket.MSG_TRUNC) != size:
            raise OSError("bytes that were peeked are gone")
        self._numbers[_TAKEN] = self.received

    # -- what else the next process must know --------------------------------------------------

    @property
    def writing(self) -> bool:
        """Whether a frame to Asterisk may have been written only in part."""
        return bool(self._numbers[_WRITING])

    @writing.setter
    def writing(self, value: bool) -> None:
        self._numbers[_WRITING] = int(value)

    @property
    def boot_id(self) -> str:
        """Which life of Asterisk these bytes come from; empty while not known."""
        raw = self._memory[_BOOT_AT : _BOOT_AT + _BOOT_SIZE]
        return raw.rstrip(b"\0").decode()

    @boot_id.setter
    def boot_id(self, value: str) -> None:
        raw = value.encode()[:_BOOT_SIZE]
        self._memory[_BOOT_AT : _BOOT_AT + _BOOT_SIZE] = raw.ljust(_BOOT_SIZE, b"\0")

    def given(self) -> dict[int, int]:
        """What `remember` keeps: numbers and their slots."""
        used = min(self._numbers[_GIVEN], GIVEN_SLOTS)
        return {self._given[slot]: slot for slot in range(used) if self._given[slot]}

    def remember(self, number: int) -> int:
        """Keeps a number, in the place of the oldest where all places are taken; returns its slot."""
        count = self._numbers[_GIVEN]
        slot = count % GIVEN_SLOTS
        self._given[slot] = number
        self._numbers[_GIVEN] = count + 1
        return slot

    def forget(self, slot: int) -> None:
        """Clears a slot."""
        self._given[slot] = 0

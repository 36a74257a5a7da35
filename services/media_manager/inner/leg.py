"""All legs to Asterisk over one socket, and the 20 ms ticker.

Which stream a packet is for is told by where it came from: call_manager says where Asterisk's end is before
any audio is expected, and packets from elsewhere are counted and dropped.
"""

import asyncio
from collections.abc import Callable

from prometheus_client import Histogram

from evercall.media.audio import FRAME_MILLISECONDS, TELEPHONE
from evercall.media.pacer import Pacer
from media_manager.domain.stream import Stream
from media_manager.inner.datagrams import (
    MOST,
    Datagrams,
    address_bytes,
    address_key,
    dropped_by_kernel,
    open_socket,
)

SOCKET_BYTES = 4 * 1024 * 1024

IDLE_TICKS = 50
"""A stream that has had nothing to say for a second leaves the ticker, and costs nothing until it speaks."""

BATCHES = 8
"""Read in one go at most, because the ticker must not wait: when packets come faster than they can be forwarded,
reading until nothing is left never ends. So many take 20 to 40 ms, which the pacer makes up for; with fewer, what
calls say would lag behind by seconds as soon as the core is short (docs/decisions/0030)."""

LATENESS = Histogram(
    "evercall_media_manager_lateness_seconds",
    "How late a packet for a call is sent",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16),
)


JITTER = Histogram(
    "evercall_media_manager_jitter_seconds",
    "How much the way of a packet from a call differs from that of the one 16 before it (RFC 3550 6.4.1)",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16),
)

_SAMPLED = frozenset(bytes((number,)) for number in range(0, 256, 16))
"""Last bytes of the sequence numbers that are looked at: one packet in 16 tells enough."""

_SAME_SOURCE = 1.0
"""Seconds. A way that differs by more is that of another source: its timestamps begin elsewhere."""


class Leg:
    """One stream's end of its leg."""

    __slots__ = (
        "address",
        "deliver",
        "idle",
        "is_ticking",
        "key",
        "last",
        "stream",
        "told",
        "transit",
    )

    def __init__(
        self,
        stream: Stream,
        host: str,
        port: int,
        deliver: Callable[[list[bytes]], None],
        told: Callable[[], None],
    ) -> None:
        """
        Args:
            stream: what hears and speaks.
            host: Asterisk's end.
            port: Asterisk's end.
            deliver: gets the messages for the application.
            told: called when the stream has put something into its outbox.
        """
        self.stream = stream
        self.address = address_bytes(host, port)
        self.key = address_key(self.address)
        self.deliver = deliver
        self.told = told
        self.idle = 0
        self.is_ticking = False
        """Whether it is with the ticker; asked for every message of an application."""
        self.last = 0.0
        """When the ticker last asked it."""
        self.transit = float("-inf")
        """Between the timestamp of a packet and its arrival, from any beginning."""


class InnerSocket:
    """The legs of a process."""

    def __init__(self, host: str) -> None:
        self._socket = open_socket(host, SOCKET_BYTES)
        address, port = self._socket.getsockname()
        self.host = f"{address}:{port}"
        self.strays = 0
        """Packets from nobody we know."""
        self.dropped = 0
        """Packets for which the kernel had no room."""
        self._incoming, self._outgoing = Datagrams(), Datagrams()
        self._legs: dict[int, Leg] = {}
        self._loop = asyncio.get_running_loop()
        self._descriptor = self._socket.fileno()
        self._pacer: Pacer[Leg] = Pacer(self._loop.time())
        self._loop.add_reader(self._descriptor, self._read)

    @property
    def overrun(self) -> int:
        """Packets that came when the socket's buffer was full."""
        return dropped_by_kernel(self._socket)

    def __len__(self) -> int:
        return len(self._legs)

    def add(self, leg: Leg) -> None:
        """A leg is up."""
        self._legs[leg.key] = leg
        leg.last = self._loop.time()
        if leg.stream.is_playing:
            self.play(leg)

    def remove(self, leg: Leg) -> None:
        """A leg is gone."""
        if self._legs.get(leg.key) is leg:
            del self._legs[leg.key]
        self._rest(leg)

    def play(self, leg: Leg) -> None:
        """The stream has something to say."""
        if leg.is_ticking or self._legs.get(leg.key) is not leg:
            return
        leg.is_ticking = True
        leg.idle = 0
        elapsed = int((self._loop.time() - leg.last) * 1000) // FRAME_MILLISECONDS
        leg.stream.skip(max(0, elapsed))
        self._pacer.add(leg)

    async def run(self) -> None:
        """Ticks until it is cancelled."""
        pacer, loop = self._pacer, self._loop
        while True:
            delay = pacer.next_at() - loop.time()
            if delay > 0:
                await asyncio.sleep(delay)
            self.tick(loop.time())

    def tick(self, now: float) -> None:
        """Sends what is due."""
        expected = self._pacer.next_at()
        if now < expected:
            return
        outgoing, idle = self._outgoing, []
        for due in self._pacer.due(now):
            LATENESS.observe(now - expected)
            for leg in due.streams:
                stream = leg.stream
                leg.last = now
                if due.skipped:
                    stream.skip(due.skipped)
                for _ in range(due.frames):
                    packet = stream.take()
                    if packet is None:
                        leg.idle += 1
                        continue
                    leg.idle = 0
                    outgoing.put(packet, leg.address)
                    if outgoing.count == MOST:
                        self.dropped += outgoing.send(self._descriptor)
                if stream.outbox:
                    leg.told()
                if leg.idle >= IDLE_TICKS:
                    idle.append(leg)
        if outgoing.count:
            self.dropped += outgoing.send(self._descriptor)
        for leg in idle:
            self._rest(leg)

    def _rest(self, leg: Leg) -> None:
        leg.is_ticking = False
        self._pacer.remove(leg)

    def _read(self) -> None:
        legs = self._legs
        for _ in range(BATCHES):
            received = self._incoming.receive(self._descriptor)
            for key, packet in received:
                leg = legs.get(key)
                if leg is None:
                    self.strays += 1
                    continue
                if packet[3:4] in _SAMPLED:
                    self._measure(leg, packet)
                messages = leg.stream.spoken(packet)
                if messages:
                    leg.deliver(messages)
            if len(received) < MOST:
                return

    def _measure(self, leg: Leg, packet: bytes) -> None:
        transit = self._loop.time() - int.from_bytes(packet[4:8], "big") / TELEPHONE.rate
        difference, leg.transit = abs(transit - leg.transit), transit
        if difference < _SAME_SOURCE:
            JITTER.observe(difference)

    async def close(self) -> None:
        """No more legs."""
        self._loop.remove_reader(self._descriptor)
        self._socket.close()

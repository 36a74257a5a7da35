"""What it costs to receive a packet of a leg and to send one, in three ways: our batches, one endpoint of uvloop
for all streams, an endpoint of uvloop for each stream.

The packets are in the kernel before the clock starts, so that only this process's work is measured.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from media_manager.inner.datagrams import Datagrams, address_bytes, open_socket
from tests.bench.errors import MeasurementFailed

HOST = "127.0.0.1"
PACKET = bytes(172)
STREAMS = 200
BUFFER = 4 * 1024 * 1024

Drain = Callable[[], Awaitable[None]]
"""Receives what waits, and sends as much back."""


class _Echo(asyncio.DatagramProtocol):
    """Sends back what comes, and counts it."""

    def __init__(self, counter: list[int]) -> None:
        self._counter = counter

    def connection_made(self, transport: Any) -> None:  # uvloop's has a type of its own
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)
        self._counter[0] += 1


def measure(rounds: int) -> dict[str, float]:
    """Microseconds for one packet in and one out, by way; the best round counts."""
    return uvloop.run(_measure(rounds))


async def _measure(rounds: int) -> dict[str, float]:
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        peer.bind((HOST, 0))
        peer.setblocking(False)
        with open_socket(HOST, BUFFER) as ours:
            drain = _batched(ours, peer.getsockname())
            found["batched"] = await _best(peer, [ours.getsockname()], drain, rounds)
        for name, count in (("one endpoint", 1), ("an endpoint each", STREAMS)):
            counter = [0]
            loop = asyncio.get_running_loop()
            opened = [
                await loop.create_datagram_endpoint(lambda: _Echo(counter), (HOST, 0))  # noqa: B023
                for _ in range(count)
            ]
            addresses = [each.get_extra_info("sockname") for each, _ in opened]
            found[name] = await _best(peer, addresses, _counted(counter), rounds)
            for transport, _ in opened:
                transport.close()
    return found


def _batched(ours: socket.socket, peer: tuple[str, int]) -> Drain:
    incoming, outgoing, address = Datagrams(), Datagrams(), address_bytes(*peer)

    async def drain() -> None:
        for _, data in incoming.receive(ours.fileno()):
            outgoing.put(data, address)
        outgoing.send(ours.fileno())

    return drain


def _counted(counter: list[int]) -> Drain:
    async def drain() -> None:
        counter[0] = 0
        while counter[0] < STREAMS:
            await asyncio.sleep(0)

    return drain


async def _best(
    peer: socket.socket, addresses: list[tuple[str, int]], drain: Drain, rounds: int
) -> float:
    best = float("inf")
    for _ in range(rounds):
        for number in range(STREAMS):
            peer.sendto(PACKET, addresses[number % len(addresses)])
        begin = time.thread_time()
        async with asyncio.timeout(5):
            await drain()
        best = min(best, time.thread_time() - begin)
        if _returned(peer) != STREAMS:
            raise MeasurementFailed("packets were lost between two sockets of the loopback")
    return 1_000_000 * best / STREAMS


def _returned(peer: socket.socket) -> int:
    count = 0
    while True:
        try:
            peer.recv(2048)
        except BlockingIOError:
            return count
        count += 1

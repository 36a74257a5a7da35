"""`python -m tests.bench.stream_server KIND CORE`: what answers the load of `streams`, in a process of its own.

`streams` is media_manager's own path from the front door to Asterisk's socket and back; only those whom it
asks are stood in for: everybody has access, and every leg is up at once, at the address that the call's id
names. `echo` is the yardstick: it sends the same packets back where they came from, a UDP endpoint and a
WebSocket server on the same event loop, and does nothing else.

Says where it listens in a line of JSON and runs until its standard input ends.
"""

import asyncio
import gc
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from evercall.contracts.media import ExternalMedia, ExternalMediaLeg, MediaStatus, StreamHandedOver
from evercall.service import logging
from evercall.service.lifecycle import Tasks
from media_manager.domain.counts import Counts
from media_manager.domain.options import StreamLimits, StreamOptions
from media_manager.domain.request import StreamRequest
from media_manager.doors.handshake import Handshakes
from media_manager.gateways.access import Credentials
from media_manager.inner.leg import SOCKET_BYTES, InnerSocket
from media_manager.registry import Registry
from media_manager.session import Session

HOST = "127.0.0.1"
CUSTOMER = UUID(int=1)
ECHOED = frozenset({WSMsgType.BINARY, WSMsgType.TEXT})


class Listening(msgspec.Struct):
    """Where the server is: `udp` and `tcp` are ports of 127.0.0.1."""

    pid: int
    tcp: int
    udp: int


def source_address(number: int) -> str:
    """Where the far end of a leg is."""
    return f"127.{21 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def call_id(number: int, port: int) -> UUID:
    """A call whose leg ends at that port of `source_address`."""
    return UUID(int=port << 32 | number)


class LegsAtOnce:
    """Stands in for `gateways.calls`."""

    async def start(self, options: StreamOptions, *, resume: bool) -> ExternalMediaLeg:  # noqa: ARG002
        """The leg that the call's id names."""
        now = datetime.now(UTC)
        media = ExternalMedia(
            id=options.id,
            customer_id=options.customer_id,
            reference_id=options.call_id,
            status=MediaStatus.RUNNING,
            encapsulation=options.encapsulation,
            rate=options.rate,
            direction_listen=options.listen,
            direction_speak=options.speak,
            tm_create=now,
            tm_update=now,
        )
        number, port = options.call_id.int & 0xFFFFFFFF, options.call_id.int >> 32
        return ExternalMediaLeg(media=media, rtp_address=source_address(number), rtp_port=port)

    async def stop(self, options: StreamOptions, reason: str) -> None:
        """Nobody needs to know."""

    async def hand_over(self, identifier: UUID, owner: str) -> StreamHandedOver | None:  # noqa: ARG002
        """There is no other owner."""
        return None


class NoQuota:
    """Stands in for `gateways.quota`."""

    @asynccontextmanager
    async def room(self, options: StreamOptions) -> AsyncIterator[None]:  # noqa: ARG002
        """There is room for all."""
        yield


async def serve_streams() -> Listening:
    """media_manager's path, whole."""
    loop, tasks = asyncio.get_running_loop(), Tasks(asyncio.Event())
    inner = InnerSocket(HOST)
    registry = Registry(LegsAtOnce(), NoQuota(), inner, tasks, StreamLimits(), Counts(), loop.time)

    async def open_session(request: StreamRequest, credentials: Credentials) -> Session:
        return await registry.open(request, CUSTOMER, credentials, None)

    handshakes = Handshakes(open_session, tasks, trusted=(), most=100_000)
    server = await loop.create_server(handshakes, HOST, 0, backlog=1024)
    tasks.start("ticker", inner.run())
    return Listening(
        os.getpid(), server.sockets[0].getsockname()[1], int(inner.host.rpartition(":")[2])
    )


class _EchoListener(WSListener):
    """Sends back what comes."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type in ECHOED:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


class _EchoDatagrams(asyncio.DatagramProtocol):
    """Sends back what comes."""

    def connection_made(self, transport: Any) -> None:  # uvloop's has a type of its own
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


async def serve_echo() -> Listening:
    """The yardstick."""
    server = await ws_create_server(lambda _request: _EchoListener(), HOST, 0)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_EchoDatagrams, (HOST, 0))
    opened = transport.get_extra_info("socket")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
    udp: int = opened.getsockname()[1]
    return Listening(os.getpid(), server.sockets[0].getsockname()[1], udp)


KINDS = {"streams": serve_streams, "echo": serve_echo}


async def serve(kind: str) -> None:
    """Serves until standard input ends."""
    listening = await KINDS[kind]()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    print(msgspec.json.encode(listening).decode(), flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


if __name__ == "__main__":
    logging.configure("bench", "bench", level="ERROR", fmt="console", personal=False)
    os.sched_setaffinity(0, {int(sys.argv[2])})
    uvloop.run(serve(sys.argv[1]))

"""The connection to Asterisk: what has arrived is heard, what was given is on its way."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from asterisk_proxy.gateways.asterisk import Asterisk
from asterisk_proxy.stream import Stream
from evercall.ari.frames import Opcode, encode_frame

EVENTS = 300
"""More than is read at once, and less than the kernel holds."""
EVENT = b"#" * 1000
LONG = 32_000_000
"""More than the kernel takes."""


@dataclass
class Listener:
    """Remembers what it hears."""

    heard_: list[bytes] = field(default_factory=list)
    ends: int = 0

    def heard(self, payload: bytes, end: int) -> None:
        del end
        self.heard_.append(payload)

    def all_heard(self, end: int) -> None:
        del end

    def closing(self) -> None:
        pass

    def ended(self) -> None:
        self.ends += 1


@dataclass
class Stage:
    asterisk: Asterisk
    listener: Listener
    peer: socket.socket


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stream, listener = Stream.create(), Listener()
    asterisk = Asterisk(stream, listener)
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    peer.setblocking(False)
    asterisk.start(ours)
    yield Stage(asterisk, listener, peer)
    asterisk.abort()
    peer.close()
    os.close(stream.descriptor)


async def test_what_has_arrived_on_a_connection_that_is_aborted_is_heard(stage: Stage) -> None:
    """The loop has had no turn yet."""
    stage.peer.setblocking(True)
    for _ in range(EVENTS):
        stage.peer.sendall(encode_frame(Opcode.TEXT, EVENT))
    stage.asterisk.abort()
    assert len(stage.listener.heard_) == EVENTS
    assert stage.listener.ends == 1


async def test_commands_are_flushed_when_all_of_them_left_this_process(stage: Stage) -> None:
    frames = encode_frame(Opcode.TEXT, b"#" * LONG)
    stage.asterisk.send(frames)
    assert not stage.asterisk.is_flushed
    flushed = asyncio.create_task(stage.asterisk.flushed())
    loop = asyncio.get_running_loop()
    received = 0
    while received < len(frames):
        assert not flushed.done() or stage.asterisk.is_flushed
        received += len(await loop.sock_recv(stage.peer, 65_536))
    await flushed
    assert received == len(frames)


async def test_who_waits_for_a_connection_that_ends_waits_no_more(stage: Stage) -> None:
    stage.asterisk.send(encode_frame(Opcode.TEXT, b"#" * LONG))
    flushed = asyncio.create_task(stage.asterisk.flushed())
    await asyncio.sleep(0)
    assert not flushed.done()
    stage.peer.close()
    async with asyncio.timeout(5):
        await flushed
    assert stage.listener.ends == 1

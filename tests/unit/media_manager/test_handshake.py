"""The front door, over a real socket: what is refused, and how; and the upgrade."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import pytest

from evercall.service.errors import Conflict, NotFound, PlatformError, Unavailable
from evercall.service.lifecycle import Tasks
from media_manager.domain.closing import CLOSE_CODES, StreamEnd
from media_manager.domain.request import StreamRequest
from media_manager.doors import handshake
from media_manager.doors.handshake import HEAD_BYTES, STRANGERS_SHARE, Handshakes
from media_manager.doors.reading import BURST, PIECE, TOKENS_PER_SECOND
from media_manager.doors.websocket import LONGEST_MESSAGE, WebSocketLink
from media_manager.gateways.access import Credentials
from media_manager.inner.leg import InnerSocket
from media_manager.session import Session
from tests.unit.media_manager.streams import make_stream

CALL = UUID(int=2)
PATH = f"/v1.0/calls/{CALL}/media_stream"
UPGRADE = {
    "Host": "x",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def head(target: str = PATH, method: str = "GET", version: str = "1.1", **changed: str) -> bytes:
    """An upgrade request; a header whose value is empty is left out."""
    headers = UPGRADE | {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{method} {target} HTTP/{version}"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


class Keeper:
    """Ends sessions, as the registry does."""

    def __init__(self) -> None:
        self.ends: list[tuple[StreamEnd, bool]] = []

    def ended(self, session: Session, end: StreamEnd, *, tell_call: bool) -> None:
        self.ends.append((end, tell_call))
        session.end(end)


class Door:
    """A listener whose `open_session` does as it is told."""

    def __init__(self) -> None:
        self.answer: PlatformError | None = None
        self.fault: Exception | None = None
        self.asked: list[tuple[StreamRequest, Credentials]] = []
        self.session: Session | None = None
        self.keeper = Keeper()
        self.released = asyncio.Event()
        self.entered = asyncio.Event()
        self.is_stuck = False
        self.port = 0
        self.inner = InnerSocket("127.0.0.1")
        self.handshakes = Handshakes(
            self.open, Tasks(asyncio.Event()), trusted=(), most=3 * STRANGERS_SHARE
        )

    async def open(self, request: StreamRequest, credentials: Credentials) -> Session:
        self.asked.append((request, credentials))
        self.entered.set()
        if self.is_stuck:
            await self.released.wait()
        if self.answer is not None:
            raise self.answer
        if self.fault is not None:
            raise self.fault
        now = asyncio.get_running_loop().time()
        self.session = Session(make_stream(attached=False), self.inner, self.keeper, now)
        return self.session


Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    server = await asyncio.get_running_loop().create_server(door.handshakes, "127.0.0.1", 0)
    door.port = server.sockets[0].getsockname()[1]
    yield door
    server.close()
    for transport in list(door.handshakes.connections):
        transport.abort()  # type: ignore[attr-defined]
    async with asyncio.timeout(5):
        while door.handshakes.connections:
            await asyncio.sleep(0)
    await door.handshakes.tasks.cancel_all()
    await door.inner.close()


@pytest.fixture
async def connect(door: Door) -> AsyncIterator[Connect]:
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writers.append(writer)
        return reader, writer

    yield connect
    for writer in writers:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def refusal(connect: Connect, data: bytes) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer; the connection must end after it."""
    reader, writer = await connect()
    writer.write(data)
    async with asyncio.timeout(5):
        answer = await reader.read()
    top, body = answer.split(b"\r\n\r\n", 1)
    assert f"Content-Length: {len(body)}".encode() in top
    assert b"Connection: close" in top
    return int(top.split(b" ")[1]), json.loads(body)


@pytest.mark.parametrize(
    ("data", "status", "word"),
    [
        (b"\x00\x01garbage\r\n\r\n", 400, "not an HTTP request"),
        (head(method="POST"), 405, "GET"),
        (head(Upgrade=""), 400, "Upgrade"),
        (head(Connection="close"), 400, "Upgrade"),
        (head(version="1.0"), 400, "HTTP version"),
        (head(Sec_WebSocket_Version="8"), 400, "Sec-WebSocket-Version"),
        (head(Sec_WebSocket_Key="AAAA"), 400, "Sec-WebSocket-Key"),
        (head(Sec_WebSocket_Key="?"), 400, "Sec-WebSocket-Key"),
        (head(Content_Length="5"), 400, "Content-Length"),
        (head("/elsewhere"), 404, "no such path"),
        (head(f"{PATH}?encapsulation=opus"), 400, "audiosocket"),
        (head(X_Long="a" * (HEAD_BYTES + 1)), 431, "too long"),
        (b"G" * (HEAD_BYTES + 1), 431, "too long"),
    ],
)
async def test_what_is_no_good_request_is_refused(
    door: Door, connect: Connect, data: bytes, status: int, word: str
) -> None:
    answered, body = await refusal(connect, data)
    assert answered == status
    assert word in json.dumps(body)
    assert door.asked == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("call_not_found", "There is no such call"), 404),
        (Conflict("call_not_progressing", "Only a call that is up has audio"), 409),
        (Unavailable("draining", "Try again"), 503),
    ],
)
async def test_a_refused_stream_is_told_before_the_upgrade(
    door: Door, connect: Connect, error: PlatformError, status: int
) -> None:
    door.answer = error
    answered, body = await refusal(connect, head())
    assert answered == status
    assert error.message in json.dumps(body)


async def test_a_fault_of_ours_tells_nothing(door: Door, connect: Connect) -> None:
    door.fault = RuntimeError("a secret")
    answered, body = await refusal(connect, head())
    assert answered == 500
    assert "secret" not in json.dumps(body)


async def test_half_a_head_is_waited_for_and_not_for_ever(
    door: Door, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "HEAD_SECONDS", 0.05)
    answered, body = await refusal(connect, head()[:-2])
    assert answered == 408
    assert "in time" in json.dumps(body)
    assert door.asked == []


async def test_there_is_a_most_of_connections(
    door: Door, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "STRANGERS_SHARE", 1)
    door.handshakes.most = 3
    for _ in range(door.handshakes.most):
        await connect()
    answered, _ = await refusal(connect, b"")
    assert answered == 503


async def test_one_address_may_not_hold_all_doors(door: Door, connect: Connect) -> None:
    door.handshakes.most = 2 * STRANGERS_SHARE
    door.is_stuck = True
    reader, writer = await connect()
    writer.write(head())
    await connect()
    answered, _ = await refusal(connect, b"")
    assert answered == 503
    door.released.set()
    async with asyncio.timeout(5):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    await connect()  # who is let in does not count any more


async def test_behind_a_proxy_its_clients_are_counted(door: Door, connect: Connect) -> None:
    door.handshakes.most = STRANGERS_SHARE
    door.handshakes.trusted = [ip_network("127.0.0.1/32")]
    door.is_stuck = True
    for client in ("192.0.2.1", "192.0.2.2"):
        _, writer = await connect()
        door.entered.clear()
        writer.write(head(X_Forwarded_For=client))
        async with asyncio.timeout(5):
            await door.entered.wait()
    answered, _ = await refusal(connect, head(X_Forwarded_For="192.0.2.2"))
    assert answered == 503
    assert len(door.asked) == 2


async def test_who_left_meanwhile_may_come_back(door: Door, connect: Connect) -> None:
    """While others are asked nothing is read, so it comes to light after the upgrade: as any broken connection."""
    door.is_stuck = True
    _, writer = await connect()
    writer.write(head())
    async with asyncio.timeout(5):
        await door.entered.wait()
        writer.transport.abort()
        door.released.set()
        while door.handshakes.connections:
            await asyncio.sleep(0.01)
    assert door.session is not None
    assert door.session.link is None
    assert door.session.away_since is not None


async def test_the_upgrade_and_the_close_code(door: Door, connect: Connect) -> None:
    reader, writer = await connect()
    data = head(f"{PATH}?token=t", Authorization="Bearer x")
    writer.write(data[:20])
    await asyncio.sleep(0)
    writer.write(data[20:])
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b"\r\n\r\n")
        # RFC 6455 §4.2.2: the accept key belongs to the key that was sent.
        assert answer.startswith(b"HTTP/1.1 101"), await reader.read(300)
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
        kind, start = await frame(reader)
        assert kind == 1
        assert json.loads(start)["type"] == "start"
        assert door.session is not None
        door.keeper.ended(door.session, StreamEnd.TOKEN_EXPIRED, tell_call=True)
        kind, stop = await frame(reader)
        assert json.loads(stop)["reason"] == "token_expired"
        kind, close = await frame(reader)
    assert kind == 8
    assert int.from_bytes(close[:2], "big") == CLOSE_CODES[StreamEnd.TOKEN_EXPIRED]
    [(request, credentials)] = door.asked
    assert request.call_id == CALL
    assert (credentials.query, credentials.authorization) == ("token=t", "Bearer x")


async def test_who_asks_and_asks_and_never_reads_is_cut_off_and_may_come_back(
    door: Door, connect: Connect
) -> None:
    reader, writer = await connect()
    writer.write(head())
    async with asyncio.timeout(5):
        await reader.readuntil(b"\r\n\r\n")
    assert door.session is not None
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    for turn in range(60_000):
        door.session.received_text(b'{"type":"clear"}', turn)
    door.session.look(60_000.0)
    async with asyncio.timeout(5):
        while door.session.link is not None:
            await asyncio.sleep(0.01)
    assert door.keeper.ends == []
    assert door.session.away_since is not None


async def upgraded(connect: Connect) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that is let in and has heard its start."""
    reader, writer = await connect()
    writer.write(head())
    async with asyncio.timeout(5):
        await reader.readuntil(b"\r\n\r\n")
        await frame(reader)
    return reader, writer


def said(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A small frame of a client, under a mask of zeros."""
    assert len(payload) < 126
    return bytes((opcode | fin << 7, 0x80 | len(payload))) + bytes(4) + payload


async def test_a_message_may_come_in_some_frames(door: Door, connect: Connect) -> None:
    reader, writer = await upgraded(connect)
    parts = [b'{"type":', b'"mark",', b'"name":"a"}']
    writer.write(said(1, parts[0], fin=False) + said(9, b"?") + said(0, parts[1], fin=False))
    writer.write(said(0, b"", fin=False) * 60 + said(0, parts[2]))
    async with asyncio.timeout(5):
        assert await frame(reader) == (10, b"?")
        kind, marked = await frame(reader)
    assert (kind, json.loads(marked)["type"]) == (1, "marked")


@pytest.mark.parametrize("opcode", [1, 2])
async def test_a_message_in_very_many_frames_is_too_big(
    door: Door, connect: Connect, opcode: int
) -> None:
    """Twenty thousand empty frames cost time that grew with their square."""
    reader, writer = await upgraded(connect)
    writer.write(said(opcode, fin=False) + said(0, fin=False) * 20_000)
    async with asyncio.timeout(5):
        kind, close = await frame(reader)
    assert (kind, int.from_bytes(close[:2], "big")) == (8, CLOSE_CODES[StreamEnd.TOO_BIG])
    assert door.keeper.ends == []  # it may come back


async def test_a_message_that_grows_too_long_is_too_big(door: Door, connect: Connect) -> None:
    reader, writer = await upgraded(connect)
    half = LONGEST_MESSAGE // 2 + 1
    long = b"\x80\xff" + half.to_bytes(8, "big") + bytes(4) + bytes(half)
    writer.write(b"\x02" + long[1:] + long)
    async with asyncio.timeout(5):
        kind, close = await frame(reader)
    assert (kind, int.from_bytes(close[:2], "big")) == (8, CLOSE_CODES[StreamEnd.TOO_BIG])


async def test_who_sends_very_many_frames_is_read_slowly(door: Door, connect: Connect) -> None:
    """And the loop is free for others meanwhile."""
    _, writer = await upgraded(connect)
    assert door.session is not None
    loop, heard, longest = asyncio.get_running_loop(), [0], 0.0

    def count(data: bytes, now: float) -> int:
        heard[0] += 1
        return 1

    door.session.received = count  # type: ignore[method-assign]
    writer.write(said(2, b"ab") * 200_000)
    begun = last = loop.time()
    while loop.time() < begun + 1.0:
        await asyncio.sleep(0.005)
        longest, last = max(longest, loop.time() - last), loop.time()
    assert BURST < heard[0] <= BURST + TOKENS_PER_SECOND * (last - begun) + PIECE
    assert longest < 0.5


async def test_who_pings_and_never_reads_is_not_answered(door: Door, connect: Connect) -> None:
    reader, writer = await upgraded(connect)
    assert door.session is not None
    link = door.session.link
    assert isinstance(link, WebSocketLink)
    link.pause_writing()
    writer.write(said(9, b"a") * 400 + said(1, b'{"type":"mark","name":"read"}'))
    async with asyncio.timeout(5):
        kind, marked = await frame(reader)
        assert (kind, json.loads(marked)["type"]) == (1, "marked")
        link.resume_writing()
        writer.write(said(9, b"b"))
        assert await frame(reader) == (10, b"b")


async def frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Opcode and payload of one frame of the server (RFC 6455 §5.2)."""
    first, length = await reader.readexactly(2)
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2), "big")
    return first & 15, await reader.readexactly(length)

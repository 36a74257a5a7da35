"""Heads of requests: bounded in size and in time, and everything else as before."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from evercall.service import http
from evercall.service.http import MAX_HEAD_BYTES, BoundedProtocol

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Wire(asyncio.Transport):
    """Keeps what was written, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.7", 4711), "sockname": ("192.0.2.1", 80)})
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def answer(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Connection:
    def __init__(self) -> None:
        self.wire = Wire()
        config = uvicorn.Config(answer, log_config=None, access_log=False, lifespan="off")
        self.protocol = BoundedProtocol(config, ServerState(), {})
        self.protocol.connection_made(self.wire)

    async def send(self, data: bytes) -> None:
        self.protocol.data_received(data)
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def statuses(self) -> list[int]:
        return [int(part[:3]) for part in bytes(self.wire.written).split(b"HTTP/1.1 ")[1:]]


@pytest.fixture
async def connection() -> Any:
    made = Connection()
    yield made
    made.protocol.connection_lost(None)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEAD_SECONDS", 0.05)


async def until_closed(connection: Connection) -> None:
    async with asyncio.timeout(5):
        while not connection.wire.closed:
            await asyncio.sleep(0.01)


async def test_requests_one_after_the_other(connection: Connection) -> None:
    for _ in range(3):
        await connection.send(REQUEST)
    await connection.send(REQUEST * 2)
    assert connection.statuses == [200] * 5
    assert not connection.wire.closed


async def test_a_head_up_to_the_limit(connection: Connection) -> None:
    padding = b"x" * (MAX_HEAD_BYTES - 100)
    await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Pad: " + padding + b"\r\n\r\n")
    assert connection.statuses == [200]


@pytest.mark.parametrize("piece", [1_000, 1_000_000])
@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nX-Pad: " + b"x" * 3_000_000,
        b"GET / HTTP/1.1\r\n" + b"X-Pad: x\r\n" * 300_000,
        b"GET /" + b"x" * 3_000_000,
        b"GET / HTTP/1.1\r\n" + b"X-Pad: x\r\n" * 30_000 + b"\r\n",
        b"\r\n" * 1_500_000,
    ],
    ids=["value", "headers", "target", "complete", "nothing"],
)
async def test_a_head_that_is_too_long(connection: Connection, head: bytes, piece: int) -> None:
    taken = 0
    while taken < len(head) and not connection.wire.closed:
        await connection.send(head[taken : taken + piece])
        taken += piece
    assert connection.statuses == [431]
    assert taken <= max(2 * MAX_HEAD_BYTES, 2 * piece)


async def test_the_head_of_a_later_request(connection: Connection) -> None:
    await connection.send(REQUEST)
    await connection.send(b"GET / HTTP/1.1\r\nX-Pad: " + b"x" * 50_000)
    assert connection.statuses == [200, 431]


async def test_trailers_count_as_a_head(connection: Connection) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    await connection.send(head + b"X-Pad: x\r\n" * 10_000)
    assert connection.wire.closed


async def test_a_long_body_is_no_head(connection: Connection) -> None:
    body = b"x" * 1_000_000
    await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    for start in range(0, len(body), 50_000):
        await connection.send(body[start : start + 50_000])
    assert connection.statuses == [200]


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n"])
@pytest.mark.usefixtures("soon")
async def test_half_a_head_is_not_waited_for(sent: bytes) -> None:
    connection = Connection()
    await connection.send(sent)
    await until_closed(connection)
    assert connection.statuses == [408]


@pytest.mark.usefixtures("soon")
async def test_half_a_head_of_a_later_request(connection: Connection) -> None:
    await connection.send(REQUEST)
    await connection.send(b"\r\n")
    await until_closed(connection)
    assert connection.statuses == [200, 408]


@pytest.mark.usefixtures("soon")
async def test_a_slow_body_is_the_applications_business(connection: Connection) -> None:
    await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
    await asyncio.sleep(0.15)
    assert not connection.wire.closed
    await connection.send(b"b")
    assert connection.statuses == [200]

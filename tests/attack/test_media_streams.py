"""A customer whose applications send what no application should, beside another customer's stream.

Both are served by the same process: behind the balancer, where they meet for certain. What is sent is bounded in
size, and in time by `SECONDS`.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import pairwise, repeat

import pytest

from deploy.lab.lab import Lab
from deploy.lab.network import HTTP_PORT
from tests.e2e.streams import Streamed, both_hear, idle_call
from tests.support.media_client import Application, Refusal
from tests.support.phone_sipp import Caller
from tests.support.rest import Api, new_customer

SECONDS = 2.0
ATTACKERS = 3
LONGEST_GAP = 1.0
"""Seconds between two messages of 20 ms. Connections like these kept the loop for 1.1 to 5 s, whenever they liked.
On a machine with ten times too much to do 0.55 were seen: the attackers and the ear share a process."""

TEXT, BINARY, PING, CONTINUED, CLOSE = 1, 2, 9, 0, 8
TOO_BIG = 1009


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame of a client (RFC 6455 §5.2), under a mask of zeros."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65_536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes((opcode | fin << 7,)) + length + bytes(4) + payload


@pytest.fixture
def process(platform: Lab) -> str:
    """The URL of one process that serves streams."""
    [serving] = [each for each in platform.farm.processes if each.name == "media_manager-1"]
    [address] = [each.address for each in serving.endpoints if each.port == HTTP_PORT]
    return f"http://{address}:{HTTP_PORT}"


@pytest.fixture
async def attacker(
    platform: Lab, admin: Api, caller: Caller, streamed: Streamed
) -> AsyncIterator[Streamed]:
    """Another customer's call that is up."""
    customer = await new_customer(platform, admin, "attacker")
    call = await idle_call(platform, customer, caller)
    yield call
    await call.hang_up()
    await call.switches.close()
    await customer.leave()


class Connection:
    """A stream's WebSocket without a library, so that it may say anything. Blocks: it runs in a thread."""

    def __init__(self, call: Streamed, process: str, encapsulation: str) -> None:
        address, port = process.removeprefix("http://").split(":")
        self._link = socket.create_connection((address, int(port)), 5.0)
        key = call.customer.api.accesskey
        self._link.sendall(
            f"GET /v1.0/calls/{call.id}/media_stream?encapsulation={encapsulation} HTTP/1.1\r\n"
            f"Host: {address}\r\nAuthorization: Bearer {key}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        answer = self._link.recv(12)
        assert answer == b"HTTP/1.1 101", answer

    def flood(self, pieces: Iterable[bytes]) -> int:
        """Sends until `SECONDS` are over, the pieces are, or the platform has had enough; reads nothing. Returns
        how many bytes were taken."""
        until, taken = time.monotonic() + SECONDS, 0
        try:
            for piece in pieces:
                self._link.settimeout(max(0.01, until - time.monotonic()))
                taken += self._link.send(piece)
                if time.monotonic() > until:
                    break
        except OSError:
            pass
        return taken

    def close_code(self) -> int:
        """With which the platform closes."""
        self._link.settimeout(5.0)
        self._until(b"\r\n\r\n")
        while True:
            opcode, length = self._exactly(2)
            size = int.from_bytes(self._exactly(2), "big") if length == 126 else length
            payload = self._exactly(size)
            if opcode & 15 == CLOSE:
                return int.from_bytes(payload[:2], "big")

    def _until(self, end: bytes) -> None:
        heard = b""
        while not heard.endswith(end):
            heard += self._exactly(1)

    def _exactly(self, size: int) -> bytes:
        heard = b""
        while len(heard) < size:
            data = self._link.recv(size - len(heard))
            assert data, "closed without a word"
            heard += data
        return heard

    def cut(self) -> None:
        self._link.close()


async def flood(
    call: Streamed, process: str, encapsulation: str, data: bytes
) -> tuple[list[Connection], int]:
    """Some connections at once, each sending the same over and over."""

    def one(connection: Connection) -> int:
        return connection.flood(repeat(data))

    opened = [
        await asyncio.to_thread(Connection, call, process, encapsulation) for _ in range(ATTACKERS)
    ]
    taken = await asyncio.gather(*(asyncio.to_thread(one, each) for each in opened))
    for each in opened:
        each.cut()
    return opened, sum(taken)


async def listener(streamed: Streamed, process: str) -> Application:
    """The application of somebody who does nothing wrong."""
    listening = await Application.open(process, streamed.id, streamed.customer.api.accesskey)
    streamed.applications.append(listening)
    await both_hear(streamed, listening)
    return listening


def longest_gap(listening: Application, since: float) -> float:
    """Between two messages with audio, since a moment and until now."""
    times = [since, *(at for at, _ in listening.messages if at > since), time.monotonic()]
    return max(after - before for before, after in pairwise(times))


def hostile() -> Iterator[tuple[str, str, bytes]]:
    """Names, encapsulations and what is sent over and over."""
    yield "tiny frames", "sln", frame(BINARY, b"ab") * 8000
    yield "pings", "sln", frame(PING, b"?") * 8000
    yield "questions", "sln", frame(TEXT, b'{"type":"clear"}') * 3000
    yield "crowd", "audiosocket", frame(BINARY, b"\x10\x00\x02ab" * (1024 * 1024 // 5))
    yield "garbage", "audiosocket", frame(BINARY, b"\x77\x00\x00" * (1024 * 1024 // 3))
    yield "long", "sln", frame(BINARY, b"ab" * (512 * 1024))


@pytest.mark.parametrize(
    ("encapsulation", "data"),
    [pytest.param(*rest, id=name.replace(" ", "-")) for name, *rest in hostile()],
)
async def test_a_flood_of_one_customer_is_not_noticed_by_another(
    streamed: Streamed, attacker: Streamed, process: str, encapsulation: str, data: bytes
) -> None:
    listening = await listener(streamed, process)
    begun = time.monotonic()
    await flood(attacker, process, encapsulation, data)
    await both_hear(streamed, listening)
    assert longest_gap(listening, begun) < LONGEST_GAP


async def test_a_message_in_very_many_frames_is_too_big(
    streamed: Streamed, attacker: Streamed, process: str
) -> None:
    """120 KB whose cost grew with the square of their number."""
    listening = await listener(streamed, process)
    begun = time.monotonic()

    def attack() -> int:
        connection = Connection(attacker, process, "sln")
        connection.flood(
            [frame(TEXT, b"{", fin=False) + frame(CONTINUED, fin=False) * 20_000],
        )
        try:
            return connection.close_code()
        finally:
            connection.cut()

    assert await asyncio.to_thread(attack) == TOO_BIG
    await both_hear(streamed, listening)
    assert longest_gap(listening, begun) < LONGEST_GAP


async def test_a_message_that_never_ends_is_not_gathered(
    streamed: Streamed, attacker: Streamed, process: str
) -> None:
    """Parts of 60 KB without an end."""
    listening = await listener(streamed, process)
    begun = time.monotonic()

    def attack() -> int:
        connection = Connection(attacker, process, "sln")
        part = frame(CONTINUED, bytes(60_000), fin=False)
        connection.flood([frame(BINARY, b"ab", fin=False), *([part] * 40)])
        try:
            return connection.close_code()
        finally:
            connection.cut()

    assert await asyncio.to_thread(attack) == TOO_BIG
    await both_hear(streamed, listening)
    assert longest_gap(listening, begun) < LONGEST_GAP


async def test_a_customer_has_no_more_streams_than_its_quota(
    streamed: Streamed, process: str, admin: Api
) -> None:
    """429 with the name of the limit, before the upgrade; who comes back is not refused."""
    await admin.request(
        "PUT",
        f"/v1.0/customers/{streamed.customer.id}/quotas",
        json={"media_streams": 2},
    )
    opened = [await listener(streamed, process) for _ in range(2)]
    refused: Refusal | None = None
    try:
        await listener(streamed, process)
    except Refusal as refusal:
        refused = refusal
    assert refused is not None
    assert (refused.status, refused.body["error"]["reason"]) == (429, "QUOTA_EXCEEDED")
    assert refused.body["error"]["details"][0]["quota"] == "media_streams"
    start = await opened[0].tell("start")
    opened[0].cut()
    resumed = await Application.open(
        process,
        streamed.id,
        streamed.customer.api.accesskey,
        resume=start["stream_id"],
    )
    streamed.applications.append(resumed)
    assert (await resumed.tell("start"))["resumed"]

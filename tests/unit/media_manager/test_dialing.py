"""Evercall connects to applications: over real sockets, with a leg of paper."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from evercall.contracts.media import MediaConnect, MediaDirection
from evercall.service.errors import Conflict, Forbidden, InvalidRequest
from evercall.service.guard import HostGuard
from media_manager.domain.closing import StreamEnd
from media_manager.doors import dialing
from media_manager.doors.dialing import Dialer
from media_manager.session import Session
from tests.unit.media_manager.house import CALL, CUSTOMER, House
from tests.unit.media_manager.streams import packet

STREAM = UUID(int=500)
HOST = "127.0.0.1"
HANG_UP = b"\x00\x00\x00"


def request(target: str, encapsulation: str = "sln", transport: str = "") -> MediaConnect:
    return MediaConnect(
        id=STREAM,
        call_id=CALL,
        customer_id=CUSTOMER,
        target=target,
        encapsulation=encapsulation,
        transport=transport,
        direction_listen=MediaDirection.BOTH,
        direction_speak=MediaDirection.BOTH,
    )


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are made again after hundredths of a second."""
    monkeypatch.setattr(dialing, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(dialing, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def dialer(house: House) -> Dialer:
    return Dialer(house.registry, HostGuard([ip_network("127.0.0.0/8")]), house.tasks)


async def until(what: Callable[[], Any]) -> Any:
    """What it gives when that is something."""
    async with asyncio.timeout(5):
        while not (found := what()):
            await asyncio.sleep(0.005)
    return found


async def session_of(house: House) -> Session:
    found = await until(lambda: house.registry.sessions.get(STREAM))
    assert isinstance(found, Session)
    return found


class Application:
    """A WebSocket server: what each connection was told, and how it is to end."""

    def __init__(self) -> None:
        self.connections: list[ServerConnection] = []
        self.told: list[list[Any]] = []
        self.port = 0

    async def take(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        heard: list[Any] = []
        self.told.append(heard)
        try:
            async for message in connection:
                if isinstance(message, bytes):
                    heard.append(message)
                else:
                    heard.append(msgspec.json.decode(message))
        except ConnectionClosed:
            return

    @property
    def url(self) -> str:
        return f"ws://user:secret@{HOST}:{self.port}/audio?x=1"


@asynccontextmanager
async def application() -> AsyncIterator[Application]:
    """It listens until the end of the block."""
    application = Application()
    async with serve(application.take, HOST, 0) as server:
        application.port = next(iter(server.sockets)).getsockname()[1]
        yield application


async def test_an_application_is_told_whose_audio_it_gets(house: House, dialer: Dialer) -> None:
    async with application() as there:
        accepted = await dialer.connect(request(there.url))
        assert accepted.id == STREAM
        await until(lambda: there.told and there.told[0])
        session = await session_of(house)
        for number in range(3):
            session.link.send(session.stream.spoken(packet(number)))  # type: ignore[union-attr]
        await until(lambda: len(there.told[0]) == 4)
        start, *audio = there.told[0]
        asked = there.connections[0].request
        assert asked is not None
        assert (start["type"], start["encapsulation"], start["resumed"]) == ("start", "sln", False)
        assert [len(message) for message in audio] == [320] * 3
        assert asked.path == "/audio?x=1"
        assert asked.headers["X-Evercall-Stream-Id"] == str(STREAM)
        assert asked.headers["X-Evercall-Call-Id"] == str(CALL)
        assert asked.headers["Authorization"] == "Basic dXNlcjpzZWNyZXQ="


async def test_asked_twice_it_connects_once(house: House, dialer: Dialer) -> None:
    async with application() as there:
        await dialer.connect(request(there.url))
        await dialer.connect(request(there.url))
        await until(lambda: there.told and there.told[0])
        await asyncio.sleep(0.05)
        assert len(there.connections) == 1
        assert len(house.legs.started) == 1


async def test_a_connection_that_breaks_is_made_again(house: House, dialer: Dialer) -> None:
    async with application() as there:
        await dialer.connect(request(there.url))
        await until(lambda: there.told and there.told[0])
        session = await session_of(house)
        there.connections[0].transport.abort()
        await until(lambda: session.stream.is_away)
        for number in range(5):
            assert session.stream.spoken(packet(number)) == []
        await until(lambda: len(there.told) == 2 and len(there.told[1]) == 6)
        start, *missed = there.told[1]
        assert (start["resumed"], start["missed_ms"], start["lost_ms"]) == (True, 100, 0)
        assert len(missed) == 5
        assert house.legs.stopped == []


async def test_an_application_that_closes_has_had_enough(house: House, dialer: Dialer) -> None:
    async with application() as there:
        await dialer.connect(request(there.url))
        await until(lambda: there.told and there.told[0])
        await there.connections[0].close()
        await until(lambda: house.legs.stopped)
        assert house.legs.stopped == [(STREAM, StreamEnd.APPLICATION_CLOSED.value)]
        await asyncio.sleep(0.05)
        assert len(there.connections) == 1


@pytest.mark.parametrize(("encapsulation", "scheme"), [("sln", "ws://"), ("audiosocket", "")])
async def test_an_application_that_is_not_there_is_given_up(
    house: House, dialer: Dialer, encapsulation: str, scheme: str, closed_port: int
) -> None:
    await dialer.connect(request(f"{scheme}{HOST}:{closed_port}", encapsulation))
    await until(lambda: house.legs.stopped)
    assert house.legs.stopped == [(STREAM, StreamEnd.UNREACHABLE.value)]
    assert house.registry.sessions == {}


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Held by a socket that does not listen, so nobody else can."""
    with socket.socket() as holder:
        holder.bind((HOST, 0))
        yield holder.getsockname()[1]


async def test_a_redirect_is_not_followed(house: House, dialer: Dialer) -> None:
    hits = []

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hits.append(1)
        writer.write(
            b"HTTP/1.1 302 Found\r\nLocation: ws://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"
        )
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    await dialer.connect(request(f"ws://{HOST}:{port}/"))
    await until(lambda: house.legs.stopped)
    assert house.legs.stopped[0][1] == StreamEnd.UNREACHABLE.value
    assert len(hits) == dialing.ATTEMPTS + 1
    server.close()


async def test_private_addresses_are_refused_unless_allowed(house: House) -> None:
    dialer = Dialer(house.registry, HostGuard([]), house.tasks)
    with pytest.raises(Forbidden) as refused:
        await dialer.connect(request(f"ws://{HOST}:9/"))
    assert refused.value.code == "media_target_refused"
    with pytest.raises(InvalidRequest):
        await dialer.connect(request("ftp://app.example/"))
    assert house.legs.started == []


async def test_a_name_that_moved_to_a_private_address_is_not_followed(house: House) -> None:
    answers = iter([["192.0.2.1"]])

    async def resolve(host: str, port: int) -> list[str]:
        assert (host, port) == ("app.example", 443)
        return next(answers, ["10.0.0.1"])

    guard = HostGuard([ip_network("192.0.2.0/24")], resolve)
    await Dialer(house.registry, guard, house.tasks).connect(request("wss://app.example/"))
    await until(lambda: house.legs.stopped)
    assert house.legs.stopped[0][1] == StreamEnd.UNREACHABLE.value


async def test_a_call_that_is_not_up_is_not_dialed_for(house: House, dialer: Dialer) -> None:
    house.legs.error = Conflict("call_not_progressing", "-")
    async with application() as there:
        await dialer.connect(request(there.url))
        await until(lambda: house.legs.stopped)
        assert there.connections == []


async def test_rtp_goes_both_ways_between_two_addresses(house: House, dialer: Dialer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((HOST, 0))
        peer.setblocking(False)
        port = peer.getsockname()[1]
        await dialer.connect(request(f"{HOST}:{port}", "rtp"))
        session = await session_of(house)
        await until(lambda: session.link is not None)
        session.link.send(session.stream.spoken(packet(0)))  # type: ignore[union-attr]
        loop = asyncio.get_running_loop()
        data, ours = await asyncio.wait_for(loop.sock_recvfrom(peer, 2048), 5)
        assert len(data) == 172
        await loop.sock_sendto(peer, packet(7, ssrc=99), ours)
        await until(lambda: session.stream.is_playing)
        peer.close()
        for number in range(1, 4):  # to a port that is closed now: that is no reason to end
            session.link.send(session.stream.spoken(packet(number)))  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
        assert not session.is_over


class AudioSocketServer:
    """Reads all that comes."""

    def __init__(self) -> None:
        self.heard: list[bytearray] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = bytearray()
        self.heard.append(heard)
        self.writers.append(writer)
        while data := await reader.read(4096):
            heard += data
        writer.close()


@pytest.fixture
async def there() -> AsyncIterator[tuple[AudioSocketServer, str]]:
    """An AudioSocket server, and where it listens."""
    server = AudioSocketServer()
    listening = await asyncio.start_server(server.take, HOST, 0)
    yield server, f"{HOST}:{listening.sockets[0].getsockname()[1]}"
    listening.close()
    for writer in server.writers:
        writer.close()


async def test_audiosocket_says_first_which_stream_it_is(
    house: House, dialer: Dialer, there: tuple[AudioSocketServer, str]
) -> None:
    server, address = there
    await dialer.connect(request(address, "audiosocket"))
    await until(lambda: server.heard and len(server.heard[0]) >= 19)
    assert bytes(server.heard[0]) == b"\x01\x00\x10" + STREAM.bytes
    session = await session_of(house)
    session.link.send(session.stream.spoken(packet(0)))  # type: ignore[union-attr]
    await until(lambda: len(server.heard[0]) == 19 + 323)
    house.registry.digit(STREAM, "5", 100)
    await until(lambda: server.heard[0].endswith(b"\x03\x00\x015"))
    server.writers[0].write(b"\x10\x01\x40" + bytes(320))
    await until(lambda: session.stream.is_playing)
    house.registry.ended(session, StreamEnd.CALL_ENDED, tell_call=False)
    await until(lambda: server.heard[0].endswith(HANG_UP))


async def test_a_hang_up_ends_the_stream_and_a_broken_connection_does_not(
    house: House, dialer: Dialer, there: tuple[AudioSocketServer, str]
) -> None:
    server, address = there
    await dialer.connect(request(address, "audiosocket"))
    await until(lambda: len(server.writers) == 1)
    server.writers[0].close()
    await until(lambda: len(server.writers) == 2)
    assert house.legs.stopped == []
    server.writers[1].write(HANG_UP)
    await until(lambda: house.legs.stopped)
    assert house.legs.stopped == [(STREAM, StreamEnd.APPLICATION_CLOSED.value)]

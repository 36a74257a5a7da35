"""The leg to Asterisk: datagrams in batches, over real sockets of the loopback, and the ticker."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import REGISTRY

from evercall.media import rtp
from evercall.media.pacer import CATCH_UP
from media_manager.inner.datagrams import (
    MOST,
    SIZE,
    Datagrams,
    address_bytes,
    address_key,
    open_socket,
)
from media_manager.inner.leg import BATCHES, IDLE_TICKS, InnerSocket, Leg
from tests.unit.media_manager.streams import FRAME, application_packet, make_stream, packet, told

HOST = "127.0.0.1"


@pytest.fixture
def ours() -> Iterator[socket.socket]:
    with open_socket(HOST, 1 << 20) as opened:
        yield opened


@pytest.fixture
def theirs() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind((HOST, 0))
        opened.settimeout(5)
        yield opened


def key_of(peer: socket.socket) -> int:
    return address_key(address_bytes(*peer.getsockname()))


class TestDatagrams:
    def test_what_comes_is_told_with_its_source(
        self, ours: socket.socket, theirs: socket.socket
    ) -> None:
        sent = [b"", b"a", bytes(SIZE)]
        for data in sent:
            theirs.sendto(data, ours.getsockname())
        received = Datagrams().receive(ours.fileno())
        assert received == [(key_of(theirs), data) for data in sent]

    def test_nothing_has_come(self, ours: socket.socket) -> None:
        assert Datagrams().receive(ours.fileno()) == []

    def test_what_is_too_long_is_cut_off(self, ours: socket.socket, theirs: socket.socket) -> None:
        theirs.sendto(b"x" * (SIZE + 100), ours.getsockname())
        theirs.sendto(b"next", ours.getsockname())
        received = Datagrams().receive(ours.fileno())
        assert [len(data) for _, data in received] == [SIZE, 4]

    def test_what_is_more_than_a_batch_comes_with_the_next(
        self, ours: socket.socket, theirs: socket.socket
    ) -> None:
        for number in range(MOST + 3):
            theirs.sendto(number.to_bytes(2, "big"), ours.getsockname())
        incoming = Datagrams()
        first, second = incoming.receive(ours.fileno()), incoming.receive(ours.fileno())
        numbers = [int.from_bytes(data, "big") for _, data in first + second]
        assert (len(first), len(second)) == (MOST, 3)
        assert numbers == list(range(MOST + 3))

    def test_each_goes_to_its_own_address_whole(self, ours: socket.socket) -> None:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
        ):
            for peer, address in ((one, "127.0.0.2"), (two, "127.0.0.3")):
                peer.bind((address, 0))
                peer.settimeout(5)
            outgoing = Datagrams()
            # Twice, the second time shorter: a place must not remember what it held.
            for size in (172, 20):
                for number in range(10):
                    for peer in (one, two):
                        outgoing.put(bytes([number]) * size, address_bytes(*peer.getsockname()))
                assert outgoing.send(ours.fileno()) == 0
                assert outgoing.count == 0
                for peer in (one, two):
                    got = [peer.recvfrom(2048) for _ in range(10)]
                    assert [data for data, _ in got] == [bytes([n]) * size for n in range(10)]
                    assert {source for _, source in got} == {ours.getsockname()}

    def test_one_that_cannot_be_sent_keeps_no_other_back(
        self, ours: socket.socket, theirs: socket.socket
    ) -> None:
        outgoing = Datagrams()
        good = address_bytes(*theirs.getsockname())
        # A socket of the loopback reaches no other network: EINVAL or ENETUNREACH.
        for address in (good, address_bytes("192.0.2.1", 9), good):
            outgoing.put(b"x", address)
        outgoing.send(ours.fileno())
        assert [theirs.recv(16) for _ in range(2)] == [b"x", b"x"]

    def test_an_address_must_be_ipv4(self) -> None:
        with pytest.raises(OSError, match="illegal IP address"):
            address_bytes("::1", 5)


@pytest.fixture
async def inner() -> AsyncIterator[InnerSocket]:
    opened = InnerSocket(HOST)
    yield opened
    await opened.close()


class Far:
    """Asterisk's end of a leg, and what the application gets."""

    def __init__(self, inner: InnerSocket, peer: socket.socket) -> None:
        self.delivered: list[bytes] = []
        self.told = 0
        self._said = 0
        self.stream = make_stream("rtp")
        address, port = inner.host.split(":")
        self.ours = (address, int(port))
        host, port = peer.getsockname()
        self.leg = Leg(self.stream, host, port, self.delivered.extend, self._tell)
        inner.add(self.leg)

    def _tell(self) -> None:
        self.told += 1

    def say(self, inner: InnerSocket, frames: int) -> None:
        """The application says so much."""
        for _ in range(frames):
            self.stream.hear(application_packet(self._said), 0.0)
            self._said += 1
        inner.play(self.leg)


async def heard(far: Far, count: int) -> None:
    async with asyncio.timeout(5):
        while len(far.delivered) < count:
            await asyncio.sleep(0.001)


def waiting(peer: socket.socket) -> list[rtp.RtpPacket]:
    """What has come to Asterisk."""
    peer.setblocking(False)
    packets = []
    while True:
        try:
            packets.append(rtp.parse(peer.recv(2048)))
        except BlockingIOError:
            return packets


async def test_packets_go_to_the_stream_of_their_source(
    inner: InnerSocket, theirs: socket.socket
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, 0))
        first, second = Far(inner, theirs), Far(inner, other)
        for number in range(3):
            theirs.sendto(packet(number, b"\x01" * 160), first.ours)
            other.sendto(packet(number, b"\x02" * 160), second.ours)
        await heard(first, 3)
        await heard(second, 3)
        assert {rtp.parse(data).payload[0] for data in first.delivered} == {1}
        assert {rtp.parse(data).payload[0] for data in second.delivered} == {2}
        assert (len(inner), inner.strays) == (2, 0)


async def test_packets_of_strangers_are_counted_and_dropped(
    inner: InnerSocket, theirs: socket.socket
) -> None:
    far = Far(inner, theirs)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(packet(1), far.ours)
        theirs.sendto(packet(1), far.ours)
        await heard(far, 1)
        assert (len(far.delivered), inner.strays) == (1, 1)


async def test_a_leg_that_is_gone_hears_nothing(inner: InnerSocket, theirs: socket.socket) -> None:
    far = Far(inner, theirs)
    inner.remove(far.leg)
    theirs.sendto(packet(1), far.ours)
    async with asyncio.timeout(5):
        while not inner.strays:
            await asyncio.sleep(0.001)
    assert far.delivered == []
    assert len(inner) == 0


async def test_removing_a_leg_leaves_the_one_that_came_after_it_at_the_same_address(
    inner: InnerSocket, theirs: socket.socket
) -> None:
    former, new = Far(inner, theirs), Far(inner, theirs)
    inner.remove(former.leg)
    theirs.sendto(packet(1), new.ours)
    await heard(new, 1)
    assert former.delivered == []


async def test_reading_ends_although_more_has_come(
    inner: InnerSocket, theirs: socket.socket
) -> None:
    """Who reads until nothing is left never comes to send, when more comes than can be forwarded."""
    far = Far(inner, theirs)
    sent = (BATCHES + 2) * MOST
    for number in range(sent):
        theirs.sendto(packet(number), far.ours)
    inner._read()
    assert len(far.delivered) == BATCHES * MOST
    await heard(far, sent)


async def test_what_the_kernel_had_no_room_for_is_known(
    inner: InnerSocket, theirs: socket.socket
) -> None:
    far = Far(inner, theirs)
    assert inner.overrun == 0
    inner._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for number in range(100):
        theirs.sendto(packet(number), far.ours)
    await asyncio.sleep(0.05)
    assert inner.overrun > 0
    assert len(far.delivered) + inner.overrun == 100


async def test_jitter_is_told_of_one_packet_in_sixteen(
    inner: InnerSocket, theirs: socket.socket
) -> None:
    far = Far(inner, theirs)
    before = jitter()
    for number in range(49):  # 0, 16, 32 and 48 are looked at; the first has none before it
        theirs.sendto(packet(number), far.ours)
    await heard(far, 49)
    count, seconds = (new - old for new, old in zip(jitter(), before, strict=True))
    assert count == 3
    assert 0.9 < seconds <= 0.96  # each came 320 ms too early
    theirs.sendto(packet(64 + 10_000 * 16), far.ours)  # another clock
    await heard(far, 50)
    assert jitter()[0] - before[0] == 3


def jitter() -> tuple[float, float]:
    """How often it was measured, and the sum in seconds."""
    name = "evercall_media_manager_jitter_seconds"
    count, total = (REGISTRY.get_sample_value(f"{name}_{each}") for each in ("count", "sum"))
    assert count is not None
    assert total is not None
    return count, total


async def test_the_ticker_sends_a_frame_each_20_ms(
    inner: InnerSocket, theirs: socket.socket
) -> None:
    far = Far(inner, theirs)
    far.say(inner, 10)
    now = asyncio.get_running_loop().time()
    counts = []
    for step in range(1, 60):
        inner.tick(now + step * 0.005)
        counts.append(len(waiting(theirs)))
    assert sum(counts) == 10
    first = counts.index(1)
    assert counts[first : first + 40] == [1, 0, 0, 0] * 10


async def test_who_is_late_catches_up_and_skips_the_rest_without_losing_audio(
    inner: InnerSocket, theirs: socket.socket
) -> None:
    far = Far(inner, theirs)
    far.say(inner, 20)
    now = asyncio.get_running_loop().time()
    for step in range(1, 9):
        inner.tick(now + step * 0.005)
    before = waiting(theirs)
    inner.tick(now + 0.04 + 0.2)
    after = waiting(theirs)
    assert 1 <= len(before) <= 2
    assert len(after) == CATCH_UP
    # Ten ticks are over: the timestamps say so.
    elapsed = after[-1].timestamp - before[-1].timestamp & 0xFFFFFFFF
    assert elapsed == 10 * 160
    for step in range(1, 200):
        inner.tick(now + 0.24 + step * 0.005)
    assert len(before) + len(after) + len(waiting(theirs)) == 20


async def test_who_has_nothing_to_say_leaves_the_ticker_and_comes_back_with_true_timestamps(
    inner: InnerSocket, theirs: socket.socket
) -> None:
    far = Far(inner, theirs)
    far.say(inner, 1)
    now = asyncio.get_running_loop().time()
    for step in range(1, 4 * (IDLE_TICKS + 10)):
        inner.tick(now + step * 0.005)
    assert far.leg not in inner._pacer
    assert len(waiting(theirs)) == 1
    far.say(inner, 1)
    assert far.leg in inner._pacer


async def test_what_a_stream_says_while_it_plays_is_told(
    inner: InnerSocket, theirs: socket.socket
) -> None:
    far = Far(inner, theirs)
    far.say(inner, 2)
    far.stream.hear_text(b'{"type":"mark","name":"end"}', 0.0)
    now = asyncio.get_running_loop().time()
    for step in range(1, 30):
        inner.tick(now + step * 0.005)
    assert far.told >= 1
    assert [said["type"] for said in told(far.stream)] == ["marked"]


async def test_a_leg_that_is_gone_is_not_played(inner: InnerSocket, theirs: socket.socket) -> None:
    far = Far(inner, theirs)
    inner.remove(far.leg)
    far.say(inner, 2)
    assert far.leg not in inner._pacer


async def test_the_ticker_runs_by_itself(inner: InnerSocket, theirs: socket.socket) -> None:
    far = Far(inner, theirs)
    task = asyncio.create_task(inner.run())
    far.say(inner, 3)
    loop = asyncio.get_running_loop()
    theirs.setblocking(False)
    async with asyncio.timeout(5):
        data = [await loop.sock_recv(theirs, 2048) for _ in range(3)]
    task.cancel()
    assert [rtp.parse(each).payload for each in data] == [FRAME] * 3

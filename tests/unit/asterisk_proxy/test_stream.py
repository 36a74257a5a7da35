"""The stream: nothing is lost or doubled, wherever its process is killed."""

import os
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asterisk_proxy import stream as stream_module
from asterisk_proxy.stream import CAPACITY, MOST_CUTS, Stream


class Killed(BaseException):
    """The process ends here."""


class Fuse:
    """Burns by one at each step that the outside can see; kills when it is burnt."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def burn(self) -> None:
        self.steps -= 1
        if self.steps == 0:
            raise Killed


class FakeSocket:
    """The receiving end of a TCP connection, as far as `Stream` uses it."""

    def __init__(self) -> None:
        self.waiting = bytearray()
        self.closed = False
        self.fuse = Fuse(-1)

    def recv_into(self, buffer: memoryview, size: int, flags: int) -> int:
        self.fuse.burn()
        if not self.waiting and not self.closed:
            raise BlockingIOError
        size = min(size, len(self.waiting))
        if flags & socket.MSG_PEEK:
            buffer[:size] = self.waiting[:size]
        elif flags & socket.MSG_TRUNC:
            del self.waiting[:size]
        else:
            raise AssertionError("bytes would leave the socket before they are safe")
        self.fuse.burn()
        return size

    def recv(self, size: int, flags: int) -> bytes:
        assert flags == socket.MSG_PEEK
        if not self.waiting and not self.closed:
            raise BlockingIOError
        return bytes(self.waiting[:size])


class FusedNumbers:
    """The stream's offsets: each store is a step."""

    def __init__(self, numbers: Any, fuse: Fuse) -> None:
        self._numbers = numbers
        self._fuse = fuse

    def __getitem__(self, index: int) -> int:
        value: int = self._numbers[index]
        return value

    def __setitem__(self, index: int, value: int) -> None:
        self._fuse.burn()
        self._numbers[index] = value
        self._fuse.burn()


@pytest.fixture
def stream() -> Iterator[Stream]:
    made = Stream.create()
    yield made
    os.close(made.descriptor)


def reopen(stream: Stream) -> Stream:
    """What the next process maps."""
    return Stream(stream.descriptor)


def receive(stream: Stream, source: FakeSocket) -> int:
    return stream.receive(source)  # type: ignore[arg-type]


def reconcile(stream: Stream, source: FakeSocket) -> None:
    stream.reconcile(source)  # type: ignore[arg-type]


def take_over(stream: Stream, source: FakeSocket, kills: Iterator[int]) -> Stream:
    """The next process, which may be killed before it has put things right, and the one after it."""
    while True:
        stream = reopen(stream)
        fuse = source.fuse = Fuse(next(kills, -1))
        stream._numbers = FusedNumbers(stream._numbers, fuse)  # type: ignore[assignment]
        try:
            reconcile(stream, source)
        except Killed:
            continue
        source.fuse = Fuse(-1)
        return reopen(stream)


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=8), st.lists(st.integers(1, 14)))
def test_a_kill_at_any_step_loses_and_doubles_nothing(
    chunks: list[bytes], fuses: list[int]
) -> None:
    stream = Stream.create()
    source = FakeSocket()
    kills = iter(fuses)
    # Every chunk differs from all others, as events do.
    parts = [f"{number}:".encode() + chunk for number, chunk in enumerate(chunks)]
    for part in parts:
        source.waiting += part
        fuse = source.fuse = Fuse(next(kills, -1))
        stream._numbers = FusedNumbers(stream._numbers, fuse)  # type: ignore[assignment]
        try:
            receive(stream, source)
        except Killed:
            stream = take_over(stream, source, kills)
    stream = reopen(stream)
    source.fuse = Fuse(-1)
    while source.waiting:
        receive(stream, source)
    assert stream.read(0, 10_000) == b"".join(parts)
    os.close(stream.descriptor)


def test_bytes_are_read_as_they_came(stream: Stream) -> None:
    source = FakeSocket()
    source.waiting += b"hello, world"
    assert receive(stream, source) == 12
    assert stream.read(7, 5) == b"world"
    assert stream.read(7, 100) == b"world"
    assert (stream.received, stream.settled, stream.used) == (12, 0, 12)
    stream.settle(12)
    assert stream.is_settled


def test_nothing_to_receive_and_the_end(stream: Stream) -> None:
    source = FakeSocket()
    with pytest.raises(BlockingIOError):
        receive(stream, source)
    source.closed = True
    assert receive(stream, source) == 0


def test_the_ring_goes_round(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written three times over in uneven pieces, it gives back what it got."""
    monkeypatch.setattr(stream_module, "CHUNK", 5 * 1024 * 1024)
    stream = reopen(stream)
    source = FakeSocket()
    pieces = random.Random(7)
    sent = 0
    while sent < CAPACITY * 2:
        piece = pieces.randbytes(1024) * pieces.randint(1, 4096)
        source.waiting += piece
        start = stream.received
        while source.waiting:
            receive(stream, source)
        assert stream.read(start, len(piece)) == piece
        sent += len(piece)
        stream.settle(stream.received)


def test_a_full_ring_takes_no_more(stream: Stream) -> None:
    stream.cut(CAPACITY - 3)
    assert stream.is_filling
    source = FakeSocket()
    source.waiting += b"abcdef"
    assert receive(stream, source) == 3
    assert stream.is_full
    with pytest.raises(BlockingIOError):
        receive(stream, source)
    stream.settle(10)
    assert receive(stream, source) == 3
    assert stream.read(CAPACITY - 3, 6) == b"abcdef"


def test_settled_memory_is_given_back(stream: Stream) -> None:
    source = FakeSocket()
    for _ in range(64):
        source.waiting += b"x" * (1024 * 1024)
        while source.waiting:
            receive(stream, source)
        stream.settle(stream.received)
    # Blocks of 512 bytes that the memory really takes (stat(2)).
    assert os.fstat(stream.descriptor).st_blocks * 512 < 8 * 1024 * 1024


def test_what_the_next_process_must_know(stream: Stream) -> None:
    stream.boot_id = "2026-11-20T22:55:37.689+0000 02:00:7f:1f:00:01"
    stream.writing = True
    stream.cut(50)
    stream.settle(10)
    stream.cut_at(20)
    after = reopen(stream)
    assert after.boot_id == "2026-11-20T22:55:37.689+0000 02:00:7f:1f:00:01"
    assert after.writing
    assert (after.settled, after.cuts, after.received) == (10, [20], 50)
    assert after.nonce == stream.nonce


def test_where_batches_end_is_known_until_they_are_settled(stream: Stream) -> None:
    for end in range(1, 3 * MOST_CUTS):
        stream.cut(end)
        stream.cut_at(end)
        stream.settle(max(0, end - (MOST_CUTS - 1)))
        assert stream.cuts == list(range(stream.settled + 1, end + 1))
        assert reopen(stream).cuts == stream.cuts


def test_two_streams_have_two_names(stream: Stream) -> None:
    other = Stream.create()
    assert other.nonce != stream.nonce
    os.close(other.descriptor)


def test_the_piece_of_a_frame_is_cut_off(stream: Stream) -> None:
    source = FakeSocket()
    source.waiting += b"whole|pie"
    receive(stream, source)
    stream.cut(6)
    source.waiting += b"next"
    receive(stream, source)
    assert stream.read(0, 100) == b"whole|next"
    reconcile(stream, source)
    assert stream.read(0, 100) == b"whole|next"

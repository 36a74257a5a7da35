"""A connection is read in pieces, and not faster than it may be."""

import asyncio

from media_manager.doors.reading import BURST, PIECE, TOKENS_PER_SECOND, Pieces, Throttle


class Transport:
    """Notes whether it is read."""

    def __init__(self) -> None:
        self.is_read = True
        self.is_closed = False

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        assert self.is_read
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


async def until_read(transport: Transport) -> float:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.timeout(5):
        while not transport.is_read:
            await asyncio.sleep(0.002)
    return loop.time() - begun


async def test_a_stream_in_real_time_is_never_kept_waiting() -> None:
    throttle, transport = Throttle(), Transport()
    for _ in range(int(BURST)):
        throttle.took(transport, 1, 160)
    assert transport.is_read


async def test_who_sends_too_much_is_read_again_when_it_is_made_good() -> None:
    throttle, transport = Throttle(), Transport()
    throttle.took(transport, int(BURST + TOKENS_PER_SECOND * 0.2), 0)
    assert not transport.is_read
    throttle.took(transport, 1, 0)  # what was read already is still worked on
    assert await until_read(transport) > 0.15


async def test_bytes_count_too() -> None:
    throttle, transport = Throttle(), Transport()
    throttle.took(transport, 1, 1024 * 1024)
    assert not transport.is_read
    throttle.stop()


async def test_a_connection_that_is_gone_is_left_alone() -> None:
    throttle, transport = Throttle(), Transport()
    throttle.took(transport, 100_000, 0)
    throttle.stop()
    transport.is_closed = True
    throttle.took(transport, 100_000, 0)
    await asyncio.sleep(0.05)
    assert not transport.is_read


class Inner:
    """A buffered protocol with little room."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self._room = memoryview(bytearray(7))

    def get_buffer(self, _: int) -> memoryview:
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        self.heard += self._room[:nbytes]


def test_a_piece_is_passed_on_whole() -> None:
    inner = Inner()
    pieces = Pieces(inner)
    room = pieces.get_buffer(65_536)
    assert len(room) == PIECE
    room[:100] = bytes(range(100))
    pieces.buffer_updated(100)
    assert inner.heard == bytes(range(100))

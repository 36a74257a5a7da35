"""What an application sends is read in small pieces, and no faster than one application may send.

One loop serves all streams of a process, and each wants its packet every 20 ms. So nobody may keep the loop busy
with what he sends: who sends more than is allowed is not read for a while, and TCP makes him wait.
"""

import asyncio
from typing import Any

from media_manager.domain.allowance import Allowance

PIECE = 4096
"""Bytes that are read at once: about 680 of the smallest frames, which cost some 3 ms."""

TOKENS_PER_SECOND, BURST = 20_000.0, 2500.0
"""A message with audio costs one: some 4 microseconds. Linear audio in single bytes, in real time, has 16,000 of
them."""

TEXT_TOKENS = 5
"""What a control frame costs, or a ping: it is answered."""

_BYTES = 256
"""One token more for each of so many bytes: a mebibyte of audio takes 14 ms."""

_LEAST = 0.02
"""Seconds: shorter pauses would cost more than they save."""


class Throttle:
    """Lets one connection be read as fast as it may be."""

    def __init__(self) -> None:
        self._allowance = Allowance(TOKENS_PER_SECOND, BURST)
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None

    def took(self, transport: Any, tokens: int, size: int) -> None:
        """So much was read and worked on."""
        wait = self._allowance.spend(tokens + size // _BYTES, self._loop.time())
        if wait and self._pause is None and not transport.is_closing():
            transport.pause_reading()
            self._pause = self._loop.call_later(max(wait, _LEAST), self._go_on, transport)

    def _go_on(self, transport: Any) -> None:
        self._pause = None
        if not transport.is_closing():
            transport.resume_reading()

    def end(self, transport: Any) -> None:
        """Nothing of this connection is read any more."""
        if self._pause is None and not transport.is_closing():
            transport.pause_reading()
        self.stop()

    def stop(self) -> None:
        """The connection is gone."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None


class Pieces(asyncio.BufferedProtocol):
    """Stands before picows' protocol, whose own buffer grows as long as somebody fills it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._piece = memoryview(bytearray(PIECE))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Room for a piece."""
        return self._piece

    def buffer_updated(self, nbytes: int) -> None:
        """A piece is there."""
        feed(self._inner, self._piece[:nbytes])

    def eof_received(self) -> bool | None:
        """The application sends no more."""
        ends: bool | None = self._inner.eof_received()
        return ends

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """The application does not read."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        self._inner.resume_writing()


def feed(protocol: Any, data: memoryview) -> None:
    """Gives a buffered protocol bytes that were read by somebody else."""
    while data:
        room = protocol.get_buffer(len(data))
        count = min(len(room), len(data))
        room[:count] = data[:count]
        protocol.buffer_updated(count)
        data = data[count:]

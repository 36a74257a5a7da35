"""The connection to Asterisk: bytes into the stream, frames out of it, commands the other way.

Reads by itself instead of through an asyncio transport, because what a transport has read and not
handed over dies with the process.
"""

import asyncio
import socket
from typing import Protocol

from asterisk_proxy.stream import CAPACITY, Stream
from evercall.ari.frames import (
    HEAD_MAXIMUM,
    FrameError,
    Opcode,
    decode_head,
    encode_close,
    encode_frame,
    unmask,
)
from evercall.service.logging import get_logger

log = get_logger(__name__)

LONGEST_FRAME = CAPACITY // 8
"""A list of some 30,000 channels. Longer ones are not meant seriously."""


class Listener(Protocol):
    """Who hears what Asterisk says."""

    def heard(self, payload: bytes, end: int) -> None:
        """A message, and the offset at which it ends."""

    def all_heard(self, end: int) -> None:
        """Nothing more has arrived for now."""

    def closing(self) -> None:
        """No commands can be given any more; what Asterisk still says is heard."""

    def ended(self) -> None:
        """The connection is gone; everything that came over it was heard."""


class Asterisk:
    """At most one connection at a time. `listener` hears what comes over it."""

    def __init__(self, stream: Stream, listener: Listener) -> None:
        self._stream = stream
        self._listener = listener
        self._socket: socket.socket | None = None
        self._parsed = stream.settled
        self._unwritten = bytearray()
        self._writable = asyncio.Event()
        self._open = False
        self._closed = asyncio.Event()
        self._closed.set()

    @property
    def connected(self) -> bool:
        """Whether commands can be given."""
        return self._open

    @property
    def has_connection(self) -> bool:
        """Whether there is a socket, even one that is about to close."""
        return self._socket is not None

    # -- life ----------------------------------------------------------------------------------

    def resume(self, connection: socket.socket | None) -> None:
        """Goes on where a former proxy ended, with its connection where that still lives."""
        if connection is None:
            self._parse_all()
            self._stream.cut(self._parsed)
            return
        self._stream.reconcile(connection)
        self._watch(connection)
        self._parse_all()
        if self._stream.writing:
            # Half a frame may be written; what follows it would be misunderstood.
            log.warning("asterisk_connection_given_up", reason="half_written")
            self._closing()
            connection.shutdown(socket.SHUT_WR)

    def start(self, connection: socket.socket) -> None:
        """Takes a connection that has just finished its handshake."""
        self._stream.writing = False
        self._stream.boot_id = ""
        self._watch(connection)

    def close(self) -> None:
        """Asks Asterisk to close. What it still says is heard; then the connection ends."""
        if self.connected:
            self._write(encode_close())
            self._closing()

    def abort(self) -> None:
        """Ends the connection at once. What has arrived on it is heard first."""
        while self._read():
            pass
        if self._socket is not None:
            self._end()

    async def wait_closed(self) -> None:
        """Returns when there is no connection."""
        await self._closed.wait()

    def _watch(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._unwritten.clear()
        self._writable.set()
        self._open = True
        self._closed.clear()
        asyncio.get_running_loop().add_reader(connection.fileno(), self._read)

    def _closing(self) -> None:
        self._open = False
        self._listener.closing()

    def _end(self) -> None:
        connection, self._socket = self._socket, None
        if connection is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(connection.fileno())
        loop.remove_writer(connection.fileno())
        connection.close()
        self._stream.cut(self._parsed)
        self._stream.writing = False
        self._unwritten.clear()
        self._closing()
        self._writable.set()
        self._closed.set()
        self._listener.ended()

    # -- reading -------------------------------------------------------------------------------

    def _read(self) -> bool:
        """Hears what has arrived, up to a limit; returns whether there may be more."""
        if self._socket is None:
            return False
        try:
            size = self._stream.receive(self._socket)
        except BlockingIOError:
            if self._stream.is_full:
                log.error("asterisk_connection_given_up", reason="stream_full")
                self._end()
            return False
        except OSError:
            size = 0
        if size == 0:
            self._end()
            return False
        # Asterisk leaves Nagle's algorithm on (RFC 896), so its next event waits for the ACK of the last,
        # which we would delay by up to 40 ms. Linux forgets this option again (tcp(7)), hence each time.
        # Measured at 20 calls/s, from the event to the broker: p95 41 ms without, 4 ms with.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self._parse_all()
        if self._stream.is_filling:
            self.close()
        return True

    def _parse_all(self) -> None:
        try:
            while self._parse_one():
                pass
        except FrameError as error:
            log.error("asterisk_connection_given_up", reason=str(error))
            self._end()
            return
        self._listener.all_heard(self._parsed)

    def _parse_one(self) -> bool:
        stream, start = self._stream, self._parsed
        head = decode_head(stream.read(start, HEAD_MAXIMUM))
        if head is None:
            return False
        if head.length > LONGEST_FRAME:
            raise FrameError("frame_too_long")
        end = start + head.size + head.length
        if end > stream.received:
            return False
        payload = unmask(stream.read(start + head.size, head.length), head.mask)
        self._parsed = end
        if head.opcode == Opcode.TEXT:
            self._listener.heard(payload, end)
        elif head.opcode == Opcode.PING:
            self._write(encode_frame(Opcode.PONG, payload))
        elif head.opcode == Opcode.CLOSE:
            self.close()
        return True

    # -- writing -------------------------------------------------------------------------------

    def send(self, frames: bytes) -> None:
        """Gives commands. Only while `connected`."""
        self._write(frames)

    @property
    def is_flushed(self) -> bool:
        """Whether all that was given is with the kernel, which keeps it when this process dies."""
        return not self._unwritten

    async def flushed(self) -> None:
        """Returns when it is, or when there is no connection any more."""
        await self._writable.wait()

    def _write(self, data: bytes) -> None:
        if self._socket is None:
            return
        if self._unwritten:
            self._unwritten += data
        else:
            self._write_now(data)

    def _write_now(self, data: bytes | bytearray) -> None:
        connection = self._socket
        if connection is None:
            return
        self._stream.writing = True
        try:
            size = connection.send(data)
        except BlockingIOError:
            size = 0
        except OSError:
            # The reader finds out too, and ends the connection after all that is left was read.
            self._closing()
            return
        loop = asyncio.get_running_loop()
        if size == len(data):
            self._stream.writing = False
            if self._unwritten:
                self._unwritten.clear()
                self._writable.set()
                loop.remove_writer(connection.fileno())
            return
        self._unwritten[:] = data[size:]
        self._writable.clear()
        loop.add_writer(connection.fileno(), self._write_on)

    def _write_on(self) -> None:
        self._write_now(bytes(self._unwritten))

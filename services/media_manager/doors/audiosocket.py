"""AudioSocket over TCP with an application: we connect, and say first which stream it is."""

import asyncio
import socket
from typing import Any

from media_manager.domain.backlog import Backlog
from media_manager.domain.closing import StreamEnd
from media_manager.doors.reading import PIECE, Throttle
from media_manager.doors.websocket import SOCKET_BUFFER, WRITE_BUFFER
from media_manager.session import Session


class AudioSocketLink(asyncio.BufferedProtocol):
    """A message of hang-up ends the stream; a connection that just ends is made again."""

    takes_keys = True

    def __init__(self, session: Session) -> None:
        self._session = session
        self._transport: Any = None
        self._loop = asyncio.get_running_loop()
        self._blocked = False
        self._backlog = Backlog()
        self._throttle = Throttle()
        self._piece = memoryview(bytearray(PIECE))
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The application is there."""
        self._transport = transport
        opened = transport.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._transport.write(self._session.stream.opening())

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Room for a piece of what the application says."""
        return self._piece

    def buffer_updated(self, nbytes: int) -> None:
        """A piece is there."""
        messages = self._session.received(bytes(self._piece[:nbytes]), self._loop.time())
        if self._transport is not None:
            self._throttle.took(self._transport, messages, nbytes)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The connection is gone."""
        self._transport = None
        self._throttle.stop()
        self._session.link_lost(self, None, self._loop.time())
        self.gone.set()

    def send(self, messages: list[bytes]) -> None:
        """See `Link`. Asterisk's reader may lose its place when a head comes in pieces, so whole messages are
        written."""
        if self._transport is None:
            return
        if not self._blocked:
            self._transport.write(b"".join(messages))
            return
        dropped = self._backlog.put(messages)
        if dropped:
            self._session.fell_behind(dropped, self._loop.time())

    def send_text(self, texts: list[bytes]) -> None:
        """AudioSocket has no words."""

    def cut_when_unread(self) -> None:
        """See `Link`. What waits here is bounded: audio alone."""

    def close(self, end: StreamEnd) -> None:  # noqa: ARG002
        """See `Link`."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.write(self._session.stream.farewell())
            transport.close()
        self.gone.set()

    def pause_writing(self) -> None:
        """The application does not read."""
        self._blocked = True

    def resume_writing(self) -> None:
        """It reads again."""
        self._blocked = False
        self.send(self._backlog.take())


async def open_audiosocket(session: Session, address: str, port: int) -> AudioSocketLink:
    """A connection with the application.

    Raises:
        OSError: nobody is there.
    """
    loop = asyncio.get_running_loop()
    _, link = await loop.create_connection(lambda: AudioSocketLink(session), address, port)
    return link

"""A WebSocket (RFC 6455) with an application. The framing is picows'."""

import asyncio
import logging
from collections.abc import Callable

from picows import WSFrame, WSListener, WSMsgType, WSTransport

from media_manager.domain.backlog import Backlog
from media_manager.domain.closing import CLOSE_CODES, StreamEnd
from media_manager.doors.reading import TEXT_TOKENS, Throttle
from media_manager.session import Session

LONGEST_MESSAGE = 1024 * 1024
"""Two minutes of ulaw; who sends more at once is not understood (close code 1009)."""

MOST_PARTS = 64
"""Frames of one message, for the same reason."""

WRITE_BUFFER = 32 * 1024
"""Bytes in our own buffer above which a reader counts as slow; then messages wait in the backlog."""

SOCKET_BUFFER = 32 * 1024
"""Bytes in the kernel's: it would hold minutes of audio by itself, and play the past to a slow reader."""

MOST_UNREAD = 1024 * 1024
"""Bytes: audio is dropped long before, but who asks and asks gets an answer each time, and must read it."""

PING_SECONDS = 20.0
"""After so much silence a ping is sent, and so long its answer is waited for."""

LAST_WORD_SECONDS = 1.0

PICOWS_LOG = logging.getLogger("picows.media")
PICOWS_LOG.setLevel(logging.ERROR)  # its other lines name addresses, one for each connection

_NO_CODE = 1005


class WebSocketLink(WSListener):
    """Between picows and a session."""

    takes_keys = False

    def __init__(self, session: Session, *, resumed: bool) -> None:
        self._session = session
        self._resumed = resumed
        self._transport: WSTransport | None = None
        self._loop = asyncio.get_running_loop()
        self._blocked = False
        self._backlog = Backlog()
        self._parts: list[bytes] = []
        self._parts_size = 0
        self._throttle = Throttle()
        self._parts_type = WSMsgType.BINARY
        self._code: int | None = None
        self.was_connected = False
        self.gone = asyncio.Event()
        self.on_closed: Callable[[], object] = lambda: None
        """Called when the connection is gone."""

    # -- to the application --------------------------------------------------------------------

    def send(self, messages: list[bytes]) -> None:
        """See `Link`."""
        transport = self._transport
        if transport is None:
            return
        if self._blocked:
            self._wait_with(messages)
            return
        for message in messages:
            transport.send(WSMsgType.BINARY, message)

    def _wait_with(self, messages: list[bytes]) -> None:
        dropped = self._backlog.put(messages)
        if dropped:
            self._session.fell_behind(dropped, self._loop.time())

    def send_text(self, texts: list[bytes]) -> None:
        """See `Link`."""
        if self._transport is not None:
            for text in texts:
                self._transport.send(WSMsgType.TEXT, text)

    def cut_when_unread(self) -> None:
        """See `Link`. It may come back and read."""
        transport = self._transport
        if transport is None:
            return
        if transport.underlying_transport.get_write_buffer_size() > MOST_UNREAD:
            transport.disconnect(graceful=False)

    def close(self, end: StreamEnd) -> None:
        """See `Link`. A reader that does not read is not waited for."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        code = CLOSE_CODES[end].to_bytes(2, "big")
        transport.send(WSMsgType.CLOSE, code + end.value.encode())
        transport.disconnect(graceful=not self._blocked)

    # -- from picows ---------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self.was_connected = True
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._session.attach(self, resumed=self._resumed)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame of the application."""
        if self._transport is None:
            return  # what comes after the end is not looked at
        kind, size, tokens = frame.msg_type, frame.payload_size, TEXT_TOKENS
        if kind == WSMsgType.BINARY and frame.fin and not self._parts:
            tokens = self._session.received(frame.get_payload_as_bytes(), self._loop.time())
        elif kind == WSMsgType.CLOSE:
            self._closed(transport, frame.get_payload_as_bytes())
            return
        elif kind == WSMsgType.PING:
            self._pinged(transport, frame)
        elif kind in (WSMsgType.BINARY, WSMsgType.TEXT, WSMsgType.CONTINUATION):
            tokens = self._part(kind, frame)
        if self._transport is not None:
            self._throttle.took(transport.underlying_transport, max(1, tokens), size)

    def _pinged(self, transport: WSTransport, frame: WSFrame) -> None:
        """Who does not read its answers gets none."""
        if not self._blocked:
            transport.send_pong(frame.get_payload_as_bytes())

    def _part(self, kind: WSMsgType, frame: WSFrame) -> int:
        """A text, or a message in several frames (RFC 6455 §5.4). Returns what it costs."""
        if kind != WSMsgType.CONTINUATION:
            self._forget_parts()
            self._parts_type = kind
        self._parts.append(frame.get_payload_as_bytes())
        self._parts_size += frame.payload_size
        if self._parts_size > LONGEST_MESSAGE or len(self._parts) > MOST_PARTS:
            self._too_big()
            return 0
        if not frame.fin:
            return 0
        whole = b"".join(self._parts)
        self._forget_parts()
        now = self._loop.time()
        if self._parts_type == WSMsgType.TEXT:
            self._session.received_text(whole, now)
            return TEXT_TOKENS
        return self._session.received(whole, now)

    def _forget_parts(self) -> None:
        self._parts.clear()
        self._parts_size = 0

    def _too_big(self) -> None:
        """Says so. A connection that is closed with something unread is reset, and then the code may be lost: so
        there is time to read it first."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        self._forget_parts()
        self._code = CLOSE_CODES[StreamEnd.TOO_BIG]
        transport.send(WSMsgType.CLOSE, self._code.to_bytes(2, "big") + StreamEnd.TOO_BIG.encode())
        self._throttle.end(transport.underlying_transport)
        self._loop.call_later(LAST_WORD_SECONDS, transport.disconnect)

    def _closed(self, transport: WSTransport, payload: bytes) -> None:
        # picows knows no codes beyond its list, so they are read and answered here.
        self._code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else _NO_CODE
        self._transport = None
        transport.send(WSMsgType.CLOSE, payload[:2])
        transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002
        """The connection is gone."""
        self._transport = None
        self._throttle.stop()
        self.on_closed()
        self.gone.set()
        self._session.link_lost(self, self._code, self._loop.time())

    def pause_writing(self) -> None:
        """The application does not read."""
        self._blocked = True

    def resume_writing(self) -> None:
        """It reads again."""
        self._blocked = False
        self.send(self._backlog.take())

"""The front door: HTTP until a stream is ready, a WebSocket from then on.

An application must hear `401`, `404` or `503` before the upgrade, and to know them others have to be asked;
picows answers an upgrade at once. So the request's head is read here, everybody is asked, and only then the
connection goes to picows, together with the bytes that were read.
"""

import asyncio
import base64
import binascii
import http
import re
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httptools
from picows import WSAutoPingStrategy
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from evercall.service.errors import (
    Internal,
    InvalidRequest,
    MethodNotAllowed,
    PlatformError,
    Unavailable,
)
from evercall.service.forwarded import Network, client_address, is_trusted, limited_as
from evercall.service.identity import new_id
from evercall.service.lifecycle import Tasks
from evercall.service.logging import get_logger
from evercall.service.problem import to_problem
from media_manager import metrics
from media_manager.domain.request import StreamRequest, read_request
from media_manager.doors.reading import PIECE, Pieces, feed
from media_manager.doors.websocket import (
    LONGEST_MESSAGE,
    PICOWS_LOG,
    PING_SECONDS,
    SOCKET_BUFFER,
    WebSocketLink,
)
from media_manager.gateways.access import Credentials
from media_manager.session import Session

HEAD_BYTES = 16 * 1024
HEAD_SECONDS = 5.0
EARLY_BYTES = 8 * 1024
"""What a client may send before it is let in."""

STRANGERS_SHARE = 4
"""Of all connections one address may have this part before any of them is let in. Not less: when a process dies, a
thousand streams of one application may come back at once."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{1,64}", re.ASCII)

log = get_logger(__name__)

Open = Callable[[StreamRequest, Credentials], Awaitable[Session]]
"""Finds or makes the session of a request. Raises `PlatformError`."""


@dataclass(slots=True)
class Head:
    """The head of an HTTP request. Names of headers are in lower case."""

    method: str = ""
    version: str = ""
    target: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """A header's value; empty where it is not there."""
        return self.headers.get(name, "")


class _HeadReader:
    """httptools' callbacks."""

    def __init__(self) -> None:
        self.head = Head()

    def on_url(self, url: bytes) -> None:
        self.head.target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        known = self.head.headers.get(key)
        self.head.headers[key] = text if known is None else f"{known},{text}"


def read_head(data: bytes) -> Head:
    """The head that ends these bytes.

    Raises:
        InvalidRequest: this is no HTTP.
    """
    reader = _HeadReader()
    parser = httptools.HttpRequestParser(reader)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        raise InvalidRequest("invalid_argument", "This is not an HTTP request") from None
    reader.head.method = parser.get_method().decode("latin-1")
    reader.head.version = parser.get_http_version()
    return reader.head


def check_upgrade(head: Head) -> None:
    """RFC 6455 §4.2.1.

    Raises:
        MethodNotAllowed, InvalidRequest: this is no request for a WebSocket.
    """
    if head.method != "GET":
        raise MethodNotAllowed(
            "method_not_allowed", "A media stream is opened by GET", details={"allow": "GET"}
        )
    connection = [part.strip() for part in head.header("connection").lower().split(",")]
    if head.header("upgrade").lower() != "websocket" or "upgrade" not in connection:
        raise _no_websocket("Upgrade", "A media stream is a WebSocket: send an upgrade request")
    if head.version != "1.1":
        raise _no_websocket("HTTP version", "WebSockets need HTTP/1.1")
    if head.header("sec-websocket-version") != "13":
        raise _no_websocket("Sec-WebSocket-Version", "Version 13 of WebSocket is spoken here")
    try:
        key = base64.b64decode(head.header("sec-websocket-key"), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 16:
        raise _no_websocket("Sec-WebSocket-Key", "Sec-WebSocket-Key is 16 bytes in base64")
    if "content-length" in head.headers or "transfer-encoding" in head.headers:
        raise _no_websocket("Content-Length", "An upgrade request has no body")


def plain_head(head: Head) -> bytes:
    """The checked request as picows takes it: of `Connection` it knows no lists, and browsers send
    `keep-alive, Upgrade`."""
    lines = (
        f"GET {head.target} HTTP/1.1",
        f"Host: {head.header('host')}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {head.header('sec-websocket-key')}",
    )
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def _no_websocket(name: str, message: str) -> InvalidRequest:
    return InvalidRequest("websocket_required", message, details={"field": name})


def _too_many() -> Unavailable:
    return Unavailable("too_many_connections", "Too many connections; try again")


class Handshakes:
    """Makes a `Handshake` for each connection, as long as there are not too many."""

    def __init__(
        self,
        open_session: Open,
        tasks: Tasks,
        *,
        trusted: Sequence[Network],
        most: int,
    ) -> None:
        self.open_session = open_session
        self.tasks = tasks
        self.trusted = trusted
        self.most = most
        self.connections: set[asyncio.BaseTransport] = set()
        self._strangers: Counter[str] = Counter()

    def enter(self, address: str) -> None:
        """Somebody from this address is to be let in or not.

        Raises:
            Unavailable: of those that wait for it too many are from there.
        """
        if self._strangers[address] >= max(1, self.most // STRANGERS_SHARE):
            raise _too_many()
        self._strangers[address] += 1

    def leave(self, address: str) -> None:
        """He is in, or gone."""
        self._strangers[address] -= 1
        if self._strangers[address] <= 0:
            del self._strangers[address]

    def __call__(self) -> "Handshake":
        return Handshake(self)


class Handshake(asyncio.BufferedProtocol):
    """One connection until the upgrade."""

    def __init__(self, shared: Handshakes) -> None:
        self._shared = shared
        self._buffer = bytearray()
        self._piece = memoryview(bytearray(PIECE))
        self._early = 0
        self._address = ""
        """as whose it is counted"""
        self._transport: Any = None
        self._timeout: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._request_id = str(new_id())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody has come in."""
        self._transport = transport
        self._shared.connections.add(transport)
        opened = transport.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self._shared.connections) > self._shared.most:
            self._refuse(_too_many())
            return
        try:
            self._enter(self._client(""))
        except Unavailable as error:
            self._refuse(error)
            return
        loop = asyncio.get_running_loop()
        self._timeout = loop.call_later(HEAD_SECONDS, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The client gave up, or was answered."""
        self._shared.connections.discard(self._transport)
        self._leave()
        self._stop_waiting()
        if self._task is not None:
            self._task.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Room for a piece of the head."""
        return self._piece

    def buffer_updated(self, nbytes: int) -> None:
        """Some of the head, or of what follows it."""
        if self._transport.is_closing():
            return
        known = len(self._buffer)
        self._buffer += self._piece[:nbytes]
        if self._task is not None:
            # Reading goes on, because only a reader notices that the client has gone.
            self._early += nbytes
            if self._early > EARLY_BYTES:
                self._transport.pause_reading()
            return
        end = self._buffer.find(b"\r\n\r\n", max(0, known - 3))
        if end < 0 and len(self._buffer) <= HEAD_BYTES:
            return
        self._stop_waiting()
        if end < 0 or end > HEAD_BYTES:
            fault = InvalidRequest("invalid_argument", "The head of the request is too long")
            self._refuse(fault, http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        head = bytes(self._buffer[: end + 4])
        self._task = self._shared.tasks.start("handshake", self._answer(head))

    def _too_slow(self) -> None:
        fault = InvalidRequest("invalid_argument", "The head of the request did not come in time")
        self._refuse(fault, http.HTTPStatus.REQUEST_TIMEOUT)

    def _stop_waiting(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    async def _answer(self, data: bytes) -> None:
        try:
            head = read_head(data)
            given = head.header("x-request-id")
            if _REQUEST_ID.fullmatch(given):
                self._request_id = given
            self._enter(self._client(head.header("x-forwarded-for")))
            check_upgrade(head)
            target = urlsplit(head.target)
            request = read_request(target.path, target.query)
            credentials = self._credentials(head, target.query, request.call_id)
            session = await self._shared.open_session(request, credentials)
        except PlatformError as error:
            self._refuse(error)
        except Exception:
            log.exception("handshake_failed", request_id=self._request_id)
            self._refuse(Internal("internal", "The request failed"))
        else:
            link = WebSocketLink(session, resumed=request.resume is not None)
            self._upgrade(link, session, plain_head(head) + bytes(self._buffer[len(data) :]))

    def _credentials(self, head: Head, query: str, call_id: UUID) -> Credentials:
        client = self._client(head.header("x-forwarded-for"))
        return Credentials(query, head.header("authorization"), client, call_id)

    def _client(self, forwarded: str) -> str:
        peer = self._transport.get_extra_info("peername") or ("",)
        return client_address(peer[0], forwarded, self._shared.trusted)

    def _enter(self, client: str) -> None:
        """Whoever stands before us in the way of everybody is not counted: before its head is read nobody knows
        for whom it speaks."""
        self._leave()
        if is_trusted(client, self._shared.trusted):
            return
        address = limited_as(client)
        self._shared.enter(address)
        self._address = address

    def _leave(self) -> None:
        if self._address:
            self._shared.leave(self._address)
            self._address = ""

    # -- answers -------------------------------------------------------------------------------

    def _refuse(self, error: PlatformError, status: http.HTTPStatus | None = None) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        metrics.REFUSED.labels(error.code).inc()
        problem = to_problem(error, self._request_id)
        code = http.HTTPStatus(status or problem.http_status)
        headers = {
            **problem.headers,
            "Content-Type": "application/json",
            "Content-Length": str(len(problem.body)),
            "X-Request-Id": self._request_id,
            "Connection": "close",
        }
        lines = [f"HTTP/1.1 {code.value} {code.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + problem.body)
        transport.close()

    def _upgrade(self, link: WebSocketLink, session: Session, data: bytes) -> None:
        """From here on the connection is picows', which begins with `data`."""
        transport = self._transport
        if transport.is_closing():
            session.link_refused()
            return
        self._task = None
        self._leave()
        protocol = WSProtocol(
            None,
            None,
            False,
            lambda _request: link,
            PICOWS_LOG,
            True,
            HEAD_SECONDS,
            True,
            PING_SECONDS,
            PING_SECONDS,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,
            LONGEST_MESSAGE,
            None,
            4096,
        )
        link.on_closed = lambda: self._shared.connections.discard(transport)
        transport.set_protocol(Pieces(protocol))
        protocol.connection_made(transport)
        # Before what was read already is looked at, and may show that enough was read for now.
        transport.resume_reading()
        feed(protocol, memoryview(data))
        if not link.was_connected:
            self._shared.connections.discard(transport)
            session.link_refused()

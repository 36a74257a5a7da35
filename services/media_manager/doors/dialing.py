"""Evercall connects to an application: what the flow action `external_media_start` asks for.

A connection that breaks is made again, with growing pauses; the stream goes on meanwhile and keeps the call's
audio. An application that closes in an orderly way has had enough.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import UUID

from picows import WSAutoPingStrategy, WSError, ws_connect
from picows.url import WSParsedURL

from evercall.contracts.media import MediaAccepted, MediaConnect
from evercall.service.errors import Forbidden, PlatformError
from evercall.service.guard import HostGuard, HostRefused
from evercall.service.lifecycle import Tasks
from evercall.service.logging import get_logger
from media_manager.domain.closing import StreamEnd
from media_manager.domain.options import StreamOptions
from media_manager.domain.target import Target, read_target
from media_manager.doors.audiosocket import open_audiosocket
from media_manager.doors.reading import Pieces
from media_manager.doors.rtp import open_rtp
from media_manager.doors.websocket import LONGEST_MESSAGE, PICOWS_LOG, PING_SECONDS, WebSocketLink
from media_manager.registry import Registry
from media_manager.session import Link, Session

ATTEMPTS = 5
"""In a row, without a connection between them."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
CONNECT_SECONDS = 5.0
TELEPHONE_RATE = 8000

log = get_logger(__name__)


class Outbound(Link, Protocol):
    """A connection that we made."""

    gone: asyncio.Event


class Dialer:
    """Opens streams towards applications."""

    def __init__(self, registry: Registry, guard: HostGuard, tasks: Tasks) -> None:
        self._registry = registry
        self._guard = guard
        self._tasks = tasks
        self._busy: set[UUID] = set()
        self._tls = ssl.create_default_context()

    async def connect(self, request: MediaConnect) -> MediaAccepted:
        """Begins to connect. Heard again, the first time counts.

        Raises:
            InvalidRequest: `media_target_invalid`.
            Forbidden: `media_target_refused`.
        """
        target = read_target(request.target, request.transport, request.encapsulation)
        await self._address(target)
        if request.id not in self._busy:
            self._busy.add(request.id)
            self._tasks.start("dialing", self._run(request, target))
        return MediaAccepted(id=request.id)

    async def _address(self, target: Target) -> str:
        try:
            return await self._guard.address_of(target.host, target.port)
        except HostRefused as error:
            raise Forbidden("media_target_refused", str(error)) from None

    async def _run(self, request: MediaConnect, target: Target) -> None:
        options = StreamOptions(
            id=request.id,
            call_id=request.call_id,
            customer_id=request.customer_id,
            encapsulation=request.encapsulation,
            rate=TELEPHONE_RATE,
            listen=request.direction_listen,
            speak=request.direction_speak,
            from_flow=True,
        )
        try:
            session = await self._registry.start(options)
            await self._keep_connected(session, target)
        except PlatformError as error:
            log.warning("stream_not_started", stream_id=str(request.id), reason=error.code)
        finally:
            self._busy.discard(request.id)

    async def _keep_connected(self, session: Session, target: Target) -> None:
        failures, resumed = 0, False
        while not session.is_over:
            link = await self._try(session, target, resumed)
            if link is not None:
                failures, resumed = 0, True
                await link.gone.wait()
                if session.is_over:
                    return
            failures += 1
            if failures > ATTEMPTS:
                self._registry.ended(session, StreamEnd.UNREACHABLE, tell_call=True)
                return
            await asyncio.sleep(min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE))

    async def _try(self, session: Session, target: Target, resumed: bool) -> Outbound | None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                # Looked up anew each time: a host may have moved, and must be allowed where it is now.
                address = await self._address(target)
                return await self._open[target.transport](self, session, target, address, resumed)
        except (OSError, TimeoutError, WSError, PlatformError) as error:
            log.warning(
                "application_not_reached",
                stream_id=str(session.options.id),
                reason=type(error).__name__,
            )
            return None

    async def _websocket(
        self, session: Session, target: Target, address: str, resumed: bool
    ) -> Outbound:
        async def connected(_: WSParsedURL) -> socket.socket:
            # To the very address that was judged; the name only stands in the request and for TLS.
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            opened = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                await asyncio.get_running_loop().sock_connect(opened, (address, target.port))
            except BaseException:
                opened.close()
                raise
            return opened

        headers = {
            "X-Evercall-Stream-Id": str(session.options.id),
            "X-Evercall-Call-Id": str(session.options.call_id),
        }
        if target.authorization:
            headers["Authorization"] = target.authorization
        link = WebSocketLink(session, resumed=resumed)
        transport, _ = await ws_connect(
            lambda: link,
            target.url,
            ssl_context=self._tls if target.url.startswith("wss:") else None,
            socket_factory=connected,
            max_redirects=0,
            max_frame_size=LONGEST_MESSAGE,
            extra_headers=headers,
            logger_name=PICOWS_LOG,
            enable_auto_ping=True,
            auto_ping_idle_timeout=PING_SECONDS,
            auto_ping_reply_timeout=PING_SECONDS,
            auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
            use_aiofastnet=False,
            enable_auto_pong=False,
        )
        connection = transport.underlying_transport
        connection.set_protocol(Pieces(connection.get_protocol()))
        return link

    async def _rtp(self, session: Session, target: Target, address: str, resumed: bool) -> Outbound:
        link = await open_rtp(session, address, target.port)
        session.attach(link, resumed=resumed)
        return link

    async def _audiosocket(
        self, session: Session, target: Target, address: str, resumed: bool
    ) -> Outbound:
        link = await open_audiosocket(session, address, target.port)
        session.attach(link, resumed=resumed)
        return link

    _open: dict[str, Callable[["Dialer", Session, Target, str, bool], Awaitable[Outbound]]] = {
        "websocket": _websocket,
        "udp": _rtp,
        "tcp": _audiosocket,
    }

"""Serves an ASGI application inside a service's own event loop.

uvicorn bounds neither the size of a request's head nor the time that it may take to come: 60 MB of headers
were kept, and half a head for ever. Where no proxy stands in front, that is open to anybody.
"""

import asyncio
import contextlib
import http
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from evercall.service.errors import InvalidRequest
from evercall.service.identity import new_id
from evercall.service.problem import to_problem
from evercall.service.settings import parse_address

if TYPE_CHECKING:
    from evercall.service.process import Process


MAX_HEAD_BYTES = 32 * 1024
HEAD_SECONDS = 10.0


class _HeadTooLarge(Exception):
    """Ends the parser's work."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection whose heads are bounded in size and in time. Idle ones are uvicorn's own business."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._awaits_head = True
        self._heads = 0
        self._head_bytes = 0
        self._pending_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has come; from now on the first head is awaited."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses some bytes, unless they make a head too long."""
        if self.transport.is_closing():
            return
        awaited, heads = self._awaits_head, self._heads
        super().data_received(data)
        if not awaited or self._heads != heads or self.transport.is_closing():
            return
        # All of this was a part of a head, whether the parser has told of it or not.
        self._pending_bytes += len(data)
        self._start_timer()
        if self._pending_bytes > MAX_HEAD_BYTES:
            self._refuse(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP, or too much of it."""
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Some of the target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer of a chunked body (RFC 9112 section 7.1.2)."""
        self._count(len(name) + len(value) + len(b": \r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._stop_timer()
        self._awaits_head = False
        self._heads += 1
        self._pending_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is here: what comes now is the next one's head."""
        self._awaits_head = True
        super().on_message_complete()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLarge

    def _start_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._refuse(http.HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: http.HTTPStatus) -> None:
        if self.transport.is_closing():
            return
        fault = InvalidRequest(
            "invalid_argument",
            "The head of the request is too long, or did not come in time",
            details={"limit_bytes": MAX_HEAD_BYTES, "limit_seconds": HEAD_SECONDS},
        )
        body = to_problem(fault, str(new_id())).body
        lines = (
            f"HTTP/1.1 {status.value} {status.phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
        )
        self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        self.transport.close()


class _Server(uvicorn.Server):
    """Signals belong to the process, not to one of its HTTP servers; and uvicorn looks ten times a
    second whether it is to stop, which is most of what an idle service does."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ends `serve`."""
        self.should_exit = True
        self._stop.set()

    async def main_loop(self) -> None:
        await self._stop.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(process: "Process[Any]", app: Any, listen: str, name: str) -> None:
    """Starts `app` on `listen` (`host:port`) as a supervised task and stops it with the process."""
    host, port = parse_address(listen)
    server = _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=BoundedProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            lifespan="off",
            timeout_graceful_shutdown=3,
        )
    )

    async def stop() -> None:
        server.stop()

    process.on_stop(stop)
    process.tasks.start(f"http-{name}", server.serve())

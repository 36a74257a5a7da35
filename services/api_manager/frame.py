"""The outermost layer: request id, the answer to every error, metrics, one log line per request.

It also ends connections politely whose request body nobody wanted. A server that answers early and just
closes makes its kernel send a reset, and the client may lose the answer; so the rest of the body is
thrown away for a moment first, without keeping it.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_manager.request_state import RequestState, attach
from evercall.service.errors import Internal, PlatformError
from evercall.service.forwarded import Network, client_address
from evercall.service.identity import new_id
from evercall.service.logging import get_logger
from evercall.service.problem import to_problem

REQUESTS = Counter(
    "evercall_api_manager_requests_total", "Requests answered", ["method", "route", "status"]
)
SECONDS = Histogram(
    "evercall_api_manager_request_seconds",
    "Time from the request's head to the end of its answer",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0),
)

METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"})
REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{1,64}", re.ASCII)

SMALL_BODY = 65_536
"""A body up to this size has arrived already, more or less: the server skips it by itself."""

DRAIN_SECONDS = 2.0
DRAIN_BYTES = 32_000_000

CAREFUL = (
    (b"x-content-type-options", b"nosniff"),
    # Answers hold what one customer may see, and now and then a secret.
    (b"cache-control", b"no-store"),
)
"""Headers of every answer that does not know better."""

log = get_logger(__name__)


class Frame:
    """ASGI middleware around everything else. WebSockets are refused: there are none yet."""

    def __init__(self, app: ASGIApp, trusted_proxies: Sequence[Network] = ()) -> None:
        self._app = app
        self._trusted = trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        headers = Headers(scope=scope)
        state = RequestState(id=_request_id(headers), client=self._client(scope, headers))
        attach(scope, state)
        exchange = _Exchange(state, headers, receive, send)
        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=state.id):
            try:
                await self._app(scope, exchange.receive, exchange.send)
            except PlatformError as error:
                await exchange.fail(error)
            except Exception:
                log.exception("request_failed")
                await exchange.fail(Internal("internal", "The request failed"))
            finally:
                _account(scope, state, exchange.status, time.perf_counter() - began)

    def _client(self, scope: Scope, headers: Headers) -> str:
        peer = scope["client"][0] if scope.get("client") else ""
        return client_address(peer, ",".join(headers.getlist("x-forwarded-for")), self._trusted)


class _Exchange:
    """One request and its answer, as they pass by."""

    def __init__(self, state: RequestState, headers: Headers, receive: Receive, send: Send) -> None:
        self.status = 0
        self._state = state
        self._receive = receive
        self._send = send
        self._body_outstanding = _has_large_body(headers)
        self._closing = False

    async def receive(self) -> Message:
        message = await self._receive()
        if not message.get("more_body", False):
            self._body_outstanding = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begin(message)
        elif self._closing and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def fail(self, error: PlatformError) -> None:
        """Answers with an error, unless an answer has begun."""
        if self.status:
            return
        problem = to_problem(error, self._state.id)
        raw = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
        raw.append((b"content-type", b"application/json"))
        raw.append((b"content-length", str(len(problem.body)).encode()))
        await self.send(
            {"type": "http.response.start", "status": problem.http_status, "headers": raw}
        )
        await self.send({"type": "http.response.body", "body": problem.body})

    def _begin(self, message: Message) -> None:
        self.status = message["status"]
        headers: list[Any] = list(message.get("headers", []))
        headers.append((b"x-request-id", self._state.id.encode()))
        given = {name.lower() for name, _ in headers}
        headers.extend(header for header in CAREFUL if header[0] not in given)
        if self._body_outstanding:
            self._closing = True
            headers.append((b"connection", b"close"))
        message["headers"] = headers

    async def _drain(self) -> None:
        seen = 0
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._body_outstanding and seen < DRAIN_BYTES:
                    seen += len((await self.receive()).get("body", b""))
        except TimeoutError:
            return


def _request_id(headers: Headers) -> str:
    """The client's own id where it is one, so that both sides can look for the same."""
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else str(new_id())


def _has_large_body(headers: Headers) -> bool:
    if "transfer-encoding" in headers:
        return True
    length = headers.get("content-length", "")
    return length.isdigit() and int(length) > SMALL_BODY


def _account(scope: Scope, state: RequestState, status: int, seconds: float) -> None:
    method = scope["method"] if scope["method"] in METHODS else "other"
    template = getattr(scope.get("route"), "path", "unmatched")
    REQUESTS.labels(method, template, f"{status // 100}xx").inc()
    SECONDS.labels(method, template).observe(seconds)
    principal = state.principal
    log.info(
        "http_request",
        method=method,
        route=template,
        status=status,
        milliseconds=round(seconds * 1000, 1),
        customer_id=str(principal.customer_id) if principal else None,
        pii_client=state.client,
    )

"""What all operations under `/v1.0` and `/auth` share, once the request has reached one: the scope that
it needs, a deadline, the body, idempotency, and a place in the audit log for what changes something.

The body is read here and not earlier, so that a path that takes none never reads one.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Response
from fastapi.routing import APIRoute
from starlette.requests import Request

from api_manager.audit.endpoint import CHANGING, audited
from api_manager.body import read_body
from api_manager.components import components_of
from api_manager.domain.creation import Creation
from api_manager.domain.json_body import decode_object
from api_manager.domain.scopes import required_scope
from api_manager.idempotency import Answer, KeyedRequest, fingerprint, once
from api_manager.request_state import RequestState, state_of
from api_manager.tenant import tenant_customer
from evercall.service.errors import DeadlineExceeded, InvalidRequest

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
JSON_TYPES = re.compile(r"application/([a-z0-9.\-]+\+)?json", re.ASCII)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class BufferedRequest(Request):
    """A request whose body has been read and decoded."""

    def __init__(self, request: Request, body: bytes, value: dict[str, Any] | None) -> None:
        super().__init__(request.scope, request.receive)
        self._body = body
        self._json = value


class Operation(APIRoute):
    """The route class of all our routers."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if CHANGING.intersection(options["methods"]) and path.startswith("/v1.0/"):
            endpoint = audited(endpoint, path)
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()
        takes_body = self.body_field is not None
        [method] = sorted(self.methods or ())
        creates = method == "POST"
        path = self.path

        async def handle(request: Request) -> Response:
            principal = state_of(request.scope).principal
            if principal is not None:
                principal.require(required_scope(method, path), path)
            limits = components_of(request).limits
            try:
                async with asyncio.timeout(limits.seconds):
                    body = await read_body(request, limits.body_bytes) if takes_body else b""
                    value = _decode(request, body) if takes_body else None
                    buffered = BufferedRequest(request, body, value)
                    if creates and principal is not None:
                        return await _answer_once(buffered, handler, body)
                    return await handler(buffered)
            except TimeoutError:
                raise DeadlineExceeded(
                    "request_timeout", "The request took too long; it may have been carried out"
                ) from None

        return handle


def _decode(request: Request, body: bytes) -> dict[str, Any]:
    kind = request.headers.get("content-type", "application/json").partition(";")[0]
    # Browsers send other types across origins without asking; JSON they do not.
    if not JSON_TYPES.fullmatch(kind.strip().lower()):
        raise InvalidRequest("invalid_json_body", "The Content-Type must be application/json")
    return decode_object(body)


async def _answer_once(request: Request, handler: Handler, body: bytes) -> Response:
    state = state_of(request.scope)
    key = request.headers.get("idempotency-key")
    if key is None:
        return await handler(request)

    async def work(creation: Creation) -> Answer:
        state.creation = creation
        response = await handler(request)
        produced.append(response)
        kept = response.body if state.kept_body is None else state.kept_body
        return Answer(response.status_code, bytes(kept))

    produced: list[Response] = []
    keyed = _keyed(request, state, key, body)
    answer, repeated = await once(components_of(request).idempotency, keyed, work)
    if not repeated:
        return produced[0]
    return Response(
        answer.body,
        answer.status,
        {"Idempotency-Replayed": "true"},
        media_type="application/json",
    )


def _keyed(request: Request, state: RequestState, key: str, body: bytes) -> KeyedRequest:
    if not IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest(
            "invalid_request_parameter",
            "An Idempotency-Key is 1 to 255 visible ASCII characters",
            details={"field": "Idempotency-Key"},
        )
    principal = state.principal
    assert principal is not None, "only authenticated requests are kept"  # noqa: S101
    path = request.url.path
    target = tenant_customer(request.query_params.get("customer_id"), principal)
    return KeyedRequest(principal.customer_id, key, fingerprint(request.method, path, target, body))

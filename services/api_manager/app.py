"""The ASGI application: layers, routes, and one shape for every error.

A request passes, from the outside in: frame (request id, errors, metrics), CORS where it is on, gate
(limits, credentials), routing, operation (deadline, body, idempotency), handler.
"""

import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match
from starlette.types import ASGIApp, Scope

from api_manager.components import Components, components_of
from api_manager.documentation.html import render_page
from api_manager.documentation.openapi import build_document
from api_manager.domain.buckets import AtOnce, Buckets, Limit
from api_manager.domain.validation import to_error
from api_manager.frame import Frame
from api_manager.gate import Gate, Limits
from api_manager.request_state import state_of
from api_manager.routes import (
    accesskeys,
    activeflows,
    audit_logs,
    auth,
    calls,
    customers,
    flows,
    numbers,
)
from api_manager.settings import Settings
from evercall.service.errors import (
    Forbidden,
    Internal,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PlatformError,
    Unauthorized,
)
from evercall.service.problem import to_problem

ROUTERS = (
    auth.router,
    customers.router,
    accesskeys.router,
    flows.router,
    numbers.router,
    calls.router,
    activeflows.router,
    audit_logs.router,
)

# The page is ours and needs nothing from anywhere, not even from us; nobody may put it into a frame.
PAGE_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "max-age=60",
}


def build_app(
    settings: Settings, components: Components, version: str, limits: Limits | None = None
) -> ASGIApp:
    """The whole application, layers included. `limits`: shared with whoever else lets requests in."""
    app: ASGIApp = Gate(
        build_routes(components, version),
        authenticator=components.authenticator,
        audit=components.audit,
        limits=limits or limits_of(settings),
        clock=time.monotonic,
    )
    if settings.allowed_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"],
            expose_headers=["X-Request-Id", "Retry-After", "Idempotency-Replayed"],
        )
    return Frame(app, settings.proxy_networks)


def build_routes(components: Components | None, version: str) -> FastAPI:
    """The routes alone; without components they can be described but not called."""
    app = FastAPI(
        title="Evercall API",
        version=version,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        exception_handlers={
            PlatformError: _platform_error,
            RequestValidationError: _validation_error,
            HTTPException: _routing_error,
            Exception: _unexpected_error,
        },
    )
    app.state.components = components
    for router in ROUTERS:
        app.include_router(router)
    _add_documentation(app)
    return app


def _add_documentation(app: FastAPI) -> None:
    @cache
    def document() -> dict[str, Any]:
        return build_document(app)

    @cache
    def page() -> str:
        return render_page(document())

    async def openapi() -> Response:
        return Response(msgspec.json.encode(document()), media_type="application/json")

    async def docs() -> Response:
        return HTMLResponse(page(), headers=PAGE_HEADERS)

    async def root() -> Response:
        return RedirectResponse("/docs")

    for path, endpoint in (("/openapi.json", openapi), ("/docs", docs), ("/", root)):
        app.add_api_route(path, endpoint, methods=["GET"], include_in_schema=False)


def limits_of(settings: Settings) -> Limits:
    """The limits of this replica."""
    return Limits(
        addresses=Buckets(Limit(settings.address_rate, settings.address_burst)),
        auth_addresses=Buckets(Limit(settings.auth_rate, settings.auth_burst)),
        customers=Buckets(Limit(settings.customer_rate, settings.customer_burst)),
        at_once=AtOnce(settings.customer_requests),
    )


def _answer(request: Request, error: PlatformError) -> Response:
    problem = to_problem(error, state_of(request.scope).id)
    return Response(
        problem.body, problem.http_status, problem.headers, media_type="application/json"
    )


async def _platform_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PlatformError)  # noqa: S101
    if isinstance(error, Unauthorized | Forbidden):
        components_of(request).audit.refused(state_of(request.scope), error)
    return _answer(request, error)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return _answer(request, to_error(error.errors()))


async def _routing_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    return _answer(request, _of_routing(request, error))


async def _unexpected_error(request: Request, _: Exception) -> Response:
    """The frame logs the exception, which goes on after this answer."""
    return _answer(request, Internal("internal", "The request failed"))


def _of_routing(request: Request, error: HTTPException) -> PlatformError:
    if error.status_code == 404:
        return NotFound("route_not_found", "There is no such path")
    if error.status_code == 405:
        allow = ", ".join(sorted(_methods(request.scope)))
        return MethodNotAllowed(
            "method_not_allowed", "The path has other methods", details={"allow": allow}
        )
    return InvalidRequest("invalid_argument", "The request is not valid")


def _methods(scope: Scope) -> set[str]:
    """All methods of a path. The router itself names those of one route only (RFC 9110 section 10.2.1
    wants all), and each of ours has one method."""
    routes = [route for router in ROUTERS for route in router.routes]
    matching = [route for route in routes if route.matches(scope)[0] is not Match.NONE]
    methods = {method for route in matching for method in getattr(route, "methods", ())}
    return methods or {"GET"}

"""`/live`, `/ready` and `/metrics`, on a port of their own."""

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from evercall.service.lifecycle import Readiness


def health_app(service: str, version: str, readiness: Readiness) -> Starlette:
    """The application: `/live` says that the loop turns, `/ready` that every dependency is there."""

    async def live(_: Request) -> Response:
        return _json({"service": service, "version": version}, 200)

    async def ready(_: Request) -> Response:
        checks = readiness.report()
        status = 200 if all(checks.values()) else 503
        body = {"service": service, "version": version, "ready": status == 200, "checks": checks}
        return _json(body, status)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[Route("/live", live), Route("/ready", ready), Route("/metrics", metrics)]
    )


def _json(body: object, status: int) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")

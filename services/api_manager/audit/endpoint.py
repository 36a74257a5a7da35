"""Puts every operation that changes something into the audit log.

It stands around the handler itself: what is refused before (credentials, scopes, faults of the request) and
what is only answered again (`Idempotency-Key`) changes nothing and is no attempt.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any
from uuid import UUID

import msgspec
from fastapi import Response

from api_manager.audit.entry import attempt_of, result_of
from api_manager.tenant import Tenant
from evercall.service.errors import PlatformError

CHANGING = frozenset({"POST", "PUT", "DELETE", "PATCH"})

Handler = Callable[..., Awaitable[Response]]


class _Named(msgspec.Struct):
    """What an answer says of the objects that it is about."""

    id: UUID | None = None
    calls: list["_Named"] = []


def audited(handler: Handler, path: str) -> Handler:
    """The handler, with its attempts and results written down.

    Args:
        handler: takes a `Tenant`, and perhaps the `id` of an object; its name is that of the operation.
        path: of its route.
    """
    operation = handler.__name__
    resource_type = path.split("/")[2].removesuffix("s")

    @wraps(handler)
    async def carry_out(**values: Any) -> Response:
        (tenant,) = (value for value in values.values() if isinstance(value, Tenant))
        trail = tenant.components.audit
        attempt = attempt_of(
            tenant.state,
            tenant.principal,
            tenant.customer_id,
            operation,
            resource_type,
            values.get("id"),
        )
        await trail.attempt(attempt)
        try:
            response = await handler(**values)
        except PlatformError as error:
            await trail.result(
                result_of(attempt, error.http_status, error.code.upper(), _made_before(error))
            )
            raise
        except BaseException as error:
            # Cut off by the deadline, or a fault of ours: whether it was carried out is not known.
            trail.later(result_of(attempt, *_of_failure(error)))
            raise
        await trail.result(result_of(attempt, response.status_code, "", _objects(response)))
        return response

    return carry_out


def _made_before(error: PlatformError) -> list[UUID]:
    """What was created before it failed."""
    return [UUID(identifier) for identifier in error.details.get("created_call_ids", ())]


def _of_failure(error: BaseException) -> tuple[int, str]:
    return (500, "INTERNAL") if isinstance(error, Exception) else (504, "REQUEST_TIMEOUT")


def _objects(response: Response) -> list[UUID]:
    answer = msgspec.json.decode(response.body, type=_Named)
    named = [answer, *answer.calls]
    return [each.id for each in named if each.id is not None]

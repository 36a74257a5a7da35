"""Errors as the public API shows them.

    {"error": {"status": "NOT_FOUND", "reason": "CALL_NOT_FOUND", "message": "...",
               "request_id": "...", "details": [...]}}

`status` is one of a closed set of words and follows from the HTTP status; `reason` is the error's code
in upper case, stable, for programs to branch on; `details` is a list, with one entry for each fault
that was found: `{"field": ..., "message": ...}` for faulty fields.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from evercall.service.errors import Conflict, PlatformError

STATUS_WORDS: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "INVALID_ARGUMENT",
    409: "FAILED_PRECONDITION",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

DEFAULT_RETRY_AFTER = 1.0


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong."""

    status: str
    reason: str
    message: str
    request_id: str
    details: list[dict[str, Any]] = []


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer that is not a success."""

    error: ErrorBody


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as an HTTP answer."""

    http_status: int
    headers: Mapping[str, str]
    body: bytes


def to_problem(error: PlatformError, request_id: str) -> Problem:
    """Renders an error. What is internal stays inside: an internal error shows no details."""
    body = ErrorBody(
        status=_status_word(error),
        reason=error.code.upper(),
        message=error.message,
        request_id=request_id,
        details=[] if error.http_status == 500 else _details(error),
    )
    return Problem(error.http_status, _headers(error), msgspec.json.encode(ErrorAnswer(error=body)))


def _status_word(error: PlatformError) -> str:
    if isinstance(error, Conflict) and error.code.endswith("_already_exists"):
        return "ALREADY_EXISTS"
    return STATUS_WORDS[error.http_status]


def _details(error: PlatformError) -> list[dict[str, Any]]:
    details = dict(error.details)
    faults = details.pop("faults", None)
    if isinstance(faults, list):
        return [_fault(fault) for fault in faults]
    if "field" in details:
        return [{"field": details.pop("field"), "message": error.message, **details}]
    # Names of our services are of no use outside.
    details.pop("service", None)
    return [details] if details else []


def _fault(fault: Any) -> dict[str, Any]:
    """Services name the place of a fault `path`, the public API names it `field`."""
    if not isinstance(fault, dict):
        return {"message": str(fault)}
    return {"field" if name == "path" else name: value for name, value in fault.items()}


def _headers(error: PlatformError) -> dict[str, str]:
    if error.http_status == 401:
        return {"WWW-Authenticate": 'Bearer realm="evercall"'}
    if error.http_status == 405 and "allow" in error.details:
        return {"Allow": str(error.details["allow"])}
    if error.http_status in (429, 503) or "retry_after" in error.details:
        # RFC 9110 section 10.2.3: whole seconds.
        seconds = float(error.details.get("retry_after", DEFAULT_RETRY_AFTER))
        return {"Retry-After": str(max(1, math.ceil(seconds)))}
    return {}

"""The errors of the platform, typed once.

    PlatformError                       code, message, details, http_status, retryable
    ├── InvalidRequest            400   invalid_argument, invalid_json_body, invalid_id …
    ├── Unauthorized              401   authentication_required, invalid_credentials
    ├── Forbidden                 403   permission_denied
    ├── NotFound                  404   call_not_found, flow_not_found …
    ├── MethodNotAllowed          405   method_not_allowed
    ├── Conflict                  409   call_already_hangup, state_invalid …
    ├── TooLarge                  413   request_too_large
    ├── RateLimited               429   rate_limit_exceeded (retryable)
    ├── Internal                  500   internal
    ├── Unavailable               503   service_unavailable, broker_unavailable … (retryable)
    └── DeadlineExceeded          504   request_timeout

`code` is a stable slug in snake case; the public API shows it in upper case as `reason`. `message` is
static English. What varies stands in `details`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from evercall.contracts.base import ErrorData


class PlatformError(Exception):
    """Base of all errors that may cross a process."""

    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(
        self, code: str, message: str, *, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = dict(details or {})

    def to_data(self) -> ErrorData:
        """The error as it travels on the bus."""
        details = {"http_status": self.http_status, **self.details}
        return ErrorData(
            code=self.code, message=self.message, details=details, retryable=self.retryable
        )


class InvalidRequest(PlatformError):
    """The request itself is wrong. `details["faults"]` lists `{path, message}` where several are."""

    http_status = 400


class Unauthorized(PlatformError):
    """No credentials, or credentials that do not hold."""

    http_status = 401


class Forbidden(PlatformError):
    """Known, but not allowed."""

    http_status = 403


class NotFound(PlatformError):
    """No such thing, or not yours to see."""

    http_status = 404


class MethodNotAllowed(PlatformError):
    """There is such a path, but not with this method; `details["allow"]` names those it has."""

    http_status = 405


class Conflict(PlatformError):
    """Not possible in the present state."""

    http_status = 409


class TooLarge(PlatformError):
    """The body exceeds the limit."""

    http_status = 413


class RateLimited(PlatformError):
    """Too many requests; `details["retry_after"]` in seconds."""

    http_status = 429
    retryable = True


class Internal(PlatformError):
    """Our fault."""


class Unavailable(PlatformError):
    """A part of the platform that is needed is away."""

    http_status = 503
    retryable = True


class DeadlineExceeded(PlatformError):
    """No answer in time. The request may have been carried out."""

    http_status = 504


_BY_STATUS: Mapping[int, type[PlatformError]] = {
    kind.http_status: kind
    for kind in (
        InvalidRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, Conflict,
        TooLarge, RateLimited, Internal, Unavailable, DeadlineExceeded,
    )
}  # fmt: skip


def from_data(data: ErrorData) -> PlatformError:
    """Rebuilds the error that another process raised."""
    details = dict(data.details)
    kind = _BY_STATUS.get(details.pop("http_status", 500), Internal)
    return kind(data.code, data.message, details=details)

"""The parts that handlers work with, built once by `main` and carried by the application."""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request as HttpRequest

from api_manager.audit.store import AuditStore
from api_manager.audit.trail import AuditTrail
from api_manager.authentication import Authenticator
from api_manager.calling import Calling
from api_manager.idempotency import IdempotencyStore
from api_manager.ports import Asks
from api_manager.store import AccesskeyStore, CustomerStore


@dataclass(frozen=True, slots=True)
class OperationLimits:
    """What bounds a single request."""

    seconds: float
    body_bytes: int


@dataclass(frozen=True, slots=True)
class Components:
    """Everything that a handler may need."""

    bus: Asks
    customers: CustomerStore
    accesskeys: AccesskeyStore
    idempotency: IdempotencyStore
    audit: AuditTrail
    audit_log: AuditStore
    authenticator: Authenticator
    limits: OperationLimits
    calling: Calling


def components_of(request: HttpRequest) -> Components:
    """The components of the application that handles this request."""
    components: Any = request.app.state.components
    assert isinstance(components, Components)  # noqa: S101
    return components

"""The rows of the audit log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from api_manager.domain.principal import Principal
from api_manager.domain.refusals import Refusal
from api_manager.request_state import RequestState
from api_manager.resources import AuditActor
from evercall.service.forwarded import limited_as
from evercall.service.identity import new_id

REFUSED = "refused"
"""The operation of rows that count refused credentials."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What somebody is about to do.

    Attributes:
        customer_id: on whose behalf; None where that is not known.
        actor_id: the access key; None for the administrator's, and where nobody is known.
        resource_id: the object that the request names.
        client_address: personal data.
        count: how many times, for refusals.
    """

    id: UUID
    customer_id: UUID | None
    actor_type: AuditActor
    actor_id: UUID | None
    actor_customer_id: UUID | None
    operation: str
    resource_type: str
    resource_id: UUID | None
    client_address: str
    request_id: str
    count: int
    tm_create: datetime


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it: the status, the reason where it failed, and the objects."""

    audit_id: UUID
    status: int
    reason: str
    resource_ids: Sequence[UUID]
    tm_create: datetime


def attempt_of(
    state: RequestState,
    principal: Principal,
    customer_id: UUID,
    operation: str,
    resource_type: str,
    resource_id: UUID | None = None,
) -> Attempt:
    """The row of a request that is about to be carried out."""
    return Attempt(
        id=new_id(),
        customer_id=customer_id,
        actor_type=_actor(is_admin=principal.is_admin, is_token=principal.is_token),
        actor_id=None if principal.is_admin else principal.subject,
        actor_customer_id=principal.customer_id,
        operation=operation,
        resource_type=resource_type,
        resource_id=resource_id,
        client_address=state.client,
        request_id=state.id,
        count=1,
        tm_create=datetime.now(UTC),
    )


def result_of(
    attempt: Attempt, status: int = 200, reason: str = "", resource_ids: Sequence[UUID] = ()
) -> Result:
    """The row of what came of an attempt."""
    return Result(attempt.id, status, reason, list(resource_ids), datetime.now(UTC))


def refusal_of(state: RequestState, status: int, code: str) -> Refusal:
    """What is counted of a request whose credentials were not enough."""
    client, principal = limited_as(state.client), state.principal
    if principal is None:
        return Refusal(client, status, code)
    actor = _actor(is_admin=principal.is_admin, is_token=principal.is_token)
    return Refusal(client, status, code, actor, principal.subject, principal.customer_id)


def counted(refusal: Refusal, count: int) -> Attempt:
    """The row of refusals that were counted."""
    return Attempt(
        id=new_id(),
        customer_id=refusal.customer_id,
        actor_type=AuditActor(refusal.actor),
        actor_id=None if refusal.actor == AuditActor.ADMINISTRATOR else refusal.actor_id,
        actor_customer_id=refusal.customer_id,
        operation=REFUSED,
        resource_type="",
        resource_id=None,
        client_address=refusal.client,
        request_id="",
        count=count,
        tm_create=datetime.now(UTC),
    )


def _actor(*, is_admin: bool, is_token: bool) -> AuditActor:
    if is_admin:
        return AuditActor.ADMINISTRATOR
    return AuditActor.TOKEN if is_token else AuditActor.ACCESSKEY

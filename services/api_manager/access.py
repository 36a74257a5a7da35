"""Who may open a connection with another service: answers `AccessCheck` by the rules of the API's own gate."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import msgspec
from starlette.datastructures import QueryParams

from api_manager.audit.entry import attempt_of, result_of
from api_manager.audit.trail import AuditTrail
from api_manager.authentication import Authenticator
from api_manager.domain.credentials import find_credential
from api_manager.domain.scopes import Scope, scope_missing
from api_manager.gate import Limits, take
from api_manager.request_state import RequestState
from api_manager.store import CustomerStore
from api_manager.tenant import tenant_customer
from evercall.contracts.access import Access, AccessCheck
from evercall.contracts.base import Request
from evercall.service.errors import Forbidden, NotFound, Unauthorized
from evercall.service.forwarded import limited_as
from evercall.service.identity import new_id

OPENED = "open_call_media_stream"

Handler = Callable[[Any], Awaitable[msgspec.Struct]]


class AccessHandlers:
    """The service queue of `api_manager`."""

    def __init__(
        self,
        authenticator: Authenticator,
        customers: CustomerStore,
        audit: AuditTrail,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._authenticator = authenticator
        self._customers = customers
        self._audit = audit
        self._limits = limits
        self._clock = clock

    @property
    def handlers(self) -> Mapping[type[Request[Any]], Handler]:
        """For `Bus.serve`."""
        return {AccessCheck: self.check}

    async def check(self, request: AccessCheck) -> Access:
        """Lets the caller have the audio of a call, and writes that down."""
        state = RequestState(str(new_id()), request.client)
        try:
            access = await self._check(request, state)
        except (Unauthorized, Forbidden) as error:
            if request.counts:
                self._audit.refused(state, error)
            raise
        if request.counts and state.principal is not None:
            opened = attempt_of(
                state, state.principal, access.customer_id, OPENED, "call", request.call_id
            )
            # Not before it is let in, and not waited for: a stream that broke must go on at once,
            # whether the database is there or not.
            self._audit.later(result_of(opened), opened)
        return access

    async def _check(self, request: AccessCheck, state: RequestState) -> Access:
        """In the order of the gate: address, credentials, customer, account; then scope and tenant."""
        now, query = self._clock(), QueryParams(request.query)
        if request.counts:
            take(self._limits.addresses, limited_as(request.client), "address", now)
        credential = find_credential("GET", "", query, request.authorization)
        principal = await self._authenticator.principal(credential)
        state.principal = principal
        if request.counts:
            take(self._limits.customers, principal.customer_id, "customer", now)
        if principal.frozen:
            raise Forbidden("account_frozen", "The customer's account is frozen")
        if Scope.MEDIA not in principal.scopes:
            raise scope_missing(Scope.MEDIA)
        if principal.call_id not in (None, request.call_id):
            raise Forbidden("permission_denied", "The token is for another call")
        customer_id = tenant_customer(query.get("customer_id"), principal)
        if customer_id != principal.customer_id:
            await self._require(customer_id)
        return Access(customer_id=customer_id, expires_at=principal.expires_at)

    async def _require(self, customer_id: UUID) -> None:
        if await self._customers.get(customer_id) is None:
            raise NotFound("customer_not_found", "There is no such customer")

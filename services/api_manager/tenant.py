"""For whom a request acts: the one place where a customer id comes from.

A customer's credentials act for that customer. The administrator acts for the customer named in the
query parameter `customer_id`, with every method alike, and for the platform's own customer without it.
Rows of another customer are simply not there (404), whoever's id is guessed.
"""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query
from starlette.requests import Request

from api_manager.components import Components, components_of
from api_manager.domain.creation import Creation
from api_manager.domain.principal import Principal
from api_manager.request_state import RequestState, state_of
from api_manager.resources import Customer
from evercall.contracts.flow import FlowGet
from evercall.service.errors import Forbidden, InvalidRequest, NotFound, Unauthorized


@dataclass(frozen=True, slots=True)
class Tenant:
    """The customer that the request acts for, and what the request may work with."""

    customer_id: UUID
    principal: Principal
    state: RequestState
    components: Components

    async def customer(self) -> Customer:
        """The customer itself.

        Raises:
            NotFound: `customer_not_found`: it was deleted just now.
        """
        customer = await self.components.customers.get(self.customer_id)
        if customer is None:
            raise NotFound("customer_not_found", "There is no such customer")
        return customer

    @property
    def creation(self) -> Creation:
        """Names what the request creates."""
        return self.state.creation

    async def require_flow(self, flow_id: UUID | None) -> None:
        """A flow that is referred to must be the customer's own.

        Raises:
            NotFound: `flow_not_found`.
        """
        if flow_id is not None:
            request = FlowGet(id=flow_id, customer_id=self.customer_id)
            await self.components.bus.ask("flow_manager", request)


def tenant_customer(named: str | None, principal: Principal) -> UUID:
    """The customer that a request acts for. `named`: the query parameter `customer_id`.

    Raises:
        Forbidden: a customer names another one.
    """
    if named is None:
        return principal.customer_id
    try:
        customer_id = UUID(named)
    except ValueError:
        raise InvalidRequest(
            "invalid_request_parameter",
            "customer_id must be a UUID",
            details={"field": "customer_id"},
        ) from None
    if customer_id != principal.customer_id and not principal.is_admin:
        raise Forbidden("permission_denied", "Only the administrator acts for another customer")
    return customer_id


async def _tenant(
    request: Request,
    _customer_id: Annotated[
        UUID | None,
        Query(
            alias="customer_id",
            description="For the administrator only: the customer to act for.",
        ),
    ] = None,
) -> Tenant:
    principal = _principal(request)
    components = components_of(request)
    acting_for = tenant_customer(request.query_params.get("customer_id"), principal)
    if acting_for != principal.customer_id and await components.customers.get(acting_for) is None:
        raise NotFound("customer_not_found", "There is no such customer")
    return Tenant(acting_for, principal, state_of(request.scope), components)


ActingTenant = Annotated[Tenant, Depends(_tenant)]


async def _assigning(request: Request, tenant: ActingTenant) -> Tenant:
    """What only the administrator may do, for the customer that it names."""
    if not _principal(request).is_admin:
        raise Forbidden(
            "permission_denied",
            "Only the administrator assigns numbers; ask for one to be assigned",
        )
    return tenant


async def _administration(request: Request) -> Tenant:
    """What only the administrator may do."""
    principal = _principal(request)
    if not principal.is_admin:
        raise Forbidden("permission_denied", "Only the administrator may do this")
    state = state_of(request.scope)
    return Tenant(principal.customer_id, principal, state, components_of(request))


async def _own_or_any(request: Request, id: UUID) -> Tenant:
    """What the administrator may do with every customer, and a customer with itself."""
    principal = _principal(request)
    if not principal.is_admin and id != principal.customer_id:
        raise Forbidden("permission_denied", "Only the administrator sees other customers")
    state = state_of(request.scope)
    return Tenant(principal.customer_id, principal, state, components_of(request))


def _principal(request: Request) -> Principal:
    principal = state_of(request.scope).principal
    if principal is None:
        raise Unauthorized("authentication_required", "An access key or a token is needed for this")
    return principal


AssigningTenant = Annotated[Tenant, Depends(_assigning)]
Administration = Annotated[Tenant, Depends(_administration)]
OwnOrAny = Annotated[Tenant, Depends(_own_or_any)]

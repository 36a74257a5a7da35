"""`/v1.0/customers`: the tenants. For the administrator."""

from uuid import UUID

from fastapi import APIRouter, Response

from api_manager.answers import Page, answers, json_answer
from api_manager.bodies import CustomerBody
from api_manager.domain.principal import PLATFORM_CUSTOMER
from api_manager.operation import Operation
from api_manager.resources import Customer, CustomerStatus
from api_manager.tenant import Administration, Tenant
from evercall.contracts import base
from evercall.contracts.route import NumberDelete, NumberList
from evercall.service.errors import Conflict, NotFound

router = APIRouter(prefix="/v1.0/customers", tags=["Customer"], route_class=Operation)


@router.get("", summary="List customers", openapi_extra=answers(base.Page[Customer]))
async def list_customers(page: Page, admin: Administration) -> Response:
    """All customers, newest first."""
    customers = admin.components.customers
    return json_answer(await customers.list(page.page_size, page.page_token))


@router.post("", summary="Create a customer", openapi_extra=answers(Customer))
async def create_customer(body: CustomerBody, admin: Administration) -> Response:
    """Adds a customer. Make it an access key next: `POST /v1.0/accesskeys?customer_id=…`."""
    identifier = admin.creation.id("customer")
    return json_answer(await admin.components.customers.create(identifier, body))


@router.get("/{id}", summary="Get a customer", openapi_extra=answers(Customer))
async def get_customer(id: UUID, admin: Administration) -> Response:
    """One customer."""
    return json_answer(_found(await admin.components.customers.get(id)))


@router.put("/{id}", summary="Change a customer", openapi_extra=answers(Customer))
async def update_customer(
    id: UUID,
    body: CustomerBody,
    admin: Administration,
) -> Response:
    """Replaces what describes the customer."""
    return json_answer(_found(await admin.components.customers.update(id, body)))


@router.post("/{id}/freeze", summary="Freeze a customer", openapi_extra=answers(Customer))
async def freeze_customer(id: UUID, admin: Administration) -> Response:
    """From now on the customer's access keys and tokens are refused with `ACCOUNT_FROZEN`. Calls that
    are up go on, and its numbers go on taking calls."""
    return json_answer(await _set_status(admin, id, CustomerStatus.FROZEN))


@router.post("/{id}/recover", summary="Unfreeze a customer", openapi_extra=answers(Customer))
async def recover_customer(id: UUID, admin: Administration) -> Response:
    """Lets a frozen customer's access keys work again."""
    return json_answer(await _set_status(admin, id, CustomerStatus.ACTIVE))


@router.delete("/{id}", summary="Delete a customer", openapi_extra=answers(Customer))
async def delete_customer(id: UUID, admin: Administration) -> Response:
    """Ends the customer's account: its keys are refused, its numbers are given up. Calls that are up
    end by themselves."""
    # Frozen first and deleted last: whatever happens in between, no key works and this can be said
    # again. A number that were left would go on taking calls for nobody.
    await _set_status(admin, id, CustomerStatus.FROZEN)
    await _give_up_numbers(admin, id)
    deleted = _found(await admin.components.customers.delete(id))
    admin.components.authenticator.forget()
    return json_answer(deleted)


async def _set_status(admin: Tenant, identifier: UUID, status: CustomerStatus) -> Customer:
    if identifier == PLATFORM_CUSTOMER:
        raise Conflict("state_invalid", "The platform's own customer stays as it is")
    changed = _found(await admin.components.customers.set_status(identifier, status))
    admin.components.authenticator.forget()
    return changed


async def _give_up_numbers(admin: Tenant, customer_id: UUID) -> None:
    bus = admin.components.bus
    while True:
        listing = NumberList(customer_id=customer_id, page_size=100)
        numbers = (await bus.ask("route_manager", listing)).result
        if not numbers:
            return
        for number in numbers:
            await bus.ask("route_manager", NumberDelete(id=number.id, customer_id=customer_id))


def _found(customer: Customer | None) -> Customer:
    if customer is None:
        raise NotFound("customer_not_found", "There is no such customer")
    return customer

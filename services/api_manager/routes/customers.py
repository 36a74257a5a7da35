"""`/v1.0/customers`: the tenants. For the administrator."""

from contextlib import suppress
from uuid import UUID

import msgspec
from fastapi import APIRouter, Response
from msgspec.structs import replace

from api_manager.answers import Page, answers, json_answer
from api_manager.bodies import CustomerBody, PolicyBody, QuotasBody
from api_manager.domain.principal import PLATFORM_CUSTOMER
from api_manager.operation import Operation
from api_manager.resources import Customer, CustomerStatus, Policy
from api_manager.tenancy import end_calls
from api_manager.tenant import Administration, OwnOrAny, Tenant
from evercall.contracts import base
from evercall.contracts.call import CustomerUse, CustomerUseFind
from evercall.contracts.route import NumberDelete, NumberList
from evercall.service.errors import Conflict, DeadlineExceeded, NotFound, Unavailable

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
async def get_customer(id: UUID, viewer: OwnOrAny) -> Response:
    """One customer, with its quotas and how much of them it has taken. A customer sees itself."""
    customer = _found(await viewer.components.customers.get(id))
    return json_answer(replace(customer, use=await _use(viewer, id)))


@router.put("/{id}", summary="Change a customer", openapi_extra=answers(Customer))
async def update_customer(
    id: UUID,
    body: CustomerBody,
    admin: Administration,
) -> Response:
    """Replaces what describes the customer."""
    return json_answer(_found(await admin.components.customers.update(id, body)))


@router.put("/{id}/quotas", summary="Set a customer's quotas", openapi_extra=answers(Customer))
async def set_quotas(id: UUID, body: QuotasBody, admin: Administration) -> Response:
    """What differs from the platform's defaults. What goes beyond a quota is refused with `429` and
    `QUOTA_EXCEEDED`, which names it; a call that comes in is refused as busy."""
    quotas = body.model_dump(exclude_none=True)
    changed = _found(await admin.components.customers.set_quotas(id, quotas))
    await _tell(admin, "updated", changed)
    return json_answer(changed)


@router.put("/{id}/policy", summary="Set a customer's policy", openapi_extra=answers(Customer))
async def set_policy(id: UUID, body: PolicyBody, admin: Administration) -> Response:
    """Whom the customer may call, and as whom."""
    policy = msgspec.convert(body.model_dump(), Policy)
    changed = _found(await admin.components.customers.set_policy(id, policy))
    return json_answer(changed)


@router.post("/{id}/freeze", summary="Freeze a customer", openapi_extra=answers(Customer))
async def freeze_customer(id: UUID, admin: Administration) -> Response:
    """From now on the customer's access keys and tokens are refused with `ACCOUNT_FROZEN`, calls to its
    numbers are refused, and its outgoing calls end within seconds. Calls that had come in before go on."""
    return json_answer(await _set_status(admin, id, CustomerStatus.FROZEN))


@router.post("/{id}/recover", summary="Unfreeze a customer", openapi_extra=answers(Customer))
async def recover_customer(id: UUID, admin: Administration) -> Response:
    """Lets a frozen customer's access keys work again, and its numbers take calls."""
    return json_answer(await _set_status(admin, id, CustomerStatus.ACTIVE))


@router.delete("/{id}", summary="Delete a customer", openapi_extra=answers(Customer))
async def delete_customer(id: UUID, admin: Administration) -> Response:
    """Ends the customer's account: its keys are refused, its numbers are given up, its outgoing calls end.
    Calls that had come in before end by themselves."""
    # Frozen first and deleted last: whatever happens in between, no key works and this can be said
    # again. A number that were left would go on taking calls for nobody.
    await _set_status(admin, id, CustomerStatus.FROZEN)
    await _give_up_numbers(admin, id)
    deleted = _found(await admin.components.customers.delete(id))
    admin.components.authenticator.forget()
    await _tell(admin, "deleted", deleted)
    return json_answer(deleted)


async def _set_status(admin: Tenant, identifier: UUID, status: CustomerStatus) -> Customer:
    if identifier == PLATFORM_CUSTOMER:
        raise Conflict("state_invalid", "The platform's own customer stays as it is")
    changed = _found(await admin.components.customers.set_status(identifier, status))
    admin.components.authenticator.forget()
    await _tell(admin, "frozen" if status is CustomerStatus.FROZEN else "recovered", changed)
    if status is CustomerStatus.FROZEN:
        await end_calls(admin.components.bus, [identifier])
    return changed


async def _use(viewer: Tenant, identifier: UUID) -> CustomerUse | None:
    try:
        return await viewer.components.bus.ask(
            "call_manager", CustomerUseFind(customer_id=identifier), timeout=2.0
        )
    except (Unavailable, DeadlineExceeded):
        return None


async def _tell(admin: Tenant, event: str, changed: Customer) -> None:
    # The change is committed. Its event may be lost here: who remembers customers asks again after
    # seconds, and `keep_frozen` ends the calls of the frozen.
    with suppress(Unavailable, TimeoutError):
        await admin.components.bus.publish_event("customer", event, changed.id, changed)


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

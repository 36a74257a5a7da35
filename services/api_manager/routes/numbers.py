"""`/v1.0/numbers`: the numbers that a customer takes calls on, and may call from.

The administrator assigns them: to a customer, every number is somebody's, and whose it is not told.
"""

from uuid import UUID

from fastapi import APIRouter, Response

from api_manager.answers import Page, answers, json_answer
from api_manager.bodies import NumberBody, NumberChangeBody
from api_manager.operation import Operation
from api_manager.tenant import ActingTenant, AssigningTenant
from evercall.contracts import base
from evercall.contracts.route import (
    Number,
    NumberCreate,
    NumberDelete,
    NumberGet,
    NumberList,
    NumberUpdate,
)

SERVICE = "route_manager"

router = APIRouter(prefix="/v1.0/numbers", tags=["Number"], route_class=Operation)


@router.get("", summary="List numbers", openapi_extra=answers(base.Page[Number]))
async def list_numbers(page: Page, tenant: ActingTenant) -> Response:
    """The customer's numbers, newest first."""
    request = NumberList(
        customer_id=tenant.customer_id, page_size=page.page_size, page_token=page.page_token
    )
    return json_answer(await tenant.components.bus.ask(SERVICE, request))


@router.post("", summary="Assign a number", openapi_extra=answers(Number))
async def create_number(body: NumberBody, tenant: AssigningTenant) -> Response:
    """For the administrator: gives the customer that the parameter `customer_id` names a number that nobody
    has. One that another customer gave up rests before (`NUMBER_RESTING`)."""
    await tenant.require_flow(body.call_flow_id)
    request = NumberCreate(
        id=tenant.creation.id("number"),
        customer_id=tenant.customer_id,
        number=body.number,
        name=body.name,
        detail=body.detail,
        call_flow_id=body.call_flow_id,
    )
    return json_answer(await tenant.components.bus.ask(SERVICE, request))


@router.get("/{id}", summary="Get a number", openapi_extra=answers(Number))
async def get_number(id: UUID, tenant: ActingTenant) -> Response:
    """One number."""
    request = NumberGet(id=id, customer_id=tenant.customer_id)
    return json_answer(await tenant.components.bus.ask(SERVICE, request))


@router.put("/{id}", summary="Change a number", openapi_extra=answers(Number))
async def update_number(
    id: UUID,
    body: NumberChangeBody,
    tenant: ActingTenant,
) -> Response:
    """Says anew which flow a call starts. Calls that are up go on as they began."""
    await tenant.require_flow(body.call_flow_id)
    request = NumberUpdate(
        id=id,
        customer_id=tenant.customer_id,
        name=body.name,
        detail=body.detail,
        call_flow_id=body.call_flow_id,
    )
    return json_answer(await tenant.components.bus.ask(SERVICE, request))


@router.delete("/{id}", summary="Give a number up", openapi_extra=answers(Number))
async def delete_number(id: UUID, tenant: ActingTenant) -> Response:
    """Calls to it get 404 from now on. The number rests, until the administrator may assign it anew."""
    request = NumberDelete(id=id, customer_id=tenant.customer_id)
    return json_answer(await tenant.components.bus.ask(SERVICE, request))

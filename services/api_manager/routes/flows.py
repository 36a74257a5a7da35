"""`/v1.0/flows`: what calls do."""

from uuid import UUID

from fastapi import APIRouter, Response

from api_manager.answers import Page, answers, json_answer
from api_manager.bodies import FlowBody
from api_manager.operation import Operation
from api_manager.tenant import ActingTenant
from evercall.contracts import base
from evercall.contracts.flow import (
    Flow,
    FlowCreate,
    FlowDelete,
    FlowGet,
    FlowList,
    FlowUpdate,
)

SERVICE = "flow_manager"

router = APIRouter(prefix="/v1.0/flows", tags=["Flow"], route_class=Operation)


@router.get("", summary="List flows", openapi_extra=answers(base.Page[Flow]))
async def list_flows(page: Page, tenant: ActingTenant) -> Response:
    """The customer's flows, newest first."""
    request = FlowList(
        customer_id=tenant.customer_id, page_size=page.page_size, page_token=page.page_token
    )
    return json_answer(await tenant.components.bus.ask(SERVICE, request))


@router.post("", summary="Create a flow", openapi_extra=answers(Flow))
async def create_flow(body: FlowBody, tenant: ActingTenant) -> Response:
    """The whole flow is checked. All faults come back at once, each with the `field` it is in."""
    await tenant.require_flow(body.on_complete_flow_id)
    request = FlowCreate(
        id=tenant.creation.id("flow"),
        customer_id=tenant.customer_id,
        name=body.name,
        detail=body.detail,
        actions=body.actions,
        on_complete_flow_id=body.on_complete_flow_id,
    )
    return json_answer(await tenant.components.bus.ask(SERVICE, request))


@router.get("/{id}", summary="Get a flow", openapi_extra=answers(Flow))
async def get_flow(id: UUID, tenant: ActingTenant) -> Response:
    """One flow."""
    request = FlowGet(id=id, customer_id=tenant.customer_id)
    return json_answer(await tenant.components.bus.ask(SERVICE, request))


@router.put("/{id}", summary="Change a flow", openapi_extra=answers(Flow))
async def update_flow(id: UUID, body: FlowBody, tenant: ActingTenant) -> Response:
    """Replaces the flow. What runs already goes on with what it started with."""
    await tenant.require_flow(body.on_complete_flow_id)
    request = FlowUpdate(
        id=id,
        customer_id=tenant.customer_id,
        name=body.name,
        detail=body.detail,
        actions=body.actions,
        on_complete_flow_id=body.on_complete_flow_id,
    )
    return json_answer(await tenant.components.bus.ask(SERVICE, request))


@router.delete("/{id}", summary="Delete a flow", openapi_extra=answers(Flow))
async def delete_flow(id: UUID, tenant: ActingTenant) -> Response:
    """What runs already goes on."""
    request = FlowDelete(id=id, customer_id=tenant.customer_id)
    return json_answer(await tenant.components.bus.ask(SERVICE, request))

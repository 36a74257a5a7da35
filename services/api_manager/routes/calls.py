"""`/v1.0/calls`: calls, placed and seen."""

from uuid import UUID

from fastapi import APIRouter, Response

from api_manager.answers import Page, answers, json_answer
from api_manager.bodies import CallsBody
from api_manager.operation import Operation
from api_manager.resources import CallsCreated
from api_manager.tenant import ActingTenant, Tenant
from evercall.contracts import base
from evercall.contracts.call import (
    Call,
    CallCreate,
    CallDelete,
    CallGet,
    CallHangup,
    CallList,
)
from evercall.contracts.flow import FlowCreate
from evercall.service.errors import PlatformError

SERVICE = "call_manager"

router = APIRouter(prefix="/v1.0/calls", tags=["Call"], route_class=Operation)


@router.get("", summary="List calls", openapi_extra=answers(base.Page[Call]))
async def list_calls(page: Page, tenant: ActingTenant) -> Response:
    """The customer's calls, newest first: those that are up and those that were."""
    request = CallList(
        customer_id=tenant.customer_id, page_size=page.page_size, page_token=page.page_token
    )
    return json_answer(await tenant.components.bus.ask(SERVICE, request))


@router.post("", summary="Place calls", openapi_extra=answers(CallsCreated))
async def create_calls(body: CallsBody, tenant: ActingTenant) -> Response:
    """Places one call per destination and answers at once; `GET /v1.0/calls/{id}` tells how each fares.
    `source` is one of the customer's numbers, or an origin that was verified for it.
    Should a destination fail, the error's details name the calls that were placed before it."""
    calling = tenant.components.calling
    source = body.source.to_contract()
    targets = [destination.to_contract() for destination in body.destinations]
    await calling.require(await tenant.customer(), source, targets)
    flow_id = await _flow(body, tenant)
    ids = [tenant.creation.id(f"call.{index}") for index in range(len(targets))]
    await calling.admit(tenant.customer_id, ids)
    calls: list[Call] = []
    for identifier, target in zip(ids, targets, strict=True):
        request = CallCreate(
            id=identifier,
            customer_id=tenant.customer_id,
            flow_id=flow_id,
            source=source,
            destination=target,
            anonymous=body.anonymous,
            variables=body.variables,
        )
        try:
            calls.append(await tenant.components.bus.ask(SERVICE, request, actor=request.id))
        except PlatformError as error:
            if calls:
                error.details["created_call_ids"] = [str(call.id) for call in calls]
            raise
    return json_answer(CallsCreated(calls=calls))


@router.get("/{id}", summary="Get a call", openapi_extra=answers(Call))
async def get_call(id: UUID, tenant: ActingTenant) -> Response:
    """One call."""
    request = CallGet(id=id, customer_id=tenant.customer_id)
    return json_answer(await tenant.components.bus.ask(SERVICE, request))


@router.post("/{id}/hangup", summary="Hang a call up", openapi_extra=answers(Call))
async def hangup_call(id: UUID, tenant: ActingTenant) -> Response:
    """Ends the call, answered or not."""
    request = CallHangup(id=id, customer_id=tenant.customer_id)
    return json_answer(await tenant.components.bus.ask(SERVICE, request, actor=id))


@router.delete("/{id}", summary="Delete a call", openapi_extra=answers(Call))
async def delete_call(id: UUID, tenant: ActingTenant) -> Response:
    """Hides the call from lists; one that is up is ended first."""
    request = CallDelete(id=id, customer_id=tenant.customer_id)
    return json_answer(await tenant.components.bus.ask(SERVICE, request, actor=id))


async def _flow(body: CallsBody, tenant: Tenant) -> UUID:
    """The flow that the calls run: the customer's own, or a hidden one made of the given actions."""
    if body.flow_id is not None:
        await tenant.require_flow(body.flow_id)
        return body.flow_id
    request = FlowCreate(
        id=tenant.creation.id("flow"),
        customer_id=tenant.customer_id,
        actions=body.actions or [],
        hidden=True,
    )
    return (await tenant.components.bus.ask("flow_manager", request)).id

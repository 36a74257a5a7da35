"""`/v1.0/activeflows`: flows that run, and those that ran."""

from uuid import UUID

from fastapi import APIRouter, Response

from api_manager.answers import Page, answers, json_answer
from api_manager.operation import Operation
from api_manager.tenant import ActingTenant
from evercall.contracts import base
from evercall.contracts.flow import (
    Activeflow,
    ActiveflowDelete,
    ActiveflowGet,
    ActiveflowList,
    ActiveflowStop,
)

SERVICE = "flow_manager"

router = APIRouter(prefix="/v1.0/activeflows", tags=["Activeflow"], route_class=Operation)


@router.get("", summary="List activeflows", openapi_extra=answers(base.Page[Activeflow]))
async def list_activeflows(page: Page, tenant: ActingTenant) -> Response:
    """The customer's activeflows, newest first."""
    request = ActiveflowList(
        customer_id=tenant.customer_id, page_size=page.page_size, page_token=page.page_token
    )
    return json_answer(await tenant.components.bus.ask(SERVICE, request))


@router.get("/{id}", summary="Get an activeflow", openapi_extra=answers(Activeflow))
async def get_activeflow(id: UUID, tenant: ActingTenant) -> Response:
    """One execution of a flow, with its variables and the actions it went through."""
    request = ActiveflowGet(id=id, customer_id=tenant.customer_id)
    return json_answer(await tenant.components.bus.ask(SERVICE, request))


@router.post("/{id}/stop", summary="Stop an activeflow", openapi_extra=answers(Activeflow))
async def stop_activeflow(id: UUID, tenant: ActingTenant) -> Response:
    """Ends the execution; its call hangs up. One that has ended already stays ended."""
    request = ActiveflowStop(id=id, customer_id=tenant.customer_id)
    return json_answer(await tenant.components.bus.ask(SERVICE, request, actor=id))


@router.delete("/{id}", summary="Delete an activeflow", openapi_extra=answers(Activeflow))
async def delete_activeflow(id: UUID, tenant: ActingTenant) -> Response:
    """Hides the activeflow from lists; one that runs is stopped first."""
    request = ActiveflowDelete(id=id, customer_id=tenant.customer_id)
    return json_answer(await tenant.components.bus.ask(SERVICE, request, actor=id))

"""`/v1.0/audit_logs`: who changed what."""

from fastapi import APIRouter, Request, Response

from api_manager.answers import Page, answers, json_answer
from api_manager.operation import Operation
from api_manager.resources import AuditLog
from api_manager.tenant import ActingTenant
from evercall.contracts import base

router = APIRouter(prefix="/v1.0/audit_logs", tags=["Audit log"], route_class=Operation)


@router.get("", summary="List the audit log", openapi_extra=answers(base.Page[AuditLog]))
async def list_audit_logs(page: Page, tenant: ActingTenant, request: Request) -> Response:
    """Everything that was done, or tried, on the customer's behalf, newest first; for the administrator,
    of all customers unless one is named. Refused credentials are counted for a minute before they appear.
    """
    everybody = tenant.principal.is_admin and "customer_id" not in request.query_params
    customer_id = None if everybody else tenant.customer_id
    log = tenant.components.audit_log
    return json_answer(await log.list(customer_id, page.page_size, page.page_token))

"""`/v1.0/accesskeys`: the keys that a customer's programs call the API with."""

import secrets
from uuid import UUID

import msgspec
from fastapi import APIRouter, Request, Response

from api_manager.answers import Page, answers, json_answer
from api_manager.bodies import AccesskeyBody, AccesskeyChangeBody
from api_manager.domain.credentials import ACCESSKEY_PREFIX, AccesskeyToken
from api_manager.domain.scopes import grant
from api_manager.operation import Operation
from api_manager.request_state import state_of
from api_manager.resources import Accesskey
from api_manager.tenant import ActingTenant
from evercall.contracts import base
from evercall.service.errors import NotFound

TOKEN_BYTES = 32

router = APIRouter(prefix="/v1.0/accesskeys", tags=["Accesskey"], route_class=Operation)


@router.get("", summary="List access keys", openapi_extra=answers(base.Page[Accesskey]))
async def list_accesskeys(page: Page, tenant: ActingTenant) -> Response:
    """The customer's keys, newest first, without their tokens."""
    keys = tenant.components.accesskeys
    return json_answer(await keys.list(tenant.customer_id, page.page_size, page.page_token))


@router.post("", summary="Create an access key", openapi_extra=answers(Accesskey))
async def create_accesskey(body: AccesskeyBody, tenant: ActingTenant, request: Request) -> Response:
    """The answer holds the `token`: it is shown this once and stored nowhere. A repeated request
    (`Idempotency-Key`) does not show it again."""
    scopes = grant(body.scopes, tenant.principal.scopes)
    token = AccesskeyToken(ACCESSKEY_PREFIX + secrets.token_urlsafe(TOKEN_BYTES))
    created = await tenant.components.accesskeys.create(
        tenant.creation.id("accesskey"),
        tenant.customer_id,
        token,
        name=body.name,
        detail=body.detail,
        expire=body.expire,
        scopes=scopes,
    )
    state_of(request.scope).kept_body = msgspec.json.encode(created)
    return json_answer(msgspec.structs.replace(created, token=token.value))


@router.get("/{id}", summary="Get an access key", openapi_extra=answers(Accesskey))
async def get_accesskey(id: UUID, tenant: ActingTenant) -> Response:
    """One key, without its token."""
    return json_answer(_found(await tenant.components.accesskeys.get(id, tenant.customer_id)))


@router.put("/{id}", summary="Change an access key", openapi_extra=answers(Accesskey))
async def update_accesskey(
    id: UUID,
    body: AccesskeyChangeBody,
    tenant: ActingTenant,
) -> Response:
    """Renames a key."""
    changed = await tenant.components.accesskeys.update(
        id, tenant.customer_id, name=body.name, detail=body.detail
    )
    return json_answer(_found(changed))


@router.delete("/{id}", summary="Revoke an access key", openapi_extra=answers(Accesskey))
async def delete_accesskey(id: UUID, tenant: ActingTenant) -> Response:
    """The key and the tokens made from it are refused from now on: at once where this was answered,
    within a few seconds by other replicas."""
    deleted = _found(await tenant.components.accesskeys.delete(id, tenant.customer_id))
    tenant.components.authenticator.forget()
    return json_answer(deleted)


def _found(accesskey: Accesskey | None) -> Accesskey:
    if accesskey is None:
        raise NotFound("accesskey_not_found", "There is no such access key")
    return accesskey

"""Access checks of another service, answered by the lab's own api_manager over the broker."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from deploy.lab.lab import Lab
from evercall.contracts.access import Access, AccessCheck
from evercall.service.errors import Forbidden, NotFound, PlatformError, Unauthorized
from evercall.service.identity import new_id
from tests.contract.api.world import Api, Tenant


@pytest.fixture(autouse=True)
def _the_labs_api_manager(ready_lab: Lab) -> None:
    ready_lab.wait_ready(["api_manager-1"], seconds=30.0)


async def check(api: Api, query: str = "", **fields: Any) -> Access:
    request = AccessCheck(query=query, client="127.20.9.7", **({"call_id": new_id()} | fields))
    access = await api.bus.ask("api_manager", request)
    assert isinstance(access, Access)
    return access


async def refusal(api: Api, query: str) -> PlatformError | None:
    try:
        await check(api, query, counts=False)
    except PlatformError as error:
        return error
    return None


async def refused_in_the_end(api: Api, query: str) -> PlatformError:
    """Replicas remember a credential for a moment."""
    async with asyncio.timeout(10):
        while (error := await refusal(api, query)) is None:
            await asyncio.sleep(0.2)
    return error


async def test_a_key_and_its_token_let_the_customer_in(api: Api, tenant: Tenant) -> None:
    assert await check(api, f"accesskey={tenant.key}") == Access(customer_id=tenant.id)
    assert (await check(api, authorization=f"Bearer {tenant.key}")).customer_id == tenant.id
    made = await tenant.post("/auth/token", {"accesskey": tenant.key})
    access = await check(api, f"token={made['token']}")
    assert access.customer_id == tenant.id
    assert access.expires_at is not None
    ends = datetime.fromisoformat(made["tm_expire"])
    assert abs((access.expires_at - ends).total_seconds()) <= 1.0


async def test_a_key_that_ends_says_so(api: Api, tenant: Tenant) -> None:
    key = await tenant.post("/v1.0/accesskeys", {"expire": 60})
    ends = datetime.fromisoformat(key["tm_expire"])
    assert (await check(api, f"accesskey={key['token']}")).expires_at == ends
    made = await tenant.post("/auth/token", {"accesskey": key["token"]})
    assert (await check(api, f"token={made['token']}")).expires_at == ends


async def test_nobody_gets_in_without_credentials_that_hold(api: Api) -> None:
    with pytest.raises(Unauthorized, match="authentication_required"):
        await check(api)
    with pytest.raises(Unauthorized, match="invalid_credentials"):
        await check(api, "accesskey=ec_unknown")


async def test_a_key_that_is_revoked_is_refused_at_the_next_look(api: Api, tenant: Tenant) -> None:
    query = f"accesskey={tenant.key}"
    assert await refusal(api, query) is None
    (key,) = await tenant.all("/v1.0/accesskeys")
    assert (await tenant.client.delete(f"/v1.0/accesskeys/{key['id']}")).status_code == 200
    assert isinstance(await refused_in_the_end(api, query), Unauthorized)


async def test_a_frozen_customer_is_refused(api: Api, tenant: Tenant) -> None:
    query = f"accesskey={tenant.key}"
    assert await refusal(api, query) is None
    async with api.admin() as admin:
        assert (await admin.post(f"/v1.0/customers/{tenant.id}/freeze")).status_code == 200
    error = await refused_in_the_end(api, query)
    assert (type(error), error.code) == (Forbidden, "account_frozen")


async def test_only_the_administrator_acts_for_others(
    api: Api, tenant: Tenant, stranger: Tenant
) -> None:
    admin = api.settings.admin_accesskey.get_secret_value()
    acting = await check(api, f"accesskey={admin}&customer_id={tenant.id}")
    assert acting.customer_id == tenant.id
    with pytest.raises(NotFound, match="customer_not_found"):
        await check(api, f"accesskey={admin}&customer_id={new_id()}")
    with pytest.raises(Forbidden, match="permission_denied"):
        await check(api, f"accesskey={stranger.key}&customer_id={tenant.id}")


async def test_audio_needs_its_scope_and_a_token_for_one_call_opens_that_one(
    api: Api, tenant: Tenant
) -> None:
    reader = await tenant.post("/v1.0/accesskeys", {"scopes": ["read", "calls"]})
    with pytest.raises(Forbidden, match="scope_missing"):
        await check(api, f"accesskey={reader['token']}")
    call_id = new_id()
    wish = {"accesskey": tenant.key, "call_id": str(call_id)}
    made = await tenant.post("/auth/token", wish)
    assert made["scopes"] == ["media"]
    query = f"token={made['token']}"
    assert (await check(api, query, call_id=call_id)).customer_id == tenant.id
    with pytest.raises(Forbidden, match="permission_denied"):
        await check(api, query, call_id=new_id())


async def test_what_was_asked_is_in_no_log(api: Api, tenant: Tenant, ready_lab: Lab) -> None:
    wrong = f"ec_{new_id().hex}"
    await check(api, f"accesskey={tenant.key}")
    assert isinstance(await refusal(api, f"accesskey={wrong}"), Unauthorized)
    logs = list(ready_lab.paths.log.glob("api_manager-*.log"))
    assert logs
    for file in logs:
        text = file.read_text()
        assert tenant.key not in text
        assert wrong not in text

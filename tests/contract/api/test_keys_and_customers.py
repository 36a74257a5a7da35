"""Access keys, tokens and accounts on the real database: from one replica to the other."""

import asyncio
import hashlib
import time
from datetime import datetime, timedelta
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa

from api_manager.app import build_app
from api_manager.domain.principal import PLATFORM_CUSTOMER
from api_manager.main import build_components
from api_manager.tables import accesskey
from evercall.contracts.route import InboundRouteFind
from evercall.service.errors import NotFound
from evercall.store.transaction import transaction
from tests.contract.api.world import Api, Tenant, any_number, make_flow


def other_replica(api: Api) -> Api:
    """Another api_manager on the same database, with a cache of its own."""
    components = build_components(api.settings, api.bus, api.database)
    app = build_app(api.settings, components, "0.0.0")
    return Api(app, api.settings, components, api.bus, api.database)


def reason(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["reason"]


async def accepted_for(client: httpx.AsyncClient, refusal: tuple[int, str]) -> float:
    """Asks until it is refused; returns after how many seconds it was accepted for the last time."""
    began = last = time.monotonic()
    async with asyncio.timeout(20):
        while True:
            asked = time.monotonic()
            answer = await client.get("/v1.0/flows")
            if answer.status_code != 200:
                assert reason(answer) == refusal
                return last - began
            last = asked
            await asyncio.sleep(0.05)


async def test_only_the_hash_of_a_key_is_stored(api: Api, tenant: Tenant) -> None:
    async with transaction(api.database) as connection:
        query = sa.select(accesskey).where(accesskey.c.customer_id == tenant.id)
        row = (await connection.execute(query)).one()
    assert row.token_hash == hashlib.sha256(tenant.key.encode()).digest()
    assert row.token_prefix == tenant.key[:9]
    (shown,) = await tenant.all("/v1.0/accesskeys")
    assert (shown["token"], shown["token_prefix"]) == ("", tenant.key[:9])


async def test_a_revoked_key_is_refused_at_once_here_and_soon_elsewhere(
    api: Api, tenant: Tenant
) -> None:
    made = await tenant.post("/v1.0/accesskeys", {"name": "second"})
    elsewhere = other_replica(api)
    async with api.client(made["token"]) as here, elsewhere.client(made["token"]) as there:
        assert (await here.get("/v1.0/flows")).status_code == 200
        assert (await there.get("/v1.0/flows")).status_code == 200
        token = (await there.post("/auth/token", json={"accesskey": made["token"]})).json()["token"]
        revoked = await tenant.client.delete(f"/v1.0/accesskeys/{made['id']}")
        assert revoked.json()["tm_delete"] is not None
        assert reason(await here.get("/v1.0/flows")) == (401, "INVALID_CREDENTIALS")
        bound = api.settings.accesskey_cache_seconds
        assert await accepted_for(there, (401, "INVALID_CREDENTIALS")) <= bound
    async with elsewhere.client(token) as there:
        assert reason(await there.get("/v1.0/flows")) == (401, "INVALID_CREDENTIALS")


async def test_a_key_expires(api: Api, tenant: Tenant) -> None:
    made = await tenant.post("/v1.0/accesskeys", {"expire": 1})
    lives = datetime.fromisoformat(made["tm_expire"]) - datetime.fromisoformat(made["tm_create"])
    assert lives == timedelta(seconds=1)
    async with api.client(made["token"]) as client:
        bound = 1.0 + api.settings.accesskey_cache_seconds
        assert await accepted_for(client, (401, "INVALID_CREDENTIALS")) <= bound


async def test_the_last_use_of_a_key_is_seen_to_the_minute(tenant: Tenant) -> None:
    (first,) = await tenant.all("/v1.0/accesskeys")
    assert first["tm_last_use"] is not None
    (again,) = await tenant.all("/v1.0/accesskeys")
    assert again["tm_last_use"] == first["tm_last_use"]


async def test_a_frozen_customer_is_refused_everywhere_and_comes_back(
    api: Api, tenant: Tenant
) -> None:
    elsewhere = other_replica(api)
    path = f"/v1.0/customers/{tenant.id}"
    async with api.admin() as admin, elsewhere.client(tenant.key) as there:
        assert (await there.get("/v1.0/flows")).status_code == 200
        assert (await admin.post(f"{path}/freeze")).status_code == 200
        assert reason(await tenant.client.get("/v1.0/accesskeys")) == (403, "ACCOUNT_FROZEN")
        bound = api.settings.accesskey_cache_seconds
        assert await accepted_for(there, (403, "ACCOUNT_FROZEN")) <= bound
        assert (await admin.post(f"{path}/recover")).status_code == 200
    assert (await tenant.client.get("/v1.0/accesskeys")).status_code == 200


async def test_a_deleted_customer_is_gone_and_its_numbers_rest(api: Api, stranger: Tenant) -> None:
    async with api.tenant("short-lived") as tenant, api.admin() as admin:
        number = any_number()
        await tenant.number(number, call_flow_id=await make_flow(tenant))
        taken = await stranger.assign(number)
        assert reason(taken) == (409, "NUMBER_ALREADY_EXISTS")
        assert taken.json()["error"]["status"] == "ALREADY_EXISTS"
        await api.bus.ask("route_manager", InboundRouteFind(number=number))

        assert (await admin.delete(f"/v1.0/customers/{tenant.id}")).status_code == 200
        assert reason(await tenant.client.get("/v1.0/accesskeys")) == (401, "INVALID_CREDENTIALS")
        assert (await admin.get(f"/v1.0/customers/{tenant.id}")).status_code == 404
        with pytest.raises(NotFound, match="route_not_found"):
            await api.bus.ask("route_manager", InboundRouteFind(number=number))
        rests = await stranger.assign(number)
        assert reason(rests) == (409, "NUMBER_RESTING")
        assert int(rests.headers["retry-after"]) > 86_400


async def test_the_administrators_key_belongs_to_the_platforms_customer(api: Api) -> None:
    async with api.admin() as admin:
        own = (await admin.get(f"/v1.0/customers/{PLATFORM_CUSTOMER}")).json()
        assert (own["name"], own["status"]) == ("platform", "active")
        made = (await admin.post("/v1.0/accesskeys", json={"name": "mine"})).json()
        assert UUID(made["customer_id"]) == PLATFORM_CUSTOMER
        async with api.client(made["token"]) as client:
            # A key of the platform's customer is a customer's key: only the configured one is more.
            assert reason(await client.get("/v1.0/customers")) == (403, "PERMISSION_DENIED")
        assert (await admin.delete(f"/v1.0/accesskeys/{made['id']}")).status_code == 200

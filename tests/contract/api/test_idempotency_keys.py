"""`Idempotency-Key` on the real database: duplicates at once, after a crash, after a day."""

import asyncio
import contextlib
from typing import Any
from uuid import uuid4

import httpx
import sqlalchemy as sa

from api_manager.domain.creation import Creation
from api_manager.idempotency import Answer, KeyedRequest
from api_manager.tables import accesskey, idempotency
from evercall.service.errors import Conflict
from evercall.service.identity import new_id
from evercall.store.transaction import transaction
from tests.contract.api.world import Api, Tenant, call_body, make_flow


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


async def change(api: Api, tenant: Tenant, key: str, **values: Any) -> None:
    """What a crash or a day would have left in the table."""
    statement = (
        sa.update(idempotency)
        .where(idempotency.c.customer_id == tenant.id, idempotency.c.key == key)
        .values(values)
    )
    async with transaction(api.database) as connection:
        assert (await connection.execute(statement)).rowcount == 1


PAST = sa.func.now() - sa.text("interval '1 second'")


async def test_duplicates_at_once_are_carried_out_once(tenant: Tenant) -> None:
    flow_id = await make_flow(tenant)
    body = call_body(flow_id, destinations=2)

    async def until_answered() -> httpx.Response:
        while True:
            answer = await tenant.client.post("/v1.0/calls", json=body, headers=keyed("k"))
            if answer.status_code == 200:
                return answer
            assert answer.json()["error"]["reason"] == "IDEMPOTENCY_KEY_IN_USE", answer.text
            await asyncio.sleep(0.01)

    answers = await asyncio.gather(*(until_answered() for _ in range(20)))
    assert len({answer.content for answer in answers}) == 1
    replayed = [answer.headers.get("idempotency-replayed") for answer in answers]
    assert replayed.count(None) == 1
    assert replayed.count("true") == 19
    assert len(await tenant.all("/v1.0/calls")) == 2


async def test_a_replica_that_died_half_way_is_outwaited_and_nothing_is_made_twice(
    api: Api, tenant: Tenant
) -> None:
    flow_id = await make_flow(tenant)
    body = call_body(flow_id, destinations=2)
    first = await tenant.post("/v1.0/calls", body, headers=keyed("k"))
    # It had done its work, but died before it could say so.
    await change(api, tenant, "k", status=None, body=None)
    busy = await tenant.client.post("/v1.0/calls", json=body, headers=keyed("k"))
    assert (busy.status_code, busy.headers["retry-after"]) == (409, "1")

    await change(api, tenant, "k", tm_lock=PAST)
    other = await tenant.client.post(
        "/v1.0/calls", json=body | {"anonymous": "yes"}, headers=keyed("k")
    )
    assert other.json()["error"]["reason"] == "IDEMPOTENCY_KEY_REUSED"
    again = await tenant.post("/v1.0/calls", body, headers=keyed("k"))
    assert [call["id"] for call in again["calls"]] == [call["id"] for call in first["calls"]]
    assert len(await tenant.all("/v1.0/calls")) == 2


async def test_the_same_for_what_other_services_create(api: Api, tenant: Tenant) -> None:
    flow = {"actions": [{"type": "answer"}]}
    first = await tenant.post("/v1.0/flows", flow, headers=keyed("k"))
    await change(api, tenant, "k", status=None, body=None, tm_lock=PAST)
    again = await tenant.post("/v1.0/flows", flow, headers=keyed("k"))
    assert again["id"] == first["id"]
    assert len(await tenant.all("/v1.0/flows")) == 1


async def test_an_access_key_made_again_is_one_key_that_works(api: Api, tenant: Tenant) -> None:
    first = await tenant.post("/v1.0/accesskeys", {"name": "ci"}, headers=keyed("k"))
    await change(api, tenant, "k", status=None, body=None, tm_lock=PAST)
    again = await tenant.post("/v1.0/accesskeys", {"name": "ci"}, headers=keyed("k"))
    assert again["id"] == first["id"]
    async with api.client(again["token"]) as client:
        assert (await client.get("/v1.0/flows")).status_code == 200
    async with api.client(first["token"]) as client:  # nobody ever got this one
        assert (await client.get("/v1.0/flows")).status_code == 401


async def test_no_token_is_kept_anywhere(api: Api, tenant: Tenant) -> None:
    made = await tenant.post("/v1.0/accesskeys", {"name": "ci"}, headers=keyed("k"))
    replayed = await tenant.post("/v1.0/accesskeys", {"name": "ci"}, headers=keyed("k"))
    assert replayed == made | {"token": ""}
    everything = (
        sa.select(sa.func.string_agg(sa.cast(accesskey.table_valued(), sa.Text), "")),
        sa.select(sa.func.string_agg(sa.func.convert_from(idempotency.c.body, "utf8"), "")),
    )
    for query in everything:
        async with transaction(api.database) as connection:
            text = (await connection.execute(query)).scalar_one()
        assert made["token_prefix"] in text
        assert made["token"] not in text


async def test_after_a_day_a_key_is_free_and_swept(api: Api, tenant: Tenant) -> None:
    first = await tenant.post("/v1.0/flows", {"actions": []}, headers=keyed("k"))
    await change(api, tenant, "k", tm_expire=PAST)
    other = await tenant.post("/v1.0/flows", {"actions": [], "name": "b"}, headers=keyed("k"))
    assert other["id"] != first["id"]
    await change(api, tenant, "k", tm_expire=PAST)
    assert await api.components.idempotency.sweep() >= 1
    async with transaction(api.database) as connection:
        query = sa.select(idempotency).where(idempotency.c.customer_id == tenant.id)
        assert (await connection.execute(query)).all() == []


async def test_a_claim_goes_to_one_of_many(api: Api) -> None:
    store = api.components.idempotency
    request = KeyedRequest(new_id(), uuid4().hex, b"fingerprint")

    async def claim() -> Creation | Answer | None:
        with contextlib.suppress(Conflict):
            return await store.claim(request)
        return None

    claims = await asyncio.gather(*(claim() for _ in range(30)))
    assert sum(isinstance(each, Creation) for each in claims) == 1
    assert sum(each is None for each in claims) == 29
    await store.record(request, Answer(200, b"{}"))
    assert await store.claim(request) == Answer(200, b"{}")

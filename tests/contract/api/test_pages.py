"""Pages neither skip nor repeat, whatever is inserted while they are read."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.contract.api.world import (
    Api,
    Tenant,
    call_body,
    make_accesskey,
    make_activeflow,
    make_flow,
    make_number,
)

ROWS = 23
PAGE = 5


async def _calls(_: Api, tenant: Tenant) -> list[str]:
    body = call_body(await make_flow(tenant), destinations=1)
    return [(await tenant.post("/v1.0/calls", body))["calls"][0]["id"] for _ in range(2)]


def _times(make: Callable[[Api, Tenant], Awaitable[str]]) -> Callable[..., Awaitable[list[str]]]:
    async def several(api: Api, tenant: Tenant) -> list[str]:
        return list(await asyncio.gather(*(make(api, tenant) for _ in range(4))))

    return several


MAKERS: dict[str, Callable[[Api, Tenant], Awaitable[list[str]]]] = {
    "accesskeys": _times(lambda _, tenant: make_accesskey(tenant)),
    "flows": _times(lambda _, tenant: make_flow(tenant)),
    "numbers": _times(lambda _, tenant: make_number(tenant)),
    "activeflows": _times(make_activeflow),
    "calls": _calls,
}


@pytest.mark.parametrize("resource", MAKERS)
async def test_pages_under_concurrent_inserts(api: Api, tenant: Tenant, resource: str) -> None:
    make = MAKERS[resource]
    # The tenant's first access key is a row like any other.
    before = [row["id"] for row in await tenant.all(f"/v1.0/{resource}")]
    while len(before) < ROWS:
        before += await make(api, tenant)

    done = asyncio.Event()
    added: list[str] = []

    async def insert() -> None:
        while not done.is_set():
            added.extend(await make(api, tenant))

    inserting = asyncio.create_task(insert())
    while not added:
        await asyncio.sleep(0)
    rows = []
    token = ""
    for _ in range(1000):
        query = {"page_size": str(PAGE), "page_token": token}
        answer = await tenant.client.get(f"/v1.0/{resource}", params=query)
        assert len(answer.json()["result"]) <= PAGE
        rows += answer.json()["result"]
        token = answer.json()["next_page_token"]
        if not token:
            break
    done.set()
    await inserting

    ids = [row["id"] for row in rows]
    assert len(ids) == len(set(ids)), "a row was repeated"
    assert set(before) <= set(ids), "a row was skipped"
    keys = [(row["tm_create"], row["id"]) for row in rows]
    assert keys == sorted(keys, reverse=True), "newest first"
    everything = {row["id"] for row in await tenant.all(f"/v1.0/{resource}")}
    assert set(before) | set(added) == everything


async def test_the_last_page_has_no_next(tenant: Tenant) -> None:
    for _ in range(4):
        await make_number(tenant)
    answer = await tenant.client.get("/v1.0/numbers?page_size=4")
    assert (len(answer.json()["result"]), answer.json()["next_page_token"]) == (4, "")


@pytest.mark.parametrize("resource", MAKERS)
@pytest.mark.parametrize("token", ["x", "AAAA", "é", "2026-01-01T00:00:00Z"])
async def test_a_token_of_our_own_invention(tenant: Tenant, resource: str, token: str) -> None:
    answer = await tenant.client.get(f"/v1.0/{resource}", params={"page_token": token})
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (400, "INVALID_REQUEST_PARAMETER")
    assert error["details"][0]["field"] == "page_token"


async def test_another_customers_token_shows_nothing_of_that_customer(
    tenant: Tenant, stranger: Tenant
) -> None:
    for _ in range(2):
        await make_number(tenant)
    own = await make_number(stranger)
    token = (await tenant.client.get("/v1.0/numbers?page_size=1")).json()["next_page_token"]
    answer = await stranger.client.get("/v1.0/numbers", params={"page_token": token})
    assert {row["id"] for row in answer.json()["result"]} <= {own}

"""Who gets in, in which order they are asked, and how a key is looked up."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest

from api_manager.resources import CustomerStatus
from evercall.contracts.base import Page
from evercall.contracts.call import CallList
from tests.unit.api_manager.world import ADMIN_KEY, CUSTOMER_KEY, World

EMPTY: Callable[[Any], Any] = lambda _: Page(result=[])  # noqa: E731


def reason(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["reason"]


@pytest.fixture
def world() -> World:
    world = World()
    world.bus.answers[CallList] = EMPTY
    return world


async def test_nobody_gets_in_without_credentials(world: World) -> None:
    async with world.client(None) as client:
        answer = await client.get("/v1.0/calls")
        assert reason(answer) == (401, "AUTHENTICATION_REQUIRED")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert reason(await client.get("/v1.0/nothing")) == (401, "AUTHENTICATION_REQUIRED")


@pytest.mark.parametrize("key", ["ec_unknown", "a.b.c", "nonsense"])
async def test_credentials_that_do_not_hold(world: World, key: str) -> None:
    async with world.client(key) as client:
        assert reason(await client.get("/v1.0/calls")) == (401, "INVALID_CREDENTIALS")


async def test_a_key_gets_in_by_header_and_by_query(world: World) -> None:
    async with world.client() as client:
        assert (await client.get("/v1.0/calls")).status_code == 200
    async with world.client(None) as client:
        for name in ("accesskey", "token"):
            answer = await client.get("/v1.0/calls", params={name: CUSTOMER_KEY})
            assert answer.status_code == 200
    assert {request.customer_id for request in world.bus.requests(CallList)} == {world.customer_id}


async def test_a_cookie_gets_in_for_reading_only(world: World) -> None:
    async with world.client(None, cookies={"accesskey": CUSTOMER_KEY}) as client:
        assert (await client.get("/v1.0/calls")).status_code == 200
        assert reason(await client.post("/v1.0/flows", json={})) == (401, "AUTHENTICATION_REQUIRED")


async def test_a_token_stands_for_its_key_and_ends_with_it(world: World) -> None:
    async with world.client(None) as client:
        answer = await client.post("/auth/token", json={"accesskey": CUSTOMER_KEY})
    token = answer.json()["token"]
    async with world.client(token) as client:
        assert (await client.get("/v1.0/calls")).status_code == 200
        world.accesskeys.rows.clear()
        world.clock.seconds += 2.0
        assert reason(await client.get("/v1.0/calls")) == (401, "INVALID_CREDENTIALS")


async def test_a_token_expires(world: World) -> None:
    async with world.client(None) as client:
        answer = await client.post("/auth/token", json={"accesskey": CUSTOMER_KEY})
    async with world.client(answer.json()["token"]) as client:
        world.clock.seconds += 899
        assert (await client.get("/v1.0/calls")).status_code == 200
        world.clock.seconds += 2
        assert reason(await client.get("/v1.0/calls")) == (401, "INVALID_CREDENTIALS")


async def test_a_token_cannot_be_exchanged_for_another(world: World) -> None:
    async with world.client(None) as client:
        first = await client.post("/auth/token", json={"accesskey": CUSTOMER_KEY})
        again = await client.post("/auth/token", json={"accesskey": first.json()["token"]})
        assert reason(again) == (401, "INVALID_CREDENTIALS")


async def test_the_administrators_token_is_the_administrator(world: World) -> None:
    async with world.client(None) as client:
        answer = await client.post("/auth/token", json={"accesskey": ADMIN_KEY})
    async with world.client(answer.json()["token"]) as client:
        assert (await client.get("/v1.0/customers")).status_code == 200


async def test_a_burst_is_one_query_and_a_revoked_key_lasts_no_longer_than_the_cache(
    world: World,
) -> None:
    async with world.client() as client:
        for _ in range(10):
            assert (await client.get("/v1.0/calls")).status_code == 200
        assert world.accesskeys.looked_up == 1
        world.accesskeys.rows.clear()  # revoked by another replica
        world.clock.seconds += 1.9
        assert (await client.get("/v1.0/calls")).status_code == 200
        world.clock.seconds += 0.2
        assert reason(await client.get("/v1.0/calls")) == (401, "INVALID_CREDENTIALS")


async def test_a_key_revoked_here_is_refused_at_once(
    world: World, client: httpx.AsyncClient
) -> None:
    (key_id,) = world.accesskeys.rows
    assert (await client.delete(f"/v1.0/accesskeys/{key_id}")).status_code == 200
    assert reason(await client.get("/v1.0/calls")) == (401, "INVALID_CREDENTIALS")


async def test_a_frozen_customer_is_refused_at_once_and_comes_back(
    world: World, client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    assert (await client.get("/v1.0/calls")).status_code == 200
    path = f"/v1.0/customers/{world.customer_id}"
    assert (await admin.post(f"{path}/freeze")).json()["status"] == "frozen"
    assert reason(await client.get("/v1.0/calls")) == (403, "ACCOUNT_FROZEN")
    assert (await admin.post(f"{path}/recover")).json()["status"] == "active"
    assert (await client.get("/v1.0/calls")).status_code == 200


async def test_a_customer_has_a_limit_of_its_own() -> None:
    world = World(customer_rate=1.0, customer_burst=2.0)
    world.bus.answers[CallList] = EMPTY
    async with world.client() as client, world.client(ADMIN_KEY) as admin:
        answers = [await client.get("/v1.0/calls") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        error = answers[2].json()["error"]
        assert (error["status"], error["reason"]) == ("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED")
        assert error["details"][0]["limited_by"] == "customer"
        assert answers[2].headers["retry-after"] == "1"
        assert (await admin.get("/v1.0/calls")).status_code == 200


async def test_a_customer_has_so_many_requests_under_way_and_others_go_on() -> None:
    world = World(customer_requests=2)
    go = asyncio.Event()
    answer = world.bus.ask

    async def wait(service: str, request: Any, **options: Any) -> Any:
        await go.wait()
        return await answer(service, request, **options)

    world.bus.answers[CallList] = EMPTY
    async with world.client() as client, world.client(ADMIN_KEY) as admin:
        world.bus.ask = wait  # type: ignore[method-assign]
        slow = [asyncio.create_task(client.get("/v1.0/calls")) for _ in range(2)]
        while (refused := await client.get("/v1.0/accesskeys")).status_code != 429:
            await asyncio.sleep(0)
        assert refused.json()["error"]["details"][0]["limited_by"] == "customer_at_once"
        assert refused.headers["retry-after"] == "1"
        assert (await admin.get("/v1.0/customers")).status_code == 200
        go.set()
        assert [each.status_code for each in await asyncio.gather(*slow)] == [200, 200]
        assert (await client.get("/v1.0/calls")).status_code == 200


async def test_an_address_has_a_limit_before_its_credentials_are_looked_at() -> None:
    world = World(address_rate=1.0, address_burst=2.0)
    async with world.client("ec_unknown") as client:
        answers = [await client.get("/v1.0/calls") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert answers[2].json()["error"]["details"][0]["limited_by"] == "address"
    assert world.accesskeys.looked_up == 2


async def test_exchanging_keys_has_a_stricter_limit() -> None:
    world = World(auth_rate=1.0, auth_burst=1.0)
    world.bus.answers[CallList] = EMPTY
    async with world.client() as client:
        body = {"accesskey": "ec_guess"}
        answers = [await client.post("/auth/token", json=body) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [401, 429]
        assert (await client.get("/v1.0/calls")).status_code == 200


async def test_a_forwarded_address_counts_only_from_a_trusted_proxy() -> None:
    for trusted, statuses in (("", [401, 429]), ("192.0.2.0/24", [401, 401])):
        world = World(address_rate=1.0, address_burst=1.0, trusted_proxies=trusted)
        async with world.client(None) as client:
            answers = [
                await client.get("/v1.0/calls", headers={"X-Forwarded-For": f"203.0.113.{host}"})
                for host in (1, 2)
            ]
        assert [answer.status_code for answer in answers] == statuses


async def test_the_limit_of_a_frozen_customer_comes_before_the_look_at_its_account() -> None:
    world = World(customer_rate=1.0, customer_burst=1.0)
    customer = world.customers.rows[world.customer_id]
    frozen = msgspec.structs.replace(customer, status=CustomerStatus.FROZEN)
    world.customers.rows[world.customer_id] = frozen
    async with world.client() as client:
        answers = [await client.get("/v1.0/calls") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [403, 429]


async def test_a_request_id_of_the_client_is_used_where_it_is_one(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/v1.0/calls", headers={"X-Request-Id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    for bad in ("x" * 65, "a b", "a\tb", ""):
        answer = await client.get("/v1.0/calls", headers={"X-Request-Id": bad})
        assert answer.headers["x-request-id"] not in (bad, "")


async def test_browsers_elsewhere_are_let_in_only_where_it_is_set(world: World) -> None:
    origin = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    async with world.client(None) as client:
        answer = await client.options("/v1.0/calls", headers=origin)
        assert "access-control-allow-origin" not in answer.headers
    open_world = World(cors_origins="https://app.example")
    async with open_world.client(None) as client:
        answer = await client.options("/v1.0/calls", headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"


async def test_a_websocket_is_refused(world: World) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await world.app({"type": "websocket", "path": "/v1.0/ws", "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]

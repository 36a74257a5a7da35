"""What stands between a customer and the calls that it asks for."""

import asyncio
from typing import Any

import httpx
import pytest

from api_manager import calling
from evercall.contracts.call import CallCreate, CallsAdmit
from evercall.contracts.flow import FlowCreate
from evercall.contracts.route import Number, NumberFind
from evercall.service.errors import NotFound
from evercall.service.identity import new_id
from evercall.service.quotas import quota_exceeded
from tests.unit.api_manager import resources
from tests.unit.api_manager.world import NOW, World

NUMBER = "+4930123456"


@pytest.fixture
def world() -> World:
    world = World()
    world.bus.answers |= {FlowCreate: resources.flow, CallCreate: resources.call}
    return world


def body(source: str = "sip:acme@evercall.test", *targets: str) -> dict[str, Any]:
    kind = "tel" if source.startswith("+") else "sip"
    return {
        "source": {"type": kind, "target": source},
        "destinations": [
            {"type": "sip", "target": target} for target in targets or ("a@192.0.2.1",)
        ],
        "actions": [{"type": "answer"}],
    }


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["reason"]


async def test_a_number_of_the_customers_own_may_be_the_source(
    world: World, client: httpx.AsyncClient
) -> None:
    def find(request: NumberFind) -> Number:
        if (request.customer_id, request.number) != (world.customer_id, NUMBER):
            raise NotFound("number_not_found", "")
        return Number(
            id=new_id(),
            customer_id=world.customer_id,
            number=NUMBER,
            tm_create=NOW,
            tm_update=NOW,
        )

    world.bus.answers[NumberFind] = find
    assert (await client.post("/v1.0/calls", json=body(NUMBER))).status_code == 200
    sip = f"sip:{NUMBER}@evercall.test"
    assert (await client.post("/v1.0/calls", json=body(sip))).status_code == 200
    refused = await client.post("/v1.0/calls", json=body("+4930999999"))
    assert error_of(refused) == (403, "SOURCE_NOT_ALLOWED")
    assert refused.json()["error"]["details"][0]["field"] == "source.target"
    assert len(world.bus.requests(CallCreate)) == 2


async def test_the_administrator_verifies_sources(
    world: World, client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    mine = body("sip:desk@acme.example")
    assert error_of(await client.post("/v1.0/calls", json=mine)) == (403, "SOURCE_NOT_ALLOWED")
    path = f"/v1.0/customers/{world.customer_id}/policy"
    shown = await admin.put(path, json={"sources": ["ACME.example"]})
    assert shown.json()["policy"]["sources"] == ["acme.example"]
    assert (await client.post("/v1.0/calls", json=mine)).status_code == 200


async def test_every_destination_that_must_not_be_called_is_named(
    world: World, client: httpx.AsyncClient
) -> None:
    world.names.addresses["trap.example.com"] = ["8.8.8.8", "10.0.0.1"]
    targets = ("a@192.0.2.1", "x@169.254.169.254:80;transport=tcp", "x@trap.example.com")
    refused = await client.post("/v1.0/calls", json=body("sip:a@evercall.test", *targets))
    assert error_of(refused) == (400, "DESTINATION_NOT_ALLOWED")
    fields = [detail["field"] for detail in refused.json()["error"]["details"]]
    assert fields == ["destinations[1].target", "destinations[2].target"]
    assert world.bus.requests(CallCreate) == []
    assert world.bus.requests(FlowCreate) == []


async def test_slow_names_of_a_customer_do_not_take_all_threads(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, waiting = asyncio.Event(), 0

    async def slow(_: str) -> list[str]:
        nonlocal waiting
        waiting += 1
        await go.wait()
        return []

    world.components.calling._resolve = slow
    named = body("sip:a@evercall.test", *[f"x@{name}.example.com" for name in "abc"])
    asked = [asyncio.create_task(client.post("/v1.0/calls", json=named)) for _ in range(2)]
    async with asyncio.timeout(5):
        while waiting < 2:
            await asyncio.sleep(0)
    refused = await client.post("/v1.0/calls", json=named)
    assert error_of(refused) == (429, "RATE_LIMIT_EXCEEDED")
    assert (await client.post("/v1.0/calls", json=body())).status_code == 200
    go.set()
    assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200, 200]
    # One that is given up counts until it ends: its thread is still taken.
    go.clear()
    monkeypatch.setattr(calling, "RESOLVE_SECONDS", 0.001)
    one = body("sip:a@evercall.test", "x@a.example.com")
    statuses = [(await client.post("/v1.0/calls", json=one)).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    go.set()


async def test_a_customers_own_rules(
    world: World, client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    path = f"/v1.0/customers/{world.customer_id}/policy"
    rules = {"allow": ["10.9.0.0/16"], "deny": ["192.0.2.1"]}
    assert (await admin.put(path, json={"destinations": rules})).status_code == 200
    reached = await client.post("/v1.0/calls", json=body("sip:a@evercall.test", "a@10.9.1.1"))
    assert reached.status_code == 200
    denied = await client.post("/v1.0/calls", json=body())
    assert error_of(denied) == (400, "DESTINATION_NOT_ALLOWED")
    faulty = await admin.put(path, json={"destinations": {"allow": ["10.9.0.1/16", "x!"]}})
    fields = [detail["field"] for detail in faulty.json()["error"]["details"]]
    assert fields == ["destinations.allow[0]", "destinations.allow[1]"]


async def test_all_calls_of_a_request_are_admitted_together_before_any_exists(
    world: World, client: httpx.AsyncClient
) -> None:
    targets = ["a@192.0.2.1", "b@192.0.2.1", "c@192.0.2.1"]
    placed = await client.post("/v1.0/calls", json=body("sip:a@evercall.test", *targets))
    (request,) = world.bus.requests(CallsAdmit)
    assert request.customer_id == world.customer_id
    assert [str(each) for each in request.call_ids] == [
        call["id"] for call in placed.json()["calls"]
    ]

    def full(_: CallsAdmit) -> Any:
        raise quota_exceeded("concurrent_calls", 10, retry_after=2.2)

    world.bus.answers[CallsAdmit] = full
    refused = await client.post("/v1.0/calls", json=body())
    assert error_of(refused) == (429, "QUOTA_EXCEEDED")
    detail = refused.json()["error"]["details"][0]
    assert (detail["quota"], detail["limit"]) == ("concurrent_calls", 10)
    assert refused.headers["retry-after"] == "3"
    assert len(world.bus.requests(CallCreate)) == 3


async def test_destinations_of_one_request(
    world: World, client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    path = f"/v1.0/customers/{world.customer_id}/quotas"
    shown = await admin.put(path, json={"destinations_per_request": 1})
    assert shown.json()["quotas"]["destinations_per_request"] == 1
    assert shown.json()["quotas"]["concurrent_calls"] == 500
    two = body("sip:a@evercall.test", "a@192.0.2.1", "b@192.0.2.1")
    refused = await client.post("/v1.0/calls", json=two)
    assert error_of(refused) == (429, "QUOTA_EXCEEDED")
    assert refused.json()["error"]["details"][0]["quota"] == "destinations_per_request"


async def test_numbers_are_assigned_by_the_administrator_alone(
    world: World, client: httpx.AsyncClient
) -> None:
    refused = await client.post("/v1.0/numbers", json={"number": NUMBER})
    assert error_of(refused) == (403, "PERMISSION_DENIED")
    assert world.bus.asked == []


async def test_quotas_and_policy_are_the_administrators(
    world: World, client: httpx.AsyncClient
) -> None:
    for part in ("quotas", "policy"):
        path = f"/v1.0/customers/{world.customer_id}/{part}"
        assert error_of(await client.put(path, json={})) == (403, "PERMISSION_DENIED")

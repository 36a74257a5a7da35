"""Which request each operation makes, of whom, and for which customer."""

from typing import Any

import httpx
import pytest

from api_manager.domain.principal import PLATFORM_CUSTOMER
from evercall.contracts.base import Address, AddressType, Page
from evercall.contracts.call import CallCreate, CallDelete, CallGet, CallHangup, CallList
from evercall.contracts.flow import (
    ActiveflowDelete,
    ActiveflowGet,
    ActiveflowList,
    ActiveflowStop,
    FlowCreate,
    FlowDelete,
    FlowGet,
    FlowList,
    FlowUpdate,
)
from evercall.contracts.route import (
    NumberCreate,
    NumberDelete,
    NumberGet,
    NumberList,
    NumberUpdate,
)
from evercall.service.errors import NotFound
from evercall.service.identity import new_id
from tests.unit.api_manager import resources
from tests.unit.api_manager.world import ADMIN_KEY, World

ID = new_id()
FLOW = new_id()
CALLS: dict[str, Any] = {
    "source": {"type": "sip", "target": "sip:acme@evercall.test", "target_name": "ACME"},
    "destinations": [{"type": "sip", "target": "alice@192.0.2.10"}],
}

OPERATIONS: list[tuple[str, str, Any, str, type, bool]] = [
    ("GET", "/v1.0/flows", None, "flow_manager", FlowList, False),
    ("POST", "/v1.0/flows", {"actions": []}, "flow_manager", FlowCreate, False),
    ("GET", f"/v1.0/flows/{ID}", None, "flow_manager", FlowGet, False),
    ("PUT", f"/v1.0/flows/{ID}", {"actions": []}, "flow_manager", FlowUpdate, False),
    ("DELETE", f"/v1.0/flows/{ID}", None, "flow_manager", FlowDelete, False),
    ("GET", "/v1.0/numbers", None, "route_manager", NumberList, False),
    ("GET", f"/v1.0/numbers/{ID}", None, "route_manager", NumberGet, False),
    ("PUT", f"/v1.0/numbers/{ID}", {"name": "x"}, "route_manager", NumberUpdate, False),
    ("DELETE", f"/v1.0/numbers/{ID}", None, "route_manager", NumberDelete, False),
    ("GET", "/v1.0/calls", None, "call_manager", CallList, False),
    ("GET", f"/v1.0/calls/{ID}", None, "call_manager", CallGet, False),
    ("POST", f"/v1.0/calls/{ID}/hangup", None, "call_manager", CallHangup, True),
    ("DELETE", f"/v1.0/calls/{ID}", None, "call_manager", CallDelete, True),
    ("GET", "/v1.0/activeflows", None, "flow_manager", ActiveflowList, False),
    ("GET", f"/v1.0/activeflows/{ID}", None, "flow_manager", ActiveflowGet, False),
    ("POST", f"/v1.0/activeflows/{ID}/stop", None, "flow_manager", ActiveflowStop, True),
    ("DELETE", f"/v1.0/activeflows/{ID}", None, "flow_manager", ActiveflowDelete, True),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "service", "kind", "to_actor"), OPERATIONS)
@pytest.mark.parametrize("as_admin", [False, True])
async def test_requests(
    world: World,
    method: str,
    path: str,
    body: Any,
    service: str,
    kind: type,
    to_actor: bool,
    as_admin: bool,
) -> None:
    world.bus.answers[kind] = lambda _: Page(result=[], next_page_token="")
    query = {"customer_id": str(world.customer_id)} if as_admin else {}
    async with world.client(ADMIN_KEY) if as_admin else world.client() as client:
        answer = await client.request(method, path, json=body, params=query)
    assert answer.status_code == 200, answer.text
    ((asked_service, request, actor),) = world.bus.asked
    assert (asked_service, type(request)) == (service, kind)
    assert request.customer_id == world.customer_id
    assert actor == (ID if to_actor else None)
    if str(ID) in path:
        assert request.id == ID


async def test_pages_are_passed_on(world: World, client: httpx.AsyncClient) -> None:
    world.bus.answers[CallList] = lambda _: Page(result=[], next_page_token="next")
    answer = await client.get("/v1.0/calls?page_size=100&page_token=abc")
    assert answer.json() == {"result": [], "next_page_token": "next"}
    await client.get("/v1.0/calls")
    first, second = world.bus.requests(CallList)
    assert (first.page_size, first.page_token) == (100, "abc")
    assert (second.page_size, second.page_token) == (20, "")


async def test_calls_with_a_flow(world: World, client: httpx.AsyncClient) -> None:
    world.bus.answers |= {FlowGet: resources.flow, CallCreate: resources.call}
    body = CALLS | {
        "flow_id": str(FLOW),
        "actions": [{"type": "ignored"}],
        "anonymous": "yes",
        "variables": {"who": "Alice"},
    }
    answer = await client.post("/v1.0/calls", json=body)
    assert answer.status_code == 200
    (request,) = world.bus.requests(CallCreate)
    assert world.bus.requests(FlowCreate) == []
    assert request == CallCreate(
        id=request.id,
        customer_id=world.customer_id,
        flow_id=FLOW,
        source=Address(type=AddressType.SIP, target="sip:acme@evercall.test", target_name="ACME"),
        destination=Address(type=AddressType.SIP, target="sip:alice@192.0.2.10"),
        anonymous="yes",
        variables={"who": "Alice"},
    )
    assert answer.json()["groupcalls"] == []
    assert [call["id"] for call in answer.json()["calls"]] == [str(request.id)]
    assert world.bus.asked[-1][2] == request.id


async def test_calls_with_actions_run_a_hidden_flow(
    world: World, client: httpx.AsyncClient
) -> None:
    world.bus.answers |= {FlowCreate: resources.flow, CallCreate: resources.call}
    await client.post("/v1.0/calls", json=CALLS | {"actions": [{"type": "answer"}]})
    (flow,) = world.bus.requests(FlowCreate)
    assert (flow.hidden, flow.actions, flow.customer_id) == (
        True,
        [{"type": "answer"}],
        world.customer_id,
    )
    assert world.bus.requests(CallCreate)[0].flow_id == flow.id


async def test_the_calls_of_a_request_spread_over_the_shards(
    world: World, client: httpx.AsyncClient
) -> None:
    world.bus.answers |= {FlowCreate: resources.flow, CallCreate: resources.call}
    body = CALLS | {"actions": [], "destinations": CALLS["destinations"] * 20}
    await client.post("/v1.0/calls", json=body)
    affinities = {request.id.int & 0xFFFF for request in world.bus.requests(CallCreate)}
    assert len(affinities) > 10


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1.0/calls", CALLS | {"flow_id": str(FLOW)}),
        ("PUT", f"/v1.0/numbers/{ID}", {"call_flow_id": str(FLOW)}),
        ("POST", "/v1.0/flows", {"actions": [], "on_complete_flow_id": str(FLOW)}),
        ("PUT", f"/v1.0/flows/{ID}", {"actions": [], "on_complete_flow_id": str(FLOW)}),
    ],
)
async def test_a_flow_that_is_referred_to_must_be_the_customers_own(
    world: World, client: httpx.AsyncClient, method: str, path: str, body: Any
) -> None:
    def unknown(request: FlowGet) -> Any:
        assert (request.id, request.customer_id) == (FLOW, world.customer_id)
        raise NotFound("flow_not_found", "There is no such flow")

    world.bus.answers[FlowGet] = unknown
    answer = await client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "FLOW_NOT_FOUND")
    assert len(world.bus.asked) == 1


async def test_a_customer_does_not_act_for_another(world: World, client: httpx.AsyncClient) -> None:
    for other in (new_id(), PLATFORM_CUSTOMER):
        answer = await client.get("/v1.0/flows", params={"customer_id": str(other)})
        assert (answer.status_code, answer.json()["error"]["reason"]) == (403, "PERMISSION_DENIED")
    own = {"customer_id": str(world.customer_id)}
    world.bus.answers[FlowList] = lambda _: Page(result=[])
    assert (await client.get("/v1.0/flows", params=own)).status_code == 200
    assert len(world.bus.asked) == 1


async def test_the_administrator_acts_for_customers_that_there_are(
    admin: httpx.AsyncClient,
) -> None:
    answer = await admin.get("/v1.0/flows", params={"customer_id": str(new_id())})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "CUSTOMER_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1.0/customers"),
        ("POST", "/v1.0/customers"),
        ("GET", f"/v1.0/customers/{ID}"),
        ("PUT", f"/v1.0/customers/{ID}"),
        ("DELETE", f"/v1.0/customers/{ID}"),
        ("POST", f"/v1.0/customers/{ID}/freeze"),
        ("POST", f"/v1.0/customers/{ID}/recover"),
    ],
)
async def test_customers_are_for_the_administrator(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    body = {"name": "x"} if method in ("POST", "PUT") else None
    answer = await client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (403, "PERMISSION_DENIED")


async def test_a_customer_is_created_changed_and_deleted_with_its_numbers(
    world: World, admin: httpx.AsyncClient
) -> None:
    made = (await admin.post("/v1.0/customers", json={"name": "ACME"})).json()
    path = f"/v1.0/customers/{made['id']}"
    assert (await admin.get(path)).json() == made
    changed = await admin.put(path, json={"name": "ACME 2", "email": "ops@acme.example"})
    assert (changed.json()["name"], changed.json()["email"]) == ("ACME 2", "ops@acme.example")

    number = resources.number(NumberCreate(id=new_id(), customer_id=new_id(), number="+4930123456"))
    numbers = [number]
    world.bus.answers[NumberList] = lambda _: Page(result=list(numbers))
    world.bus.answers[NumberDelete] = lambda _: numbers.pop()
    deleted = await admin.delete(path)
    assert deleted.status_code == 200
    assert numbers == []
    assert (await admin.get(path)).json()["error"]["reason"] == "CUSTOMER_NOT_FOUND"
    assert (await admin.delete(path)).status_code == 404


async def test_a_customer_whose_numbers_cannot_be_given_up_is_frozen_and_stays(
    world: World, admin: httpx.AsyncClient
) -> None:
    answer = await admin.delete(f"/v1.0/customers/{world.customer_id}")
    assert answer.status_code == 503
    assert world.customers.rows[world.customer_id].status == "frozen"


@pytest.mark.parametrize("action", ["DELETE ", "POST /freeze", "POST /recover"])
async def test_the_platforms_own_customer_stays(admin: httpx.AsyncClient, action: str) -> None:
    method, _, suffix = action.partition(" ")
    answer = await admin.request(method, f"/v1.0/customers/{PLATFORM_CUSTOMER}{suffix}")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "STATE_INVALID")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_an_access_key_of_somebody_else_is_not_there(
    world: World, admin: httpx.AsyncClient, method: str
) -> None:
    (key_id,) = world.accesskeys.rows
    body = {"name": "mine"} if method == "PUT" else None
    answer = await admin.request(method, f"/v1.0/accesskeys/{key_id}", json=body)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "ACCESSKEY_NOT_FOUND")

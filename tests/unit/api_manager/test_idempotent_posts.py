"""A POST that is said again is not done again."""

import asyncio
from typing import Any

import httpx
import pytest

from api_manager.idempotency import fingerprint
from evercall.contracts.call import CallCreate
from evercall.contracts.flow import FlowCreate, FlowGet
from evercall.service.errors import DeadlineExceeded, NotFound
from evercall.service.identity import new_id
from tests.unit.api_manager import resources
from tests.unit.api_manager.world import World

KEY = {"Idempotency-Key": "once"}
FLOW: dict[str, Any] = {"actions": []}


@pytest.fixture
def world() -> World:
    world = World()
    world.bus.answers |= {
        FlowCreate: resources.flow,
        FlowGet: resources.flow,
        CallCreate: resources.call,
    }
    return world


async def test_the_first_answer_is_given_again(world: World, client: httpx.AsyncClient) -> None:
    first = await client.post("/v1.0/flows", json=FLOW, headers=KEY)
    again = await client.post("/v1.0/flows", json=FLOW, headers=KEY)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.content == again.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == "application/json"
    assert len(world.bus.requests(FlowCreate)) == 1


async def test_without_a_key_each_is_a_request_of_its_own(
    world: World, client: httpx.AsyncClient
) -> None:
    for _ in range(2):
        await client.post("/v1.0/flows", json=FLOW)
    first, second = world.bus.requests(FlowCreate)
    assert first.id != second.id


@pytest.mark.parametrize(
    ("path", "body", "query"),
    [
        ("/v1.0/flows", {"actions": [{"type": "answer"}]}, ""),
        ("/v1.0/accesskeys", {"name": "x"}, ""),
    ],
)
async def test_a_key_belongs_to_one_request(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], query: str
) -> None:
    await client.post("/v1.0/flows", json=FLOW, headers=KEY)
    other = await client.post(path + query, json=body, headers=KEY)
    assert (other.status_code, other.json()["error"]["reason"]) == (409, "IDEMPOTENCY_KEY_REUSED")


def test_all_that_makes_a_request_tells_it_from_others() -> None:
    one, other = new_id(), new_id()
    prints = {
        fingerprint("POST", "/a", one, b"body"),
        fingerprint("PUT", "/a", one, b"body"),
        fingerprint("POST", "/ab", one, b"ody"),
        fingerprint("POST", "/a", other, b"body"),
        fingerprint("POST", "/a", one, b"body "),
    }
    assert len(prints) == 5


async def test_customers_do_not_share_keys(
    world: World, client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    await client.post("/v1.0/flows", json=FLOW, headers=KEY)
    other = await admin.post("/v1.0/flows", json=FLOW, headers=KEY)
    assert "idempotency-replayed" not in other.headers
    assert len(world.bus.requests(FlowCreate)) == 2


async def test_two_at_once_are_carried_out_once(world: World) -> None:
    started, go = asyncio.Event(), asyncio.Event()
    answer = world.bus.ask

    async def wait(service: str, request: Any, **options: Any) -> Any:
        started.set()
        await go.wait()
        return await answer(service, request, **options)

    world.bus.ask = wait  # type: ignore[method-assign]
    async with world.client() as client:
        first = asyncio.create_task(client.post("/v1.0/flows", json=FLOW, headers=KEY))
        await started.wait()
        second = await client.post("/v1.0/flows", json=FLOW, headers=KEY)
        go.set()
        assert (await first).status_code == 200
    assert (second.status_code, second.json()["error"]["reason"]) == (409, "IDEMPOTENCY_KEY_IN_USE")
    assert second.headers["retry-after"] == "1"


async def test_after_a_failure_the_same_things_get_the_same_ids(
    world: World, client: httpx.AsyncClient
) -> None:
    """A time-out leaves open whether it was done: the next try must name the same call."""
    body = {
        "source": {"type": "sip", "target": "sip:acme@evercall.test"},
        "destinations": [
            {"type": "sip", "target": "sip:a@example.com"},
            {"type": "sip", "target": "sip:c@example.com"},
        ],
        "actions": [{"type": "answer"}],
    }
    placed = 0

    def second_fails(request: CallCreate) -> Any:
        nonlocal placed
        placed += 1
        if placed == 2:
            raise DeadlineExceeded("request_timeout", "No answer in time")
        return resources.call(request)

    world.bus.answers[CallCreate] = second_fails
    failed = await client.post("/v1.0/calls", json=body, headers=KEY)
    assert (failed.status_code, failed.json()["error"]["reason"]) == (504, "REQUEST_TIMEOUT")
    first_id = str(world.bus.requests(CallCreate)[0].id)
    assert failed.json()["error"]["details"] == [{"created_call_ids": [first_id]}]

    done = await client.post("/v1.0/calls", json=body, headers=KEY)
    assert done.status_code == 200
    asked = [request.id for request in world.bus.requests(CallCreate)]
    assert asked[:2] == asked[2:]
    assert len(set(asked)) == 2
    flows = world.bus.requests(FlowCreate)
    assert flows[0].id == flows[1].id
    assert [call["id"] for call in done.json()["calls"]] == [str(each) for each in asked[2:]]


async def test_a_refusal_is_not_kept(world: World, client: httpx.AsyncClient) -> None:
    def unknown(_: FlowGet) -> Any:
        raise NotFound("flow_not_found", "There is no such flow")

    body = FLOW | {"on_complete_flow_id": str(new_id())}
    world.bus.answers[FlowGet] = unknown
    refused = await client.post("/v1.0/flows", json=body, headers=KEY)
    assert refused.status_code == 404
    world.bus.answers[FlowGet] = resources.flow
    done = await client.post("/v1.0/flows", json=body, headers=KEY)
    assert done.status_code == 200
    assert "idempotency-replayed" not in done.headers


async def test_a_repeated_answer_does_not_show_an_access_key(
    world: World, client: httpx.AsyncClient
) -> None:
    first = await client.post("/v1.0/accesskeys", json={"name": "ci"}, headers=KEY)
    again = await client.post("/v1.0/accesskeys", json={"name": "ci"}, headers=KEY)
    token = first.json()["token"]
    assert token.startswith("ec_")
    assert len(token) == 3 + 43  # 256 bits
    assert again.json() == first.json() | {"token": ""}
    kept = [state for _, _, state in world.idempotency.rows.values()]
    assert token.encode() not in b"".join(answer.body for answer in kept)  # type: ignore[union-attr]


async def test_a_request_that_takes_too_long_is_given_up_and_may_be_said_again() -> None:
    world = World(request_seconds=0.05)
    world.bus.answers[FlowCreate] = resources.flow
    answer = world.bus.ask

    async def hang(*_: Any, **__: Any) -> Any:
        await asyncio.sleep(5)

    async with world.client() as client:
        world.bus.ask = hang  # type: ignore[method-assign]
        late = await client.post("/v1.0/flows", json=FLOW, headers=KEY)
        assert (late.status_code, late.json()["error"]["reason"]) == (504, "REQUEST_TIMEOUT")
        world.bus.ask = answer  # type: ignore[method-assign]
        done = await client.post("/v1.0/flows", json=FLOW, headers=KEY)
        assert done.status_code == 200

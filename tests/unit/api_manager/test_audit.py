"""The audit log: every change is written before it is made, and refusals are counted."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest

from api_manager.app import ROUTERS, build_routes
from api_manager.audit.entry import Attempt, Result, result_of
from api_manager.audit.trail import LOST, MAX_WAITING, AuditTrail
from api_manager.documentation.examples import EXAMPLES
from api_manager.documentation.openapi import build_document
from api_manager.domain.principal import PLATFORM_CUSTOMER
from api_manager.domain.refusals import MAX_CALLERS, Refusal, Refusals
from api_manager.resources import AuditActor, CustomerStatus
from evercall.contracts.base import Page
from evercall.contracts.call import CallCreate, CallHangup, CallList
from evercall.contracts.flow import FlowCreate, FlowDelete, FlowGet
from evercall.service.errors import Conflict, Unauthorized, Unavailable
from evercall.service.identity import new_id
from tests.unit.api_manager import resources
from tests.unit.api_manager.test_access import Door, token_of
from tests.unit.api_manager.world import ADMIN_KEY, CUSTOMER_KEY, World

CHANGES = sorted(
    (method, route.path)  # type: ignore[attr-defined]
    for router in ROUTERS
    for route in router.routes
    for method in route.methods  # type: ignore[attr-defined]
    if route.path.startswith("/v1.0/") and method != "GET"  # type: ignore[attr-defined]
)
DOCUMENT = build_document(build_routes(None, "0.0.0"))
CALLS: dict[str, Any] = {
    "source": {"type": "sip", "target": "sip:acme@evercall.test"},
    "destinations": [{"type": "sip", "target": "alice@192.0.2.10"}] * 2,
    "actions": [],
}


def example_of(method: str, path: str) -> Any:
    """The body that the document gives as an example."""
    operation = DOCUMENT["paths"][path][method.lower()]
    if "requestBody" not in operation:
        return None
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return EXAMPLES[schema["$ref"].rsplit("/", 1)[-1]]


def written(world: World) -> tuple[Attempt, Result]:
    """The one attempt and its result."""
    (attempt,), (result,) = world.audit.attempts, world.audit.results
    assert result.audit_id == attempt.id
    return attempt, result


def key_of(world: World) -> UUID:
    (key_id,) = world.accesskeys.rows
    return key_id


@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_no_change_is_made_that_cannot_be_written(
    world: World, method: str, path: str
) -> None:
    """Of all operations there are: with the log away each is refused, and asks nobody for anything."""
    world.audit.error = Unavailable("store_unavailable", "The database is away")
    before = (dict(world.customers.rows), dict(world.accesskeys.rows))
    identifier = str(world.customer_id if "customers" in path else key_of(world))
    async with world.client(ADMIN_KEY) as admin:
        answer = await admin.request(
            method,
            path.replace("{id}", identifier),
            json=example_of(method, path),
        )
    assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "STORE_UNAVAILABLE")
    assert world.bus.asked == []
    assert (world.customers.rows, world.accesskeys.rows) == before


async def test_who_did_what_for_whom_from_where(world: World, client: httpx.AsyncClient) -> None:
    world.bus.answers[FlowDelete] = resources.flow
    flow_id = new_id()
    answer = await client.delete(f"/v1.0/flows/{flow_id}", headers={"X-Request-Id": "mine"})
    assert answer.status_code == 200
    attempt, result = written(world)
    assert attempt == Attempt(
        id=attempt.id,
        customer_id=world.customer_id,
        actor_type=AuditActor.ACCESSKEY,
        actor_id=key_of(world),
        actor_customer_id=world.customer_id,
        operation="delete_flow",
        resource_type="flow",
        resource_id=flow_id,
        client_address="192.0.2.7",
        request_id="mine",
        count=1,
        tm_create=attempt.tm_create,
    )
    assert (result.status, result.reason, result.resource_ids) == (200, "", [flow_id])


async def test_the_administrator_is_named_beside_the_customer_it_acts_for(
    world: World, admin: httpx.AsyncClient
) -> None:
    world.bus.answers[FlowCreate] = resources.flow
    query = {"customer_id": str(world.customer_id)}
    made = await admin.post("/v1.0/flows", json=EXAMPLES["FlowBody"], params=query)
    attempt, result = written(world)
    assert (attempt.actor_type, attempt.actor_id) == (AuditActor.ADMINISTRATOR, None)
    assert attempt.actor_customer_id == PLATFORM_CUSTOMER
    assert attempt.customer_id == world.customer_id
    assert [str(each) for each in result.resource_ids] == [made.json()["id"]]


async def test_a_token_is_told_from_its_key(world: World) -> None:
    world.bus.answers[FlowDelete] = resources.flow
    token = await token_of(world, CUSTOMER_KEY)
    made, _ = written(world)
    assert (made.operation, made.actor_type) == ("create_token", AuditActor.ACCESSKEY)
    async with world.client(token) as client:
        await client.delete(f"/v1.0/flows/{new_id()}")
    used = world.audit.attempts[-1]
    assert (used.actor_type, used.actor_id) == (AuditActor.TOKEN, made.actor_id)


async def test_no_token_is_given_out_that_cannot_be_written(world: World) -> None:
    world.audit.error = Unavailable("store_unavailable", "The database is away")
    async with world.client(None) as client:
        answer = await client.post("/auth/token", json={"accesskey": CUSTOMER_KEY})
    assert answer.status_code == 503


async def test_every_call_that_was_placed_is_named_even_if_the_next_failed(
    world: World, client: httpx.AsyncClient
) -> None:
    world.bus.answers |= {FlowCreate: resources.flow, CallCreate: resources.call}
    placed = (await client.post("/v1.0/calls", json=CALLS)).json()["calls"]
    assert [str(each) for each in written(world)[1].resource_ids] == [c["id"] for c in placed]

    def once(request: CallCreate) -> Any:
        world.bus.answers.pop(CallCreate)
        return resources.call(request)

    world.bus.answers[CallCreate] = once
    refused = await client.post("/v1.0/calls", json=CALLS)
    created = refused.json()["error"]["details"][0]["created_call_ids"]
    result = world.audit.results[-1]
    assert (result.status, result.reason) == (503, "SERVICE_UNAVAILABLE")
    assert [str(each) for each in result.resource_ids] == created
    assert len(created) == 1


async def test_what_fails_is_written_with_its_reason(
    world: World, client: httpx.AsyncClient
) -> None:
    def ended(_: CallHangup) -> Any:
        raise Conflict("call_already_hangup", "-")

    world.bus.answers[CallHangup] = ended
    await client.post(f"/v1.0/calls/{new_id()}/hangup")
    _, result = written(world)
    assert (result.status, result.reason) == (409, "CALL_ALREADY_HANGUP")


async def test_what_was_cut_off_is_written_by_the_next_flush() -> None:
    world = World(request_seconds=0.05)

    def hangs(_: CallHangup) -> Any:
        raise asyncio.CancelledError

    world.bus.answers[CallHangup] = hangs
    async with world.client() as client:
        with pytest.raises(asyncio.CancelledError):
            await client.post(f"/v1.0/calls/{new_id()}/hangup")
    assert (len(world.audit.attempts), world.audit.results) == (1, [])
    await world.components.audit.flush()
    assert written(world)[1].reason == "REQUEST_TIMEOUT"


async def test_what_is_refused_or_only_said_again_is_no_attempt(
    world: World, client: httpx.AsyncClient
) -> None:
    world.bus.answers[FlowCreate] = resources.flow
    assert (await client.post("/v1.0/flows", json={"actions": 5})).status_code == 400
    assert (await client.post("/v1.0/customers", json={"name": "x"})).status_code == 403
    assert world.audit.attempts == []
    for _ in range(3):
        same = {"Idempotency-Key": "k"}
        made = await client.post("/v1.0/flows", json=EXAMPLES["FlowBody"], headers=same)
        assert made.status_code == 200
    written(world)


async def test_reading_is_not_written(world: World, client: httpx.AsyncClient) -> None:
    world.bus.answers |= {FlowGet: resources.flow, CallList: lambda _: Page(result=[])}
    assert (await client.get(f"/v1.0/flows/{new_id()}")).status_code == 200
    assert (await client.get("/v1.0/calls")).status_code == 200
    await world.components.audit.flush()
    assert world.audit.attempts == []


async def test_results_wait_for_the_database(world: World, client: httpx.AsyncClient) -> None:
    def lost(request: FlowDelete) -> Any:
        world.audit.error = Unavailable("store_unavailable", "-")
        return resources.flow(request)

    world.bus.answers[FlowDelete] = lost
    assert (await client.delete(f"/v1.0/flows/{new_id()}")).status_code == 200
    with pytest.raises(Unavailable):
        await world.components.audit.flush()
    assert world.audit.results == []
    world.audit.error = None
    await world.components.audit.flush()
    await world.components.audit.flush()
    assert written(world)[1].status == 200


async def test_no_secret_is_written(world: World, client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1.0/accesskeys", json={"name": "a secret name"})).json()
    token = await token_of(world, CUSTOMER_KEY)
    async with world.client("ec_a-guess") as guesser:
        await guesser.get("/v1.0/calls?token=another-guess")
    await world.components.audit.flush()
    text = repr((world.audit.attempts, world.audit.results))
    for secret in (made["token"], token, CUSTOMER_KEY, "guess", "a secret name"):
        assert secret not in text
    assert made["id"] in text


async def test_refused_credentials_are_counted(world: World) -> None:
    async with world.client("ec_guess") as client:
        for _ in range(3):
            await client.get("/v1.0/calls")
        await client.post("/auth/token", json={"accesskey": "ec_guess"})
    await world.customers.set_status(world.customer_id, CustomerStatus.FROZEN)
    async with world.client() as frozen:
        await frozen.delete(f"/v1.0/calls/{new_id()}")
    assert world.audit.attempts == []
    await world.components.audit.flush()
    guessed, refused = world.audit.attempts
    assert (guessed.operation, guessed.count, guessed.actor_type) == ("refused", 4, "unknown")
    assert (guessed.client_address, guessed.customer_id) == ("192.0.2.7", None)
    assert (refused.actor_type, refused.actor_id) == ("accesskey", key_of(world))
    assert refused.customer_id == world.customer_id
    reasons = [(result.status, result.reason) for result in world.audit.results]
    assert reasons == [(401, "INVALID_CREDENTIALS"), (403, "ACCOUNT_FROZEN")]


async def test_who_opens_the_audio_of_a_call_is_written(world: World) -> None:
    door, call_id = Door(world), new_id()
    for counts in (True, False):
        await door.ask(f"accesskey={CUSTOMER_KEY}", call_id=call_id, counts=counts)
        with pytest.raises(Unauthorized):
            await door.ask("accesskey=ec_guess", counts=counts)
    await world.components.audit.flush()
    opened, refused = world.audit.attempts
    assert (opened.operation, opened.resource_id) == ("open_call_media_stream", call_id)
    assert (refused.operation, refused.count) == ("refused", 1)


def test_callers_without_number_share_rows() -> None:
    refusals = Refusals()
    for number in range(MAX_CALLERS * 3):
        for _ in range(2):
            refusals.add(Refusal(f"192.0.2.{number}", 401, "INVALID_CREDENTIALS"))
    counts = refusals.take()
    assert len(counts) == MAX_CALLERS + 1
    assert counts[Refusal("", 401, "INVALID_CREDENTIALS")] == MAX_CALLERS * 4
    assert refusals.take() == {}


async def test_what_waits_is_bounded_and_its_loss_is_counted(world: World) -> None:
    trail = AuditTrail(world.audit)
    lost = LOST._value.get()
    (attempt,) = await attempts_of_one(world)
    results = [result_of(attempt, status=number) for number in range(MAX_WAITING + 5)]
    for result in results:
        trail.later(result)
    world.audit.results.clear()
    await trail.flush()
    assert [result.status for result in world.audit.results] == list(range(5, MAX_WAITING + 5))
    assert LOST._value.get() - lost == 5


async def attempts_of_one(world: World) -> list[Attempt]:
    await token_of(world, CUSTOMER_KEY)
    return world.audit.attempts

"""What credentials are good for: each operation asks for one scope, and nobody grants more than they hold."""

from typing import Any

import httpx
import pytest

from api_manager.app import ROUTERS
from api_manager.domain.scopes import Scope, grant, required_scope
from evercall.service.errors import Forbidden
from evercall.service.identity import new_id
from tests.unit.api_manager.test_access import Door
from tests.unit.api_manager.world import ADMIN_KEY, CUSTOMER_KEY, World

READ, CALLS, MEDIA, ADMIN = Scope

NEEDED = {
    "GET /v1.0/calls": READ,
    "GET /v1.0/calls/{id}": READ,
    "POST /v1.0/calls": CALLS,
    "DELETE /v1.0/calls/{id}": CALLS,
    "POST /v1.0/calls/{id}/hangup": CALLS,
    "GET /v1.0/calls/{id}/media_stream": MEDIA,
    "GET /v1.0/conferences/{id}/media_stream": MEDIA,
    "GET /v1.0/activeflows": READ,
    "GET /v1.0/activeflows/{id}": READ,
    "POST /v1.0/activeflows/{id}/stop": CALLS,
    "DELETE /v1.0/activeflows/{id}": CALLS,
    "GET /v1.0/flows": READ,
    "GET /v1.0/flows/{id}": READ,
    "POST /v1.0/flows": CALLS,
    "PUT /v1.0/flows/{id}": CALLS,
    "DELETE /v1.0/flows/{id}": CALLS,
    "GET /v1.0/numbers": READ,
    "GET /v1.0/numbers/{id}": READ,
    "POST /v1.0/numbers": ADMIN,
    "PUT /v1.0/numbers/{id}": ADMIN,
    "DELETE /v1.0/numbers/{id}": ADMIN,
    "GET /v1.0/accesskeys": ADMIN,
    "GET /v1.0/accesskeys/{id}": ADMIN,
    "POST /v1.0/accesskeys": ADMIN,
    "PUT /v1.0/accesskeys/{id}": ADMIN,
    "DELETE /v1.0/accesskeys/{id}": ADMIN,
    "GET /v1.0/customers": READ,
    "POST /v1.0/customers": ADMIN,
    "DELETE /v1.0/customers/{id}": ADMIN,
    "POST /v1.0/customers/{id}/freeze": ADMIN,
    # What nobody has thought of yet is for administrators.
    "GET /v1.0/novelties": ADMIN,
    "POST /v1.0/novelties/{id}/try": ADMIN,
}

ROUTES = sorted(
    (method, route.path)  # type: ignore[attr-defined]
    for router in ROUTERS
    for route in router.routes
    for method in route.methods  # type: ignore[attr-defined]
    if route.path.startswith("/v1.0/")  # type: ignore[attr-defined]
)


def reason(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["reason"]


@pytest.mark.parametrize(("operation", "scope"), NEEDED.items(), ids=NEEDED)
def test_what_an_operation_needs(operation: str, scope: Scope) -> None:
    assert required_scope(*operation.split(" ")) is scope


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_operation_is_refused_to_a_key_that_has_all_scopes_but_the_one(
    world: World, method: str, path: str
) -> None:
    needed = required_scope(method, path)
    key = await key_with(world, *(scope for scope in Scope if scope is not needed))
    async with world.client(key) as client:
        answer = await client.request(method, path.replace("{id}", str(new_id())))
    assert reason(answer) == (403, "SCOPE_MISSING")
    assert answer.json()["error"]["details"] == [{"scope": needed.value}]
    assert world.bus.asked == []


async def key_with(world: World, *scopes: Scope) -> str:
    """A key of the customer, made by the administrator."""
    query = {"customer_id": str(world.customer_id)}
    async with world.client(ADMIN_KEY) as admin:
        body = {"scopes": list(scopes)}
        answer = await admin.post("/v1.0/accesskeys", params=query, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["scopes"] == [scope for scope in Scope if scope in scopes]
    return str(answer.json()["token"])


async def token(world: World, key: str, **wish: Any) -> httpx.Response:
    async with world.client(None) as client:
        return await client.post("/auth/token", json={"accesskey": key, **wish})


async def test_where_none_are_named_a_key_gets_all_but_admin(
    world: World, client: httpx.AsyncClient
) -> None:
    made = (await client.post("/v1.0/accesskeys", json={})).json()
    assert made["scopes"] == [READ, CALLS, MEDIA]
    assert (await client.get(f"/v1.0/accesskeys/{made['id']}")).json()["scopes"] == made["scopes"]
    async with world.client(made["token"]) as other:
        assert reason(await other.post("/v1.0/accesskeys", json={})) == (403, "SCOPE_MISSING")


async def test_a_key_grants_no_scope_that_it_does_not_have(world: World) -> None:
    async with world.client(await key_with(world, READ, ADMIN)) as client:
        refused = await client.post("/v1.0/accesskeys", json={"scopes": ["read", "calls"]})
        assert reason(refused) == (403, "SCOPE_MISSING")
        assert refused.json()["error"]["details"] == [{"scope": "calls"}]
        made = await client.post("/v1.0/accesskeys", json={})
        assert made.json()["scopes"] == [READ]


@pytest.mark.parametrize("scopes", [[], ["all"], "read", [1], ["read"] * 5, {"read": True}])
async def test_scopes_that_there_are_not(client: httpx.AsyncClient, scopes: Any) -> None:
    answer = await client.post("/v1.0/accesskeys", json={"scopes": scopes})
    assert reason(answer) == (400, "INVALID_ARGUMENT")
    assert answer.json()["error"]["details"][0]["field"].startswith("scopes")


@pytest.mark.parametrize("key", [CUSTOMER_KEY, ADMIN_KEY])
async def test_access_keys_are_managed_with_a_key_only(world: World, key: str) -> None:
    (key_id,) = world.accesskeys.rows
    made = await token(world, key, scopes=list(Scope))
    async with world.client(made.json()["token"]) as client:
        for method, path in ROUTES:
            if "accesskeys" in path:
                answer = await client.request(method, path.replace("{id}", str(key_id)))
                assert reason(answer) == (403, "ACCESSKEY_REQUIRED")
    assert list(world.accesskeys.rows) == [key_id]


async def test_a_token_has_what_it_was_made_for_and_no_more_than_its_key(world: World) -> None:
    key = await key_with(world, READ, MEDIA, ADMIN)
    assert (await token(world, key)).json()["scopes"] == [READ, MEDIA]
    assert (await token(world, key, scopes=["admin"])).json()["scopes"] == [ADMIN]
    assert reason(await token(world, key, scopes=["calls"])) == (403, "SCOPE_MISSING")
    only_media = (await token(world, key, scopes=["media"])).json()["token"]
    async with world.client(only_media) as client:
        assert reason(await client.get("/v1.0/calls")) == (403, "SCOPE_MISSING")


async def test_a_token_for_one_call_opens_that_one_and_nothing_else(world: World) -> None:
    call_id, door = new_id(), Door(world)
    made = (await token(world, CUSTOMER_KEY, call_id=str(call_id))).json()
    assert (made["scopes"], made["call_id"]) == ([MEDIA], str(call_id))
    query = f"token={made['token']}"
    assert (await door.ask(query, call_id=call_id)).customer_id == world.customer_id
    with pytest.raises(Forbidden) as refused:
        await door.ask(query, call_id=new_id())
    assert refused.value.code == "permission_denied"
    async with world.client(made["token"]) as client:
        assert reason(await client.get(f"/v1.0/calls/{call_id}")) == (403, "SCOPE_MISSING")


async def test_a_token_for_one_call_is_for_audio_only(world: World) -> None:
    made = await token(world, CUSTOMER_KEY, call_id=str(new_id()), scopes=["media", "calls"])
    assert reason(made) == (400, "INVALID_ARGUMENT")


async def test_audio_needs_its_scope(world: World) -> None:
    door = Door(world)
    with pytest.raises(Forbidden) as refused:
        await door.ask(f"accesskey={await key_with(world, READ, CALLS, ADMIN)}")
    assert (refused.value.code, refused.value.details) == ("scope_missing", {"scope": MEDIA})
    assert await door.ask(f"accesskey={await key_with(world, MEDIA)}")


async def test_tokens_end_when_the_administrators_key_changes(world: World) -> None:
    made = (await token(world, ADMIN_KEY)).json()["token"]
    async with world.client(made) as client:
        assert (await client.get("/v1.0/customers")).status_code == 200
    changed = World(admin_accesskey="ec_another-administrator-of-the-platform")
    async with changed.client(made) as client:
        assert reason(await client.get("/v1.0/customers")) == (401, "INVALID_CREDENTIALS")


async def test_tokens_end_when_their_key_is_made_anew(world: World) -> None:
    async with world.client() as client:
        idempotency = {"Idempotency-Key": "k"}
        first = (await client.post("/v1.0/accesskeys", json={}, headers=idempotency)).json()
        made = (await token(world, first["token"])).json()["token"]
        world.idempotency.abandon()
        again = (await client.post("/v1.0/accesskeys", json={}, headers=idempotency)).json()
    assert (again["id"], again["token"] != first["token"]) == (first["id"], True)
    world.clock.seconds += 3  # longer than the cache
    async with world.client(made) as client:
        assert reason(await client.get("/v1.0/calls")) == (401, "INVALID_CREDENTIALS")


def test_granting_keeps_within_what_is_held() -> None:
    assert grant(None, frozenset({READ, ADMIN})) == {READ}
    assert grant([READ, READ], frozenset(Scope)) == {READ}
    with pytest.raises(Forbidden):
        grant([CALLS], frozenset({READ}))

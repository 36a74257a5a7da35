"""One tenant never sees another's rows: every operation of the OpenAPI document is tried.

A route that is new and not covered here fails the first test.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

from api_manager.app import build_routes
from api_manager.documentation.examples import EXAMPLES
from api_manager.documentation.media_streams import UPGRADED
from api_manager.documentation.openapi import build_document
from deploy.lab.lab import Lab
from tests.contract.api.world import (
    Api,
    Tenant,
    any_number,
    call_body,
    make_accesskey,
    make_activeflow,
    make_call,
    make_flow,
    make_number,
)

MAKERS: dict[str, Callable[[Api, Tenant], Awaitable[str]]] = {
    "accesskeys": lambda _, tenant: make_accesskey(tenant),
    "flows": lambda _, tenant: make_flow(tenant),
    "numbers": lambda _, tenant: make_number(tenant),
    "calls": lambda _, tenant: make_call(tenant),
    "activeflows": make_activeflow,
}
ADMINISTRATION = {"customers"}
WRITTEN_BY_ITSELF = {"audit_logs"}
"""Has tests of its own: who sees which rows is tried there."""
NO_TENANT = {"/auth/token"}
WEBSOCKETS = {"/v1.0/calls/{id}/media_stream", "/v1.0/conferences/{id}/media_stream"}
"""Answered by `media_manager`, to which only the lab's load balancer leads."""

DOCUMENT = build_document(build_routes(None, "0"))


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def resource_of(path: str) -> str:
    return path.split("/")[2]


def body_of(operation: dict[str, Any]) -> Any:
    if "requestBody" not in operation:
        return None
    schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    body = dict(EXAMPLES[schema.rsplit("/", 1)[-1]])
    body.pop("call_flow_id", None)
    return body


TENANT_OPERATIONS = [
    each
    for each in operations()
    if each[1] not in NO_TENANT | WEBSOCKETS and resource_of(each[1]) in MAKERS
]
LISTS = [path for method, path, _ in TENANT_OPERATIONS if method == "GET" and "{" not in path]
OF_ONE = [each for each in TENANT_OPERATIONS if "{id}" in each[1]]


def test_every_operation_of_the_document_is_covered() -> None:
    uncovered = [
        f"{method} {path}"
        for method, path, _ in operations()
        if path not in NO_TENANT | WEBSOCKETS
        and resource_of(path) not in {*MAKERS, *ADMINISTRATION, *WRITTEN_BY_ITSELF}
    ]
    assert uncovered == []
    upgraded = {path for _, path, each in operations() if UPGRADED in each["responses"]}
    assert upgraded == WEBSOCKETS
    assert {resource_of(path) for path in LISTS} == set(MAKERS)
    assert {resource_of(path) for _, path, _ in OF_ONE} == set(MAKERS)
    parameters = {part for _, path, _ in operations() for part in path.split("/") if "{" in part}
    assert parameters == {"{id}"}


@pytest.mark.parametrize("path", LISTS)
async def test_lists_hold_the_customers_own_rows_only(
    api: Api, tenant: Tenant, stranger: Tenant, path: str
) -> None:
    make = MAKERS[resource_of(path)]
    mine = await make(api, tenant)
    theirs = await make(api, stranger)
    seen = await stranger.all(path)
    assert theirs in [row["id"] for row in seen]
    assert mine not in [row["id"] for row in seen]
    assert {row["customer_id"] for row in seen} == {str(stranger.id)}
    assert mine in [row["id"] for row in await tenant.all(path)]


@pytest.mark.parametrize(
    ("method", "path", "operation"), OF_ONE, ids=[f"{each[0]} {each[1]}" for each in OF_ONE]
)
async def test_what_belongs_to_somebody_else_is_not_there(
    api: Api,
    tenant: Tenant,
    stranger: Tenant,
    method: str,
    path: str,
    operation: dict[str, Any],
) -> None:
    resource = resource_of(path)
    identifier = await MAKERS[resource](api, tenant)
    own_path = f"/v1.0/{resource}/{identifier}"
    before = (await tenant.client.get(own_path)).json()

    answer = await stranger.client.request(
        method, path.format(id=identifier), json=body_of(operation)
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (404, "NOT_FOUND"), answer.text
    assert error["reason"] == f"{resource.removesuffix('s').upper()}_NOT_FOUND"
    assert str(tenant.id) not in answer.text

    after = (await tenant.client.get(own_path)).json()
    # A call goes on by itself meanwhile; that it was not deleted is what counts.
    changing = {"calls"}
    assert after["id"] == identifier
    assert after["tm_delete"] is None
    if resource not in changing:
        assert after == before


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [each for each in operations() if resource_of(each[1]) in ADMINISTRATION],
    ids=lambda part: part if isinstance(part, str) else "",
)
async def test_customers_are_the_administrators(
    tenant: Tenant, stranger: Tenant, method: str, path: str, operation: dict[str, Any]
) -> None:
    answer = await stranger.client.request(
        method, path.format(id=tenant.id), json=body_of(operation)
    )
    assert (answer.status_code, answer.json()["error"]["reason"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize("path", LISTS)
async def test_nobody_acts_for_another(tenant: Tenant, stranger: Tenant, path: str) -> None:
    answer = await stranger.client.get(path, params={"customer_id": str(tenant.id)})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (403, "PERMISSION_DENIED")


async def test_the_administrator_acts_for_a_customer(api: Api, tenant: Tenant) -> None:
    flow_id = await make_flow(tenant)
    async with api.admin() as admin:
        query = {"customer_id": str(tenant.id)}
        assert (await admin.get(f"/v1.0/flows/{flow_id}", params=query)).status_code == 200
        assert (await admin.get(f"/v1.0/flows/{flow_id}")).status_code == 404


def refused_as_unknown(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.json()["error"]["reason"]) == (404, "FLOW_NOT_FOUND")


async def test_a_flow_of_somebody_else_cannot_be_used(tenant: Tenant, stranger: Tenant) -> None:
    flow_id = await make_flow(tenant)
    own_number = await make_number(stranger)
    own_flow = await make_flow(stranger)
    client = stranger.client
    flow = {"actions": [{"type": "answer"}], "on_complete_flow_id": flow_id}
    assert refused_as_unknown(await client.post("/v1.0/calls", json=call_body(flow_id)))
    assert refused_as_unknown(await stranger.assign(any_number(), call_flow_id=flow_id))
    assert refused_as_unknown(await client.post("/v1.0/flows", json=flow))
    assert refused_as_unknown(await client.put(f"/v1.0/flows/{own_flow}", json=flow))
    change = {"call_flow_id": flow_id}
    assert refused_as_unknown(await client.put(f"/v1.0/numbers/{own_number}", json=change))


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


async def asked_for_audio(lab: Lab, path: str, query: dict[str, str]) -> tuple[int, str]:
    """What the lab says to a request for a WebSocket that it refuses."""
    lab.wait_ready(["media_manager-1", "media_manager-2", "nginx", "api_manager-1"], seconds=30.0)
    async with httpx.AsyncClient(base_url=lab.farm.api_url, headers=UPGRADE) as client:
        answer = await client.get(path, params=query)
    return answer.status_code, answer.json()["error"]["reason"]


async def test_the_audio_of_somebody_elses_call_is_not_there(
    api: Api, tenant: Tenant, stranger: Tenant, ready_lab: Lab
) -> None:
    path = f"/v1.0/calls/{await make_call(tenant)}/media_stream"
    key, other = {"accesskey": tenant.key}, {"accesskey": stranger.key}
    admin = {"accesskey": api.settings.admin_accesskey.get_secret_value()}

    # Nobody answers that call: its customer hears that it is there, but not up.
    own = (409, "CALL_NOT_PROGRESSING")
    acting = {"customer_id": str(tenant.id)}
    assert await asked_for_audio(ready_lab, path, key) == own
    assert await asked_for_audio(ready_lab, path, admin | acting) == own

    unknown = (404, "CALL_NOT_FOUND")
    assert await asked_for_audio(ready_lab, path, other) == unknown
    assert await asked_for_audio(ready_lab, path, admin) == unknown
    assert await asked_for_audio(ready_lab, path, other | acting) == (403, "PERMISSION_DENIED")
    assert await asked_for_audio(ready_lab, path, {}) == (401, "AUTHENTICATION_REQUIRED")
    conference = path.replace("calls", "conferences")
    assert await asked_for_audio(ready_lab, conference, key) == (404, "CONFERENCE_NOT_FOUND")

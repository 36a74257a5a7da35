"""Bad input through the real services: who finds the fault, it is named to the client in one way."""

from typing import Any

import pytest

from evercall.service.identity import new_id
from tests.contract.api.world import PEER, Tenant, any_number, make_flow, make_number

FLOWS: list[tuple[str, list[Any], set[str]]] = [
    ("an unknown action", [{"type": "teleport"}], {"actions[0].type"}),
    ("no type", [{}], {"actions[0].type"}),
    ("no object", ["answer"], {"actions[0]"}),
    (
        "a wrong option type",
        [{"type": "answer"}, {"type": "sleep", "option": {"duration": "long"}}],
        {"actions[1].option.duration"},
    ),
    (
        "a dangling target",
        [{"type": "goto", "option": {"target_id": str(new_id())}}],
        {"actions[0].option.target_id"},
    ),
    ("a wrong id", [{"type": "answer", "id": "5"}], {"actions[0].id"}),
    (
        "all at once",
        [{"type": "teleport"}, {"type": "sleep", "option": {"duration": []}}, {"type": "answer"}],
        {"actions[0].type", "actions[1].option.duration"},
    ),
]


@pytest.mark.parametrize(("actions", "fields"), [each[1:] for each in FLOWS],
                         ids=[each[0] for each in FLOWS])  # fmt: skip
@pytest.mark.parametrize("path", ["/v1.0/flows", "/v1.0/calls"])
async def test_faults_of_a_flow_are_named_by_their_place(
    tenant: Tenant, path: str, actions: list[Any], fields: set[str]
) -> None:
    body: dict[str, Any] = {"actions": actions}
    if path == "/v1.0/calls":
        body["source"] = {"type": "sip", "target": "sip:test@evercall.test"}
        body["destinations"] = [{"type": "sip", "target": PEER}]
    answer = await tenant.client.post(path, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (400, "INVALID_ARGUMENT"), answer.text
    assert {detail["field"] for detail in error["details"]} == fields
    assert all(detail["message"] for detail in error["details"])
    assert await tenant.all("/v1.0/calls") == []


@pytest.mark.parametrize("resource", ["accesskeys", "flows", "numbers", "calls", "activeflows"])
async def test_ids_that_nobody_has(tenant: Tenant, resource: str) -> None:
    for identifier in (new_id(), "00000000-0000-0000-0000-000000000000"):
        answer = await tenant.client.get(f"/v1.0/{resource}/{identifier}")
        reason = f"{resource.removesuffix('s').upper()}_NOT_FOUND"
        assert (answer.status_code, answer.json()["error"]["reason"]) == (404, reason)
        answer = await tenant.client.delete(f"/v1.0/{resource}/{identifier}")
        assert (answer.status_code, answer.json()["error"]["reason"]) == (404, reason)


async def test_a_number_is_given_up_once_and_may_go_back_to_who_had_it(tenant: Tenant) -> None:
    number = any_number()
    first = await tenant.number(number)
    again = await tenant.assign(number)
    error = again.json()["error"]
    assert (again.status_code, error["status"]) == (409, "ALREADY_EXISTS")
    assert error["details"][0]["field"] == "number"
    assert (await tenant.client.delete(f"/v1.0/numbers/{first['id']}")).status_code == 200
    assert (await tenant.client.delete(f"/v1.0/numbers/{first['id']}")).status_code == 404
    assert (await tenant.number(number))["id"] != first["id"]


TEXTS = ["", "ä ö ü", "日本語", "🎺", "Robert'); DROP TABLE number;--", "%s %n {0} ${x}", "\\", '"']


@pytest.mark.parametrize("text", TEXTS)
async def test_texts_come_back_as_they_went(tenant: Tenant, text: str) -> None:
    number = await make_number(tenant)
    body = {"name": text, "detail": f"{text}\n{text}"}
    changed = await tenant.client.put(f"/v1.0/numbers/{number}", json=body)
    assert changed.status_code == 200, changed.text
    got = (await tenant.client.get(f"/v1.0/numbers/{number}")).json()
    assert (got["name"], got["detail"]) == (text, f"{text}\n{text}")


async def test_a_change_replaces_the_whole(tenant: Tenant) -> None:
    flow_id = await make_flow(tenant)
    number = await tenant.number(any_number(), name="a", call_flow_id=flow_id)
    changed = await tenant.client.put(f"/v1.0/numbers/{number['id']}", json={"detail": "b"})
    shown = changed.json()
    assert (shown["name"], shown["detail"], shown["call_flow_id"]) == ("", "b", None)
    assert shown["number"] == number["number"]
    assert shown["tm_update"] > shown["tm_create"]

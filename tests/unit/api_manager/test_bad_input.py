"""Every kind of bad input gets its own clear answer, and never a 500."""

from typing import Any

import httpx
import pytest

from evercall.contracts.call import CallList
from evercall.service.identity import new_id
from tests.unit.api_manager.world import World

SOURCE = {"type": "tel", "target": "+4930123456"}
ALICE = {"type": "sip", "target": "sip:alice@192.0.2.10"}
CALL = {"source": SOURCE, "destinations": [ALICE], "actions": [{"type": "answer"}]}

BODIES: list[tuple[str, Any, str, set[str]]] = [
    ("/v1.0/numbers", {}, "INVALID_ARGUMENT", {"number"}),
    ("/v1.0/numbers", {"number": "4930123456"}, "INVALID_ARGUMENT", {"number"}),
    ("/v1.0/numbers", {"number": "+49 30 123456"}, "INVALID_ARGUMENT", {"number"}),
    ("/v1.0/numbers", {"number": "+123456"}, "INVALID_ARGUMENT", {"number"}),
    ("/v1.0/numbers", {"number": 4930123456}, "INVALID_ARGUMENT", {"number"}),
    ("/v1.0/numbers", {"number": None}, "INVALID_ARGUMENT", {"number"}),
    ("/v1.0/numbers", {"number": "+4930123456", "flow": "x"}, "INVALID_ARGUMENT", {"flow"}),
    ("/v1.0/numbers", {"number": "+4930123456", "call_flow_id": "x"}, "INVALID_ARGUMENT",
     {"call_flow_id"}),
    ("/v1.0/numbers", {"number": "+4930123456", "call_flow_id": 5}, "INVALID_ARGUMENT",
     {"call_flow_id"}),
    ("/v1.0/numbers", {"number": "x", "name": 1, "detail": []}, "INVALID_ARGUMENT",
     {"number", "name", "detail"}),
    ("/v1.0/flows", {}, "INVALID_ARGUMENT", {"actions"}),
    ("/v1.0/flows", {"actions": {}}, "INVALID_ARGUMENT", {"actions"}),
    ("/v1.0/flows", {"actions": [{}] * 1001}, "INVALID_ARGUMENT", {"actions"}),
    ("/v1.0/flows", {"actions": [], "name": "a\nb"}, "INVALID_ARGUMENT", {"name"}),
    ("/v1.0/flows", {"actions": [], "name": "x" * 256}, "INVALID_ARGUMENT", {"name"}),
    ("/v1.0/flows", {"actions": [], "detail": "x" * 4097}, "INVALID_ARGUMENT", {"detail"}),
    ("/v1.0/calls", {}, "INVALID_ARGUMENT", {"source", "destinations"}),
    ("/v1.0/calls", {"source": SOURCE, "destinations": [ALICE]}, "INVALID_ARGUMENT", {""}),
    ("/v1.0/calls", CALL | {"destinations": []}, "INVALID_ARGUMENT", {"destinations"}),
    ("/v1.0/calls", CALL | {"destinations": [ALICE] * 21}, "INVALID_ARGUMENT", {"destinations"}),
    ("/v1.0/calls", CALL | {"destinations": [ALICE, SOURCE]}, "INVALID_ARGUMENT",
     {"destinations[1].type"}),
    ("/v1.0/calls", CALL | {"destinations": [ALICE | {"target": "sip:a@b?x=y"}]},
     "INVALID_ARGUMENT", {"destinations[0].target"}),
    ("/v1.0/calls", CALL | {"destinations": [ALICE | {"target_name": "A\r\nX-Evil: 1"}]},
     "INVALID_ARGUMENT", {"destinations[0].target_name"}),
    ("/v1.0/calls", CALL | {"source": {"type": "tel", "target": "030123"}}, "INVALID_ARGUMENT",
     {"source.target"}),
    ("/v1.0/calls", CALL | {"source": {"type": "fax", "target": "x"}}, "INVALID_ARGUMENT",
     {"source.type"}),
    ("/v1.0/calls", CALL | {"source": "+4930123456"}, "INVALID_ARGUMENT", {"source"}),
    ("/v1.0/calls", CALL | {"anonymous": True}, "INVALID_ARGUMENT", {"anonymous"}),
    ("/v1.0/calls", CALL | {"variables": {"a b": "c"}}, "INVALID_ARGUMENT", {"variables"}),
    ("/v1.0/calls", CALL | {"variables": {"voipbin.call.id": "x"}}, "INVALID_ARGUMENT",
     {"variables"}),
    ("/v1.0/calls", CALL | {"variables": {"a": 1}}, "INVALID_ARGUMENT", {"variables.a"}),
    ("/v1.0/calls", CALL | {"variables": {"a": "x" * 32_769}}, "INVALID_ARGUMENT", {"variables"}),
    ("/v1.0/calls", CALL | {"variables": {str(n): "" for n in range(101)}}, "INVALID_ARGUMENT",
     {"variables"}),
    ("/v1.0/calls", CALL | {"flow_id": "none"}, "INVALID_ARGUMENT", {"flow_id"}),
    ("/v1.0/accesskeys", {"expire": 0}, "INVALID_ARGUMENT", {"expire"}),
    ("/v1.0/accesskeys", {"expire": "60"}, "INVALID_ARGUMENT", {"expire"}),
    ("/v1.0/accesskeys", {"expire": 60.5}, "INVALID_ARGUMENT", {"expire"}),
    ("/v1.0/accesskeys", {"expire": True}, "INVALID_ARGUMENT", {"expire"}),
    ("/v1.0/accesskeys", {"customer_id": str(new_id())}, "INVALID_ARGUMENT", {"customer_id"}),
    ("/auth/token", {}, "INVALID_ARGUMENT", {"accesskey"}),
    ("/auth/token", {"accesskey": 5}, "INVALID_ARGUMENT", {"accesskey"}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "reason", "fields"), BODIES)
async def test_bodies(
    client: httpx.AsyncClient,
    admin: httpx.AsyncClient,
    path: str,
    body: Any,
    reason: str,
    fields: set[str],
) -> None:
    asks = admin if path == "/v1.0/numbers" else client
    answer = await asks.post(path, json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["status"], error["reason"]) == ("INVALID_ARGUMENT", reason)
    assert {detail["field"] for detail in error["details"]} == fields
    assert all(detail["message"] for detail in error["details"])
    assert error["request_id"] == answer.headers["x-request-id"]


async def test_what_was_sent_is_not_repeated(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/v1.0/numbers", json={"number": "a-secret", "name": 5})
    assert "a-secret" not in answer.text


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{", "application/json"),
        (b"", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b'{"name": "\\u0000"}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"name=x", "application/x-www-form-urlencoded"),
        (b"{}", "text/plain"),
        (b"{}", "application/jsonp"),
    ],
)
@pytest.mark.parametrize("path", ["/v1.0/flows", "/auth/token"])
async def test_what_is_no_json_object(
    client: httpx.AsyncClient, path: str, content: bytes, kind: str
) -> None:
    answer = await client.post(path, content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "INVALID_JSON_BODY")


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON", None]
)
async def test_json_by_any_of_its_names(client: httpx.AsyncClient, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = await client.post("/v1.0/flows", content=b"{}", headers=headers)
    assert answer.json()["error"]["reason"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("query", "reason", "field"),
    [
        ("page_size=0", "INVALID_REQUEST_PARAMETER", "page_size"),
        ("page_size=101", "INVALID_REQUEST_PARAMETER", "page_size"),
        ("page_size=x", "INVALID_REQUEST_PARAMETER", "page_size"),
        ("page_size=1e1", "INVALID_REQUEST_PARAMETER", "page_size"),
        ("page_token=" + "x" * 65, "INVALID_REQUEST_PARAMETER", "page_token"),
        ("customer_id=x", "INVALID_REQUEST_PARAMETER", "customer_id"),
    ],
)
@pytest.mark.parametrize("path", ["/v1.0/calls", "/v1.0/accesskeys"])
async def test_parameters(
    client: httpx.AsyncClient, path: str, query: str, reason: str, field: str
) -> None:
    answer = await client.get(f"{path}?{query}")
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (400, reason)
    assert [detail["field"] for detail in error["details"]] == [field]


@pytest.mark.parametrize("identifier", ["5", "none", "00000000-0000-0000-0000-00000000000g"])
@pytest.mark.parametrize(
    "resource", ["accesskeys", "flows", "numbers", "calls", "activeflows", "customers"]
)
async def test_ids_that_are_none(world: World, resource: str, identifier: str) -> None:
    async with world.client("ec_administrator-of-the-test-platform") as client:
        answer = await client.get(f"/v1.0/{resource}/{identifier}")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "INVALID_ID")


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "ä"])
async def test_idempotency_keys_that_are_none(client: httpx.AsyncClient, key: str) -> None:
    raw = [(b"Idempotency-Key", key.encode())]
    answer = await client.post(
        f"/v1.0/calls/{new_id()}/hangup", headers=[*client.headers.raw, *raw]
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (400, "INVALID_REQUEST_PARAMETER")
    assert error["details"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize(
    "path", ["/v1.0/nothing", "/v1.0/calls/", "/nothing", "/v1.0", "/auth/login"]
)
async def test_paths_that_are_none(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (404, "NOT_FOUND")
    assert error["reason"] == "ROUTE_NOT_FOUND"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PATCH", "/v1.0/calls", "GET, POST"),
        ("POST", f"/v1.0/flows/{new_id()}", "DELETE, GET, PUT"),
        ("GET", f"/v1.0/calls/{new_id()}/hangup", "POST"),
        ("DELETE", "/docs", "GET"),
        ("GET", "/auth/token", "POST"),
    ],
)
async def test_methods_that_a_path_does_not_have(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == allow


async def test_a_large_body_is_refused_by_its_announced_length(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1.0/flows", content=b"x" * 10_000_000)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (413, "REQUEST_TOO_LARGE")
    assert answer.json()["error"]["details"] == [{"limit_bytes": 1_000_000}]


async def test_a_large_body_in_chunks_is_not_read_to_its_end(world: World) -> None:
    sent = 0

    async def chunks() -> Any:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b"x" * 100_000

    async with world.client() as client:
        answer = await client.post("/v1.0/flows", content=chunks())
    assert (answer.status_code, answer.json()["error"]["reason"]) == (413, "REQUEST_TOO_LARGE")
    # What follows the limit is thrown away for a moment, so that the client gets to read the answer.
    assert sent < 400


async def test_an_error_of_ours_tells_nothing_of_the_inside(world: World) -> None:
    def explode(_: Any) -> Any:
        raise RuntimeError("a secret")

    world.bus.answers[CallList] = explode
    async with world.client() as client:
        answer = await client.get("/v1.0/calls")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (500, "INTERNAL")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == answer.json()["error"]["request_id"]

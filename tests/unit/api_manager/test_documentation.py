"""The description of the API: complete, sound, and readable without the internet."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pydantic
import pytest

from api_manager import bodies
from api_manager.app import build_routes
from api_manager.documentation.descriptions import describe
from api_manager.documentation.examples import EXAMPLES
from api_manager.documentation.media_streams import UPGRADED
from api_manager.documentation.openapi import ANSWERS, build_document
from api_manager.documentation.reasons import REASONS
from evercall.media.encapsulation import RATES
from evercall.media.framing import Encapsulation
from tests.unit.api_manager.world import World

OPERATIONS = {
    "POST /auth/token",
    "GET /v1.0/customers", "POST /v1.0/customers", "GET /v1.0/customers/{id}",
    "PUT /v1.0/customers/{id}", "DELETE /v1.0/customers/{id}",
    "PUT /v1.0/customers/{id}/quotas", "PUT /v1.0/customers/{id}/policy",
    "POST /v1.0/customers/{id}/freeze", "POST /v1.0/customers/{id}/recover",
    "GET /v1.0/accesskeys", "POST /v1.0/accesskeys", "GET /v1.0/accesskeys/{id}",
    "PUT /v1.0/accesskeys/{id}", "DELETE /v1.0/accesskeys/{id}",
    "GET /v1.0/flows", "POST /v1.0/flows", "GET /v1.0/flows/{id}", "PUT /v1.0/flows/{id}",
    "DELETE /v1.0/flows/{id}",
    "GET /v1.0/numbers", "POST /v1.0/numbers", "GET /v1.0/numbers/{id}",
    "PUT /v1.0/numbers/{id}", "DELETE /v1.0/numbers/{id}",
    "GET /v1.0/calls", "POST /v1.0/calls", "GET /v1.0/calls/{id}", "DELETE /v1.0/calls/{id}",
    "POST /v1.0/calls/{id}/hangup",
    "GET /v1.0/calls/{id}/media_stream", "GET /v1.0/conferences/{id}/media_stream",
    "GET /v1.0/activeflows", "GET /v1.0/activeflows/{id}", "DELETE /v1.0/activeflows/{id}",
    "POST /v1.0/activeflows/{id}/stop",
    "GET /v1.0/audit_logs",
}  # fmt: skip


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return build_document(build_routes(None, "1.2.3"))


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_is_there(document: dict[str, Any]) -> None:
    assert (document["openapi"], document["info"]["version"]) == ("3.1.0", "1.2.3")
    assert {f"{method.upper()} {path}" for path, method, _ in operations(document)} == OPERATIONS


def test_every_operation_says_what_it_does_takes_and_answers(document: dict[str, Any]) -> None:
    names = set()
    for path, method, operation in operations(document):
        assert operation["summary"]
        assert operation["description"]
        if UPGRADED not in operation["responses"]:
            answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
            assert answer["$ref"].startswith("#/components/schemas/")
        assert "422" not in operation["responses"]
        errors = {status for status in operation["responses"] if status != "200"}
        assert {"400", "401", "429", "500", "503", "504"} <= errors
        assert bool(operation["security"]) == path.startswith("/v1.0/")
        parameters = {parameter["name"] for parameter in operation.get("parameters", ())}
        assert ("Idempotency-Key" in parameters) == (method == "post" and path.startswith("/v1.0/"))
        names.add(operation["operationId"])
    assert len(names) == len(OPERATIONS)


def test_a_media_stream_is_described_as_what_it_is(document: dict[str, Any]) -> None:
    for collection in ("calls", "conferences"):
        (operation,) = document["paths"][f"/v1.0/{collection}/{{id}}/media_stream"].values()
        answers = {int(status) for status in operation["responses"]}
        assert answers == {101, 400, 401, 403, 404, 409, 429, 500, 503, 504}
        given = {parameter["name"]: parameter for parameter in operation["parameters"]}
        assert set(given) == {"id", "encapsulation", "direction", "rate", "resume", "customer_id"}
        assert all(given[name]["description"] for name in set(given) - {"id"})
        assert given["encapsulation"]["schema"] == {
            "type": "string",
            "enum": [each.value for each in Encapsulation],
            "default": "rtp",
        }
        assert set(given["rate"]["schema"]["enum"]) == {r for each in RATES.values() for r in each}
        assert "docs/media-streams.md" in operation["description"]


async def test_the_page_says_how_a_media_stream_is_opened(world: World) -> None:
    async with world.client(None) as client:
        text = (await client.get("/docs")).text
    assert 'python -m websockets "$WS/v1.0/calls/$ID/media_stream' in html.unescape(text)
    assert "101. A WebSocket" in text


def test_every_reference_leads_somewhere_and_nothing_is_left_over(
    document: dict[str, Any],
) -> None:
    text = json.dumps(document)
    referred = set(re.findall(r'"\$ref": "#/components/(\w+)/(\w+)"', text))
    assert referred
    for kind, name in referred:
        assert name in document["components"][kind]
    schemas = {name for kind, name in referred if kind == "schemas"}
    assert set(document["components"]["schemas"]) == schemas


def test_every_field_of_an_answer_is_described(document: dict[str, Any]) -> None:
    silent = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        if not name.endswith("Body") or name == "ErrorBody"
        for field, described in schema.get("properties", {}).items()
        if not described.get("description")
    ]
    assert silent == []
    assert describe("Call", "no_such_field") == ""


def test_every_answer_of_an_operation_has_its_schema_listed(document: dict[str, Any]) -> None:
    answered = {
        operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        for _, _, operation in operations(document)
        if UPGRADED not in operation["responses"]
    }
    assert len(answered) == len(ANSWERS) - 1  # all but the error


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_valid(name: str) -> None:
    body: type[pydantic.BaseModel] = getattr(bodies, name)
    body.model_validate(EXAMPLES[name])


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    taken = {name for name in document["components"]["schemas"] if name.endswith("Body")}
    assert taken - {"ErrorBody"} == set(EXAMPLES)


def test_every_reason_is_listed_with_its_status(document: dict[str, Any]) -> None:
    text = json.dumps(document["components"]["responses"])
    assert all(f"`{name}`" in text for name in REASONS)


class Page(HTMLParser):
    """Collects what a page refers to, and whether its elements close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.elements: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        if tag != "meta":
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                assert value not in self.ids
                self.ids.add(value or "")
            if name in ("href", "src"):
                self.links.add(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_the_page_needs_nothing_from_anywhere_and_all_its_links_lead_somewhere(
    world: World,
) -> None:
    async with world.client(None) as client:
        answer = await client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    page = Page()
    page.feed(answer.text)
    assert page.open == []
    assert not page.elements & {"script", "link", "img", "iframe"}
    assert page.links - {"/openapi.json", "#top"} == {
        link for link in page.links if link[:1] == "#" and link[1:] in page.ids
    }
    for operation in OPERATIONS:
        assert operation.partition(" ")[2] in answer.text


async def test_the_document_and_the_way_to_the_page(world: World) -> None:
    async with world.client(None) as client:
        document = await client.get("/openapi.json")
        root = await client.get("/")
    assert document.json()["info"]["title"] == "Evercall API"
    assert (root.status_code, root.headers["location"]) == (307, "/docs")


RAISED = re.compile(
    r"(?:InvalidRequest|Unauthorized|Forbidden|NotFound|MethodNotAllowed|Conflict|TooLarge"
    r"|RateLimited|Internal|Unavailable|DeadlineExceeded)\(\s*\"([a-z_]+)\""
)
# Said between services only; what they lead to outside is a call's hangup reason, or a flow that goes on.
INSIDE = {
    "activeflow_already_stopped",
    "activeflow_state_invalid",
    "audio_unavailable",
    "media_target_invalid",
    "media_target_refused",
}


def test_every_code_that_the_sources_raise_is_a_documented_reason() -> None:
    root = Path(__file__).parents[3]
    sources = [*(root / "services").rglob("*.py"), *(root / "libs").rglob("*.py")]
    codes = {code for path in sources for code in RAISED.findall(path.read_text())}
    assert len(codes) > 20
    assert {code.upper() for code in codes - INSIDE} - set(REASONS) == set()

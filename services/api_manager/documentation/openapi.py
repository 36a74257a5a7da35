"""The OpenAPI 3.1 document: FastAPI's view of the requests, msgspec's view of the answers."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api_manager.documentation.descriptions import describe
from api_manager.documentation.examples import EXAMPLES
from api_manager.documentation.guide import GUIDE
from api_manager.documentation.media_streams import TAG as MEDIA_STREAM
from api_manager.documentation.media_streams import UPGRADED, media_stream_paths
from api_manager.documentation.reasons import REASONS
from api_manager.domain.scopes import is_key_management, required_scope
from api_manager.resources import Accesskey, AuditLog, CallsCreated, Customer, Token
from evercall.contracts.base import Page
from evercall.contracts.call import Call
from evercall.contracts.flow import Activeflow, Flow
from evercall.contracts.route import Number
from evercall.service.problem import STATUS_WORDS, ErrorAnswer

_PAGE = re.compile(r"\bPage_([A-Za-z]+)_")

REFERENCE = "#/components/schemas/{name}"

ANSWERS: tuple[Any, ...] = (
    Customer, Page[Customer],
    Accesskey, Page[Accesskey],
    Flow, Page[Flow],
    Number, Page[Number],
    Call, Page[Call], CallsCreated,
    Activeflow, Page[Activeflow],
    Page[AuditLog],
    Token, ErrorAnswer,
)  # fmt: skip

TAGS = (
    ("Auth", "Tokens for access keys."),
    ("Customer", "The tenants of the platform. For the administrator."),
    ("Accesskey", "The keys that a customer's programs call with."),
    ("Flow", "What calls do, step by step."),
    ("Number", "The numbers that a customer takes calls on."),
    ("Call", "Calls: placed, seen, ended."),
    (MEDIA_STREAM, "The audio of calls in an application's hands."),
    ("Activeflow", "Flows that run, and those that ran."),
    ("Audit log", "Who changed what, and whose credentials were refused."),
)

SECURITY_SCHEMES: Mapping[str, Mapping[str, str]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access key (`ec_…`), or a token from `POST /auth/token`.",
    },
    "token": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "A token, where no header can be set.",
    },
    "accesskey": {
        "type": "apiKey",
        "in": "query",
        "name": "accesskey",
        "description": "An access key, where no header can be set. For `GET` only.",
    },
}

IDEMPOTENCY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Carries the request out once, however often it is said within 24 hours.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}


def build_document(app: FastAPI) -> dict[str, Any]:
    """The document of all operations of an application."""
    document = get_openapi(
        title="Evercall API",
        version=app.version,
        openapi_version="3.1.0",
        description=GUIDE.strip(),
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in TAGS],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for name, example in EXAMPLES.items():
        schemas[name]["examples"] = [example]
    schemas.update(_answer_schemas())
    components["responses"] = {_name(status): _error(status) for status in STATUS_WORDS}
    components["securitySchemes"] = SECURITY_SCHEMES
    document["paths"].update(media_stream_paths())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(operation, path, method)
    named: dict[str, Any] = _rename_pages(document)
    return named


def _rename_pages(value: Any) -> Any:
    """`Page_Call_`, as msgspec names the schema of `Page[Call]`, as `CallPage`."""
    if isinstance(value, dict):
        return {_PAGE.sub(r"\1Page", key): _rename_pages(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rename_pages(part) for part in value]
    return _PAGE.sub(r"\1Page", value) if isinstance(value, str) else value


def _answer_schemas() -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components(ANSWERS, ref_template=REFERENCE)
    for name, schema in schemas.items():
        for field, description in schema.get("properties", {}).items():
            text = describe(name, field)
            if text:
                description["description"] = text
            if field.startswith("tm_"):
                _mark_as_time(description)
    return schemas


def _mark_as_time(schema: dict[str, Any]) -> None:
    for kind in schema.get("anyOf", [schema]):
        if kind.get("type") == "string":
            kind["format"] = "date-time"


def _complete(operation: dict[str, Any], path: str, method: str) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    statuses = _error_statuses(path, method, takes_body="requestBody" in operation)
    if UPGRADED in responses:
        statuses = sorted({*statuses, 409})
    for status in statuses:
        responses[str(status)] = {"$ref": f"#/components/responses/{_name(status)}"}
    if not path.startswith("/v1.0/"):
        operation["security"] = []
        return
    scope = required_scope(method.upper(), path)
    operation["security"] = [{name: [scope]} for name in _schemes(path, method)]
    operation["description"] += f" Scope: `{scope}`."
    if method == "post":
        operation.setdefault("parameters", []).append(IDEMPOTENCY_PARAMETER)


def _schemes(path: str, method: str) -> list[str]:
    """How an operation may be authenticated: a key in a URL changes nothing, and a token no keys."""
    schemes = ["bearer"]
    if not is_key_management(path):
        schemes.append("token")
    if method == "get":
        schemes.append("accesskey")
    return schemes


def _error_statuses(path: str, method: str, *, takes_body: bool) -> list[int]:
    statuses = {400, 401, 429, 500, 503, 504}
    if path.startswith("/v1.0/"):
        statuses |= {403, 404}
    if method in ("post", "delete") and path.startswith("/v1.0/"):
        statuses.add(409)
    if takes_body:
        statuses.add(413)
    return sorted(statuses)


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "")


def _error(status: int) -> dict[str, Any]:
    reasons = {name: reason for name, reason in REASONS.items() if reason.http_status == status}
    lines = [f"- `{name}`: {reason.meaning}" for name, reason in reasons.items()]
    example = {
        "error": {
            "status": STATUS_WORDS[status],
            "reason": next(iter(reasons)),
            "message": "…",
            "request_id": "0199a8f2-6c4e-7b11-9d57-0f3a5c2e8b10",
        }
    }
    return {
        "description": "\n".join(lines),
        "content": {
            "application/json": {
                "schema": {"$ref": REFERENCE.format(name="ErrorAnswer")},
                "example": example,
            }
        },
    }

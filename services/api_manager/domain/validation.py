"""Faults that pydantic finds, as an error of the platform: which field, and what is wrong with it."""

from collections.abc import Mapping, Sequence
from typing import Any

from evercall.service.errors import InvalidRequest

_MESSAGES: Mapping[str, str] = {
    "missing": "is required",
    "extra_forbidden": "is not known",
    "uuid_parsing": "must be a UUID",
    "uuid_type": "must be a UUID",
    "string_type": "must be a text",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}


def to_error(faults: Sequence[Mapping[str, Any]]) -> InvalidRequest:
    """One error for all faults of a request; the place of the first one decides its code.

    What the client sent is not repeated: it may be secret, and it may be large.
    """
    where = str(faults[0]["loc"][0]) if faults and faults[0]["loc"] else "body"
    missing = all(fault["type"] == "missing" for fault in faults)
    code, message = _code(where, missing=missing)
    return InvalidRequest(code, message, details={"faults": [_fault(fault) for fault in faults]})


def _code(where: str, *, missing: bool) -> tuple[str, str]:
    if where == "path":
        return "invalid_id", "The id in the path is not a UUID"
    if where == "body":
        return "invalid_argument", "The request is not valid"
    if missing:
        return "missing_request_parameter", "A request parameter is missing"
    return "invalid_request_parameter", "A request parameter is not valid"


def _fault(fault: Mapping[str, Any]) -> dict[str, str]:
    return {"path": field_name(fault["loc"][1:]), "message": _message(fault)}


def _message(fault: Mapping[str, Any]) -> str:
    known = _MESSAGES.get(fault["type"])
    return known or str(fault["msg"]).removeprefix("Value error, ")


def field_name(location: Sequence[str | int]) -> str:
    """`("destinations", 0, "target")` as `destinations[0].target`."""
    name = ""
    for part in location:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += f".{part}" if name else part
    return name

"""A request's body as JSON that every part of the platform can carry on.

JSON allows more than we can pass on: numbers beyond 64 bits, U+0000 in texts (which PostgreSQL does
not store), nesting without end. What would only break a service further in is refused here.
"""

from typing import Any

import msgspec

from evercall.service.errors import InvalidRequest

MAX_DEPTH = 32
_INT64 = range(-(2**63), 2**63)


def decode_object(body: bytes) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        InvalidRequest: `invalid_json_body`.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        raise _refusal("The body is not JSON") from None
    if not isinstance(value, dict):
        raise _refusal("The body is not a JSON object")
    _check(value)
    return value


def _check(root: dict[str, Any]) -> None:
    """Walks the whole value without recursion: its depth is what is in question."""
    level: list[Any] = [root]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, str) and "\0" in value:
                raise _refusal("A text in the body contains U+0000")
            elif type(value) is int and value not in _INT64:
                raise _refusal("A number in the body does not fit into 64 bits")
        if not below:
            return
        level = below
    raise _refusal(f"The body is nested deeper than {MAX_DEPTH} levels")


def _refusal(message: str) -> InvalidRequest:
    return InvalidRequest("invalid_json_body", message)

"""The operations that `media_manager` answers under the API's name: WebSockets with the audio of calls.

They are no routes of this process, so their description stands here.
"""

from typing import Any

TAG = "Media stream"

UPGRADED = "101"
"""The status of an operation that becomes a WebSocket."""

_PARTS = (
    ("call", "calls", "The audio of a call"),
    ("conference", "conferences", "The audio of a conference"),
)

_PARAMETERS: tuple[tuple[str, dict[str, Any], str], ...] = (
    (
        "encapsulation",
        {"type": "string", "enum": ["rtp", "sln", "audiosocket"], "default": "rtp"},
        "What a binary message holds: an RTP packet (ulaw), bare samples (16 bits, little-endian), or"
        " AudioSocket frames. `rtp` when left out.",
    ),
    (
        "direction",
        {"type": "string", "enum": ["both", "in", "out"], "default": "both"},
        "Seen by the application: `in`, it only receives; `out`, it only sends. `both` when left out.",
    ),
    (
        "rate",
        {"type": "integer", "enum": [8000, 16000], "default": 8000},
        "Samples per second; `rtp` knows 8000 only. 8000 when left out.",
    ),
    (
        "resume",
        {"type": "string", "format": "uuid"},
        "The `stream_id` of a stream whose connection broke less than ten seconds ago: it goes on.",
    ),
    (
        "customer_id",
        {"type": "string", "format": "uuid"},
        "For the administrator only: the customer to act for.",
    ),
)


def media_stream_paths() -> dict[str, Any]:
    """The paths of the document; what all operations share is not filled in yet."""
    return {
        f"/v1.0/{collection}/{{id}}/media_stream": {"get": _operation(name, subject)}
        for name, collection, subject in _PARTS
    }


def _operation(name: str, subject: str) -> dict[str, Any]:
    return {
        "tags": [TAG],
        "summary": f"{subject}, both ways",
        "description": _description(name),
        "operationId": f"open_{name}_media_stream",
        "parameters": [_identifier(), *(_parameter(*each) for each in _PARAMETERS)],
        "responses": {
            UPGRADED: {
                "description": "A WebSocket: audio in binary messages, control frames (JSON) in text messages."
            }
        },
    }


def _description(name: str) -> str:
    text = (
        f"Opens a WebSocket (RFC 6455) with the audio of a {name} that is up: what all parties say comes out of"
        " it, and what is sent into it all parties hear. Whatever is wrong is said before the upgrade, as with"
        " every other operation. `docs/media-streams.md` has the messages, the control frames and the close"
        " codes."
    )
    return f"{text} There are no conferences yet: `404`." if name == "conference" else text


def _identifier() -> dict[str, Any]:
    schema = {"type": "string", "format": "uuid"}
    return {"name": "id", "in": "path", "required": True, "schema": schema}


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }

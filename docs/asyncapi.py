"""Writes `docs/media-streams.asyncapi.json` (AsyncAPI 3.0) from control frames, framings and close codes."""

import json
from typing import Any

import msgspec

from evercall.media.encapsulation import RATES
from evercall.media.framing import Encapsulation
from media_manager.domain import control
from media_manager.domain.closing import CLOSE_CODES

Json = dict[str, Any]


def render() -> str:
    """The whole document."""
    schemas, refs = _schemas()
    said = [kind.__name__ for kind in control.SAID]
    asked = [kind.__name__ for kind in control.ASKED]
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Evercall media streams",
            "version": "1.0",
            "description": "The audio of a call, over a WebSocket. See docs/media-streams.md."
            " Which side sends what is seen from Evercall.",
            "x-close-codes": {end.value: code for end, code in CLOSE_CODES.items()},
        },
        "defaultContentType": "application/json",
        "channels": {"media_stream": _channel([*said, *asked])},
        "operations": {
            "tell": _operation("send", ["Audio", *said]),
            "hear": _operation("receive", ["Audio", *asked]),
        },
        "components": {
            "messages": {"Audio": _audio(), **{name: _message(name, refs[name]) for name in refs}},
            "schemas": schemas,
        },
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _schemas() -> tuple[Json, Json]:
    kinds: list[type[Any]] = [*control.SAID, *control.ASKED]
    found, schemas = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    refs = {kind.__name__: ref for kind, ref in zip(kinds, found, strict=True)}
    return dict(schemas), refs


def _channel(names: list[str]) -> Json:
    choices = {
        "encapsulation": [each.value for each in Encapsulation],
        "direction": ["both", "in", "out"],
        "rate": sorted({str(rate) for rates in RATES.values() for rate in rates}),
    }
    query: Json = {name: {"type": "string", "enum": values} for name, values in choices.items()}
    query |= {name: {"type": "string"} for name in ("token", "accesskey")}
    query["resume"] = {"type": "string", "format": "uuid"}
    return {
        "address": "/v1.0/{resource}/{id}/media_stream",
        "parameters": {
            "resource": {"enum": ["calls", "conferences"]},
            "id": {"description": "The call's id."},
        },
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in ["Audio", *names]},
        "bindings": {
            "ws": {
                "method": "GET",
                "query": {"type": "object", "properties": query},
                "bindingVersion": "0.1.0",
            }
        },
    }


def _operation(action: str, names: list[str]) -> Json:
    channel = "#/channels/media_stream"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{name}"} for name in names],
    }


def _audio() -> Json:
    return {
        "name": "audio",
        "contentType": "application/octet-stream",
        "description": "A binary message: audio in the encapsulation that was asked for.",
        "payload": {"type": "string", "format": "binary"},
    }


def _message(name: str, ref: Json) -> Json:
    return {"name": name.removesuffix("Asked").lower(), "payload": ref}

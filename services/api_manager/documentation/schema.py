"""JSON schemas as tables and examples: what a reader wants to know of them."""

import json
from dataclasses import dataclass
from typing import Any

Schemas = dict[str, Any]

_SAMPLES = {
    "uuid": "0199a8f2-6c4e-7b11-9d57-0f3a5c2e8b10",
    "date-time": "2026-01-31T08:15:30.123456Z",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One row of a schema's table. `reference` names the schema that the field holds."""

    name: str
    type: str
    reference: str
    required: bool
    description: str
    default: str


def fields_of(schema: dict[str, Any]) -> list[Field]:
    """The fields of an object's schema."""
    required = set(schema.get("required", ()))
    return [
        Field(
            name=name,
            type=type_of(field),
            reference=reference_of(field),
            required=name in required,
            description=_description(field),
            default=_default(field),
        )
        for name, field in schema.get("properties", {}).items()
    ]


def type_of(schema: dict[str, Any]) -> str:
    """A schema in a word or two."""
    if "$ref" in schema:
        return _name(schema["$ref"])
    if "anyOf" in schema:
        return " or ".join(type_of(kind) for kind in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " | ".join(json.dumps(value) for value in values)
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "anything")


def reference_of(schema: dict[str, Any]) -> str:
    """The schema that a field refers to, "" where it refers to none."""
    if "$ref" in schema:
        return _name(schema["$ref"])
    inner = [*schema.get("anyOf", ()), schema.get("items", {})]
    return next((name for part in inner if part and (name := reference_of(part))), "")


def example_of(schema: dict[str, Any], schemas: Schemas, depth: int = 0) -> Any:
    """A value that fits the schema."""
    if "$ref" in schema:
        return example_of(schemas[_name(schema["$ref"])], schemas, depth)
    for given in (schema.get("examples", [None])[0], schema.get("const")):
        if given is not None:
            return given
    if "enum" in schema:
        return next(value for value in schema["enum"] if value)
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], schemas, depth)
    if "properties" in schema and depth < 4:
        parts = schema["properties"].items()
        return {name: example_of(part, schemas, depth + 1) for name, part in parts}
    if schema.get("type") == "array":
        items = schema.get("items", {})
        return [example_of(items, schemas, depth + 1)] if "$ref" in items else []
    return _sample(schema)


def _sample(schema: dict[str, Any]) -> Any:
    if schema.get("format") in _SAMPLES:
        return _SAMPLES[schema["format"]]
    empty: dict[str, Any] = {"integer": 1, "boolean": False, "object": {}, "string": ""}
    return schema.get("default", empty.get(schema.get("type", "")))


def _description(schema: dict[str, Any]) -> str:
    """A field that may be null has its description one level further in."""
    inner = (part.get("description", "") for part in schema.get("anyOf", ()))
    return str(schema.get("description") or next(filter(None, inner), ""))


def _default(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    return "" if default in (None, "", [], {}) else json.dumps(default)


def _name(reference: str) -> str:
    return reference.rsplit("/", 1)[-1]

"""What the option structs say about themselves: for checking, filling in and documentation."""

from collections.abc import Mapping
from typing import Any

from msgspec import inspect

from flow_manager.domain.actions import ACTION_TYPES, Option


def unwrap(kind: inspect.Type) -> tuple[inspect.Type, dict[str, Any]]:
    """A type, and what its annotations say beside the bounds: title, description, template."""
    if not isinstance(kind, inspect.Metadata):
        return kind, {}
    return kind.type, {**(kind.extra_json_schema or {}), **(kind.extra or {})}


def _fields(option: type[Option]) -> Mapping[str, inspect.Field]:
    info = inspect.type_info(option)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - narrows the type
    return {field.encode_name: field for field in info.fields}


def _is_template(kind: inspect.Type) -> bool:
    inner, notes = unwrap(kind)
    if isinstance(inner, inspect.ListType):
        return _is_template(inner.item_type)
    return bool(notes.get("template"))


FIELDS: Mapping[type[Option], Mapping[str, inspect.Field]] = {
    kind.option: _fields(kind.option) for kind in ACTION_TYPES.values()
}

TEMPLATES: Mapping[type[Option], tuple[str, ...]] = {
    option: tuple(name for name, field in fields.items() if _is_template(field.type))
    for option, fields in FIELDS.items()
}
"""The fields of each option struct that variables are filled into."""


SPOKEN: Mapping[type[Option], frozenset[str]] = {
    option: frozenset(name for name, field in fields.items() if unwrap(field.type)[1].get("spoken"))
    for option, fields in FIELDS.items()
}
"""Of those, the texts that are spoken: they may be markup."""


def describe(kind: inspect.Type) -> str:
    """What a field may hold, in words."""
    inner, notes = unwrap(kind)
    if "title" in notes:
        return str(notes["title"])
    match inner:
        case inspect.UnionType():
            return " or ".join(describe(choice) for choice in inner.types)
        case inspect.NoneType():
            return "null"
        case inspect.ListType():
            return f"a list of {_span(inner.min_length, inner.max_length)} items"
        case inspect.DictType():
            return f"an object of {_span(inner.min_length, inner.max_length)} entries"
        case inspect.IntType():
            return f"an integer {_range(inner.ge, inner.le)}"
        case inspect.FloatType():
            return "a number"
        case inspect.EnumType():
            return "one of " + ", ".join(f'"{member.value}"' for member in inner.cls)
        case inspect.UUIDType():
            return "a UUID"
        case inspect.StrType():
            return f"a text of {_span(inner.min_length, inner.max_length)} characters"
    raise TypeError(f"no option is of type {inner}")


def _span(low: int | None, high: int | None) -> str:
    return f"{low} to {high}" if low else f"at most {high}"


def _range(low: float | None, high: float | None) -> str:
    return f"from {low} to {high}"

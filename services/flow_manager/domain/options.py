"""Compares what a customer wrote with what an option struct allows, and names every fault.

msgspec stops at the first fault; customers want to see all. So this walks msgspec's own description of
the struct, which keeps one definition for checking, decoding and documentation.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import msgspec
from msgspec import inspect

from flow_manager.domain.actions import MAX_TEXT, Option
from flow_manager.domain.faults import Fault, cut, shown
from flow_manager.domain.schema import FIELDS, SPOKEN, TEMPLATES, describe, unwrap
from flow_manager.domain.variables import has_placeholder, substitute, substitute_spoken


def read_unfilled(option: type[Option], given: Mapping[str, Any]) -> Option:
    """The typed options as they were written: templates stay open, all else is what it will be."""
    values = {}
    for field in msgspec.structs.fields(option):
        if field.name in TEMPLATES[option]:
            values[field.name] = given.get(field.name, "")
        elif field.name in given:
            values[field.name] = msgspec.convert(given[field.name], field.type)
    return option(**values)


# -- variables ---------------------------------------------------------------------------------


def texts(option: type[Option], given: Mapping[str, Any]) -> Iterator[str]:
    """All texts that variables are filled into."""
    for name in TEMPLATES[option]:
        yield from _as_list(given.get(name, ""))


def fill(
    option: type[Option], given: Mapping[str, Any], variables: Mapping[str, str]
) -> dict[str, Any] | None:
    """The options with their variables filled in; None when a text grows beyond its bound."""
    filled = dict(given)
    for name in TEMPLATES[option]:
        value = given.get(name, "")
        replace = substitute_spoken if name in SPOKEN[option] else substitute
        parts = [replace(text, variables) for text in _as_list(value)]
        if None in parts:
            return None
        if name in given:
            filled[name] = parts if isinstance(value, list) else parts[0]
    return filled


def _as_list(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


# -- faults ------------------------------------------------------------------------------------


def option_faults(option: type[Option], given: Mapping[str, Any], path: str) -> Iterator[Fault]:
    """All that is wrong with one action's options."""
    fields = FIELDS[option]
    known = ", ".join(fields) or "none"
    for name in given:
        if name not in fields:
            yield Fault(f"{path}.{cut(name)}", f"is not known; the options are: {known}")
    for name, field in fields.items():
        if name in given:
            yield from _value_faults(field.type, given[name], f"{path}.{name}")
        elif field.required:
            yield Fault(f"{path}.{name}", f"is missing; it must be {describe(field.type)}")


def _value_faults(kind: inspect.Type, value: object, path: str) -> Iterator[Fault]:
    inner, notes = unwrap(kind)
    if notes.get("template") and _is_open_template(value):
        return
    if not _fits(inner, value):
        yield Fault(path, f"must be {describe(kind)}, not {shown(value)}")
    elif isinstance(inner, inspect.ListType) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _value_faults(inner.item_type, item, f"{path}[{index}]")
    elif isinstance(inner, inspect.DictType) and isinstance(value, dict):
        for key, item in value.items():
            where = f"{path}.{cut(key)}"
            yield from _value_faults(inner.key_type, key, where)
            yield from _value_faults(inner.value_type, item, where)


def _is_open_template(value: object) -> bool:
    """A text whose value is not known yet, so that only what never changes can be checked."""
    return (
        isinstance(value, str)
        and len(value) <= MAX_TEXT
        and "\0" not in value
        and has_placeholder(value)
    )


def _fits(kind: inspect.Type, value: Any) -> bool:
    """Whether a value fits, not looking at the items that it holds."""
    match kind:
        case inspect.UnionType():
            return any(_fits(unwrap(choice)[0], value) for choice in kind.types)
        case inspect.NoneType():
            return value is None
        case inspect.ListType():
            return isinstance(value, list) and _within(len(value), kind.min_length, kind.max_length)
        case inspect.DictType():
            return isinstance(value, dict) and _within(len(value), kind.min_length, kind.max_length)
        case inspect.IntType():
            return type(value) is int and _within(value, kind.ge, kind.le)
        case inspect.FloatType():
            return type(value) in (int, float) and _is_finite(value)
        case inspect.EnumType():
            return isinstance(value, str) and value in {member.value for member in kind.cls}
        case inspect.UUIDType():
            return is_uuid(value)
    return isinstance(kind, inspect.StrType) and isinstance(value, str) and _text_fits(kind, value)


def _text_fits(kind: inspect.StrType, text: str) -> bool:
    # PostgreSQL keeps no U+0000 in text and jsonb.
    if "\0" in text or not _within(len(text), kind.min_length, kind.max_length):
        return False
    return kind.pattern is None or re.search(kind.pattern, text) is not None


def _within(number: float, low: float | None, high: float | None) -> bool:
    return (low is None or number >= low) and (high is None or number <= high)


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond the range of floats
        return False


def is_uuid(value: object) -> bool:
    """Whether a value is a UUID in its usual form."""
    if not isinstance(value, str):
        return False
    try:
        msgspec.convert(value, UUID)
    except msgspec.ValidationError:
        return False
    return True

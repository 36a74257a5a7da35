"""How faults speak."""

from typing import Any

import pytest
from msgspec import inspect

from flow_manager.domain.faults import shown
from flow_manager.domain.schema import FIELDS, describe


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (-(10**15), "a very large integer"),
        (1.5, "1.5"),
        ('say "hi"', '"say \\"hi\\""'),
        ("x" * 65, '"' + "x" * 64 + '…"'),
        ([1, 2], "a list of 2 items"),
        ({"a": 1}, "an object of 1 entries"),
    ],
)
def test_values_are_shown_in_short(value: Any, expected: str) -> None:
    assert shown(value) == expected


def test_only_json_is_shown() -> None:
    with pytest.raises(TypeError):
        shown(object())


def test_every_option_can_be_described() -> None:
    for fields in FIELDS.values():
        for field in fields.values():
            assert describe(field.type)


def test_a_type_that_no_option_has_is_a_mistake() -> None:
    with pytest.raises(TypeError):
        describe(inspect.AnyType())

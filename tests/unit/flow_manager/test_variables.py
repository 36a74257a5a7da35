"""Substitution and the bounds of variables."""

import time

import pytest

from flow_manager.domain import variables
from flow_manager.domain.actions import MAX_TEXT
from flow_manager.domain.variables import (
    has_placeholder,
    reads,
    refusal,
    substitute,
    substitute_spoken,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", "hello"),
        ("", ""),
        ("${name}", "Ada"),
        ("hi ${name}, ${name}!", "hi Ada, Ada!"),
        ("${nobody}", ""),
        ("a${nobody}b", "ab"),
        ("${}", "${}"),
        ("${name", "${name"),
        ("$name {name}", "$name {name}"),
        ("$${name}", "$Ada"),
        ("${${name}}", "${Ada}"),
        ("${a.b c}", "dotted"),
        ("${Name}", ""),
        ("${sly}", "${name}"),
    ],
)
def test_substitution(text: str, expected: str) -> None:
    given = {"name": "Ada", "a.b c": "dotted", "sly": "${name}"}
    assert substitute(text, given) == expected


def test_the_output_is_bounded_to_the_character() -> None:
    half = {"v": "x" * (MAX_TEXT // 2)}
    assert substitute("${v}${v}", half) == "x" * MAX_TEXT
    assert substitute("${v}${v}!", half) is None
    assert substitute("!${v}${v}", half) is None


def test_a_text_that_asks_for_gigabytes_is_given_up_at_once() -> None:
    began = time.perf_counter()
    assert substitute("${v}" * 8000, {"v": "x" * variables.MAX_VALUE_BYTES}) is None
    assert time.perf_counter() - began < 0.5


def test_placeholders_are_seen() -> None:
    assert has_placeholder("a ${b} c")
    assert not has_placeholder("a ${} {b}")
    assert reads("press ${voipbin.call.digits}", "voipbin.call.digits")
    assert not reads("press voipbin.call.digits", "voipbin.call.digits")


def test_a_variable_that_fits_is_not_refused() -> None:
    assert refusal({}, "key", "value") == ""
    assert refusal({}, "key", "") == ""


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_names_have_a_length(key: str) -> None:
    assert "from 1 to 255" in refusal({}, key, "value")


def test_a_value_is_bounded_in_bytes() -> None:
    assert refusal({}, "key", "é" * (variables.MAX_VALUE_BYTES // 2)) == ""
    assert "32768 bytes" in refusal({}, "key", "é" * (variables.MAX_VALUE_BYTES // 2) + "x")


def test_the_number_of_variables_is_bounded_but_old_ones_can_change() -> None:
    full = {f"k{number}": "" for number in range(variables.MAX_KEYS)}
    assert "100 variables" in refusal(full, "new", "")
    assert refusal(full, "k0", "changed") == ""
    full.pop("k1")
    assert refusal(full, "new", "") == ""


def test_all_variables_together_are_bounded_with_their_names() -> None:
    kept = {"a": "x" * (variables.MAX_VALUE_BYTES - 1)}
    assert refusal(kept, "b", "y" * (variables.MAX_VALUE_BYTES - 1)) == ""
    assert "65536 bytes" in refusal(kept, "bb", "y" * (variables.MAX_VALUE_BYTES - 1))
    assert refusal({**kept, "b": "y" * 1000}, "b", "z" * 2000) == ""


def test_a_value_counts_as_it_is_stored() -> None:
    """Control characters have six bytes in JSON."""
    assert refusal({}, "key", "\x01" * (variables.MAX_VALUE_BYTES // 6)) == ""
    assert "32768 bytes" in refusal({}, "key", "\x01" * (variables.MAX_VALUE_BYTES // 6 + 1))


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("<speak>${who}</speak>", "A & B", "<speak>A &amp; B</speak>"),
        (
            "<speak>${who}</speak>",
            '</speak><audio src="/x"/>',
            "<speak>&lt;/speak&gt;&lt;audio src=&quot;/x&quot;/&gt;</speak>",
        ),
        ('<speak><sub alias="${who}">x</sub></speak>', '"', None),
        ("${who} calls", "A & B", "A & B calls"),
        ("${who} calls", "<speak>", " speak> calls"),
        ("1 < 2 ${who}", "<b>", "1 < 2 <b>"),
        ("<speak>${nobody}</speak>", "", "<speak></speak>"),
    ],
)
def test_no_value_becomes_markup_that_is_spoken(
    text: str, value: str, expected: str | None
) -> None:
    wanted = '<speak><sub alias="&quot;">x</sub></speak>' if expected is None else expected
    assert substitute_spoken(text, {"who": value}) == wanted

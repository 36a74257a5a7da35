"""Digits: collecting, type-ahead, barge-in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from call_manager.domain.digits import MOST_DIGITS, collect, type_ahead
from evercall.contracts.flow import RunReport
from tests.unit.call_manager.stage import (
    ANSWER,
    PLAY,
    SECOND,
    SLEEP,
    TALK,
    Stage,
    action,
    digits,
    gone,
    incoming,
    key,
    played,
    receive_digits,
    up,
)

KEYS = st.text("0123456789*#ABCD", max_size=20)


@pytest.mark.parametrize(
    ("typed", "length", "keys", "digits", "rest", "complete"),
    [
        ("", 1, "", "", "", False),
        ("1", 1, "", "1", "", True),
        ("12", 1, "", "1", "2", True),
        ("12", 4, "", "12", "", False),
        ("12#", 4, "#", "12#", "", True),
        ("12#3", 4, "#", "12#", "3", True),
        ("1234#", 4, "#", "1234", "#", True),
        ("12*", 4, "#*", "12*", "", True),
        ("123456", 0, "", "123456", "", False),
        ("123456#", 0, "#", "123456#", "", True),
    ],
)
def test_collecting(
    typed: str, length: int, keys: str, digits: str, rest: str, complete: bool
) -> None:
    assert collect(typed, length, keys) == (digits, rest, complete)


@given(KEYS, st.integers(0, 10), st.text("#*", max_size=2))
def test_nothing_typed_is_lost_or_doubled(typed: str, length: int, keys: str) -> None:
    taken = collect(typed, length, keys)
    assert taken.digits + taken.rest == typed
    assert taken.complete or taken.rest == ""
    assert length == 0 or len(taken.digits) <= length


def test_type_ahead_is_bounded_and_keeps_keys_only() -> None:
    assert type_ahead("1", "2") == "12"
    assert type_ahead("1", "E") == "1"
    full = "1" * MOST_DIGITS
    assert type_ahead(full, "2") == full


def reported(stage: Stage) -> str | None:
    body = stage.asks[-1].body
    assert isinstance(body, RunReport)
    return body.digits


def menu(length: int = 1, key: str = "") -> Stage:
    """A prompt that gives way to digits, and the digits."""
    stage = incoming(ANSWER, PLAY, receive_digits(length, key), final=False)
    stage.hear(up())
    stage.take_commands()
    return stage


def test_digits_after_the_prompt() -> None:
    stage = menu()
    stage.hear(played("1-1"))
    stage.hear(*digits("7"))
    assert reported(stage) == "7"
    assert stage.timers.keys() == {"duration"}


def test_a_digit_interrupts_the_prompt_before_digits_are_wanted() -> None:
    stage = menu()
    stage.hear(*digits("7"))
    assert stage.take_commands() == ["DELETE playbacks/<call>.1-1"]
    assert reported(stage) == "7"
    # Its end comes in later and means nothing any more.
    before = stage.call
    stage.hear(played("1-1", failed=True))
    assert stage.call == before


def test_several_digits_begun_during_the_prompt() -> None:
    stage = menu(length=4, key="#")
    stage.hear(*digits("12"))
    stage.wait(SECOND)
    stage.hear(*digits("3#"))
    assert reported(stage) == "123#"


def test_a_prompt_that_is_not_followed_by_digits_is_not_interrupted() -> None:
    stage = incoming(ANSWER, PLAY, SLEEP, receive_digits(), final=False)
    stage.hear(up())
    stage.take_commands()
    stage.hear(*digits("5"))
    assert stage.take_commands() == []
    stage.hear(played("1-1"))
    stage.wait(3 * SECOND)
    assert reported(stage) == "5"


def test_a_talk_can_give_way_to_any_digit() -> None:
    stage = incoming(ANSWER, action("talk", text="x", language="en", digits_handle="next"), SLEEP)
    stage.hear(up())
    stage.take_commands()
    stage.hear(*digits("5"))
    assert stage.take_commands() == ["DELETE playbacks/<call>.1-1"]
    assert stage.call.digits == "5"


def test_what_was_typed_ahead_skips_the_next_prompt() -> None:
    stage = menu()
    stage.hear(*digits("12"))
    assert reported(stage) == "1"
    stage.take_commands()
    stage.give_run(TALK, receive_digits(), sequence=2, final=False)
    assert stage.take_commands() == []
    assert reported(stage) == "2"
    stage.give_run(TALK, receive_digits(), sequence=3, final=False)
    assert len(stage.take_commands()) == 1


def test_digits_typed_while_the_prompt_is_prepared() -> None:
    stage = incoming(ANSWER, PLAY, receive_digits(), final=False, audio=None)
    stage.hear(up())
    stage.hear(*digits("9"))
    assert reported(stage) == "9"
    stage.give_run(SLEEP, sequence=2)
    assert not any(key.startswith("audio") for key in stage.pending)


def test_digits_typed_while_flow_manager_thinks() -> None:
    stage = incoming(ANSWER, final=False)
    stage.hear(up())
    stage.hear(*digits("44"))
    stage.give_run(receive_digits(2), sequence=2, final=False)
    assert reported(stage) == "44"


@pytest.mark.parametrize(("typed", "expected"), [("", ""), ("12", "12")])
def test_time_ends_the_waiting(typed: str, expected: str) -> None:
    stage = incoming(ANSWER, receive_digits(4, "#", 5000), final=False)
    stage.hear(up())
    stage.wait(2 * SECOND)
    stage.hear(*digits(typed))
    stage.wait(3 * SECOND)
    assert reported(stage) == expected


def test_a_run_without_digits_reports_none() -> None:
    stage = incoming(ANSWER, final=False)
    assert reported(stage) is None


def test_digits_are_gone_when_the_call_is_over() -> None:
    stage = incoming(ANSWER, SLEEP)
    stage.hear(up())
    stage.hear(*digits("1234"))
    assert stage.call.digits == "1234"
    stage.hear(gone())
    stage.assert_over()


@pytest.mark.parametrize(
    ("strokes", "heard"),
    [
        # As told by Asterisk 22.10 for keys of 100, 40 and 200 ms with pauses of 20 ms.
        (
            [("1", 0.433), ("2", 0.554), ("3", 0.672), ("3", 0.700), ("4", 0.793), ("4", 0.849)],
            "1234",
        ),
        # A key that is really pressed again, as fast as a machine does it.
        ([("3", 0.0), ("3", 0.16)], "33"),
        ([("3", 0.0), ("3", 0.04), ("3", 0.16), ("3", 0.2)], "33"),
        # Another key is never an echo.
        ([("3", 0.0), ("4", 0.02), ("3", 0.04)], "343"),
    ],
)
def test_a_key_that_asterisk_tells_twice_counts_once(
    strokes: list[tuple[str, float]], heard: str
) -> None:
    stage = incoming(SLEEP)
    for digit, at in strokes:
        stage.hear(key(digit, at=at))
    assert stage.call.digits == heard


@pytest.mark.parametrize(("milliseconds", "apart", "heard"), [(40, 0.052, "5"), (40, 0.09, "55")])
def test_a_short_key_that_asterisk_tells_twice_counts_once(
    milliseconds: int, apart: float, heard: str
) -> None:
    stage = incoming(SLEEP)
    stage.hear(key("5", at=1.0, milliseconds=milliseconds))
    stage.hear(key("5", at=1.0 + apart, milliseconds=milliseconds))
    assert stage.call.digits == heard


def test_the_last_key_is_forgotten_when_the_call_ends() -> None:
    stage = incoming(SLEEP)
    stage.hear(*digits("5"))
    stage.hear(gone())
    assert stage.call.last_key is None

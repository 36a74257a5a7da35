"""Packets are put in order by their numbers alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.media.reorder import DROPOUT, MISORDER, WINDOW, Reorder
from tests.unit.media.samples import QUICK


def push(order: Reorder, *sequences: int) -> list[int]:
    """What comes out, each payload being its packet's number."""
    return [
        int(payload)
        for sequence in sequences
        for payload in order.push(sequence & 0xFFFF, b"%d" % sequence)
    ]


def test_what_is_in_order_passes() -> None:
    order = Reorder()
    assert push(order, 65534, 65535, 65536, 65537) == [65534, 65535, 65536, 65537]
    assert (order.held, order.late, order.missing) == (0, 0, 0)


@QUICK
@given(st.integers(0, 0xFFFF), st.permutations(range(1, WINDOW)))
def test_what_is_within_the_window_is_put_in_order(begin: int, mixed: list[int]) -> None:
    order = Reorder()
    heard = push(order, begin, *(begin + number for number in mixed))
    assert heard == list(range(begin, begin + WINDOW))
    assert (order.late, order.missing) == (0, 0)


def test_one_that_does_not_come_is_given_up() -> None:
    order = Reorder()
    heard = push(order, 0, *range(2, WINDOW + 1))
    assert (heard, order.held) == ([0], WINDOW - 1)
    assert push(order, WINDOW + 1) == list(range(2, WINDOW + 2))
    assert (order.missing, order.held) == (1, 0)


def test_only_the_first_of_two_holes_is_given_up() -> None:
    order = Reorder()
    push(order, 0, *range(2, 9), *range(10, WINDOW + 1))
    assert push(order, WINDOW + 1) == list(range(2, 9))
    assert push(order, 9) == list(range(9, WINDOW + 2))
    assert order.missing == 1


def test_what_waits_is_released_when_asked_for() -> None:
    order = Reorder()
    push(order, 5, 8, 7, 10)
    assert [int(payload) for payload in order.release()] == [7, 8, 10]
    assert (order.missing, order.release()) == (2, [])
    assert push(order, 11) == [11]


def test_late_and_double_packets_are_counted_and_left_out() -> None:
    order = Reorder()
    assert push(order, 5, 6, 8, 8, 6, 5) == [5, 6]
    assert order.late == 3


@pytest.mark.parametrize("jump", [DROPOUT, 30_000, -MISORDER - 3, -20_000])
def test_a_sender_may_number_anew(jump: int) -> None:
    order = Reorder()
    push(order, 40_000, 40_002)
    assert push(order, 40_003 + jump, 40_004 + jump) == [40_002, 40_003 + jump, 40_004 + jump]
    assert order.missing == 1


def test_a_sender_may_number_each_prompt_from_the_beginning() -> None:
    order = Reorder()
    push(order, *range(50))
    assert push(order, *range(50)) == list(range(50))
    assert (order.late, order.missing) == (0, 0)


def test_two_that_are_behind_do_not_begin_anew() -> None:
    order = Reorder()
    push(order, *range(50))
    assert push(order, 10, 11, 20, 21, 50) == [50]
    assert order.late == 4


def test_packets_that_all_come_twice_are_heard_once() -> None:
    order = Reorder()
    twice = [number for number in range(20) for _ in range(2)]
    assert push(order, *twice) == list(range(20))
    assert order.late == 20


def test_a_jump_ahead_within_the_numbering_leaves_a_hole() -> None:
    order = Reorder()
    assert push(order, 0, 100, 101) == [0, 100, 101]
    assert order.missing == 99


def test_another_sender_begins_anew() -> None:
    order = Reorder()
    push(order, 0, 2)
    assert [int(payload) for payload in order.restart()] == [2]
    assert push(order, 9, 10) == [9, 10]
    assert order.late == 0


@QUICK
@given(st.lists(st.integers(0, 0xFFFF) | st.integers(0, 40), max_size=60))
def test_little_is_held_and_nothing_comes_out_twice(sequences: list[int]) -> None:
    order = Reorder()
    given_in, out = 0, 0
    for sequence in sequences:
        given_in += 1
        out += len(order.push(sequence, b"x"))
        assert order.held < WINDOW
    out += len(order.release())
    assert out + order.late == given_in

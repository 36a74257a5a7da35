"""The ends of a stream, as close codes say them."""

import pytest

from media_manager.domain.closing import CLOSE_CODES, StreamEnd, end_of, is_orderly


def test_every_end_has_a_code_that_may_be_sent() -> None:
    assert set(CLOSE_CODES) == set(StreamEnd)
    # RFC 6455 §7.4.1: 1005, 1006 and 1015 never travel.
    assert {1005, 1006, 1015}.isdisjoint(CLOSE_CODES.values())


@pytest.mark.parametrize(
    ("code", "orderly"),
    [(1000, True), (1001, True), (1005, True), (None, False), (1006, False), (1012, False)],
)
def test_who_closes_in_good_order_does_not_come_back(code: int | None, orderly: bool) -> None:
    assert is_orderly(code) is orderly


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("call_ended", StreamEnd.CALL_ENDED),
        ("stopped_by_flow", StreamEnd.STOPPED),
        ("resource_lost", StreamEnd.RESOURCE_LOST),
        ("asterisk_unavailable", StreamEnd.RESOURCE_LOST),
        ("asterisk_refused", StreamEnd.RESOURCE_LOST),
        ("owner_lost", StreamEnd.RESOURCE_LOST),
        ("a word of a newer call_manager", StreamEnd.STOPPED),
    ],
)
def test_the_calls_word_is_translated(reason: str, end: StreamEnd) -> None:
    assert end_of(reason) is end

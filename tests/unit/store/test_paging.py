import contextlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.service.errors import InvalidRequest
from evercall.store.paging import TOKEN_PATTERN, decode_token, encode_token, page

Row = tuple[datetime, UUID]
START = datetime(2026, 1, 1, tzinfo=UTC)


TIMES = st.datetimes(datetime(1970, 1, 1), datetime(4253, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(TIMES, st.uuids())
def test_a_token_brings_back_its_key(at: datetime, identifier: UUID) -> None:
    assert decode_token(encode_token(at, identifier)) == (at, identifier)


@given(st.text())
def test_any_text_is_a_token_or_a_clear_error(text: str) -> None:
    with contextlib.suppress(InvalidRequest):
        at, identifier = decode_token(text)
        assert decode_token(encode_token(at, identifier)) == (at, identifier)


@given(st.from_regex(TOKEN_PATTERN, fullmatch=True))
def test_what_the_pattern_lets_through_is_a_token(text: str) -> None:
    assert encode_token(*decode_token(text)) == text


@pytest.mark.parametrize("token", ["x", "AAAA", "é", "\0", "A" * 10_000, "B" * 32, "A" * 31 + "="])
def test_a_forged_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest, match="page_token"):
        decode_token(token)


def test_the_extra_row_says_that_there_is_a_next_page() -> None:
    rows: list[Row] = [(START - timedelta(seconds=n), UUID(int=n)) for n in range(3)]
    kept, token = page(rows, 2, lambda row: row)
    assert kept == rows[:2]
    assert decode_token(token) == rows[1]
    assert page(rows[:2], 2, lambda row: row) == (rows[:2], "")

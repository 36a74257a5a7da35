"""The Cookie header: read in one pass, and never far."""

import pytest

from api_manager.domain.cookies import MAX_COOKIE_BYTES, read_cookies
from evercall.service.errors import InvalidRequest


@pytest.mark.parametrize(
    ("header", "cookies"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1; b=2", {"a": "1", "b": "2"}),
        ("a=1;b=2;", {"a": "1", "b": "2"}),
        (' a = "1" ', {"a": "1"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=1; a=2", {"a": "1"}),
        ("a=", {"a": ""}),
        ('a="', {"a": '"'}),
        (";;=; =x; nothing", {}),
        ('a=\\"; b=2', {"a": '\\"', "b": "2"}),
    ],
)
def test_pairs_are_read_and_the_rest_is_skipped(header: str, cookies: dict[str, str]) -> None:
    assert read_cookies(header) == cookies


def test_a_header_that_is_too_long_is_not_looked_at() -> None:
    assert read_cookies(f"a={'1' * (MAX_COOKIE_BYTES - 2)}")
    with pytest.raises(InvalidRequest) as refused:
        read_cookies(f"a={'1' * (MAX_COOKIE_BYTES - 1)}")
    assert refused.value.details["field"] == "Cookie"

"""Which credential of a request counts."""

import hashlib

import pytest

from api_manager.domain.credentials import (
    AccesskeyToken,
    JsonWebToken,
    find_credential,
)


@pytest.mark.parametrize(
    ("cookies", "query", "authorization", "found"),
    [
        ({}, {}, "", None),
        ({}, {}, "Bearer ec_1", AccesskeyToken("ec_1")),
        ({}, {}, "bearer  ec_1 ", AccesskeyToken("ec_1")),
        ({}, {}, "Bearer a.b.c", JsonWebToken("a.b.c")),
        ({}, {}, "Basic ec_1", None),
        ({}, {}, "Bearer", None),
        ({}, {"token": "a.b.c"}, "", JsonWebToken("a.b.c")),
        ({}, {"token": "ec_1"}, "", AccesskeyToken("ec_1")),
        ({}, {"accesskey": "ec_1"}, "", AccesskeyToken("ec_1")),
        ({"token": "a.b.c"}, {"token": "d.e.f"}, "Bearer ec_1", JsonWebToken("a.b.c")),
        ({}, {"token": "d.e.f"}, "Bearer ec_1", JsonWebToken("d.e.f")),
        ({"accesskey": "ec_c"}, {"accesskey": "ec_q"}, "Bearer ec_b", AccesskeyToken("ec_b")),
        ({"accesskey": "ec_c"}, {"accesskey": "ec_q"}, "", AccesskeyToken("ec_c")),
    ],
)
def test_the_first_place_in_the_documented_order_counts(
    cookies: dict[str, str], query: dict[str, str], authorization: str, found: object
) -> None:
    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
    assert find_credential("GET", header, query, authorization) == found


CHANGING = pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])


@CHANGING
def test_cookies_count_for_nothing_that_changes_something(method: str) -> None:
    assert find_credential(method, "token=a.b.c; accesskey=ec_1", {}, "") is None


@CHANGING
@pytest.mark.parametrize("parameter", ["token", "accesskey"])
def test_an_access_key_in_a_url_changes_nothing(method: str, parameter: str) -> None:
    query = {parameter: "ec_1"}
    assert find_credential(method, "", query, "") is None
    assert find_credential(method, "", query, "Bearer ec_2") == AccesskeyToken("ec_2")
    assert find_credential(method, "", {"token": "a.b.c"}, "") == JsonWebToken("a.b.c")


@CHANGING
def test_cookies_that_do_not_count_may_be_long(method: str) -> None:
    assert find_credential(method, "x" * 5000, {}, "Bearer ec_2") == AccesskeyToken("ec_2")


def test_an_accesskey_is_stored_as_its_hash_and_shown_by_its_beginning() -> None:
    key = AccesskeyToken("ec_0123456789")
    assert key.digest == hashlib.sha256(b"ec_0123456789").digest()
    assert key.public_prefix == "ec_012345"

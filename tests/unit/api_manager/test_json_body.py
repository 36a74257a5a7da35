"""Bodies that every part of the platform can carry on, and those that not."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_manager.domain.json_body import MAX_DEPTH, decode_object
from evercall.service.errors import InvalidRequest

json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"nonsense", b"[]", b'"text"', b"5", b"null", b'{"a": NaN}', b'{"a": Infinity}',
        b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"a": "\\ud800"}', b'{"a": "\xff"}', b'{"a": 1e999}',
        b'{"a": "x\\u0000y"}', b'{"a\\u0000": 1}', b'{"a": [[{"b": "\\u0000"}]]}',
        b'{"a": 9223372036854775808}', b'{"a": -9223372036854775809}', b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
        b'{"a":' + b"[" * 200_000, b'{"a": 1} {"b": 2}', b"{'a': 1}", b'{"a": 1,}',
    ],
)  # fmt: skip
def test_what_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_object(body)
    assert refused.value.code == "invalid_json_body"


def test_what_is_taken() -> None:
    body = b'{"a": [1, -9223372036854775808, 1.5, true, null, "\\u00e4\\n", {"b": {}}]}'
    assert decode_object(body) == {"a": [1, -(2**63), 1.5, True, None, "ä\n", {"b": {}}]}
    assert decode_object(b'{"a":' * 20 + b"1" + b"}" * 20)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_whatever_is_taken_can_be_encoded_again(value: dict[str, Any]) -> None:
    try:
        body = msgspec.json.encode(value)
    except (OverflowError, UnicodeEncodeError):
        return
    try:
        taken = decode_object(body)
    except InvalidRequest:
        assert b"\\u0000" in body or any(len(part) > 18 for part in body.split())
        return
    assert msgspec.json.decode(msgspec.json.encode(taken)) == taken

"""The opening handshake."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.ari.handshake import Refusal, accept, accept_key

BASIC = base64.b64encode(b"evercall:secret").decode()
# As Asterisk 22.10 sends it.
REQUEST = (
    "GET /ari HTTP/1.1\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Host: 127.0.0.2:8088\r\n"
    f"Authorization: Basic {BASIC}\r\n"
    "Sec-WebSocket-Protocol: ari\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "\r\n"
)


def test_the_key_of_the_rfc() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_asterisk_is_let_in() -> None:
    response = accept(REQUEST.encode(), "evercall", "secret").decode()
    assert response.startswith("HTTP/1.1 101 ")
    assert "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in response
    assert "\r\nSec-WebSocket-Protocol: ari\r\n" in response
    assert response.endswith("\r\n\r\n")


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (BASIC, base64.b64encode(b"evercall:wrong").decode(), 401),
        (BASIC, base64.b64encode(b"other:secret").decode(), 401),
        (BASIC, "no base64!", 401),
        ("Basic ", "Bearer ", 401),
        (f"Authorization: Basic {BASIC}\r\n", "", 401),
        ("Upgrade: websocket\r\n", "", 426),
        ("Version: 13", "Version: 8", 400),
        ("Protocol: ari", "Protocol: chat", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400),
        ("GET /ari", "POST /ari", 400),
        ("HTTP/1.1", "HTTP/1.0", 400),
    ],
)
def test_all_others_are_not(old: str, new: str, status: int) -> None:
    assert old in REQUEST
    with pytest.raises(Refusal) as refused:
        accept(REQUEST.replace(old, new, 1).encode(), "evercall", "secret")
    assert refused.value.status == status
    assert refused.value.response().startswith(f"HTTP/1.1 {status} ".encode())
    assert refused.value.response().endswith(b"\r\n\r\n")


def test_only_who_must_prove_itself_is_told_how() -> None:
    assert b"WWW-Authenticate: Basic" in Refusal(401, "Unauthorized").response()
    assert b"WWW-Authenticate" not in Refusal(503, "Service Unavailable").response()


@given(st.binary(max_size=300))
def test_garbage_is_refused(request: bytes) -> None:
    with pytest.raises(Refusal):
        accept(request, "evercall", "secret")

"""The opening handshake (RFC 6455 §4.2), server's side, for Asterisk's outbound WebSocket. Pure.

Asterisk proves itself by HTTP basic authentication (websocket_client.conf) and asks for the
sub-protocol `ari`.
"""

import base64
import binascii
import hashlib
import hmac

PROTOCOL = "ari"
REQUEST_MAXIMUM = 8192
END = b"\r\n\r\n"

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Refusal(Exception):
    """Why a handshake fails: the HTTP status that says so."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason

    def response(self) -> bytes:
        """What the client is told."""
        lines = [f"HTTP/1.1 {self.status} {self.reason}"]
        if self.status == 401:
            lines.append('WWW-Authenticate: Basic realm="evercall"')
        lines += ["Connection: close", "Content-Length: 0", "", ""]
        return "\r\n".join(lines).encode()


def accept(request: bytes, username: str, password: str) -> bytes:
    """The response that opens the WebSocket.

    Args:
        request: the whole HTTP request, up to and with its empty line.
        username: whom we expect.
        password: its secret.

    Raises:
        Refusal: it is not a WebSocket request for ARI, or not from whom we expect.
    """
    headers = _headers(request)
    if not _is_basic(headers.get("authorization", ""), username, password):
        raise Refusal(401, "Unauthorized")
    if headers.get("upgrade", "").lower() != "websocket":
        raise Refusal(426, "Upgrade Required")
    key = headers.get("sec-websocket-key", "")
    protocols = {name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")}
    if headers.get("sec-websocket-version") != "13" or not key or PROTOCOL not in protocols:
        raise Refusal(400, "Bad Request")
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(key)}",
        f"Sec-WebSocket-Protocol: {PROTOCOL}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def accept_key(key: str) -> str:
    """Proves to the client that its key was read (§4.2.2)."""
    # The RFC prescribes SHA-1; nothing secret depends on it.
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def _headers(request: bytes) -> dict[str, str]:
    lines = request.decode("latin-1").split("\r\n")
    if not lines[0].startswith("GET ") or not lines[0].endswith(" HTTP/1.1"):
        raise Refusal(400, "Bad Request")
    pairs = (line.partition(":") for line in lines[1:] if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _is_basic(header: str, username: str, password: str) -> bool:
    scheme, _, encoded = header.partition(" ")
    try:
        told = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    expected = f"{username}:{password}".encode()
    return scheme.lower() == "basic" and hmac.compare_digest(told, expected)

"""Where an application is that Evercall connects to."""

import base64
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from evercall.service.errors import InvalidRequest

_PORTS = {"ws": 80, "wss": 443}
_NATURAL = {"rtp": "udp", "audiosocket": "tcp"}


@dataclass(frozen=True, slots=True)
class Target:
    """What to connect to. `url` and `authorization` are those of a WebSocket."""

    transport: str
    host: str
    port: int
    url: str = ""
    authorization: str = ""


def read_target(text: str, transport: str, encapsulation: str) -> Target:
    """A target as a flow names it.

    Raises:
        InvalidRequest: `media_target_invalid`.
    """
    natural = transport or _NATURAL.get(encapsulation, "")
    target = _websocket(text) if "://" in text else _host(text, natural)
    if transport and transport != target.transport:
        raise _invalid(f"transport must be {target.transport}")
    return target


def _websocket(text: str) -> Target:
    try:
        parts = urlsplit(text)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise _invalid("url is not a URL") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise _invalid("url must be a ws or wss URL")
    netloc = parts.netloc.rpartition("@")[2]
    url = parts._replace(netloc=netloc, fragment="").geturl()
    return Target("websocket", parts.hostname, port, url, _authorization(parts))


def _authorization(parts: SplitResult) -> str:
    """RFC 7617: what a URL says before the host."""
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _host(text: str, transport: str) -> Target:
    if transport not in ("udp", "tcp"):
        raise _invalid("external_host carries rtp or audiosocket")
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise _invalid("external_host must be host:port")
    return Target(transport, host.strip("[]"), int(port))


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest("media_target_invalid", message)

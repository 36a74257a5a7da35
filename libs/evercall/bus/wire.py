"""AMQP 0-9-1 as bytes, sans-IO: what every message needs is coded here, all else by pamqp.

A message is three frames (AMQP 0-9-1 section 4.2): a method, a content header, a body. Publishing, delivering and
acking are most of what a control plane does, so these are packed and unpacked directly.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pamqp import frame as pamqp_frame
from pamqp.exceptions import PAMQPException

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = 0xCE

_FRAME = struct.Struct(">BHI")
_CONTENT = struct.Struct(">HHQH")
_METHOD = struct.Struct(">HH")
_TAG = struct.Struct(">Q")

PUBLISH, RETURN, DELIVER, ACK, NACK = (60, 40), (60, 50), (60, 60), (60, 80), (60, 120)

HEARTBEAT_FRAME = _FRAME.pack(HEARTBEAT, 0, 0) + bytes([END])

_OVERHEAD = _FRAME.size + 1
LARGEST_FRAME = 1 << 24
"""A frame larger than this is no frame: the stream is not AMQP."""


class WireError(ConnectionError):
    """The peer sent what is not AMQP."""


class TooLong(ValueError):
    """A text does not fit into a short string (255 bytes, section 4.2.5.3)."""


@dataclass(frozen=True, slots=True)
class Properties:
    """The content properties that we use (section 1.8.3 of the specification's definitions)."""

    type: str = ""
    message_id: str = ""
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    persistent: bool = True


@dataclass(frozen=True, slots=True)
class Delivered:
    """Basic.Deliver."""

    consumer_tag: str
    delivery_tag: int
    routing_key: str


@dataclass(frozen=True, slots=True)
class Returned:
    """Basic.Return: a mandatory message that no queue took."""

    routing_key: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Basic.Ack or Basic.Nack from the broker."""

    delivery_tag: int
    multiple: bool
    refused: bool


@dataclass(frozen=True, slots=True)
class Content:
    """A content header: what follows is `size` bytes of body."""

    size: int
    properties: Properties


Frame = Delivered | Returned | Confirmed | Content | bytes | Any
"""What `Reader` yields beside the channel: one of ours, body bytes, None for a heartbeat, or a pamqp method."""


def publish(
    channel: int,
    exchange: str,
    routing_key: str,
    properties: Properties,
    body: bytes,
    *,
    mandatory: bool,
    frame_max: int,
) -> bytes:
    """A message as bytes."""
    parts = [
        _publish_method(channel, exchange, routing_key, mandatory),
        _frame(HEADER, channel, _content_header(properties, len(body))),
    ]
    room = frame_max - _OVERHEAD
    parts += [
        _frame(BODY, channel, body[start : start + room]) for start in range(0, len(body), room)
    ]
    return b"".join(parts)


def ack(channel: int, delivery_tag: int, *, multiple: bool) -> bytes:
    """Basic.Ack to the broker."""
    payload = _METHOD.pack(*ACK) + _TAG.pack(delivery_tag) + bytes([multiple])
    return _frame(METHOD, channel, payload)


class Reader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, Frame]]:
        """Yields `(channel, frame)` for each frame that is whole now.

        Raises:
            WireError: the bytes are not AMQP.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _OVERHEAD:
            kind, channel, size = _FRAME.unpack_from(buffer, start)
            if size > LARGEST_FRAME:
                raise WireError("a frame is too large")
            end = start + _FRAME.size + size
            if len(buffer) <= end:
                break
            if buffer[end] != END:
                raise WireError("a frame does not end")
            raw = bytes(buffer[start : end + 1])
            start = end + 1
            yield channel, _decode(kind, raw)
        del buffer[:start]


def _decode(kind: int, raw: bytes) -> Frame:
    payload = raw[_FRAME.size : -1]
    try:
        if kind == BODY:
            return payload
        if kind == HEADER:
            return _content(payload)
        if kind == HEARTBEAT:
            return None
        if kind == METHOD:
            return _method(payload, raw)
    except (struct.error, IndexError, ValueError, PAMQPException) as error:
        raise WireError("a frame is broken") from error
    raise WireError("a frame of an unknown type")


def _method(payload: bytes, raw: bytes) -> Frame:
    name = _METHOD.unpack_from(payload)
    if name == DELIVER:
        consumer_tag, at = _short_string(payload, 4)
        (delivery_tag,) = _TAG.unpack_from(payload, at)
        _, at = _short_string(payload, at + 9)
        routing_key, _ = _short_string(payload, at)
        return Delivered(consumer_tag, delivery_tag, routing_key)
    if name in (ACK, NACK):
        (delivery_tag,) = _TAG.unpack_from(payload, 4)
        return Confirmed(delivery_tag, bool(payload[12] & 1), name == NACK)
    if name == RETURN:
        _, at = _short_string(payload, 6)
        _, at = _short_string(payload, at)
        routing_key, _ = _short_string(payload, at)
        return Returned(routing_key)
    return pamqp_frame.unmarshal(raw)[2]


def _content(payload: bytes) -> Content:
    _, _, size, flags = _CONTENT.unpack_from(payload)
    at = _CONTENT.size
    values: dict[str, str | None] = {}
    persistent = False
    for bit, name in _PROPERTIES:
        if not flags & bit:
            continue
        if name == "headers":
            (length,) = struct.unpack_from(">I", payload, at)
            at += 4 + length
        elif name == "delivery_mode":
            persistent = payload[at] == 2
            at += 1
        elif name == "priority":
            at += 1
        elif name == "timestamp":
            at += 8
        else:
            values[name], at = _short_string(payload, at)
    properties = Properties(
        values.get("type") or "",
        values.get("message_id") or "",
        values.get("correlation_id"),
        values.get("reply_to"),
        values.get("expiration"),
        persistent,
    )
    return Content(size, properties)


_NAMES = (
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)
_PROPERTIES = tuple((1 << 15 - index, name) for index, name in enumerate(_NAMES))
_BIT = {name: bit for bit, name in _PROPERTIES}
_JSON = bytes([16]) + b"application/json"


def _content_header(properties: Properties, size: int) -> bytes:
    flags = _BIT["content_type"] | _BIT["delivery_mode"]
    parts = [_JSON, b"\x02" if properties.persistent else b"\x01"]
    for name, value in (
        ("correlation_id", properties.correlation_id),
        ("reply_to", properties.reply_to),
        ("expiration", properties.expiration),
        ("message_id", properties.message_id or None),
        ("type", properties.type or None),
    ):
        if value is not None:
            flags |= _BIT[name]
            parts.append(_to_short_string(value))
    return _CONTENT.pack(60, 0, size, flags) + b"".join(parts)


@lru_cache(maxsize=4096)
def _publish_method(channel: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:
    names = _to_short_string(exchange) + _to_short_string(routing_key)
    return _frame(METHOD, channel, _METHOD.pack(*PUBLISH) + b"\0\0" + names + bytes([mandatory]))


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return _FRAME.pack(kind, channel, len(payload)) + payload + b"\xce"


def _to_short_string(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > 255:
        raise TooLong(text)
    return bytes([len(raw)]) + raw


def _short_string(payload: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + payload[at]
    if end > len(payload):
        raise IndexError
    # One message with a property that is no UTF-8 must not cost the connection with all others.
    return payload[at + 1 : end].decode(errors="replace"), end

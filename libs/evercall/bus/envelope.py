"""Messages as bytes and AMQP properties: pure functions, no connection.

property         holds
type             the message's tag; `answer` or `error` for answers
message_id       unique per message; a repeated message keeps its id where it must count once
correlation_id   on requests and their answers
reply_to         where the answer goes: a routing key of `evercall.rpc`, or a direct reply-to queue
expiration       milliseconds that the caller still waits
"""

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar, get_args

import msgspec

from evercall.bus.amqp import Delivery
from evercall.bus.wire import Properties
from evercall.contracts.base import ErrorData, Request
from evercall.service.errors import PlatformError

ANSWER = "answer"
ERROR = "error"

_encoder = msgspec.json.Encoder()
encode = _encoder.encode
"""Encodes any message or resource to JSON."""

decode_error = msgspec.json.Decoder(ErrorData).decode

UNREADABLE = (ValueError, RecursionError)
"""What a msgspec decoder raises for bytes that are no message: its own errors, text that is not UTF-8 (both are
`ValueError`), and more brackets in each other than the stack has room for."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Whom an answer goes to."""

    reply_to: str
    correlation_id: str | None


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came from the broker."""

    type: str
    body: bytes
    message_id: str
    origin: Origin | None
    correlation_id: str | None
    delivery_tag: int

    @classmethod
    def of(cls, delivery: Delivery) -> "Incoming":
        """Reads a delivery."""
        properties = delivery.properties
        correlation, reply_to = properties.correlation_id, properties.reply_to
        return cls(
            type=properties.type,
            body=delivery.body,
            message_id=properties.message_id,
            origin=Origin(reply_to, correlation) if reply_to else None,
            correlation_id=correlation,
            delivery_tag=delivery.delivery_tag,
        )


def tag_of(message: msgspec.Struct) -> str:
    """The AMQP `type` of a message."""
    return str(message.__struct_config__.tag)


def properties(
    kind: str,
    *,
    message_id: str,
    origin: Origin | None = None,
    correlation_id: str | None = None,
    expires: timedelta | None = None,
    persistent: bool = True,
) -> Properties:
    """AMQP properties of a message of the type `kind`."""
    return Properties(
        type=kind,
        message_id=message_id,
        reply_to=origin.reply_to if origin else None,
        correlation_id=origin.correlation_id if origin else correlation_id,
        expiration=str(max(1, int(expires.total_seconds() * 1000))) if expires else None,
        persistent=persistent,
    )


@lru_cache(maxsize=256)
def answer_decoder(request: type[Request[Any]]) -> msgspec.json.Decoder[Any]:
    """The decoder for what answers a request class."""
    for base in getattr(request, "__orig_bases__", ()):
        for answer in get_args(base):
            if not isinstance(answer, TypeVar):
                return msgspec.json.Decoder(answer)
    raise TypeError(f"{request.__name__} does not say what answers it")


def error_body(error: PlatformError) -> bytes:
    """An error as the body of an answer of the type `error`."""
    return encode(error.to_data())

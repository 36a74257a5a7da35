"""What all messages share: the tagged base classes, errors as data, pages, addresses."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

Answer_co = TypeVar("Answer_co", covariant=True)
Item = TypeVar("Item")


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip(
        "_"
    )


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=_snake):
    """Something said to a service or an actor. Its tag is the class name in snake case and travels
    both in the body and as the AMQP `type` property."""


class Request(Message, Generic[Answer_co], frozen=True, kw_only=True):
    """A message that is answered with an `Answer_co`, or with `ErrorData`."""


class Empty(msgspec.Struct, frozen=True):
    """The answer that says only: done."""


class ErrorData(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it crosses the bus; `evercall.service.errors` rebuilds the exception from it."""

    code: str
    message: str
    details: dict[str, Any] = {}
    retryable: bool = False


class Page(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """One page of a list, newest first. `next_page_token` is empty on the last page."""

    result: list[Item]
    next_page_token: str = ""


class AddressType(StrEnum):
    """Kinds of address that calls start from and go to."""

    SIP = "sip"
    TEL = "tel"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A party: `target` is a SIP URI for `sip`, an E.164 number with `+` for `tel`."""

    type: AddressType
    target: str
    target_name: str = ""
    name: str = ""
    detail: str = ""


class ResourceEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A domain event. Routing key: `<customer_id>.<resource>.<event>`, for example `….call.created`.

    `resource` holds the public form of the resource just after the change.
    """

    id: UUID
    type: str
    customer_id: UUID
    resource_id: UUID
    at: datetime
    resource: msgspec.Raw

"""Resources that `api_manager` itself owns, and answers that exist only over HTTP.

All other resources come from `evercall.contracts` and are shown unchanged.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from api_manager.domain.scopes import Scope
from evercall.contracts.call import Call


class CustomerStatus(StrEnum):
    """A frozen customer's keys are refused; nothing of theirs is lost."""

    ACTIVE = "active"
    FROZEN = "frozen"


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant of the platform."""

    id: UUID
    name: str
    detail: str = ""
    email: str = ""
    phone_number: str = ""
    address: str = ""
    status: CustomerStatus = CustomerStatus.ACTIVE
    tm_create: datetime
    tm_update: datetime
    tm_delete: datetime | None = None


class Accesskey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that programs of a customer call the API with."""

    id: UUID
    customer_id: UUID
    name: str = ""
    detail: str = ""
    token: str = ""
    token_prefix: str = ""
    scopes: list[Scope]
    tm_expire: datetime | None = None
    tm_last_use: datetime | None = None
    tm_create: datetime
    tm_update: datetime
    tm_delete: datetime | None = None


class CallsCreated(msgspec.Struct, frozen=True, kw_only=True):
    """The calls that a request placed, one per destination, in the order of the destinations."""

    calls: list[Call]
    groupcalls: list[Any] = []


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A short-lived token that stands for an access key."""

    token: str
    scopes: list[Scope]
    call_id: UUID | None = None
    expires_in: int
    tm_expire: datetime

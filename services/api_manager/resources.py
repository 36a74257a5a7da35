"""Resources that `api_manager` itself owns, and answers that exist only over HTTP.

All other resources come from `evercall.contracts` and are shown unchanged.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from api_manager.domain.scopes import Scope
from evercall.contracts.call import Call, CustomerUse
from evercall.contracts.tenant import Quotas


class CustomerStatus(StrEnum):
    """A frozen customer's keys are refused, and it neither places nor takes calls; nothing of theirs is lost."""

    ACTIVE = "active"
    FROZEN = "frozen"


class Destinations(msgspec.Struct, frozen=True, kw_only=True):
    """Where calls may go beyond the platform's own rules, and where they must not."""

    allow: list[str] = []
    deny: list[str] = []


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a customer may call, and as whom: beside its own numbers, `sources` are the verified numbers, SIP
    addresses and domains that its calls may come from."""

    sources: list[str] = []
    destinations: Destinations = Destinations()


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant of the platform. `quotas` are in force, the platform's defaults included; `use` is how much of
    them is taken now: only with a single customer, and null while that can't be known."""

    id: UUID
    name: str
    detail: str = ""
    email: str = ""
    phone_number: str = ""
    address: str = ""
    status: CustomerStatus = CustomerStatus.ACTIVE
    quotas: Quotas = Quotas()
    policy: Policy = Policy()
    use: CustomerUse | None = None
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


class AuditActor(StrEnum):
    """Who did something, by what they came with."""

    ACCESSKEY = "accesskey"
    TOKEN = "token"  # noqa: S105 - a word of the API
    ADMINISTRATOR = "administrator"
    UNKNOWN = "unknown"


class AuditLog(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did or tried, or how often credentials were refused."""

    id: UUID
    customer_id: UUID | None
    actor_type: AuditActor
    actor_id: UUID | None
    actor_customer_id: UUID | None
    operation: str
    resource_type: str
    resource_ids: list[UUID]
    client_address: str
    request_id: str
    status: int | None
    reason: str
    count: int
    tm_create: datetime
    tm_result: datetime | None


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

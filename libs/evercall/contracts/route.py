"""Numbers and routes: the public resource and the messages of `route_manager`."""

from datetime import datetime
from uuid import UUID

import msgspec

from evercall.contracts.base import Page, Request


class Number(msgspec.Struct, frozen=True, kw_only=True):
    """A number that was assigned to a customer, and the flow that a call to it starts. `number` is E.164 with
    `+`."""

    id: UUID
    customer_id: UUID
    number: str
    name: str = ""
    detail: str = ""
    call_flow_id: UUID | None = None
    tm_create: datetime
    tm_update: datetime
    tm_delete: datetime | None = None


class NumberCreate(Request[Number], frozen=True, kw_only=True):
    """Assigns a number to a customer. For the administrator, who alone may learn what others have.

    Errors: `number_already_exists` (numbers are unique over all customers), `number_resting` (another
    customer gave it up not long ago; `retry_after` in seconds), `invalid_argument`.
    """

    id: UUID
    customer_id: UUID
    number: str
    name: str = ""
    detail: str = ""
    call_flow_id: UUID | None = None


class NumberUpdate(Request[Number], frozen=True, kw_only=True):
    """Errors: `number_not_found`."""

    id: UUID
    customer_id: UUID
    name: str
    detail: str
    call_flow_id: UUID | None = None


class NumberDelete(Request[Number], frozen=True, kw_only=True):
    """Gives a number up. It rests then, before another customer may have it. Errors: `number_not_found`."""

    id: UUID
    customer_id: UUID


class NumberGet(Request[Number], frozen=True, kw_only=True):
    """Errors: `number_not_found`."""

    id: UUID
    customer_id: UUID


class NumberFind(Request[Number], frozen=True, kw_only=True):
    """The customer's number that reads so. Errors: `number_not_found`."""

    customer_id: UUID
    number: str


class NumberList(Request[Page[Number]], frozen=True, kw_only=True):
    """Lists a customer's numbers, newest first."""

    customer_id: UUID
    page_size: int
    page_token: str = ""


class InboundRoute(msgspec.Struct, frozen=True, kw_only=True):
    """Where an incoming call goes."""

    number_id: UUID
    customer_id: UUID
    flow_id: UUID


class InboundRouteFind(Request[InboundRoute], frozen=True, kw_only=True):
    """Which flow does a call to this number start? `number` is E.164 with `+`.

    Errors: `route_not_found` (no such number, or one without a flow). Answers may be cached until the
    event `<customer_id>.number.*` of that number.
    """

    number: str

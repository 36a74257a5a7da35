"""The requests of `contracts/route.py`: validation, the store, and the events of what changed."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from uuid import UUID

import msgspec
from prometheus_client import Counter

from evercall.contracts.base import Page, Request
from evercall.contracts.route import (
    InboundRoute,
    InboundRouteFind,
    Number,
    NumberCreate,
    NumberDelete,
    NumberFind,
    NumberGet,
    NumberList,
    NumberUpdate,
)
from evercall.service.errors import Conflict, InvalidRequest, NotFound, Unavailable
from evercall.service.logging import get_logger

E164 = re.compile(r"\+[0-9]{7,15}", re.ASCII)

EVENTS_LOST = Counter(
    "evercall_route_manager_events_lost_total",
    "Events of changed numbers that could not be published; caches run into their time to live",
)

log = get_logger(__name__)

Handler = Callable[[Any], Awaitable[msgspec.Struct]]
PublishEvent = Callable[[str, str, UUID, msgspec.Struct], Awaitable[None]]


class Numbers(Protocol):
    """What the handlers need of the store."""

    async def create(self, request: NumberCreate) -> tuple[Number | None, bool]: ...
    async def update(self, request: NumberUpdate) -> Number | None: ...
    async def delete(self, request: NumberDelete) -> Number | None: ...
    async def get(self, request: NumberGet) -> Number | None: ...
    async def find(self, request: NumberFind) -> Number | None: ...
    async def list(self, request: NumberList) -> Page[Number]: ...
    async def route(self, called: str) -> InboundRoute | None: ...


class NumberHandlers:
    """One method per request."""

    def __init__(self, numbers: Numbers, publish_event: PublishEvent) -> None:
        self._numbers = numbers
        self._publish_event = publish_event

    @property
    def handlers(self) -> Mapping[type[Request[Any]], Handler]:
        """For `Bus.serve`."""
        return {
            NumberCreate: self.create,
            NumberUpdate: self.update,
            NumberDelete: self.delete,
            NumberGet: self.get,
            NumberFind: self.find,
            NumberList: self._numbers.list,
            InboundRouteFind: self.find_route,
        }

    async def create(self, request: NumberCreate) -> Number:
        """Assigns a number. Said twice with one id, it adds one and answers with it."""
        if not E164.fullmatch(request.number):
            raise InvalidRequest(
                "invalid_argument",
                "A number is + and 7 to 15 digits (E.164)",
                details={"field": "number"},
            )
        created, is_new = await self._numbers.create(request)
        if created is None:
            raise Conflict(
                "number_already_exists", "This number is taken", details={"field": "number"}
            )
        if is_new:
            await self._tell("created", created)
        return created

    async def update(self, request: NumberUpdate) -> Number:
        updated = _found(await self._numbers.update(request))
        await self._tell("updated", updated)
        return updated

    async def delete(self, request: NumberDelete) -> Number:
        deleted = _found(await self._numbers.delete(request))
        await self._tell("deleted", deleted)
        return deleted

    async def get(self, request: NumberGet) -> Number:
        return _found(await self._numbers.get(request))

    async def find(self, request: NumberFind) -> Number:
        return _found(await self._numbers.find(request))

    async def find_route(self, request: InboundRouteFind) -> InboundRoute:
        """A caller may dial anything: what is no E.164 number has no route, like one nobody owns."""
        route = None
        if E164.fullmatch(request.number):
            route = await self._numbers.route(request.number)
        if route is None:
            raise NotFound("route_not_found", "No flow is set for calls to this number")
        return route

    async def _tell(self, event: str, changed: Number) -> None:
        # The change is committed. Its event may be lost here: nobody gains from refusing a change
        # that has happened, and caches of routes have a time to live.
        try:
            await self._publish_event("number", event, changed.customer_id, changed)
        except (Unavailable, TimeoutError):
            EVENTS_LOST.inc()
            log.warning("number_event_lost", change=event, number_id=str(changed.id))


def _found(row: Number | None) -> Number:
    if row is None:
        raise NotFound("number_not_found", "There is no such number")
    return row

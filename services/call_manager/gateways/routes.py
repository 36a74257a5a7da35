"""The port `routes`: where does a called number lead, and is there room? Asks route_manager and remembers.

An answer is kept until an event says that the number has changed, and for `KEPT` at most: events that are
published while this process or the broker is away are lost. That there is no route is remembered briefly, so
that whoever tries numbers at random does not reach the database with every one.
"""

import time
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

import msgspec

from call_manager.domain.ports import AdmitIncoming
from call_manager.gateways.cache import ExpiringCache
from evercall.bus.bus import Bus
from evercall.contracts.base import ResourceEvent
from evercall.contracts.route import InboundRoute, InboundRouteFind
from evercall.service.errors import DeadlineExceeded, NotFound, PlatformError, Unavailable

SERVICE = "route_manager"
MOST = 20_000
KEPT = 300.0
KEPT_MISSING = 5.0

PATIENCE = 4.0
"""Seconds that a caller may wait for route_manager to come back; then the call gets a 503 and its sender
may try another way."""


class Admits(Protocol):
    """What is needed of `Admission`."""

    async def admit_incoming(self, customer_id: UUID, call_id: UUID) -> None: ...


class _ChangedNumber(msgspec.Struct):
    number: str


class RoutesPort:
    """Finds routes of incoming calls, and admits them."""

    def __init__(
        self, bus: Bus, admission: Admits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bus = bus
        self._admission = admission
        self._clock = clock
        self._routes: ExpiringCache[str, InboundRoute | NotFound] = ExpiringCache(MOST)
        self._changes = 0

    async def start(self) -> None:
        """Begins to listen for changes."""
        await self._bus.subscribe_events(["*.number.*"], self._number_changed)
        await self._bus.on_connected(self._connected)

    def known(self, request: AdmitIncoming) -> InboundRoute | PlatformError | None:
        """That the number leads nowhere, where it is remembered. Whether there is room is counted anew."""
        found = self._routes.get(request.number, self._clock())
        return found if isinstance(found, NotFound) else None

    async def answer(self, request: AdmitIncoming) -> InboundRoute:
        """The route, once the call is admitted.

        Raises:
            NotFound: the number leads nowhere.
            Forbidden: its customer is frozen.
            RateLimited: its customer has no room for the call.
            Unavailable: route_manager or the database is away.
        """
        found = self._routes.get(request.number, self._clock())
        if isinstance(found, NotFound):
            raise found
        route = found or await self._find(InboundRouteFind(number=request.number))
        await self._admission.admit_incoming(route.customer_id, request.call_id)
        return route

    async def _find(self, request: InboundRouteFind) -> InboundRoute:
        changes = self._changes
        try:
            route = await self._bus.ask(SERVICE, request, timeout=PATIENCE)
        except NotFound as missing:
            self._keep(changes, request.number, missing, KEPT_MISSING)
            raise
        except DeadlineExceeded:
            raise Unavailable("service_unavailable", "Routes can't be looked up now") from None
        self._keep(changes, request.number, route, KEPT)
        return route

    def _keep(
        self, changes: int, number: str, route: InboundRoute | NotFound, seconds: float
    ) -> None:
        # What changed while the question was out may have changed this very route.
        if changes == self._changes:
            self._routes.put(number, route, until=self._clock() + seconds)

    async def _number_changed(self, event: ResourceEvent) -> None:
        self._changes += 1
        self._routes.drop(msgspec.json.decode(event.resource, type=_ChangedNumber).number)

    async def _connected(self) -> None:
        # Nobody kept the events of the time without a connection.
        self._changes += 1
        self._routes.clear()

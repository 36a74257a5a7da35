"""What customers may use, as a service other than `api_manager` knows it: asked once, and remembered.

An answer is kept until an event says that the customer has changed, and for `KEPT` at most: events that are
published while this process or the broker is away are lost. While `api_manager` is away, what was known
counts on, and the defaults for whoever was never asked about: calls must not depend on the API.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from uuid import UUID

from evercall.contracts.base import Request, ResourceEvent
from evercall.contracts.tenant import Tenancy, TenancyFind
from evercall.service.errors import PlatformError
from evercall.service.logging import get_logger

SERVICE = "api_manager"
MOST = 20_000
KEPT = 10.0
KEPT_WITHOUT_ANSWER = 2.0
PATIENCE = 1.0
"""Seconds that a call may wait for api_manager to answer."""

log = get_logger(__name__)


class Bus(Protocol):
    """What is needed of the bus."""

    def ask(
        self,
        service: str,
        request: Request[Any],
        *,
        actor: UUID | None = None,
        timeout: float = 5.0,
    ) -> Awaitable[Any]: ...
    async def subscribe_events(
        self, patterns: list[str], handler: Callable[[ResourceEvent], Awaitable[None]]
    ) -> None: ...
    async def on_connected(self, callback: Callable[[], Awaitable[None]]) -> None: ...


class Tenancies:
    """Remembers `Tenancy` by customer."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._clock = clock
        self._kept: OrderedDict[UUID, tuple[float, Tenancy]] = OrderedDict()
        self._changes = 0

    async def start(self) -> None:
        """Begins to listen for changes."""
        await self._bus.subscribe_events(["*.customer.*"], self._customer_changed)
        await self._bus.on_connected(self._connected)

    def known(self, customer_id: UUID) -> Tenancy | None:
        """What is remembered and still counts."""
        until, tenancy = self._kept.get(customer_id, (0.0, None))
        return tenancy if tenancy is not None and self._clock() < until else None

    async def of(self, customer_id: UUID) -> Tenancy:
        """What the customer may use. Never fails."""
        known = self.known(customer_id)
        if known is not None:
            return known
        changes = self._changes
        try:
            request = TenancyFind(customer_id=customer_id)
            tenancy: Tenancy = await self._bus.ask(SERVICE, request, timeout=PATIENCE)
        except PlatformError as error:
            log.warning("tenancy_unknown", customer_id=str(customer_id), code=error.code)
            _, before = self._kept.get(customer_id, (0.0, None))
            tenancy = before or Tenancy(customer_id=customer_id)
            self._keep(tenancy, KEPT_WITHOUT_ANSWER)
            return tenancy
        # What changed while the question was out may have changed this very customer.
        self._keep(tenancy, KEPT if changes == self._changes else 0.0)
        return tenancy

    def _keep(self, tenancy: Tenancy, seconds: float) -> None:
        self._kept[tenancy.customer_id] = (self._clock() + seconds, tenancy)
        self._kept.move_to_end(tenancy.customer_id)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)

    async def _customer_changed(self, event: ResourceEvent) -> None:
        self._changes += 1
        self._expire(event.customer_id)

    async def _connected(self) -> None:
        # Nobody kept the events of the time without a connection.
        self._changes += 1
        for customer_id in list(self._kept):
            self._expire(customer_id)

    def _expire(self, customer_id: UUID) -> None:
        """It has to be asked for again, and stands only while nobody answers."""
        if customer_id in self._kept:
            self._kept[customer_id] = (0.0, self._kept[customer_id][1])

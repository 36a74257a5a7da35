"""How many streams a customer may have: what it has is asked of `call_manager`, which keeps the calls' legs."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol
from uuid import UUID

from evercall.contracts.base import Request
from evercall.contracts.call import CustomerUseFind
from evercall.contracts.tenant import Tenancy
from evercall.service.quotas import quota_exceeded
from media_manager.domain.options import StreamOptions

SERVICE = "call_manager"


class Bus(Protocol):
    """What is needed of the bus."""

    async def ask(self, service: str, request: Request[Any]) -> Any: ...


class Tenancies(Protocol):
    """Who knows what customers may use."""

    async def of(self, customer_id: UUID) -> Tenancy: ...


class StreamQuota:
    """Lets streams begin as long as their customer has room for them."""

    def __init__(self, bus: Bus, tenancies: Tenancies) -> None:
        self._bus = bus
        self._tenancies = tenancies
        self._beginning: Counter[UUID] = Counter()
        """here, and not known to call_manager yet"""

    @asynccontextmanager
    async def room(self, options: StreamOptions) -> AsyncIterator[None]:
        """Room for one more stream, while it begins.

        Raises:
            RateLimited: `quota_exceeded`.
            Unavailable: nobody can tell.
        """
        customer = options.customer_id
        limit = (await self._tenancies.of(customer)).quotas.media_streams
        self._beginning[customer] += 1
        try:
            use = await self._bus.ask(SERVICE, CustomerUseFind(customer_id=customer))
            # One that a flow has asked for may have begun elsewhere, and then it is counted already.
            known = 1 if options.from_flow and use.media_streams else 0
            if use.media_streams - known + self._beginning[customer] > limit:
                raise quota_exceeded("media_streams", limit)
            yield
        finally:
            self._beginning[customer] -= 1
            if not self._beginning[customer]:
                del self._beginning[customer]

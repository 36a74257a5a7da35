"""What other services ask about customers, and what keeps a frozen customer frozen."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

import msgspec

from api_manager.ports import Asks
from api_manager.resources import Customer, CustomerStatus
from evercall.contracts.base import Request
from evercall.contracts.call import CustomersCallsEnd
from evercall.contracts.tenant import Tenancy, TenancyFind
from evercall.service.errors import PlatformError, Unavailable
from evercall.service.logging import get_logger

SWEEP_INTERVAL = 2.0
"""Seconds. A call that was let through while its customer was being frozen, because a replica still remembered
the customer as active, ends this much later."""

AT_ONCE = 500

log = get_logger(__name__)

Handler = Callable[[Any], Awaitable[msgspec.Struct]]


class Customers(Protocol):
    """What is needed of the store."""

    async def get(self, identifier: UUID) -> Customer | None: ...
    async def frozen(self) -> list[UUID]: ...


class TenancyHandlers:
    """One method per request."""

    def __init__(self, customers: Customers) -> None:
        self._customers = customers

    @property
    def handlers(self) -> Mapping[type[Request[Any]], Handler]:
        """For `Bus.serve`."""
        return {TenancyFind: self.find}

    async def find(self, request: TenancyFind) -> Tenancy:
        """What the customer may use."""
        customer = await self._customers.get(request.customer_id)
        if customer is None:
            return Tenancy(customer_id=request.customer_id, frozen=True)
        frozen = customer.status is CustomerStatus.FROZEN
        return Tenancy(customer_id=customer.id, frozen=frozen, quotas=customer.quotas)


async def end_calls(bus: Asks, customers: Sequence[UUID]) -> None:
    """Tells call_manager to end the outgoing calls of frozen customers. Where it can't be told now, it is
    told by `keep_frozen`."""
    for begin in range(0, len(customers), AT_ONCE):
        some = list(customers[begin : begin + AT_ONCE])
        request = CustomersCallsEnd(customer_ids=some)
        try:
            await bus.ask("call_manager", request, timeout=2.0)
        except PlatformError as error:
            log.info("frozen_calls_postponed", code=error.code)
            return


async def keep_frozen(customers: Customers, bus: Asks) -> None:
    """Says again and again which customers are frozen: that survives a crash in the middle of a freeze, on
    either side. Replicas may do it side by side."""
    while True:
        await asyncio.sleep(SWEEP_INTERVAL)
        try:
            frozen = await customers.frozen()
        except Unavailable:
            continue
        if frozen:
            await end_calls(bus, frozen)

"""What is asked about all calls of a customer: how many there are, and that they end."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
from prometheus_client import Gauge

from evercall.bus.bus import Bus
from evercall.contracts.base import Empty
from evercall.contracts.call import CallHangup, CustomersCallsEnd, CustomerUse, CustomerUseFind
from evercall.service.errors import PlatformError
from evercall.service.logging import get_logger
from evercall.store.database import Database, is_unavailable, store_unavailable

SERVICE = "call_manager"
AT_ONCE = 32
MOST = 1000
"""Calls that are ended by one request; it is said again for the rest."""

SHOWN = 50

CALLS = Gauge(
    "evercall_call_manager_customer_calls",
    "Calls that are up, of the customers who have most of them",
    ["customer_id"],
)

_USE = """SELECT count(*) AS calls, coalesce(sum((
    SELECT count(*) FROM json_object_keys(coalesce(record->'state'->'media', '{}'))
)), 0)::bigint AS streams
FROM call_manager.actor WHERE customer_id = $1 AND live AND kind = 'call'"""

_OUTGOING = """SELECT id, customer_id FROM call_manager.actor
WHERE customer_id = ANY($1::uuid[]) AND live AND kind = 'call'
  AND record->'state'->>'direction' = 'outgoing'
  AND record->'state'->>'status' NOT IN ('terminating', 'canceling')
LIMIT $2"""

_BUSIEST = """SELECT customer_id, count(*) AS calls FROM call_manager.actor
WHERE live AND kind = 'call' AND customer_id <> '00000000-0000-0000-0000-000000000000'
GROUP BY customer_id ORDER BY calls DESC LIMIT $1"""

log = get_logger(__name__)


class CustomerCalls:
    """Reads the stored calls; what is to end is told to the calls' own actors."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus

    async def use(self, request: CustomerUseFind) -> CustomerUse:
        """How much the customer has taken now."""
        (row,) = await self._fetch(_USE, request.customer_id)
        return CustomerUse(concurrent_calls=row["calls"], media_streams=row["streams"])

    async def end(self, request: CustomersCallsEnd) -> Empty:
        """Ends the outgoing calls of these customers. Whoever is killed in the middle of it leaves the rest
        for the next time that it is said, which is soon."""
        rows = await self._fetch(_OUTGOING, request.customer_ids, MOST)
        turn = asyncio.Semaphore(AT_ONCE)

        async def hang_up(call_id: UUID, customer_id: UUID) -> None:
            async with turn:
                hangup = CallHangup(id=call_id, customer_id=customer_id)
                try:
                    await self._bus.ask(SERVICE, hangup, actor=call_id, timeout=2.0)
                except PlatformError as error:
                    log.info("frozen_call_stays", call_id=str(call_id), code=error.code)

        await asyncio.gather(*(hang_up(row["id"], row["customer_id"]) for row in rows))
        if rows:
            log.info("frozen_calls_ended", calls=len(rows))
        return Empty()

    async def measure(self) -> None:
        """Sets the metrics."""
        rows = await self._fetch(_BUSIEST, SHOWN)
        CALLS.clear()
        for row in rows:
            CALLS.labels(str(row["customer_id"])).set(row["calls"])

    async def _fetch(self, query: str, *values: Any) -> Sequence[asyncpg.Record]:
        try:
            return await self._database.pool.fetch(query, *values)
        except Exception as error:
            if is_unavailable(error):
                raise store_unavailable() from error
            raise

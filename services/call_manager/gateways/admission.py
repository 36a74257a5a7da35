"""Who may have one more call: counts the calls that are up where they are stored, so the count cannot drift.

`call_manager.admit_calls` (migration 0010) does it in one round trip: see docs/decisions/0080.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from prometheus_client import Counter

from evercall.contracts.tenant import Quotas, Tenancy
from evercall.service.errors import Forbidden, Unavailable
from evercall.service.quotas import quota_exceeded
from evercall.store.database import Database, is_unavailable, store_unavailable

LEASE = timedelta(seconds=30)
"""For so long an admitted call counts although it is not stored yet; longer than any request lasts."""

MOST = 2**31 - 1

AGAIN = 0.25
TRIES = 12
"""How often an incoming call waits for a database that is away: three seconds."""

REFUSED = Counter(
    "evercall_call_manager_quota_refused_total",
    "Calls and media streams refused because of their customer's quotas, or because it is frozen",
    ["direction", "quota"],
)

_ADMIT = "SELECT * FROM call_manager.admit_calls($1, $2, $3, $4, $5, $6)"
_FORGET = "DELETE FROM call_manager.call_slot WHERE until < now()"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`refused` names the quota, "" where the calls are admitted; `wait` is in seconds."""

    refused: str
    used: int
    wait: float


class AdmissionStore:
    """The slots of calls in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def admit(
        self, customer_id: UUID, call_ids: Sequence[UUID], most: int, rate: int, burst: int
    ) -> Verdict:
        """Takes slots for all of the calls, or for none. `rate` 0: calls per second do not count."""
        values = (list(call_ids), min(most, MOST), float(rate), float(burst), LEASE)
        try:
            row = await self._database.pool.fetchrow(_ADMIT, customer_id, *values)
        except Exception as error:
            if is_unavailable(error):
                raise store_unavailable() from error
            raise
        if row is None:
            raise AssertionError("admit_calls answers with one row")
        return Verdict(row["refused"], row["used"], row["wait"])

    async def forget_expired(self) -> None:
        """Removes slots that do not count any more."""
        try:
            await self._database.pool.execute(_FORGET)
        except Exception as error:
            if is_unavailable(error):
                raise store_unavailable() from error
            raise


class Knows(Protocol):
    """What is needed of `Tenancies`."""

    async def of(self, customer_id: UUID) -> Tenancy: ...


class Store(Protocol):
    """What is needed of the store."""

    async def admit(
        self, customer_id: UUID, call_ids: Sequence[UUID], most: int, rate: int, burst: int
    ) -> Verdict: ...


class Admission:
    """Admits calls by what their customer may use."""

    def __init__(self, store: Store, tenancies: Knows) -> None:
        self._store = store
        self._tenancies = tenancies

    async def admit_outgoing(self, customer_id: UUID, call_ids: Sequence[UUID]) -> None:
        """All of these calls, or none.

        Raises:
            RateLimited: `quota_exceeded`.
            Forbidden: `account_frozen`.
            Unavailable: the database is away.
        """
        quotas = await self._quotas(customer_id, "outgoing")
        rate = quotas.calls_per_second
        if rate == 0 and call_ids:
            raise self._refusal("outgoing", "calls_per_second", quotas, 1.0)
        burst = max(rate, quotas.destinations_per_request)
        most = quotas.concurrent_calls
        verdict = await self._store.admit(customer_id, call_ids, most, rate, burst)
        if verdict.refused:
            raise self._refusal("outgoing", verdict.refused, quotas, verdict.wait)

    async def admit_incoming(self, customer_id: UUID, call_id: UUID) -> None:
        """One call that has come in; it bears waiting for the database.

        Raises:
            RateLimited, Forbidden, Unavailable: as for outgoing calls.
        """
        quotas = await self._quotas(customer_id, "incoming")
        for attempt in range(TRIES):
            try:
                most = quotas.concurrent_calls
                verdict = await self._store.admit(customer_id, [call_id], most, 0, 1)
                break
            except Unavailable:
                if attempt == TRIES - 1:
                    raise
                await asyncio.sleep(AGAIN)
        if verdict.refused:
            raise self._refusal("incoming", verdict.refused, quotas, verdict.wait)

    async def admit_stream(self, customer_id: UUID, used: int) -> None:
        """One more media stream beside those that are up.

        Raises:
            RateLimited: `quota_exceeded`.
            Forbidden: `account_frozen`.
        """
        quotas = await self._quotas(customer_id, "stream")
        if used >= quotas.media_streams:
            raise self._refusal("stream", "media_streams", quotas, 1.0)

    async def _quotas(self, customer_id: UUID, direction: str) -> Quotas:
        tenancy = await self._tenancies.of(customer_id)
        if tenancy.frozen:
            REFUSED.labels(direction, "frozen").inc()
            raise Forbidden("account_frozen", "The customer's account is frozen")
        return tenancy.quotas

    def _refusal(self, direction: str, quota: str, quotas: Quotas, wait: float) -> Exception:
        REFUSED.labels(direction, quota).inc()
        return quota_exceeded(quota, getattr(quotas, quota), retry_after=max(wait, 1.0))

"""Writes the audit log, without losing what was done.

An attempt is written before it is made, in a transaction of its own. Where that is not possible, the
database being away, the operation is refused: nothing is done that nobody knows of. What came of the attempt
is a row of its own, since rows never change; until it is written, and should this process die before, the
result is shown as unknown. Results that cannot be written wait here and are tried again.

Refused credentials are counted and written once a minute.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from prometheus_client import Counter

from api_manager.audit.entry import Attempt, Result, counted, refusal_of, result_of
from api_manager.domain.refusals import Refusals
from api_manager.request_state import RequestState
from evercall.service.errors import PlatformError
from evercall.service.logging import get_logger

FLUSH_SECONDS = 1.0
REFUSALS_EVERY = 60
"""Flushes from one writing of refusals to the next."""
MAX_WAITING = 10_000

LOST = Counter(
    "evercall_api_manager_audit_lost_total",
    "Rows of the audit log that waited and had no more room",
)

log = get_logger(__name__)

Row = tuple[Attempt | None, Result]


class Writes(Protocol):
    """What is needed of the store."""

    async def write(self, attempts: Sequence[Attempt], results: Sequence[Result]) -> None: ...


class AuditTrail:
    """For one replica."""

    def __init__(self, store: Writes) -> None:
        self._store = store
        self._refusals = Refusals()
        self._waiting: deque[Row] = deque()

    async def attempt(self, attempt: Attempt) -> None:
        """Writes what is about to be done.

        Raises:
            Unavailable: it cannot be written, so it must not be done.
        """
        await self._store.write([attempt], [])

    async def done(self, attempt: Attempt) -> None:
        """Writes what is done, and takes effect only when it is answered.

        Raises:
            Unavailable: it cannot be written, so it must not be answered.
        """
        await self._store.write([attempt], [result_of(attempt)])

    async def result(self, result: Result) -> None:
        """Writes what came of an attempt, now or later."""
        try:
            await self._store.write([], [result])
        except PlatformError as error:
            log.warning("audit_result_postponed", error=error.code)
            self.later(result)

    def later(self, result: Result, attempt: Attempt | None = None) -> None:
        """Leaves rows to the next flush. The oldest go where there is no more room."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            LOST.inc()
        self._waiting.append((attempt, result))

    def refused(self, state: RequestState, error: PlatformError) -> None:
        """Counts a request whose credentials were not enough."""
        self._refusals.add(refusal_of(state, error.http_status, error.code.upper()))

    async def flush(self, *, refusals: bool = True) -> None:
        """Writes what waits. What cannot be written waits on.

        Raises:
            Unavailable: the database is away.
        """
        if refusals:
            for refusal, count in self._refusals.take().items():
                attempt = counted(refusal, count)
                self.later(result_of(attempt, refusal.status, refusal.code), attempt)
        if not self._waiting:
            return
        rows, self._waiting = self._waiting, deque()
        try:
            attempts = [attempt for attempt, _ in rows if attempt is not None]
            await self._store.write(attempts, [result for _, result in rows])
        except BaseException:
            self._waiting.extendleft(reversed(rows))
            raise

    async def run(self) -> None:
        """Flushes until it is cancelled."""
        flushes = 0
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            flushes += 1
            try:
                await self.flush(refusals=flushes % REFUSALS_EVERY == 0)
            except PlatformError as error:
                log.warning("audit_postponed", error=error.code, waiting=len(self._waiting))

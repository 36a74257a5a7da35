"""What `Idempotency-Key` remembers: a POST that is said again is not done again.

A key is claimed before its request is carried out and holds a base id, from which all ids of what is
created follow. What was answered is kept for a day and answered again. A request that failed lets go of
the key but keeps its base, so that the next try names the same things. A replica that dies with a claim
is outwaited: the claim is a lock with an end.

All times are the database's: replicas need not agree on the clock.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from api_manager.domain.creation import Creation
from api_manager.tables import idempotency
from evercall.service.errors import Conflict, PlatformError
from evercall.service.identity import new_id
from evercall.service.logging import get_logger
from evercall.store.database import Database
from evercall.store.transaction import transaction

# Longer than any request may take (setting request_seconds, at most 25 s).
LOCK = timedelta(seconds=30)
KEEP = timedelta(hours=24)
SWEEP_AT_ONCE = 1000

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request with an idempotency key, as far as it matters here."""

    customer_id: UUID
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered with."""

    status: int
    body: bytes


def fingerprint(method: str, path: str, customer_id: UUID, body: bytes) -> bytes:
    """Tells whether two requests with one key are the same."""
    parts = (method.encode(), path.encode(), customer_id.bytes, body)
    return hashlib.sha256(b"\0".join(parts)).digest()


class IdempotencyStore:
    """The claims and answers in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, request: KeyedRequest) -> Creation | Answer:
        """Claims the key, or finds the answer that it already has.

        Raises:
            Conflict: `idempotency_key_in_use`: the first request has not ended yet;
                `idempotency_key_reused`: the key belongs to another request.
        """
        async with transaction(self._database) as connection:
            base = (await connection.execute(_claim(request))).scalar_one_or_none()
            if base is not None:
                return Creation(base)
            row = (await connection.execute(_look_up(request))).one_or_none()
        if row is not None and row.fingerprint != request.fingerprint:
            raise Conflict(
                "idempotency_key_reused",
                "This Idempotency-Key belongs to another request",
                details={"field": "Idempotency-Key"},
            )
        if row is None or row.status is None:
            raise Conflict(
                "idempotency_key_in_use",
                "The request with this Idempotency-Key has not ended yet",
                details={"field": "Idempotency-Key", "retry_after": 1},
            )
        return Answer(row.status, row.body)

    async def record(self, request: KeyedRequest, answer: Answer) -> None:
        """Keeps the answer."""
        await self._settle(request, status=answer.status, body=answer.body)

    async def release(self, request: KeyedRequest) -> None:
        """Lets the next try go ahead at once."""
        await self._settle(request, tm_lock=sa.func.now())

    async def sweep(self) -> int:
        """Deletes some of what has expired; returns how many rows it was."""
        some = (
            sa.select(idempotency.c.customer_id, idempotency.c.key)
            .where(idempotency.c.tm_expire <= sa.func.now())
            .limit(SWEEP_AT_ONCE)
        )
        statement = sa.delete(idempotency).where(
            sa.tuple_(idempotency.c.customer_id, idempotency.c.key).in_(some)
        )
        async with transaction(self._database) as connection:
            return (await connection.execute(statement)).rowcount

    async def _settle(self, request: KeyedRequest, **values: object) -> None:
        statement = (
            sa.update(idempotency)
            .where(
                idempotency.c.customer_id == request.customer_id,
                idempotency.c.key == request.key,
                idempotency.c.fingerprint == request.fingerprint,
                idempotency.c.status.is_(None),
            )
            .values(values)
        )
        async with transaction(self._database) as connection:
            await connection.execute(statement)


def _claim(request: KeyedRequest) -> sa.Executable:
    """One statement, so that of several at once exactly one gets the key."""
    now = sa.func.now()
    add = insert(idempotency).values(
        customer_id=request.customer_id,
        key=request.key,
        fingerprint=request.fingerprint,
        base_id=new_id(),
        tm_lock=now + LOCK,
        tm_expire=now + KEEP,
    )
    expired = idempotency.c.tm_expire <= now
    abandoned = sa.and_(
        idempotency.c.status.is_(None),
        idempotency.c.tm_lock <= now,
        idempotency.c.fingerprint == request.fingerprint,
    )
    new = add.excluded
    return add.on_conflict_do_update(
        index_elements=["customer_id", "key"],
        set_={
            "fingerprint": new.fingerprint,
            "base_id": sa.case((expired, new.base_id), else_=idempotency.c.base_id),
            "status": None,
            "body": None,
            "tm_lock": new.tm_lock,
            "tm_expire": new.tm_expire,
        },
        where=sa.or_(expired, abandoned),
    ).returning(idempotency.c.base_id)


def _look_up(request: KeyedRequest) -> sa.Select[tuple[bytes, int | None, bytes | None]]:
    return sa.select(idempotency.c.fingerprint, idempotency.c.status, idempotency.c.body).where(
        idempotency.c.customer_id == request.customer_id, idempotency.c.key == request.key
    )


async def once(
    store: IdempotencyStore,
    request: KeyedRequest,
    work: Callable[[Creation], Awaitable[Answer]],
) -> tuple[Answer, bool]:
    """Carries a request out unless it was already.

    Returns:
        The answer, and whether it is a repeated one.
    """
    claimed = await store.claim(request)
    if isinstance(claimed, Answer):
        return claimed, True
    try:
        answer = await work(claimed)
    except BaseException:
        await _try(store.release(request), "idempotency_release_failed")
        raise
    # What was asked for is done: that its answer can't be kept must not make it a failure. The next
    # try would wait for the lock and then name the same things.
    await _try(store.record(request, answer), "idempotency_record_failed")
    return answer, False


async def _try(settling: Awaitable[None], event: str) -> None:
    try:
        await settling
    except PlatformError as error:
        log.warning(event, error=error.code)

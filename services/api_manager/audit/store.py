"""The audit log in PostgreSQL. Its tables are append-only: triggers refuse changes, and the deletion of
whatever is younger than a day."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from api_manager.audit.entry import Attempt, Result
from api_manager.resources import AuditActor, AuditLog
from api_manager.tables import audit_log, audit_result
from evercall.contracts.base import Page
from evercall.store.database import Database
from evercall.store.paging import newest_first, page
from evercall.store.transaction import transaction

SWEEP_AT_ONCE = 1000


class AuditStore:
    """Writes, lists and clears the log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, attempts: Sequence[Attempt], results: Sequence[Result]) -> None:
        """Adds rows, all or none. What was written already is not written again.

        Raises:
            Unavailable: the database is away.
        """
        async with transaction(self._database) as connection:
            for table, rows in ((audit_log, attempts), (audit_result, results)):
                if rows:
                    values = [asdict(row) for row in rows]
                    await connection.execute(insert(table).on_conflict_do_nothing(), values)

    async def list(
        self, customer_id: UUID | None, page_size: int, page_token: str
    ) -> Page[AuditLog]:
        """A page, newest first. `customer_id`: None for all of the platform."""
        query = sa.select(
            audit_log,
            audit_result.c.status,
            audit_result.c.reason,
            audit_result.c.resource_ids,
            audit_result.c.tm_create.label("tm_result"),
        ).join_from(
            audit_log, audit_result, audit_result.c.audit_id == audit_log.c.id, isouter=True
        )
        if customer_id is not None:
            query = query.where(audit_log.c.customer_id == customer_id)
        query = newest_first(query, audit_log.c.tm_create, audit_log.c.id, page_size, page_token)
        async with transaction(self._database) as connection:
            rows = (await connection.execute(query)).all()
        kept, token = page(rows, page_size, lambda row: (row.tm_create, row.id))
        shown = [_shown(row, to_customer=customer_id is not None) for row in kept]
        return Page(result=shown, next_page_token=token)

    async def sweep(self, days: int) -> int:
        """Deletes some of what is older; returns how many rows it was."""
        deleted = 0
        async with transaction(self._database) as connection:
            for table, key in (
                (audit_log, audit_log.c.id),
                (audit_result, audit_result.c.audit_id),
            ):
                old = table.c.tm_create < sa.func.now() - sa.func.make_interval(0, 0, 0, days)
                some = sa.select(key).where(old).limit(SWEEP_AT_ONCE)
                deleted += (
                    await connection.execute(sa.delete(table).where(key.in_(some)))
                ).rowcount
        return deleted


def _shown(row: sa.Row[Any], *, to_customer: bool) -> AuditLog:
    named = [] if row.resource_id is None else [row.resource_id]
    # Where the platform's administrators sit is no business of customers.
    hides = to_customer and row.actor_type == AuditActor.ADMINISTRATOR
    return AuditLog(
        id=row.id,
        customer_id=row.customer_id,
        actor_type=AuditActor(row.actor_type),
        actor_id=row.actor_id,
        actor_customer_id=row.actor_customer_id,
        operation=row.operation,
        resource_type=row.resource_type,
        resource_ids=list(row.resource_ids or named),
        client_address="" if hides else row.client_address,
        request_id=row.request_id,
        status=row.status,
        reason=row.reason or "",
        count=row._mapping["count"],  # a row is a tuple, which has a `count` of its own
        tm_create=row.tm_create,
        tm_result=row.tm_result,
    )

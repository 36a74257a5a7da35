"""Reads and writes flows. All rows that others may see are live ones of the customer who asks."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from evercall.contracts.base import Page
from evercall.contracts.flow import (
    Action,
    Flow,
    FlowCreate,
    FlowDelete,
    FlowGet,
    FlowList,
    FlowUpdate,
)
from evercall.store.database import Database
from evercall.store.paging import newest_first, page
from evercall.store.transaction import transaction
from flow_manager.tables import flow

MAX_PAGE_BYTES = 4 * 1024 * 1024
"""A page of the longest flows would exceed what RabbitMQ takes as one message (16 MiB)."""

_COLUMNS = [column for column in flow.columns if column.name != "hidden"]


class FlowStore:
    """The flows in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, request: FlowCreate, actions: Sequence[Action]
    ) -> tuple[Flow | None, bool]:
        """Adds a flow.

        Returns:
            The flow with `request.id`, and whether this call made it. No flow: somebody else has the id.
        """
        now = datetime.now(UTC)
        values = {
            "id": request.id,
            "customer_id": request.customer_id,
            "name": request.name,
            "detail": request.detail,
            "actions": msgspec.to_builtins(actions),
            "hidden": request.hidden,
            "tm_create": now,
            "tm_update": now,
        }
        add = insert(flow).values(values).on_conflict_do_nothing().returning(*_COLUMNS)
        same = sa.select(*_COLUMNS).where(
            flow.c.id == request.id, flow.c.customer_id == request.customer_id
        )
        async with transaction(self._database) as connection:
            added = (await connection.execute(add)).one_or_none()
            if added is not None:
                return _flow(added), True
            known = (await connection.execute(same)).one_or_none()
        return (_flow(known) if known is not None else None), False

    async def update(self, request: FlowUpdate, actions: Sequence[Action]) -> Flow | None:
        """Replaces a live flow; None where there is none."""
        return await self._change(
            request,
            name=request.name,
            detail=request.detail,
            actions=msgspec.to_builtins(actions),
            tm_update=datetime.now(UTC),
        )

    async def delete(self, request: FlowDelete) -> Flow | None:
        """Takes a live flow away; None where there is none."""
        now = datetime.now(UTC)
        return await self._change(request, tm_update=now, tm_delete=now)

    async def get(self, request: FlowGet) -> Flow | None:
        """A live flow of the customer."""
        query = sa.select(*_COLUMNS).where(*_live(request.id, request.customer_id))
        async with transaction(self._database) as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _flow(row)

    async def others(self, customer_id: UUID, than: UUID) -> int:
        """How many flows the customer has beside this one."""
        query = (
            sa.select(sa.func.count())
            .select_from(flow)
            .where(
                flow.c.customer_id == customer_id,
                flow.c.tm_delete.is_(None),
                ~flow.c.hidden,
                flow.c.id != than,
            )
        )
        async with transaction(self._database) as connection:
            return int((await connection.execute(query)).scalar_one())

    async def list(self, request: FlowList) -> Page[Flow]:
        """A page of the customer's live flows, newest first; shorter than asked for where they are
        long."""
        query = newest_first(
            sa.select(
                *_COLUMNS, sa.func.octet_length(sa.cast(flow.c.actions, sa.Text)).label("size")
            ).where(
                flow.c.customer_id == request.customer_id,
                flow.c.tm_delete.is_(None),
                sa.not_(flow.c.hidden),
            ),
            flow.c.tm_create,
            flow.c.id,
            request.page_size,
            request.page_token,
        )
        async with transaction(self._database) as connection:
            rows = (await connection.execute(query)).all()
        fitting = sum(total <= MAX_PAGE_BYTES for total in accumulate(row.size for row in rows))
        size = min(request.page_size, max(1, fitting))
        kept, token = page(rows, size, lambda row: (row.tm_create, row.id))
        return Page(result=[_flow(row) for row in kept], next_page_token=token)

    async def _change(self, request: FlowUpdate | FlowDelete, **values: Any) -> Flow | None:
        statement = (
            sa.update(flow)
            .where(*_live(request.id, request.customer_id))
            .values(values)
            .returning(*_COLUMNS)
        )
        async with transaction(self._database) as connection:
            row = (await connection.execute(statement)).one_or_none()
        return None if row is None else _flow(row)


def _live(identifier: UUID, customer_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        flow.c.id == identifier,
        flow.c.customer_id == customer_id,
        flow.c.tm_delete.is_(None),
    )


def _flow(row: sa.Row[Any]) -> Flow:
    return Flow(
        id=row.id,
        customer_id=row.customer_id,
        name=row.name,
        detail=row.detail,
        actions=msgspec.convert(row.actions, list[Action]),
        tm_create=row.tm_create,
        tm_update=row.tm_update,
        tm_delete=row.tm_delete,
    )

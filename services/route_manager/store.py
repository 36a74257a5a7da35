"""Reads and writes numbers. All rows that others may see are live ones of the customer who asks."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from evercall.contracts.base import Page
from evercall.contracts.route import (
    InboundRoute,
    Number,
    NumberCreate,
    NumberDelete,
    NumberFind,
    NumberGet,
    NumberList,
    NumberUpdate,
)
from evercall.service.errors import Conflict
from evercall.store.database import Database
from evercall.store.paging import newest_first, page
from evercall.store.transaction import transaction
from route_manager.tables import number


class NumberStore:
    """The numbers in PostgreSQL."""

    def __init__(self, database: Database, rest: timedelta) -> None:
        """`rest`: how long a number that was given up is kept from all but who had it."""
        self._database = database
        self._rest = rest

    async def create(self, request: NumberCreate) -> tuple[Number | None, bool]:
        """Assigns a number.

        Returns:
            The number with `request.id`, and whether this call made it. No number: somebody has the
            number, or the id.

        Raises:
            Conflict: `number_resting`.
        """
        now = datetime.now(UTC)
        values = {
            "id": request.id,
            "customer_id": request.customer_id,
            "number": request.number,
            "name": request.name,
            "detail": request.detail,
            "call_flow_id": request.call_flow_id,
            "tm_create": now,
            "tm_update": now,
        }
        # Whoever gives the number up at this very moment holds its row: what comes after sees the outcome.
        past = sa.select(number.c.id).where(number.c.number == request.number).with_for_update()
        resting = sa.select(sa.func.max(number.c.tm_delete)).where(
            number.c.number == request.number,
            number.c.customer_id != request.customer_id,
            number.c.tm_delete > now - self._rest,
        )
        # One statement decides who wins where two ask for the same number at once.
        add = insert(number).values(values).on_conflict_do_nothing().returning(number)
        same = sa.select(number).where(
            number.c.id == request.id, number.c.customer_id == request.customer_id
        )
        async with transaction(self._database) as connection:
            await connection.execute(past)
            known = (await connection.execute(same)).one_or_none()
            given_up = (await connection.execute(resting)).scalar_one()
            if known is None and given_up is not None:
                raise _resting(given_up + self._rest - now)
            added = (await connection.execute(add)).one_or_none()
            if added is not None:
                return _number(added), True
            known = (await connection.execute(same)).one_or_none()
        return (_number(known) if known is not None else None), False

    async def update(self, request: NumberUpdate) -> Number | None:
        """Changes a live number; None where there is none."""
        return await self._change(
            request,
            name=request.name,
            detail=request.detail,
            call_flow_id=request.call_flow_id,
            tm_update=datetime.now(UTC),
        )

    async def delete(self, request: NumberDelete) -> Number | None:
        """Gives a live number up, to rest; None where there is none."""
        now = datetime.now(UTC)
        return await self._change(request, tm_update=now, tm_delete=now)

    async def get(self, request: NumberGet) -> Number | None:
        """A live number of the customer."""
        query = sa.select(number).where(*_live(request.id, request.customer_id))
        async with transaction(self._database) as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _number(row)

    async def find(self, request: NumberFind) -> Number | None:
        """The customer's live number that reads so."""
        query = sa.select(number).where(
            number.c.number == request.number,
            number.c.customer_id == request.customer_id,
            number.c.tm_delete.is_(None),
        )
        async with transaction(self._database) as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _number(row)

    async def list(self, request: NumberList) -> Page[Number]:
        """A page of the customer's live numbers, newest first."""
        query = newest_first(
            sa.select(number).where(
                number.c.customer_id == request.customer_id, number.c.tm_delete.is_(None)
            ),
            number.c.tm_create,
            number.c.id,
            request.page_size,
            request.page_token,
        )
        async with transaction(self._database) as connection:
            rows = (await connection.execute(query)).all()
        kept, token = page(rows, request.page_size, lambda row: (row.tm_create, row.id))
        return Page(result=[_number(row) for row in kept], next_page_token=token)

    async def route(self, called: str) -> InboundRoute | None:
        """Where a call to this number goes; None where no live number has a flow."""
        query = sa.select(number.c.id, number.c.customer_id, number.c.call_flow_id).where(
            number.c.number == called,
            number.c.tm_delete.is_(None),
            number.c.call_flow_id.is_not(None),
        )
        async with transaction(self._database) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        return InboundRoute(number_id=row.id, customer_id=row.customer_id, flow_id=row.call_flow_id)

    async def _change(self, request: NumberUpdate | NumberDelete, **values: Any) -> Number | None:
        statement = (
            sa.update(number)
            .where(*_live(request.id, request.customer_id))
            .values(values)
            .returning(number)
        )
        async with transaction(self._database) as connection:
            row = (await connection.execute(statement)).one_or_none()
        return None if row is None else _number(row)


def _resting(remaining: timedelta) -> Conflict:
    return Conflict(
        "number_resting",
        "Another customer gave this number up not long ago",
        details={"field": "number", "retry_after": int(remaining.total_seconds()) + 1},
    )


def _live(identifier: UUID, customer_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        number.c.id == identifier,
        number.c.customer_id == customer_id,
        number.c.tm_delete.is_(None),
    )


def _number(row: sa.Row[Any]) -> Number:
    return Number(**row._mapping)

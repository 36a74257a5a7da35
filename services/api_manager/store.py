"""Customers and access keys in PostgreSQL."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from api_manager.bodies import CustomerBody
from api_manager.domain.credentials import AccesskeyToken
from api_manager.domain.scopes import Scope, in_order
from api_manager.resources import Accesskey, Customer, CustomerStatus, Policy
from api_manager.tables import accesskey, customer
from evercall.contracts.base import Page
from evercall.contracts.tenant import Quotas
from evercall.store.database import Database
from evercall.store.paging import newest_first, page
from evercall.store.transaction import transaction

LAST_USE_EVERY = timedelta(minutes=1)
"""How often the time of a key's last use is written: it is for people, who don't need it finer."""


class CustomerStore:
    """The customers. Callers have made sure that an administrator asks."""

    def __init__(self, database: Database, quotas: Quotas) -> None:
        """`quotas`: what a customer has for whom nothing else was set."""
        self._database = database
        self._quotas = quotas

    async def create(self, identifier: UUID, body: CustomerBody) -> Customer:
        """Adds a customer; said again with the same id, it adds nothing."""
        now = datetime.now(UTC)
        values = {
            "id": identifier,
            "status": CustomerStatus.ACTIVE,
            "quotas": {},
            "policy": {},
            "tm_create": now,
            "tm_update": now,
            **body.model_dump(),
        }
        add = insert(customer).values(values).on_conflict_do_nothing()
        query = sa.select(customer).where(customer.c.id == identifier)
        async with transaction(self._database) as connection:
            await connection.execute(add)
            return self._customer((await connection.execute(query)).one())

    async def get(self, identifier: UUID) -> Customer | None:
        """A customer that was not deleted."""
        query = sa.select(customer).where(*_live_customer(identifier))
        async with transaction(self._database) as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else self._customer(row)

    async def frozen(self) -> list[UUID]:
        """The customers that are frozen, and those that were deleted within the last hour, who are frozen
        before: their outgoing calls are to end."""
        since = datetime.now(UTC) - timedelta(hours=1)
        query = sa.select(customer.c.id).where(
            customer.c.status == CustomerStatus.FROZEN,
            sa.or_(customer.c.tm_delete.is_(None), customer.c.tm_delete > since),
        )
        async with transaction(self._database) as connection:
            return list((await connection.execute(query)).scalars())

    async def list(self, page_size: int, page_token: str) -> Page[Customer]:
        """A page of all customers, newest first."""
        query = newest_first(
            sa.select(customer).where(customer.c.tm_delete.is_(None)),
            customer.c.tm_create,
            customer.c.id,
            page_size,
            page_token,
        )
        async with transaction(self._database) as connection:
            rows = (await connection.execute(query)).all()
        kept, token = page(rows, page_size, lambda row: (row.tm_create, row.id))
        return Page(result=[self._customer(row) for row in kept], next_page_token=token)

    async def update(self, identifier: UUID, body: CustomerBody) -> Customer | None:
        """Replaces what describes a customer."""
        return await self._change(identifier, **body.model_dump())

    async def set_quotas(self, identifier: UUID, quotas: dict[str, int]) -> Customer | None:
        """Replaces the quotas that differ from the platform's defaults."""
        return await self._change(identifier, quotas=quotas)

    async def set_policy(self, identifier: UUID, policy: Policy) -> Customer | None:
        """Replaces the policy."""
        return await self._change(identifier, policy=msgspec.to_builtins(policy))

    async def set_status(self, identifier: UUID, status: CustomerStatus) -> Customer | None:
        """Freezes a customer, or lets it go on."""
        return await self._change(identifier, status=status)

    async def delete(self, identifier: UUID) -> Customer | None:
        """Deletes a customer, and with it the use of its keys."""
        return await self._change(identifier, tm_delete=datetime.now(UTC))

    async def _change(self, identifier: UUID, **values: Any) -> Customer | None:
        statement = (
            sa.update(customer)
            .where(*_live_customer(identifier))
            .values(tm_update=datetime.now(UTC), **values)
            .returning(customer)
        )
        async with transaction(self._database) as connection:
            row = (await connection.execute(statement)).one_or_none()
        return None if row is None else self._customer(row)

    def _customer(self, row: sa.Row[Any]) -> Customer:
        fields = dict(row._mapping)
        return Customer(
            status=CustomerStatus(fields.pop("status")),
            quotas=msgspec.structs.replace(self._quotas, **fields.pop("quotas")),
            policy=msgspec.convert(fields.pop("policy"), Policy),
            **fields,
        )


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """What a key that may be used says of its holder."""

    accesskey_id: UUID
    customer_id: UUID
    customer_status: CustomerStatus
    token_hash: bytes
    scopes: frozenset[Scope]
    expires_at: datetime | None = None


class AccesskeyStore:
    """The access keys. Of the token itself only its hash is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        identifier: UUID,
        customer_id: UUID,
        token: AccesskeyToken,
        *,
        name: str,
        detail: str,
        expire: int | None,
        scopes: frozenset[Scope],
    ) -> Accesskey:
        """Adds a key. Said again with the same id, it gives the same key a new token: who has to ask
        again never got the first one. Another key may be asking again, so the scopes are those that
        it may grant."""
        now = datetime.now(UTC)
        secret = {
            "token_hash": token.digest,
            "token_prefix": token.public_prefix,
            "scopes": in_order(scopes),
        }
        add = (
            insert(accesskey)
            .values(
                id=identifier,
                customer_id=customer_id,
                name=name,
                detail=detail,
                tm_expire=None if expire is None else now + timedelta(seconds=expire),
                tm_create=now,
                tm_update=now,
                **secret,
            )
            .on_conflict_do_update(index_elements=["id"], set_=secret)
            .returning(accesskey)
        )
        async with transaction(self._database) as connection:
            return _accesskey((await connection.execute(add)).one())

    async def get(self, identifier: UUID, customer_id: UUID) -> Accesskey | None:
        """A key of the customer."""
        query = sa.select(accesskey).where(*_live_accesskey(identifier, customer_id))
        async with transaction(self._database) as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _accesskey(row)

    async def list(self, customer_id: UUID, page_size: int, page_token: str) -> Page[Accesskey]:
        """A page of the customer's keys, newest first."""
        query = newest_first(
            sa.select(accesskey).where(
                accesskey.c.customer_id == customer_id, accesskey.c.tm_delete.is_(None)
            ),
            accesskey.c.tm_create,
            accesskey.c.id,
            page_size,
            page_token,
        )
        async with transaction(self._database) as connection:
            rows = (await connection.execute(query)).all()
        kept, token = page(rows, page_size, lambda row: (row.tm_create, row.id))
        return Page(result=[_accesskey(row) for row in kept], next_page_token=token)

    async def update(
        self, identifier: UUID, customer_id: UUID, *, name: str, detail: str
    ) -> Accesskey | None:
        """Renames a key."""
        return await self._change(identifier, customer_id, name=name, detail=detail)

    async def delete(self, identifier: UUID, customer_id: UUID) -> Accesskey | None:
        """Revokes a key."""
        return await self._change(identifier, customer_id, tm_delete=datetime.now(UTC))

    async def holder_of_token(self, digest: bytes) -> KeyHolder | None:
        """Who may use the key with this hash now; None: nobody."""
        return await self._holder(accesskey.c.token_hash == digest)

    async def holder_of_key(self, identifier: UUID) -> KeyHolder | None:
        """Who may use the key with this id now; None: nobody."""
        return await self._holder(accesskey.c.id == identifier)

    async def _holder(self, condition: sa.ColumnElement[bool]) -> KeyHolder | None:
        query = (
            sa.select(
                accesskey.c.id,
                accesskey.c.customer_id,
                accesskey.c.token_hash,
                accesskey.c.scopes,
                accesskey.c.tm_last_use,
                accesskey.c.tm_expire,
                customer.c.status,
            )
            .join_from(accesskey, customer, accesskey.c.customer_id == customer.c.id)
            .where(
                condition,
                accesskey.c.tm_delete.is_(None),
                customer.c.tm_delete.is_(None),
                sa.or_(accesskey.c.tm_expire.is_(None), accesskey.c.tm_expire > sa.func.now()),
            )
        )
        now = datetime.now(UTC)
        async with transaction(self._database) as connection:
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                return None
            if row.tm_last_use is None or row.tm_last_use < now - LAST_USE_EVERY:
                used = sa.update(accesskey).where(accesskey.c.id == row.id)
                await connection.execute(used.values(tm_last_use=now))
        return KeyHolder(
            accesskey_id=row.id,
            customer_id=row.customer_id,
            customer_status=CustomerStatus(row.status),
            token_hash=row.token_hash,
            scopes=frozenset(Scope(scope) for scope in row.scopes),
            expires_at=row.tm_expire,
        )

    async def _change(self, identifier: UUID, customer_id: UUID, **values: Any) -> Accesskey | None:
        statement = (
            sa.update(accesskey)
            .where(*_live_accesskey(identifier, customer_id))
            .values(tm_update=datetime.now(UTC), **values)
            .returning(accesskey)
        )
        async with transaction(self._database) as connection:
            row = (await connection.execute(statement)).one_or_none()
        return None if row is None else _accesskey(row)


def _live_customer(identifier: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return (customer.c.id == identifier, customer.c.tm_delete.is_(None))


def _live_accesskey(identifier: UUID, customer_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        accesskey.c.id == identifier,
        accesskey.c.customer_id == customer_id,
        accesskey.c.tm_delete.is_(None),
    )


def _accesskey(row: sa.Row[Any]) -> Accesskey:
    fields = dict(row._mapping)
    del fields["token_hash"]
    return Accesskey(scopes=[Scope(scope) for scope in fields.pop("scopes")], **fields)

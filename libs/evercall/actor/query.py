"""Reads actors for lists and look-ups; never changes them."""

from collections.abc import Sequence
from typing import Generic, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from evercall.actor.model import ActorKind
from evercall.store.database import Database, is_unavailable, store_unavailable
from evercall.store.paging import decode_token, page

State = TypeVar("State", bound=msgspec.Struct)

StatePage = tuple[list[State], str]

_GET = """SELECT record->'state' AS state FROM {schema}.actor
WHERE id = $1 AND kind = $2 AND NOT hidden"""

MAX_PAGE_BYTES = 4 * 1024 * 1024
"""Of states in a page: an answer must be far below what RabbitMQ takes as one message (16 MiB)."""

# Beside the page one row more, which tells that there is another page; so there are always two, however long.
_LIST = """SELECT id, created_at, state, total FROM (
  SELECT id, created_at, state, octet_length(state::text) AS size,
    sum(octet_length(state::text)) OVER newest AS total, row_number() OVER newest AS place
  FROM (
    SELECT id, created_at, record->'state' AS state FROM {schema}.actor
    WHERE customer_id = $1 AND kind = $2 AND NOT hidden
      AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4))
    ORDER BY created_at DESC, id DESC LIMIT $5
  ) AS found
  WINDOW newest AS (ORDER BY created_at DESC, id DESC)
) AS sized
WHERE total - size <= $6 OR place <= 2
ORDER BY created_at DESC, id DESC"""


class ActorQuery(Generic[State]):
    """The actors of one kind."""

    def __init__(self, database: Database, service: str, kind: ActorKind[State]) -> None:
        self._database = database
        self._kind = kind.name
        self._decode = msgspec.json.Decoder(kind.state).decode
        self._get = _GET.format(schema=service)
        self._list = _LIST.format(schema=service)

    async def get(self, identifier: UUID) -> State | None:
        """An actor's state, unless it is hidden."""
        rows = await self._fetch(self._get, identifier, self._kind)
        return self._decode(rows[0]["state"]) if rows else None

    async def list(
        self, customer_id: UUID, page_size: int, page_token: str = ""
    ) -> StatePage[State]:
        """One page of a customer's actors, newest first, and the next page's token. Where they are long it is
        shorter than asked for.

        Raises:
            InvalidRequest: the token is none of ours.
        """
        at, identifier = decode_token(page_token) if page_token else (None, None)
        bounds = (at, identifier, page_size + 1, MAX_PAGE_BYTES)
        rows = await self._fetch(self._list, customer_id, self._kind, *bounds)
        fitting = sum(row["total"] <= MAX_PAGE_BYTES for row in rows)
        size = min(page_size, max(1, fitting))
        kept, token = page(rows, size, lambda row: (row["created_at"], row["id"]))
        return [self._decode(row["state"]) for row in kept], token

    async def _fetch(self, query: str, *values: object) -> Sequence[asyncpg.Record]:
        try:
            return await self._database.pool.fetch(query, *values)
        except Exception as error:
            if is_unavailable(error):
                raise store_unavailable() from error
            raise

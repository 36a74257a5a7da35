"""What the engine keeps in PostgreSQL, and its one statement per batch.

A batch is one statement, so one round trip and one transaction: SQLAlchemy Core with five multi-row
statements in an explicit transaction took seven round trips for the same (docs/decisions/0001).

Fencing: the owner of a shard raised the shard's generation when it claimed it, and every batch writes only
if all its shards still have the generation that its owner knows. A replica that lost a shard and does not
know it yet can so change nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import asyncpg.pool
import msgspec

from evercall.actor.dead_letter import DeadLetter, storable
from evercall.actor.model import Actor, ActorKind, Pending
from evercall.bus.envelope import UNREADABLE, encode
from evercall.contracts.ids import shard_of
from evercall.store.database import Database

DEDUP_WINDOW = 900
"""Seconds for which the ids of handled messages are kept. RabbitMQ delivers again what was not acked within
seconds of its return; a publisher that was cut off before its confirm publishes again when it is back, which
takes as long as the cut."""

LARGEST_RECORD = 32 * 1024 * 1024
"""Bytes of one actor. PostgreSQL would take more, but not at every step of a call."""


class Fenced(Exception):
    """Another replica owns one of the shards: nothing was written."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message that is published after the commit and forgotten after the broker's confirm."""

    id: UUID
    shard: int
    exchange: str
    routing_key: str
    type: str
    body: bytes


ActorRow = tuple[UUID, str, int, UUID, datetime, bool, bool, str]
"""The columns of an actor: id, kind, shard, customer_id, created_at, live, hidden, record."""


class TooLarge(ValueError):
    """An actor, or a message of one, is larger than what may be stored or sent."""


def row_of(actor: Actor[Any], shards: int) -> ActorRow:
    """An actor as it is stored.

    Raises:
        TooLarge: it is too large.
        TypeError, ValueError: its state cannot be encoded; whatever `index` raises.
    """
    index = actor.kind.index(actor.state)
    record = encode({"state": actor.state, "pending": actor.pending, "timers": actor.timers})
    if len(record) > LARGEST_RECORD:
        raise TooLarge(f"a record of {len(record)} bytes")
    return (
        actor.id,
        actor.kind.name,
        shard_of(actor.id, shards),
        index.customer_id,
        index.created_at,
        index.live,
        index.hidden,
        record.decode(),
    )


@dataclass(slots=True)
class Batch:
    """What one batch writes."""

    generations: dict[int, int]
    message_ids: dict[int, list[str]] = field(default_factory=dict)
    rows: list[ActorRow] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    published: list[UUID] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """An actor whose row could not be decoded. It stays as it is."""

    id: UUID
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """Actors as far as they can be read."""

    actors: list[Actor[Any]]
    unreadable: list[UnreadableRow]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a new owner of a shard finds."""

    generation: int
    live: Loaded
    message_ids: list[str]
    outbox: list[OutboxRow]


_pending_decoder = msgspec.json.Decoder(dict[str, Pending])
_timers_decoder = msgspec.json.Decoder(dict[str, datetime])


class _Record(msgspec.Struct):
    state: msgspec.Raw
    pending: msgspec.Raw
    timers: msgspec.Raw


_record_decoder = msgspec.json.Decoder(_Record)

_COMMIT = """
WITH fence AS (
    UPDATE {schema}.actor_shard AS s SET batches = s.batches + 1
    FROM unnest($1::int[], $2::bigint[]) AS mine(shard, generation)
    WHERE s.shard = mine.shard AND s.generation = mine.generation
    RETURNING 1
), held AS (
    SELECT count(*) = cardinality($1::int[]) AS held FROM fence
), batch AS (
    INSERT INTO {schema}.actor_batch (shard, at, message_ids)
    SELECT b.shard, now(), string_to_array(b.ids, ',')
    FROM unnest($3::int[], $4::text[]) AS b(shard, ids), held WHERE held
), actors AS (
    INSERT INTO {schema}.actor AS a
        (id, kind, shard, customer_id, created_at, live, hidden, record)
    SELECT c.* FROM unnest($5::uuid[], $6::text[], $7::int[], $8::uuid[], $9::timestamptz[],
        $10::bool[], $11::bool[], $12::json[]) AS c, held WHERE held
    ON CONFLICT (id) DO UPDATE
        SET customer_id = excluded.customer_id, live = excluded.live, hidden = excluded.hidden,
            record = excluded.record
), outbox AS (
    INSERT INTO {schema}.outbox (id, shard, exchange, routing_key, type, body)
    SELECT o.* FROM unnest($13::uuid[], $14::int[], $15::text[], $16::text[], $17::text[],
        $18::bytea[]) AS o, held WHERE held
), dead AS (
    INSERT INTO {schema}.dead_letter (id, shard, actor, reason, type, properties, body)
    SELECT d.* FROM unnest($19::uuid[], $20::int[], $21::uuid[], $22::text[], $23::text[],
        $24::json[], $25::bytea[]) AS d, held WHERE held
    ON CONFLICT (id) DO NOTHING
), gone AS (
    DELETE FROM {schema}.outbox WHERE id = ANY($26::uuid[])
)
SELECT held FROM held
"""

_CLAIM = """
INSERT INTO {schema}.actor_shard AS s (shard, generation, batches, owner, claimed_at)
VALUES ($1, 1, 0, $2, now())
ON CONFLICT (shard) DO UPDATE
    SET generation = s.generation + 1, owner = excluded.owner, claimed_at = now()
RETURNING generation
"""

_HELD = """
SELECT count(*) = cardinality($1::int[]) FROM {schema}.actor_shard AS s
JOIN unnest($1::int[], $2::bigint[]) AS mine(shard, generation)
    ON s.shard = mine.shard AND s.generation = mine.generation
"""

_LIVE = "SELECT id, kind, record FROM {schema}.actor WHERE shard = $1 AND live"
_SOME = "SELECT id, kind, record FROM {schema}.actor WHERE id = ANY($1::uuid[])"
_RECENT = """SELECT message_ids FROM {schema}.actor_batch
WHERE shard = $1 AND at > now() - interval '1 hour' ORDER BY at"""
_OUTBOX = """SELECT id, shard, exchange, routing_key, type, body FROM {schema}.outbox
WHERE shard = $1 ORDER BY sequence"""
_PURGE = """DELETE FROM {schema}.actor_batch
WHERE shard = ANY($1::int[]) AND at < now() - make_interval(secs => $2)"""
_FORGET = "DELETE FROM {schema}.outbox WHERE id = ANY($1::uuid[])"
_DEAD = "SELECT count(*) FROM {schema}.dead_letter"


def _is_alive(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:
        # The server has ended it: asyncpg's pool then takes it back by itself, and the proxy is empty.
        return False


class ActorStore:
    """The tables `actor`, `actor_shard`, `actor_batch` and `outbox` of one service."""

    def __init__(
        self, database: Database, service: str, kinds: Iterable[ActorKind[Any]], shards: int
    ) -> None:
        self._database = database
        self._kinds = {kind.name: kind for kind in kinds}
        self._decoders = {kind.name: msgspec.json.Decoder(kind.state) for kind in kinds}
        self._shards = shards
        self._connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record] | None = None
        sql = (_COMMIT, _CLAIM, _HELD, _LIVE, _SOME, _RECENT, _OUTBOX, _PURGE, _FORGET, _DEAD)
        (
            self._commit,
            self._claim,
            self._held,
            self._live,
            self._some,
            self._recent,
            self._outbox,
            self._purge,
            self._forget,
            self._dead,
        ) = (statement.format(schema=service) for statement in sql)

    async def claim(self, shard: int, owner: str) -> Claim:
        """Makes `owner` the owner of the shard and gives what it needs to go on."""
        connection = await self._own_connection()
        async with connection.transaction():
            generation = await connection.fetchval(self._claim, shard, owner)
            rows = await connection.fetch(self._live, shard)
            recent = await connection.fetch(self._recent, shard)
            outbox = await connection.fetch(self._outbox, shard)
        return Claim(
            generation=generation,
            live=self.read(rows),
            message_ids=[identifier for row in recent for identifier in row["message_ids"]],
            outbox=[OutboxRow(**row) for row in outbox],
        )

    async def check(self, generations: dict[int, int]) -> None:
        """Makes sure that the shards are still held, where there is nothing to write: a former owner
        must not answer from what it remembers.

        Raises:
            Fenced: another replica owns one of the shards.
        """
        shards, mine = list(generations), list(generations.values())
        connection = await self._own_connection()
        if not await connection.fetchval(self._held, shards, mine):
            raise Fenced

    async def load(self, identifiers: Sequence[UUID]) -> Loaded:
        """The actors with these ids, as far as there are such."""
        connection = await self._own_connection()
        return self.read(await connection.fetch(self._some, identifiers))

    async def commit(self, batch: Batch) -> None:
        """Writes a batch.

        Raises:
            Fenced: another replica owns one of the shards; nothing was written.
        """
        dead = batch.dead
        connection = await self._own_connection()
        held = await connection.fetchval(
            self._commit,
            list(batch.generations),
            list(batch.generations.values()),
            list(batch.message_ids),
            [",".join(identifiers) for identifiers in batch.message_ids.values()],
            *([row[column] for row in batch.rows] for column in range(8)),
            [row.id for row in batch.outbox],
            [row.shard for row in batch.outbox],
            [row.exchange for row in batch.outbox],
            [row.routing_key for row in batch.outbox],
            [row.type for row in batch.outbox],
            [row.body for row in batch.outbox],
            [letter.id for letter in dead],
            [letter.shard for letter in dead],
            [letter.actor for letter in dead],
            [letter.reason for letter in dead],
            [storable(letter.type) for letter in dead],
            [letter.properties.decode() for letter in dead],
            [letter.body for letter in dead],
            batch.published,
        )
        if not held:
            raise Fenced

    async def forget_published(self, identifiers: Sequence[UUID]) -> None:
        """Removes what the broker confirmed from the outbox."""
        await self._database.pool.execute(self._forget, identifiers)

    async def purge(self, shards: Sequence[int]) -> None:
        """Removes ids of messages that can't come again."""
        await self._database.pool.execute(self._purge, shards, float(DEDUP_WINDOW))

    async def dead_letters(self) -> int:
        """How many dead letters the service has."""
        return int(await self._database.pool.fetchval(self._dead))

    async def _own_connection(self) -> "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]":
        """The loop's connection: it does one thing after the other, and to borrow one for each costs
        more than a small query itself."""
        connection = self._connection
        if connection is not None and _is_alive(connection):
            return connection
        self._connection = None
        pool = self._database.pool
        if connection is not None:
            await pool.release(connection)
        self._connection = await pool.acquire()
        return self._connection

    def read(self, rows: Iterable[Any]) -> Loaded:
        """Decodes rows. One that cannot be read must not keep the others from their owner."""
        loaded = Loaded([], [])
        for row in rows:
            try:
                loaded.actors.append(self._actor(row))
            except (KeyError, *UNREADABLE) as error:
                unreadable = UnreadableRow(
                    row["id"], row["kind"], f"{type(error).__name__}: {error}"
                )
                loaded.unreadable.append(unreadable)
        return loaded

    def _actor(self, row: Any) -> Actor[Any]:
        record = _record_decoder.decode(row["record"])
        kind = row["kind"]
        return Actor(
            id=row["id"],
            kind=self._kinds[kind],
            state=self._decoders[kind].decode(record.state),
            pending=_pending_decoder.decode(record.pending),
            timers=_timers_decoder.decode(record.timers),
        )

"""Reads and writes prepared audio, and forgets what nobody needs."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from call_manager.tables import audio, audio_use
from evercall.store.database import Database
from evercall.store.transaction import transaction

UNUSED_AFTER = timedelta(days=30)

GRACE = timedelta(hours=1)
"""For so long audio that no customer keeps any more is still there: a call may have been told its name, and a
replica may believe in it for ten minutes."""

_USE = sa.text(
    "WITH known AS (UPDATE call_manager.audio SET used_at = now() WHERE name = :name"
    " RETURNING name, octet_length(content) AS size)"
    " INSERT INTO call_manager.audio_use (customer_id, name, size, used_at)"
    " SELECT :customer, name, size, now() FROM known"
    " ON CONFLICT (customer_id, name) DO UPDATE SET used_at = excluded.used_at RETURNING size"
)

_KEPT = sa.text(
    "SELECT coalesce(sum(size), 0) FROM call_manager.audio_use WHERE customer_id = :customer"
)

# Of what the customer keeps, from the newest on, all beyond `most` bytes.
_EVICT = sa.text(
    "DELETE FROM call_manager.audio_use WHERE customer_id = :customer AND name IN (SELECT name FROM ("
    "SELECT name, sum(size) OVER (ORDER BY used_at DESC, name) AS total"
    " FROM call_manager.audio_use WHERE customer_id = :customer) AS kept WHERE total > :most)"
)

# The condition is that of the partial index `actor_unrouted`, literally.
_FORGET_UNROUTED = sa.text(
    "DELETE FROM call_manager.actor WHERE customer_id = '00000000-0000-0000-0000-000000000000'"
    " AND NOT live AND created_at < :before"
)


class AudioStore:
    """Audio in PostgreSQL, where every replica finds it. Content never changes under its name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, customer: UUID, name: str, content: bytes, most: int) -> None:
        """Keeps audio for a customer. Saving it again only says that it is used. Of all that the customer keeps,
        what was used longest ago goes when it is more than `most` bytes."""
        now = datetime.now(UTC)
        values = {"name": name, "content": content, "created_at": now, "used_at": now}
        statement = insert(audio).values(values)
        statement = statement.on_conflict_do_update(
            index_elements=[audio.c.name], set_={"used_at": now}
        )
        async with transaction(self._database) as connection:
            await connection.execute(statement)
            await connection.execute(_USE, {"customer": customer, "name": name})
            kept = (await connection.execute(_KEPT, {"customer": customer})).scalar_one()
            if kept > most:
                await connection.execute(_EVICT, {"customer": customer, "most": most})

    async def load(self, name: str) -> bytes | None:
        """The audio of this name."""
        query = sa.select(audio.c.content).where(audio.c.name == name)
        async with transaction(self._database) as connection:
            content: bytes | None = (await connection.execute(query)).scalar_one_or_none()
        return content

    async def use(self, customer: UUID, name: str) -> int | None:
        """Says that a customer uses the audio. Returns its length in bytes; None where there is none."""
        async with transaction(self._database) as connection:
            result = await connection.execute(_USE, {"customer": customer, "name": name})
            length: int | None = result.scalar_one_or_none()
        return length

    async def kept(self, customer: UUID) -> int:
        """Bytes that count for a customer."""
        async with transaction(self._database) as connection:
            return int((await connection.execute(_KEPT, {"customer": customer})).scalar_one())

    async def forget_unused(self) -> int:
        """Removes audio that nobody used for a long time, or that no customer keeps any more. Returns how much of
        it there was."""
        now = datetime.now(UTC)
        kept = sa.exists().where(audio_use.c.name == audio.c.name)
        is_unused = sa.or_(
            audio.c.used_at < now - UNUSED_AFTER,
            sa.and_(audio.c.used_at < now - GRACE, sa.not_(kept)),
        )
        async with transaction(self._database) as connection:
            result = await connection.execute(sa.delete(audio).where(is_unused))
        return result.rowcount


async def forget_unrouted(database: Database) -> int:
    """Removes what is left of calls to numbers that nobody has (`domain.incoming`). The engine's memory
    holds live actors only, so it misses nothing."""
    before = datetime.now(UTC) - timedelta(minutes=1)
    async with transaction(database) as connection:
        result = await connection.execute(_FORGET_UNROUTED, {"before": before})
    return result.rowcount

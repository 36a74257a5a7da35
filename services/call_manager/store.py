"""Reads and writes prepared audio, and forgets what nobody needs."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from call_manager.tables import audio
from evercall.store.database import Database
from evercall.store.transaction import transaction

UNUSED_AFTER = timedelta(days=30)

# The condition is that of the partial index `actor_unrouted`, literally.
_FORGET_UNROUTED = sa.text(
    "DELETE FROM call_manager.actor WHERE customer_id = '00000000-0000-0000-0000-000000000000'"
    " AND NOT live AND created_at < :before"
)


class AudioStore:
    """Audio in PostgreSQL, where every replica finds it. Content never changes under its name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, name: str, content: bytes) -> None:
        """Keeps audio. Saving it again only says that it is used."""
        now = datetime.now(UTC)
        values = {"name": name, "content": content, "created_at": now, "used_at": now}
        statement = insert(audio).values(values)
        statement = statement.on_conflict_do_update(
            index_elements=[audio.c.name], set_={"used_at": now}
        )
        async with transaction(self._database) as connection:
            await connection.execute(statement)

    async def load(self, name: str) -> bytes | None:
        """The audio of this name."""
        query = sa.select(audio.c.content).where(audio.c.name == name)
        async with transaction(self._database) as connection:
            content: bytes | None = (await connection.execute(query)).scalar_one_or_none()
        return content

    async def use(self, name: str) -> int | None:
        """Says that the audio is used. Returns its length in bytes; None where there is none."""
        statement = (
            sa.update(audio)
            .where(audio.c.name == name)
            .values(used_at=datetime.now(UTC))
            .returning(sa.func.octet_length(audio.c.content))
        )
        async with transaction(self._database) as connection:
            length: int | None = (await connection.execute(statement)).scalar_one_or_none()
        return length

    async def forget_unused(self) -> int:
        """Removes audio that nobody used for a long time. Returns how much of it there was."""
        before = datetime.now(UTC) - UNUSED_AFTER
        async with transaction(self._database) as connection:
            result = await connection.execute(sa.delete(audio).where(audio.c.used_at < before))
        return result.rowcount


async def forget_unrouted(database: Database) -> int:
    """Removes what is left of calls to numbers that nobody has (`domain.incoming`). The engine's memory
    holds live actors only, so it misses nothing."""
    before = datetime.now(UTC) - timedelta(minutes=1)
    async with transaction(database) as connection:
        result = await connection.execute(_FORGET_UNROUTED, {"before": before})
    return result.rowcount

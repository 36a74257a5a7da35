"""One transaction on plain tables, with the platform's own error while the database is away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from evercall.store.database import Database, is_unavailable, store_unavailable


@asynccontextmanager
async def transaction(database: Database) -> AsyncIterator[AsyncConnection]:
    """Commits when the block ends, rolls back when it raises.

    Raises:
        Unavailable: the database is away, or all connections stayed busy for too long.
    """
    try:
        async with database.engine.begin() as connection:
            yield connection
    except Exception as error:
        if is_unavailable(error):
            raise store_unavailable() from error
        raise

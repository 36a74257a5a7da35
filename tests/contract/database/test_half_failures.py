"""What a process sees of a PostgreSQL that fails by half, and that it goes on by itself."""

import asyncio
import time
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from evercall.service.errors import Unavailable
from evercall.store.database import Database, is_unavailable
from evercall.store.transaction import transaction
from tests.contract.database.conftest import Watched
from tests.support.postgresql import APP, PASSWORD, PORT, Postgresql
from tests.support.relay import Relay

BOUND = 8.0
"""Seconds within which everybody knows; a consumer of the API waits fifteen at most."""


async def until(database: Database, available: bool, within: float = BOUND) -> None:
    async with asyncio.timeout(within):
        while database.available is not available:
            await asyncio.sleep(0.02)


async def write(database: Database, word: str) -> None:
    """By SQLAlchemy's connections."""
    async with transaction(database) as connection:
        await connection.execute(sa.text("INSERT INTO word VALUES (:word)"), {"word": word})


async def words(database: Database) -> set[str]:
    """By asyncpg's."""
    return {row["text"] for row in await database.pool.fetch("SELECT text FROM word")}


async def refused(database: Database, word: str = "lost") -> float:
    """Seconds until a write was refused with the error that becomes a 503."""
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await write(database, word)
    return time.monotonic() - began


async def test_a_standby_takes_over(
    server: Postgresql, standby: Postgresql, watched: Watched
) -> None:
    """The primary dies; the standby answers and only reads, until it is promoted."""
    url = server.url().replace(server.address, f"{server.address}:{PORT},{standby.address}")
    database = await watched(url)
    await until(database, True)
    await write(database, "before")
    held = await database.pool.acquire()
    lsn = await server.execute("SELECT pg_current_wal_lsn()::text")
    async with asyncio.timeout(BOUND):
        behind = f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'"
        while await standby.execute(behind) != "True":
            await asyncio.sleep(0.05)

    await server.kill()
    await until(database, False)
    assert await refused(database) < BOUND  # the standby lets nobody in to write
    assert not database.available
    with pytest.raises(Exception) as failure:
        await held.execute("INSERT INTO word VALUES ('held')")
    assert is_unavailable(failure.value)

    await standby.execute("SELECT pg_promote()")
    await until(database, True)
    await write(database, "after")
    assert await words(database) == {"before", "after"}


async def test_a_primary_that_turned_read_only(server: Postgresql, watched: Watched) -> None:
    """Its connections live on, and are of no use: whoever holds one must get another later."""
    database = await watched(server.url())
    await until(database, True)
    await write(database, "before")
    held = await database.pool.acquire()

    await server.execute(
        "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"
    )
    await until(database, False)
    with pytest.raises(asyncpg.InterfaceError):
        held.is_closed()  # it was ended, and is back in the pool
    assert await refused(database) < BOUND

    await server.execute(
        "SET transaction_read_only = off",
        "SET default_transaction_read_only = off",
        "ALTER SYSTEM RESET default_transaction_read_only",
        "SELECT pg_reload_conf()",
    )
    await until(database, True)
    await write(database, "after")
    assert await words(database) == {"before", "after"}


async def test_an_error_of_a_read_only_server_is_its_absence(server: Postgresql) -> None:
    """As it comes to somebody who was faster than the probe."""
    connection = await asyncpg.connect(server.url())
    await connection.execute("SET default_transaction_read_only = on")
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError) as failure:
        await connection.execute("INSERT INTO word VALUES ('no')")
    assert is_unavailable(failure.value)
    await connection.close()


async def test_locks_and_long_statements_end_in_time(server: Postgresql, watched: Watched) -> None:
    """A statement that waits for a lock, and one that takes for ever, are given up; the database is there."""
    database = await watched(server.url())
    await until(database, True)
    holder = await asyncpg.connect(server.url())
    lock = holder.transaction()
    await lock.start()
    await holder.execute("LOCK TABLE word")

    async def sleep() -> None:
        async with transaction(database) as connection:
            await connection.execute(sa.text("SELECT pg_sleep(30)"))

    began = time.monotonic()
    waited, slept = await asyncio.gather(refused(database), sleep(), return_exceptions=True)
    assert isinstance(slept, Unavailable)
    assert isinstance(waited, float)
    assert waited < time.monotonic() - began < BOUND
    assert database.available

    await lock.rollback()
    await holder.close()
    await write(database, "after")
    assert await words(database) == {"after"}


async def test_a_password_that_was_changed(
    server: Postgresql, watched: Watched, tmp_path: Path
) -> None:
    """Said once, and mended by the new password alone."""
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    database = await watched(
        f"postgresql://{APP}@{server.address}/postgres", password_file=str(file)
    )
    await until(database, True)
    await write(database, "before")

    with capture_logs() as logs:
        await server.execute(f"ALTER ROLE {APP} PASSWORD 'second'", "SELECT 1")
        await write(database, "whoever is in stays in")
        assert database.available
        await _throw_out(server)
        await until(database, False)
        # Long enough for several attempts.
        assert await refused(database) < BOUND
        assert await refused(database) < BOUND
        assert not database.available
        file.write_text("second\n")
        await until(database, True)
    await write(database, "after")

    told = [log["error"] for log in logs if log["event"] == "database_lost"]
    assert len([error for error in told if "InvalidPassword" in error]) == 1, told
    assert not any("second" in repr(log) or PASSWORD in repr(log) for log in logs)


async def _throw_out(server: Postgresql) -> None:
    await server.execute(
        "SELECT count(pg_terminate_backend(pid, 1000)) FROM pg_stat_activity"
        f" WHERE usename = '{APP}'"
    )


async def test_a_server_that_is_stopped(server: Postgresql, watched: Watched) -> None:
    """SIGSTOP: connections live, and nobody answers."""
    database = await watched(server.url())
    await until(database, True)
    await write(database, "before")
    held = await database.pool.acquire()

    async with server.frozen():
        begun = [
            asyncio.create_task(refused(database, "lost")),
            asyncio.create_task(_took(held.fetchval("SELECT 1"))),
            asyncio.create_task(_took(database.pool.fetchval("SELECT 1"))),
        ]
        await until(database, False)
        assert max(await asyncio.gather(*begun)) < BOUND
        assert await refused(database) < BOUND  # and whoever comes later
    await until(database, True)
    await write(database, "after")
    assert await words(database) == {"before", "after"}


async def _took(command: object) -> float:
    """Seconds until a command failed because the database is away."""
    began = time.monotonic()
    with pytest.raises(Exception) as failure:
        await command  # type: ignore[misc]
    assert is_unavailable(failure.value), repr(failure.value)
    return time.monotonic() - began


async def test_a_network_that_drops_everything(server: Postgresql, watched: Watched) -> None:
    """Nothing arrives and nobody is told; nothing more is needed than the network's return."""
    listen = server.address.rpartition(".")[0] + ".99"
    async with Relay((listen, PORT), (server.address, PORT)) as relay:
        database = await watched(server.url().replace(server.address, listen))
        await until(database, True)
        await write(database, "before")
        relay.cut()
        assert await refused(database) < BOUND
        await until(database, False)
        assert await refused(database) < BOUND
        relay.mend()
        await until(database, True)
        await write(database, "after")
        assert await words(database) == {"before", "after"}

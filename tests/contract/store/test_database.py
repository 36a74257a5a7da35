"""The connections to PostgreSQL, when it cuts them off."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import sqlalchemy as sa

from deploy.lab.lab import Lab
from evercall.store.database import Database


@pytest.fixture
async def url(lab: Lab) -> str:
    return dict(lab.farm.of_module("flow_manager")[0].environment)["EVERCALL_DATABASE_URL"]


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    made = Database(url, size=3)
    running = asyncio.create_task(made.run())
    while not made.available:
        await asyncio.sleep(0.01)
    yield made
    await made.close()
    await running


async def test_connections_that_died_while_they_were_idle_are_not_handed_out(
    database: Database, url: str
) -> None:
    """As after a restart of PostgreSQL: the first request afterwards is as good as any."""
    pids = await _use_all(database, 3)

    await _cut_off(url, pids)

    assert not await _use_all(database, 3) & pids


async def test_the_engines_own_pool_replaces_dead_connections(database: Database, url: str) -> None:
    pid = await database.pool.fetchval("SELECT pg_backend_pid()")

    await _cut_off(url, {pid})

    assert await database.pool.fetchval("SELECT pg_backend_pid()") != pid


async def _use_all(database: Database, count: int) -> set[int]:
    """The server's process ids of so many connections that are used at the same time."""

    async def use() -> int:
        async with database.engine.connect() as connection:
            pid = (await connection.execute(sa.text("SELECT pg_backend_pid()"))).scalar_one()
            await connection.execute(sa.text("SELECT pg_sleep(0.05)"))
            return int(pid)

    return set(await asyncio.gather(*(use() for _ in range(count))))


async def _cut_off(url: str, pids: set[int]) -> None:
    connection = await asyncpg.connect(url)
    for pid in pids:
        await connection.execute("SELECT pg_terminate_backend($1, 1000)", pid)
    await connection.close()
    await asyncio.sleep(0.1)  # the end of the connection is on its way

"""Servers of the tests' own; the lab's database is left alone."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from deploy.lab.lab import Lab, open_lab
from evercall.store.database import Database
from tests.support.postgresql import APP, PASSWORD, Cluster, Postgresql

ROLES = (
    f"CREATE ROLE {APP} LOGIN PASSWORD '{PASSWORD}'",
    "CREATE ROLE certified LOGIN",
    "CREATE TABLE word (text text PRIMARY KEY)",
    f"GRANT ALL ON word TO {APP}",
    f"GRANT CREATE ON DATABASE postgres TO {APP}",
    f"GRANT CREATE ON SCHEMA public TO {APP}",
    "CHECKPOINT",
)

Watched = Callable[..., Awaitable[Database]]


@pytest.fixture(scope="module")
def here() -> Lab:
    """This checkout's lab, whether it is up or not."""
    return open_lab()


@pytest.fixture(scope="module")
def cluster(here: Lab, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    made = Cluster(here.paths, tmp_path_factory.mktemp("cluster") / "template")
    return made


@pytest.fixture
def address(here: Lab) -> Callable[[], str]:
    """The next address that nobody else uses."""
    numbers = itertools.count(1)
    return lambda: here.farm.network.address(8, next(numbers))


@pytest.fixture
async def server(
    cluster: Cluster, tmp_path: Path, address: Callable[[], str]
) -> AsyncIterator[Postgresql]:
    """A primary."""
    made = cluster.copy(tmp_path / "primary", address())
    await made.start()
    await made.execute(*ROLES, "SELECT 1")
    yield made
    await made.kill()


@pytest.fixture
async def standby(
    server: Postgresql, tmp_path: Path, address: Callable[[], str]
) -> AsyncIterator[Postgresql]:
    """A server that follows it."""
    made = await server.standby(tmp_path / "standby", address())
    await made.start()
    yield made
    await made.kill()


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    """Makes databases that run until the end of the test."""
    running: list[tuple[Database, asyncio.Task[None]]] = []

    async def make(url: str, **options: str) -> Database:
        database = Database(url, **options)  # type: ignore[arg-type]
        running.append((database, asyncio.create_task(database.run())))
        return database

    yield make
    for database, task in running:
        await database.close()
        await task

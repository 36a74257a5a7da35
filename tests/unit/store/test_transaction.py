"""One transaction: committed or rolled back, and its failures told in the platform's words."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import asyncpg
import pytest
from sqlalchemy.exc import IntegrityError

from evercall.service.errors import Unavailable
from evercall.store.database import Database
from evercall.store.transaction import transaction


class Engine:
    """Says what became of its one transaction; may fail at its begin or commit."""

    def __init__(
        self, at_begin: Exception | None = None, at_commit: Exception | None = None
    ) -> None:
        self.outcome = ""
        self._at_begin = at_begin
        self._at_commit = at_commit

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[object]:
        if self._at_begin:
            raise self._at_begin
        try:
            yield object()
        except BaseException:
            self.outcome = "rolled back"
            raise
        if self._at_commit:
            raise self._at_commit
        self.outcome = "committed"


class FakeDatabase:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine


def of(engine: Engine) -> Database:
    return cast("Database", FakeDatabase(engine))


async def test_a_block_that_ends_is_committed() -> None:
    engine = Engine()
    async with transaction(of(engine)):
        pass
    assert engine.outcome == "committed"


@pytest.mark.parametrize(
    "engine",
    [
        Engine(at_begin=ConnectionRefusedError()),
        Engine(at_begin=TimeoutError()),
        Engine(at_commit=asyncpg.ConnectionDoesNotExistError("closed in the middle")),
        Engine(at_commit=asyncpg.ReadOnlySQLTransactionError("a standby")),
    ],
)
async def test_a_database_that_is_away_is_unavailable(engine: Engine) -> None:
    with pytest.raises(Unavailable):
        async with transaction(of(engine)):
            pass
    assert engine.outcome != "committed"


async def test_a_loss_within_the_block_is_unavailable_and_rolled_back() -> None:
    engine = Engine()
    with pytest.raises(Unavailable) as caught:
        async with transaction(of(engine)):
            raise asyncpg.AdminShutdownError("terminating connection")
    assert engine.outcome == "rolled back"
    assert isinstance(caught.value.__cause__, asyncpg.AdminShutdownError)


@pytest.mark.parametrize(
    "fault", [IntegrityError("INSERT", {}, Exception()), KeyError("x"), asyncio.CancelledError()]
)
async def test_other_faults_pass_as_they_are(fault: BaseException) -> None:
    engine = Engine()
    with pytest.raises(type(fault)) as caught:
        async with transaction(of(engine)):
            raise fault
    assert caught.value is fault
    assert engine.outcome == "rolled back"

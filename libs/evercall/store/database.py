"""The database of a process: an asyncpg pool for the engine, a SQLAlchemy engine for plain tables.

`available` follows a probe and what users of the pool report, so that readiness tells the truth while
PostgreSQL is away.
"""

import asyncio
import ssl
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from evercall.service import errors
from evercall.service.logging import get_logger

log = get_logger(__name__)

PROBE_INTERVAL = 1.0
COMMAND_TIMEOUT = 15.0

STORE_ERRORS = (
    OSError,
    TimeoutError,
    ssl.SSLError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    InterfaceError,
    OperationalError,
)
"""What a call may raise while the database is away."""


def store_unavailable() -> errors.Unavailable:
    """The error that callers see while the database is away."""
    return errors.Unavailable("store_unavailable", "The database is away")


def is_unavailable(error: BaseException) -> bool:
    """Whether an error says that the database is away, rather than that a statement is wrong."""
    if isinstance(error, STORE_ERRORS):
        return True
    if not isinstance(error, DBAPIError):
        return False
    # SQLAlchemy wraps asyncpg's own error twice: "not yet accepting connections" comes like this.
    cause = getattr(error.orig, "__cause__", None)
    return error.connection_invalidated or isinstance(cause, STORE_ERRORS)


def _check_alive(_: Any, entry: ConnectionPoolEntry, __: Any) -> None:
    """SQLAlchemy's pool would hand out a connection that died while it lay there, once for each restart
    of the database. asyncpg knows without asking (asyncpg's own pool does the same); a ping would cost
    a round trip each time."""
    connection = entry.driver_connection
    if connection is None or connection.is_closed():
        raise DisconnectionError("the connection was lost")


async def _leave_as_it_is(_: object) -> None:
    """Nobody here changes a session's settings, so the pool need not reset them: that was a round trip
    at every return of a connection, 150 µs of CPU instead of 29 for a trivial query."""


class Database:
    """Connections to one PostgreSQL database."""

    def __init__(self, url: str, size: int = 4) -> None:
        self._url = url
        self._size = size
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._closing = asyncio.Event()
        self.available = False
        self.engine: AsyncEngine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://", 1),
            pool_size=size,
            max_overflow=0,
            pool_timeout=5,
            pool_pre_ping=False,
            connect_args={"command_timeout": COMMAND_TIMEOUT, "timeout": 5},
        )
        event.listen(self.engine.sync_engine, "checkout", _check_alive)

    @property
    def pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        """The asyncpg pool.

        Raises:
            Unavailable: the database was never reached yet.
        """
        if self._pool is None:
            raise store_unavailable()
        return self._pool

    async def run(self) -> None:
        """Connects, and keeps `available` true to the facts, until `close`."""
        while not self._closing.is_set():
            await self._probe()
            try:
                async with asyncio.timeout(PROBE_INTERVAL):
                    await self._closing.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Closes all connections."""
        self._closing.set()
        self.available = False
        await self.engine.dispose()
        if self._pool is not None:
            self._pool.terminate()

    async def _probe(self) -> None:
        before = self.available
        try:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=1,
                    max_size=self._size,
                    command_timeout=COMMAND_TIMEOUT,
                    reset=_leave_as_it_is,
                )
            async with asyncio.timeout(5.0):
                await self._pool.fetchval("SELECT 1")
            self.available = True
        except STORE_ERRORS as error:
            self.available = False
            if before:
                log.warning("database_lost", error=repr(error))
            return
        if not before:
            log.info("database_connected")

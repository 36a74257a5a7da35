"""The database of a process: an asyncpg pool for the engine, a SQLAlchemy engine for plain tables.

A connection of its own asks every second whether the server answers and takes writes. What it hears is
`available`. A server that no longer answers, or only reads, keeps none of our connections: whoever waits on
one hears of it at once, and the next connection goes to whichever host takes writes then.
"""

import asyncio
import ssl
from typing import Any
from weakref import WeakSet

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from evercall.service import errors
from evercall.service.logging import get_logger
from evercall.store.address import Address

log = get_logger(__name__)

PROBE_INTERVAL = 1.0
PROBE_TIMEOUT = 3.0
"""With the interval less than the five seconds that one service waits for another: who waits for us hears
that the database is away, and not nothing."""
COMMAND_TIMEOUT = 8.0
"""For a server that says nothing any more. One that works ends a statement before that by itself."""
POOL_TIMEOUT = 3.0

SESSION = {
    # Milliseconds. An answer that comes later helps nobody: who asks over the bus waits five seconds.
    "statement_timeout": "4500",
    "lock_timeout": "3000",
    # What a process was doing when its network went away must not keep others waiting.
    "idle_in_transaction_session_timeout": "10000",
    "client_connection_check_interval": "5000",
    "tcp_user_timeout": "10000",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
}
"""Settings of every session."""


class ReadOnly(Exception):
    """The server takes no writes: a standby, or a primary that another has taken over from."""


STORE_ERRORS = (
    OSError,
    TimeoutError,
    ssl.SSLError,
    ReadOnly,
    PoolTimeout,
    asyncpg.InterfaceError,
    asyncpg.TargetServerAttributeNotMatched,
    # Classes of SQLSTATE (PostgreSQL, appendix A), each with all that belongs to it.
    asyncpg.PostgresConnectionError,  # 08
    asyncpg.InvalidAuthorizationSpecificationError,  # 28: a password that was changed
    asyncpg.InvalidCatalogNameError,  # 3D
    asyncpg.TransactionRollbackError,  # 40: deadlock
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InsufficientResourcesError,  # 53: disk full, too many connections
    asyncpg.LockNotAvailableError,
    asyncpg.OperatorInterventionError,  # 57: statement_timeout, shutdown, start
    asyncpg.PostgresSystemError,  # 58: an error of its disk
    InterfaceError,
    OperationalError,
)
"""What a call may raise while the database is away, or can't do now what it can do later."""


def store_unavailable() -> errors.Unavailable:
    """The error that callers see while the database is away."""
    return errors.Unavailable("store_unavailable", "The database is away")


def is_unavailable(error: BaseException) -> bool:
    """Whether an error says that the database is away, rather than that a statement is wrong."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        # SQLAlchemy wraps asyncpg's own error twice: "not yet accepting connections" comes like this.
        cause = error.orig.__cause__
        if error.connection_invalidated:
            return True
        if cause is not None:
            return is_unavailable(cause)
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        return False  # an argument that PostgreSQL has no value for
    return isinstance(error, STORE_ERRORS)


def _is_of_use(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Whether a connection is there and its server takes writes, as far as the server has told: it reports
    a change of these settings with the answer to the next command."""
    if connection.is_closed():
        return False
    told = connection.get_settings()
    return "on" not in (
        getattr(told, "in_hot_standby", "off"),
        getattr(told, "default_transaction_read_only", "off"),
    )


def _check_use(_: Any, entry: ConnectionPoolEntry, __: Any) -> None:
    """SQLAlchemy's pool would hand out a connection that died while it lay there, once for each restart
    of the database. asyncpg knows without asking (asyncpg's own pool does the same); a ping would cost
    a round trip each time."""
    connection: Any = entry.driver_connection
    if connection is None or not _is_of_use(connection):
        raise DisconnectionError("the connection was lost")


def _end_silent(context: ExceptionContext) -> None:
    """A connection whose command got no answer is of no use: its rollback would wait as long again."""
    if not isinstance(context.original_exception, TimeoutError) or context.connection is None:
        return
    connection: Any = context.connection.connection.driver_connection
    if connection is not None:
        connection.terminate()


async def _leave_as_it_is(_: object) -> None:
    """Nobody here changes a session's settings, so the pool need not reset them: that was a round trip
    at every return of a connection, 150 µs of CPU instead of 29 for a trivial query."""


class Database:
    """Connections to one PostgreSQL database."""

    def __init__(
        self, url: str, size: int = 4, *, password_file: str = "", name: str = "evercall"
    ) -> None:
        """`name` is what the server's lists of sessions show.

        Raises:
            ValueError: the URL can't work.
        """
        self._address = Address(url, password_file)
        self._session = SESSION | {"application_name": name}
        self._size = size
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._watch: asyncpg.Connection[asyncpg.Record] | None = None
        self._connections: WeakSet[asyncpg.Connection[asyncpg.Record]] = WeakSet()
        self._closing = asyncio.Event()
        self._fault = ""
        self.available = False
        self.engine: AsyncEngine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            pool_size=size,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT,
            pool_pre_ping=False,
        )
        event.listen(self.engine.sync_engine, "checkout", _check_use)
        event.listen(self.engine.sync_engine, "handle_error", _end_silent)

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
        self._end(self._connections)

    async def _connect(self, *_: object, **__: object) -> "asyncpg.Connection[asyncpg.Record]":
        """For both pools; asyncpg's passes an address that it has not, and classes that are the defaults."""
        connection = await self._address.connect(self._session, COMMAND_TIMEOUT)
        self._connections.add(connection)
        return connection

    async def _probe(self) -> None:
        try:
            await self._ask()
            if self._pool is None:
                connect: Any = self._connect
                self._pool = await asyncpg.create_pool(
                    connect=connect, min_size=0, max_size=self._size, reset=_leave_as_it_is
                )
        except STORE_ERRORS as error:
            self._lose(error)
            return
        if not self.available and not self._closing.is_set():
            self.available = True
            self._fault = ""
            log.info("database_connected")

    async def _ask(self) -> None:
        """Whether the server answers and takes writes. It does not share the pools' connections: these
        may all be busy for good reasons."""
        if self._watch is None or self._watch.is_closed():
            self._watch = await self._connect()
        answer = await self._watch.fetchval("SHOW transaction_read_only", timeout=PROBE_TIMEOUT)
        if answer == "on":
            raise ReadOnly("the server takes no writes")
        self._end({each for each in self._connections if not _is_of_use(each)})

    def _lose(self, error: Exception) -> None:
        """Ends what hangs, or only reads. A server that went away in the open has ended it itself."""
        self.available = False
        if isinstance(error, TimeoutError | ReadOnly):
            self._end(self._connections)
        fault = type(error).__name__
        if fault != self._fault:
            self._fault = fault
            log.warning("database_lost", error=repr(error))

    def _end(self, connections: "set[Any] | WeakSet[Any]") -> None:
        for connection in list(connections):
            if not connection.is_closed():
                connection.terminate()

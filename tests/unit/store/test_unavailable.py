"""Which errors say that the database is away, as SQLAlchemy and asyncpg dress them."""

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from evercall.store.database import is_unavailable


class BadArgument(asyncpg.InterfaceError, ValueError):
    """As asyncpg says that a number does not fit its column."""


def wrapped(cause: Exception, *, invalidated: bool = False) -> DBAPIError:
    """SQLAlchemy's error around its adapter's error around asyncpg's."""
    adapter = Exception(str(cause))
    adapter.__cause__ = cause
    return DBAPIError("SELECT 1", {}, adapter, connection_invalidated=invalidated)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        wrapped(asyncpg.CannotConnectNowError("not yet accepting connections")),
        wrapped(asyncpg.AdminShutdownError("terminating connection")),
        wrapped(asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT")),
        wrapped(asyncpg.InvalidPasswordError("password authentication failed")),
        wrapped(asyncpg.LockNotAvailableError("lock timeout")),
        wrapped(asyncpg.QueryCanceledError("statement timeout")),
        wrapped(asyncpg.DiskFullError("no space left on device")),
        asyncpg.TargetServerAttributeNotMatched("none of the hosts"),
        PoolTimeout("all connections are busy"),
        wrapped(asyncpg.PostgresSyntaxError("in the middle"), invalidated=True),
        OperationalError("SELECT 1", {}, Exception()),
    ],
)
def test_the_database_is_away(error: Exception) -> None:
    assert is_unavailable(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        wrapped(asyncpg.PostgresSyntaxError("wrong")),
        wrapped(asyncpg.InsufficientPrivilegeError("permission denied")),
        wrapped(BadArgument("out of range")),
        BadArgument("out of range"),
        IntegrityError("INSERT", {}, Exception()),
        ProgrammingError("SELECT", {}, Exception()),
    ],
)
def test_the_statement_is_wrong(error: Exception) -> None:
    assert not is_unavailable(error)

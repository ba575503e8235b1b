"""What the database and its drivers raise, in the words of the domain."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError, EmulatedDBAPIException, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shop.domain.errors import InvalidToken, ShopError, StoreUnavailable, WriteConflict

# PostgreSQL: serialization_failure, deadlock_detected, unique_violation.
_CONFLICTS = frozenset({"40001", "40P01", "23505"})
_UNDEFINED_TABLE = "42P01"
# What asyncpg raises when the server's farewell arrived on an idle connection just before its end.
_Interrupted = asyncpg.InternalClientError
# lock_not_available, query_canceled (the timeouts), read_only_sql_transaction (a failover);
# and whole classes: connection, resources, operator intervention, system.
_AWAY = frozenset({"55P03", "57014", "25006"})
_AWAY_CLASSES = frozenset({"08", "53", "57", "58"})
# invalid_authorization_specification, invalid_catalog_name: refused before there is a connection.
_REFUSED_CLASSES = frozenset({"28", "3D"})

_SQLITE_CONFLICTS = frozenset(
    {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY}
)
# Primary result codes; the extended ones carry them in their low byte.
_SQLITE_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)


def translated(error: BaseException) -> ShopError | None:
    """The domain's error for what the database raised; None if it is a bug or not ours."""
    if isinstance(error, PoolTimeoutError):
        return StoreUnavailable("All database connections are busy; try again shortly.")
    cause = driver_error(error)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return _away()
    if isinstance(cause, (OSError, TimeoutError, asyncpg.InterfaceError, _Interrupted)):
        return _away()
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        if code in _SQLITE_CONFLICTS:
            return _conflict()
        return _away() if code is not None and code & 0xFF in _SQLITE_AWAY else None
    state = getattr(cause, "sqlstate", None)
    if state in _CONFLICTS:
        return _conflict()
    if state is not None and (state in _AWAY or state[:2] in _AWAY_CLASSES):
        return _away()
    if state is not None and state[:2] in _REFUSED_CLASSES:
        return StoreUnavailable("The database refuses the shop's connections.")
    return None


def is_missing_table(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) == _UNDEFINED_TABLE or (
        str(error.orig).startswith("no such table")
    )


def driver_error(error: BaseException) -> BaseException:
    """What the driver raised, below what SQLAlchemy makes of it."""
    # Around asyncpg's errors it has one of its own, and bare ones where a connection is made.
    if isinstance(error, DBAPIError | EmulatedDBAPIException):
        return error.driver_exception
    return error


@contextmanager
def translating() -> Iterator[None]:
    """Raises the domain's error in place of the database's, where there is one."""
    try:
        yield
    except Exception as error:
        if (known := translated(error)) is not None:
            raise known from driver_error(error)
        raise


@contextmanager
def refusing_unknown_user() -> Iterator[None]:
    """Raises `InvalidToken` where a row would belong to a user who is not there.

    A token outlives its user only if the database was made anew under the same secret.
    """
    try:
        yield
    except asyncpg.ForeignKeyViolationError as error:
        raise InvalidToken from error
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
            raise InvalidToken from error
        raise


def violates(error: IntegrityError, *, constraint: str, sqlite_columns: str) -> bool:
    """Whether a unique constraint was violated: PostgreSQL names it, SQLite its columns."""
    message = str(error.orig)
    return constraint in message or sqlite_columns in message


def _away() -> StoreUnavailable:
    return StoreUnavailable("The database did not answer in time; try again shortly.")


def _conflict() -> WriteConflict:
    return WriteConflict("Another request was faster; try again.")

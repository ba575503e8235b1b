"""What the database and its drivers raise, in the words of the domain."""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import asyncpg
from sqlalchemy.exc import DBAPIError, EmulatedDBAPIException, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shop.domain.errors import (
    InvalidToken,
    LockTimeout,
    Overloaded,
    PaymentReferenceTaken,
    ShopError,
    SkuTaken,
    StoreUnavailable,
    UsernameTaken,
    WriteConflict,
)

# PostgreSQL: serialization_failure, deadlock_detected, unique_violation.
_CONFLICTS = frozenset({"40001", "40P01", "23505"})
# A statement was prepared before a column changed; prepared anew it runs.
_StalePlan = asyncpg.InvalidCachedStatementError
_UNDEFINED_TABLE = "42P01"
# What asyncpg raises when the server's farewell arrived on an idle connection just before its end.
_Interrupted = asyncpg.InternalClientError
_LOCK_NOT_AVAILABLE = "55P03"
# query_canceled (the statement timeout), read_only_sql_transaction (a failover), and the timeouts
# of a transaction, for a process that stood still in it;
# and whole classes: connection, resources, operator intervention, system.
_QUERY_CANCELED = "57014"
_AWAY = frozenset({_QUERY_CANCELED, "25006", "25P03", "25P04"})
_AWAY_CLASSES = frozenset({"08", "53", "57", "58"})
# admin_shutdown, crash_shutdown, cannot_connect_now, read_only_sql_transaction.
_SESSION_ENDS = frozenset({"57P01", "57P02", "57P03", "25006"})
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


@dataclass(frozen=True, slots=True)
class Constraint:
    """As PostgreSQL names it, and what SQLite says, which names the columns of a unique one."""

    name: str
    sqlite_message: str


# The constraints that a caller's input can violate, by the error that says so.
_CONSTRAINTS: dict[type[ShopError], Sequence[Constraint]] = {
    SkuTaken: [
        Constraint("products_sku_key", "UNIQUE constraint failed: products.sku"),
        Constraint(
            "products_sku_folded_key",
            "UNIQUE constraint failed: products.sku_folded, products.sku_clash",
        ),
    ],
    UsernameTaken: [
        Constraint("users_username_key", "UNIQUE constraint failed: users.username"),
        Constraint(
            "users_username_folded_key",
            "UNIQUE constraint failed: users.username_folded, users.username_clash",
        ),
    ],
    PaymentReferenceTaken: [
        Constraint(
            "orders_payment_reference_key", "UNIQUE constraint failed: orders.payment_reference"
        ),
    ],
    # A token outlives its user only if the database was made anew under the same secret.
    InvalidToken: [Constraint("orders_user_id_fkey", "FOREIGN KEY constraint failed")],
}


def translated(error: BaseException) -> ShopError | None:
    """The domain's error for what the database raised; None if it is a bug or not ours."""
    if isinstance(error, PoolTimeoutError):
        # No sign that the database is away: others have all connections of this kind.
        return Overloaded("All database connections are busy; try again shortly.")
    if isinstance(error, PendingRollbackError):
        # Leaving a transaction whose connection was lost; that hides the error which said so.
        return _away()
    cause = driver_error(error)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return _away()
    if isinstance(cause, _StalePlan):
        return _conflict()
    if isinstance(cause, (OSError, TimeoutError, asyncpg.InterfaceError, _Interrupted)):
        return _away()
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        if code in _SQLITE_CONFLICTS:
            return _conflict()
        return _away() if code is not None and code & 0xFF in _SQLITE_AWAY else None
    state = getattr(cause, "sqlstate", None)
    if state == _LOCK_NOT_AVAILABLE:
        return LockTimeout()
    if state in _CONFLICTS:
        return _conflict()
    if state is not None and (state in _AWAY or state[:2] in _AWAY_CLASSES):
        return _away()
    if state is not None and state[:2] in _REFUSED_CLASSES:
        return StoreUnavailable("The database refuses the shop's connections.")
    return None


_KINDS = {"40001": "serialization", "40P01": "deadlock", "23505": "unique"}


def kind_of(error: BaseException) -> str:
    """What went wrong, in one word of few, for who counts it."""
    cause = driver_error(error)
    state = getattr(cause, "sqlstate", None)
    if state in _KINDS:
        return _KINDS[state]
    if isinstance(cause, _StalePlan):
        return "stale_plan"
    if getattr(cause, "sqlite_errorcode", None) in _SQLITE_CONFLICTS:
        return "unique"
    if isinstance(cause, asyncio.CancelledError):
        return "cancelled"
    match translated(error):
        case LockTimeout():
            return "lock_timeout"
        case StoreUnavailable():
            return "unavailable"
        case _:
            return "other"


def was_refused(error: BaseException) -> bool:
    """Whether this answer to COMMIT says that nothing was committed.

    A server that ends the connection in the middle of it has said nothing; neither has a disk that
    fails while SQLite writes.
    """
    cause = driver_error(error)
    if isinstance(cause, StoreUnavailable | asyncpg.InFailedSQLTransactionError):
        # It was not even sent, or answered with ROLLBACK.
        return True
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_IOERR
    return (
        isinstance(cause, asyncpg.PostgresError) and cause.as_dict().get("severity_en") == "ERROR"
    )


def ends_session(error: BaseException) -> bool:
    """Whether PostgreSQL can do no more on this connection, nor on those opened before it.

    The server ended it, is lost, or takes no changes any more since another is the primary now. Of
    a `TimeoutError` it is the driver's limit that ran out, though the server has a shorter one.
    """
    cause = driver_error(error)
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return state in _SESSION_ENDS or state[:2] == "08"
    return isinstance(cause, TimeoutError | ConnectionError | _Interrupted)


def may_work_elsewhere(error: BaseException) -> bool:
    """Whether another server of the same data may do what failed on this one.

    Not what took too long: it would there, too.
    """
    cause = driver_error(error)
    if isinstance(cause, asyncpg.PostgresError):
        return cause.sqlstate != _QUERY_CANCELED
    return isinstance(error, PendingRollbackError) or isinstance(
        cause, (OSError, TimeoutError, asyncpg.InterfaceError, _Interrupted)
    )


def is_missing_table(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) == _UNDEFINED_TABLE or (
        str(error.orig).startswith("no such table")
    )


def driver_error(error: BaseException) -> BaseException:
    """What the driver raised, below what SQLAlchemy makes of it."""
    # Around asyncpg's errors it has one of its own, and bare ones where a connection is made.
    emulated = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(emulated, EmulatedDBAPIException):
        # Of a stale plan its own error does not hold the driver's, but comes from it.
        return emulated.orig or emulated.__cause__ or emulated
    return emulated or error


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
def refusing(error: ShopError) -> Iterator[None]:
    """Raises this error where a constraint that stands for it is violated."""
    try:
        yield
    except Exception as violation:
        cause = driver_error(violation)
        is_sqlite = isinstance(cause, sqlite3.IntegrityError)
        for constraint in _CONSTRAINTS[type(error)]:
            if constraint.name == getattr(cause, "constraint_name", None) or (
                is_sqlite and constraint.sqlite_message == str(cause)
            ):
                raise error from cause
        raise


def _away() -> StoreUnavailable:
    return StoreUnavailable("The database did not answer in time; try again shortly.")


def _conflict() -> WriteConflict:
    return WriteConflict("Another request was faster; try again.")

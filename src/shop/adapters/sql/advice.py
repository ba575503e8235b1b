"""What an operator is told of a database that cannot be used: a sentence, and what to do.

Clients are told less (`errors.translated`): they can do nothing about a host or a path.
"""

import errno
import re
import socket
import sqlite3
import ssl
from collections.abc import Callable
from pathlib import Path

import asyncpg
from sqlalchemy import URL

from shop.adapters.sql.errors import driver_error
from shop.adapters.sql.files import missing_right, no_database
from shop.adapters.sql.urls import database_of, hosts_of, place_of, sqlite_file, user_of
from shop.domain.errors import StoreUnavailable, StoreUnfit

_CHECK = "Check SHOP_DATABASE_URL."


def advice(error: BaseException, url: URL) -> str | None:
    """None for what the database did not raise, and for what only a bug can have made it raise.

    The error is the driver's, SQLAlchemy's around it, or a `StoreUnavailable` that it caused. A
    `StoreUnfit` says enough by itself.
    """
    if isinstance(error, StoreUnfit):
        return None
    cause = driver_error(error.__cause__ or error)
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause, sqlite_file(url))
    if isinstance(cause, asyncpg.PostgresError):
        return _of_postgresql(cause, url)
    # Of what a connection raises; a pipe or a file that a command wrote to is none.
    if isinstance(error, StoreUnavailable) and isinstance(cause, _OF_CONNECTION):
        return _of_connection(cause, url)
    return None


_OF_CONNECTION = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)


# --- SQLite ---

_BY_CODE: dict[int, Callable[[Path, sqlite3.Error], str]] = {
    sqlite3.SQLITE_NOTADB: lambda file, _: str(no_database(file)),
    sqlite3.SQLITE_CORRUPT: lambda file, error: (
        f"The SQLite database {file} is damaged ({error}); restore a backup."
    ),
    sqlite3.SQLITE_FULL: lambda file, _: f"There is no room left on the disk of {file}.",
    sqlite3.SQLITE_IOERR: lambda file, error: (
        f"The SQLite database {file} cannot be read or written ({error}): the disk may be full."
    ),
}
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_UNUSABLE = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
)


def _of_sqlite(error: sqlite3.Error, file: Path) -> str | None:
    # Primary result codes; the extended ones carry them in their low byte.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _BUSY:
        return (
            f"Somebody else is writing to the SQLite database {file}, and holds it for too long: a "
            "`shop` command, or another program that has it open."
        )
    if code in _UNUSABLE:
        return f"The SQLite database {file} cannot be used: {_reason(file, error)}. {_CHECK}"
    if code == sqlite3.SQLITE_ERROR and "already exists" in str(error):
        return _something_else(str(file), str(error))
    return _BY_CODE[code](file, error) if code in _BY_CODE else None


def _something_else(place: str, said: str) -> str:
    return f"There is something else in {place} ({said}); give the shop a database of its own."


def _reason(file: Path, error: sqlite3.Error) -> str:
    """What SQLite does not say."""
    if not file.exists():
        return "it cannot be made, since this user may not write to its folder"
    return missing_right(file) or str(error)


# --- PostgreSQL ---

# Error codes, or their class: the first two characters.
_TOO_MANY, _AUTHORIZATION, _CATALOG = "53300", "28", "3D"
_NO_RIGHT, _READ_ONLY, _TAKEN = "42501", "25006", ("42P07", "42710")


def _of_postgresql(error: asyncpg.PostgresError, url: URL) -> str | None:
    state, said = error.sqlstate or "", _one_line(error)
    if state == _NO_RIGHT:
        return (
            f"The user {user_of(url)!r} may not do this in {place_of(url)} ({said}); give it the "
            f"database, as by `ALTER DATABASE {database_of(url)} OWNER TO ...`."
        )
    if state in _TAKEN:
        return _something_else(place_of(url), said)
    if state == _READ_ONLY:
        return f"No changes can be made in {place_of(url)}: it is a standby, or read-only."
    if state == _TOO_MANY:
        return f"{hosts_of(url)} has too many connections already ({said})."
    if state.startswith(_CATALOG):
        return (
            f"There is no database {database_of(url)!r} at {hosts_of(url)}; make it, as by "
            f"`createdb`. {_CHECK}"
        )
    if state.startswith(_AUTHORIZATION):
        return f"{hosts_of(url)} does not let the user {user_of(url)!r} in ({said}). {_CHECK}"
    return None


def _of_connection(error: BaseException, url: URL) -> str:
    place = hosts_of(url)
    if isinstance(error, socket.gaierror):
        return f"The host of {place} is not known ({error.strerror}). {_CHECK}"
    if isinstance(error, ssl.SSLError):
        return f"{place} and the shop agree on no TLS ({_one_line(error)}). {_CHECK}"
    if isinstance(error, TimeoutError):
        return f"{place} did not answer in time. {_CHECK}"
    numbers = _numbers(error)
    if errno.ECONNREFUSED in numbers:
        return f"Nothing answers at {place} (connection refused). {_CHECK}"
    if errno.ENOENT in numbers and place.startswith("/"):
        return f"There is no PostgreSQL at {place} (its socket is not there). {_CHECK}"
    return f"{place} cannot be connected to ({_one_line(error)}). {_CHECK}"


def _numbers(error: BaseException) -> set[int]:
    """Of a host with several addresses asyncio only says in words what each one answered."""
    found = {int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))}
    number = getattr(error, "errno", None)
    return found | ({number} if number is not None else set())


def _one_line(error: BaseException) -> str:
    """Its first line: what follows are hints and details."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")

"""The SQLite database as a file: whether there is one, and who may read it."""

import os
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path

from shop.domain.errors import StoreUnfit

# SQLite puts these beside the file while it is open.
BESIDE = ("-wal", "-shm")


def is_there(file: Path) -> bool:
    """Whether there is something by that name. Raises `StoreUnfit` where nobody can tell."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StoreUnfit(
            f"The SQLite database {file} cannot be reached ({error.strerror}); check "
            "SHOP_DATABASE_URL."
        ) from error
    return True


def missing_right(file: Path) -> str | None:
    """Why this user cannot change the database; None if they may."""
    if not os.access(file, os.R_OK):
        return "this user may not read it"
    if not os.access(file, os.W_OK):
        return "this user may not write to it"
    if not os.access(file.parent, os.W_OK):
        return "this user may not write to its folder, where SQLite keeps more files"
    return None


def probe(file: Path | str) -> None:
    """Open it once by itself; a string is a URI of SQLite's. Raises `sqlite3.Error`.

    Where a connection of the pool cannot be opened, its thread outlives the event loop of a
    command, and complains.
    """
    with closing(sqlite3.connect(file, uri=isinstance(file, str))) as connection:
        connection.execute("PRAGMA schema_version").fetchall()


def require_rights(file: Path) -> None:
    """Raises `StoreUnfit`. SQLite lets somebody without the right to write begin a change."""
    if missing := missing_right(file):
        raise StoreUnfit(
            f"The SQLite database {file} cannot be used: {missing}. Check SHOP_DATABASE_URL."
        )


def make_private(file: Path) -> None:
    """The folder, if there is none, and the file are their owner's alone, whatever the umask.

    SQLite gives what it makes beside the file, such as `-wal`, the permissions of the file. Raises
    `StoreUnfit` for what can be no database; nothing of it is changed.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnfit(
            f"The folder {file.parent} of the SQLite database cannot be made ({error.strerror}); "
            "set SHOP_DATABASE_URL to a place that can be written."
        ) from error
    # What cannot be made or read SQLite will tell, if it cannot be used either.
    with suppress(OSError):
        file.touch(mode=0o600, exist_ok=False)
    if is_there(file):
        _require_file(file)
    for made in (file, *(file.with_name(file.name + end) for end in BESIDE)):
        with suppress(OSError):
            _take_from_others(made, is_database=made == file)


def no_database(file: Path) -> StoreUnfit:
    return StoreUnfit(
        f"{file} is no SQLite database: SHOP_DATABASE_URL must name another file, or one that is "
        "not there yet."
    )


def _require_file(file: Path) -> None:
    mode = file.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no file"
        raise StoreUnfit(
            f"{file} is {kind}: SHOP_DATABASE_URL must name the file of an SQLite database."
        )


# https://www.sqlite.org/fileformat.html: an empty file is an empty database.
_MAGIC = b"SQLite format 3\x00"


def _take_from_others(file: Path, *, is_database: bool) -> None:
    mode = file.stat().st_mode
    if not mode & 0o077:
        return
    # Only now: closing a file gives up SQLite's locks, should this process have it open already.
    if is_database and _beginning(file) not in (b"", _MAGIC):
        # Somebody else's, whose permissions stay as they are.
        raise no_database(file)
    file.chmod(mode & ~0o077)


def _beginning(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(len(_MAGIC))

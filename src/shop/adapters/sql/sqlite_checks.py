"""What `shop doctor` looks at in an SQLite database and its file; nothing of it is changed."""

import re
import shutil
import sqlite3
import time
from pathlib import Path

import aiosqlite
from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.findings import Finding, danger, note, ok, unknown
from shop.adapters.sql import files
from shop.adapters.sql.drivers import driver_of
from shop.adapters.sql.urls import read_only_url

VERSION_MIN = (3, 35)
"""It has RETURNING; FTS5 has trigrams since 3.34."""

FREE_BYTES_MIN = 100 * 1024 * 1024
FREE_BYTES_SOON = 1024 * 1024 * 1024

PROBLEMS_MAX = 10
_STEPS = 20_000
"""Of SQLite's machine, between two looks at the clock: a millisecond or less."""


def probe(url: URL) -> None:
    """See `files.probe`; nothing is written."""
    read_only = read_only_url(url)
    files.probe(f"{read_only.database}?mode={read_only.query['mode']}")


async def version(connection: AsyncConnection) -> Finding:
    shown = str(await connection.scalar(text("SELECT sqlite_version()")))
    return of_version(shown)


def of_version(shown: str) -> Finding:
    if tuple(int(part) for part in shown.split(".")[:2]) < VERSION_MIN:
        needed = ".".join(map(str, VERSION_MIN))
        return danger(f"SQLite {shown}.", f"The shop needs SQLite {needed} or newer.")
    return ok(f"SQLite {shown}.")


async def durability(connection: AsyncConnection) -> Finding:
    """How the file is kept, and how this build of SQLite writes to it when the shop asks."""
    mode = await connection.scalar(text("PRAGMA journal_mode"))
    synchronous = await connection.scalar(text("PRAGMA synchronous"))
    foreign_keys = await connection.scalar(text("PRAGMA foreign_keys"))
    if (synchronous, foreign_keys) != (_FULL, 1):
        return danger(
            f"This SQLite does not do as it is told: synchronous={synchronous}, "
            f"foreign_keys={foreign_keys}.",
            "Use another build of Python or SQLite.",
        )
    if mode != "wal":
        return note(
            f"journal_mode={mode} instead of wal.",
            "`shop serve` sets it; if it is so afterwards, the file system cannot have it.",
        )
    return ok("journal_mode=wal, synchronous=FULL.")


_FULL = 2


async def integrity(connection: AsyncConnection, *, seconds_max: float) -> Finding:
    try:
        rows = await _bounded(connection, f"PRAGMA quick_check({PROBLEMS_MAX})", seconds_max)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        return _damaged(str(error))
    if rows is None:
        return unknown(
            f"PRAGMA quick_check takes longer than {seconds_max:g} s.",
            "Run it on a backup: sqlite3 shop.backup 'PRAGMA integrity_check'.",
        )
    problems = [row[0] for row in rows if row[0] != "ok"]
    if problems:
        return _damaged(problems[0])
    return ok("PRAGMA quick_check finds nothing.")


def _damaged(said: str) -> Finding:
    return danger(
        f"The file is damaged: {' '.join(said.split())}.",
        "Stop the shop, keep a copy of the file and what is beside it, and restore a backup.",
    )


async def foreign_keys(connection: AsyncConnection, *, seconds_max: float) -> Finding:
    statement = 'SELECT DISTINCT "table" FROM pragma_foreign_key_check LIMIT 10'
    rows = await _bounded(connection, statement, seconds_max)
    if rows is None:
        return unknown(
            f"PRAGMA foreign_key_check takes longer than {seconds_max:g} s.",
            "Run it on a backup: sqlite3 shop.backup 'PRAGMA foreign_key_check'.",
        )
    if rows:
        return danger(
            f"Rows that belong to none: of {', '.join(sorted(row[0] for row in rows))}.",
            "Something else than the shop has changed the file; restore a backup, or put back "
            "what is missing.",
        )
    return ok("PRAGMA foreign_key_check finds nothing.")


async def _bounded(
    connection: AsyncConnection, statement: str, seconds_max: float
) -> list[sqlite3.Row] | None:
    """None: it was stopped. A statement that nobody waits for any more would hold up the exit."""
    driver = driver_of(connection)
    assert isinstance(driver, aiosqlite.Connection)
    stop_at = time.monotonic() + seconds_max
    await driver.set_progress_handler(lambda: time.monotonic() > stop_at, _STEPS)
    try:
        return list(await driver.execute_fetchall(statement))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        raise
    finally:
        await driver.set_progress_handler(None, 0)  # type: ignore[arg-type]


# Where a host locks files and maps memory for itself, and others do not see it.
_OF_SEVERAL_HOSTS = re.compile(
    r"(nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|lustre|gpfs|ocfs2|gfs2|fuse\.(sshfs|glusterfs|s3fs|rclone))$"
)
_OF_MEMORY = ("tmpfs", "ramfs")


def file_system(file: Path, mounts: Path = Path("/proc/self/mounts")) -> Finding:
    try:
        kind = _kind_of(file.resolve(), mounts.read_text(errors="replace"))
    except OSError:
        return unknown("This system does not say on which file system the database is.")
    if _OF_SEVERAL_HOSTS.match(kind):
        return danger(
            f"{file} is on {kind}, a file system of several hosts: SQLite's log needs memory that "
            "all who open it share.",
            "Move it to a disk of this host, or use PostgreSQL.",
        )
    if kind in _OF_MEMORY:
        return danger(
            f"{file} is on {kind}: it is gone when the host starts anew.", "Move it to a disk."
        )
    if kind == "overlay":
        return note(
            f"{file} is in a container's own layer, and gone with the container.",
            "Put it on a volume.",
        )
    return ok(f"{kind}.")


_ESCAPED = re.compile(r"\\([0-7]{3})")


def _kind_of(file: Path, mounts: str) -> str:
    """Of the last file system that was mounted nearest above it. Raises `OSError`."""
    found, kind = Path(), ""
    for line in mounts.splitlines():
        # proc(5): blanks and the like are octal.
        _, place, named, *_ = line.split(" ")
        mounted = Path(_ESCAPED.sub(lambda code: chr(int(code[1], 8)), place))
        if file.is_relative_to(mounted) and len(mounted.parts) >= len(found.parts):
            found, kind = mounted, named
    if not kind:
        raise OSError
    return kind


def disk(file: Path) -> Finding:
    """What SQLite cannot write it refuses: no order is lost, and none is placed."""
    free = shutil.disk_usage(file.parent).free
    return of_disk(free, file.stat().st_size)


def of_disk(free: int, size: int) -> Finding:
    found = f"{_megabytes(free)} free; the database has {_megabytes(size)}."
    if free < FREE_BYTES_MIN:
        return danger(found, "Make room: without any, no order can be placed.")
    if free < max(FREE_BYTES_SOON, size):
        return note(found, "Make room: a backup on this disk, or VACUUM, needs as much again.")
    return ok(found)


def _megabytes(size: int) -> str:
    return f"{size / 1024 / 1024:,.0f} MB"

"""How far a database that has replicas has come with a change: taken from the change itself.

Whatever changes what a replica may be asked for takes a lock first, or adds a product; that
statement says as well which transaction it is in. So it is known without another round trip, and
also of a change that was done before: who repeats one has to see what it came to.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql.rows import ReadRow, read_rows
from shop.adapters.work import Seen, work_under_way

MARKING = "shop_marking"
"""Execution option of the engines whose changes are to be marked."""

SYSTEM = "(SELECT system_identifier FROM pg_control_system())"
# Of a primary: the server's functions that tell of timelines know a new one minutes later.
TIMELINE = "('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::bigint"
# What a server that follows another one calls its timeline: who may see it is told by the process
# that receives, others by what the server noted last, which may be minutes late.
_TIMELINE_OF_STANDBY = """
    coalesce(
        (SELECT received_tli FROM pg_stat_wal_receiver),
        (
            SELECT greatest(noted.timeline_id, recovering.min_recovery_end_timeline)
            FROM pg_control_checkpoint() AS noted, pg_control_recovery() AS recovering
        )
    )
"""
TIMELINE_OF_ANY = f"CASE WHEN pg_is_in_recovery() THEN {_TIMELINE_OF_STANDBY} ELSE {TIMELINE} END"
# Of the statement's own snapshot: all transactions before its `xmin` are over in it. The list of
# those under way, which others would be told by, is always empty on a standby.
HAS_SEEN = f"""
    ({SYSTEM} = {{}} AND {TIMELINE_OF_ANY} = {{}}
        AND txid_snapshot_xmin(txid_current_snapshot()) > {{}})
"""
"""Whether a server has what was seen: to be given a parameter for each part of `Seen`."""

_MARK = {"seen_system": SYSTEM, "seen_timeline": TIMELINE, "seen_position": "txid_current()"}

MARK = ", ".join(f"{sql} AS {name}" for name, sql in _MARK.items())
"""For the text of a statement that is marked."""
_COLUMNS: Sequence[ColumnElement[Any]] = [
    literal_column(sql, BigInteger).label(name) for name, sql in _MARK.items()
]


async def lock_row(connection: AsyncConnection, column: ColumnElement[Any], value: object) -> bool:
    """Lock a row until the transaction ends; False if there is none."""
    return await lock_rows(connection, column, column == value)


async def lock_rows(
    connection: AsyncConnection, column: ColumnElement[Any], which: ColumnElement[bool]
) -> bool:
    """Lock rows until the transaction ends, in the order of a column; False if there are none.

    With NO KEY UPDATE, so that the foreign-key checks of others need not wait for them.
    """
    mark = mark_of(connection)
    locking = select(column, *mark).where(which).order_by(column).with_for_update(key_share=True)
    rows = await read_rows(connection, locking)
    if rows and mark:
        note_mark(rows[0])
    return bool(rows)


def mark_of(connection: AsyncConnection) -> Sequence[ColumnElement[Any]]:
    """Columns for a statement whose rows go to `note_mark`; none where nothing is marked."""
    assert connection.sync_connection is not None
    options = connection.sync_connection.get_execution_options()
    return _COLUMNS if MARKING in options else ()


def note_mark(row: ReadRow) -> None:
    """The work under way has seen what this row was read or changed with."""
    work = work_under_way.get()
    if work is not None:
        work.seen = Seen(
            system=row["seen_system"],
            timeline=row["seen_timeline"],
            position=row["seen_position"],
        )

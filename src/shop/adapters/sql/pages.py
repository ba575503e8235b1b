"""Parts of ordered lists, as SQL."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, RowMapping, Select, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql.rows import read_rows
from shop.domain.pages import Window


def select_window(
    statement: Select[Any], window: Window, order: Sequence[ColumnElement[Any]], *, descending: bool
) -> Select[Any]:
    """Cut a part out of a list by keyset. With `window.before` the rows come nearest first."""
    backwards = window.before is not None
    key = window.before if backwards else window.after
    upwards = descending == backwards
    if key is not None:
        columns, values = tuple_(*order), tuple_(*key, types=[column.type for column in order])
        statement = statement.where(columns > values if upwards else columns < values)
    return (
        statement.order_by(*(column.asc() if upwards else column.desc() for column in order))
        .limit(window.limit)
        .offset(window.offset or None)
    )


async def read_window(
    connection: AsyncConnection,
    statement: Select[Any],
    window: Window,
    order: Sequence[ColumnElement[Any]],
    *,
    descending: bool,
) -> Sequence[RowMapping]:
    """The rows of a part, in list order."""
    chosen = select_window(statement, window, order, descending=descending)
    rows = await read_rows(connection, chosen)
    return rows[::-1] if window.before is not None else rows


async def count_rows(
    connection: AsyncConnection, source: FromClause, conditions: Iterable[ColumnElement[bool]]
) -> int:
    statement = select(func.count()).select_from(source).where(*conditions)
    return await connection.scalar(statement) or 0

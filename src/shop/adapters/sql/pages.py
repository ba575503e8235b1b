"""Parts of ordered lists, as SQL."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, RowMapping, Select, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql.rows import read_rows
from shop.domain.pages import Part


def select_part(
    statement: Select[Any], part: Part, order: Sequence[ColumnElement[Any]], *, descending: bool
) -> Select[Any]:
    """Cut a part out of a list by keyset. With `part.before` the rows come nearest first."""
    backwards = part.before is not None
    key = part.before if backwards else part.after
    upwards = descending == backwards
    if key is not None:
        columns, values = tuple_(*order), tuple_(*key, types=[column.type for column in order])
        statement = statement.where(columns > values if upwards else columns < values)
    return (
        statement.order_by(*(column.asc() if upwards else column.desc() for column in order))
        .limit(part.limit)
        .offset(part.offset or None)
    )


async def read_part(
    connection: AsyncConnection,
    statement: Select[Any],
    part: Part,
    order: Sequence[ColumnElement[Any]],
    *,
    descending: bool,
) -> Sequence[RowMapping]:
    """The rows of a part, in list order."""
    chosen = select_part(statement, part, order, descending=descending)
    rows = await read_rows(connection, chosen)
    return rows[::-1] if part.before is not None else rows


async def count_rows(
    connection: AsyncConnection, source: FromClause, conditions: Iterable[ColumnElement[bool]]
) -> int:
    statement = select(func.count()).select_from(source).where(*conditions)
    return await connection.scalar(statement) or 0

"""Parts of ordered lists, as SQL."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, tuple_

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

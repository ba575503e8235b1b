"""Lists in SQL: each page is a walk along an index, and cost does not grow with the list.

Statements are written once for each shape of a list and of a window, with parameters, so that they
need not be built, compiled or planned again. How much they read does not depend on what a planner
expects: PostgreSQL plans without knowing the values, and SQLite knows little about its tables. So
a page first finds the ids of its rows, in one table and by an index that has its order, and then
reads what it shows of these few. A limit stands in the text of each statement: of a parameter
PostgreSQL would expect a tenth of the table.

Filters that are no part of the index (`rest`) are tried one after the other:

1. walk a short way (twice as far as the page, if that is a deep one), which is enough where many
   rows fit;
2. gather all that fit by another index (`gathered_by`) and sort them, if they are few;
3. walk further.

If a few thousand fit, and they are not within the first 30,000, it would take longer: the list is
refused with `SearchTooBroad`, never shown in part.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Protocol, Self

import aiosqlite
from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    FromClause,
    Select,
    Subquery,
    and_,
    bindparam,
    func,
    null,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.drivers import driver_of, expected_rows, read_from
from shop.adapters.sql.rows import ReadRow, Row, written
from shop.adapters.system import utc_now
from shop.domain.errors import SearchTooBroad
from shop.domain.pages import COUNTED_MAX, Count, Window

WALKED_FIRST, GATHERED_MAX, WALKED_MAX = 1_000, 3_000, 30_000
PART_MAX = 1_001
"""The rows of the largest page (a command's), and one that tells whether there are others."""
COUNTED_FAR_MAX = 10_000
"""So far a list is counted that is not estimated to be longer; if it is, it is said to be so long.

SQLite does not estimate, and PostgreSQL too low where it has not looked since many rows came.
"""
LENGTH_AGE_MAX = timedelta(minutes=10)
"""What was counted in the background is not told when it is older."""

_lengths = tables.list_lengths


# Names of the parameters of a key, and of the columns of an order in a part.
KEY = ("key_0", "key_1")
ORDER = ("order_0", "order_1")


def parameter(name: str, column: ColumnElement[Any]) -> BindParameter[Any]:
    """To compare this column with."""
    return bindparam(name, type_=column.type)


def length_kept_as(name: str, of: int = 0) -> Row:
    """Values for a list whose length is counted in the background, under a name (and a user)."""
    return {"kept_as": name, "kept_for": of}


@dataclass(frozen=True, slots=True)
class Bound:
    """The least or the greatest value of a column, in a parameter."""

    parameter: str
    is_included: bool

    def at_least(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        limit = parameter(self.parameter, column)
        return column >= limit if self.is_included else column > limit

    def at_most(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        limit = parameter(self.parameter, column)
        return column <= limit if self.is_included else column < limit


@dataclass(frozen=True, kw_only=True, eq=False)
class SqlList:
    """A list as the database has it: one object for each shape, since its statements are cached.

    Its filters compare columns with named parameters, whose values are given when it is read.
    """

    source: FromClause
    """The table whose index is walked."""
    order: Sequence[ColumnElement[Any]]
    """Columns of the source, in the order of the index; the last one is unique."""
    descending: bool
    where: Sequence[ColumnElement[bool]] = ()
    """What the first columns of the index are equal to."""
    lowest: Bound | None = None
    highest: Bound | None = None
    """A range of the first column of `order`."""
    rest: Sequence[ColumnElement[bool]] = ()
    """Filters besides, on columns of the source."""
    gathered_by: Sequence[ColumnElement[Any]] | None = None
    """Columns of an index by which all that fit can be gathered, if they are few.

    To be given if there is a `rest`. If there is none, they are few in any case.
    """
    details: Callable[[Subquery], Select[Any]]
    """What is read of each row of a part, which has the columns of `order`."""
    is_length_kept: bool = False
    """Whether its length is counted in the background; see `length_kept_as`."""

    def all(self) -> Select[Any]:
        """The unique column of all rows of the list, by an index."""
        by = self.order if self.gathered_by is None else self.gathered_by
        chosen = self._select(self.order[-1], lowest=self.lowest, highest=self.highest)
        return chosen.where(*self.rest).order_by(*by)

    def walk(self, way: "Way", *also: ColumnElement[Any]) -> Select[Any]:
        """What comes next in that way, whether the rest of the filters fits or not."""
        chosen = self._select(*self.named_order(), *also, lowest=way.lowest, highest=way.highest)
        return self.beyond_key(chosen, way).order_by(*way.ordered(self.order))

    def beyond_key(self, chosen: Select[Any], way: "Way") -> Select[Any]:
        if not way.is_keyed:
            return chosen
        keys = [parameter(name, column) for name, column in zip(KEY, self.order, strict=False)]
        if len(keys) == 1:
            return chosen.where(way.is_beyond(keys[0], self.order[0]))
        types = [column.type for column in self.order]
        return chosen.where(way.is_beyond(tuple_(*keys, types=types), tuple_(*self.order)))

    def named_order(self) -> list[ColumnElement[Any]]:
        return [column.label(name) for name, column in zip(ORDER, self.order, strict=False)]

    def order_of(self, part: FromClause) -> list[ColumnElement[Any]]:
        """The columns of its order in a part that has them."""
        return [part.c[name] for name, _ in zip(ORDER, self.order, strict=False)]

    def _select(
        self, *columns: ColumnElement[Any], lowest: Bound | None, highest: Bound | None
    ) -> Select[Any]:
        chosen = select(*columns).select_from(self.source).where(*self.where)
        if lowest is not None:
            chosen = chosen.where(lowest.at_least(self.order[0]))
        if highest is not None:
            chosen = chosen.where(highest.at_most(self.order[0]))
        return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a window reads a list."""

    is_keyed: bool
    is_upwards: bool
    lowest: Bound | None
    highest: Bound | None

    @classmethod
    def of(cls, listed: SqlList, values: Mapping[str, Any], window: Window) -> Self:
        """Where the walk begins is said once, by the key or by a bound.

        Of two such conditions databases may take the wrong one to begin with, and walk from there.
        """
        key = window.after or window.before
        is_upwards = listed.descending == (window.before is not None)
        start = listed.lowest if is_upwards else listed.highest
        lowest, highest = listed.lowest, listed.highest
        is_keyed = key is not None
        if key is not None and start is not None:
            limit = values[start.parameter]
            is_within = key[0] > limit if is_upwards else key[0] < limit
            is_keyed = is_within or (start.is_included and key[0] == limit)
            if is_keyed:
                lowest, highest = (None, highest) if is_upwards else (lowest, None)
        return cls(is_keyed=is_keyed, is_upwards=is_upwards, lowest=lowest, highest=highest)

    @classmethod
    def whole(cls, listed: SqlList, *, is_upwards: bool) -> Self:
        """From one end to the other."""
        return cls(
            is_keyed=False, is_upwards=is_upwards, lowest=listed.lowest, highest=listed.highest
        )

    def is_beyond(
        self, key: ColumnElement[Any], columns: ColumnElement[Any]
    ) -> ColumnElement[bool]:
        return columns > key if self.is_upwards else columns < key

    def ordered(self, columns: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
        return [column.asc() if self.is_upwards else column.desc() for column in columns]


async def read_list(
    connection: AsyncConnection, listed: SqlList, values: Mapping[str, Any], window: Window
) -> Sequence[ReadRow]:
    """The rows of a window, in list order. Raises `SearchTooBroad`."""
    rows, _ = await _read(connection, listed, values, window, counting=False)
    return rows


async def read_counted_list(
    connection: AsyncConnection, listed: SqlList, values: Mapping[str, Any], window: Window
) -> tuple[Sequence[ReadRow], Count]:
    """The same, and the length of the list, see `Listable`. Raises `SearchTooBroad`."""
    rows, attempt = await _read(connection, listed, values, window, counting=True)
    if not rows:
        return rows, Count(window.offset)
    number: int = rows[0]["counted"]
    if number <= COUNTED_MAX or isinstance(attempt, _Gathering):
        return rows, Count(number)
    about = rows[0]["kept"] or await _estimate(connection, listed, values)
    return rows, Count(max(about, COUNTED_MAX + 1), is_exact=False)


async def _read(
    connection: AsyncConnection,
    listed: SqlList,
    values: Mapping[str, Any],
    window: Window,
    *,
    counting: bool,
) -> tuple[Sequence[ReadRow], "_Attempt"]:
    """The rows of a window, and the attempt that found them all."""
    assert window.limit <= PART_MAX
    way = Way.of(listed, values, window)
    parameters: Row = {
        **values,
        **dict(zip(KEY, window.after or window.before or (), strict=False)),
        "part": window.limit,
        "skipped": window.offset,
        "counted_since": utc_now() - LENGTH_AGE_MAX,
    }
    for attempt in _attempts(listed, window):
        statement = attempt.statement(listed, way, counting)
        rows = await read_from(driver_of(connection), statement, parameters)
        found = attempt.found(rows, window)
        if found is not None:
            return found[::-1] if window.before is not None else found, attempt
    raise SearchTooBroad(WALKED_MAX)


class _Attempt(Protocol):
    """A way to find a page."""

    def statement(self, listed: SqlList, way: Way, counting: bool) -> Select[Any]: ...

    def found(self, rows: Sequence[ReadRow], window: Window) -> Sequence[ReadRow] | None:
        """The page; None if there may be more on it than what was found within the limit."""
        ...


class _Walk:
    """The next rows of the index are the page."""

    @lru_cache(maxsize=1_000)  # noqa: B019 - these objects live as long as the process
    def statement(self, listed: SqlList, way: Way, counting: bool) -> Select[Any]:
        # Two limits: by the inner one it is planned, the other one is the page's.
        walked = listed.walk(way).limit(written(PART_MAX)).offset(SKIPPED)
        part = select(walked.subquery("walked")).limit(PART).subquery("part")
        return _with_details(listed, way, part, counting)

    def found(self, rows: Sequence[ReadRow], window: Window) -> Sequence[ReadRow] | None:
        return rows


@dataclass(frozen=True)
class _FilteredWalk:
    """Those of the next rows of the index that fit are the page."""

    limit: int

    @lru_cache(maxsize=1_000)  # noqa: B019
    def statement(self, listed: SqlList, way: Way, counting: bool) -> Select[Any]:
        fits = and_(*listed.rest).label("fits")
        walked = listed.walk(way, fits).limit(written(self.limit)).subquery("walked")
        in_order = way.ordered(listed.order_of(walked))
        numbered = select(walked, func.row_number().over(order_by=in_order).label("place"))
        placed = numbered.subquery("placed")
        is_last = placed.c.place == written(self.limit)
        # The last row is kept though it does not fit: it tells that the walk ended there.
        kept = select(placed, func.row_number().over().label("number")).where(
            or_(placed.c.fits, is_last)
        )
        found = kept.subquery("found")
        is_shown = and_(found.c.fits, found.c.number > SKIPPED)
        part = (
            select(found, is_shown.label("is_shown"))
            .where(or_(is_shown, found.c.place == written(self.limit)))
            .limit(PART)
            .subquery("part")
        )
        return _with_details(listed, way, part, counting, "place", "is_shown")

    def found(self, rows: Sequence[ReadRow], window: Window) -> Sequence[ReadRow] | None:
        shown = [row for row in rows if row["is_shown"]]
        is_at_limit = bool(rows) and rows[-1]["place"] == self.limit
        return None if is_at_limit and len(shown) < window.limit else shown


@dataclass(frozen=True)
class _DeepWalk:
    """Those that fit are skipped, and counted for nothing else: half the work of the walk above.

    So it cannot tell the end of the list from its own.
    """

    limit: int

    @lru_cache(maxsize=1_000)  # noqa: B019
    def statement(self, listed: SqlList, way: Way, counting: bool) -> Select[Any]:
        fits = and_(*listed.rest).label("fits")
        walked = listed.walk(way, fits).limit(written(self.limit)).subquery("walked")
        part = select(walked).where(walked.c.fits).limit(PART).offset(SKIPPED).subquery("part")
        return _with_details(listed, way, part, counting)

    def found(self, rows: Sequence[ReadRow], window: Window) -> Sequence[ReadRow] | None:
        return rows if len(rows) == window.limit else None


@dataclass(frozen=True)
class _Gathering:
    """All that fit are sorted, and some of them are the page."""

    limit: int

    @lru_cache(maxsize=1_000)  # noqa: B019
    def statement(self, listed: SqlList, way: Way, counting: bool) -> Select[Any]:
        few = listed.all().limit(written(self.limit + 1)).cte("few").prefix_with("MATERIALIZED")
        id_ = listed.order[-1]
        chosen = select(*listed.named_order()).join_from(few, listed.source, few.c[id_.name] == id_)
        # Too many are not even looked up.
        size = select(func.count().label("counted")).select_from(few)
        chosen = chosen.where(size.scalar_subquery() <= self.limit)
        chosen = listed.beyond_key(chosen, way).order_by(*way.ordered(listed.order))
        found = chosen.limit(written(PART_MAX)).offset(SKIPPED).subquery("found")
        part = select(found).limit(PART).subquery("part")
        page = listed.details(part).add_columns(*part.columns).subquery("page")
        # A row in any case, which says how many were gathered.
        sizes = size.subquery("sizes")
        order = listed.order_of(page)
        return (
            select(page, sizes.c.counted, order[-1].is_not(None).label("is_shown"))
            .select_from(sizes.outerjoin(page, true()))
            .order_by(*way.ordered(order))
        )

    def found(self, rows: Sequence[ReadRow], window: Window) -> Sequence[ReadRow] | None:
        is_all = rows[0]["counted"] <= self.limit
        return [row for row in rows if row["is_shown"]] if is_all else None


_WALK = _Walk()
_GATHERING = _Gathering(GATHERED_MAX)
_FIRST_WALK, _LAST_WALK = _FilteredWalk(WALKED_FIRST), _FilteredWalk(WALKED_MAX)


def _attempts(listed: SqlList, window: Window) -> Sequence[_Attempt]:
    if listed.gathered_by is None:
        return (_WALK,)
    if not listed.rest:
        return (_GATHERING,)
    return _first_walk(window.offset + window.limit), _GATHERING, _LAST_WALK


def _first_walk(depth: int) -> _Attempt:
    """To a page that ends so deep, or twice as far: most rows may fit, but seldom all do."""
    if 2 * depth <= WALKED_FIRST:
        return _FIRST_WALK
    # Of few lengths, since each has a statement.
    return _DeepWalk(min(1 << (2 * depth).bit_length(), WALKED_MAX))


def _with_details(
    listed: SqlList, way: Way, part: Subquery, counting: bool, *also: str
) -> Select[Any]:
    statement = listed.details(part).add_columns(*(part.c[name] for name in also))
    if counting:
        some = listed.all().limit(written(COUNTED_MAX + 1)).subquery("some_rows")
        counted: ColumnElement[int] = select(func.count()).select_from(some).scalar_subquery()
        kept: ColumnElement[Any] = null()
        if listed.is_length_kept:
            kept = _KEPT.scalar_subquery()
            # What is counted already, and long, is not counted again: it is a third of the page.
            is_long = _lengths.c.length > written(COUNTED_FAR_MAX)
            counted = func.coalesce(_KEPT.where(is_long).scalar_subquery(), counted)
        statement = statement.add_columns(counted.label("counted"), kept.label("kept"))
    return statement.order_by(*way.ordered(listed.order_of(part)))


PART = bindparam("part", type_=BigInteger)
SKIPPED = bindparam("skipped", type_=BigInteger)
_KEPT = select(_lengths.c.length).where(
    _lengths.c.list == parameter("kept_as", _lengths.c.list),
    _lengths.c.user_id == parameter("kept_for", _lengths.c.user_id),
    _lengths.c.counted_at > parameter("counted_since", _lengths.c.counted_at),
)


async def _estimate(connection: AsyncConnection, listed: SqlList, values: Mapping[str, Any]) -> int:
    driver = driver_of(connection)
    if not isinstance(driver, aiosqlite.Connection):
        estimate = await expected_rows(driver, _all(listed), values)
        if estimate > COUNTED_FAR_MAX:
            return estimate
    [row] = await read_from(driver, _counted_far(listed), values)
    return int(row["counted"])


@lru_cache(maxsize=1_000)
def _all(listed: SqlList) -> Select[Any]:
    return listed.all()


@lru_cache(maxsize=1_000)
def _counted_far(listed: SqlList) -> Select[Any]:
    some = listed.all().limit(written(COUNTED_FAR_MAX)).subquery("some_rows")
    return select(func.count().label("counted")).select_from(some)

"""Searching products in SQL: by an index of three characters, and never through the whole table.

What many products have is found soon by walking the list in its order. What few have is found by
the index, and those few are sorted. What the index cannot find is walked for, and given up with an
error that says so when that takes too long: there may be no index, or nothing in the search that
PostgreSQL's index has, which leaves out signs.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnCollection,
    ColumnElement,
    Integer,
    RowMapping,
    Select,
    Subquery,
    Text,
    and_,
    any_,
    bindparam,
    case,
    func,
    literal_column,
    select,
    text,
    tuple_,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.pages import select_window
from shop.adapters.sql.rows import read_rows
from shop.domain.errors import SearchTooBroad
from shop.domain.pages import Window
from shop.domain.products import ProductQuery, ProductSort

LOOKED_AT_FIRST = 2_000
"""Products of the list that are walked through before the index is asked."""
FOUND_MAX = 10_000
"""Products that the index may find: more are not sorted."""
LOOKED_AT_MAX = 100_000
"""Products of the list that are walked through at most."""
LOOKED_AT_FOR_COUNT = 20_000
"""Products that are walked through to see whether they are too many to be counted."""

_products, _stock = tables.products, tables.stock

Columns = ColumnCollection[str, ColumnElement[Any]]

SORT_COLUMNS: dict[ProductSort, ColumnElement[Any]] = {
    ProductSort.NAME: _products.c.search_key,
    ProductSort.PRICE: _products.c.price,
    ProductSort.CREATED: _products.c.created_at,
    ProductSort.MODIFIED: _products.c.modified_at,
}
# What ordering and filtering need.
_LOOKED_AT = (
    _products.c.id,
    _products.c.sku_folded,
    _products.c.price,
    _products.c.search_key,
    _products.c.search_text,
    _products.c.created_at,
    _products.c.modified_at,
)


def filters(query: ProductQuery, columns: Columns, dialect: str) -> Iterator[ColumnElement[bool]]:
    """The conditions of a query but for the stock, on products or some part of them."""
    if query.skus is not None:
        yield columns["sku_folded"].in_(query.skus)
    if query.price_min is not None:
        yield columns["price"] >= query.price_min
    if query.price_max is not None:
        yield columns["price"] <= query.price_max
    if query.created_after is not None:
        yield columns["created_at"] > query.created_after
    if query.modified_after is not None:
        yield columns["modified_at"] > query.modified_after
    yield from _has_terms(query.terms, columns["search_text"], dialect)


class Search:
    """One part of a list of found products."""

    def __init__(self, connection: AsyncConnection, query: ProductQuery, window: Window) -> None:
        self._connection = connection
        self._dialect = connection.dialect.name
        self._query = query
        self._window = window
        self._is_backwards = window.before is not None
        self._upwards = query.descending == self._is_backwards
        self._start = window.before if self._is_backwards else window.after

    async def read(self, statement: Select[Any]) -> Sequence[RowMapping]:
        """The rows of a statement about products, of those that are in this part, in list order.

        Raises `SearchTooBroad`.
        """
        rows = await self._read(statement, self._walked(LOOKED_AT_FIRST))
        if len(rows) < self._window.limit:
            ids = await self._ids_by_index()
            if ids is not None:
                rows = await self._read(statement, self._sorted(ids))
            else:
                rows = await self._read(statement, self._walked(LOOKED_AT_MAX))
                if len(rows) < self._window.limit and await self._is_longer(LOOKED_AT_MAX):
                    raise SearchTooBroad(LOOKED_AT_MAX)
        return rows[::-1] if self._is_backwards else rows

    async def _read(self, statement: Select[Any], page: Select[Any] | None) -> Sequence[RowMapping]:
        if page is None:
            return []
        found = page.subquery("found")
        statement = statement.join(found, found.c.id == _products.c.id)
        return await read_rows(self._connection, statement.order_by(*self._order(found.c)))

    # --- by walking ---

    def _walked(self, looked_at: int) -> Select[Any] | None:
        """The part, as far as it is among the next products; None if the list is at its end."""
        needed = self._window.offset + self._window.limit
        parts = []
        for part in self._parts(looked_at):
            products = part.subquery()
            fitting = self._fitting(products).order_by(*self._order(products.c)).limit(needed)
            # Each in a SELECT of its own, as SQLite wants it.
            parts.append(select(fitting.subquery()))
        if not parts:
            return None
        together = union_all(*parts).subquery()
        return self._cut(select(together), together.c)

    def _parts(self, looked_at: int) -> Iterator[Select[Any]]:
        """The next products of the list, by parts whose order an index has."""
        for rank, conditions in _ranks(self._query):
            start = self._start
            if start is not None and self._query.sort is ProductSort.RELEVANCE:
                (own_rank, *rest) = start
                if rank != own_rank and (rank > own_rank) != self._upwards:
                    continue
                start = tuple(rest) if rank == own_rank else None
            sort = self._query.sort
            by = SORT_COLUMNS[ProductSort.NAME if sort is ProductSort.RELEVANCE else sort]
            statement = select(*_LOOKED_AT, literal_column(str(rank), Integer).label("rank"))
            part = select_window(
                statement.where(_products.c.archived.is_(False), *conditions),
                Window(limit=0, after=start),
                [by, _products.c.id],
                descending=not self._upwards,
            )
            yield part.limit(_written(looked_at))

    def _fitting(self, looked_at: Subquery) -> Select[Any]:
        """Those of the products looked at that the query is about."""
        fitting = select(looked_at).where(*filters(self._query, looked_at.c, self._dialect))
        if self._query.in_stock is not None:
            fitting = fitting.join(_stock, _stock.c.product_id == looked_at.c.id)
            fitting = fitting.where(is_in_stock(self._query.in_stock))
        return fitting

    async def _is_longer(self, looked_at: int) -> bool:
        beyond = [
            select(part.limit(1).offset(looked_at).subquery()) for part in self._parts(looked_at)
        ]
        return bool(await read_rows(self._connection, union_all(*beyond)))

    # --- by the index ---

    async def _ids_by_index(self) -> Sequence[int] | None:
        """Of all that the index finds; None if those are too many, or it finds nothing of this."""
        if self._dialect == "sqlite":
            found = await self._connection.scalar(
                _FOUND_IN_SQLITE, {"found_max": FOUND_MAX + 1, "trigrams": _trigrams(self._query)}
            )
            ids = json.loads(found)
        else:
            terms = [term for term in self._query.terms if _is_indexed(term)]
            if not terms or not await self._connection.scalar(_HAS_INDEX):
                return None
            found_by_it = (
                select(_products.c.id)
                .where(
                    _products.c.archived.is_(False),
                    *_has_terms(terms, _products.c.search_text, self._dialect),
                )
                .limit(_written(FOUND_MAX + 1))
                .subquery()
            )
            ids = await self._connection.scalar(select(func.array_agg(found_by_it.c.id))) or []
        return ids if len(ids) <= FOUND_MAX else None

    def _sorted(self, ids: Sequence[int]) -> Select[Any]:
        """The part, of these products."""
        some = self._some(ids).subquery()
        statement = self._fitting(some)
        if self._start is not None:
            order = self._order_columns(some.c)
            place = tuple_(*order)
            start = tuple_(*self._start, types=[each.type for each in order])
            statement = statement.where(place > start if self._upwards else place < start)
        fitting = statement.subquery()
        return self._cut(select(fitting), fitting.c)

    def _is_one_of(self, ids: Sequence[int]) -> ColumnElement[bool]:
        if self._dialect == "sqlite":
            each = func.json_each(bindparam("ids", json.dumps(ids), Text)).table_valued("value")
            return _products.c.id.in_(select(each.c.value))
        return _products.c.id == any_(bindparam("ids", ids, ARRAY(BigInteger)))

    # --- counting ---

    async def count(self, counted_max: int) -> tuple[int, bool]:
        """How many there are, and whether that is exact: up to `counted_max` it always is.

        But for what the index cannot find, of which only so many are looked at.
        """
        number, estimate = await self._count_walking(LOOKED_AT_FOR_COUNT, counted_max)
        if number > counted_max:
            return estimate, False
        ids = await self._ids_by_index()
        if ids is not None:
            found = self._fitting(self._some(ids).subquery())
            count = select(func.count()).select_from(found.subquery())
            return await self._connection.scalar(count) or 0, True
        number, estimate = await self._count_walking(LOOKED_AT_MAX, counted_max)
        if number <= counted_max and not await self._is_longer(LOOKED_AT_MAX):
            return number, True
        return max(number, estimate), False

    async def _count_walking(self, looked_at: int, counted_max: int) -> tuple[int, int]:
        """How many of the first so many, up to one more than `counted_max`; and about of all."""
        places = func.row_number().over().label("place")
        listed = (
            select(*_LOOKED_AT, places)
            .where(_products.c.archived.is_(False))
            .limit(_written(looked_at))
            .subquery()
        )
        fitting = self._fitting(listed).limit(counted_max + 1).subquery()
        all_of_them = select(func.max(_products.c.id)).scalar_subquery()
        [row] = await read_rows(
            self._connection,
            select(
                func.count().label("number"),
                func.coalesce(func.max(fitting.c.place), looked_at).label("places"),
                all_of_them.label("all"),
            ).select_from(fitting),
        )
        number = int(row["number"])
        return number, number * (row["all"] or 0) // max(row["places"], 1)

    # --- both ---

    def _some(self, ids: Sequence[int]) -> Select[Any]:
        return select(*_LOOKED_AT, _rank_of(self._query).label("rank")).where(
            _products.c.archived.is_(False), self._is_one_of(ids)
        )

    def _cut(self, statement: Select[Any], columns: Columns) -> Select[Any]:
        window = self._window
        cut = statement.order_by(*self._order(columns)).limit(window.limit)
        return cut.offset(window.offset or None)

    def _order_columns(self, columns: Columns) -> list[ColumnElement[Any]]:
        if self._query.sort is ProductSort.RELEVANCE:
            return [columns["rank"], columns["search_key"], columns["id"]]
        return [columns[SORT_COLUMNS[self._query.sort].key or ""], columns["id"]]

    def _order(self, columns: Columns) -> list[ColumnElement[Any]]:
        by = self._order_columns(columns)
        return [column.asc() if self._upwards else column.desc() for column in by]


def is_in_stock(wanted: bool) -> ColumnElement[bool]:
    return _stock.c.on_hand > 0 if wanted else _stock.c.on_hand == 0


def _written(limit: int) -> ColumnElement[int]:
    """In the statement's text: PostgreSQL plans for a tenth of all if it does not know a limit."""
    return literal_column(str(limit), Integer)


def _ranks(query: ProductQuery) -> list[tuple[int, list[ColumnElement[bool]]]]:
    """The parts of a list by how well they fit; one, if it goes by something else."""
    if query.sort is not ProductSort.RELEVANCE:
        return [(0, [])]
    is_exact, begins_so = _fits(query)
    return [
        (0, [is_exact]),
        (1, [~is_exact, begins_so]),
        (2, [~is_exact, ~begins_so]),
    ]


def _rank_of(query: ProductQuery) -> ColumnElement[int]:
    if query.sort is not ProductSort.RELEVANCE:
        return literal_column("0", Integer)
    is_exact, begins_so = _fits(query)
    return case((is_exact, 0), (begins_so, 1), else_=2)


def _fits(query: ProductQuery) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Whether the SKU is just what is looked for, and whether the name begins with it."""
    name, beginning = _products.c.search_key, query.beginning
    return _products.c.sku_folded == beginning, and_(
        name >= beginning, name < beginning + _LAST_CHARACTER
    )


_LAST_CHARACTER = "\U0010ffff"

# Terms that are looked up, the longest: each is a part of the index to be read.
_LOOKED_UP_MAX = 5

# PostgreSQL's index has letters and digits only, three in a row; where a word begins or ends in the
# middle of the term, spaces count as well.
_IS_INDEXED = re.compile(r"[^\W_]{3}|[\W_][^\W_]|[^\W_]{2}[\W_]")

_HAS_INDEX = text(
    "SELECT true FROM pg_index WHERE indexrelid = to_regclass('products_search') AND indisvalid"
)
_FOUND_IN_SQLITE = text(
    "SELECT json_group_array(rowid) FROM (SELECT rowid FROM products_search "
    "WHERE products_search MATCH :trigrams LIMIT :found_max)"
)
_TRIGRAMS_MAX = 50


def _is_indexed(term: str) -> bool:
    return _IS_INDEXED.search(term) is not None


def _has_terms(
    terms: Sequence[str], search_text: ColumnElement[Any], dialect: str
) -> Iterator[ColumnElement[bool]]:
    if dialect == "sqlite":
        yield from (func.instr(search_text, term) > 0 for term in terms)
        return
    looked_up = [term for term in terms if _is_indexed(term)][:_LOOKED_UP_MAX]
    yield from (search_text.like(f"%{_escaped(term)}%") for term in looked_up)
    yield from (func.strpos(search_text, term) > 0 for term in terms if term not in looked_up)


def _escaped(term: str) -> str:
    """For LIKE, where three signs have a meaning of their own."""
    return re.sub(r"([\\%_])", r"\\\1", term)


def _trigrams(query: ProductQuery) -> str:
    """What SQLite's index has to have, in its language: all of these."""
    trigrams = dict.fromkeys(
        term[start : start + 3] for term in query.terms for start in range(len(term) - 2)
    )
    quoted = ['"' + each.replace('"', '""') + '"' for each in trigrams]
    return " AND ".join(quoted[:_TRIGRAMS_MAX])

"""Searching products in SQL: by an index of three characters, and never through the whole table.

What many products have is found soon by walking the list in its order. What few have is found by
the index, and those few are sorted. What the index cannot find is walked for, and given up with an
error that says so when that takes too long: there may be no index, or nothing in the search that
PostgreSQL's index has, which leaves out signs.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import (
    CTE,
    Boolean,
    ColumnCollection,
    ColumnElement,
    FromClause,
    Integer,
    RowMapping,
    Select,
    Subquery,
    Text,
    and_,
    case,
    exists,
    func,
    literal_column,
    select,
    text,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.rows import read_rows, written
from shop.domain.errors import SearchTooBroad
from shop.domain.pages import COUNTED_MAX, Count, Key, Window
from shop.domain.products import BEGINS_SO, EXACT, FITS, ProductQuery, ProductSort

LOOKED_AT_FIRST = 2_000
"""Products of the list that are walked through before the index is asked."""
FOUND_MAX = 10_000
"""Products that the index may find: more are not sorted."""
LOOKED_AT_MAX = 50_000
"""Products of the list that are walked through at most."""
LOOKED_AT_FOR_COUNT = 20_000
"""Products that are walked through to see whether they are too many to be counted."""

_products, _listings = tables.products, tables.listings

Columns: TypeAlias = ColumnCollection[str, Any] | Mapping[str, Any]

SORT_COLUMNS: dict[ProductSort, ColumnElement[Any]] = {
    ProductSort.NAME: _listings.c.search_key,
    ProductSort.PRICE: _listings.c.price,
    ProductSort.CREATED: _listings.c.created_at,
    ProductSort.MODIFIED: _listings.c.modified_at,
}
# What ordering and filtering need.
_LOOKED_AT = (
    _products.c.id,
    _products.c.sku_folded,
    _products.c.search_text,
    _listings.c.archived,
    _listings.c.in_stock,
    _listings.c.price,
    _listings.c.search_key,
    _listings.c.created_at,
    _listings.c.modified_at,
)


def _looked_at(*also: ColumnElement[Any]) -> Select[Any]:
    is_listed = _products.c.id == _listings.c.product_id
    return select(*_LOOKED_AT, *also).join_from(_listings, _products, is_listed)


def filters(query: ProductQuery, columns: Columns, dialect: str) -> Iterator[ColumnElement[bool]]:
    """The conditions of a query, on what is looked at or some part of it."""
    yield columns["archived"].is_(query.archived)
    if query.in_stock is not None:
        yield columns["in_stock"].is_(query.in_stock)
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
        limit = self._window.limit
        rows = await self._walk(statement, LOOKED_AT_FIRST)
        if len(rows) < limit:
            found = await self._look_up(statement)
            rows = await self._walk(statement, LOOKED_AT_MAX) if found is None else found
            if found is None and len(rows) < limit and await self._is_longer(LOOKED_AT_MAX):
                raise SearchTooBroad(LOOKED_AT_MAX)
        return rows[::-1] if self._is_backwards else rows

    # --- by walking ---

    async def _walk(self, statement: Select[Any], looked_at: int) -> Sequence[RowMapping]:
        """The part, as far as it is among the next products."""
        needed = self._window.offset + self._window.limit
        fitting: list[Select[Any]] = []
        unread: list[ColumnElement[bool]] = []
        for part in self._parts(looked_at):
            products = part.subquery()
            # What comes after products that were not looked at is not next.
            next_ones = self._fitting(products).where(*(~each for each in unread))
            next_ones = next_ones.order_by(*self._order(products.c)).limit(needed)
            # Each in a SELECT of its own, as SQLite wants it.
            fitting.append(select(next_ones.subquery()))
            unread.append(exists(part.limit(1).offset(looked_at).subquery().select()))
        if not fitting:
            return []
        page = self._cut(union_all(*fitting).subquery()).subquery("page")
        statement = statement.join(page, page.c.id == _products.c.id)
        return await read_rows(self._connection, statement.order_by(*self._order(page.c)))

    def _parts(self, looked_at: int) -> Iterator[Select[Any]]:
        """The next products of the list, by parts whose order an index has."""
        ranks = _ranks(self._query)
        for rank, conditions in ranks if self._upwards else reversed(ranks):
            by, start = self._place_in(rank)
            if start is not None and not start:
                continue
            part = _looked_at(*_relevance(rank)).where(*self._listed(), *conditions)
            if start is not None:
                place = tuple_(*start, types=[column.type for column in by])
                part = part.where(tuple_(*by) > place if self._upwards else tuple_(*by) < place)
            yield part.order_by(*self._directed(by)).limit(written(looked_at))

    def _listed(self) -> Iterator[ColumnElement[bool]]:
        """What the first columns of the indexes say, by which lists are walked."""
        yield _listings.c.archived.is_(self._query.archived)
        if self._query.in_stock is not None:
            yield _listings.c.in_stock.is_(self._query.in_stock)

    def _place_in(self, rank: int) -> tuple[list[ColumnElement[Any]], Key | None]:
        """By what a part is ordered, and after which key it goes on.

        None from its start, and an empty key if it was read before.
        """
        if self._query.sort is not ProductSort.RELEVANCE:
            return [SORT_COLUMNS[self._query.sort], _listings.c.product_id], self._start
        by: list[ColumnElement[Any]] = [_listings.c.product_id]
        if rank == BEGINS_SO:
            by = [_listings.c.search_key, *by]
        if self._start is None:
            return by, None
        own_rank, *start = self._start
        if rank == own_rank:
            return by, tuple(start[-len(by) :])
        return by, None if (rank > own_rank) == self._upwards else ()

    def _fitting(self, looked_at: FromClause) -> Select[Any]:
        """Those of the products looked at that the query is about."""
        return select(looked_at).where(*filters(self._query, looked_at.c, self._dialect))

    async def _is_longer(self, looked_at: int) -> bool:
        beyond = [
            select(part.limit(1).offset(looked_at).subquery()) for part in self._parts(looked_at)
        ]
        return bool(await read_rows(self._connection, union_all(*beyond)))

    # --- by the index ---

    async def _look_up(self, statement: Select[Any]) -> Sequence[RowMapping] | None:
        """The part, of what the index finds; None if that is too much, or it cannot find this."""
        looked_up = self._looked_up()
        if looked_up is None:
            return None
        found, size = looked_up
        fitting = self._fitting(found)
        if self._start is not None:
            order = self._order_columns(found.c)
            place = tuple_(*order)
            start = tuple_(*self._start, types=[each.type for each in order])
            fitting = fitting.where(place > start if self._upwards else place < start)
        part = self._cut(fitting.subquery()).subquery("part")
        order = self._order_columns(part.c)
        shown = (
            statement.join(part, part.c.id == _products.c.id)
            .add_columns(*(each.label(f"order_{n}") for n, each in enumerate(order)))
            .subquery("shown")
        )
        # A row in any case, which says how many were found.
        sizes = select(size.label("size")).subquery("sizes")
        rows = await read_rows(
            self._connection,
            select(sizes, shown)
            .select_from(sizes.outerjoin(shown, true()))
            .order_by(*self._directed([shown.c[f"order_{n}"] for n in range(len(order))])),
        )
        if not 0 <= rows[0]["size"] <= FOUND_MAX:
            return None
        return [row for row in rows if row["id"] is not None]

    def _looked_up(self) -> tuple[CTE, ColumnElement[int]] | None:
        """What the index finds, as far as that is not too much, and how much; -1 without an index.

        None if the index cannot find what is searched for.
        """
        found = _looked_at(*_relevance_of(self._query)).where(*self._listed())
        if self._dialect == "sqlite":
            trigrams = {"trigrams": _trigrams(self._query)}
            by_index = _FOUND_IN_SQLITE.bindparams(**trigrams).columns(_products.c.id).subquery()
            ids = select(by_index.c.id).limit(written(FOUND_MAX + 1)).subquery()
            found = found.where(_products.c.id.in_(select(ids.c.id)))
            return found.cte("found"), select(func.count()).select_from(ids).scalar_subquery()
        terms = [term for term in self._query.terms if _is_indexed(term)]
        if not terms:
            return None
        has_index = select(_HAS_INDEX).scalar_subquery()
        found = found.where(
            has_index, *_has_terms(terms, _products.c.search_text, self._dialect)
        ).limit(written(FOUND_MAX + 1))
        cte = found.cte("found")
        size = select(func.count()).select_from(cte).scalar_subquery()
        return cte, case((has_index, size), else_=-1)

    # --- counting ---

    async def count(self) -> Count:
        """How many there are: exact up to `COUNTED_MAX`.

        But for what the index cannot find, of which only so many are looked at.
        """
        number, is_exact = await self._count(COUNTED_MAX)
        return Count(number, is_exact)

    async def _count(self, counted_max: int) -> tuple[int, bool]:
        counted = await self._count_walking(LOOKED_AT_FIRST, counted_max)
        if counted.number >= LOOKED_AT_FIRST // 20 and not counted.is_all:
            # So many have it that the rest will be found soon.
            counted = await self._count_walking(LOOKED_AT_FOR_COUNT, counted_max)
        if counted.number > counted_max:
            return counted.estimate, False
        if counted.is_all:
            return counted.number, True
        if looked_up := self._looked_up():
            found, size = looked_up
            fitting = self._fitting(found).subquery()
            count = select(func.count()).select_from(fitting).scalar_subquery()
            [row] = await read_rows(self._connection, select(size.label("size"), count.label("n")))
            if 0 <= row["size"] <= FOUND_MAX:
                return row["n"], True
        counted = await self._count_walking(LOOKED_AT_MAX, counted_max)
        return counted.estimate, counted.is_all and counted.number <= counted_max

    async def _count_walking(self, looked_at: int, counted_max: int) -> "_Counted":
        listed = (
            _looked_at()
            .where(_listings.c.archived.is_(self._query.archived))
            .order_by(_listings.c.product_id)
            .limit(written(looked_at))
            .subquery()
        )
        numbered = select(listed, func.row_number().over().label("place")).subquery()
        fitting = self._fitting(numbered).limit(written(counted_max + 1)).subquery()
        [row] = await read_rows(
            self._connection,
            select(
                func.count().label("number"),
                func.max(fitting.c.place).label("places"),
                select(func.max(_products.c.id)).scalar_subquery().label("last_id"),
            ).select_from(fitting),
        )
        number, last_id = row["number"], row["last_id"] or 0
        places = row["places"] if number > counted_max else looked_at
        return _Counted(
            number=number,
            estimate=max(number, number * last_id // places),
            is_all=last_id <= looked_at,
        )

    # --- both ---

    def _cut(self, fitting: Subquery) -> Select[Any]:
        window = self._window
        cut = select(fitting).order_by(*self._order(fitting.c)).limit(window.limit)
        return cut.offset(window.offset or None)

    def _order_columns(self, columns: Columns) -> list[ColumnElement[Any]]:
        if self._query.sort is ProductSort.RELEVANCE:
            return [columns["rank"], columns["beginning"], columns["id"]]
        return [columns[SORT_COLUMNS[self._query.sort].key or ""], columns["id"]]

    def _order(self, columns: Columns) -> list[ColumnElement[Any]]:
        return self._directed(self._order_columns(columns))

    def _directed(self, columns: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
        return [column.asc() if self._upwards else column.desc() for column in columns]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """Of so many products, how many fit."""

    number: int
    """At most one more than are counted."""
    estimate: int
    """Of all there are, if the others are like these."""
    is_all: bool
    """Whether these were all."""


def _ranks(query: ProductQuery) -> list[tuple[int, list[ColumnElement[bool]]]]:
    """The parts of a list by how well they fit; one, if it goes by something else."""
    if query.sort is not ProductSort.RELEVANCE:
        return [(0, [])]
    begins_so = _begins_so(query)
    # NULL where an older program has written the product.
    is_other = _products.c.sku_folded.is_distinct_from(query.beginning)
    return [
        (EXACT, [_products.c.sku_folded == query.beginning]),
        (BEGINS_SO, [is_other, begins_so]),
        (FITS, [is_other, ~begins_so]),
    ]


def _relevance(rank: int) -> list[ColumnElement[Any]]:
    """What products of one rank are ordered by, beside the id."""
    beginning = _listings.c.search_key if rank == BEGINS_SO else literal_column("''", Text)
    return [literal_column(str(rank), Integer).label("rank"), beginning.label("beginning")]


def _relevance_of(query: ProductQuery) -> list[ColumnElement[Any]]:
    """The same of products of any rank."""
    if query.sort is not ProductSort.RELEVANCE:
        return _relevance(0)
    is_exact, begins_so = _products.c.sku_folded == query.beginning, _begins_so(query)
    rank = case((is_exact, EXACT), (begins_so, BEGINS_SO), else_=FITS)
    name = case((is_exact, ""), (begins_so, _listings.c.search_key), else_="")
    return [rank.label("rank"), name.label("beginning")]


def _begins_so(query: ProductQuery) -> ColumnElement[bool]:
    name, beginning = _listings.c.search_key, query.beginning
    return and_(name >= beginning, name < beginning + _LAST_CHARACTER)


_LAST_CHARACTER = "\U0010ffff"

# Terms that are looked up, the longest: each is a part of the index to be read.
_LOOKED_UP_MAX = 5

# PostgreSQL's index has letters and digits only, three in a row; where a word begins or ends in the
# middle of the term, spaces count as well.
_IS_INDEXED = re.compile(r"[^\W_]{3}|[\W_][^\W_]|[^\W_]{2}[\W_]")

_HAS_INDEX: ColumnElement[bool] = literal_column(
    "EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('products_search') "
    "AND indisvalid)",
    Boolean,
)
_FOUND_IN_SQLITE = text(
    "SELECT rowid AS id FROM products_search WHERE products_search MATCH :trigrams"
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

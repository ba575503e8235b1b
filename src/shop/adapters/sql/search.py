"""Searching products in SQL: by an index of three characters, and never through the whole table.

What many products have is found soon by walking the list in its order. What few have is found by
the index, and those few are sorted. Which of the two it is, a sample of the catalogue tells first,
and about how many there are, if they are many: counting them would cost more than their page. A
page and its count are one statement.

What the index cannot find is walked for, and given up with an error that says so when that takes
too long: there may be no index, or nothing in the search that PostgreSQL's index has, which leaves
out signs.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    ColumnCollection,
    ColumnElement,
    FromClause,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    text,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.drivers import driver_of, read_from
from shop.adapters.sql.pages import KEY, ORDER, PART, SKIPPED, Bound, SqlList, Way, parameter
from shop.adapters.sql.rows import ReadRow, Row, written
from shop.domain.errors import SearchTooBroad
from shop.domain.pages import COUNTED_MAX, Count, Key, Window
from shop.domain.products import BEGINS_SO, EXACT, FITS, ProductQuery, ProductSort


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a search may look at, in products."""

    sampled: tuple[int, ...] = (500, 2_000)
    """To tell whether many have it; more where a few do not tell."""
    found_max: int = 10_000
    """That the index may find: more are not sorted."""
    walked_first: int = 5_000
    """That are walked through, in the order of the list, before the index is asked."""
    walked_max: int = 50_000
    """That are walked through at most."""


BOUNDS = Bounds()

_products, _listings = tables.products, tables.listings

Columns: TypeAlias = ColumnCollection[str, Any] | Mapping[str, Any]

# --- filters ---


def filters(names: frozenset[str], columns: Columns) -> Iterator[ColumnElement[bool]]:
    """The conditions of a query beside its words, with parameters of these names."""
    yield columns["archived"] == parameter("archived", _listings.c.archived)
    if "in_stock" in names:
        yield columns["in_stock"] == parameter("in_stock", _listings.c.in_stock)
    for column, low, high in RANGES:
        if low.parameter in names:
            yield low.at_least(columns[column.name])
        if high is not None and high.parameter in names:
            yield high.at_most(columns[column.name])


RANGES: Sequence[tuple[ColumnElement[Any], Bound, Bound | None]] = (
    (
        _listings.c.price,
        Bound("price_min", is_included=True),
        Bound("price_max", is_included=True),
    ),
    (_listings.c.created_at, Bound("created_after", is_included=False), None),
    (_listings.c.modified_at, Bound("modified_after", is_included=False), None),
)
"""By what lists may be limited, from and to."""

SORT_COLUMNS: dict[ProductSort, ColumnElement[Any]] = {
    ProductSort.NAME: _listings.c.search_key,
    ProductSort.PRICE: _listings.c.price,
    ProductSort.CREATED: _listings.c.created_at,
    ProductSort.MODIFIED: _listings.c.modified_at,
}

# --- terms ---

# Terms that are looked up in PostgreSQL's index, the longest: each is a part of it to be read.
_LOOKED_UP_MAX = 5
_TRIGRAMS_MAX = 50

# PostgreSQL's index has letters and digits only, three in a row; where a word begins or ends in the
# middle of the term, spaces count as well.
_IS_INDEXED = re.compile(r"[^\W_]{3}|[\W_][^\W_]|[^\W_]{2}[\W_]")

_RUN = re.compile(r"\d+|[^\W\d_]+")
_SHORT_RUN = 3

_HAS_INDEX: ColumnElement[bool] = literal_column(
    "EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('products_search') "
    "AND indisvalid)",
    Boolean,
)
_FOUND_IN_SQLITE = text(
    "SELECT rowid AS id FROM products_search WHERE products_search MATCH :trigrams"
)


class Terms(NamedTuple):
    """How many there are, as their statement depends on it."""

    indexed: int
    """Of those that PostgreSQL's index finds."""
    others: int

    @classmethod
    def of(cls, terms: Sequence[str]) -> tuple["Terms", Row]:
        """And the values of their parameters."""
        indexed = [term for term in terms if is_indexed(term)][:_LOOKED_UP_MAX]
        others = [term for term in terms if term not in indexed]
        values: Row = {}
        for n, term in enumerate([*indexed, *others]):
            values |= {f"term_{n}": term, f"piece_{n}": piece_of(term)}
        return cls(len(indexed), len(others)), values

    def looked_up_by(self, values: Row, *, pieces: bool) -> Row:
        """The values for `looked_up`, of the whole terms or of a piece of each."""
        name = "piece" if pieces else "term"
        texts = [values[f"{name}_{n}"] for n in range(self.indexed + self.others)]
        patterns = enumerate(texts[: self.indexed])
        return {
            **{f"pattern_{n}": f"%{_escaped(text)}%" for n, text in patterns},
            "trigrams": _trigrams(texts),
        }

    def fit(self, dialect: str, name: str = "term") -> ColumnElement[bool]:
        """Whether a product has them all; or all pieces, under that name."""
        find = getattr(func, "instr" if dialect == "sqlite" else "strpos")
        texts = [_term(f"{name}_{n}") for n in range(self.indexed + self.others)]
        return and_(*(find(_products.c.search_text, text) > 0 for text in texts))

    def fit_of(self, product_id: ColumnElement[int], dialect: str) -> ColumnElement[bool]:
        """The same of another table's row: its product is looked at when that row is."""
        fits = select(self.fit(dialect)).where(_products.c.id == product_id)
        return fits.correlate_except(_products).scalar_subquery()

    def may_be_looked_up(self, dialect: str) -> bool:
        """Whether the index of that database has anything of them."""
        return dialect == "sqlite" or self.indexed > 0

    def looked_up(self, dialect: str, limit: int, *also: ColumnElement[Any]) -> Select[Any]:
        """The products that the index finds, so many at most; by their ids.

        On PostgreSQL they have all terms; on SQLite all that three characters can tell.
        For the values see `looked_up_by`.
        """
        if dialect == "sqlite":
            by_index = _FOUND_IN_SQLITE.columns(_products.c.id).subquery()
            return select(by_index.c.id).limit(written(limit))
        patterns = [_term(f"pattern_{n}") for n in range(self.indexed)]
        are_in = [_products.c.search_text.like(pattern) for pattern in patterns]
        found = select(_products.c.id, *also).where(_HAS_INDEX, *are_in, self.fit(dialect))
        return found.limit(written(limit))


def is_indexed(term: str) -> bool:
    return _IS_INDEXED.search(term) is not None


def piece_of(term: str) -> str:
    """Its longest run of letters, or of digits, which may be all that need be looked up.

    An index goes through the list of every three characters that it is asked for. Those that begin
    all SKUs of a shop cost it many times what the number behind them does.
    """
    longest = max(_RUN.findall(term), key=len, default="")
    return longest if len(longest) > _SHORT_RUN else term


def _term(name: str) -> BindParameter[str]:
    return bindparam(name, type_=Text)


def _escaped(term: str) -> str:
    """For LIKE, where three signs have a meaning of their own."""
    return re.sub(r"([\\%_])", r"\\\1", term)


def _trigrams(terms: Sequence[str]) -> str:
    """What SQLite's index has to have, in its language: all of these."""
    trigrams = dict.fromkeys(
        term[start : start + 3] for term in terms for start in range(len(term) - 2)
    )
    quoted = ['"' + each.replace('"', '""') + '"' for each in trigrams]
    return " AND ".join(quoted[:_TRIGRAMS_MAX])


# --- searches ---


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """What the statements of a search are made by, once for each; the rest are parameters."""

    dialect: str
    bounds: Bounds
    terms: Terms
    filters: frozenset[str]
    by_relevance: bool
    is_upwards: bool
    listed: SqlList
    """The list without the words; if it goes by relevance, in another order."""

    def fits(self, *also: ColumnElement[bool]) -> ColumnElement[bool]:
        """Whether a row of `listings` is in the list."""
        has_terms = self.terms.fit_of(_listings.c.product_id, self.dialect)
        return and_(*filters(self.filters, _listings.c), *also, has_terms)

    @property
    def names(self) -> Sequence[str]:
        """Of the columns that a part is ordered by."""
        return ("rank", *ORDER) if self.by_relevance else ORDER

    @property
    def key(self) -> Sequence[str]:
        return ("key_rank", *KEY) if self.by_relevance else KEY

    def order(self, part: FromClause) -> list[ColumnElement[Any]]:
        return [part.c[name] for name in self.names]

    def order_from(self, columns: Columns) -> list[ColumnElement[Any]]:
        """The same, of a product."""
        sorted_by = self.listed.order[0].key or ""
        first = _relevance(columns) if self.by_relevance else [columns[sorted_by]]
        order = [*first, columns["id"]]
        return [column.label(name) for column, name in zip(order, self.names, strict=True)]

    def ordered(self, part: FromClause) -> list[ColumnElement[Any]]:
        order = self.order(part)
        return [column.asc() if self.is_upwards else column.desc() for column in order]


class _Part(NamedTuple):
    """Products of one rank, in an order that an index has."""

    rank: int
    listed: SqlList
    way: Way


_Found: TypeAlias = tuple[Sequence[ReadRow], Count]


class _Sample(NamedTuple):
    """Products from all over the catalogue, and how many of them have what is looked for."""

    last_id: int
    with_pieces: int
    with_terms: int
    fitting: int
    """And are in the list, by all filters."""
    size: int

    def has_surely_more(self, sampled: int, than: int) -> bool:
        """Whether there must be more in the catalogue, if there are so many in the sample.

        So many in the sample by chance are less than one in a million.
        """
        expected = than * self.size / max(self.last_id, 1)
        return self.last_id > self.size and sampled > expected + 5 * sqrt(expected) + 5

    @property
    def pieces_tell(self) -> bool:
        """Whether who has the pieces of the terms has the terms, as far as can be seen."""
        return self.with_pieces == self.with_terms

    @property
    def estimate(self) -> int:
        return self.fitting * self.last_id // max(self.size, 1)


class Search:
    """One part of a list of found products."""

    def __init__(
        self,
        connection: AsyncConnection,
        query: ProductQuery,
        window: Window,
        listed: SqlList,
        values: Row,
    ) -> None:
        """`listed` is the list without the words, in any order if it is to go by relevance."""
        self._driver = driver_of(connection)
        self._window = window
        self._start = window.after or window.before
        terms, found_by = Terms.of(query.terms)
        self._values: Row = {
            **values,
            **found_by,
            "sku": query.sku,
            "beginning": query.beginning,
            "beginning_end": query.beginning + _LAST_CHARACTER,
            "part": window.limit,
            "skipped": window.offset,
        }
        self._shape = _Shape(
            dialect=connection.dialect.name,
            bounds=BOUNDS,
            terms=terms,
            filters=frozenset(values),
            by_relevance=query.sort is ProductSort.RELEVANCE,
            is_upwards=query.descending == (window.before is not None),
            listed=listed,
        )

    async def read(self) -> Sequence[ReadRow]:
        """The products in this part, in list order. Raises `SearchTooBroad`."""
        rows, _ = await self.read_counted(is_counted=False)
        return rows

    async def read_counted(self, *, is_counted: bool = True) -> tuple[Sequence[ReadRow], Count]:
        """The same, and how many there are: exactly, if that is not more than `COUNTED_MAX`.

        But of words that too many products have for the index only so many are looked at.
        """
        shape, bounds = self._shape, self._shape.bounds
        sample = await self._sample()
        is_long = sample.has_surely_more(sample.fitting, COUNTED_MAX)
        is_common = sample.has_surely_more(sample.with_terms, bounds.found_max)
        found = None
        if is_long:
            found = await self._walk(
                sample, bounds.walked_max if is_common else bounds.walked_first
            )
        if found is None and not is_common and shape.terms.may_be_looked_up(shape.dialect):
            found = await self._gather(by_index=True, pieces=sample.pieces_tell)
        if found is None and shape.by_relevance:
            # Maybe the list is short, whatever is looked for.
            found = await self._gather(by_index=False)
        if found is None and not (is_long and is_common):
            counted = bounds.found_max if is_common else bounds.walked_max
            is_counted = is_counted and not is_long
            found = await self._walk(sample, bounds.walked_max, counted if is_counted else 0)
        if found is None:
            raise SearchTooBroad(bounds.walked_max)
        rows, count = found
        return rows[::-1] if self._window.before is not None else rows, count

    async def _sample(self) -> _Sample:
        shape = self._shape
        for size in shape.bounds.sampled:
            statement = _sampling(shape.dialect, size, shape.terms, shape.filters)
            [row] = await read_from(self._driver, statement, self._values)
            last_id = row["last_id"] or 0
            sample = _Sample(
                last_id,
                row["with_pieces"],
                row["with_terms"],
                row["fitting"],
                min(last_id, size),
            )
            is_clear = sample.has_surely_more(sample.fitting, COUNTED_MAX) or sample.fitting < 2
            if is_clear or last_id <= shape.bounds.found_max:
                break
        return sample

    # --- by walking ---

    async def _walk(self, sample: _Sample, among: int, counted_among: int = 0) -> _Found | None:
        """None if there may be more in this part than what is among so many next products."""
        parts, key = self._parts()
        # One more than that tells whether there are more.
        last = among + 1
        statement = _walking(self._shape, parts, last, counted_among)
        values = {**self._values, **dict(zip(KEY, key, strict=False))}
        rows = await read_from(self._driver, statement, values) if parts else []
        shown: list[ReadRow] = []
        is_end = True
        for row in rows:
            shown += [row] if row["is_shown"] else []
            if row["place"] == last:
                is_end = False
                break
        limit, offset = self._window.limit, self._window.offset
        if len(shown) < limit:
            return (shown, Count(offset + len(shown))) if is_end else None
        number, is_exact = sample.estimate, False
        if counted_among:
            counted, place = rows[0]["counted"], rows[0]["counted_to"]
            is_exact = counted <= COUNTED_MAX and place < counted_among
            number = counted if is_exact else max(counted, number)
        return shown, Count(max(number, offset + len(shown)), is_exact)

    def _parts(self) -> tuple[Sequence[_Part], Key]:
        """In which the list is walked, and the key in that where the walk begins."""
        shape, window, start = self._shape, self._window, self._start or ()
        if not shape.by_relevance:
            way = Way.of(shape.listed, self._values, window)
            return (_Part(FITS, shape.listed, way),), start
        parts: list[_Part] = []
        key: Key = ()
        ranks = _by_rank("in_stock" in shape.filters, shape.listed.descending)
        for rank, listed in ranks if shape.is_upwards else reversed(ranks):
            if start and rank == start[0]:
                # The rest of a key is the same for all of this rank.
                key = start[-len(listed.order) :]
                is_after = window.after is not None
                within = Window(
                    limit=window.limit,
                    after=key if is_after else None,
                    before=None if is_after else key,
                )
                parts.append(_Part(rank, listed, Way.of(listed, self._values, within)))
            elif not start or (rank > start[0]) == shape.is_upwards:
                way = Way.whole(listed, is_upwards=shape.is_upwards)
                parts.append(_Part(rank, listed, way))
        return tuple(parts), key

    # --- by gathering ---

    async def _gather(self, *, by_index: bool, pieces: bool = False) -> _Found | None:
        """None if there are too many to be sorted, or no index to find them."""
        statement = _gathering(self._shape, by_index, self._start is not None)
        values = {
            **self._values,
            **self._shape.terms.looked_up_by(self._values, pieces=pieces),
            **dict(zip(self._shape.key, self._start or (), strict=False)),
        }
        rows = await read_from(self._driver, statement, values)
        if not 0 <= rows[0]["size"] <= self._shape.bounds.found_max:
            return None
        return [row for row in rows if row["is_shown"]], Count(rows[0]["counted"])


# --- their statements ---


@lru_cache(maxsize=1_000)
def _sampling(dialect: str, size: int, terms: Terms, names: frozenset[str]) -> Select[Any]:
    """The same products each time, as long as none is added: an answer has the same count then."""
    last = select(func.max(_listings.c.product_id)).scalar_subquery()
    first = select(literal_column("1", BigInteger).label("n")).cte("numbers", recursive=True)
    numbers = first.union_all(select(first.c.n + written(1)).where(first.c.n < written(size)))
    place = (numbers.c.n * written(_STEP) % written(_STEPS) * last).op(">>")(written(32))
    ids = select((place + written(1)).label("id")).cte("ids").prefix_with("MATERIALIZED")
    # Each product is looked at once, and most do not even have the pieces.
    has_pieces, has_terms = terms.fit(dialect, "piece"), terms.fit(dialect)
    has = case((has_pieces, case((has_terms, written(_HAS_TERMS)), else_=written(_HAS_PIECES))))
    has_any = select(has).where(_products.c.id == ids.c.id).correlate(ids).scalar_subquery()
    found = select(ids.c.id, has_any.label("has")).cte("found").prefix_with("MATERIALIZED")
    is_listed = select(and_(*filters(names, _listings.c))).where(
        _listings.c.product_id == found.c.id
    )
    with_terms = found.c.has == written(_HAS_TERMS)
    fits = case((with_terms, is_listed.correlate(found).scalar_subquery()))
    return select(
        last.label("last_id"),
        func.count(found.c.has).label("with_pieces"),
        func.count().filter(with_terms).label("with_terms"),
        func.count().filter(fits).label("fitting"),
    ).select_from(found)


_HAS_PIECES, _HAS_TERMS = 1, 2

# Steps of the golden section of 2^32: however many are taken, they are spread evenly.
_STEP, _STEPS = 2_654_435_769, 2**32


@lru_cache(maxsize=1_000)
def _walking(shape: _Shape, parts: Sequence[_Part], last: int, counted_among: int) -> Select[Any]:
    """What fits among the next products of each part, and what stands in the last place."""
    limit = written(last)
    walks = union_all(*(_walked(shape, part, limit) for part in parts)).subquery("walks")
    # The last row of a walk is kept though it does not fit: it tells that the walk ended there.
    found = select(walks, func.row_number().over().label("number")).subquery("found")
    is_shown = and_(found.c.fits, found.c.number > SKIPPED).label("is_shown")
    part = (
        select(found, is_shown)
        .where(or_(is_shown, found.c.place == limit))
        .limit(PART)
        .subquery("part")
    )
    statement = shape.listed.details(part).add_columns(part.c.place, part.c.is_shown)
    if counted_among:
        counted = _counted(shape, counted_among)
        statement = statement.join(counted, true()).add_columns(*counted.c)
    return statement.order_by(*shape.ordered(part))


def _walked(shape: _Shape, part: _Part, limit: ColumnElement[int]) -> Select[Any]:
    """What fits among the next products, with its place among them."""
    fits = shape.fits(*_of_rank(part.rank)) if shape.by_relevance else shape.fits()
    columns: list[ColumnElement[Any]] = [_listings.c.product_id.label("id"), fits.label("fits")]
    columns += [_listings.c.search_key.label("beginning")] if part.rank == BEGINS_SO else []
    walked = part.listed.walk(part.way, *columns).limit(limit).subquery()
    order = part.listed.order_of(walked)
    if shape.by_relevance:
        beginning = walked.c.beginning if part.rank == BEGINS_SO else _NOTHING
        rank = written(part.rank).label("rank")
        order = [rank, beginning.label(ORDER[0]), walked.c.id.label(ORDER[1])]
    place = func.row_number().over().label("place")
    placed = select(*order, walked.c.fits, place).subquery()
    return select(placed).where(or_(placed.c.fits, placed.c.place == limit))


def _counted(shape: _Shape, among: int) -> Subquery:
    """How many fit among the first of the list, up to `COUNTED_MAX` and one."""
    way = Way.whole(shape.listed, is_upwards=True)
    fits = shape.fits().label("fits")
    walked = shape.listed.walk(way, fits).limit(written(among)).subquery()
    placed = select(walked.c.fits, func.row_number().over().label("place")).subquery()
    is_kept = or_(placed.c.fits, placed.c.place == written(among))
    kept = select(placed).where(is_kept).limit(written(COUNTED_MAX + 1)).subquery()
    return select(
        func.count().filter(kept.c.fits).label("counted"),
        func.coalesce(func.max(kept.c.place), 0).label("counted_to"),
    ).subquery("counted")


@lru_cache(maxsize=1_000)
def _gathering(shape: _Shape, by_index: bool, is_keyed: bool) -> Select[Any]:
    terms, limit = shape.terms, shape.bounds.found_max + 1
    has_all = by_index and shape.dialect == "postgresql"
    # What is needed of the rows of PostgreSQL comes with them, since they are read anyway.
    also = _ORDERING if has_all else ()
    few = terms.looked_up(shape.dialect, limit, *also) if by_index else _listed(shape, limit)
    found = few.cte("found").prefix_with("MATERIALIZED")
    number = select(func.count()).select_from(found).scalar_subquery()
    columns: Columns = found.c if has_all else _products.c
    in_stock = select(_listings.c.in_stock).where(_listings.c.product_id == columns["id"])
    filtered = {**dict(columns.items()), "in_stock": in_stock.scalar_subquery()}
    # Too many are not even looked up.
    is_few = number <= written(shape.bounds.found_max)
    in_list = select(*shape.order_from(columns)).where(is_few, *filters(shape.filters, filtered))
    if not has_all:
        in_list = in_list.where(_products.c.id.in_(select(found.c.id)), terms.fit(shape.dialect))
    fitting = in_list.cte("fitting").prefix_with("MATERIALIZED")
    chosen = select(fitting).order_by(*shape.ordered(fitting))
    if is_keyed:
        order = shape.order(fitting)
        key = [parameter(name, each) for name, each in zip(shape.key, order, strict=True)]
        place, start = tuple_(*order), tuple_(*key, types=[each.type for each in order])
        chosen = chosen.where(place > start if shape.is_upwards else place < start)
    part = chosen.limit(PART).offset(SKIPPED).subquery("part")
    page = shape.listed.details(part).add_columns(*part.columns).subquery("page")
    size = case((_HAS_INDEX, number), else_=-1) if has_all else number
    counted = select(func.count()).select_from(fitting).scalar_subquery()
    # A row in any case, which says how many were found.
    sizes = select(size.label("size"), counted.label("counted")).subquery("sizes")
    return (
        select(page, sizes, page.c[ORDER[-1]].is_not(None).label("is_shown"))
        .select_from(sizes.outerjoin(page, true()))
        .order_by(*shape.ordered(page))
    )


def _listed(shape: _Shape, limit: int) -> Select[Any]:
    """The ids of the list without the words, so many at most."""
    listed = select(_listings.c.product_id.label("id")).where(*shape.listed.where)
    return listed.order_by(*shape.listed.order).limit(written(limit))


# What filtering and ordering need of a product.
_ORDERING = (
    _products.c.archived,
    _products.c.sku_folded,
    *(_products.c[column.name] for column in SORT_COLUMNS.values()),
)

# --- relevance ---

_LAST_CHARACTER = "\U0010ffff"
_NOTHING = literal_column("''", Text)

_LOWEST = Bound("beginning", is_included=True)
_HIGHEST = Bound("beginning_end", is_included=False)
_SKU = bindparam("sku", type_=_products.c.sku_folded.type)


def _begins_so(columns: Columns) -> ColumnElement[bool]:
    key = columns["search_key"]
    return and_(_LOWEST.at_least(key), _HIGHEST.at_most(key))


_IS_EXACT = _listings.c.product_id.in_(select(_products.c.id).where(_products.c.sku_folded == _SKU))
_BEGINS_SO = _begins_so(_listings.c)


def _of_rank(rank: int) -> list[ColumnElement[bool]]:
    """What makes products be of this rank, beside what its list says."""
    others: dict[int, list[ColumnElement[bool]]] = {
        EXACT: [],
        BEGINS_SO: [~_IS_EXACT],
        FITS: [~_IS_EXACT, ~_BEGINS_SO],
    }
    return others[rank]


def _relevance(columns: Columns) -> list[ColumnElement[Any]]:
    """What products of any rank are ordered by, before the id."""
    is_exact, begins_so = columns["sku_folded"] == _SKU, _begins_so(columns)
    rank = case((is_exact, written(EXACT)), (begins_so, written(BEGINS_SO)), else_=written(FITS))
    name = case((is_exact, _NOTHING), (begins_so, columns["search_key"]), else_=_NOTHING)
    return [rank, name]


@lru_cache
def _by_rank(by_stock: bool, descending: bool) -> Sequence[tuple[int, SqlList]]:
    """The parts of a list by how well they fit, each in the order of an index."""
    names = frozenset({"in_stock"} if by_stock else ())
    listed = list(filters(names, _listings.c))
    by_id = _listings.c.product_id

    def ordered(*order: ColumnElement[Any], **options: Any) -> SqlList:
        return SqlList(
            source=_listings, order=order, descending=descending, details=select, **options
        )

    by_name = ordered(_listings.c.search_key, by_id, where=listed, lowest=_LOWEST, highest=_HIGHEST)
    return (
        (EXACT, ordered(by_id, where=[_IS_EXACT])),
        (BEGINS_SO, by_name),
        (FITS, ordered(by_id, where=listed)),
    )

"""What a page of a long list reads: a small multiple of the page, whatever filters and order.

PostgreSQL says which rows its plans looked at, with the plans that pages really have (made without
knowing the values); SQLite counts the steps of its machine.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product as combinations
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosqlite
import asyncpg
import pytest
from sqlalchemy import text

from shop.adapters.sql.pages import (
    COUNTED_FAR_MAX,
    GATHERED_MAX,
    WALKED_FIRST,
    WALKED_MAX,
)
from shop.adapters.sql.search import BOUNDS
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from shop.domain.errors import SearchTooBroad
from shop.domain.orders import OrderQuery, OrderStatus
from shop.domain.pages import COUNTED_MAX, Count, Key, Window, read_page
from shop.domain.ports import UnitOfWork
from shop.domain.products import ProductQuery, ProductSort
from shop.domain.services.count_lists import CountLists
from shop.domain.stock import MovementQuery
from shop.domain.users import OPERATOR
from tests.postgresql import TEMPLATE, PostgresServer, unused_name
from tests.stores import Store, sql_store

ROWS = 100_000
START = datetime(2026, 1, 1, tzinfo=UTC)
SEARCH_INDEX = "products_search"
BIG_TABLES = {"products", "stock", "listings", "orders", "order_lines", "stock_movements"}
LIMIT = 50
STEPS_PER_ROW = 40
"""What SQLite does for a row of an index, and for finding another one by it, at most."""

# Every tenth product is archived; those of the first half are sold out. They cost 0 to 999.99 in no
# order, but for the last tenth, which is dear: whoever wants these in the order of their making
# would have to walk past all others. A fourth of the orders is one user's; few are cancelled.
_NUMBERS = "WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {rows}) SELECT"
_FILL = [
    "INSERT INTO users (username, password_hash, role, disabled, created_at) "
    "{numbers} 'u' || n, '', 'customer', false, {time} FROM g WHERE n <= 1000",
    "INSERT INTO products (sku, name, description, price, currency, search_key, archived, version, "
    "search_version, created_at, modified_at, search_text) {numbers} 's-' || n, 'n', '', "
    "CASE WHEN n > 0.9 * {rows} THEN {dear} + n ELSE n * 7919 % 100000 END, 'EUR', "
    "'n-' || (n * 7907 % {rows}), n % 10 = 0, 1, 1, {time}, {time}, '  everywhere' || {words} "
    "FROM g",
    "INSERT INTO stock {numbers} n, CASE WHEN n > {rows} / 2 THEN n ELSE 0 END FROM g",
    "INSERT INTO listings (product_id, archived, in_stock, search_key, price, created_at, "
    "modified_at) "
    "SELECT id, archived, on_hand > 0, search_key, price, created_at, modified_at "
    "FROM products JOIN stock ON product_id = id WHERE true ON CONFLICT DO NOTHING",
    "INSERT INTO orders (id, code, user_id, status, currency, digest, version, created_at, "
    "modified_at) {numbers} {id}, 'C' || n, CASE WHEN n % 4 = 0 THEN 1 ELSE n % 1000 + 1 END, "
    "CASE WHEN n % 5000 = 0 THEN 'cancelled' WHEN n > 0.9 * {rows} THEN 'placed' "
    "ELSE 'delivered' END, 'EUR', {digest}, 1, {time}, {time} FROM g",
    "INSERT INTO order_lines (order_id, position, product_id, name, price, quantity) "
    "{numbers} {id}, 0, n, 'n', 1, 1 FROM g",
    "INSERT INTO stock_movements (product_id, quantity, balance, reason, note, at) "
    "{numbers} n % 2 + 1, 1, 1, 'restock', '', {time} FROM g WHERE n <= 5000",
]
DEAR = 200_000
# Every product has the word `everywhere`, and these are in every so many, from the last on.
EVERY = {"often": 7, "sometimes": 77, "seldom": 777, "once": ROWS}
IN_WORDS = " || ".join(
    f"CASE WHEN n % {every} = {ROWS % every} THEN '  {word}' ELSE '' END"
    for word, every in EVERY.items()
)
_WORDS: dict[str, dict[str, Any]] = {
    "postgresql": {
        "time": "timestamptz '2026-01-01 00:00:00+00' + n / 3 * interval '1 second'",
        "id": "lpad(to_hex(n), 32, '0')::uuid",
        "digest": r"'\x00'",
        "unchecked": "SET session_replication_role = replica",
        "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' "
        "AND indexdef NOT LIKE 'CREATE UNIQUE%'",
    },
    "sqlite": {
        "time": "strftime('%Y-%m-%d %H:%M:%S.000000', '2026-01-01', (n / 3) || ' seconds')",
        "id": "printf('%032x', n)",
        "digest": "x'00'",
        "unchecked": "PRAGMA defer_foreign_keys = ON",
        "indexes": "SELECT name, sql FROM sqlite_master WHERE type = 'index' "
        "AND sql LIKE 'CREATE INDEX%'",
    },
}


def at(number: int) -> datetime:
    """When the product or order of this number was made; three are of one moment."""
    return START + timedelta(seconds=number // 3)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def long_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A database with long lists."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("migrated_sqlite")
        file = shutil.copy(template, tmp_path_factory.mktemp("long") / "shop.sqlite3")
        fill(url := f"sqlite+aiosqlite:///{file}")
        yield url
    else:
        server: PostgresServer = request.getfixturevalue("migrated_postgresql")
        fill(url := server.create_database(name := unused_name("long"), template=TEMPLATE))
        yield url
        server.drop_database(name)


def fill(url: str) -> None:
    async def fill() -> None:
        async with sql_store(url) as store, store.sql.patient.connect() as connection:
            words = _WORDS[store.name] | {"rows": ROWS, "dear": DEAR, "words": IN_WORDS}
            words["numbers"] = _NUMBERS.format(**words)
            # Much faster without foreign keys, and with indexes made afterwards.
            await connection.execute(text(words["unchecked"]))
            indexes = (await connection.execute(text(words["indexes"]))).all()
            for name, _ in indexes:
                await connection.execute(text(f"DROP INDEX {name}"))
            for statement in _FILL:
                await connection.execute(text(statement.format(**words)))
            for _, made_by in indexes:
                await connection.execute(text(made_by))
            await connection.execute(text("ANALYZE"))
            await connection.commit()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(fill())).result()


@pytest.fixture
async def long(long_url: str) -> AsyncIterator[Store]:
    async with sql_store(long_url) as store:
        yield store


FIRST = Window(limit=LIMIT)
PAGE = 5 * (LIMIT + 1)
"""A row of the index, those of the tables behind it, and one to spare."""
COUNTING = COUNTED_MAX + 1
WALKING = WALKED_FIRST + COUNTING + PAGE
GATHERING = WALKING + 2 * GATHERED_MAX + PAGE
ALL_WAYS = GATHERING + WALKED_MAX + COUNTING + PAGE

# A row of `listings` and one of `products` for each that is looked at.
_SAMPLING = 2 * sum(BOUNDS.sampled)
_WALKING = 2 * (LIMIT + 1)
SEARCHES = {
    "everywhere": _SAMPLING + 2 * _WALKING + PAGE,
    "often": _SAMPLING + 2 * _WALKING * EVERY["often"] + PAGE,
    "sometimes": _SAMPLING + 4 * ROWS // EVERY["sometimes"] + PAGE,
    "seldom": _SAMPLING + 4 * ROWS // EVERY["seldom"] + PAGE,
    "once": _SAMPLING + PAGE,
}
"""A walk along products that have the word at twice the average distance, or all that the index
finds: an entry, a row of each table, and one more that is sorted."""

ALL_OF_A_SEARCH = (
    _SAMPLING
    # The index finds too many, the list itself (by relevance only) is no shorter.
    + ROWS // EVERY["often"]
    + 4 * BOUNDS.found_max
    # The list is walked for the page and for its count.
    + 2 * 2 * ROWS // 10
    + PAGE
)

ESTIMATING_STEPS = 12 * COUNTED_FAR_MAX


@dataclass(frozen=True, kw_only=True)
class Case:
    """A window of a list, and how many rows it may look at."""

    of: str
    query: Any
    window: Window = FIRST
    count: Count | None = None
    rows_max: int = PAGE

    def __str__(self) -> str:
        return f"{self.query}, {self.window}, {self.count}"


def windows(of: str, query: Any, key: Key, *, counted_far: int = 0) -> Iterator[Case]:
    """The first page, and those of links. The key is somewhere in the middle."""
    yield Case(of=of, query=query, rows_max=PAGE + COUNTING + counted_far)
    for window in (Window(limit=LIMIT, after=key), Window(limit=LIMIT, before=key)):
        yield Case(of=of, query=query, window=window, count=Count(7))


def deep(of: str, query: Any) -> Case:
    window = Window(limit=LIMIT, offset=10_000)
    return Case(of=of, query=query, window=window, rows_max=PAGE + COUNTING + 10_000)


MIDDLE = ROWS // 2
KEYS = {
    ProductSort.NAME: (f"n-{MIDDLE}", MIDDLE),
    ProductSort.PRICE: (50_000, MIDDLE),
    ProductSort.CREATED: (at(MIDDLE), MIDDLE),
    ProductSort.MODIFIED: (at(MIDDLE), MIDDLE),
}
BY_TIME = (ProductSort.CREATED, ProductSort.MODIFIED)


def product_lists() -> Iterator[Case]:
    for sort, descending, in_stock in combinations(KEYS, (False, True), (None, False, True)):
        query = ProductQuery(sort=sort, descending=descending, in_stock=in_stock)
        yield from windows("products", query, KEYS[sort])
        if sort is not ProductSort.PRICE:
            many = replace(query, price_min=1_000, price_max=80_000)
            # The dear ones come first.
            dear_first = sort in BY_TIME and descending and in_stock is not False
            yield Case(of="products", query=many, rows_max=ALL_WAYS if dear_first else WALKING)
            few = replace(query, price_min=1_000, price_max=1_100)
            yield Case(of="products", query=few, rows_max=GATHERING)
            if not dear_first:
                # Twice as far as the page, to the next power of two.
                window = Window(limit=LIMIT, offset=2_000)
                yield Case(
                    of="products", query=many, window=window, rows_max=8_192 + COUNTING + PAGE
                )
    for price_min, price_max in ((500, None), (None, 90_000), (500, 90_000)):
        for descending in (False, True):
            query = ProductQuery(
                sort=ProductSort.PRICE,
                descending=descending,
                price_min=price_min,
                price_max=price_max,
            )
            yield from windows("products", query, KEYS[ProductSort.PRICE])


def products_since() -> Iterator[Case]:
    """Made or modified after a moment, in the order of that and in another one."""
    early, late = at(100), at(ROWS - 900)
    created, modified = ProductSort.CREATED, ProductSort.MODIFIED
    in_order = (
        ProductQuery(sort=created, created_after=early),
        ProductQuery(sort=modified, modified_after=early),
    )
    for query in in_order:
        yield from windows("products", query, KEYS[query.sort])
        by_name = replace(query, sort=ProductSort.NAME)
        yield Case(of="products", query=by_name, rows_max=WALKING)
    for few in (ProductQuery(created_after=late), ProductQuery(modified_after=late)):
        yield Case(of="products", query=replace(few, sort=ProductSort.NAME), rows_max=GATHERING)


def order_lists() -> Iterator[Case]:
    key = at(MIDDLE), UUID(int=MIDDLE)
    statuses = None, OrderStatus.DELIVERED, OrderStatus.CANCELLED
    ranges = (None, at(100)), (None, at(ROWS - 100))
    for user_id, status, after, before in combinations((None, 1), statuses, *ranges):
        query = OrderQuery(
            user_id=user_id, status=status, created_after=after, created_before=before
        )
        yield from windows("orders", query, key)
        yield Case(of="orders", query=replace(query, code="C5000"))


def searches() -> Iterator[Case]:
    lists = ((False, None), (False, True), (False, False), (True, None), (True, True))
    for word, sort, descending, (archived, in_stock) in combinations(
        (*EVERY, "everywhere"), ProductSort, (False, True), lists
    ):
        query = ProductQuery(
            search=word, sort=sort, descending=descending, archived=archived, in_stock=in_stock
        )
        # A tenth is archived: of the words for the index, and then too few for a short walk.
        is_between = archived and word == "often"
        yield Case(
            of="products", query=query, rows_max=ALL_OF_A_SEARCH if is_between else SEARCHES[word]
        )


CASES = [
    *product_lists(),
    *products_since(),
    *searches(),
    *order_lists(),
    # So short that it is not estimated.
    *windows("stock", MovementQuery(product_id=1), (2_500,), counted_far=2_500),
    deep("products", ProductQuery(sort=ProductSort.NAME, in_stock=True)),
    deep("orders", OrderQuery(user_id=1)),
]


async def test_a_page_reads_a_small_multiple_of_what_it_shows(long: Store) -> None:
    too_dear = []
    for case in CASES:
        rows = await rows_read(long, case)
        if rows > case.rows_max:
            too_dear.append(f"{case}: {rows} rows, of {case.rows_max}")
    assert not too_dear, "\n".join(too_dear)


async def rows_read(store: Store, case: Case) -> float:
    """How many rows a page looks at. On SQLite, so many as its steps could."""
    if store.name == "sqlite":
        steps = await steps_taken(store, case)
        # It counts a little further, since it cannot estimate.
        estimating = ESTIMATING_STEPS if case.count is None else 0
        return max(0, steps - estimating) / STEPS_PER_ROW
    with store.statements_and_arguments() as sent:
        async with store.unit_of_work(read_only=True) as uow:
            await read(uow, case)
    looking = [one for one in sent if not one[0].startswith("EXPLAIN")]
    assert looking
    async with store.sql.read.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert isinstance(driver, asyncpg.Connection)
        return sum([await rows_of(driver, *one) for one in looking])


async def read(uow: UnitOfWork, case: Case) -> None:
    page = await read_page(getattr(uow, case.of), case.query, case.window, count=case.count)
    assert len(page.items) <= LIMIT


async def steps_taken(store: Store, case: Case) -> int:
    calls = 0

    def count() -> int:
        nonlocal calls
        calls += 1
        return 0

    async with store.unit_of_work(read_only=True) as uow:
        assert isinstance(uow, SqlUnitOfWork)
        assert isinstance(uow.driver, aiosqlite.Connection)
        await uow.driver.set_progress_handler(count, 100)
        try:
            await read(uow, case)
        finally:
            await uow.driver.set_progress_handler(count, 0)
    return 100 * calls


async def rows_of(
    driver: "asyncpg.Connection[asyncpg.Record]", sql: str, parameters: Sequence[object]
) -> float:
    """The rows that a statement looks at with the plan that it has when it is prepared."""
    values = ", ".join("NULL" if value is None else f"'{value}'" for value in parameters)
    values = f"({values})" if values else ""
    await driver.execute(f"PREPARE looked_at AS {sql}")
    [answer] = await driver.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE looked_at {values}")
    await driver.execute("DEALLOCATE looked_at")
    plan = answer[0] if isinstance(answer[0], list) else json.loads(answer[0])
    return sum(_rows_of(node) for node in _nodes(plan[0]["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _rows_of(node: dict[str, Any]) -> float:
    is_whole = node["Node Type"] == "Seq Scan" and node["Relation Name"] in BIG_TABLES
    if is_whole or (node["Node Type"].startswith("Bitmap") and not _is_of_search(node)):
        return ROWS
    if node["Node Type"] == "Bitmap Index Scan":
        return float(node["Actual Rows"])
    if "Sort" in node["Node Type"]:
        below = node["Plans"][0]
        return float(below["Actual Rows"] * below["Actual Loops"])
    if "Relation Name" not in node:
        return 0
    filtered = node.get("Rows Removed by Filter", 0)
    rechecked = node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + filtered + rechecked) * node["Actual Loops"])


def _is_of_search(node: dict[str, Any]) -> bool:
    """Whether it reads what the index for searching finds."""
    return all(each.get("Index Name", SEARCH_INDEX) == SEARCH_INDEX for each in _nodes(node))


@pytest.mark.parametrize("in_stock", [None, False])
async def test_what_would_have_to_be_walked_past_for_long_is_refused_and_never_cut_short(
    long: Store, in_stock: bool | None
) -> None:
    """The dear ones come last, and they are many."""
    query = ProductQuery(price_min=DEAR, in_stock=in_stock)
    async with long.unit_of_work(read_only=True) as uow:
        if in_stock is None:
            with pytest.raises(SearchTooBroad):
                await uow.products.read_window(query, Window(limit=LIMIT))
            by_price = replace(query, sort=ProductSort.PRICE)
            assert len(await uow.products.read_window(by_price, Window(limit=LIMIT))) == LIMIT
        else:
            # None of those that are sold out is dear: that is known from the index of prices.
            assert await uow.products.read_window(query, Window(limit=LIMIT)) == []


async def test_long_lists_say_about_how_long_they_are(long: Store) -> None:
    queries = [
        ("products", ProductQuery(), 90_000),
        ("products", ProductQuery(in_stock=True), 45_000),
        ("products", ProductQuery(in_stock=False), 45_000),
        ("orders", OrderQuery(), ROWS),
        ("orders", OrderQuery(user_id=1), 25_000),
    ]
    counts = [await count(long, of, query) for of, query, _ in queries]
    assert not any(count.is_exact for count in counts)
    if long.name == "postgresql":
        for (_, query, length), count_ in zip(queries, counts, strict=True):
            assert 0.8 * length < count_.number < 1.2 * length, query
    await CountLists(unit_of_work=long.unit_of_work)(caller=OPERATOR)
    for of, query, length in queries:
        assert abs((await count(long, of, query)).number - length) <= 100, query


async def count(store: Store, of: str, query: Any) -> Count:
    async with store.unit_of_work(read_only=True) as uow:
        return (await read_page(getattr(uow, of), query, Window(limit=1))).count


async def test_filtered_lists_are_estimated_and_short_ones_counted(long: Store) -> None:
    many = await count(long, "orders", OrderQuery(status=OrderStatus.DELIVERED))
    few = await count(long, "orders", OrderQuery(status=OrderStatus.CANCELLED))
    assert (many.is_exact, few) == (False, Count(ROWS // 5000))
    if long.name == "postgresql":
        assert abs(many.number - ROWS * 0.9) < ROWS * 0.1
    else:
        assert many.number == COUNTED_FAR_MAX


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("in_stock", [None, False, True])
async def test_a_search_is_counted_to_a_thousand_and_beyond_said_to_be_about_so_long(
    long: Store, archived: bool, in_stock: bool | None
) -> None:
    """Also where the list is much narrower than the catalogue."""
    listed = [
        n
        for n in range(1, ROWS + 1)
        if (n % 10 == 0) == archived and in_stock in (None, n > ROWS // 2)
    ]
    for word, every in {**EVERY, "everywhere": 1}.items():
        length = sum(n % every == ROWS % every for n in listed)
        for sort in (ProductSort.CREATED, ProductSort.RELEVANCE):
            query = ProductQuery(search=word, archived=archived, in_stock=in_stock, sort=sort)
            about = await count(long, "products", query)
            if length <= COUNTED_MAX:
                assert about == Count(length), query
            else:
                assert about.number == length or not about.is_exact, query
                assert 0.5 * length < about.number < 2 * length, query


@pytest.mark.parametrize("price_max", [50, 1_000])
async def test_a_search_in_a_short_list_of_a_long_catalogue_counts_what_it_shows(
    long: Store, price_max: int
) -> None:
    """What all have is as seldom as what few have, where few are listed."""
    query = ProductQuery(
        search="everywhere", price_min=1, price_max=price_max, sort=ProductSort.PRICE
    )
    async with long.unit_of_work(read_only=True) as uow:
        page = await read_page(uow.products, query, Window(limit=LIMIT))
        rest = await uow.products.read_window(query, Window(limit=1_000, offset=LIMIT))
    assert page.items
    assert page.count == Count(len(page.items) + len(rest))

"""Searching: every store finds the same, in the same order, however it goes about it."""
# ruff: noqa: RUF001 - letters that look alike are what this is about

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import product as combinations
from typing import Any

import pytest
from sqlalchemy import Select, text

from shop.adapters.sql import search as sql_search
from shop.adapters.sql.drivers import Driver, read_from
from shop.adapters.sql.rows import ReadRow, Row
from shop.adapters.sql.search import Bounds
from shop.domain.errors import InvalidField, SearchTooBroad
from shop.domain.pages import Window, read_page
from shop.domain.products import Product, ProductQuery, ProductSort
from shop.domain.search import search_terms
from shop.domain.users import OPERATOR
from tests.builders import NOON, money, product, staff
from tests.stores import Store, sql_store
from tests.use_cases import UseCases

# Letters of many scripts, some of which change with case, width or composition, and what the
# languages of databases have signs for.
_ALPHABETS = (
    *("abcABC", "äÄßẞéÉ", "iIİı", "σςΣΊί", "ёЁйЙ", "茶壺ガｶﾞぱ", "شَاي", "हिन्दी", "e\u0301a\u0308"),
    *("%_\\'\"*", "-./+#&()[]{}", "🫖👩\u200d🍳", "０１２１２", "ﬁﬀ½", "\u00ad\u200b", "^$|~:;,!?"),
)
_WORDS = ["tea", "Teapot", "OR", "AND", "NOT", "NEAR", "search_text", "null", "--", "/*", "100%"]


def made_up(dice: random.Random) -> str:
    letters = "".join(dice.choice(_ALPHABETS) for _ in range(2))
    word = "".join(dice.choice(letters) for _ in range(dice.randint(1, 6)))
    return dice.choice([word, word, dice.choice(_WORDS)])


def made_up_texts(dice: random.Random, count: int) -> list[str]:
    return [" ".join(made_up(dice) for _ in range(dice.randint(1, 4))) for _ in range(count)]


@pytest.fixture
async def catalogue(shop: UseCases) -> list[Product]:
    """Products with names and descriptions of every kind, and ties in price and time."""
    dice = random.Random(15)  # noqa: S311
    names, descriptions = made_up_texts(dice, 60), made_up_texts(dice, 60)
    return await shop.container.add_products()(
        caller=OPERATOR,
        products=[
            product(
                0,
                sku=f"Tea-{n}",
                name=f"n{name}",
                description=description,
                price=money(100 * (n % 4)),
                stock=n % 3,
                created_at=NOON + timedelta(seconds=n % 7),
            )
            for n, (name, description) in enumerate(zip(names, descriptions, strict=True))
        ],
    )


async def read(store: Store, query: ProductQuery, **window: Any) -> Sequence[Product]:
    async with store.unit_of_work(read_only=True) as uow:
        return await uow.products.read_window(query, Window(**{"limit": 100, **window}))


async def count(store: Store, query: ProductQuery) -> int:
    async with store.unit_of_work(read_only=True) as uow:
        _, count = await uow.products.read_counted(query, Window(limit=1))
    assert count.is_exact
    return count.number


def expected(catalogue: Sequence[Product], query: ProductQuery) -> list[Product]:
    found = [each for each in catalogue if all(term in each.search_text for term in query.terms)]
    return sorted(found, key=query.key, reverse=query.descending)


def searches(catalogue: Sequence[Product]) -> Iterator[str]:
    """Parts of what is there, whole words, and what is not there."""
    dice = random.Random(16)  # noqa: S311
    for each in catalogue:
        of = dice.choice([each.name, each.description])
        start = dice.randrange(len(of))
        part = of[start : start + dice.randint(1, 8)].strip()
        yield dice.choice([part, part.upper(), dice.choice(of.split())])
    yield from made_up_texts(dice, 30)
    # What would be patterns of those that are there.
    yield from ["te_-1", "t%a-1", "tea\\-1", "tea*", "te?-1"]
    yield from ["t t t", " ".join("abcdefghij"), " ".join(["tea"] * 20), "tea " + "x" * 90, "\\%"]


async def test_every_store_finds_what_has_all_the_words(
    store: Store, catalogue: list[Product]
) -> None:
    found = 0
    for search in searches(catalogue):
        query = ProductQuery(search=search)
        wanted = expected(catalogue, query)
        assert await read(store, query) == wanted, search
        found += bool(wanted)
    assert found > 60


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ProductSort)
async def test_a_walk_through_what_was_found_meets_everything_once(
    store: Store, catalogue: list[Product], sort: ProductSort, descending: bool
) -> None:
    query = ProductQuery(search="tea", sort=sort, descending=descending)
    wanted = expected(catalogue, query)
    assert len(wanted) == len(catalogue)
    forwards: list[Product] = []
    while part := await read(
        store, query, limit=7, after=query.key(forwards[-1]) if forwards else None
    ):
        forwards += part
    assert forwards == wanted
    backwards = wanted[-1:]
    while part := await read(store, query, limit=7, before=query.key(backwards[0])):
        backwards = [*part, *backwards]
    assert backwards == wanted
    assert await read(store, query, limit=7, offset=50) == wanted[50:57]
    assert await count(store, query) == len(wanted)


@pytest.mark.parametrize(
    "bounds",
    # By the index; by walking, since the index finds too many; by what the list has.
    [Bounds(walked_max=1), Bounds(found_max=3), Bounds(found_max=45, walked_max=1)],
)
async def test_however_it_is_found_it_is_the_same(
    sql: Store,
    monkeypatch: pytest.MonkeyPatch,
    bounds: Bounds,
) -> None:
    shop = UseCases(sql.unit_of_work)
    everything = await catalogue_of_pots(shop)
    monkeypatch.setattr(sql_search, "BOUNDS", bounds)
    for sort in ProductSort:
        for descending in (False, True):
            query = ProductQuery(
                search="pot", in_stock=True, price_min=100, sort=sort, descending=descending
            )
            fitting = [each for each in everything if each.stock and each.price.amount >= 100]
            wanted = expected(fitting, query)
            assert len(wanted) > 10
            found = [
                *await read(sql, query, limit=4),
                *await read(sql, query, limit=4, offset=4),
                *await read(sql, query, after=query.key(wanted[7])),
            ]
            assert found == wanted
            assert await read(sql, query, limit=4, before=query.key(wanted[6])) == wanted[2:6]
            assert await count(sql, query) == len(wanted)


async def catalogue_of_pots(shop: UseCases) -> list[Product]:
    names = ["Pot", "Teapot", "Potter's wheel", "A pot", "Red pot", "Potato", "Spot", "pot"]
    return await shop.container.add_products()(
        caller=OPERATOR,
        products=[
            product(
                0,
                sku="pot" if n == 17 else f"P-{n}",
                name=f"{names[n % len(names)]} {n // 8}",
                price=money(100 * (n % 4)),
                stock=n % 3,
                created_at=NOON + timedelta(seconds=n % 5),
            )
            for n in range(40)
        ],
    )


async def test_the_exact_sku_comes_first_then_names_that_begin_so_then_the_rest(
    shop: UseCases, store: Store
) -> None:
    for sku, name in [
        ("X-1", "Big teapot"),
        ("X-2", "Tea towel"),
        ("TEA", "Nothing of the kind"),
        ("X-3", "A cup for tea"),
        ("X-4", "tea cup"),
        ("TEA-2", "Another cup"),
        ("X-5", "Coffee"),
    ]:
        await shop.create_product(caller=OPERATOR, sku=sku, name=name, price=money(1))
    query = ProductQuery(search="Tea", sort=ProductSort.RELEVANCE)
    assert [each.sku for each in await read(store, query)] == [
        *("TEA", "X-4", "X-2", "X-1", "X-3", "TEA-2"),
    ]
    query = ProductQuery(search=" tea  CUP ", sort=ProductSort.RELEVANCE)
    assert [each.sku for each in await read(store, query)] == ["X-4", "X-3", "TEA-2"]


@pytest.mark.parametrize(
    ("search", "name"),
    [
        ("izmir", "İzmir tea"),
        ("İZMİR", "izmir tea"),
        ("tea", "Ｔｅａ pot"),
        ("ｔｅａ", "Tea pot"),
        ("caf\u00e9", "Cafe\u0301 blend"),
        ("cafe\u0301", "Caf\u00e9 blend"),
        ("creme", "Crème brûlée"),
        ("crème brul", "Crème brûlée"),
        ("strasse", "Straße"),
        ("tea  pot", "tea\u00a0 pot"),
        ("ガラス", "ｶﾞﾗｽ"),
        ("Ⅷ", "viii cups"),
    ],
)
async def test_a_name_begins_with_what_it_is_found_by(
    shop: UseCases, store: Store, search: str, name: str
) -> None:
    for sku, each in (("A", f"A {name}"), ("B", name), ("C", f"An old {name}")):
        await shop.create_product(caller=OPERATOR, sku=sku, name=each, price=money(1))
    query = ProductQuery(search=search, sort=ProductSort.RELEVANCE)
    assert [each.sku for each in await read(store, query)] == ["B", "A", "C"]


async def test_the_longest_name_is_ordered_and_found(shop: UseCases, store: Store) -> None:
    """Of characters that are many when they are folded."""
    for name in ("\ufdfa" * 200, "\U0001d7f6" * 200, "ΐ" * 200, "\U00020000" * 200):
        await shop.create_product(caller=OPERATOR, sku=str(ord(name[0])), name=name, price=money(1))
    everything = await read(store, ProductQuery(sort=ProductSort.NAME))
    assert everything == sorted(everything, key=ProductQuery(sort=ProductSort.NAME).key)
    for each in everything:
        query = ProductQuery(search=each.name[:20], sort=ProductSort.RELEVANCE)
        assert await read(store, query) == [each]


async def test_without_a_search_nothing_is_more_relevant_than_anything_else(
    store: Store, catalogue: list[Product]
) -> None:
    by_relevance = ProductQuery(sort=ProductSort.RELEVANCE)
    by_name = ProductQuery(sort=ProductSort.NAME)
    assert await read(store, by_relevance) == await read(store, by_name)
    assert by_relevance.key(catalogue[0]) == by_name.key(catalogue[0])


async def test_what_would_take_too_long_is_given_up_and_said_so(
    sql: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = await catalogue_of_pots(UseCases(sql.unit_of_work))
    monkeypatch.setattr(sql_search, "BOUNDS", Bounds(found_max=1, walked_max=20))
    for sort in ProductSort:
        query = ProductQuery(search="pot", in_stock=True, sort=sort)
        with pytest.raises(SearchTooBroad):
            await read(sql, query)
        # As far as it may look there is enough for a small page, and the end can be seen.
        wanted = expected([each for each in everything if each.stock], query)
        assert await read(sql, query, limit=2) == wanted[:2]
        last = wanted[-5:]
        assert await read(sql, query, after=query.key(wanted[-6])) == last


@pytest.mark.parametrize(
    ("search", "found", "looked_up"),
    [
        # What all have is not looked up beside what tells one from another.
        ("make-0000123", [123], ["0000123"]),
        ("0000123 cup-ebony", [123], ["ebony", "0000123"]),
        # It is where one piece alone would find many.
        ("wood-cup", [123], ["wood-cup"]),
        ("makes0000123", [], ["makes0000123"]),
        ("e-0000123", [123], ["0000123"]),
        ("e-01", [], ["e-01"]),
    ],
)
async def test_the_index_is_asked_for_what_tells(
    sql: Store,
    monkeypatch: pytest.MonkeyPatch,
    search: str,
    found: list[int],
    looked_up: list[str],
) -> None:
    names = {123: "wood-cup cup-ebony"}
    await UseCases(sql.unit_of_work).add_products(
        caller=OPERATOR,
        products=[
            product(0, sku=f"Make-{n:07}", name=names.get(n, "wooden lid-cup")) for n in range(600)
        ],
    )
    patterns: list[Any] = []

    async def spy(driver: Driver, statement: Select[Any], values: Row) -> Sequence[ReadRow]:
        patterns.extend(value for name, value in values.items() if name.startswith("pattern_"))
        return await read_from(driver, statement, values)

    monkeypatch.setattr(sql_search, "read_from", spy)
    there = await read(sql, ProductQuery(search=search))
    assert [each.sku for each in there] == [f"Make-{n:07}" for n in found]
    assert patterns == [f"%{text}%" for text in looked_up]


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(),
        Bounds(found_max=3),
        Bounds(found_max=3, sampled=(50,)),
        Bounds(found_max=3, sampled=(50, 100)),
    ],
)
async def test_a_count_is_what_is_listed_also_where_that_is_little_of_the_catalogue(
    sql: Store, monkeypatch: pytest.MonkeyPatch, bounds: Bounds
) -> None:
    shop = UseCases(sql.unit_of_work)
    everything = await shop.add_products(
        caller=OPERATOR,
        products=[
            product(0, sku=f"P-{n}", name="Pot", stock=int(n % 20 == 0), price=money(n % 50))
            for n in range(200)
        ],
    )
    for gone in everything[100:107]:
        await shop.archive_product(caller=OPERATOR, product_id=gone.id)
    monkeypatch.setattr(sql_search, "BOUNDS", bounds)
    lengths: list[tuple[dict[str, Any], int]] = [
        ({"archived": True}, 7),
        ({"in_stock": True}, 9),
        ({"in_stock": True, "price_max": 1}, 1),
        ({"price_min": 49}, 4),
        ({}, 193),
    ]
    for (filters, length), limit in combinations(lengths, (1, 2, 7, 300)):
        query = ProductQuery(search="pot", **filters)
        async with sql.unit_of_work(read_only=True) as uow:
            page = await read_page(uow.products, query, Window(limit=limit))
        assert len(page.items) == min(limit, length), query
        assert page.count.number >= len(page.items) + page.more, query
        assert not page.count.is_exact or page.count.number == length, query
        if limit > length or bounds == Bounds():
            assert page.count.is_exact, query


async def test_an_archived_product_is_not_found(
    shop: UseCases, store: Store, catalogue: list[Product]
) -> None:
    gone = catalogue[7]
    await shop.archive_product(caller=OPERATOR, product_id=gone.id)
    for search in ("tea", "tea-7"):
        query = ProductQuery(search=search, sort=ProductSort.RELEVANCE)
        assert gone.id not in [each.id for each in await read(store, query)]


async def test_a_changed_product_is_found_by_its_new_words_and_no_more_by_the_old(
    shop: UseCases, store: Store, catalogue: list[Product]
) -> None:
    await shop.change_product(
        caller=OPERATOR, product_id=catalogue[0].id, name="Käsemesser", description="scharf"
    )
    for search, found in {"kasemesser": 1, "scharf": 1, catalogue[0].name + " tea-0": 0}.items():
        assert await count(store, ProductQuery(search=search)) == found, search


async def test_a_whole_cart_is_read_at_once(
    shop: UseCases, store: Store, catalogue: list[Product]
) -> None:
    cart = ["TEA-1", "tea-3", "Tea-5", "Tea-5", "nothing", "' OR 1=1", "\x00", "\ud800"]
    query = ProductQuery(skus=cart, sort=ProductSort.NAME)
    wanted = sorted((catalogue[n] for n in (1, 3, 5)), key=query.key)
    assert await read(store, query) == wanted
    assert await count(store, query) == 3
    assert await read(store, replace(query, in_stock=False)) == [
        each for each in wanted if not each.stock
    ]
    assert await read(store, replace(query, search="tea-5")) == [catalogue[5]]
    assert await read(store, ProductQuery(skus=[])) == []
    with pytest.raises(InvalidField):
        ProductQuery(skus=[f"S-{n}" for n in range(101)])


async def test_who_mirrors_the_catalogue_asks_for_what_was_made_or_modified_since(
    shop: UseCases, store: Store, catalogue: list[Product]
) -> None:
    query = ProductQuery(created_after=NOON + timedelta(seconds=3), sort=ProductSort.MODIFIED)
    wanted = [each for each in catalogue if each.created_at > NOON + timedelta(seconds=3)]
    assert await read(store, query) == sorted(wanted, key=query.key)

    shop.clock.advance(timedelta(hours=1))
    since = shop.clock() - timedelta(microseconds=1)
    changed = await shop.change_product(caller=OPERATOR, product_id=catalogue[9].id, name="new")
    await shop.change_stock(
        caller=staff(1), product_id=catalogue[8].id, reason="restock", delta=100
    )
    await shop.archive_product(caller=OPERATOR, product_id=catalogue[7].id)
    modified = ProductQuery(modified_after=since, sort=ProductSort.MODIFIED)
    assert await read(store, modified) == [changed]
    assert await read(store, replace(modified, modified_after=shop.clock())) == []
    last_but_one = replace(modified, modified_after=None, descending=True)
    assert (await read(store, last_but_one, limit=1)) == [changed]


async def test_what_an_older_program_stored_is_made_searchable(
    sql: Store,
) -> None:
    """It knows nothing of the search texts: of what it adds there is none, or one of before."""
    shop = UseCases(sql.unit_of_work)
    added, changed = (await catalogue_of_pots(shop))[:2]
    async with sql.sql.patient.begin() as connection:
        await connection.execute(
            text("UPDATE products SET search_text = '', search_version = 0 WHERE id = :id"),
            {"id": added.id},
        )
        await connection.execute(
            text(
                "UPDATE products SET name = 'Zuckerdose', search_key = 'zuckerdose', "
                "version = version + 1 WHERE id = :id"
            ),
            {"id": changed.id},
        )
    assert await count(sql, ProductQuery(search="zuckerdose")) == 0
    assert await shop.make_searchable(caller=OPERATOR) == 2
    assert await shop.make_searchable(caller=OPERATOR) == 0
    assert [each.id for each in await read(sql, ProductQuery(search="zuckerdose"))] == [changed.id]
    assert [each.id for each in await read(sql, ProductQuery(search="p-0"))] == [added.id]
    assert (await shop.find_product(caller=OPERATOR, sku=changed.sku)).version == 2


async def test_postgresql_has_an_index_for_what_is_looked_up_in_it(postgresql_url: str) -> None:
    query = ProductQuery(search="teapot % ab-12 茶")
    terms = [term for term in search_terms(query.search) if sql_search.is_indexed(term)]
    assert terms == ["teapot", "ab-12", "  茶"]
    async with sql_store(postgresql_url) as store, store.sql.read.connect() as connection:
        await connection.execute(text("SET enable_seqscan = off"))
        for term in terms:
            plan = await connection.scalars(
                text("EXPLAIN SELECT id FROM products WHERE search_text LIKE :pattern"),
                {"pattern": f"%{term}%"},
            )
            assert "Bitmap Index Scan on products_search" in " ".join(plan), term

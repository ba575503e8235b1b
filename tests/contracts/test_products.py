"""Lists of products: the same answers from every store, page by page."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from shop.domain.errors import ProductChanged, ProductNotFound, SkuTaken
from shop.domain.pages import Part, read_page
from shop.domain.products import Product, ProductQuery, ProductSort
from tests.builders import NOON, money, product
from tests.stores import Store
from tests.use_cases import UseCases

NAMES = (
    *("apple", "Apple", "APPLE", "apple pie", "apple-pie", "Äpfel", "Zebra", "ähre", "éclair"),
    *("ECLAIR", "straße", "STRASSE", "茶壺", "🫖 pot", "_x", "%y", "\\z", "a/b", "ﬁg", "İstanbul"),
)


@pytest.fixture
async def catalogue(shop: UseCases) -> list[Product]:
    """Products with every kind of name, and with ties in price and time."""
    return await shop.add_products(
        products=[
            product(
                0,
                sku=f"SKU-{n}",
                name=name,
                price=money(100 * (n % 4)),
                stock=n % 3,
                created_at=NOON + timedelta(microseconds=n % 5),
            )
            for n, name in enumerate(NAMES)
        ]
    )


async def read(store: Store, query: ProductQuery, part: Part) -> Sequence[Product]:
    async with store.unit_of_work(read_only=True) as uow:
        return await uow.products.read_part(query, part)


async def found(store: Store, query: ProductQuery) -> set[str]:
    """The names found, which must be as many as are counted."""
    async with store.unit_of_work(read_only=True) as uow:
        items = await uow.products.read_part(query, Part(limit=100))
        assert len(items) == await uow.products.count(query)
    return {item.name for item in items}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ProductSort)
async def test_every_order_is_that_of_its_keys(
    store: Store, catalogue: list[Product], sort: ProductSort, descending: bool
) -> None:
    query = ProductQuery(sort=sort, descending=descending)
    expected = sorted(catalogue, key=query.key, reverse=descending)
    assert await read(store, query, Part(limit=100)) == expected


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ProductSort)
async def test_a_walk_by_pages_there_and_back_meets_everything_once(
    store: Store, catalogue: list[Product], sort: ProductSort, descending: bool
) -> None:
    query = ProductQuery(sort=sort, descending=descending)
    expected = sorted(catalogue, key=query.key, reverse=descending)
    async with store.unit_of_work(read_only=True) as uow:
        forwards: list[Product] = []
        part = Part(limit=3)
        while True:
            page = await read_page(uow.products, query, part)
            forwards += page.items
            if not page.more:
                break
            part = Part(limit=3, after=query.key(page.items[-1]))
        assert forwards == expected

        backwards = expected[-1:]
        while True:
            page = await read_page(
                uow.products, query, Part(limit=3, before=query.key(backwards[0]))
            )
            backwards = [*page.items, *backwards]
            if not page.more:
                break
        assert backwards == expected

        for offset in range(0, len(expected) + 3, 3):
            page = await read_page(uow.products, query, Part(limit=3, offset=offset))
            assert list(page.items) == expected[offset : offset + 3]
            assert page.more == (offset + 3 < len(expected))


async def test_before_the_first_and_after_the_last_is_nothing(
    store: Store, catalogue: list[Product]
) -> None:
    for sort in ProductSort:
        query = ProductQuery(sort=sort)
        ordered = sorted(catalogue, key=query.key)
        assert await read(store, query, Part(limit=3, before=query.key(ordered[0]))) == []
        assert await read(store, query, Part(limit=3, after=query.key(ordered[-1]))) == []


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("search", "names"),
    [
        ("", set(NAMES)),
        ("apple", {"apple", "Apple", "APPLE", "apple pie", "apple-pie"}),
        ("APPLE", {"apple", "Apple", "APPLE", "apple pie", "apple-pie"}),
        (" pie ", {"apple pie", "apple-pie"}),
        ("e p", {"apple pie"}),
        ("äPF", {"Äpfel"}),
        ("strasse", {"straße", "STRASSE"}),
        ("STRAßE", {"straße", "STRASSE"}),
        ("eclair", {"ECLAIR"}),
        ("ÉCLAIR", {"éclair"}),
        ("壺", {"茶壺"}),
        ("🫖", {"🫖 pot"}),
        ("FIG", {"ﬁg"}),
        ("İst", {"İstanbul"}),
        ("%", {"%y"}),
        ("_", {"_x"}),
        ("\\", {"\\z"}),
        ("/", {"a/b"}),
        ("a%e", set()),
        ("appl_", set()),
        ("'", set()),
        ("sku-1", {name for n, name in enumerate(NAMES) if str(n).startswith("1")}),
        ("y sku", set()),
        ("nothing", set()),
    ],
)
async def test_a_search_finds_the_characters_as_they_are_whatever_their_case(
    store: Store, search: str, names: set[str]
) -> None:
    assert await found(store, ProductQuery(search=search)) == names


@pytest.mark.parametrize(
    ("price_min", "price_max", "prices"),
    [
        (None, None, {0, 100, 200, 300}),
        (100, 200, {100, 200}),
        (101, 199, set()),
        (None, 99, {0}),
        (300, None, {300}),
        (200, 100, set()),
        (0, 0, {0}),
    ],
)
async def test_price_bounds_are_both_included(
    store: Store,
    catalogue: list[Product],
    price_min: int | None,
    price_max: int | None,
    prices: set[int],
) -> None:
    query = ProductQuery(price_min=price_min, price_max=price_max)
    expected = {p.name for p in catalogue if p.price.amount in prices}
    assert await found(store, query) == expected


@pytest.mark.parametrize("in_stock", [True, False])
async def test_products_are_listed_by_whether_they_are_there(
    store: Store, catalogue: list[Product], in_stock: bool
) -> None:
    expected = {p.name for p in catalogue if (p.stock > 0) == in_stock}
    assert await found(store, ProductQuery(in_stock=in_stock)) == expected


async def test_conditions_hold_together_and_across_pages(
    store: Store, catalogue: list[Product]
) -> None:
    query = ProductQuery(search="a", in_stock=True, price_min=100, sort=ProductSort.PRICE)
    expected = sorted(
        (p for p in catalogue if "a" in p.search_key and p.stock and p.price.amount >= 100),
        key=query.key,
    )
    assert len(expected) > 3
    first = await read(store, query, Part(limit=2))
    rest = await read(store, query, Part(limit=100, after=query.key(first[-1])))
    assert [*first, *rest] == expected


async def test_archived_products_are_found_by_their_sku_only(
    shop: UseCases, store: Store, catalogue: list[Product]
) -> None:
    gone = catalogue[3]
    shop.clock.advance(timedelta(hours=1))
    await shop.archive_product(actor_id=99, product_id=gone.id)
    assert await found(store, ProductQuery()) == set(NAMES) - {gone.name}
    with pytest.raises(ProductNotFound):
        await shop.read_product(product_id=gone.id)
    archived = replace(gone, archived=True, version=2, modified_at=shop.clock())
    assert await shop.find_product(sku=gone.sku) == archived
    async with store.unit_of_work(read_only=True) as uow:
        assert await uow.products.get(gone.id) == archived


async def test_a_product_is_read_back_as_it_was_stored(shop: UseCases) -> None:
    stored = await shop.create_product(
        actor_id=None,
        sku="X-1",
        name="'; DROP TABLE products; -- ☃",
        price=money(10**10),
        description="line one\nline two\t%s %(a)s :b",
        stock=10**12,
    )
    assert await shop.read_product(product_id=stored.id) == stored

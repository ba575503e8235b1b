"""Lists of products: the same answers from every store, page by page."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from shop.domain.errors import ProductChanged, ProductNotFound, SkuTaken
from shop.domain.money import PRICE_MAX
from shop.domain.pages import Count, Window, read_page
from shop.domain.products import NO_MAX, Product, ProductQuery, ProductSort
from shop.domain.users import OPERATOR
from tests.builders import NOON, customer, money, product, staff
from tests.stores import Store
from tests.use_cases import UseCases

NAMES = (
    *("apple", "Apple", "APPLE", "apple pie", "apple-pie", "Äpfel", "Zebra", "ähre", "éclair"),
    *("ECLAIR", "straße", "STRASSE", "茶壺", "🫖 pot", "_x", "%y", "\\z", "a/b", "ﬁg", "İstanbul"),
)


@pytest.fixture
async def catalogue(shop: UseCases) -> list[Product]:
    """Products with every kind of name, and with ties in price and time."""
    return await shop.container.add_products()(
        caller=OPERATOR,
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
        ],
    )


async def read(store: Store, query: ProductQuery, window: Window) -> Sequence[Product]:
    async with store.unit_of_work(read_only=True) as uow:
        return await uow.products.read_window(query, window)


async def found(store: Store, query: ProductQuery) -> set[str]:
    """The names found, which must be as many as are counted."""
    async with store.unit_of_work(read_only=True) as uow:
        items, count = await uow.products.read_counted(query, Window(limit=100))
        assert count == Count(len(items))
    return {item.name for item in items}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ProductSort)
async def test_every_order_is_that_of_its_keys(
    store: Store, catalogue: list[Product], sort: ProductSort, descending: bool
) -> None:
    query = ProductQuery(sort=sort, descending=descending)
    expected = sorted(catalogue, key=query.key, reverse=descending)
    assert await read(store, query, Window(limit=100)) == expected


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ProductSort)
async def test_a_walk_by_pages_there_and_back_meets_everything_once(
    store: Store, catalogue: list[Product], sort: ProductSort, descending: bool
) -> None:
    query = ProductQuery(sort=sort, descending=descending)
    expected = sorted(catalogue, key=query.key, reverse=descending)
    async with store.unit_of_work(read_only=True) as uow:
        forwards: list[Product] = []
        window = Window(limit=3)
        while True:
            page = await read_page(uow.products, query, window)
            forwards += page.items
            if not page.more:
                break
            window = Window(limit=3, after=query.key(page.items[-1]))
        assert forwards == expected

        backwards = expected[-1:]
        while True:
            page = await read_page(
                uow.products, query, Window(limit=3, before=query.key(backwards[0]))
            )
            backwards = [*page.items, *backwards]
            if not page.more:
                break
        assert backwards == expected

        for offset in range(0, len(expected) + 3, 3):
            page = await read_page(uow.products, query, Window(limit=3, offset=offset))
            assert list(page.items) == expected[offset : offset + 3]
            assert page.more == (offset + 3 < len(expected))


async def test_before_the_first_and_after_the_last_is_nothing(
    store: Store, catalogue: list[Product]
) -> None:
    for sort in ProductSort:
        query = ProductQuery(sort=sort)
        ordered = sorted(catalogue, key=query.key)
        assert await read(store, query, Window(limit=3, before=query.key(ordered[0]))) == []
        assert await read(store, query, Window(limit=3, after=query.key(ordered[-1]))) == []


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("search", "names"),
    [
        ("", set(NAMES)),
        ("apple", {"apple", "Apple", "APPLE", "apple pie", "apple-pie"}),
        ("APPLE", {"apple", "Apple", "APPLE", "apple pie", "apple-pie"}),
        (" pie ", {"apple pie", "apple-pie"}),
        ("pie app", {"apple pie", "apple-pie"}),
        ("äPF", {"Äpfel"}),
        ("strasse", {"straße", "STRASSE"}),
        ("STRAßE", {"straße", "STRASSE"}),
        ("eclair", {"ECLAIR", "éclair"}),
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
        ("y sku", {"%y"}),
        ("nothing", set()),
    ],
)
async def test_a_search_finds_words_whatever_their_case(
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
    query = ProductQuery(search="sku", in_stock=True, price_min=100, sort=ProductSort.PRICE)
    expected = sorted(
        (p for p in catalogue if p.stock and p.price.amount >= 100),
        key=query.key,
    )
    assert len(expected) > 3
    first = await read(store, query, Window(limit=2))
    rest = await read(store, query, Window(limit=100, after=query.key(first[-1])))
    assert [*first, *rest] == expected


async def test_archived_products_are_found_by_their_sku_and_by_asking_for_them(
    shop: UseCases, store: Store, catalogue: list[Product]
) -> None:
    gone = catalogue[3]
    shop.clock.advance(timedelta(hours=1))
    await shop.archive_product(caller=staff(99), product_id=gone.id)
    assert await found(store, ProductQuery()) == set(NAMES) - {gone.name}
    assert await found(store, ProductQuery(archived=True)) == {gone.name}
    with pytest.raises(ProductNotFound):
        await shop.read_product(caller=customer(), product_id=gone.id)
    archived = replace(gone, archived=True, version=2, modified_at=shop.clock())
    assert await shop.find_product(caller=OPERATOR, sku=gone.sku) == archived
    async with store.unit_of_work(read_only=True) as uow:
        assert await uow.products.get(gone.id) == archived


async def test_a_product_is_read_back_as_it_was_stored(shop: UseCases) -> None:
    stored = await shop.create_product(
        caller=OPERATOR,
        sku="X-1",
        name="'; DROP TABLE products; -- ☃",
        price=money(PRICE_MAX),
        description="line one\nline two\t%s %(a)s :b",
        stock=10**12,
    )
    assert await shop.read_product(caller=OPERATOR, product_id=stored.id) == stored


async def test_a_changed_product_is_read_back_and_found_by_what_it_is_called_now(
    shop: UseCases, store: Store, catalogue: list[Product]
) -> None:
    before = catalogue[0]
    shop.clock.advance(timedelta(hours=1))
    changed = await shop.change_product(
        caller=staff(99),
        product_id=before.id,
        sku="NEW-1",
        name=" Käse ",
        description="line one\nline two",
        price=money(777),
        expected_versions=[1],
    )
    assert changed == replace(
        before,
        sku="NEW-1",
        name="Käse",
        description="line one\nline two",
        price=money(777),
        version=2,
        modified_at=shop.clock(),
    )
    assert await shop.read_product(caller=OPERATOR, product_id=before.id) == changed
    assert await shop.find_product(caller=OPERATOR, sku="NEW-1") == changed
    with pytest.raises(ProductNotFound):
        await shop.find_product(caller=OPERATOR, sku=before.sku)
    assert await found(store, ProductQuery(search="KÄSE")) == {"Käse"}
    kept = await shop.change_product(caller=staff(99), product_id=before.id, max_per_order=3)
    assert kept == replace(changed, version=3, max_per_order=3)
    assert shop.audit.events[-1] == ("product.changed", {"user": 99, "product": before.id})


@pytest.mark.parametrize(
    ("sku", "typed"),
    [
        ("Größe 42/blau", "GRÖSSE 42/BLAU"),
        ("M&M (red) #1", "m&m\u00a0(RED)  #1"),
        ("İzmir+1", "izmir+1"),
        ("Cafe\u0301_1.0", "CAFÉ_1.0"),
        ("-5", "－５"),  # noqa: RUF001
        ("茶壺", "\ufeff茶壺 "),
    ],
)
async def test_a_sku_is_found_however_it_is_typed(shop: UseCases, sku: str, typed: str) -> None:
    stored = await shop.given_product(sku=sku)
    for written in (sku, stored.sku, typed.strip("\ufeff")):
        assert await shop.find_product(caller=OPERATOR, sku=written) == stored
    with pytest.raises(SkuTaken):
        await shop.given_product(sku=typed.strip("\ufeff"))


async def test_a_sku_may_change_its_case_and_none_may_become_that_of_another(
    shop: UseCases, catalogue: list[Product]
) -> None:
    mine, theirs = catalogue[:2]
    lower = mine.sku.lower()
    changed = await shop.change_product(caller=OPERATOR, product_id=mine.id, sku=lower)
    assert changed.sku == lower
    with pytest.raises(SkuTaken):
        await shop.change_product(caller=OPERATOR, product_id=mine.id, sku=theirs.sku.lower())
    free = await shop.change_product(caller=OPERATOR, product_id=mine.id, sku="FREE")
    assert (await shop.given_product(sku=mine.sku)).id != free.id


async def test_the_store_by_itself_lets_no_sku_be_that_of_another(
    store: Store, catalogue: list[Product]
) -> None:
    mine, theirs = catalogue[:2]
    async with store.unit_of_work() as uow:
        locked = await uow.products.lock(mine.id)
        with pytest.raises(SkuTaken):
            await uow.products.save(replace(locked, sku=theirs.sku.lower(), version=2))
    async with store.unit_of_work() as uow:
        with pytest.raises(SkuTaken):
            await uow.products.add([product(0, sku=theirs.sku.lower())])


async def test_the_refusal_of_a_taken_sku_says_what_holds_it(
    shop: UseCases, catalogue: list[Product]
) -> None:
    there, gone = catalogue[:2]
    await shop.archive_product(caller=OPERATOR, product_id=gone.id)
    with pytest.raises(SkuTaken, match=f"Product {there.id} ") as refused:
        await shop.given_product(sku=there.sku)
    assert refused.value.context == {"product_id": there.id}
    with pytest.raises(SkuTaken, match=f"archived product {gone.id} .* restore it") as refused:
        await shop.given_product(sku=gone.sku)
    assert refused.value.context == {"product_id": gone.id, "archived": True}


async def test_what_was_archived_by_mistake_comes_back_as_it_was(
    shop: UseCases, store: Store, catalogue: list[Product]
) -> None:
    before = catalogue[3]
    await shop.archive_product(caller=staff(1), product_id=before.id)
    for expected in ([], [1], [3]):
        with pytest.raises(ProductChanged):
            await shop.restore_product(
                caller=staff(1), product_id=before.id, expected_versions=expected
            )
    shop.clock.advance(timedelta(hours=1))
    back = await shop.restore_product(caller=staff(2), product_id=before.id, expected_versions=[2])
    assert back == replace(before, version=3, modified_at=shop.clock())
    again = await shop.restore_product(caller=staff(3), product_id=before.id, expected_versions=[1])
    assert again == back == await shop.read_product(caller=customer(), product_id=before.id)
    assert await found(store, ProductQuery()) == set(NAMES)
    restored = [fields for event, fields in shop.audit.events if event == "product.restored"]
    assert restored == [{"user": 2, "product": before.id}]
    with pytest.raises(ProductNotFound):
        await shop.restore_product(caller=OPERATOR, product_id=404)


async def test_how_many_an_order_may_have_is_stored_changed_and_taken_away(shop: UseCases) -> None:
    stored = await shop.create_product(
        caller=OPERATOR, sku="X", name="X", price=money(), max_per_order=5
    )
    for most, expected in ((None, 5), (7, 7), (NO_MAX, None)):
        changed = await shop.change_product(
            caller=OPERATOR, product_id=stored.id, max_per_order=most
        )
        assert changed.max_per_order == expected
        assert await shop.read_product(caller=OPERATOR, product_id=stored.id) == changed


async def test_a_change_of_what_somebody_else_changed_is_refused(
    shop: UseCases, catalogue: list[Product]
) -> None:
    before = catalogue[0]
    for expected in ([], [2], [0, 7]):
        with pytest.raises(ProductChanged):
            await shop.change_product(
                caller=OPERATOR, product_id=before.id, name="x", expected_versions=expected
            )
        with pytest.raises(ProductChanged):
            await shop.archive_product(
                caller=OPERATOR, product_id=before.id, expected_versions=expected
            )
    assert await shop.read_product(caller=OPERATOR, product_id=before.id) == before


async def test_a_sku_that_is_taken_stays_with_its_product(
    shop: UseCases, catalogue: list[Product]
) -> None:
    mine, theirs, archived = catalogue[:3]
    await shop.archive_product(caller=OPERATOR, product_id=archived.id)
    for taken in (theirs.sku, archived.sku):
        with pytest.raises(SkuTaken, match=taken):
            await shop.change_product(caller=OPERATOR, product_id=mine.id, sku=taken, name="x")
    assert await shop.read_product(caller=OPERATOR, product_id=mine.id) == mine
    same = await shop.change_product(caller=OPERATOR, product_id=mine.id, sku=mine.sku)
    assert same.sku == mine.sku


async def test_what_is_archived_is_not_changed_and_archived_once(
    shop: UseCases, catalogue: list[Product]
) -> None:
    gone = catalogue[0]
    await shop.archive_product(caller=staff(1), product_id=gone.id, expected_versions=[1])
    await shop.archive_product(caller=staff(2), product_id=gone.id, expected_versions=[1])
    assert (await shop.find_product(caller=OPERATOR, sku=gone.sku)).version == 2
    archived = [fields for event, fields in shop.audit.events if event == "product.archived"]
    assert archived == [{"user": 1, "product": gone.id}]
    with pytest.raises(ProductNotFound):
        await shop.change_product(caller=OPERATOR, product_id=gone.id, name="x")


async def test_a_product_that_is_not_there_is_neither_changed_archived_nor_found(
    shop: UseCases,
) -> None:
    with pytest.raises(ProductNotFound):
        await shop.change_product(caller=OPERATOR, product_id=404, name="x")
    with pytest.raises(ProductNotFound):
        await shop.archive_product(caller=OPERATOR, product_id=404)
    with pytest.raises(ProductNotFound, match="TEA"):
        await shop.find_product(caller=OPERATOR, sku="TEA")


async def test_a_change_of_the_entry_leaves_the_stock_to_those_who_buy(
    shop: UseCases, store: Store
) -> None:
    teapot = await shop.given_product(10)
    async with store.unit_of_work() as uow:
        locked = await uow.products.lock(teapot.id)
        await uow.products.save(
            replace(locked, name="Kettle", stock=999, version=locked.version + 1)
        )
        await uow.commit()
    assert await shop.stock_of(teapot) == 10
    assert await shop.differences() == []

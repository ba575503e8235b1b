"""Keeping the catalogue: what staff does with products and their stock."""

from datetime import timedelta

import pytest

from shop.domain.errors import (
    InvalidField,
    MixedCurrencies,
    OutOfStock,
    ProductNotFound,
    SkuTaken,
    StaffOnly,
    StockChanged,
)
from shop.domain.pages import Count, Window
from shop.domain.products import STOCK_MAX, ProductQuery
from shop.domain.stock import NOTE_LENGTH_MAX, Reason
from shop.domain.users import OPERATOR
from tests.builders import NOON, customer, money, product, staff
from tests.stores import Store
from tests.use_cases import UseCases


async def test_a_new_product_is_stored_with_what_it_was_given(shop: UseCases) -> None:
    stored = await shop.create_product(
        caller=staff(99), sku="TEA-1", name=" Teapot ", price=money(1200), description="x", stock=7
    )
    assert (stored.sku, stored.name, stored.description) == ("TEA-1", "Teapot", "x")
    assert (stored.price, stored.stock, stored.version) == (money(1200), 7, 1)
    assert (stored.created_at, stored.modified_at) == (NOON, NOON)
    assert await shop.read_product(caller=OPERATOR, product_id=stored.id) == stored


async def test_the_first_stock_enters_through_the_ledger(shop: UseCases, store: Store) -> None:
    stored = await shop.create_product(caller=staff(99), sku="A", name="A", price=money(), stock=7)
    [movement] = await store.movements()
    assert (movement.product_id, movement.quantity, movement.balance) == (stored.id, 7, 7)
    assert (movement.reason, movement.actor_id) == (Reason.INITIAL, 99)


async def test_a_product_without_stock_has_no_movement(shop: UseCases, store: Store) -> None:
    await shop.given_product(0)
    assert await store.movements() == []


async def test_a_sku_belongs_to_one_product(shop: UseCases, store: Store) -> None:
    await shop.given_product(1, sku="TEA-1")
    with pytest.raises(SkuTaken, match="TEA-1"):
        await shop.given_product(1, sku="TEA-1")
    assert len(await store.movements()) == 1


async def test_a_bad_product_is_refused_before_anything_is_stored(shop: UseCases) -> None:
    with pytest.raises(InvalidField):
        await shop.create_product(caller=OPERATOR, sku="A,B", name="A", price=money())
    page = await shop.list_products(caller=OPERATOR, query=ProductQuery(), window=Window(limit=10))
    assert page.count == Count(0)


async def test_adding_many_products_leaves_those_that_are_there(shop: UseCases) -> None:
    there = await shop.given_product(3, sku="sku-2", name="old")
    added = await shop.add_products(
        caller=OPERATOR,
        products=[product(0, sku=f"SKU-{n}", name="new", stock=n) for n in range(1, 4)],
    )
    assert [(p.sku, p.stock) for p in added] == [("SKU-1", 1), ("SKU-3", 3)]
    assert (await shop.read_product(caller=OPERATOR, product_id=there.id)).name == "old"
    assert await shop.differences() == []


async def test_adding_nothing_new_adds_nothing(shop: UseCases) -> None:
    batch = [product(0, sku="A"), product(0, sku="B")]
    assert len(await shop.add_products(caller=OPERATOR, products=batch)) == 2
    assert await shop.add_products(caller=OPERATOR, products=batch) == []
    assert await shop.add_products(caller=OPERATOR, products=[]) == []


async def test_a_product_that_is_not_there_is_not_found(shop: UseCases) -> None:
    with pytest.raises(ProductNotFound):
        await shop.read_product(caller=OPERATOR, product_id=404)


async def test_an_archived_product_is_neither_read_nor_listed(shop: UseCases) -> None:
    gone = await shop.given_product(1)
    await shop.archive_product(caller=staff(99), product_id=gone.id)
    with pytest.raises(ProductNotFound):
        await shop.read_product(caller=customer(), product_id=gone.id)
    page = await shop.list_products(caller=OPERATOR, query=ProductQuery(), window=Window(limit=10))
    assert (list(page.items), page.count) == ([], Count(0))


async def test_archived_products_are_for_staff(shop: UseCases) -> None:
    gone = await shop.given_product(1)
    await shop.archive_product(caller=staff(99), product_id=gone.id)
    archived, window = ProductQuery(archived=True), Window(limit=10)
    page = await shop.list_products(caller=staff(), query=archived, window=window)
    assert [product.id for product in page.items] == [gone.id]
    assert (await shop.read_product(caller=staff(), product_id=gone.id)).archived
    with pytest.raises(StaffOnly):
        await shop.list_products(caller=customer(), query=archived, window=window)


async def test_a_product_of_another_currency_is_not_brought_back(shop: UseCases) -> None:
    lamp = await shop.create_product(
        caller=OPERATOR, sku="LAMP", name="Lamp", price=money(1200, "JPY")
    )
    await shop.archive_product(caller=OPERATOR, product_id=lamp.id)
    with pytest.raises(MixedCurrencies, match="EUR and JPY"):
        await shop.restore_product(caller=OPERATOR, product_id=lamp.id)
    assert (await shop.read_product(caller=OPERATOR, product_id=lamp.id)).archived


@pytest.mark.parametrize(
    ("reason", "delta", "ledger_reason", "note"),
    [
        ("restock", 5, Reason.RESTOCK, ""),
        ("correction", 5, Reason.CORRECTION, ""),
        ("correction", -1, Reason.CORRECTION, ""),
        ("lorry 7", 5, Reason.RESTOCK, "lorry 7"),
        (" broken ", -2, Reason.CORRECTION, "broken"),
        ("order", 5, Reason.RESTOCK, "order"),
        ("initial", -1, Reason.CORRECTION, "initial"),
    ],
)
async def test_stock_changes_by_a_difference_and_says_why(
    shop: UseCases, store: Store, reason: str, delta: int, ledger_reason: Reason, note: str
) -> None:
    teapot = await shop.given_product(10)
    shop.clock.advance(timedelta(hours=1))
    changed = await shop.change_stock(
        caller=staff(99), product_id=teapot.id, delta=delta, reason=reason
    )
    assert changed.stock == await shop.stock_of(teapot) == 10 + delta
    movement = (await store.movements())[-1]
    assert (movement.reason, movement.note) == (ledger_reason, note)
    assert (movement.quantity, movement.balance) == (delta, 10 + delta)
    assert (movement.actor_id, movement.at, movement.order_id) == (99, shop.clock(), None)


async def test_a_change_of_stock_is_no_change_of_the_catalogue_entry(shop: UseCases) -> None:
    teapot = await shop.given_product(10)
    shop.clock.advance(timedelta(hours=1))
    changed = await shop.change_stock(
        caller=OPERATOR, product_id=teapot.id, delta=1, reason="restock"
    )
    assert (changed.version, changed.modified_at) == (teapot.version, teapot.modified_at)


async def test_more_than_there_is_cannot_be_taken_away(shop: UseCases) -> None:
    teapot = await shop.given_product(2)
    with pytest.raises(OutOfStock) as refused:
        await shop.change_stock(
            caller=OPERATOR, product_id=teapot.id, delta=-3, reason="correction"
        )
    assert refused.value.context["lines"][0]["available"] == 2
    assert await shop.stock_of(teapot) == 2


async def test_a_count_sets_the_stock_if_it_is_what_was_expected(
    shop: UseCases, store: Store
) -> None:
    teapot = await shop.given_product(35)
    changed = await shop.change_stock(
        caller=staff(99), product_id=teapot.id, quantity=40, expected=35, reason="counted"
    )
    assert changed.stock == await shop.stock_of(teapot) == 40
    movement = (await store.movements())[-1]
    assert (movement.reason, movement.note, movement.quantity) == (
        Reason.CORRECTION,
        "counted",
        5,
    )


async def test_a_count_that_finds_what_was_expected_moves_nothing(
    shop: UseCases, store: Store
) -> None:
    teapot = await shop.given_product(35)
    before = await store.movements()
    unchanged = await shop.change_stock(
        caller=staff(99), product_id=teapot.id, quantity=35, expected=35, reason="counted"
    )
    assert unchanged.stock == 35
    assert await store.movements() == before


@pytest.mark.parametrize("quantity", [40, 36, 35])
async def test_a_count_of_a_stock_that_moved_meanwhile_is_refused(
    shop: UseCases, quantity: int
) -> None:
    teapot = await shop.given_product(36)
    with pytest.raises(StockChanged) as refused:
        await shop.change_stock(
            caller=staff(99), product_id=teapot.id, quantity=quantity, expected=35, reason="counted"
        )
    assert (refused.value.context["expected"], refused.value.context["actual"]) == (35, 36)
    assert await shop.stock_of(teapot) == 36


@pytest.mark.parametrize("reason", ["", "  ", "x" * (NOTE_LENGTH_MAX + 1), "a\x00b", "a\nb"])
async def test_a_reason_must_be_a_line_of_text(shop: UseCases, reason: str) -> None:
    teapot = await shop.given_product(5)
    with pytest.raises(InvalidField) as refused:
        await shop.change_stock(caller=OPERATOR, product_id=teapot.id, delta=1, reason=reason)
    assert refused.value.context["errors"][0]["field"] == "reason"
    assert await shop.stock_of(teapot) == 5


async def test_a_difference_of_nothing_is_refused(shop: UseCases) -> None:
    teapot = await shop.given_product(5)
    with pytest.raises(InvalidField) as refused:
        await shop.change_stock(caller=OPERATOR, product_id=teapot.id, delta=0, reason="restock")
    assert refused.value.context["errors"][0]["field"] == "delta"


@pytest.mark.parametrize("delta", [STOCK_MAX, 2**63])
async def test_the_stock_has_a_limit(shop: UseCases, delta: int) -> None:
    teapot = await shop.given_product(5)
    with pytest.raises(InvalidField):
        await shop.change_stock(
            caller=OPERATOR, product_id=teapot.id, delta=delta, reason="restock"
        )
    assert await shop.stock_of(teapot) == 5


@pytest.mark.parametrize("quantity", [-1, STOCK_MAX + 1])
async def test_a_count_out_of_range_is_refused(shop: UseCases, quantity: int) -> None:
    teapot = await shop.given_product(5)
    with pytest.raises(InvalidField) as refused:
        await shop.change_stock(
            caller=OPERATOR, product_id=teapot.id, quantity=quantity, expected=5, reason="counted"
        )
    assert refused.value.context["errors"][0]["field"] == "quantity"


async def test_there_is_no_stock_of_no_product(shop: UseCases) -> None:
    with pytest.raises(ProductNotFound):
        await shop.change_stock(caller=OPERATOR, product_id=404, delta=1, reason="restock")
    with pytest.raises(ProductNotFound):
        await shop.change_stock(
            caller=OPERATOR, product_id=404, quantity=0, expected=0, reason="counted"
        )

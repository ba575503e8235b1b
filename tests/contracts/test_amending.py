"""Amending an order: the difference moves, all or nothing, and kept pieces keep their price."""

from decimal import Decimal

import pytest

from shop.domain.errors import (
    InvalidField,
    InvalidFields,
    NotAmendable,
    OrderChanged,
    OrderNotFound,
    OutOfStock,
    OverMaxPerOrder,
    PriceChanged,
)
from shop.domain.orders import Order, OrderStatus
from shop.domain.products import STOCK_MAX, Product
from shop.domain.stock import Reason
from shop.domain.users import OPERATOR, Caller
from tests.builders import items, money
from tests.stores import Store
from tests.use_cases import UseCases


@pytest.fixture
async def owner(shop: UseCases) -> Caller:
    return await shop.given_customer()


@pytest.fixture
async def products(shop: UseCases) -> list[Product]:
    """Teapot, cup and saucer, ten each."""
    return [
        await shop.given_product(10, name=name, price=1000) for name in ("Teapot", "Cup", "Saucer")
    ]


@pytest.fixture
async def order(shop: UseCases, owner: Caller, products: list[Product]) -> Order:
    """Four teapots and two cups."""
    teapot, cup, _ = products
    wanted = items((teapot.id, 4), (cup.id, 2))
    return (await shop.container.place_order()(caller=owner, items=wanted)).order


async def stocks(shop: UseCases, products: list[Product]) -> list[int]:
    found = [await shop.find_product(caller=OPERATOR, sku=product.sku) for product in products]
    return [product.stock for product in found]


async def assert_untouched(
    shop: UseCases, store: Store, order: Order, products: list[Product]
) -> None:
    assert await shop.read_order(caller=await shop.given_staff(), order_id=order.id) == order
    assert await stocks(shop, products) == [6, 8, 10]
    assert await shop.history_of(order.id) == []
    assert [m.reason for m in await store.movements(order_id=order.id)] == [Reason.ORDER] * 2
    assert await shop.differences() == []


@pytest.mark.parametrize("by_staff", [True, False])
async def test_the_difference_moves_and_nothing_else(
    shop: UseCases,
    store: Store,
    owner: Caller,
    products: list[Product],
    order: Order,
    by_staff: bool,
) -> None:
    teapot, cup, saucer = products
    caller = await shop.given_staff() if by_staff else owner
    amended = await shop.amend_order(
        caller=caller,
        order_id=order.id,
        items=items((saucer.id, 3), (teapot.id, 1), (cup.id, 2)),
    )
    assert await shop.read_order(caller=owner, order_id=order.id) == amended
    assert (amended.version, amended.status, amended.code) == (2, order.status, order.code)
    assert [(line.product_id, line.quantity) for line in amended.lines] == [
        (saucer.id, 3),
        (teapot.id, 1),
        (cup.id, 2),
    ]
    assert await stocks(shop, products) == [9, 8, 7]
    moved = [m for m in await store.movements(order_id=order.id) if m.reason is Reason.AMEND]
    assert sorted((m.product_id, m.quantity) for m in moved) == [(teapot.id, 3), (saucer.id, -3)]
    assert {m.actor_id for m in moved} == {caller.user_id}
    [event] = await shop.history_of(order.id)
    assert (event.from_status, event.to_status, event.note) == ("placed", "placed", "amended")
    assert event.actor_id == caller.user_id
    assert await shop.differences() == []
    # What it holds now is what it gives back.
    await shop.cancel_order(caller=owner, order_id=order.id)
    assert await stocks(shop, products) == [10, 10, 10]
    assert await shop.differences() == []


async def test_a_product_taken_off_the_order_goes_back_on_the_shelf(
    shop: UseCases, owner: Caller, products: list[Product], order: Order
) -> None:
    teapot, _, saucer = products
    await shop.amend_order(caller=owner, order_id=order.id, items=items((saucer.id, 10)))
    assert await stocks(shop, products) == [10, 10, 0]
    amended = await shop.amend_order(caller=owner, order_id=order.id, items=items((teapot.id, 10)))
    assert (amended.version, amended.out) == (3, {teapot.id: 10})
    assert await stocks(shop, products) == [0, 10, 10]
    assert await shop.differences() == []


async def test_kept_pieces_keep_name_and_price_and_added_ones_have_todays(
    shop: UseCases, owner: Caller, products: list[Product], order: Order
) -> None:
    teapot, cup, saucer = products
    for product in products:
        await shop.change_product(
            caller=OPERATOR, product_id=product.id, name="New", price=money(3000)
        )
    amended = await shop.amend_order(
        caller=owner, order_id=order.id, items=items((teapot.id, 5), (saucer.id, 1))
    )
    assert [(line.name, line.price) for line in amended.lines] == [
        ("Teapot", money(1000)),
        ("New", money(3000)),
        ("New", money(3000)),
    ]
    assert [line.quantity for line in amended.lines] == [4, 1, 1]
    assert amended.total == money(10000)
    assert await shop.read_order(caller=owner, order_id=order.id) == amended
    # A line that was given up has lost its price.
    again = await shop.amend_order(caller=owner, order_id=order.id, items=items((cup.id, 1)))
    assert again.lines[0].price == money(3000)


async def at_three_prices(shop: UseCases, owner: Caller, teapot: Product, order: Order) -> Order:
    """Four teapots at 10.00, two at 12.00, and one at 11.00."""
    for price, quantity in ((1200, 6), (1100, 7)):
        await shop.change_product(caller=OPERATOR, product_id=teapot.id, price=money(price))
        order = await shop.amend_order(
            caller=owner, order_id=order.id, items=items((teapot.id, quantity))
        )
    assert [(line.price.amount, line.quantity) for line in order.lines] == [
        (1000, 4),
        (1200, 2),
        (1100, 1),
    ]
    return order


async def test_what_is_taken_away_was_added_last(
    shop: UseCases, owner: Caller, products: list[Product], order: Order
) -> None:
    teapot = products[0]
    order = await at_three_prices(shop, owner, teapot, order)
    assert order.out == {teapot.id: 7}
    for quantity, left in ((5, [(1000, 4), (1200, 1)]), (3, [(1000, 3)])):
        order = await shop.amend_order(
            caller=owner, order_id=order.id, items=items((teapot.id, quantity))
        )
        assert [(line.price.amount, line.quantity) for line in order.lines] == left
    assert await stocks(shop, products) == [7, 10, 10]
    assert await shop.differences() == []


async def test_all_lines_of_a_product_are_given_back(
    shop: UseCases, owner: Caller, products: list[Product], order: Order
) -> None:
    order = await at_three_prices(shop, owner, products[0], order)
    assert await shop.differences() == []
    cancelled = await shop.cancel_order(caller=owner, order_id=order.id)
    assert (cancelled.out, cancelled.kept_total) == ({}, money(0))
    assert await stocks(shop, products) == [10, 10, 10]
    assert await shop.differences() == []


async def test_verifying_adds_up_the_lines_of_a_product(
    shop: UseCases, store: Store, owner: Caller, products: list[Product], order: Order
) -> None:
    order = await at_three_prices(shop, owner, products[0], order)
    await store.set_line_behind_the_ledger(order.id, position=1, quantity=5)
    [difference] = await shop.order_audits()
    assert (difference.product_id, difference.taken, difference.moved) == (products[0].id, 10, 7)
    await shop.repair_stock(caller=OPERATOR, difference=difference)
    assert await shop.differences() == []


async def test_what_comes_back_was_added_last(
    shop: UseCases, owner: Caller, products: list[Product], order: Order
) -> None:
    teapot = products[0]
    order = await at_three_prices(shop, owner, teapot, order)
    boss = await shop.given_staff()
    await shop.pay_order(caller=boss, order_id=order.id)
    await shop.advance_order(caller=boss, order_id=order.id, to=OrderStatus.SHIPPED)
    some = await shop.return_order(caller=boss, order_id=order.id, items=items((teapot.id, 2)))
    assert [line.returned for line in some.lines] == [0, 1, 1]
    assert (some.total, some.kept_total) == (money(7500), money(5200))
    assert await shop.read_order(caller=owner, order_id=order.id) == some
    assert await shop.differences() == []
    whole = await shop.return_order(caller=boss, order_id=order.id)
    assert (whole.status, whole.kept_total) == (OrderStatus.RETURNED, money(0))
    assert await stocks(shop, products) == [10, 10, 10]
    assert [event.returned for event in await shop.history_of(order.id)][-3:] == [
        (),
        items((teapot.id, 2)),
        items((teapot.id, 5)),
    ]
    assert await shop.differences() == []


async def test_an_amended_order_comes_to_what_is_expected_or_stays(
    shop: UseCases, store: Store, owner: Caller, products: list[Product], order: Order
) -> None:
    teapot, cup, _ = products
    await shop.change_product(caller=OPERATOR, product_id=teapot.id, price=money(3000))
    wanted = items((teapot.id, 5), (cup.id, 2))
    for unexpected in (Decimal("70.00"), Decimal(0)):
        with pytest.raises(PriceChanged) as refused:
            await shop.amend_order(
                caller=owner, order_id=order.id, items=wanted, expected_total=unexpected
            )
        assert refused.value.context["total"] == "90.00"
        assert [line["price"] for line in refused.value.context["items"]] == [
            "10.00",
            "30.00",
            "10.00",
        ]
    with pytest.raises(PriceChanged):
        # What it would be left as is not what is expected either.
        await shop.amend_order(
            caller=owner,
            order_id=order.id,
            items=items((teapot.id, 4), (cup.id, 2)),
            expected_total=Decimal(61),
        )
    await assert_untouched(shop, store, order, products)
    for _ in range(2):
        amended = await shop.amend_order(
            caller=owner, order_id=order.id, items=wanted, expected_total=Decimal(90)
        )
        assert (amended.version, amended.total) == (2, money(9000))


async def test_repeated_lines_add_up(
    shop: UseCases, owner: Caller, products: list[Product], order: Order
) -> None:
    wanted = items((products[0].id, 2), (products[1].id, 1), (products[0].id, 3))
    amended = await shop.amend_order(caller=owner, order_id=order.id, items=wanted)
    assert amended.out == {products[0].id: 5, products[1].id: 1}


async def test_the_order_holds_its_own_pieces_for_itself(
    shop: UseCases, owner: Caller, products: list[Product], order: Order
) -> None:
    teapot = products[0]
    amended = await shop.amend_order(caller=owner, order_id=order.id, items=items((teapot.id, 10)))
    assert amended.out == {teapot.id: 10}
    assert await stocks(shop, products) == [0, 10, 10]
    # None are left, and yet it may be told again, and with less.
    await shop.amend_order(caller=owner, order_id=order.id, items=items((teapot.id, 9)))
    assert await stocks(shop, products) == [1, 10, 10]


async def test_every_line_that_cannot_be_served_is_named_and_nothing_moves(
    shop: UseCases, store: Store, owner: Caller, products: list[Product], order: Order
) -> None:
    teapot, cup, saucer = products
    wanted = items((saucer.id, 11), (teapot.id, 11), (cup.id, 1))
    with pytest.raises(OutOfStock) as refused:
        await shop.amend_order(caller=owner, order_id=order.id, items=wanted)
    assert refused.value.context["lines"] == [
        {"product_id": saucer.id, "requested": 11, "available": 10},
        {"product_id": teapot.id, "requested": 11, "available": 10},
    ]
    await assert_untouched(shop, store, order, products)


async def test_an_unknown_product_is_named_by_its_lines_and_nothing_moves(
    shop: UseCases, store: Store, owner: Caller, products: list[Product], order: Order
) -> None:
    wanted = items((404, 1), (products[0].id, 99), (404, 1))
    with pytest.raises(InvalidFields) as refused:
        await shop.amend_order(caller=owner, order_id=order.id, items=wanted)
    assert [e["field"] for e in refused.value.context["errors"]] == [
        "items.0.product_id",
        "items.2.product_id",
    ]
    await assert_untouched(shop, store, order, products)


async def test_lines_no_order_can_have_are_refused(
    shop: UseCases, store: Store, owner: Caller, products: list[Product], order: Order
) -> None:
    for wanted in (items(), items((products[0].id, 0)), items(*[(products[0].id, 1)] * 101)):
        with pytest.raises(InvalidField):
            await shop.amend_order(caller=owner, order_id=order.id, items=wanted)
    await assert_untouched(shop, store, order, products)


async def test_what_was_archived_may_stay_or_shrink_but_not_grow(
    shop: UseCases, owner: Caller, products: list[Product], order: Order
) -> None:
    teapot, cup, saucer = products
    for product in (teapot, saucer):
        await shop.archive_product(caller=OPERATOR, product_id=product.id)
    kept = await shop.amend_order(
        caller=owner, order_id=order.id, items=items((teapot.id, 4), (cup.id, 3))
    )
    assert kept.out == {teapot.id: 4, cup.id: 3}
    for more in (items((cup.id, 1), (teapot.id, 5)), items((cup.id, 1), (saucer.id, 1))):
        with pytest.raises(InvalidFields) as refused:
            await shop.amend_order(caller=owner, order_id=order.id, items=more)
        assert refused.value.context["errors"][0]["field"] == "items.1.product_id"
    less = await shop.amend_order(caller=owner, order_id=order.id, items=items((teapot.id, 3)))
    assert less.out == {teapot.id: 3}
    assert await stocks(shop, products) == [7, 10, 10]
    # What was given up of it does not come back.
    with pytest.raises(InvalidFields):
        await shop.amend_order(caller=owner, order_id=order.id, items=items((teapot.id, 4)))
    assert await shop.differences() == []


async def test_an_order_may_keep_more_than_it_may_have_by_now_and_not_grow(
    shop: UseCases, store: Store, owner: Caller, products: list[Product], order: Order
) -> None:
    teapot, cup, saucer = products
    for product in products:
        await shop.change_product(caller=OPERATOR, product_id=product.id, max_per_order=3)
    for more in (items((teapot.id, 5)), items((teapot.id, 4), (saucer.id, 4))):
        with pytest.raises(OverMaxPerOrder) as refused:
            await shop.amend_order(caller=owner, order_id=order.id, items=more)
        [line] = refused.value.context["lines"]
        assert line["max_per_order"] == 3
    await assert_untouched(shop, store, order, products)
    kept = await shop.amend_order(
        caller=owner, order_id=order.id, items=items((teapot.id, 4), (cup.id, 3))
    )
    assert kept.out == {teapot.id: 4, cup.id: 3}


async def test_what_is_given_up_comes_home_to_a_full_shelf(
    shop: UseCases, owner: Caller, products: list[Product], order: Order
) -> None:
    teapot, cup, _ = products
    for product, left in ((teapot, 6), (cup, 8)):
        await shop.change_stock(
            caller=OPERATOR, product_id=product.id, delta=STOCK_MAX - left, reason="restock"
        )
    await shop.amend_order(caller=owner, order_id=order.id, items=items((cup.id, 2)))
    await shop.cancel_order(caller=owner, order_id=order.id)
    assert await stocks(shop, products) == [STOCK_MAX + 4, STOCK_MAX + 2, 10]
    assert await shop.differences() == []


async def test_the_same_lines_again_are_no_change(
    shop: UseCases, store: Store, owner: Caller, products: list[Product], order: Order
) -> None:
    teapot, cup, _ = products
    for same in (items((cup.id, 2), (teapot.id, 4)), items((teapot.id, 4), *[(cup.id, 1)] * 2)):
        assert await shop.amend_order(caller=owner, order_id=order.id, items=same) == order
    await assert_untouched(shop, store, order, products)


async def test_an_amendment_holds_for_the_versions_expected(
    shop: UseCases, store: Store, owner: Caller, products: list[Product], order: Order
) -> None:
    wanted = items((products[0].id, 1))
    for expected in ([], [2], [0, 2]):
        with pytest.raises(OrderChanged):
            await shop.amend_order(
                caller=owner, order_id=order.id, items=wanted, expected_versions=expected
            )
    await assert_untouched(shop, store, order, products)
    amended = await shop.amend_order(
        caller=owner, order_id=order.id, items=wanted, expected_versions=[7, 1]
    )
    assert amended.version == 2


async def test_only_a_placed_order_is_amended(
    shop: UseCases, owner: Caller, products: list[Product], order: Order
) -> None:
    boss = await shop.given_staff()
    await shop.pay_order(caller=boss, order_id=order.id)
    for caller in (owner, boss):
        with pytest.raises(NotAmendable) as refused:
            await shop.amend_order(
                caller=caller, order_id=order.id, items=items((products[0].id, 1))
            )
        assert refused.value.context["order_status"] == "paid"
    assert await stocks(shop, products) == [6, 8, 10]


async def test_nobody_amends_anothers_order_or_learns_of_it(
    shop: UseCases, store: Store, products: list[Product], order: Order
) -> None:
    stranger = await shop.given_customer()
    for wanted in (items((products[0].id, 1)), items((products[0].id, 4), (products[1].id, 2))):
        with pytest.raises(OrderNotFound):
            await shop.amend_order(
                caller=stranger, order_id=order.id, items=wanted, expected_versions=[9]
            )
    await assert_untouched(shop, store, order, products)


async def test_the_request_that_placed_it_still_finds_an_amended_order(
    shop: UseCases, owner: Caller, products: list[Product], order: Order
) -> None:
    teapot, cup, saucer = products
    amended = await shop.amend_order(caller=owner, order_id=order.id, items=items((saucer.id, 1)))
    again = await shop.place_order(
        caller=owner, items=items((teapot.id, 4), (cup.id, 2)), order_id=order.id
    )
    assert (again.created, again.order) == (False, amended)
    assert await stocks(shop, products) == [10, 10, 9]

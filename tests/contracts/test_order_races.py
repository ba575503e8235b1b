"""One order, many hands at once: one consistent outcome, and nothing given back twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TypeVar

import pytest

from shop.domain.errors import (
    NotAmendable,
    NotOut,
    OrderChanged,
    PaymentReferenceTaken,
    ProductChanged,
    ShopError,
    SkuTaken,
    TransitionNotAllowed,
)
from shop.domain.orders import Order, OrderStatus
from shop.domain.products import Product
from shop.domain.stock import Reason
from shop.domain.users import OPERATOR, Caller
from tests.builders import items, money
from tests.stores import Store
from tests.use_cases import UseCases

T = TypeVar("T")
S = OrderStatus


@pytest.fixture
async def other(store: Store) -> AsyncIterator[UseCases]:
    """Another process over the same store."""
    other = UseCases(store.unit_of_work, process=2)
    yield other
    await other.intake.close()


@pytest.fixture
async def boss(shop: UseCases) -> Caller:
    return await shop.given_staff()


@pytest.fixture
async def teapot(shop: UseCases) -> Product:
    return await shop.given_product(100)


async def order_for(shop: UseCases, teapot: Product) -> Order:
    """For ten teapots."""
    buyer = await shop.given_customer()
    return (await shop.container.place_order()(caller=buyer, items=items((teapot.id, 10)))).order


async def race(*hands: Awaitable[T]) -> list[T | ShopError]:
    """What each was answered; anything but an answer or a refusal is a failure."""

    async def answer(hand: Awaitable[T]) -> T | ShopError:
        try:
            return await hand
        except ShopError as error:
            return error

    return list(await asyncio.gather(*(answer(hand) for hand in hands)))


def errors_of(answers: Sequence[object]) -> list[type]:
    return [type(answer) for answer in answers if isinstance(answer, ShopError)]


async def assert_consistent(shop: UseCases, order: Order, teapot: Product) -> Order:
    """Stock, ledger, status, version and history of the order tell the same story."""
    stored = await shop.container.read_order()(caller=OPERATOR, order_id=order.id)
    out = 0 if stored.status is S.CANCELLED else sum(stored.out.values())
    assert await shop.stock_of(teapot) == 100 - out
    assert await shop.differences() == []
    events = await shop.history_of(order.id)
    assert len(events) == stored.version - 1
    statuses = [S.PLACED, *(event.to_status for event in events)]
    assert [event.from_status for event in events] == statuses[:-1]
    assert stored.status is statuses[-1]
    return stored


@pytest.mark.parametrize("turn", range(3))
async def test_amending_cancelling_and_shipping_at_once_agree_on_an_outcome(
    shop: UseCases, other: UseCases, boss: Caller, teapot: Product, turn: int
) -> None:
    """The order is paid for in between, so any of them may come first."""
    order = await order_for(shop, teapot)
    hands: list[Awaitable[Order]] = [
        shop.amend_order(caller=boss, order_id=order.id, items=items((teapot.id, 7))),
        other.pay_order(caller=boss, order_id=order.id),
        shop.cancel_order(caller=boss, order_id=order.id),
        other.advance_order(caller=boss, order_id=order.id, to=S.SHIPPED),
        shop.amend_order(caller=boss, order_id=order.id, items=items((teapot.id, 12))),
        other.cancel_order(caller=boss, order_id=order.id),
    ]
    answers = await race(*hands[turn:], *hands[:turn])
    assert set(errors_of(answers)) <= {TransitionNotAllowed, NotAmendable}
    stored = await assert_consistent(shop, order, teapot)
    changes = {a.version for a in answers if isinstance(a, Order)} - {1}
    assert stored.version in changes


async def test_cancelling_and_shipping_what_is_paid_have_one_winner(
    shop: UseCases, other: UseCases, boss: Caller, teapot: Product
) -> None:
    for _ in range(5):
        order = await order_for(shop, teapot)
        await shop.pay_order(caller=boss, order_id=order.id)
        answers = await race(
            *(
                hand
                for process in (shop, other)
                for hand in (
                    process.cancel_order(caller=boss, order_id=order.id),
                    process.advance_order(caller=boss, order_id=order.id, to=S.SHIPPED),
                )
            )
        )
        # The winner's move, made twice, is answered twice; the others see it and are refused.
        assert errors_of(answers) == [TransitionNotAllowed] * 2
        [winner] = {a for a in answers if isinstance(a, Order)}
        stored = await assert_consistent(shop, order, teapot)
        assert stored == winner
        if stored.status is S.SHIPPED:
            await shop.return_order(caller=boss, order_id=order.id)


async def test_amending_and_cancelling_give_back_what_is_out_and_no_more(
    shop: UseCases, other: UseCases, boss: Caller, teapot: Product
) -> None:
    for quantity in (1, 99):
        order = await order_for(shop, teapot)
        answers = await race(
            *(
                hand
                for process in (shop, other)
                for hand in (
                    process.amend_order(
                        caller=boss, order_id=order.id, items=items((teapot.id, quantity))
                    ),
                    process.cancel_order(caller=boss, order_id=order.id),
                )
            )
        )
        assert set(errors_of(answers)) <= {NotAmendable}
        assert (await assert_consistent(shop, order, teapot)).status is S.CANCELLED


async def test_many_returns_at_once_give_back_once(
    shop: UseCases, other: UseCases, store: Store, boss: Caller, teapot: Product
) -> None:
    order = await order_for(shop, teapot)
    await shop.pay_order(caller=boss, order_id=order.id)
    await shop.advance_order(caller=boss, order_id=order.id, to=S.SHIPPED)
    answers = await race(
        *(
            process.return_order(caller=boss, order_id=order.id)
            for _ in range(5)
            for process in (shop, other)
        )
    )
    assert errors_of(answers) == []
    assert len({a for a in answers if isinstance(a, Order)}) == 1
    back = [m for m in await store.movements(order_id=order.id) if m.reason is Reason.RETURN]
    assert [m.quantity for m in back] == [10]
    assert (await assert_consistent(shop, order, teapot)).status is S.RETURNED


async def test_many_partial_returns_at_once_give_back_no_more_than_is_out(
    shop: UseCases, other: UseCases, boss: Caller, teapot: Product
) -> None:
    order = await order_for(shop, teapot)
    await shop.pay_order(caller=boss, order_id=order.id)
    await shop.advance_order(caller=boss, order_id=order.id, to=S.SHIPPED)
    answers = await race(
        *(
            process.return_order(caller=boss, order_id=order.id, items=items((teapot.id, 3)))
            for _ in range(3)
            for process in (shop, other)
        )
    )
    assert errors_of(answers) == [NotOut] * 3
    stored = await assert_consistent(shop, order, teapot)
    assert (stored.out, stored.status) == ({teapot.id: 1}, S.SHIPPED)


async def test_of_two_editors_who_saw_the_same_order_one_wins(
    shop: UseCases, other: UseCases, boss: Caller, teapot: Product
) -> None:
    order = await order_for(shop, teapot)
    answers = await race(
        *(
            process.amend_order(
                caller=boss,
                order_id=order.id,
                items=items((teapot.id, quantity)),
                expected_versions=[1],
            )
            for quantity, process in ((1, shop), (2, other), (3, shop), (4, other))
        )
    )
    assert errors_of(answers) == [OrderChanged] * 3
    [winner] = [a for a in answers if isinstance(a, Order)]
    assert await assert_consistent(shop, order, teapot) == winner
    assert winner.version == 2


async def test_of_two_editors_who_saw_the_same_product_one_wins(
    shop: UseCases, other: UseCases, teapot: Product
) -> None:
    answers = await race(
        *(
            process.change_product(
                caller=OPERATOR, product_id=teapot.id, price=money(price), expected_versions=[1]
            )
            for price, process in ((1, shop), (2, other), (3, shop), (4, other))
        )
    )
    assert errors_of(answers) == [ProductChanged] * 3
    [winner] = [a for a in answers if isinstance(a, Product)]
    assert await shop.read_product(caller=OPERATOR, product_id=teapot.id) == winner


async def test_changes_at_once_to_different_fields_all_stay(
    shop: UseCases, other: UseCases, teapot: Product
) -> None:
    await race(
        shop.change_product(caller=OPERATOR, product_id=teapot.id, name="Kettle"),
        other.change_product(caller=OPERATOR, product_id=teapot.id, price=money(7)),
        shop.change_product(caller=OPERATOR, product_id=teapot.id, description="Boils."),
        other.change_stock(caller=OPERATOR, product_id=teapot.id, delta=5, reason="restock"),
    )
    changed = await shop.read_product(caller=OPERATOR, product_id=teapot.id)
    assert (changed.name, changed.price, changed.description) == ("Kettle", money(7), "Boils.")
    assert (changed.version, changed.stock) == (4, 105)


async def test_a_sku_two_products_want_at_once_goes_to_one(shop: UseCases, other: UseCases) -> None:
    products = [await shop.given_product(1) for _ in range(4)]
    answers = await race(
        *(
            process.change_product(caller=OPERATOR, product_id=product.id, sku="TEA")
            for product, process in zip(products, (shop, other) * 2, strict=True)
        )
    )
    assert errors_of(answers) == [SkuTaken] * 3


async def test_a_payment_told_of_for_many_orders_at_once_pays_one(
    shop: UseCases, other: UseCases, boss: Caller, teapot: Product
) -> None:
    orders = [await order_for(shop, teapot) for _ in range(4)]
    answers = await race(
        *(
            process.pay_order(caller=boss, order_id=order.id, reference="pay-1")
            for order, process in zip(orders, (shop, other) * 2, strict=True)
        )
    )
    assert errors_of(answers) == [PaymentReferenceTaken] * 3
    stored = [await shop.read_order(caller=boss, order_id=order.id) for order in orders]
    assert sorted(order.status for order in stored) == ["paid", "placed", "placed", "placed"]


async def test_one_payment_told_of_many_times_at_once_pays_once(
    shop: UseCases, other: UseCases, boss: Caller, teapot: Product
) -> None:
    order = await order_for(shop, teapot)
    answers = await race(
        *(
            process.pay_order(caller=boss, order_id=order.id, reference="pay-1")
            for _ in range(3)
            for process in (shop, other)
        )
    )
    assert errors_of(answers) == []
    assert len({a for a in answers if isinstance(a, Order)}) == 1
    assert len(await shop.history_of(order.id)) == 1


async def test_buying_while_orders_are_amended_never_oversells(
    shop: UseCases, other: UseCases, boss: Caller, teapot: Product
) -> None:
    orders = [await order_for(shop, teapot) for _ in range(5)]
    await race(
        *(
            hand
            for n, order in enumerate(orders)
            for hand in (
                shop.amend_order(
                    caller=boss, order_id=order.id, items=items((teapot.id, 5 + 8 * n))
                ),
                other.place_order(caller=boss, items=items((teapot.id, 9))),
                other.cancel_order(caller=boss, order_id=order.id),
            )
        )
    )
    assert 0 <= await shop.stock_of(teapot) <= 100
    assert await shop.differences() == []

"""Placing orders: all or nothing, once per id or key, at the prices of the moment."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from shop.domain.errors import (
    IdempotencyKeyReused,
    InvalidField,
    InvalidFields,
    OrderIdTaken,
    OutOfStock,
    PriceChanged,
    ShopError,
)
from shop.domain.orders import OrderStatus, keyed_order_id
from shop.domain.services.decide_orders import COMMITTED_WITHIN
from shop.domain.stock import Reason
from shop.domain.users import OPERATOR
from tests.builders import NOON, customer, items, money, order_id, request
from tests.stores import Store
from tests.use_cases import UseCases, placed


async def test_an_order_takes_its_pieces_from_the_stock(shop: UseCases, store: Store) -> None:
    teapot, cup = await shop.given_product(5), await shop.given_product(9)
    shop.clock.advance(timedelta(hours=1))
    answer = await shop.place_order(
        caller=customer(7), items=items((teapot.id, 2), (cup.id, 3)), order_id=order_id(1)
    )
    assert answer.created
    order = answer.order
    assert (order.id, order.user_id, order.status) == (order_id(1), 7, OrderStatus.PLACED)
    assert [(line.product_id, line.quantity) for line in order.lines] == [
        (teapot.id, 2),
        (cup.id, 3),
    ]
    assert (order.version, order.created_at, order.modified_at) == (1, shop.clock(), shop.clock())
    assert (await shop.stock_of(teapot), await shop.stock_of(cup)) == (3, 6)
    ledger = await store.movements(order_id=order.id)
    assert [(m.product_id, m.quantity, m.balance, m.reason, m.actor_id) for m in ledger] == [
        (teapot.id, -2, 3, Reason.ORDER, 7),
        (cup.id, -3, 6, Reason.ORDER, 7),
    ]


async def test_an_order_is_stored_as_it_was_answered(shop: UseCases) -> None:
    teapot = await shop.given_product(5, name="Teapot", price=1205)
    answer = await shop.place_order(caller=customer(), items=items((teapot.id, 2)))
    stored = await shop.read_order(caller=customer(), order_id=answer.order.id)
    assert stored == answer.order
    [line] = stored.lines
    assert (line.name, line.price, line.total) == ("Teapot", money(1205), money(2410))


async def test_lines_for_the_same_product_become_one(shop: UseCases, store: Store) -> None:
    teapot = await shop.given_product(5)
    answer = await shop.place_order(caller=customer(), items=items((teapot.id, 2), (teapot.id, 3)))
    assert [(line.product_id, line.quantity) for line in answer.order.lines] == [(teapot.id, 5)]
    assert len(await store.movements(order_id=answer.order.id)) == 1


async def test_repeated_lines_are_refused_when_their_sum_is_too_much(shop: UseCases) -> None:
    teapot = await shop.given_product(4)
    with pytest.raises(OutOfStock) as refused:
        await shop.place_order(caller=customer(), items=items((teapot.id, 2), (teapot.id, 3)))
    assert refused.value.context["lines"] == [
        {"product_id": teapot.id, "requested": 5, "available": 4}
    ]


async def test_one_short_line_refuses_the_whole_order_and_names_every_short_line(
    shop: UseCases, store: Store
) -> None:
    plenty, few, none = [await shop.given_product(n) for n in (10, 1, 0)]
    before = await store.movements()
    with pytest.raises(OutOfStock) as refused:
        await shop.place_order(
            caller=customer(), items=items((plenty.id, 1), (few.id, 2), (none.id, 1))
        )
    assert refused.value.context["lines"] == [
        {"product_id": few.id, "requested": 2, "available": 1},
        {"product_id": none.id, "requested": 1, "available": 0},
    ]
    assert await store.movements() == before
    assert await shop.stock_of(plenty) == 10


async def test_unknown_and_archived_products_are_named_by_line(
    shop: UseCases, store: Store
) -> None:
    teapot, gone = await shop.given_product(5), await shop.given_product(5)
    await shop.archive_product(caller=OPERATOR, product_id=gone.id)
    with pytest.raises(InvalidFields) as refused:
        await shop.place_order(
            caller=customer(), items=items((gone.id, 1), (teapot.id, 1), (404, 1), (gone.id, 1))
        )
    assert [error["field"] for error in refused.value.context["errors"]] == [
        "items.0.product_id",
        "items.2.product_id",
        "items.3.product_id",
    ]
    assert await shop.stock_of(teapot) == 5


async def test_an_order_without_lines_never_reaches_the_queue(shop: UseCases) -> None:
    with pytest.raises(InvalidField):
        await shop.place_order(caller=customer(), items=())


async def test_the_same_id_and_content_answers_with_the_stored_order(shop: UseCases) -> None:
    teapot, cup = await shop.given_product(5), await shop.given_product(5)
    first = await shop.place_order(
        caller=customer(), items=items((teapot.id, 1), (cup.id, 2)), order_id=order_id(1)
    )
    shop.clock.advance(timedelta(hours=1))
    again = await shop.place_order(
        caller=customer(), items=items((cup.id, 2), (teapot.id, 1)), order_id=order_id(1)
    )
    assert not again.created
    assert again.order == first.order
    assert await shop.stock_of(teapot) == 4


async def test_a_repeat_is_answered_even_when_nothing_is_left(shop: UseCases) -> None:
    teapot = await shop.given_product(1)
    wish = {"caller": customer(), "items": items((teapot.id, 1)), "order_id": order_id(1)}
    await shop.place_order(**wish)
    again = await shop.place_order(**wish)
    assert not again.created


async def test_a_repeat_of_a_cancelled_order_does_not_revive_it(shop: UseCases) -> None:
    teapot = await shop.given_product(5)
    wanted = items((teapot.id, 1))
    await shop.place_order(caller=customer(), items=wanted, order_id=order_id(1))
    await shop.cancel_order(caller=customer(), order_id=order_id(1))
    again = await shop.place_order(caller=customer(), items=wanted, order_id=order_id(1))
    assert (again.created, again.order.status) == (False, OrderStatus.CANCELLED)
    assert await shop.stock_of(teapot) == 5


async def test_an_id_is_taken_for_other_content_and_for_other_users(shop: UseCases) -> None:
    teapot = await shop.given_product(5)
    await shop.place_order(caller=customer(1), items=items((teapot.id, 1)), order_id=order_id(1))
    with pytest.raises(OrderIdTaken):
        await shop.place_order(
            caller=customer(1), items=items((teapot.id, 2)), order_id=order_id(1)
        )
    with pytest.raises(OrderIdTaken):
        await shop.place_order(
            caller=customer(2), items=items((teapot.id, 1)), order_id=order_id(1)
        )
    assert await shop.stock_of(teapot) == 4


async def test_a_key_is_good_for_one_order(shop: UseCases) -> None:
    teapot = await shop.given_product(5)
    first = await shop.place_order(
        caller=customer(1), items=items((teapot.id, 1)), idempotency_key="k"
    )
    again = await shop.place_order(
        caller=customer(1), items=items((teapot.id, 1)), idempotency_key="k"
    )
    assert (first.created, again.created, again.order) == (True, False, first.order)
    with pytest.raises(IdempotencyKeyReused):
        await shop.place_order(caller=customer(1), items=items((teapot.id, 2)), idempotency_key="k")
    assert await shop.stock_of(teapot) == 4


async def test_two_users_may_use_the_same_key(shop: UseCases) -> None:
    teapot = await shop.given_product(5)
    for user_id in (1, 2):
        answer = await shop.place_order(
            caller=customer(user_id), items=items((teapot.id, 1)), idempotency_key="k"
        )
        assert answer.created


async def test_nobody_can_occupy_the_id_behind_anothers_key(shop: UseCases) -> None:
    teapot = await shop.given_product(5)
    with pytest.raises(OrderIdTaken):
        await shop.place_order(
            caller=customer(2), items=items((teapot.id, 1)), order_id=keyed_order_id(1, "k")
        )
    assert await shop.stock_of(teapot) == 5


async def test_a_refused_order_may_be_tried_again_under_its_id_and_key(shop: UseCases) -> None:
    teapot = await shop.given_product(0)
    wanted = items((teapot.id, 1))
    with pytest.raises(OutOfStock):
        await shop.place_order(caller=customer(), items=wanted, order_id=order_id(1))
    with pytest.raises(OutOfStock):
        await shop.place_order(caller=customer(), items=wanted, idempotency_key="k")
    await shop.change_stock(caller=OPERATOR, product_id=teapot.id, delta=2, reason="restock")
    assert (await shop.place_order(caller=customer(), items=wanted, order_id=order_id(1))).created
    assert (await shop.place_order(caller=customer(), items=wanted, idempotency_key="k")).created


async def test_without_an_id_every_order_is_a_new_one(shop: UseCases) -> None:
    teapot = await shop.given_product(5)
    answers = [
        await shop.place_order(caller=customer(), items=items((teapot.id, 1))) for _ in range(2)
    ]
    assert len({answer.order.id for answer in answers}) == 2
    assert len({answer.order.code for answer in answers}) == 2


async def test_a_batch_is_decided_in_order_of_arrival(shop: UseCases) -> None:
    teapot = await shop.given_product(3)
    answers = await shop.decide_orders(
        [
            request((teapot.id, 2), number=1, user_id=1),
            request((teapot.id, 2), number=2, user_id=2),
            request((teapot.id, 1), number=3, user_id=3),
            request((teapot.id, 1), number=4, user_id=4),
        ]
    )
    assert [isinstance(answer, ShopError) for answer in answers] == [False, True, False, True]
    refusal = answers[1]
    assert isinstance(refusal, OutOfStock)
    assert refusal.context["lines"] == [{"product_id": teapot.id, "requested": 2, "available": 1}]
    assert await shop.stock_of(teapot) == 0


async def test_an_order_at_another_total_than_expected_leaves_its_pieces_to_the_next(
    shop: UseCases,
) -> None:
    teapot = await shop.given_product(2, price=1000)
    dear, right, repeated = await shop.decide_orders(
        [
            replace(request((teapot.id, 2), number=1), expected_total=Decimal("19.99")),
            replace(request((teapot.id, 2), number=2), expected_total=Decimal("20.00")),
            replace(request((teapot.id, 2), number=2), expected_total=Decimal("19.99")),
        ]
    )
    assert isinstance(dear, PriceChanged)
    assert (placed(right).created, placed(repeated).created) == (True, False)
    assert await shop.stock_of(teapot) == 0
    # What is short is said first: it would not be placed at any price.
    with pytest.raises(OutOfStock):
        await shop.place_order(
            caller=customer(), items=items((teapot.id, 1)), expected_total=Decimal(1)
        )


async def test_the_same_request_twice_in_a_batch_is_one_order(shop: UseCases) -> None:
    teapot = await shop.given_product(3)
    first, again, other = await shop.decide_orders(
        [
            request((teapot.id, 1), number=1),
            request((teapot.id, 1), number=1),
            request((teapot.id, 2), number=1),
        ]
    )
    assert (placed(first).created, placed(again).created) == (True, False)
    assert placed(again).order == placed(first).order
    assert isinstance(other, OrderIdTaken)
    assert await shop.stock_of(teapot) == 2


async def test_a_batch_of_refusals_writes_nothing(shop: UseCases, store: Store) -> None:
    teapot = await shop.given_product(1)
    before = await store.movements()
    answers = await shop.decide_orders(
        [request((teapot.id, 2), number=1), request((404, 1), number=2)]
    )
    assert [type(answer) for answer in answers] == [OutOfStock, InvalidFields]
    assert await store.movements() == before


async def test_the_price_is_frozen_when_the_order_is_placed(shop: UseCases, store: Store) -> None:
    teapot = await shop.given_product(5, name="Teapot", price=1000)
    answer = await shop.place_order(caller=customer(), items=items((teapot.id, 1)))
    assert store.memory is not None
    products = store.memory.tables.products
    products[teapot.id] = products[teapot.id].changed(
        at=shop.clock(), name="Kettle", description=None, price=money(9999)
    )
    stored = await shop.read_order(caller=customer(), order_id=answer.order.id)
    assert (stored.lines[0].name, stored.lines[0].price) == ("Teapot", money(1000))


async def test_an_order_that_took_too_long_gets_a_new_time(store: Store) -> None:
    """Whoever polls by `created_after` relies on it: docs/api.md says how far back to reach."""
    shop = UseCases(store.unit_of_work)
    late = NOON + COMMITTED_WITHIN + timedelta(seconds=1)
    # Decided at noon and ready long after; decided again, and ready at once.
    moments = iter([NOON, late, late, late])
    teapot, buyer = await shop.given_product(5), await shop.given_customer()
    shop.container.clock.override(lambda: next(moments))
    placed = await shop.place_order(caller=buyer, items=items((teapot.id, 1)))
    assert (placed.created, placed.order.created_at) == (True, late)
    await shop.intake.close()

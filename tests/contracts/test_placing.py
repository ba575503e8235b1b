"""Many buyers at once: never sold twice, and what is there does sell."""

import asyncio
from collections import Counter

import pytest

from shop.domain.errors import IdempotencyKeyReused, OrderIdTaken, OutOfStock, ShopError
from shop.domain.money import PRICE_MAX
from shop.domain.orders import OrderStatus, Placed
from shop.domain.products import Product
from shop.domain.users import OPERATOR, Caller
from tests.builders import items, order_id, request
from tests.stores import Store
from tests.use_cases import UseCases, placed

BUYERS = 40


def kinds(answers: list[Placed | BaseException]) -> Counter[type]:
    return Counter(type(answer) for answer in answers)


async def assert_sound(shop: UseCases, *products: Product, stock: int) -> None:
    assert [await shop.stock_of(product) for product in products] == [stock] * len(products)
    assert await shop.differences() == []


async def test_many_buyers_of_the_last_pieces_get_exactly_those(
    shop: UseCases, store: Store
) -> None:
    buyer = await shop.given_customer()
    teapot = await shop.given_product(13)
    answers = await asyncio.gather(
        *(shop.place_order(caller=buyer, items=items((teapot.id, 1))) for _ in range(BUYERS)),
        return_exceptions=True,
    )
    assert kinds(answers) == {Placed: 13, OutOfStock: BUYERS - 13}
    assert len([m for m in await store.movements() if m.order_id]) == 13
    await assert_sound(shop, teapot, stock=0)


async def test_many_transactions_for_the_last_pieces_get_exactly_those(shop: UseCases) -> None:
    """Without the intake: a transaction each, as many processes would do it."""
    buyer = await shop.given_customer()
    teapot = await shop.given_product(13)
    batches = await asyncio.gather(
        *(
            shop.decide_orders([request((teapot.id, 1), number=n, user_id=buyer.user_id)])
            for n in range(1, BUYERS + 1)
        )
    )
    assert Counter(type(answer) for [answer] in batches) == {Placed: 13, OutOfStock: BUYERS - 13}
    await assert_sound(shop, teapot, stock=0)


async def test_what_is_there_does_sell_to_everybody(shop: UseCases) -> None:
    buyer = await shop.given_customer()
    teapot, cup = await shop.given_product(2 * BUYERS), await shop.given_product(2 * BUYERS)
    answers = await asyncio.gather(
        *(
            shop.place_order(caller=buyer, items=items((teapot.id, 2), (cup.id, 2)))
            for _ in range(BUYERS)
        )
    )
    assert len({answer.order.id for answer in answers}) == BUYERS
    await assert_sound(shop, teapot, cup, stock=0)


async def test_baskets_in_opposite_order_do_not_block_each_other(shop: UseCases) -> None:
    buyer = await shop.given_customer()
    products = [await shop.given_product(BUYERS) for _ in range(5)]
    ids = [product.id for product in products]
    batches = await asyncio.gather(
        *(
            shop.decide_orders(
                [
                    request(
                        *((id_, 1) for id_ in (ids if n % 2 else reversed(ids))),
                        number=n,
                        user_id=buyer.user_id,
                    )
                ]
            )
            for n in range(1, BUYERS + 1)
        )
    )
    assert all(isinstance(answer, Placed) for [answer] in batches)
    await assert_sound(shop, *products, stock=0)


async def test_one_id_sent_many_times_at_once_is_one_order(shop: UseCases, store: Store) -> None:
    """By two processes, so that some meet in a batch and some in the database."""
    other = UseCases(store.unit_of_work, process=2)
    buyer = await shop.given_customer()
    teapot = await shop.given_product(100)
    answers = await asyncio.gather(
        *(
            process.place_order(caller=buyer, items=items((teapot.id, 1)), order_id=order_id(1))
            for _ in range(20)
            for process in (shop, other)
        )
    )
    assert Counter(answer.created for answer in answers) == {True: 1, False: BUYERS - 1}
    assert len({answer.order for answer in answers}) == 1
    await assert_sound(shop, teapot, stock=99)
    await other.intake.close()


async def test_an_order_of_the_last_pieces_that_is_sent_many_times_is_not_out_of_stock(
    shop: UseCases, store: Store
) -> None:
    """Who waits for the pieces of their own order must see the order, not the empty shelf."""
    processes = [shop, *(UseCases(store.unit_of_work, process=n) for n in (2, 3))]
    buyer = await shop.given_customer()
    for round_ in range(1, 11):
        teapot = await shop.given_product(5)
        answers = await asyncio.gather(
            *(
                process.place_order(
                    caller=buyer, items=items((teapot.id, 5)), order_id=order_id(round_)
                )
                for process in processes
            )
        )
        assert Counter(answer.created for answer in answers) == {True: 1, False: 2}
        assert await shop.stock_of(teapot) == 0


async def test_one_key_with_two_bodies_at_once_is_one_order(shop: UseCases, store: Store) -> None:
    other = UseCases(store.unit_of_work, process=2)
    buyer = await shop.given_customer()
    teapot = await shop.given_product(100)
    answers = await asyncio.gather(
        *(
            process.place_order(
                caller=buyer, items=items((teapot.id, quantity)), idempotency_key="k"
            )
            for _ in range(5)
            for process, quantity in ((shop, 1), (other, 2))
        ),
        return_exceptions=True,
    )
    assert kinds(answers) == {Placed: 5, IdempotencyKeyReused: 5}
    [order] = {answer.order for answer in answers if isinstance(answer, Placed)}
    await assert_sound(shop, teapot, stock=100 - order.lines[0].quantity)
    await other.intake.close()


async def test_repeats_are_recognised_from_what_is_stored(shop: UseCases, store: Store) -> None:
    """A process that knows nothing of the first request, as after a restart."""
    buyer, thief = await shop.given_customer(), await shop.given_customer()
    teapot = await shop.given_product(10)
    wanted = items((teapot.id, 2))
    by_id = await shop.place_order(caller=buyer, items=wanted, order_id=order_id(1))
    by_key = await shop.place_order(caller=buyer, items=wanted, idempotency_key="k")

    later = UseCases(store.unit_of_work, process=2)
    again = await later.place_order(caller=buyer, items=wanted, order_id=order_id(1))
    assert again == Placed(order=by_id.order, created=False)
    again = await later.place_order(caller=buyer, items=wanted, idempotency_key="k")
    assert again == Placed(order=by_key.order, created=False)

    refused = await later.decide_orders(
        [
            request((teapot.id, 3), number=1, user_id=buyer.user_id),
            request((teapot.id, 2), number=1, user_id=thief.user_id),
        ]
    )
    assert [type(answer) for answer in refused] == [OrderIdTaken, OrderIdTaken]
    await assert_sound(shop, teapot, stock=6)


async def test_a_batch_may_hold_everything_at_once(shop: UseCases, store: Store) -> None:
    buyer = await shop.given_customer()
    teapot = await shop.given_product(3)
    gone = await shop.given_product(3)
    await shop.archive_product(caller=OPERATOR, product_id=gone.id)
    await shop.decide_orders([request((teapot.id, 1), number=1, user_id=buyer.user_id)])
    user_id = buyer.user_id
    answers = await shop.decide_orders(
        [
            request((teapot.id, 1), number=1, user_id=user_id),
            request((teapot.id, 2), number=1, user_id=user_id),
            request((teapot.id, 3), number=2, user_id=user_id),
            request((teapot.id, 2), (gone.id, 1), number=3, user_id=user_id),
            request((teapot.id, 2), number=4, user_id=user_id),
            request((teapot.id, 1), number=5, user_id=user_id),
        ]
    )
    assert [getattr(a, "code", None) or placed(a).created for a in answers] == [
        False,
        "order_id_taken",
        "out_of_stock",
        "invalid_fields",
        True,
        "out_of_stock",
    ]
    await assert_sound(shop, teapot, stock=0)


async def test_an_order_is_read_back_as_it_was_answered(shop: UseCases) -> None:
    buyer = await shop.given_customer()
    products = [await shop.given_product(9, name=f"Käse №{n}", price=n) for n in range(7)]
    wanted = [(product.id, n + 1) for n, product in enumerate(reversed(products))]
    answer = await shop.place_order(caller=buyer, items=items(*wanted))
    stored = await shop.read_order(caller=buyer, order_id=answer.order.id)
    assert stored == answer.order
    assert [(line.product_id, line.quantity) for line in stored.lines] == wanted


@pytest.mark.parametrize(
    "name", ['"\\"', "it's; DROP TABLE orders", "{}[],:", "\u2028 Ünï\U0001f98a", "null", "\\x00"]
)
async def test_an_order_keeps_the_name_of_its_product_to_the_letter(
    shop: UseCases, store: Store, name: str
) -> None:
    buyer = await shop.given_customer()
    product = await shop.given_product(name=name)
    answered = await shop.place_order(caller=buyer, items=items((product.id, 1)))
    assert answered.order.lines[0].name == product.name
    async with store.unit_of_work(read_only=True) as uow:
        assert await uow.orders.get(answered.order.id) == answered.order


async def test_a_full_order_fits(shop: UseCases) -> None:
    buyer = await shop.given_customer()
    products = [await shop.given_product(1_000_000, price=PRICE_MAX) for _ in range(100)]
    answer = await shop.place_order(
        caller=buyer, items=items(*((product.id, 1_000_000) for product in products))
    )
    stored = await shop.read_order(caller=buyer, order_id=answer.order.id)
    assert stored.total.amount == 100 * 1_000_000 * PRICE_MAX
    await assert_sound(shop, *products, stock=0)


async def test_many_cancellations_at_once_give_back_once(shop: UseCases, store: Store) -> None:
    buyer, boss = await shop.given_customer(), await shop.given_staff()
    teapot = await shop.given_product(5)
    answer = await shop.place_order(caller=buyer, items=items((teapot.id, 3)))
    callers: list[Caller] = [buyer, boss] * 5
    cancelled = await asyncio.gather(
        *(shop.cancel_order(caller=caller, order_id=answer.order.id) for caller in callers)
    )
    assert {order.status for order in cancelled} == {OrderStatus.CANCELLED}
    assert len({order.version for order in cancelled}) == 1
    assert len(await store.movements(order_id=answer.order.id)) == 2
    await assert_sound(shop, teapot, stock=5)


async def test_buying_and_cancelling_and_restocking_at_once_stay_sound(
    shop: UseCases, store: Store
) -> None:
    other = UseCases(store.unit_of_work, process=2)
    buyer = await shop.given_customer()
    teapot = await shop.given_product(5)

    async def buy_and_regret(process: UseCases) -> bool:
        try:
            answer = await process.place_order(caller=buyer, items=items((teapot.id, 2)))
        except OutOfStock:
            return False
        await process.cancel_order(caller=buyer, order_id=answer.order.id)
        return True

    async def restock(process: UseCases) -> bool:
        await process.change_stock(caller=OPERATOR, product_id=teapot.id, delta=1, reason="restock")
        return True

    done = await asyncio.gather(
        *(
            act(process)
            for _ in range(8)
            for process in (shop, other)
            for act in (buy_and_regret, restock)
        )
    )
    assert any(done)
    await assert_sound(shop, teapot, stock=5 + 16)
    await other.intake.close()


async def test_two_who_count_the_same_shelf_do_not_both_set_it(shop: UseCases) -> None:
    teapot = await shop.given_product(5)
    counts = await asyncio.gather(
        *(
            shop.change_stock(
                caller=OPERATOR, product_id=teapot.id, quantity=n, expected=5, reason="counted"
            )
            for n in range(10, 20)
        ),
        return_exceptions=True,
    )
    winners = [product.stock for product in counts if isinstance(product, Product)]
    losers = [error for error in counts if isinstance(error, ShopError)]
    assert (len(winners), len(losers)) == (1, 9)
    await assert_sound(shop, teapot, stock=winners[0])

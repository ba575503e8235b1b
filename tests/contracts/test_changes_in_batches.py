"""Changes ride in the batches of orders: in the order of arrival, each all or nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from shop.domain.errors import (
    AlreadyDone,
    IdempotencyKeyReused,
    InvalidField,
    InvalidToken,
    NotAmendable,
    NotOut,
    OrderChanged,
    OrderNotFound,
    OutOfStock,
    ProductNotFound,
    ShopError,
    StaffOnly,
    StockChanged,
    TransitionNotAllowed,
)
from shop.domain.orders import Order, OrderStatus, Placed
from shop.domain.products import STOCK_MAX, Product
from shop.domain.services.cancel_order import Cancellation
from shop.domain.services.decide_orders import Request
from shop.domain.stock import Reason
from shop.domain.users import OPERATOR, Caller, Role
from tests.builders import items, order_id, request
from tests.contracts.changes import keyed
from tests.stores import Store
from tests.use_cases import UseCases, placed

S = OrderStatus


@dataclass(frozen=True, kw_only=True)
class Counter:
    """A shop, and what it has on it: a product that is sold out, and one that is not."""

    shop: UseCases
    store: Store
    owner: Caller
    boss: Caller
    last: Product
    plenty: Product
    batches: list[int]
    """How many requests each had."""

    async def order(self, *wanted: tuple[int, int], to: OrderStatus = S.PLACED) -> Order:
        place = self.shop.container.place_order()
        order = (await place(caller=self.owner, items=items(*wanted))).order
        if to in (S.PAID, S.SHIPPED):
            order = await self.shop.pay_order(caller=self.boss, order_id=order.id)
        if to is S.SHIPPED:
            order = await self.shop.advance_order(caller=self.boss, order_id=order.id, to=to)
        return order

    def buy(self, *wanted: tuple[int, int], **options: Any) -> Awaitable[Placed]:
        place = self.shop.container.place_order()
        return place(caller=self.owner, items=items(*(wanted or ((self.last.id, 1),))), **options)

    def amend(self, order: Order, *wanted: tuple[int, int], **options: Any) -> Awaitable[Order]:
        amend = self.shop.container.amend_order()
        options = {"caller": self.owner, **options}
        return amend(order_id=order.id, items=items(*wanted), **options)

    def cancel(self, order: Order, **options: Any) -> Awaitable[Order]:
        options = {"caller": self.owner, **options}
        return self.shop.container.cancel_order()(order_id=order.id, **options)

    def give_back(self, order: Order, **options: Any) -> Awaitable[Order]:
        return self.shop.container.return_order()(caller=self.boss, order_id=order.id, **options)

    def stock(self, product: Product, delta: int | None, **options: Any) -> Awaitable[Product]:
        options = {"caller": self.boss, "reason": "restock", **options}
        return self.shop.container.change_stock()(product_id=product.id, delta=delta, **options)

    async def all_at_once(self, *hands: Awaitable[Any]) -> list[Any]:
        """What each was answered, or the error that refused it; they were one batch."""
        self.batches.clear()
        answers = await asyncio.gather(*hands, return_exceptions=True)
        assert self.batches == [len(hands)]
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(
                answer, ShopError | AlreadyDone
            ):
                raise answer
        return answers


@pytest.fixture
async def counter(shop: UseCases, store: Store) -> Counter:
    handle, batches = shop.intake._handle, list[int]()

    async def counting(requests: Any, **options: Any) -> Any:
        batches.append(len(requests))
        return await handle(requests, **options)

    shop.intake._handle = counting
    return Counter(
        shop=shop,
        store=store,
        owner=await shop.given_customer(),
        boss=await shop.given_staff(),
        last=await shop.given_product(1),
        plenty=await shop.given_product(100),
        batches=batches,
    )


Giving = Callable[[Counter], Awaitable[Awaitable[Any]]]
"""What puts the last piece back on the shelf, once it is awaited again."""


async def _by_amending(counter: Counter) -> Awaitable[Any]:
    order = await counter.order((counter.last.id, 1), (counter.plenty.id, 1))
    return counter.amend(order, (counter.plenty.id, 1))


async def _by_cancelling(counter: Counter) -> Awaitable[Any]:
    return counter.cancel(await counter.order((counter.last.id, 1)))


async def _by_returning(counter: Counter) -> Awaitable[Any]:
    return counter.give_back(await counter.order((counter.last.id, 1), to=S.SHIPPED))


async def _by_restocking(counter: Counter) -> Awaitable[Any]:
    await counter.order((counter.last.id, 1))
    return counter.stock(counter.last, 1)


GIVING: dict[str, Giving] = {
    "amend": _by_amending,
    "cancel": _by_cancelling,
    "return": _by_returning,
    "stock": _by_restocking,
}


@pytest.mark.parametrize("name", GIVING)
async def test_who_buys_after_a_change_gets_the_last_piece(counter: Counter, name: str) -> None:
    given, placed = await counter.all_at_once(await GIVING[name](counter), counter.buy())
    assert not isinstance(given, ShopError)
    assert isinstance(placed, Placed)
    assert await counter.shop.stock_of(counter.last) == 0
    assert await counter.shop.differences() == []


@pytest.mark.parametrize("name", GIVING)
async def test_who_buys_before_a_change_does_not(counter: Counter, name: str) -> None:
    refused, given = await counter.all_at_once(counter.buy(), await GIVING[name](counter))
    assert isinstance(refused, OutOfStock)
    assert not isinstance(given, ShopError)
    assert await counter.shop.stock_of(counter.last) == 1
    assert await counter.shop.differences() == []


@pytest.mark.parametrize("first", [0, 1, 2])
async def test_of_all_who_want_the_last_piece_the_first_one_gets_it(
    counter: Counter, first: int
) -> None:
    order = await counter.order((counter.plenty.id, 1))
    hands = [
        counter.buy(),
        counter.amend(order, (counter.last.id, 1)),
        counter.stock(counter.last, -1, reason="broken"),
    ]
    answers = await counter.all_at_once(*hands[first:], *hands[:first])
    assert not isinstance(answers[0], ShopError)
    assert [type(answer) for answer in answers[1:]] == [OutOfStock] * 2
    assert await counter.shop.stock_of(counter.last) == 0
    assert await counter.shop.differences() == []


async def test_one_order_may_be_placed_amended_and_cancelled_in_one_batch(
    counter: Counter,
) -> None:
    order, new = await counter.order((counter.plenty.id, 5)), order_id(9)
    placed, amended, cancelled, repeated, other = await counter.all_at_once(
        counter.buy((counter.plenty.id, 2), order_id=new),
        counter.shop.container.amend_order()(
            caller=counter.owner, order_id=new, items=items((counter.last.id, 1))
        ),
        counter.shop.container.cancel_order()(caller=counter.owner, order_id=new),
        counter.buy((counter.plenty.id, 2), order_id=new),
        counter.amend(order, (counter.plenty.id, 1), (counter.last.id, 1)),
    )
    assert placed.created
    assert (placed.order.version, amended.version, cancelled.version) == (1, 2, 3)
    assert repeated == Placed(order=cancelled, created=False)
    assert other.version == 2
    read = counter.shop.container.read_order()
    assert await read(caller=counter.owner, order_id=new) == cancelled
    assert await read(caller=counter.owner, order_id=order.id) == other
    history = await counter.shop.history_of(new)
    assert [(entry.from_status, entry.to_status) for entry in history] == [
        (S.PLACED, S.PLACED),
        (S.PLACED, S.CANCELLED),
    ]
    moved = [(m.quantity, m.reason) for m in await counter.store.movements(order_id=new)]
    assert moved == [
        (-2, Reason.ORDER),
        (2, Reason.AMEND),
        (-1, Reason.AMEND),
        (1, Reason.CANCEL),
    ]
    assert await counter.shop.stock_of(counter.last) == 0
    assert await counter.shop.stock_of(counter.plenty) == 99
    assert await counter.shop.differences() == []


async def test_several_changes_of_one_order_follow_one_another(counter: Counter) -> None:
    order = await counter.order((counter.plenty.id, 5), to=S.SHIPPED)
    one = items((counter.plenty.id, 1))
    answers = await counter.all_at_once(*(counter.give_back(order, items=one) for _ in range(6)))
    assert [answer.out for answer in answers[:4]] == [
        {counter.plenty.id: left} for left in (4, 3, 2, 1)
    ]
    assert answers[4].status is S.RETURNED
    assert isinstance(answers[5], TransitionNotAllowed)
    assert await counter.shop.stock_of(counter.plenty) == 100
    assert len(await counter.shop.history_of(order.id)) == 2 + 5
    assert await counter.shop.differences() == []


async def test_of_two_who_expect_the_same_version_the_first_wins(counter: Counter) -> None:
    order = await counter.order((counter.plenty.id, 5))
    first, second = await counter.all_at_once(
        counter.amend(order, (counter.plenty.id, 1), expected_versions=[1]),
        counter.amend(order, (counter.plenty.id, 2), expected_versions=[1]),
    )
    assert first.version == 2
    assert isinstance(second, OrderChanged)


async def test_what_is_refused_harms_no_neighbour(counter: Counter) -> None:
    plenty, last = counter.plenty, counter.last
    order, paid = (
        await counter.order((plenty.id, 5)),
        await counter.order((plenty.id, 1), to=S.PAID),
    )
    shipped = await counter.order((plenty.id, 5), to=S.SHIPPED)
    nobody = await counter.order((plenty.id, 1))
    stranger, fired = await counter.shop.given_customer(), await counter.shop.given_staff("fired")
    gone = await counter.shop.given_staff()
    await counter.shop.set_role(caller=OPERATOR, username="fired", role=Role.CUSTOMER)
    await counter.store.disable_user(gone.user_id)
    before = await counter.shop.stock_of(plenty)
    answers = await counter.all_at_once(
        counter.cancel(order, caller=stranger),
        counter.buy((plenty.id, 1)),
        counter.cancel(paid),
        counter.cancel(order, restock=False),
        counter.amend(order, (plenty.id, 6)),
        counter.amend(order, (plenty.id, 1), (last.id, 2)),
        counter.amend(paid, (plenty.id, 2)),
        counter.give_back(shipped, items=items((plenty.id, 6))),
        counter.give_back(shipped, items=items((plenty.id, 1)), restock=False),
        counter.give_back(order),
        counter.stock(plenty, 5),
        counter.stock(last, STOCK_MAX),
        counter.stock(last, None, quantity=7, expected=9, reason="counted"),
        counter.stock(replace(last, id=404), 1),
        counter.stock(plenty, 1, caller=fired),
        counter.cancel(nobody, caller=gone),
        counter.cancel(nobody, caller=fired),
        counter.cancel(nobody, caller=counter.boss, restock=False),
    )
    assert [type(answer) for answer in answers] == [
        OrderNotFound,
        Placed,
        TransitionNotAllowed,
        StaffOnly,
        Order,
        OutOfStock,
        NotAmendable,
        NotOut,
        Order,
        TransitionNotAllowed,
        Product,
        InvalidField,
        StockChanged,
        ProductNotFound,
        InvalidToken,
        InvalidToken,
        InvalidToken,
        Order,
    ]
    # Sold, amended, written off twice, restocked.
    assert await counter.shop.stock_of(plenty) == before - 1 - 1 + 5
    assert await counter.shop.stock_of(last) == 1
    assert await counter.shop.differences() == []


async def test_what_happened_is_told_in_the_order_in_which_it_did(counter: Counter) -> None:
    order, other = (
        await counter.order((counter.plenty.id, 5)),
        await counter.order((counter.plenty.id, 1)),
    )
    counter.shop.audit.events.clear()
    boss = counter.boss
    await counter.all_at_once(
        counter.stock(counter.last, 1),
        counter.cancel(order, caller=boss),
        counter.stock(counter.last, -9, reason="broken"),
        counter.amend(other, (counter.plenty.id, 2), caller=boss),
        counter.cancel(order, caller=boss),
    )
    assert counter.shop.audit.events == [
        ("stock.changed", {"user": boss.user_id, "product": counter.last.id, "quantity": 1}),
        ("order.cancelled", {"user": boss.user_id, "order": order.id}),
        ("order.amended", {"user": boss.user_id, "order": other.id}),
    ]


async def test_whose_callers_have_given_up_by_then_are_left_out(counter: Counter) -> None:
    order = await counter.order((counter.plenty.id, 1))
    asked: list[Request] = [
        Cancellation(
            caller=counter.owner, order_id=order.id, restock=True, unpaid_only=False, note=""
        ),
        request((counter.last.id, 1), number=8, user_id=counter.owner.user_id),
        request((counter.last.id, 1), number=9, user_id=counter.owner.user_id),
    ]
    decide = counter.shop.container.decide_orders()
    answers = await decide(asked, still_wanted=lambda: [False, False, True])
    assert placed(answers[2]).created
    read = counter.shop.container.read_order()
    assert await read(caller=counter.owner, order_id=order.id) == order
    with pytest.raises(OrderNotFound):
        await read(caller=counter.owner, order_id=order_id(8))
    assert await counter.shop.differences() == []


# --- idempotency keys ---


async def test_one_key_twice_in_a_batch_is_one_change(counter: Counter) -> None:
    key = keyed(counter.boss.user_id)
    first, again, other = await counter.all_at_once(
        counter.stock(counter.plenty, 5, key=key),
        counter.stock(counter.plenty, 5, key=key),
        counter.stock(counter.plenty, 6, key=keyed(counter.boss.user_id, body=b"other")),
    )
    assert isinstance(again, AlreadyDone)
    assert again.answer == repr(first).encode()
    assert isinstance(other, IdempotencyKeyReused)
    assert await counter.shop.stock_of(counter.plenty) == 105
    later, another = await counter.all_at_once(
        counter.stock(counter.plenty, 5, key=key),
        counter.stock(counter.plenty, 6, key=keyed(counter.boss.user_id, body=b"other")),
    )
    assert isinstance(later, AlreadyDone)
    assert later.answer == repr(first).encode()
    assert isinstance(another, IdempotencyKeyReused)
    assert await counter.shop.stock_of(counter.plenty) == 105


async def test_a_refused_change_leaves_its_key_free(counter: Counter) -> None:
    key, other = keyed(counter.boss.user_id), keyed(counter.boss.user_id, body=b"other")
    refused, _, done, repeated = await counter.all_at_once(
        counter.stock(counter.last, -2, reason="broken", key=key),
        counter.stock(counter.plenty, 1, key=keyed(counter.boss.user_id, key="another")),
        # Its own request counts, not the one for which the key was claimed first.
        counter.stock(counter.last, 1, key=other),
        counter.stock(counter.last, -2, reason="broken", key=key),
    )
    assert isinstance(refused, OutOfStock)
    assert isinstance(done, Product)
    assert isinstance(repeated, IdempotencyKeyReused)
    refused, _ = await counter.all_at_once(
        counter.stock(counter.last, -9, key=keyed(counter.boss.user_id, key="third")),
        counter.stock(counter.plenty, 1),
    )
    assert isinstance(refused, OutOfStock)
    [free] = await counter.all_at_once(
        counter.stock(counter.last, 1, key=keyed(counter.boss.user_id, key="third", body=b"new"))
    )
    assert free.stock == 3
    [again] = await counter.all_at_once(counter.stock(counter.last, 1, key=other))
    assert again.answer == repr(done).encode()

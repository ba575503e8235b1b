"""Random trade against a tiny model, on every store: what must always hold is looked at each step.

The model predicts every single answer where one process serves requests in order of arrival. Where
two processes race it takes the answers as they come, and holds them to what must always be true.
"""

import asyncio
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import ClassVar, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shop.domain.errors import (
    AlreadyDone,
    IdempotencyKeyReused,
    InvalidFields,
    NotAmendable,
    NotOut,
    OrderIdTaken,
    OrderNotFound,
    OutOfStock,
    ShopError,
    StaffOnly,
    StockChanged,
    TransitionNotAllowed,
)
from shop.domain.orders import (
    GIVEN_BACK,
    OWNER_TRANSITIONS,
    TRANSITIONS,
    HistoryEntry,
    Order,
    OrderQuery,
    OrderStatus,
    Placed,
    keyed_order_id,
)
from shop.domain.pages import Window
from shop.domain.products import Product
from shop.domain.stock import LedgerPosition, OrderAudit, StockAudit
from shop.domain.users import OPERATOR, Caller
from tests.builders import items, money, order_id
from tests.contracts.changes import keyed
from tests.databases import Lender
from tests.stores import Store, memory_store, sql_store
from tests.use_cases import UseCases

T = TypeVar("T")

UNKNOWN_PRODUCT = 404
USERS = 2
Basket = tuple[tuple[int, int], ...]
"""Which of the products (by number, from 0) and how many; one past the last is unknown."""

baskets = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=4).map(
    tuple
)

small_baskets = st.lists(
    st.tuples(st.integers(0, 1), st.integers(1, 4)), min_size=1, max_size=2
).map(tuple)
moves = st.sampled_from([status for status in OrderStatus if status is not OrderStatus.PLACED])


@dataclass(frozen=True)
class Attempt:
    """A request as a client may send it: under one of few ids or keys, so that they repeat."""

    user: int
    basket: Basket
    id_number: int | None
    key: str | None


attempts = st.builds(
    Attempt,
    user=st.integers(0, USERS - 1),
    basket=baskets,
    id_number=st.none() | st.integers(1, 6),
    key=st.none() | st.sampled_from(["k", "l"]),
)


@dataclass(frozen=True)
class OnOrder:
    """A change of one of the orders that there are."""

    choice: int


@dataclass(frozen=True)
class Amendment(OnOrder):
    who: int
    basket: Basket


@dataclass(frozen=True)
class Cancellation(OnOrder):
    who: int
    restock: bool


@dataclass(frozen=True)
class Return(OnOrder):
    basket: Basket
    restock: bool


@dataclass(frozen=True)
class Restock:
    number: int
    delta: int


Hand = Attempt | Amendment | Cancellation | Return | Restock

choices = st.integers(0, 99)
people = st.integers(0, USERS)
amendments = st.builds(Amendment, choice=choices, who=people, basket=small_baskets)
cancellations = st.builds(Cancellation, choice=choices, who=people, restock=st.booleans())
returns = st.builds(Return, choice=choices, basket=small_baskets, restock=st.booleans())
restocks = st.builds(Restock, number=st.integers(0, 2), delta=st.integers(-4, 6).filter(bool))


hands = attempts | amendments | cancellations | returns | restocks


async def answered(work: Awaitable[T]) -> T | ShopError:
    """The answer, or the error that refuses it."""
    try:
        return await work
    except ShopError as error:
        return error


class ModelOrder:
    def __init__(self, order: Order, wanted: dict[int, int]) -> None:
        self.id = order.id
        self.user_id = order.user_id
        self.asked = wanted
        """What it was placed with: whoever asks for the same under its id is answered with it."""
        self.adopt(order)

    def adopt(self, order: Order) -> None:
        self.status = order.status
        self.version = order.version
        self.lines = [
            (line.product_id, line.price.amount, line.quantity, line.returned)
            for line in order.lines
        ]

    @property
    def out(self) -> dict[int, int]:
        out: Counter[int] = Counter()
        for product, _, quantity, back in () if self.status in GIVEN_BACK else self.lines:
            out[product] += quantity - back
        return {product: quantity for product, quantity in out.items() if quantity}

    def pieces(self) -> dict[int, list[int]]:
        """The price of each piece by product, in the order of the lines."""
        pieces: dict[int, list[int]] = {}
        for product, price, quantity, _ in self.lines:
            pieces.setdefault(product, []).extend([price] * quantity)
        return pieces


class Trade(RuleBasedStateMachine):
    open_store: ClassVar[Callable[[AsyncExitStack], Awaitable[Store]]]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stock: dict[int, int] = {}
        self.prices: dict[int, int] = {}
        self.archived: set[int] = set()
        self.orders: dict[UUID, ModelOrder] = {}
        self.sent: list[Attempt] = []
        self.changes: dict[str, bytes] = {}
        """The digest of what was done under each key."""
        self.run(self.open())

    def run(self, work: Awaitable[T]) -> T:
        async def within_time() -> T:
            async with asyncio.timeout(30):
                return await work

        return self.runner.run(within_time())

    async def open(self) -> None:
        self.stack = AsyncExitStack()
        self.store = await type(self).open_store(self.stack)
        self.shop = UseCases(self.store.unit_of_work, process=1)
        self.other = UseCases(self.store.unit_of_work, process=2)
        for process in (self.shop, self.other):
            self.stack.push_async_callback(process.close)
        self.users = [await self.shop.given_customer() for _ in range(USERS)]
        self.boss = await self.shop.given_staff()
        self.people = [*self.users, self.boss]

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()

    # --- what is done ---

    @initialize(stock=st.lists(st.integers(0, 9), min_size=1, max_size=2))
    def the_shop_opens(self, stock: list[int]) -> None:
        for pieces in stock:
            self.a_product_is_added(pieces)

    @precondition(lambda self: len(self.stock) < 3)
    @rule(stock=st.integers(0, 6))
    def a_product_is_added(self, stock: int) -> None:
        product = self.run(self.shop.given_product(stock))
        self.stock[product.id] = stock
        self.prices[product.id] = product.price.amount

    @rule(number=st.integers(0, 2), price=st.sampled_from([1000, 1200]))
    def a_price_is_changed(self, number: int, price: int) -> None:
        product_id = self.product(number)
        if product_id not in self.archived:
            self.run(
                self.shop.change_product(caller=OPERATOR, product_id=product_id, price=money(price))
            )
            self.prices[product_id] = price

    @rule(number=st.integers(0, 2), delta=st.integers(-4, 6).filter(bool))
    def stock_is_changed(self, number: int, delta: int) -> None:
        product_id = self.product(number)
        self.expect_restocked(product_id, delta, self.answer(self.restock(product_id, delta)))

    @rule(number=st.integers(0, 2), quantity=st.integers(0, 6), expected=st.integers(0, 6))
    def stock_is_counted(self, number: int, quantity: int, expected: int) -> None:
        product_id = self.product(number)
        count = self.shop.change_stock(
            caller=OPERATOR,
            product_id=product_id,
            quantity=quantity,
            expected=expected,
            reason="counted",
        )
        if self.stock[product_id] != expected:
            with pytest.raises(StockChanged):
                self.run(count)
        else:
            assert self.run(count).stock == quantity
            self.stock[product_id] = quantity

    @rule(
        number=st.integers(0, 2),
        delta=st.integers(-4, 6).filter(bool),
        key=st.sampled_from(["k", "l"]),
        at_other=st.booleans(),
    )
    def stock_is_changed_under_a_key(
        self, number: int, delta: int, key: str, at_other: bool
    ) -> None:
        product_id = self.product(number)
        request = keyed(self.boss.user_id, key=key, body=f"{product_id} {delta}".encode())
        change = (self.other if at_other else self.shop).change_stock(
            caller=self.boss, product_id=product_id, delta=delta, reason="lorry", key=request
        )
        if key in self.changes:
            same = self.changes[key] == request.digest
            with pytest.raises(AlreadyDone if same else IdempotencyKeyReused):
                self.run(change)
        elif self.stock[product_id] + delta < 0:
            with pytest.raises(OutOfStock):
                self.run(change)
        else:
            self.stock[product_id] += delta
            self.changes[key] = request.digest
            assert self.run(change).stock == self.stock[product_id]

    @rule(attempt=attempts)
    def an_order_is_placed(self, attempt: Attempt) -> None:
        self.sent.append(attempt)
        [answer] = self.run(self.send([attempt], [self.shop]))
        self.expect(attempt, answer)

    @precondition(lambda self: self.sent)
    @rule(choice=st.integers(0, 99), user=st.integers(0, USERS - 1))
    def a_request_is_repeated_by_its_user_or_another(self, choice: int, user: int) -> None:
        self.an_order_is_placed(replace(self.sent[choice % len(self.sent)], user=user))

    @rule(several=st.lists(attempts, min_size=2, max_size=8))
    def several_orders_arrive_at_one_process(self, several: list[Attempt]) -> None:
        answers = self.run(self.send(several, [self.shop]))
        for attempt, answer in zip(several, answers, strict=True):
            self.expect(attempt, answer)

    @rule(several=st.lists(attempts, min_size=2, max_size=8))
    def several_orders_arrive_at_two_processes(self, several: list[Attempt]) -> None:
        before = dict(self.stock)
        answers = self.run(self.send(several, [self.shop, self.other]))
        for attempt, answer in zip(several, answers, strict=True):
            if isinstance(answer, Placed) and answer.created:
                assert answer.order.id not in self.orders
                self.take(attempt, answer)
        for attempt, answer in zip(several, answers, strict=True):
            match answer:
                case Placed():
                    assert self.orders[answer.order.id].asked == self.wanted(attempt.basket)
                case OutOfStock():
                    # Stock only falls here, so what was short is short of what was there before
                    # less what the others got.
                    assert all(
                        before[line["product_id"]] >= line["available"] >= 0
                        and line["requested"] > line["available"]
                        for line in answer.context["lines"]
                    )
                    assert any(
                        self.stock[product_id] < quantity
                        for product_id, quantity in self.wanted(attempt.basket).items()
                    )
                case InvalidFields():
                    assert self.not_for_sale(self.wanted(attempt.basket))
                case OrderIdTaken() | IdempotencyKeyReused():
                    assert self.id_of(attempt) in self.orders
                case _:
                    raise AssertionError(answer)

    @precondition(lambda self: len(self.archived) < len(self.stock) - 1)
    @rule(number=st.integers(0, 2))
    def a_product_is_archived(self, number: int) -> None:
        product_id = self.product(number)
        self.run(self.shop.archive_product(caller=OPERATOR, product_id=product_id))
        self.archived.add(product_id)

    @precondition(lambda self: self.archived)
    @rule(number=st.integers(0, 2))
    def a_product_is_restored(self, number: int) -> None:
        product_id = self.product(number)
        self.run(self.shop.restore_product(caller=OPERATOR, product_id=product_id))
        self.archived.discard(product_id)

    @precondition(lambda self: self.orders)
    @rule(choice=st.integers(0, 99), who=st.integers(0, USERS), to=moves, restock=st.booleans())
    def an_order_is_moved(self, choice: int, who: int, to: OrderStatus, restock: bool) -> None:
        self.try_to_move(self.order(choice), self.people[who], to, restock=restock)

    @precondition(lambda self: self.moving)
    @rule(choice=st.integers(0, 99), way=st.integers(0, 1), restock=st.booleans())
    def an_order_is_moved_along(self, choice: int, way: int, restock: bool) -> None:
        order = self.moving[choice % len(self.moving)]
        to = TRANSITIONS[order.status][way % len(TRANSITIONS[order.status])]
        self.try_to_move(order, self.boss, to, restock=restock)

    def try_to_move(
        self, order: ModelOrder, caller: Caller, to: OrderStatus, *, restock: bool
    ) -> None:
        restock = restock or not caller.is_staff
        move = self.move(self.shop, caller, order, to, restock=restock)
        self.expect_moved(order, caller, to, self.answer(move), restock=restock)

    def expect_moved(
        self, order: ModelOrder, caller: Caller, to: OrderStatus, answer: object, *, restock: bool
    ) -> None:
        if to is not OrderStatus.CANCELLED and not caller.is_staff:
            assert isinstance(answer, StaffOnly)
        elif caller.user_id != order.user_id and not caller.is_staff:
            assert isinstance(answer, OrderNotFound)
        elif order.status is to:
            assert isinstance(answer, Order)
            assert answer.version == order.version
        elif to in (TRANSITIONS if caller.is_staff else OWNER_TRANSITIONS).get(order.status, ()):
            assert isinstance(answer, Order)
            self.follow(order, answer, restock=restock)
            assert order.status is to
        else:
            assert isinstance(answer, TransitionNotAllowed)

    @precondition(lambda self: self.orders)
    @rule(choice=st.integers(0, 99), who=st.integers(0, USERS), basket=small_baskets)
    def an_order_is_amended(self, choice: int, who: int, basket: Basket) -> None:
        order, caller = self.order(choice), self.people[who]
        amend = self.amend(caller, order, basket)
        self.expect_amended(order, caller, basket, self.answer(amend))

    def expect_amended(
        self, order: ModelOrder, caller: Caller, basket: Basket, answer: object
    ) -> None:
        wanted = self.wanted(basket)
        more = {p: n for p, n in wanted.items() if n > order.out.get(p, 0)}
        if caller.user_id != order.user_id and not caller.is_staff:
            assert isinstance(answer, OrderNotFound)
        elif order.status is not OrderStatus.PLACED:
            assert isinstance(answer, NotAmendable)
        elif self.not_for_sale(more):
            assert isinstance(answer, InvalidFields)
        elif short := {
            p: there for p, n in more.items() if n > (there := self.stock[p] + order.out.get(p, 0))
        }:
            assert isinstance(answer, OutOfStock)
            assert {x["product_id"]: x["available"] for x in answer.context["lines"]} == short
        else:
            assert isinstance(answer, Order)
            before = order.pieces()
            self.follow(order, answer)
            assert order.out == wanted
            for product_id, pieces in order.pieces().items():
                kept = before.get(product_id, [])[: len(pieces)]
                added = [self.prices[product_id]] * (len(pieces) - len(kept))
                assert Counter(pieces) == Counter(kept + added)

    @precondition(lambda self: self.orders)
    @rule(choice=st.integers(0, 99), basket=small_baskets, restock=st.booleans())
    def some_of_an_order_comes_back(self, choice: int, basket: Basket, restock: bool) -> None:
        self.try_to_give_back(self.order(choice), self.wanted(basket), restock=restock)

    @precondition(lambda self: self.away)
    @rule(choice=st.integers(0, 99), number=st.integers(0, 2), restock=st.booleans())
    def a_piece_comes_back(self, choice: int, number: int, restock: bool) -> None:
        order = self.away[choice % len(self.away)]
        product_id = list(order.out)[number % len(order.out)]
        self.try_to_give_back(order, {product_id: 1}, restock=restock)

    def try_to_give_back(self, order: ModelOrder, wanted: dict[int, int], *, restock: bool) -> None:
        give_back = self.give_back(order, wanted, restock=restock)
        self.expect_given_back(order, wanted, self.answer(give_back), restock=restock)

    def expect_given_back(
        self, order: ModelOrder, wanted: dict[int, int], answer: object, *, restock: bool
    ) -> None:
        if OrderStatus.RETURNED not in TRANSITIONS[order.status]:
            assert isinstance(answer, TransitionNotAllowed)
        elif any(n > order.out.get(p, 0) for p, n in wanted.items()):
            assert isinstance(answer, NotOut)
        else:
            assert isinstance(answer, Order)
            left = Counter(order.out)
            left.subtract(wanted)
            self.follow(order, answer, restock=restock)
            assert order.out == {p: n for p, n in left.items() if n}

    @precondition(lambda self: self.orders)
    @rule(several=st.lists(hands, min_size=2, max_size=8))
    def orders_and_changes_arrive_at_one_process(self, several: list[Hand]) -> None:
        """They are one batch, and each finds what those before it have left."""
        # Those that are placed meanwhile are not among them.
        orders = {hand: self.order(hand.choice) for hand in several if isinstance(hand, OnOrder)}

        async def lay(hand: Hand) -> object:
            match hand:
                case Attempt():
                    return await self.place(self.shop, hand)
                case Restock():
                    return await self.restock(self.product(hand.number), hand.delta)
                case Amendment():
                    return await self.amend(self.people[hand.who], orders[hand], hand.basket)
                case Cancellation():
                    caller = self.people[hand.who]
                    to, restock = OrderStatus.CANCELLED, hand.restock or not caller.is_staff
                    return await self.move(self.shop, caller, orders[hand], to, restock=restock)
                case Return():
                    wanted = self.wanted(hand.basket)
                    return await self.give_back(orders[hand], wanted, restock=hand.restock)

        async def all_at_once() -> list[object]:
            return await asyncio.gather(*(answered(lay(hand)) for hand in several))

        for hand, answer in zip(several, self.run(all_at_once()), strict=True):
            match hand:
                case Attempt():
                    assert isinstance(answer, Placed | ShopError)
                    self.expect(hand, answer)
                case Restock():
                    self.expect_restocked(self.product(hand.number), hand.delta, answer)
                case Amendment():
                    self.expect_amended(orders[hand], self.people[hand.who], hand.basket, answer)
                case Cancellation():
                    caller = self.people[hand.who]
                    to, restock = OrderStatus.CANCELLED, hand.restock or not caller.is_staff
                    self.expect_moved(orders[hand], caller, to, answer, restock=restock)
                case Return():
                    wanted = self.wanted(hand.basket)
                    self.expect_given_back(orders[hand], wanted, answer, restock=hand.restock)

    @precondition(lambda self: self.orders)
    @rule(
        choice=st.integers(0, 99),
        hands=st.lists(moves | small_baskets, min_size=2, max_size=6),
        several=st.lists(attempts, max_size=3),
    )
    def many_hands_are_on_an_order_while_others_arrive(
        self, choice: int, hands: list[OrderStatus | Basket], several: list[Attempt]
    ) -> None:
        order = self.order(choice)

        async def lay_hand(process: UseCases, hand: OrderStatus | Basket) -> None:
            with suppress(TransitionNotAllowed, NotAmendable, OutOfStock, InvalidFields):
                if isinstance(hand, OrderStatus):
                    await self.move(process, self.boss, order, hand)
                else:
                    await process.amend_order(
                        caller=self.boss,
                        order_id=order.id,
                        items=items(*self.wanted(hand).items()),
                    )

        async def race() -> list[Placed | ShopError]:
            arriving = asyncio.create_task(self.send(several, [self.shop]))
            await asyncio.gather(
                *(lay_hand((self.shop, self.other)[n % 2], hand) for n, hand in enumerate(hands))
            )
            return await arriving

        answers = self.run(race())
        self.follow(order, self.run(self.shop.read_order(caller=self.boss, order_id=order.id)))
        for attempt, answer in zip(several, answers, strict=True):
            if isinstance(answer, Placed) and answer.created:
                self.take(attempt, answer)

    # --- what must hold ---

    @invariant()
    def all_that_is_stored_agrees_with_itself_and_with_the_model(self) -> None:
        audits, unsound_orders, orders, history = self.run(self.stored())
        assert all(audit.is_sound for audit in audits)
        assert {audit.product_id: audit.on_hand for audit in audits} == self.stock
        assert unsound_orders == []
        assert {
            order.id: (
                order.user_id,
                order.status,
                order.version,
                [
                    (line.product_id, line.price.amount, line.quantity, line.returned)
                    for line in order.lines
                ],
            )
            for order in orders
        } == {
            order.id: (order.user_id, order.status, order.version, order.lines)
            for order in self.orders.values()
        }
        for known in self.orders.values():
            statuses = [event.to_status for event in history if event.order_id == known.id]
            before = [event.from_status for event in history if event.order_id == known.id]
            # It leads from placed to the status there is.
            assert before == [OrderStatus.PLACED, *statuses][: len(before)]
            assert [OrderStatus.PLACED, *statuses][-1] is known.status
            assert len(statuses) + 1 == known.version

    async def stored(
        self,
    ) -> tuple[Sequence[StockAudit], Sequence[OrderAudit], Sequence[Order], Sequence[HistoryEntry]]:
        """The products' ledgers, the orders that differ from them, all orders, all history."""
        async with self.store.unit_of_work(read_only=True) as uow:
            audits, more = await uow.stock.audit(LedgerPosition(), products=100, movements=10_000)
            assert more is None
            unsound, _ = await uow.stock.audit_orders(after=None, limit=1_000)
            orders = await uow.orders.read_window(OrderQuery(), Window(limit=1_000))
        return audits, unsound, orders, await self.store.events()

    # --- the model ---

    def product(self, number: int) -> int:
        ids = sorted(self.stock)
        return ids[number % len(ids)]

    def order(self, choice: int) -> ModelOrder:
        return list(self.orders.values())[choice % len(self.orders)]

    @property
    def moving(self) -> list[ModelOrder]:
        return [order for order in self.orders.values() if TRANSITIONS[order.status]]

    @property
    def away(self) -> list[ModelOrder]:
        return [o for o in self.orders.values() if OrderStatus.RETURNED in TRANSITIONS[o.status]]

    def caller(self, attempt: Attempt) -> Caller:
        return self.users[attempt.user]

    def lines(self, basket: Basket) -> Basket:
        """With the ids of the products."""
        ids = [*sorted(self.stock), UNKNOWN_PRODUCT]
        return tuple((ids[min(n, len(ids) - 1)], quantity) for n, quantity in basket)

    def wanted(self, basket: Basket) -> dict[int, int]:
        wanted: Counter[int] = Counter()
        for product_id, quantity in self.lines(basket):
            wanted[product_id] += quantity
        return dict(wanted)

    def not_for_sale(self, wanted: Iterable[int]) -> set[int]:
        return set(wanted) & {UNKNOWN_PRODUCT, *self.archived}

    async def move(
        self,
        process: UseCases,
        caller: Caller,
        order: ModelOrder,
        to: OrderStatus,
        *,
        restock: bool = True,
    ) -> Order:
        match to:
            case OrderStatus.PAID:
                return await process.container.pay_order()(caller=caller, order_id=order.id)
            case OrderStatus.CANCELLED:
                return await process.container.cancel_order()(
                    caller=caller, order_id=order.id, restock=restock
                )
            case OrderStatus.RETURNED:
                return await process.container.return_order()(
                    caller=caller, order_id=order.id, restock=restock
                )
            case _:
                return await process.container.advance_order()(
                    caller=caller, order_id=order.id, to=to
                )

    def id_of(self, attempt: Attempt) -> UUID | None:
        if attempt.id_number is not None:
            return order_id(attempt.id_number)
        if attempt.key is not None:
            return keyed_order_id(self.caller(attempt).user_id, attempt.key)
        return None

    def place(self, process: UseCases, attempt: Attempt) -> Awaitable[Placed]:
        place_order = process.container.place_order()
        return place_order(
            caller=self.caller(attempt),
            items=items(*self.lines(attempt.basket)),
            order_id=None if attempt.id_number is None else order_id(attempt.id_number),
            idempotency_key=attempt.key,
        )

    async def send(
        self, several: list[Attempt], processes: list[UseCases]
    ) -> list[Placed | ShopError]:
        """All at once, to the processes by turns; in the order of arrival at each."""
        answers = await asyncio.gather(
            *(
                self.place(processes[n % len(processes)], attempt)
                for n, attempt in enumerate(several)
            ),
            return_exceptions=True,
        )
        for answer in answers:
            if not isinstance(answer, (Placed, ShopError)):
                raise answer
        return [answer for answer in answers if isinstance(answer, (Placed, ShopError))]

    def answer(self, work: Awaitable[T]) -> T | ShopError:
        return self.run(answered(work))

    def restock(self, product_id: int, delta: int) -> Awaitable[Product]:
        change = self.shop.container.change_stock()
        return change(caller=self.boss, product_id=product_id, delta=delta, reason="lorry")

    def expect_restocked(self, product_id: int, delta: int, answer: object) -> None:
        if self.stock[product_id] + delta < 0:
            assert isinstance(answer, OutOfStock)
        else:
            assert isinstance(answer, Product)
            self.stock[product_id] += delta
            assert answer.stock == self.stock[product_id]

    def amend(self, caller: Caller, order: ModelOrder, basket: Basket) -> Awaitable[Order]:
        wanted = items(*self.wanted(basket).items())
        amend = self.shop.container.amend_order()
        return amend(caller=caller, order_id=order.id, items=wanted)

    def give_back(
        self, order: ModelOrder, wanted: dict[int, int], *, restock: bool
    ) -> Awaitable[Order]:
        return_order = self.shop.container.return_order()
        return return_order(
            caller=self.boss, order_id=order.id, items=items(*wanted.items()), restock=restock
        )

    def expect(self, attempt: Attempt, answer: Placed | ShopError) -> None:
        """The model says what the answer must be, and follows it."""
        wanted = self.wanted(attempt.basket)
        id_ = self.id_of(attempt)
        known = None if id_ is None else self.orders.get(id_)
        if known is not None:
            if known.user_id == self.caller(attempt).user_id and known.asked == wanted:
                assert isinstance(answer, Placed)
                assert (answer.created, answer.order.id) == (False, id_)
                assert answer.order.status is known.status
            else:
                keyed = attempt.id_number is None
                assert isinstance(answer, IdempotencyKeyReused if keyed else OrderIdTaken)
        elif self.not_for_sale(wanted):
            assert isinstance(answer, InvalidFields)
        elif short := {p: self.stock[p] for p, n in wanted.items() if self.stock[p] < n}:
            assert isinstance(answer, OutOfStock)
            assert {x["product_id"]: x["available"] for x in answer.context["lines"]} == short
        else:
            assert isinstance(answer, Placed)
            assert answer.created
            self.take(attempt, answer)

    def take(self, attempt: Attempt, answer: Placed) -> None:
        wanted = self.wanted(attempt.basket)
        order = self.orders[answer.order.id] = ModelOrder(answer.order, wanted)
        assert order.pieces() == {p: [self.prices[p]] * n for p, n in wanted.items()}
        for product_id, quantity in wanted.items():
            self.stock[product_id] -= quantity
            assert self.stock[product_id] >= 0

    def follow(self, order: ModelOrder, after: Order, *, restock: bool = True) -> None:
        """What is out changed: the difference is on the shelf, unless it was written off."""
        before = order.out
        order.adopt(after)
        for product_id in {*before, *order.out}:
            change = before.get(product_id, 0) - order.out.get(product_id, 0)
            self.stock[product_id] += change if restock else 0
            assert self.stock[product_id] >= 0


def play(
    open_store: Callable[[AsyncExitStack], Awaitable[Store]],
    *,
    examples: int,
    shrink: bool = False,
) -> None:
    machine = type("Trade", (Trade,), {"open_store": staticmethod(open_store)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            derandomize=False,
            print_blob=True,
            # Shrinking a failure plays it a thousand times, which takes minutes on a database.
            phases=[phase for phase in Phase if shrink or phase is not Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_random_trade_keeps_memory_sound(effort: Callable[[int, int], int]) -> None:
    async def open_store(_stack: AsyncExitStack) -> Store:
        return memory_store()

    play(open_store, examples=effort(60, 5_000), shrink=True)


def test_random_trade_keeps_sqlite_sound(
    migrated_sqlite: Path, tmp_path: Path, effort: Callable[[int, int], int]
) -> None:
    numbers = count(1)

    async def open_store(stack: AsyncExitStack) -> Store:
        path = shutil.copy(migrated_sqlite, tmp_path / f"{next(numbers)}.sqlite3")
        return await stack.enter_async_context(sql_store(f"sqlite+aiosqlite:///{path}"))

    play(open_store, examples=effort(12, 1_000))


def test_random_trade_keeps_postgresql_sound(
    lender: Lender, effort: Callable[[int, int], int]
) -> None:
    async def open_store(stack: AsyncExitStack) -> Store:
        url = stack.enter_context(lender.lend())
        return await stack.enter_async_context(sql_store(url))

    play(open_store, examples=effort(12, 1_000))

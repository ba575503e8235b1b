"""Random trade against a tiny model, on every store: what must always hold is looked at each step.

The model predicts every single answer where one process serves requests in order of arrival. Where
two processes race it takes the answers as they come, and holds them to what must always be true.
"""

import asyncio
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
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
    IdempotencyKeyReused,
    InvalidFields,
    MoveNotAllowed,
    OrderIdTaken,
    OrderNotFound,
    OutOfStock,
    ShopError,
    StockChanged,
)
from shop.domain.orders import Order, OrderStatus, Placed, keyed_order_id
from shop.domain.stock import Reason
from shop.domain.users import Caller
from tests.builders import items, order_id
from tests.postgresql import TEMPLATE, PostgresServer
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


class ModelOrder:
    def __init__(self, order: Order, wanted: dict[int, int]) -> None:
        self.id = order.id
        self.user_id = order.user_id
        self.wanted = wanted
        self.status = OrderStatus.PLACED


class Trade(RuleBasedStateMachine):
    open_store: ClassVar[Callable[[AsyncExitStack], Awaitable[Store]]]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stock: dict[int, int] = {}
        self.orders: dict[UUID, ModelOrder] = {}
        self.sent: list[Attempt] = []
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
            self.stack.push_async_callback(process.intake.close)
        self.users = [await self.shop.given_customer() for _ in range(USERS)]
        self.boss = await self.shop.given_staff()

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()

    # --- what is done ---

    @initialize(stock=st.lists(st.integers(0, 6), min_size=1, max_size=2))
    def the_shop_opens(self, stock: list[int]) -> None:
        for pieces in stock:
            self.a_product_is_added(pieces)

    @precondition(lambda self: len(self.stock) < 3)
    @rule(stock=st.integers(0, 6))
    def a_product_is_added(self, stock: int) -> None:
        product = self.run(self.shop.given_product(stock))
        self.stock[product.id] = stock

    @rule(number=st.integers(0, 2), delta=st.integers(-4, 6).filter(bool))
    def stock_is_changed(self, number: int, delta: int) -> None:
        product_id = self.product(number)
        change = self.shop.change_stock.by(
            actor_id=self.boss.user_id, product_id=product_id, delta=delta, reason="lorry"
        )
        if self.stock[product_id] + delta < 0:
            with pytest.raises(OutOfStock):
                self.run(change)
        else:
            assert self.run(change).stock == self.stock[product_id] + delta
            self.stock[product_id] += delta

    @rule(number=st.integers(0, 2), quantity=st.integers(0, 6), expected=st.integers(0, 6))
    def stock_is_counted(self, number: int, quantity: int, expected: int) -> None:
        product_id = self.product(number)
        count = self.shop.change_stock.to(
            actor_id=None,
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
                    assert self.orders[answer.order.id].wanted == self.wanted(attempt)
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
                        for product_id, quantity in self.wanted(attempt).items()
                    )
                case InvalidFields():
                    assert UNKNOWN_PRODUCT in self.wanted(attempt)
                case OrderIdTaken() | IdempotencyKeyReused():
                    assert self.id_of(attempt) in self.orders
                case _:
                    raise AssertionError(answer)

    @precondition(lambda self: self.orders)
    @rule(choice=st.integers(0, 99), who=st.integers(0, USERS))
    def an_order_is_cancelled(self, choice: int, who: int) -> None:
        order, caller = self.order(choice), [*self.users, self.boss][who]
        cancel = self.shop.cancel_order(caller=caller, order_id=order.id)
        if caller.user_id != order.user_id and not caller.is_staff:
            with pytest.raises(OrderNotFound):
                self.run(cancel)
        elif order.status is OrderStatus.PAID and not caller.is_staff:
            with pytest.raises(MoveNotAllowed):
                self.run(cancel)
        else:
            assert self.run(cancel).status is OrderStatus.CANCELLED
            self.give_back(order)

    @precondition(lambda self: self.orders)
    @rule(choice=st.integers(0, 99), times=st.integers(2, 4))
    def an_order_is_cancelled_by_many_at_once(self, choice: int, times: int) -> None:
        order = self.order(choice)

        async def cancel() -> list[Order]:
            return await asyncio.gather(
                *(
                    process.cancel_order(caller=self.boss, order_id=order.id)
                    for process in [self.shop, self.other] * times
                )
            )

        assert {cancelled.status for cancelled in self.run(cancel())} == {OrderStatus.CANCELLED}
        self.give_back(order)

    @precondition(lambda self: self.orders)
    @rule(choice=st.integers(0, 99))
    def an_order_is_paid(self, choice: int) -> None:
        order = self.order(choice)

        async def pay() -> None:
            stored = await self.shop.read_order(caller=self.boss, order_id=order.id)
            await self.store.save_status(
                replace(stored, status=OrderStatus.PAID, version=stored.version + 1)
            )

        if order.status is OrderStatus.PLACED:
            self.run(pay())
            order.status = OrderStatus.PAID

    @precondition(lambda self: self.orders)
    @rule(choice=st.integers(0, 99), several=st.lists(attempts, min_size=1, max_size=4))
    def orders_arrive_while_one_is_cancelled(self, choice: int, several: list[Attempt]) -> None:
        order = self.order(choice)

        async def race() -> list[Placed | ShopError]:
            cancelling = asyncio.create_task(
                self.other.cancel_order(caller=self.boss, order_id=order.id)
            )
            answers = await self.send(several, [self.shop])
            await cancelling
            return answers

        answers = self.run(race())
        self.give_back(order)
        for attempt, answer in zip(several, answers, strict=True):
            if isinstance(answer, Placed) and answer.created:
                self.take(attempt, answer)

    # --- what must hold ---

    @invariant()
    def stock_is_what_the_ledger_and_the_model_say(self) -> None:
        audits = self.run(self.shop.audits())
        assert all(audit.is_sound for audit in audits)
        assert {audit.product_id: audit.on_hand for audit in audits} == self.stock

    @invariant()
    def each_orders_movements_sum_to_what_its_status_takes(self) -> None:
        moved: dict[UUID, Counter[int]] = {}
        reasons: dict[UUID, Counter[Reason]] = {}
        for movement in self.run(self.store.movements()):
            if movement.order_id is not None:
                moved.setdefault(movement.order_id, Counter())[movement.product_id] -= (
                    movement.quantity
                )
                reasons.setdefault(movement.order_id, Counter())[movement.reason] += 1
        assert set(moved) == set(self.orders)
        for id_, order in self.orders.items():
            cancelled = order.status is OrderStatus.CANCELLED
            taken = {product: 0 if cancelled else n for product, n in order.wanted.items()}
            assert moved[id_] == taken
            assert reasons[id_][Reason.CANCEL] == (len(taken) if cancelled else 0)

    @invariant()
    def every_order_is_stored_as_the_model_has_it(self) -> None:
        async def find() -> list[Order]:
            async with self.store.unit_of_work(read_only=True) as uow:
                return list((await uow.orders.find(list(self.orders))).values())

        stored = self.run(find())
        assert {
            order.id: (order.user_id, order.status, {x.product_id: x.quantity for x in order.lines})
            for order in stored
        } == {
            order.id: (order.user_id, order.status, order.wanted) for order in self.orders.values()
        }

    # --- the model ---

    def product(self, number: int) -> int:
        ids = sorted(self.stock)
        return ids[number % len(ids)]

    def order(self, choice: int) -> ModelOrder:
        return list(self.orders.values())[choice % len(self.orders)]

    def caller(self, attempt: Attempt) -> Caller:
        return self.users[attempt.user]

    def basket(self, attempt: Attempt) -> Basket:
        ids = [*sorted(self.stock), UNKNOWN_PRODUCT]
        return tuple((ids[min(n, len(ids) - 1)], quantity) for n, quantity in attempt.basket)

    def wanted(self, attempt: Attempt) -> dict[int, int]:
        wanted: Counter[int] = Counter()
        for product_id, quantity in self.basket(attempt):
            wanted[product_id] += quantity
        return dict(wanted)

    def id_of(self, attempt: Attempt) -> UUID | None:
        if attempt.id_number is not None:
            return order_id(attempt.id_number)
        if attempt.key is not None:
            return keyed_order_id(self.caller(attempt).user_id, attempt.key)
        return None

    async def send(
        self, several: list[Attempt], processes: list[UseCases]
    ) -> list[Placed | ShopError]:
        """All at once, to the processes by turns; in the order of arrival at each."""
        answers = await asyncio.gather(
            *(
                processes[n % len(processes)].place_order(
                    caller=self.caller(attempt),
                    items=items(*self.basket(attempt)),
                    order_id=None if attempt.id_number is None else order_id(attempt.id_number),
                    idempotency_key=attempt.key,
                )
                for n, attempt in enumerate(several)
            ),
            return_exceptions=True,
        )
        for answer in answers:
            if not isinstance(answer, (Placed, ShopError)):
                raise answer
        return [answer for answer in answers if isinstance(answer, (Placed, ShopError))]

    def expect(self, attempt: Attempt, answer: Placed | ShopError) -> None:
        """The model says what the answer must be, and follows it."""
        wanted = self.wanted(attempt)
        id_ = self.id_of(attempt)
        known = None if id_ is None else self.orders.get(id_)
        if known is not None:
            if known.user_id == self.caller(attempt).user_id and known.wanted == wanted:
                assert isinstance(answer, Placed)
                assert (answer.created, answer.order.id) == (False, id_)
                assert answer.order.status is known.status
            else:
                keyed = attempt.id_number is None
                assert isinstance(answer, IdempotencyKeyReused if keyed else OrderIdTaken)
        elif UNKNOWN_PRODUCT in wanted:
            assert isinstance(answer, InvalidFields)
        elif short := {p: self.stock[p] for p, n in wanted.items() if self.stock[p] < n}:
            assert isinstance(answer, OutOfStock)
            assert {x["product_id"]: x["available"] for x in answer.context["lines"]} == short
        else:
            assert isinstance(answer, Placed)
            assert answer.created
            self.take(attempt, answer)

    def take(self, attempt: Attempt, answer: Placed) -> None:
        wanted = self.wanted(attempt)
        self.orders[answer.order.id] = ModelOrder(answer.order, wanted)
        for product_id, quantity in wanted.items():
            self.stock[product_id] -= quantity
            assert self.stock[product_id] >= 0

    def give_back(self, order: ModelOrder) -> None:
        if order.status is not OrderStatus.CANCELLED:
            order.status = OrderStatus.CANCELLED
            for product_id, quantity in order.wanted.items():
                self.stock[product_id] += quantity


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


def test_random_trade_keeps_memory_sound() -> None:
    async def open_store(_stack: AsyncExitStack) -> Store:
        return memory_store()

    play(open_store, examples=80, shrink=True)


def test_random_trade_keeps_sqlite_sound(migrated_sqlite: Path, tmp_path: Path) -> None:
    numbers = count(1)

    async def open_store(stack: AsyncExitStack) -> Store:
        path = shutil.copy(migrated_sqlite, tmp_path / f"{next(numbers)}.sqlite3")
        return await stack.enter_async_context(sql_store(f"sqlite+aiosqlite:///{path}"))

    play(open_store, examples=20)


def test_random_trade_keeps_postgresql_sound(migrated_postgresql: PostgresServer) -> None:
    numbers = count(1)

    async def open_store(stack: AsyncExitStack) -> Store:
        name = f"trade_{next(numbers)}"
        url = migrated_postgresql.create_database(name, template=TEMPLATE)
        stack.callback(migrated_postgresql.drop_database, name)
        return await stack.enter_async_context(sql_store(url))

    play(open_store, examples=12)

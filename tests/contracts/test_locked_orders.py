"""Changing orders, and using keys, that somebody else holds: nobody else waits for that."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text

from shop.adapters.intake import IntakeLimits
from shop.adapters.sql import postgresql_statements
from shop.domain.errors import AlreadyDone, KeyBusy, OrderBusy, Overloaded, WriteConflict
from shop.domain.keys import KeyedRequest
from shop.domain.orders import Order, OrderStatus
from shop.domain.products import Product
from shop.domain.services.cancel_order import Cancellation
from shop.domain.services.keep_catalogue import ChangeOfStock
from shop.domain.stock import StockChange
from shop.domain.users import Caller
from tests.builders import items
from tests.contracts.changes import keyed
from tests.postgresql import HOW_MANY_WAIT
from tests.stores import Store, sql_store
from tests.use_cases import UseCases

SECONDS_MAX = 3.0
"""What a change may take that does not need what is held; it is held for longer."""


@pytest.fixture
async def store(postgresql_url: str) -> AsyncIterator[Store]:
    """Only PostgreSQL locks rows; the other stores have one writer at a time."""
    async with sql_store(postgresql_url) as store:
        yield store


@dataclass(frozen=True, kw_only=True)
class Scene:
    shop: UseCases
    store: Store
    owner: Caller
    boss: Caller
    teapot: Product
    order: Order
    others: list[Order]

    def cancel(self, order: Order, **options: Any) -> asyncio.Task[Order]:
        cancel = self.shop.container.cancel_order()
        options = {"caller": self.owner, **options}
        return asyncio.create_task(cancel(order_id=order.id, **options))

    def restock(self, key: KeyedRequest | None) -> asyncio.Task[Product]:
        change = self.shop.container.change_stock()
        return asyncio.create_task(
            change(caller=self.boss, product_id=self.teapot.id, delta=1, reason="restock", key=key)
        )

    async def others_get_on(self) -> None:
        """Three times, since a second long batches may go around what is held."""
        for other in self.others:
            async with asyncio.timeout(SECONDS_MAX):
                place = self.shop.container.place_order()
                wanted = items((self.teapot.id, 1))
                _, placed = await asyncio.gather(
                    self.cancel(other), place(caller=self.owner, items=wanted)
                )
            assert placed.created


@pytest.fixture
async def scene(shop: UseCases, store: Store) -> Scene:
    owner, boss = await shop.given_customer(), await shop.given_staff()
    teapot = await shop.given_product(100)
    wanted = items((teapot.id, 2))
    first, *others = [(await shop.place_order(caller=owner, items=wanted)).order for _ in range(4)]
    return Scene(
        shop=shop, store=store, owner=owner, boss=boss, teapot=teapot, order=first, others=others
    )


@asynccontextmanager
async def holding(scene: Scene) -> AsyncIterator[None]:
    async with scene.store.unit_of_work() as uow:
        await uow.orders.lock(scene.order.id)
        yield


async def test_who_holds_an_order_holds_up_only_who_changes_it(scene: Scene) -> None:
    async with holding(scene):
        stuck = [scene.cancel(scene.order) for _ in range(2)]
        await scene.others_get_on()
        assert not any(task.done() for task in stuck)
    assert [order.version for order in await asyncio.gather(*stuck)] == [2, 2]
    assert await scene.shop.differences() == []


async def test_a_change_that_waits_for_its_order_in_vain_was_not_made(scene: Scene) -> None:
    scene.shop.container.intake_limits.override(IntakeLimits(deadline=1.0))
    async with holding(scene):
        with pytest.raises(Overloaded, match="nothing was done"):
            await scene.cancel(scene.order)
    read = scene.shop.container.read_order()
    assert await read(caller=scene.owner, order_id=scene.order.id) == scene.order


async def test_a_change_that_waited_for_another_is_decided_on_what_that_left(
    scene: Scene,
) -> None:
    """It was paid meanwhile, so its owner cannot cancel it any more; staff can."""
    async with scene.store.unit_of_work() as uow:
        order = await uow.orders.lock(scene.order.id)
        cancelling = scene.cancel(order), scene.cancel(order, caller=scene.boss, restock=False)
        await scene.others_get_on()
        await uow.orders.save(order.paid(reference=None, at=order.modified_at))
        await uow.commit()
    refused, done = await asyncio.gather(*cancelling, return_exceptions=True)
    assert getattr(refused, "code", None) == "move_not_allowed"
    assert isinstance(done, Order)
    assert (done.status, done.version) == (OrderStatus.CANCELLED, 3)


async def decided(scene: Scene, *changes: Any) -> list[Any]:
    return list(await scene.shop.container.decide_orders()(changes))


def cancellation(scene: Scene) -> Cancellation:
    return Cancellation(
        caller=scene.owner,
        order_id=scene.order.id,
        restock=True,
        unpaid_only=False,
        note="",
    )


def stock_change(scene: Scene, key: KeyedRequest | None = None) -> ChangeOfStock:
    return ChangeOfStock(
        caller=scene.boss,
        product_id=scene.teapot.id,
        change=StockChange(delta=1, reason="restock"),
        key=key,
    )


async def test_an_order_that_is_held_is_busy_and_its_neighbour_decided(scene: Scene) -> None:
    async with holding(scene), asyncio.timeout(SECONDS_MAX):
        busy, done = await decided(scene, cancellation(scene), stock_change(scene))
    assert isinstance(busy, OrderBusy)
    assert busy.held == scene.order.id
    assert isinstance(done, Product)


async def test_an_order_that_was_just_changed_is_not_decided_on_as_it_was(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lines are read as they were before the lock, and may be others by now."""
    gate = await scene.store.sql.patient.connect()
    await gate.execute(text("SELECT pg_advisory_lock(77)"))
    # The statement has begun, and has not come to the order, while the gate is shut.
    held = "WHERE id = ANY($4::uuid[])\n    ORDER BY id"
    way = (False, False)
    assert postgresql_statements.LOCKS_CHANGED[way].count(held) == 1
    monkeypatch.setitem(
        postgresql_statements.LOCKS_CHANGED,
        way,
        postgresql_statements.LOCKS_CHANGED[way]
        .replace(
            held, held.replace("\n", " AND (SELECT pg_advisory_xact_lock(77)) IS NOT NULL\n", 1)
        )
        .replace("IS NOT NULL", "::text IS NOT NULL"),
    )
    deciding = asyncio.create_task(decided(scene, cancellation(scene)))
    waiting = text(HOW_MANY_WAIT)
    async with asyncio.timeout(10):
        while not await gate.scalar(waiting):
            pass
    async with scene.store.unit_of_work() as uow:
        order = await uow.orders.lock(scene.order.id)
        await uow.orders.save(order.paid(reference=None, at=order.modified_at))
        await uow.commit()
    await gate.close()
    [busy] = await deciding
    assert isinstance(busy, OrderBusy)


# --- keys ---


@asynccontextmanager
async def claimed(scene: Scene, key: KeyedRequest) -> AsyncIterator[None]:
    """As by a batch of another process that is not committed yet."""
    async with scene.store.unit_of_work(batch=True) as uow:
        batch = await uow.batch.lock(
            order_ids=[], product_ids=[], user_ids=[], changing=[], keys=[key]
        )
        assert batch.claimed == {key.place}
        yield


async def test_a_key_that_is_in_use_holds_up_only_who_uses_it(scene: Scene) -> None:
    key = keyed(scene.boss.user_id)
    async with claimed(scene, key):
        stuck = scene.restock(key)
        await scene.others_get_on()
        await scene.restock(keyed(scene.boss.user_id, key="another"))
        assert not stuck.done()
    await stuck
    with pytest.raises(AlreadyDone):
        await scene.restock(key)
    assert await scene.shop.differences() == []


async def test_a_key_that_is_in_use_is_busy(scene: Scene) -> None:
    key = keyed(scene.boss.user_id)
    async with claimed(scene, key), asyncio.timeout(SECONDS_MAX):
        busy, done = await decided(scene, stock_change(scene, key), stock_change(scene))
    assert isinstance(busy, KeyBusy)
    assert busy.held == key.place
    assert isinstance(done, Product)


async def test_a_key_that_another_change_alone_has_claimed_fails_its_own_request_only(
    scene: Scene,
) -> None:
    """It takes no lock that could be tried: it is waited for, a moment."""
    key = keyed(scene.boss.user_id)
    async with scene.store.unit_of_work(key=key):
        with pytest.raises(WriteConflict):
            await decided(scene, stock_change(scene, key))
        place = scene.shop.container.place_order()
        hands: list[Awaitable[Any]] = [
            scene.restock(key),
            *(place(caller=scene.owner, items=items((scene.teapot.id, 1))) for _ in range(4)),
        ]
        refused, *placed = await asyncio.gather(*hands, return_exceptions=True)
    assert isinstance(refused, WriteConflict)
    assert [getattr(answer, "created", answer) for answer in placed] == [True] * 4

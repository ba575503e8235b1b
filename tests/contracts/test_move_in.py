"""Moving a shop in: once or in many passes, broken off or not, it comes to the same."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from shop.domain.errors import InvalidField, MoveUnderWay, ShopInUse
from shop.domain.moving import UNUSABLE_HASH, Finding, Kind
from shop.domain.orders import OrderStatus, moved_order_id
from shop.domain.pages import Window
from shop.domain.ports import OldShop
from shop.domain.services import move_in
from shop.domain.services.move_in import Moved, MoveOptions, Stage
from shop.domain.stock import Reason
from shop.domain.users import OPERATOR, Caller, Role
from tests.builders import NOON, items, money, product
from tests.old_shops import FakeOldShop
from tests.postgresql import HOW_MANY_WAIT
from tests.stores import Store, sql_store
from tests.use_cases import UseCases

OPTIONS = MoveOptions(status=OrderStatus.DELIVERED, sku_prefix="DJANGO-", dry_run=False)


async def move(shop: UseCases, old: OldShop, **options: Any) -> list[Moved]:
    steps = shop.move_in(caller=OPERATOR, old=old, options=replace(OPTIONS, **options))
    return [step async for step in steps]


def found(steps: Sequence[Moved]) -> list[tuple[Finding, int]]:
    return [(notice.finding, notice.id) for step in steps for notice in step.notices]


def written(steps: Sequence[Moved]) -> Counter[Stage]:
    counts: Counter[Stage] = Counter()
    for step in steps:
        counts[step.stage] += step.new + step.changed
    return +counts


async def ledger(store: Store, product_id: int) -> list[tuple[int, int, Reason]]:
    return [
        (movement.quantity, movement.balance, movement.reason)
        for movement in await store.movements()
        if movement.product_id == product_id
    ]


@pytest.fixture
def old() -> FakeOldShop:
    """Two users and two products, of which three orders took some."""
    old = FakeOldShop()
    old.user(1, "anna")
    old.user(7, "bert", is_staff=True, is_active=False)
    old.product(3, "Teapot", price="12.00", stock=10)
    old.product(4, "Cup", price="3.5", stock=0)
    old.order(10, (3, 2), (4, 1), (3, 1), code="ABCDEFGH1234")
    old.order(12, (3, 5), user_id=7, created_at=NOON - timedelta(days=400))
    old.order(15, (4, 4))
    return old


async def test_everything_keeps_its_id_its_times_and_its_state(
    shop: UseCases, old: FakeOldShop
) -> None:
    assert found(await move(shop, old)) == []
    users = [user async for step in shop.list_users(caller=OPERATOR) for user in step]
    assert [(u.id, u.username, u.role, u.disabled, u.created_at) for u in users] == [
        (1, "anna", Role.CUSTOMER, False, NOON),
        (7, "bert", Role.STAFF, True, NOON),
    ]
    teapot = await shop.read_product(caller=OPERATOR, product_id=3)
    assert (teapot.sku, teapot.name, teapot.price, teapot.stock) == (
        "DJANGO-3",
        "Teapot",
        money(1200),
        10,
    )
    assert (teapot.created_at, teapot.modified_at, teapot.archived) == (NOON, NOON, False)
    order = await shop.read_order(caller=OPERATOR, order_id=moved_order_id(10))
    assert (order.code, order.user_id, order.status) == ("ABCDEFGH1234", 1, OrderStatus.DELIVERED)
    assert [(line.product_id, line.quantity, line.price) for line in order.lines] == [
        (3, 3, money(1200)),
        (4, 1, money(350)),
    ]
    older = await shop.read_order(caller=OPERATOR, order_id=moved_order_id(12))
    assert older.created_at == older.modified_at == NOON - timedelta(days=400)


async def test_users_sign_in_with_their_old_passwords(shop: UseCases, old: FakeOldShop) -> None:
    await move(shop, old)
    signed_in = await shop.sign_in(username="anna", password="secret")
    assert signed_in.caller == Caller(user_id=1, role=Role.CUSTOMER)


async def test_the_ledger_adds_up(store: Store, shop: UseCases, old: FakeOldShop) -> None:
    await move(shop, old)
    assert await ledger(store, 3) == [
        (18, 18, Reason.IMPORT),
        (-3, 15, Reason.IMPORT),
        (-5, 10, Reason.IMPORT),
    ]
    assert await shop.differences() == []


async def test_the_history_says_where_an_order_comes_from(shop: UseCases, old: FakeOldShop) -> None:
    await move(shop, old)
    [entry] = await shop.history_of(moved_order_id(10))
    assert entry.from_status is entry.to_status is OrderStatus.DELIVERED
    assert entry.note == ("moved in: order 10 of the Django shop; prices are those of this moment")


async def test_what_comes_new_after_the_move_has_ids_of_its_own(
    shop: UseCases, old: FakeOldShop
) -> None:
    await move(shop, old)
    assert (await shop.given_customer()).user_id > 7
    assert (await shop.given_product()).id > 4


async def test_a_second_run_changes_nothing(store: Store, shop: UseCases, old: FakeOldShop) -> None:
    await move(shop, old)
    before = await store.contents()
    steps = await move(shop, old)
    assert written(steps) == {}
    assert await store.contents() == before


async def test_a_dry_run_says_the_same_and_writes_nothing(
    store: Store, shop: UseCases, old: FakeOldShop
) -> None:
    old.user(8, "Anna", email="anna@example.com")
    old.order(16)
    before = await store.contents()
    dry = await move(shop, old, dry_run=True)
    assert await store.contents() == before
    wet = await move(shop, old)
    assert sorted(found(dry), key=str) == sorted(found(wet), key=str)
    without_stock = {s: n for s, n in written(wet).items() if s is not Stage.STOCK}
    assert written(dry) == without_stock == {Stage.USERS: 3, Stage.PRODUCTS: 2, Stage.ORDERS: 3}


async def test_a_later_run_brings_what_is_new_since(
    store: Store, shop: UseCases, old: FakeOldShop
) -> None:
    await move(shop, old)
    old.user(9, "carla")
    old.user(1, "anna", password_hash="plain:another")
    old.product(3, "Teapot, blue", price="13.00", stock=10, modified_at=NOON + timedelta(days=1))
    old.product(5, "Tray", stock=2)
    old.order(20, (3, 4), (5, 1), user_id=9)
    old.sold(3, 4)
    steps = await move(shop, old)
    assert found(steps) == []
    assert written(steps) == {
        Stage.USERS: 2,
        Stage.PRODUCTS: 2,
        Stage.STOCK: 2,
        Stage.ORDERS: 1,
    }
    teapot = await shop.read_product(caller=OPERATOR, product_id=3)
    assert (teapot.name, teapot.price, teapot.stock) == ("Teapot, blue", money(1300), 6)
    assert teapot.modified_at == NOON + timedelta(days=1)
    assert (await ledger(store, 3))[3:] == [(-4, 6, Reason.IMPORT)]
    assert await ledger(store, 5) == [(3, 3, Reason.IMPORT), (-1, 2, Reason.IMPORT)]
    await shop.sign_in(username="anna", password="another")
    await shop.sign_in(username="carla", password="secret")
    # What was bought before keeps its price.
    bought = await shop.read_order(caller=OPERATOR, order_id=moved_order_id(10))
    assert bought.lines[0].price == money(1200)
    assert await shop.differences() == []


async def test_whoever_has_another_password_there_is_signed_out_here(
    shop: UseCases, old: FakeOldShop
) -> None:
    await move(shop, old)
    await shop.sign_in(username="anna", password="secret")
    old.user(1, "anna", password_hash="plain:another")
    await move(shop, old)
    anna = Caller(user_id=1, role=Role.CUSTOMER)
    assert (await shop.list_sessions(caller=anna, window=Window(limit=10))).items == []
    assert ("user.moved_again", {"user": 1}) in shop.audit.events


async def test_stock_that_was_counted_anew_there_comes(
    store: Store, shop: UseCases, old: FakeOldShop
) -> None:
    await move(shop, old)
    old.product(3, stock=7)
    old.product(4, "Cup", price="3.5", stock=30)
    assert found(await move(shop, old)) == []
    assert (await ledger(store, 3))[-1] == (-3, 7, Reason.IMPORT)
    assert (await ledger(store, 4))[-1] == (30, 30, Reason.IMPORT)


async def test_negative_stock_becomes_none_by_a_correction(
    store: Store, shop: UseCases, old: FakeOldShop
) -> None:
    old.product(4, "Cup", price="3.5", stock=-2)
    assert found(await move(shop, old)) == [(Finding.STOCK_BELOW_ZERO, 4)]
    assert await ledger(store, 4) == [
        (3, 3, Reason.IMPORT),
        (2, 5, Reason.CORRECTION),
        (-1, 4, Reason.IMPORT),
        (-4, 0, Reason.IMPORT),
    ]
    # It sells on what it has not.
    old.order(21, (4, 3))
    old.sold(4, 3)
    await move(shop, old)
    assert (await ledger(store, 4))[4:] == [(3, 3, Reason.CORRECTION), (-3, 0, Reason.IMPORT)]
    old.product(4, "Cup", price="3.5", stock=6)
    assert found(await move(shop, old)) == []
    assert (await ledger(store, 4))[6:] == [(6, 6, Reason.IMPORT)]
    assert await shop.differences() == []


async def test_orders_may_arrive_in_another_status(shop: UseCases, old: FakeOldShop) -> None:
    await move(shop, old, status=OrderStatus.PLACED)
    anna = Caller(user_id=1, role=Role.CUSTOMER)
    cancelled = await shop.cancel_order(caller=anna, order_id=moved_order_id(10))
    assert cancelled.status is OrderStatus.CANCELLED
    assert (await shop.read_product(caller=OPERATOR, product_id=3)).stock == 13
    assert await shop.differences() == []


async def test_what_comes_back_of_a_moved_order_goes_on_the_shelf(
    shop: UseCases, old: FakeOldShop
) -> None:
    await move(shop, old)
    await shop.return_order(caller=OPERATOR, order_id=moved_order_id(12), items=items((3, 2)))
    assert (await shop.read_product(caller=OPERATOR, product_id=3)).stock == 12
    assert await shop.differences() == []


# --- what was changed here ---


async def test_stock_sold_here_is_not_overwritten(
    store: Store, shop: UseCases, old: FakeOldShop
) -> None:
    await move(shop, old)
    buyer = await shop.given_customer()
    await shop.place_order(caller=buyer, items=items((3, 1)))
    # Nothing is new there: nothing to tell.
    assert found(await move(shop, old)) == []
    old.order(20, (3, 4))
    old.sold(3, 4)
    for _ in range(2):
        assert found(await move(shop, old)) == [(Finding.STOCK_CHANGED_TWICE, 3)]
        assert (await shop.read_product(caller=OPERATOR, product_id=3)).stock == 9
    assert (await ledger(store, 3))[-2:] == [(4, 13, Reason.IMPORT), (-4, 9, Reason.IMPORT)]
    assert await shop.differences() == []


async def test_a_product_changed_here_stays_so(shop: UseCases, old: FakeOldShop) -> None:
    await move(shop, old)
    await shop.change_product(caller=OPERATOR, product_id=3, price=money(999))
    assert found(await move(shop, old)) == []
    old.product(3, "Kettle")
    for _ in range(2):
        assert found(await move(shop, old)) == [(Finding.PRODUCT_CHANGED_TWICE, 3)]
    kept = await shop.read_product(caller=OPERATOR, product_id=3)
    assert (kept.name, kept.price) == ("Teapot", money(999))


async def test_a_sku_and_a_description_are_this_shops_alone(
    shop: UseCases, old: FakeOldShop
) -> None:
    await move(shop, old)
    await shop.change_product(caller=OPERATOR, product_id=3, sku="TEA-1", description="Of clay.")
    old.product(3, "Kettle")
    assert found(await move(shop, old)) == []
    changed = await shop.read_product(caller=OPERATOR, product_id=3)
    assert (changed.name, changed.sku, changed.description) == ("Kettle", "TEA-1", "Of clay.")


async def test_a_user_changed_here_stays_so(shop: UseCases, old: FakeOldShop) -> None:
    await move(shop, old)
    await shop.set_password(caller=OPERATOR, username="anna", password="given by an operator")
    assert found(await move(shop, old)) == []
    old.user(1, "anna", password_hash="plain:another")
    assert found(await move(shop, old)) == [(Finding.USER_CHANGED_TWICE, 1)]
    await shop.sign_in(username="anna", password="given by an operator")


async def test_what_is_gone_or_changed_there_is_told(shop: UseCases, old: FakeOldShop) -> None:
    old.user(8)
    old.product(9)
    await move(shop, old)
    old.forget(user=8, product=9, order=15)
    old.order(12, (3, 6), user_id=7)
    for _ in range(2):
        assert found(await move(shop, old)) == [
            (Finding.USER_GONE, 8),
            (Finding.PRODUCT_GONE, 9),
            (Finding.ORDER_CHANGED, 12),
            (Finding.ORDER_GONE, 15),
        ]
    kept = await shop.read_order(caller=OPERATOR, order_id=moved_order_id(12))
    assert kept.lines[0].quantity == 5


async def test_a_shop_in_use_takes_nobody_elses_ids(shop: UseCases, old: FakeOldShop) -> None:
    await shop.given_customer("anna")
    with pytest.raises(ShopInUse):
        await move(shop, old)


async def test_ids_that_were_taken_here_meanwhile_are_told(
    shop: UseCases, old: FakeOldShop
) -> None:
    await move(shop, old)
    here, tray = await shop.given_customer(), await shop.given_product()
    old.user(here.user_id, "dora")
    old.product(tray.id)
    old.order(30, (3, 1), user_id=here.user_id)
    old.order(31, (tray.id, 1))
    assert found(await move(shop, old)) == [
        (Finding.USER_TAKEN, here.user_id),
        (Finding.PRODUCT_TAKEN, tray.id),
        (Finding.ORDER_USER, 30),
        (Finding.ORDER_PRODUCT, 31),
    ]


async def test_a_sku_that_is_taken_in_this_very_moment_is_told(
    postgresql_url: str, old: FakeOldShop
) -> None:
    """It is looked for, and then somebody else has it; only PostgreSQL has two who write."""
    async with sql_store(postgresql_url) as store:
        shop = UseCases(store.unit_of_work)
        async with store.unit_of_work() as uow:
            await uow.products.add([product(0, sku="django-4")])
            moving = asyncio.create_task(move(shop, old))
            await _until_somebody_waits(store, moving)
            await uow.commit()
        steps = await moving
        assert (Finding.PRODUCT_TAKEN, 4) in found(steps)
        assert written(steps)[Stage.PRODUCTS] == 1
        await shop.close()


async def _until_somebody_waits(store: Store, task: asyncio.Task[Any]) -> None:
    async with store.sql.read.connect() as connection, asyncio.timeout(20):
        while not await connection.scalar(text(HOW_MANY_WAIT)):
            assert not task.done()


# --- what does not fit ---


async def test_names_that_clash_are_kept_and_sign_in_as_they_are_spelt(
    shop: UseCases, old: FakeOldShop
) -> None:
    old.user(8, "Anna", password_hash="plain:of 8")
    old.user(9, "ANNA", password_hash="plain:of 9")
    told = [(Finding.USERNAMES_CLASH, 8), (Finding.USERNAMES_CLASH, 9)]
    assert found(await move(shop, old)) == told
    assert found(await move(shop, old)) == told
    passwords = {"anna": "secret", "Anna": "of 8", "ANNA": "of 9"}
    for (name, password), user_id in zip(passwords.items(), (1, 8, 9), strict=True):
        signed_in = await shop.sign_in(username=name, password=password)
        assert signed_in.caller.user_id == user_id


async def test_names_may_go_from_one_user_to_another(shop: UseCases, old: FakeOldShop) -> None:
    await move(shop, old)
    old.user(1, "anne")
    old.user(9, "anna", password_hash="plain:of 9")
    assert found(await move(shop, old)) == []
    for name, password, user_id in [("anne", "secret", 1), ("anna", "of 9", 9)]:
        assert (await shop.sign_in(username=name, password=password)).caller.user_id == user_id


async def test_a_name_that_stays_here_is_nobody_elses(shop: UseCases, old: FakeOldShop) -> None:
    await move(shop, old)
    await shop.set_password(caller=OPERATOR, username="anna", password="given by an operator")
    old.user(1, "anne")
    old.user(9, "anna")
    assert found(await move(shop, old)) == [
        (Finding.USER_CHANGED_TWICE, 1),
        (Finding.USERNAME_REPLACED, 9),
    ]


async def test_a_name_with_other_signs_still_signs_in(shop: UseCases, old: FakeOldShop) -> None:
    old.user(8, "carla berg")
    old.user(9, "carla!berg")
    old.user(10, "")
    old.user(11, "x" * 151)
    assert found(await move(shop, old)) == [
        (Finding.USERNAME_CHANGED, 8),
        (Finding.USERNAME_CHANGED, 9),
        (Finding.USERNAME_REPLACED, 9),
        (Finding.USERNAME_REPLACED, 10),
        (Finding.USERNAME_REPLACED, 11),
    ]
    for name, user_id in (("carla berg", 8), ("django-9", 9), ("django-10", 10)):
        assert (await shop.sign_in(username=name, password="secret")).caller.user_id == user_id


async def test_a_hash_of_another_kind_is_no_password(
    store: Store, shop: UseCases, old: FakeOldShop
) -> None:
    old.user(8, password_hash="bcrypt$$2b$12$abc")
    old.user(9, password_hash="!unusable")
    steps = await move(shop, old)
    assert found(steps) == [(Finding.PASSWORD_UNREADABLE, 8), (Finding.PASSWORD_UNREADABLE, 9)]
    assert [notice.value for step in steps for notice in step.notices] == ["bcrypt", ""]
    async with store.unit_of_work(read_only=True) as uow:
        assert (await uow.users.get(8)).password_hash == UNUSABLE_HASH
    await shop.set_password(caller=OPERATOR, username="user-8", password="given by an operator")
    await shop.sign_in(username="user-8", password="given by an operator")


@pytest.mark.parametrize("price", ["-0.01", "10000000000.01", "1.005", "NaN", "Infinity", None])
async def test_a_price_that_is_none_sells_nothing(
    shop: UseCases, old: FakeOldShop, price: str | None
) -> None:
    old.product(3, price=price)
    assert found(await move(shop, old)) == [(Finding.PRICE, 3)]
    moved = await shop.read_product(caller=OPERATOR, product_id=3)
    assert (moved.price, moved.archived) == (money(0), True)
    old.product(3, price="5.00")
    assert found(await move(shop, old)) == []
    moved = await shop.read_product(caller=OPERATOR, product_id=3)
    assert (moved.price, moved.archived) == (money(500), False)


async def test_orders_that_cannot_be_moved_are_told_by_id(shop: UseCases, old: FakeOldShop) -> None:
    old.order(20)
    old.order(21, (3, 0), (3, -2), (4, None))
    old.order(22, (3, 1), user_id=99)
    old.order(23, (3, 1), user_id=None)
    old.order(24, (3, 1), (99, 1))
    old.order(25, (3, 1), (None, 1))
    old.order(-1, (3, 1))
    old.order(26, (3, 1_000_000), (3, 1_000_001), (4, 0))
    old.stray(50)
    steps = await move(shop, old)
    assert found(steps) == [
        (Finding.ORDER_ID, -1),
        (Finding.ORDER_EMPTY, 20),
        (Finding.ORDER_EMPTY, 21),
        (Finding.ORDER_USER, 22),
        (Finding.ORDER_USER, 23),
        (Finding.ORDER_PRODUCT, 24),
        (Finding.ORDER_PRODUCT, 25),
        (Finding.ITEM_QUANTITY, 17),
        (Finding.ITEM_QUANTITY, 18),
        (Finding.ITEM_STRAY, 50),
    ]
    values = {notice.id: notice.value for step in steps for notice in step.notices}
    assert values[20] == "code 000000000020, user 1: nothing"
    assert values[24] == "code 000000000024, user 1: 1 of product 3, 1 of product 99"
    moved = await shop.read_order(caller=OPERATOR, order_id=moved_order_id(26))
    assert [line.quantity for line in moved.lines] == [1_000_000]
    assert await shop.differences() == []


async def test_codes_are_kept_where_they_can_be(shop: UseCases, old: FakeOldShop) -> None:
    old.order(20, (3, 1), code="abcdefgh9999")
    old.order(21, (3, 1), code="no code\n")
    old.order(22, (3, 1), code="ABCDEFGH1234")
    assert found(await move(shop, old)) == [
        (Finding.CODE_CASE, 20),
        (Finding.CODE, 21),
        (Finding.CODE_TAKEN, 22),
    ]
    codes = [
        (await shop.read_order(caller=OPERATOR, order_id=moved_order_id(id_))).code
        for id_ in (10, 20, 21, 22)
    ]
    assert codes[:2] == ["ABCDEFGH1234", "ABCDEFGH9999"]
    assert len(set(codes)) == 4
    [entry] = await shop.history_of(moved_order_id(21))
    assert "order 21 of the Django shop, code 'no code?'" in entry.note


async def test_names_and_numbers_beyond_limits_are_cut_and_told(
    shop: UseCases, old: FakeOldShop
) -> None:
    old.product(5, "x" * 201)
    old.product(6, " \x00 ")
    old.product(7, stock=10**15)
    old.product(8, stock=None)
    old.product(0)
    old.user(0)
    old.user(2**53)
    steps = await move(shop, old)
    assert sorted(found(steps), key=str) == sorted(
        [
            (Finding.USER_ID, 0),
            (Finding.USER_ID, 2**53),
            (Finding.PRODUCT_ID, 0),
            (Finding.PRODUCT_NAME, 5),
            (Finding.PRODUCT_NAME, 6),
            (Finding.STOCK, 7),
            (Finding.STOCK, 8),
        ],
        key=str,
    )
    names = [(await shop.read_product(caller=OPERATOR, product_id=n)).name for n in (5, 6)]
    assert names == ["x" * 200, "DJANGO-6"]
    stocks = [(await shop.read_product(caller=OPERATOR, product_id=n)).stock for n in (7, 8)]
    assert stocks == [10**12, 0]


async def test_columns_without_a_place_are_told_with_their_values(
    shop: UseCases, old: FakeOldShop
) -> None:
    old.user(1, "anna", email="anna@example.com")
    old.product(3, image="teapot.png")
    old.order(15, (4, 4), gift="yes")
    notices = [notice for step in await move(shop, old) for notice in step.notices]
    assert [(n.finding.kind, n.id, n.column, n.value) for n in notices] == [
        (Kind.USER, 1, "email", "anna@example.com"),
        (Kind.PRODUCT, 3, "image", "teapot.png"),
        (Kind.ORDER, 15, "gift", "yes"),
    ]


async def test_times_that_cannot_be_read_are_those_of_the_move(
    shop: UseCases, old: FakeOldShop
) -> None:
    old.user(1, "anna", created_at=None)
    old.product(3, modified_at=None)
    old.order(15, (4, 4), created_at=None)
    assert found(await move(shop, old)) == [
        (Finding.USER_TIME, 1),
        (Finding.PRODUCT_TIME, 3),
        (Finding.ORDER_TIME, 15),
    ]
    order = await shop.read_order(caller=OPERATOR, order_id=moved_order_id(15))
    assert order.created_at == shop.clock()


# --- broken off, and at the same time ---


async def test_broken_off_after_any_step_it_goes_on(
    store: Store, shop: UseCases, old: FakeOldShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run ends some steps later than the one before; what is left comes to the same."""
    for size in ("USERS_PER_STEP", "PRODUCTS_PER_STEP", "ORDERS_PER_STEP"):
        monkeypatch.setattr(move_in, size, 1)
    for number in range(1, 22, 2):
        steps = shop.move_in(caller=OPERATOR, old=old, options=OPTIONS)
        async with aclosing(steps):
            for _ in range(number):
                if await anext(steps, None) is None:
                    break
        assert await shop.differences() == []
    assert await ledger(store, 3) == [
        (18, 18, Reason.IMPORT),
        (-3, 15, Reason.IMPORT),
        (-5, 10, Reason.IMPORT),
    ]
    assert [await shop.stock_of(await shop.read_product(caller=OPERATOR, product_id=3))] == [10]


async def test_what_was_awaited_and_is_gone_leaves_no_stock_behind(
    shop: UseCases, old: FakeOldShop
) -> None:
    """The stock was opened for an order that was deleted before it was brought."""
    steps = shop.move_in(caller=OPERATOR, old=old, options=OPTIONS)
    async with aclosing(steps):
        async for step in steps:
            if step.stage is Stage.STOCK:
                break
    assert (await shop.read_product(caller=OPERATOR, product_id=3)).stock == 18
    old.forget(order=12)
    await move(shop, old)
    assert (await shop.read_product(caller=OPERATOR, product_id=3)).stock == 10
    assert await shop.differences() == []


async def test_what_was_bought_here_before_its_orders_came_is_made_up_for(
    store: Store, shop: UseCases, old: FakeOldShop
) -> None:
    steps = shop.move_in(caller=OPERATOR, old=old, options=OPTIONS)
    async with aclosing(steps):
        async for step in steps:
            if step.stage is Stage.STOCK and step.seen:
                break
    buyer = await shop.given_customer()
    await shop.place_order(caller=buyer, items=items((4, 5)))
    await move(shop, old)
    assert (await shop.read_product(caller=OPERATOR, product_id=4)).stock == 0
    assert (await ledger(store, 4))[2:] == [
        (1, 1, Reason.CORRECTION),
        (-1, 0, Reason.IMPORT),
        (4, 4, Reason.CORRECTION),
        (-4, 0, Reason.IMPORT),
    ]
    assert await shop.differences() == []


async def test_there_is_one_move_at_a_time(
    store: Store, shop: UseCases, old: FakeOldShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shop.move_in(caller=OPERATOR, old=old, options=OPTIONS)
    async with aclosing(first):
        await anext(first)
        monkeypatch.setattr(move_in, "LEASE_LASTS", timedelta(0))
        other = UseCases(store.unit_of_work, process=2)
        with pytest.raises(MoveUnderWay):
            await move(other, old)
        await other.close()


async def test_who_has_lost_the_lease_writes_no_more(
    store: Store, shop: UseCases, old: FakeOldShop
) -> None:
    first = shop.move_in(caller=OPERATOR, old=old, options=OPTIONS)
    async with aclosing(first):
        await anext(first)
        await store.let_leases_expire()
        other = UseCases(store.unit_of_work, process=2)
        second = other.move_in(caller=OPERATOR, old=old, options=OPTIONS)
        async with aclosing(second):
            await anext(second)
            with pytest.raises(MoveUnderWay):
                async for _ in first:
                    pass
        await other.close()


@pytest.mark.parametrize("prefix", ["a\nb", "x" * 60, "@"])
async def test_a_prefix_is_the_beginning_of_a_sku(
    shop: UseCases, old: FakeOldShop, prefix: str
) -> None:
    with pytest.raises(InvalidField):
        await move(shop, old, sku_prefix=prefix)


async def test_the_move_is_in_the_audit_trail(shop: UseCases, old: FakeOldShop) -> None:
    await move(shop, old)
    assert shop.audit.events == [
        ("shop.moved_in", {"user": None, "users": 2, "products": 2, "orders": 3})
    ]

"""What files are made from and become, the same in every store."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

import pytest

from shop.domain.bulk import Outcome, ProductRow, RefusedRow, RowAnswer
from shop.domain.errors import AlreadyDone, InvalidField, OperatorOnly
from shop.domain.keys import KeyedRequest
from shop.domain.pages import Window
from shop.domain.products import ProductQuery
from shop.domain.services import export
from shop.domain.stock import Reason, StockChange
from shop.domain.users import OPERATOR
from tests.builders import NOON, items, money, order_id
from tests.stores import Store
from tests.use_cases import UseCases

T = TypeVar("T")


async def all_of(steps: AsyncIterator[Sequence[T]]) -> list[T]:
    return [each async for step in steps for each in step]


@pytest.fixture
def steps_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PER_STEP", 2)
    monkeypatch.setattr(export, "ORDERS_PER_STEP", 2)


@pytest.mark.usefixtures("steps_of_two")
async def test_all_products_are_exported_by_id_with_their_stock(shop: UseCases) -> None:
    for number in range(5):
        await shop.given_product(sku=f"A-{number}", stock=number)
    await shop.archive_product(caller=OPERATOR, product_id=3)
    products = await all_of(shop.export_products(caller=OPERATOR))
    assert [(each.id, each.stock, each.archived) for each in products] == [
        (1, 0, False),
        (2, 1, False),
        (3, 2, True),
        (4, 3, False),
        (5, 4, False),
    ]


@pytest.mark.usefixtures("steps_of_two")
async def test_all_orders_are_exported_by_id_with_their_lines(shop: UseCases) -> None:
    buyer = await shop.given_customer()
    for _ in range(3):
        await shop.given_product(stock=10)
    for number in (2, 1, 3):
        await shop.place_order(
            caller=buyer, items=items((1, number), (3, 1)), order_id=order_id(number)
        )
    orders = await all_of(shop.export_orders(caller=OPERATOR))
    assert [order.id for order in orders] == [order_id(number) for number in (1, 2, 3)]
    for order in orders:
        assert order == await shop.read_order(caller=OPERATOR, order_id=order.id)


@pytest.mark.usefixtures("steps_of_two")
async def test_the_whole_ledger_is_exported_in_its_order_with_skus(shop: UseCases) -> None:
    buyer = await shop.given_customer()
    first = await shop.given_product(sku="A", stock=10)
    await shop.given_product(sku="B", stock=20)
    await shop.place_order(caller=buyer, items=items((1, 3), (2, 4)), order_id=order_id(1))
    steps = [step async for step in shop.export_ledger(caller=OPERATOR)]
    movements = [movement for step in steps for movement in step.movements]
    assert [(each.product_id, each.quantity, each.reason) for each in movements] == [
        (1, 10, Reason.INITIAL),
        (2, 20, Reason.INITIAL),
        (1, -3, Reason.ORDER),
        (2, -4, Reason.ORDER),
    ]
    assert [each.id for each in movements] == sorted(each.id for each in movements)
    assert all(step.skus[each.product_id] in "AB" for step in steps for each in step.movements)
    ledger = await shop.read_movements(
        caller=OPERATOR, product_id=first.id, window=Window(limit=10)
    )
    assert [each for each in movements if each.product_id == first.id] == ledger.items[::-1]


async def test_an_empty_shop_has_nothing_to_export(shop: UseCases) -> None:
    assert await all_of(shop.export_products(caller=OPERATOR)) == []
    assert await all_of(shop.export_orders(caller=OPERATOR)) == []
    assert [step async for step in shop.export_ledger(caller=OPERATOR)] == []


@pytest.mark.parametrize("number", [1, 4])
async def test_a_step_costs_one_statement_however_long_it_is(
    sql: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    shop = UseCases(sql.unit_of_work)
    for each in range(number):
        await shop.given_product(sku=f"A-{each}", stock=1)
    monkeypatch.setattr(export, "PER_STEP", number)
    with sql.statements() as sent:
        await all_of(shop.export_products(caller=OPERATOR))
    # One for the products, and one that finds no more.
    assert len(sent) == 2
    await shop.close()


# --- importing in one transaction ---


def rows(*skus: str, **fields: Any) -> list[ProductRow | RefusedRow]:
    return [
        ProductRow(sku=sku, **{"name": "Teapot", "price": money(), **fields})
        if sku
        else RefusedRow(error=InvalidField("price", "must be a price"))
        for sku in skus
    ]


async def imported(
    shop: UseCases, *batches: list[ProductRow | RefusedRow], key: KeyedRequest | None = None
) -> tuple[bool, list[Outcome]]:
    outcomes: list[Outcome] = []

    def answered(answers: Sequence[RowAnswer]) -> None:
        outcomes.extend(answer.outcome for answer in answers)

    is_saved = await shop.import_products(
        caller=OPERATOR, batches=lambda: batches, answered=answered, key=key
    )
    return is_saved, outcomes


async def skus(shop: UseCases) -> list[str]:
    page = await shop.list_products(caller=OPERATOR, query=ProductQuery(), window=Window(limit=100))
    return [product.sku for product in page.items]


async def test_batches_are_saved_as_one_change(shop: UseCases) -> None:
    await shop.given_product(sku="A", stock=5)
    stock = StockChange(delta=2, reason="import")
    is_saved, outcomes = await imported(
        shop, rows("A", stock=stock), rows("B", stock=stock), rows("A", name="Kettle")
    )
    assert is_saved
    # Each batch sees what those before it have written.
    assert outcomes == [Outcome.CHANGED, Outcome.CREATED, Outcome.CHANGED]
    found = await shop.find_product(caller=OPERATOR, sku="A")
    assert (found.name, found.stock) == ("Kettle", 7)
    assert await shop.differences() == []


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_row_that_is_refused_leaves_nothing(shop: UseCases, place: int) -> None:
    batches = [rows("A", "B"), rows("C", "D"), rows("E", "F")]
    batches[place] = [*batches[place], *rows("")]
    is_saved, outcomes = await imported(shop, *batches)
    assert not is_saved
    assert outcomes.count(Outcome.REFUSED) == 1
    # What comes after it is looked at, too.
    assert len(outcomes) == 7
    assert await skus(shop) == []


async def test_it_is_done_once_for_its_key(shop: UseCases) -> None:
    key = KeyedRequest(
        user_id=0, key="a", route="import", digest=bytes(32), at=NOON, render=lambda _: b""
    )
    await imported(shop, rows("A"), key=key)
    with pytest.raises(AlreadyDone):
        await imported(shop, rows("B"), key=key)
    assert await skus(shop) == ["A"]


async def test_who_has_an_account_does_neither(shop: UseCases) -> None:
    boss = await shop.given_staff()
    with pytest.raises(OperatorOnly):
        await shop.import_products(caller=boss, batches=list, answered=print)
    with pytest.raises(OperatorOnly):
        await all_of(shop.export_products(caller=boss))

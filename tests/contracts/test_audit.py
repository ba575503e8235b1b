"""The audit: silent while all is well, and it finds what somebody planted."""

import pytest

from shop.domain.products import Product
from shop.domain.stock import Reason, StockMovement
from tests.builders import NOON, items
from tests.stores import Store
from tests.use_cases import UseCases


@pytest.fixture
async def products(shop: UseCases) -> list[Product]:
    """Three products that have seen some trade; the last has none left."""
    buyer = await shop.given_customer()
    products = [await shop.given_product(stock) for stock in (5, 7, 2)]
    for product in products:
        await shop.place_order(caller=buyer, items=items((product.id, 2)))
    return products


def movement(product: Product, *, quantity: int, balance: int) -> StockMovement:
    return StockMovement(
        product_id=product.id,
        quantity=quantity,
        balance=balance,
        reason=Reason.CORRECTION,
        order_id=None,
        actor_id=None,
        note="planted",
        at=NOON,
    )


async def unsound(shop: UseCases) -> list[tuple[int, int, int, int]]:
    return [
        (audit.product_id, audit.on_hand, audit.movements_sum, audit.last_balance)
        for audit in await shop.audits()
        if not audit.is_sound
    ]


async def test_honest_trade_is_sound(shop: UseCases, products: list[Product]) -> None:
    audits = await shop.audits()
    assert [(a.product_id, a.sku, a.on_hand) for a in audits] == [
        (p.id, p.sku, p.stock - 2) for p in products
    ]
    assert await unsound(shop) == []


async def test_stock_changed_behind_the_ledger_is_found(
    shop: UseCases, store: Store, products: list[Product]
) -> None:
    await store.set_stock_behind_the_ledger(products[1].id, 6)
    assert await unsound(shop) == [(products[1].id, 6, 5, 5)]


async def test_a_forged_movement_is_found(
    shop: UseCases, store: Store, products: list[Product]
) -> None:
    await store.forge_movement(movement(products[0], quantity=1, balance=3))
    assert await unsound(shop) == [(products[0].id, 3, 4, 3)]


async def test_a_wrong_balance_is_found_though_the_sum_is_right(
    shop: UseCases, store: Store, products: list[Product]
) -> None:
    await store.forge_movement(movement(products[2], quantity=1, balance=1))
    await store.forge_movement(movement(products[2], quantity=-1, balance=1))
    assert await unsound(shop) == [(products[2].id, 0, 0, 1)]


async def test_an_audit_goes_on_after_a_product(store: Store, products: list[Product]) -> None:
    async with store.unit_of_work(read_only=True) as uow:
        audits = await uow.stock.audit(after=products[0].id, limit=1)
        assert [audit.product_id for audit in audits] == [products[1].id]
        assert await uow.stock.audit(after=products[-1].id, limit=10) == []

"""Verifying stock: every product once, step by step."""

import pytest

from shop.domain.services import verify_stock
from tests.builders import customer, items, product
from tests.use_cases import UseCases


async def test_every_product_is_audited_once(
    shop: UseCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_stock, "PRODUCTS_PER_STEP", 3)
    added = await shop.add_products(
        products=[product(0, sku=f"SKU-{n}", stock=n) for n in range(7)]
    )
    steps = [[audit.product_id for audit in step] async for step in shop.verify_stock()]
    ids = [p.id for p in added]
    assert steps == [ids[:3], ids[3:6], ids[6:]]


async def test_an_empty_shop_is_sound(shop: UseCases) -> None:
    assert await shop.audits() == []


async def test_trade_leaves_the_stock_sound(shop: UseCases) -> None:
    teapot = await shop.given_product(5)
    bought = await shop.place_order(caller=customer(), items=items((teapot.id, 2)))
    await shop.cancel_order(caller=customer(), order_id=bought.order.id)
    await shop.change_stock.by(actor_id=None, product_id=teapot.id, delta=-1, reason="broken")
    [audit] = await shop.audits()
    assert (audit.on_hand, audit.movements_sum, audit.last_balance) == (4, 4, 4)
    assert audit.is_sound

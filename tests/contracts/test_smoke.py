from tests.builders import items
from tests.stores import Store
from tests.use_cases import UseCases


async def test_smoke(shop: UseCases, store: Store) -> None:
    buyer = await shop.given_customer()
    teapot = await shop.given_product(3)
    await shop.place_order(caller=buyer, items=items((teapot.id, 2)))
    assert await shop.stock_of(teapot) == 1
    assert all(a.is_sound for a in await shop.audits())
    assert len(await store.movements()) == 2

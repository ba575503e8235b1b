"""What every outage must leave: all that was answered, and each order once."""

import pytest

from tests.concurrency.deployment import Deployment, order_path, until
from tests.concurrency.load import Load

BUYERS = 6
PAUSE = 0.1
"""Seconds, after a refusal."""


def by(*ways: str) -> pytest.MarkDecorator:
    """The ways that lead the shop of this test to the primary."""
    return pytest.mark.parametrize("shop_by", ways, indirect=True, scope="session")


async def first_placed_after(load: Load, moment: float, *, within: float) -> float:
    await until(lambda: bool(load.placed_at) and load.placed_at[-1] > moment, within=within)
    return next(at for at in load.placed_at if at > moment)


def longest_pause(load: Load) -> float:
    """Seconds without an order."""
    pairs = zip(load.placed_at, load.placed_at[1:], strict=False)
    return max(later - earlier for earlier, later in pairs)


async def check(load: Load, shop: Deployment, products: list[int]) -> None:
    """Only 503 was said meanwhile, all that was answered is there, and each order is there once.

    As clients do, an order without a good answer is sent again under its id.
    """
    assert not load.cut_off
    assert {answer.status for answer in load.refused} <= {503}
    await load.check(shop, products)
    with shop.clients(1) as [client]:
        for order_id in load.sent.keys() - load.placed.keys():
            client.token = load.tokens[order_id]
            answer = await client.post(order_path(order_id), load.sent[order_id])
            assert answer.status in (200, 201), answer
            load.placed[order_id] = answer.body
    await load.check(shop, products)
    await shop.verify_stock()

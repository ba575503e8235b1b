"""`make demo-large`: a machine that is busy makes it slow, and does not end it."""

from datetime import timedelta
from uuid import UUID

from bench.large import place
from shop.domain.orders import OrderRequest
from shop.domain.services.decide_orders import COMMITTED_WITHIN
from tests.builders import items
from tests.entrypoints.api import container_for, opened_api, settings_for


async def test_orders_that_took_too_long_to_commit_are_placed_in_smaller_steps() -> None:
    container = container_for(settings_for())
    async with opened_api(container) as api:
        product = await api.given_product(stock=100)
        decide = container.decide_orders()
        clock, looks = decide.clock, 0

        def slow_at_first() -> object:
            nonlocal looks
            looks += 1
            # The first step begins at the first look, and is to be committed at the second.
            return clock() + (
                COMMITTED_WITHIN + timedelta(seconds=1) if looks == 2 else timedelta()
            )

        object.__setattr__(decide, "clock", slow_at_first)
        requests = [
            OrderRequest(
                order_id=UUID(int=number), user_id=api.customer_id, items=items((product.id, 1))
            )
            for number in range(1, 6)
        ]
        assert await place(decide, requests) == 5
        assert looks == 6, "one step that failed, and two halves"
        assert await api.stock_of(product) == 95

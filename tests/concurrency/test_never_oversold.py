"""As many are sold as there were: not one more, and not one fewer while somebody wants it."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from tests.concurrency.deployment import Deployment, all_at_once, basket
from tests.concurrency.wire import Answer, Client


async def test_exactly_as_many_are_sold_as_there_were(
    deployment: Deployment, effort: Callable[[int, int], int]
) -> None:
    busy_before = [server.cpu_ticks() for server in deployment.servers]
    for pieces, buyers_per_piece in ((200, 1), (40, 8), (10, 64)):
        await _sell_out(deployment, pieces * effort(1, 10), buyers_per_piece)
    await deployment.verify_stock()
    # Or it was no race: every worker of every server had a part in it.
    busy = [server.cpu_ticks() for server in deployment.servers]
    for now, before in zip(busy, busy_before, strict=True):
        assert all(ticks > before[pid] for pid, ticks in now.items())


async def _sell_out(deployment: Deployment, pieces: int, buyers_per_piece: int) -> None:
    product = await deployment.given_product(stock=pieces)
    left = pieces * buyers_per_piece
    answers: list[Answer] = []

    async def buy(client: Client) -> None:
        nonlocal left
        while left:
            left -= 1
            answers.append(await client.post("/api/orders/", basket((product, 1))))

    with deployment.clients(64) as clients:
        await asyncio.gather(*(client.connect() for client in clients))
        await asyncio.gather(*(buy(client) for client in clients))

    sold = [answer for answer in answers if answer.status == 201]
    refused = [answer for answer in answers if answer.status != 201]
    assert len(sold) == pieces
    assert len({answer.body["id"] for answer in sold}) == pieces
    assert len(refused) == pieces * (buyers_per_piece - 1)
    for answer in refused:
        assert (answer.status, answer.code) == (409, "out_of_stock")
        assert answer.body["lines"] == [{"product_id": product, "requested": 1, "available": 0}]
    books = await deployment.books([product])
    assert books.on_hand == {product: 0}
    assert len(books.orders) == pieces


async def test_what_random_baskets_take_is_what_is_gone(
    deployment: Deployment, effort: Callable[[int, int], int]
) -> None:
    initial = 60 * effort(1, 20)
    products = await deployment.given_products(8, stock=initial)
    deadlocks_before = deployment.database.deadlocks
    answers: list[Answer] = []
    dice = random.Random(1)  # noqa: S311

    def order(client: Client) -> bytes:
        # In no order, so that everybody takes the same products in another sequence.
        wanted = dice.sample(products, dice.randint(1, 5))
        body = basket(*((product, dice.randint(1, 3)) for product in wanted))
        return client.request("POST", "/api/orders/", body)

    with deployment.clients(32) as clients:
        for _ in range(effort(12, 240)):
            # Whoever takes products in another order than the rest holds some by now that others
            # want, and waits for the one that is held; letting go of it then is a deadlock.
            async with deployment.sales_held(products[4]):
                requests = [order(client) for client in clients]
                answering = asyncio.create_task(all_at_once(clients, *requests))
                await deployment.requests_have_arrived()
            answers += await answering

    outcomes = Counter(answer.status for answer in answers)
    assert set(outcomes) == {201, 409}, outcomes
    assert all(answer.code == "out_of_stock" for answer in answers if answer.status == 409)
    books = await deployment.books(products)
    assert len(books.orders) == outcomes[201]
    for product in products:
        assert books.on_hand[product] + books.taken(product) == initial
    # Not even one that was overcome by trying again.
    assert deployment.database.deadlocks == deadlocks_before

"""Orders are placed, cancelled and restocked over at once, and every piece is accounted for."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from uuid import UUID

from tests.concurrency.deployment import (
    Deployment,
    all_at_once,
    basket,
    order_path,
)
from tests.concurrency.wire import Client

CANCELS = 4
MOVES = ("pay", "ship", "cancel")


async def test_placing_against_cancelling_against_staff_loses_no_piece(
    deployment: Deployment, effort: Callable[[int, int], int]
) -> None:
    initial = 30
    products = await deployment.given_products(3, stock=initial)
    deadlocks_before = deployment.database.deadlocks
    dice = random.Random(1)  # noqa: S311
    statuses: Counter[tuple[str, int]] = Counter()
    by_staff: dict[int, int] = defaultdict(int)
    to_cancel: asyncio.Queue[str | None] = asyncio.Queue()
    rounds = effort(20, 400)

    async def buy(client: Client) -> None:
        for _ in range(rounds):
            wanted = dice.sample(products, dice.randint(1, 3))
            body = basket(*((product, dice.randint(1, 2)) for product in wanted))
            answer = await client.post("/api/orders/", body)
            statuses["place", answer.status] += 1
            if answer.status == 201 and dice.random() < 0.8:
                to_cancel.put_nowait(answer.body["id"])

    async def cancel(clients: list[Client]) -> None:
        """Several times at the same moment, by staff at different servers."""
        while (order_id := await to_cancel.get()) is not None:
            request = clients[0].request("POST", order_path(order_id, "cancel"))
            for answer in await all_at_once(clients, *([request] * len(clients))):
                statuses["cancel", answer.status] += 1
                assert answer.status == 200, answer
                assert answer.body["status"] == "cancelled"

    async def keep(client: Client) -> None:
        for _ in range(rounds):
            product = dice.choice(products)
            path = f"/api/products/{product}/stock/"
            if dice.random() < 0.5:
                delta = dice.choice([-3, -2, -1, 1, 2, 3])
                answer = await client.post(path, {"delta": delta, "reason": "counted"})
            else:
                expected = (await client.get(f"/api/products/{product}/")).body["stock"]
                quantity = dice.randint(0, initial)
                delta = quantity - expected
                change = {"quantity": quantity, "expected": expected, "reason": "counted"}
                answer = await client.post(path, change)
            statuses["keep", answer.status] += 1
            if answer.status == 200:
                by_staff[product] += delta

    with (
        deployment.clients(16) as buyers,
        deployment.clients(3 * CANCELS, deployment.staff) as cancellers,
        deployment.clients(4, deployment.staff) as keepers,
    ):
        async with asyncio.TaskGroup() as group:
            cancelling = [
                group.create_task(cancel(cancellers[i * CANCELS :][:CANCELS])) for i in range(3)
            ]
            async with asyncio.TaskGroup() as working:
                for client in buyers:
                    working.create_task(buy(client))
                for client in keepers:
                    working.create_task(keep(client))
            for _ in cancelling:
                to_cancel.put_nowait(None)

    assert set(statuses) == {
        ("place", 201),
        ("place", 409),
        ("cancel", 200),
        ("keep", 200),
        ("keep", 409),
    }, statuses
    books = await deployment.books(products)
    for product in products:
        assert books.on_hand[product] == initial + by_staff[product] - books.taken(product)
    assert deployment.database.deadlocks == deadlocks_before
    await deployment.verify_stock()


async def test_an_order_cancelled_by_many_at_once_gives_back_once(
    deployment: Deployment, effort: Callable[[int, int], int]
) -> None:
    products = await deployment.given_products(2, stock=100)
    [buyer] = deployment.customers[:1]
    with deployment.clients(16, buyer, deployment.staff) as clients:
        for _ in range(effort(8, 80)):
            placed = await clients[0].post(
                "/api/orders/", basket(*((product, 7) for product in products))
            )
            assert placed.status == 201
            path = order_path(UUID(placed.body["id"]), "cancel")
            requests = [client.request("POST", path) for client in clients]
            answers = await all_at_once(clients, *requests)
            assert {answer.status for answer in answers} == {200}
            assert all(answer.body == answers[0].body for answer in answers)
    books = await deployment.books(products)
    assert books.on_hand == dict.fromkeys(products, 100)


async def test_amending_against_cancelling_against_shipping_has_one_outcome(
    deployment: Deployment, effort: Callable[[int, int], int]
) -> None:
    [product] = await deployment.given_products(1, stock=100)
    [buyer] = deployment.customers[:1]
    out = 0
    with deployment.clients(2, buyer) as owners, deployment.clients(3, deployment.staff) as staff:
        for _ in range(effort(6, 60)):
            placed = await owners[0].post("/api/orders/", basket((product, 5)))
            assert placed.status == 201
            path = f"/api/orders/{placed.body['id']}/"
            answers = await all_at_once(
                [*owners, *staff],
                owners[0].request("PATCH", path, basket((product, 2))),
                owners[1].request("POST", f"{path}cancel/"),
                *(
                    client.request("POST", f"{path}{move}/")
                    for client, move in zip(staff, MOVES, strict=True)
                ),
            )
            assert {answer.status for answer in answers} <= {200, 409}
            order = (await owners[0].get(path)).body
            if order["status"] == "cancelled":
                assert answers[1].status == 200 or answers[4].status == 200
            else:
                assert answers[2].status == 200, "it was paid, so it could not be cancelled"
                out += order["items"][0]["quantity"]
        shown = await owners[0].get(f"/api/products/{product}/")
    assert shown.body["stock"] == 100 - out
    # It also holds each order's movements against its status and lines.
    await deployment.verify_stock()

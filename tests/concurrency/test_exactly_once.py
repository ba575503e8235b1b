"""An order that is sent many times is placed once, wherever the repeats arrive."""

from collections import Counter
from collections.abc import Callable
from uuid import uuid4

from tests.concurrency.deployment import Deployment, all_at_once, basket, order_path
from tests.concurrency.wire import Answer

CALLERS = 24


async def test_one_order_id_from_many_callers_is_one_order(
    deployment: Deployment, effort: Callable[[int, int], int]
) -> None:
    initial = 1_000
    product = await deployment.given_product(stock=initial)
    buyer, stranger = deployment.customers[:2]
    for round_ in range(1, effort(8, 80) + 1):
        path = order_path(uuid4())
        with deployment.clients(CALLERS, buyer) as clients:
            request = clients[0].request("POST", path, basket((product, 2)))
            answers = await all_at_once(clients, *([request] * CALLERS))
            _check_one_order(answers)
            # And later on it is the same still, and nobody else's.
            assert (await clients[1].post(path, basket((product, 2)))).body == answers[0].body
            other = await clients[0].post(path, basket((product, 1)))
            assert (other.status, other.code) == (409, "order_id_taken")
        with deployment.clients(1, stranger) as [client]:
            other = await client.post(path, basket((product, 2)))
            assert (other.status, other.code) == (409, "order_id_taken")
        books = await deployment.books([product])
        assert len(books.orders) == round_
        assert books.on_hand[product] == initial - 2 * round_


async def test_an_order_of_the_last_pieces_is_one_order_too(
    deployment: Deployment, effort: Callable[[int, int], int]
) -> None:
    """Its repeats find the shelf empty: by their own order."""
    [buyer] = deployment.customers[:1]
    for _ in range(effort(8, 80)):
        product = await deployment.given_product(stock=2)
        path = order_path(uuid4())
        with deployment.clients(CALLERS, buyer) as clients:
            request = clients[0].request("POST", path, basket((product, 2)))
            _check_one_order(await all_at_once(clients, *([request] * CALLERS)))
        books = await deployment.books([product])
        assert books.on_hand[product] == 0


async def test_one_order_id_for_different_orders_goes_to_one_of_them(
    deployment: Deployment, effort: Callable[[int, int], int]
) -> None:
    product = await deployment.given_product(stock=1_000)
    for _ in range(effort(8, 80)):
        path = order_path(uuid4())
        with deployment.clients(CALLERS, *deployment.customers[:2]) as clients:
            requests = [
                client.request("POST", path, basket((product, 1 + i % 3)))
                for i, client in enumerate(clients)
            ]
            answers = await all_at_once(clients, *requests)
        winners = {
            (client.token, request)
            for client, request, answer in zip(clients, requests, answers, strict=True)
            if answer.status < 300
        }
        assert len(winners) == 1
        _check_one_order([answer for answer in answers if answer.status < 300])
        refused = [answer for answer in answers if answer.status >= 300]
        assert {(answer.status, answer.code) for answer in refused} == {(409, "order_id_taken")}
    await deployment.books([product])


async def test_one_idempotency_key_from_many_callers_is_one_order(
    deployment: Deployment, effort: Callable[[int, int], int]
) -> None:
    initial = 1_000
    product = await deployment.given_product(stock=initial)
    buyer, stranger = deployment.customers[:2]
    for round_ in range(1, effort(8, 80) + 1):
        key = f"key {uuid4()}"
        with deployment.clients(CALLERS, buyer) as clients:
            request = clients[0].request(
                "POST", "/api/orders/", basket((product, 2)), idempotency_key=key
            )
            answers = await all_at_once(clients, *([request] * CALLERS))
            order = _check_one_order(answers)
            other = await clients[0].post("/api/orders/", basket((product, 1)), idempotency_key=key)
            assert (other.status, other.code) == (422, "idempotency_key_reused")
        with deployment.clients(1, stranger) as [client]:
            other = await client.post("/api/orders/", basket((product, 1)), idempotency_key=key)
            assert other.status == 201
            assert other.body["id"] != order
        books = await deployment.books([product])
        assert len(books.orders) == 2 * round_
        assert books.on_hand[product] == initial - 3 * round_


async def test_one_idempotency_key_for_different_orders_goes_to_one_of_them(
    deployment: Deployment, effort: Callable[[int, int], int]
) -> None:
    product = await deployment.given_product(stock=1_000)
    [buyer] = deployment.customers[:1]
    for _ in range(effort(8, 80)):
        key = f"key {uuid4()}"
        with deployment.clients(CALLERS, buyer) as clients:
            requests = [
                client.request(
                    "POST", "/api/orders/", basket((product, 1 + i % 3)), idempotency_key=key
                )
                for i, client in enumerate(clients)
            ]
            answers = await all_at_once(clients, *requests)
        statuses = Counter(answer.status for answer in answers)
        assert statuses == {201: 1, 200: CALLERS // 3 - 1, 422: CALLERS - CALLERS // 3}
        _check_one_order([answer for answer in answers if answer.status < 300])
    await deployment.books([product])


def _check_one_order(answers: list[Answer]) -> str:
    """One was placed, all others are told of the same; its id."""
    assert Counter(answer.status for answer in answers) == (
        {201: 1, 200: len(answers) - 1} if len(answers) > 1 else {201: 1}
    )
    assert all(answer.body == answers[0].body for answer in answers)
    return str(answers[0].body["id"])

"""Buyers who order without a pause while something is done to the servers."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID, uuid4

from shop.domain.users import Caller
from tests.concurrency.books import Books
from tests.concurrency.deployment import Deployment, basket, order_path, quantities, until
from tests.concurrency.servers import ShopServer
from tests.concurrency.wire import Answer, Client, Gone

PROGRESS_SECONDS_MAX = 30.0
LOOKED_AT_MAX = 100
"""Orders that are read through the API as well; the database is asked about all."""


@dataclass(kw_only=True)
class Load:
    """What was asked for, and what came of it; every order has an id that its buyer made."""

    sent: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    """The bodies."""
    tokens: dict[UUID, str] = field(default_factory=dict, repr=False)
    """Of who sent them."""
    placed: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    """The orders that were answered."""
    placed_at: list[float] = field(default_factory=list)
    """When, on the clock of `time.monotonic`."""
    refused: list[Answer] = field(default_factory=list)
    not_done: list[UUID] = field(default_factory=list)
    """Orders of refusals that leave no doubt."""
    cut_off: int = 0
    """How often a connection ended without an answer."""
    slowest: float = 0.0
    """Seconds that an answer took."""
    stopping: bool = False

    async def has_placed(self, number: int) -> None:
        """Wait until this many more orders are answered."""
        goal = len(self.placed) + number
        await until(lambda: len(self.placed) >= goal, within=PROGRESS_SECONDS_MAX)

    async def has_refused(self, number: int) -> None:
        goal = len(self.refused) + number
        await until(lambda: len(self.refused) >= goal, within=PROGRESS_SECONDS_MAX)

    async def check(self, deployment: Deployment, product_ids: Sequence[int]) -> Books:
        """Every answered order is there as it was answered, every other is whole or absent."""
        books = await deployment.books(product_ids)
        lost = self.placed.keys() - books.orders.keys()
        assert not lost, f"answered and lost: {lost}"
        for order_id in self.sent.keys() & books.orders.keys():
            assert books.orders[order_id].quantities == quantities(self.sent[order_id])
        with deployment.clients(1, deployment.staff) as [client]:
            # The last ones were answered just before it happened.
            for order_id in list(self.placed)[-LOOKED_AT_MAX:]:
                answer = await client.get(order_path(order_id))
                assert (answer.status, answer.body) == (200, self.placed[order_id])
        return books


@asynccontextmanager
async def loaded(
    deployment: Deployment,
    product_ids: Sequence[int],
    *,
    buyers: int = 16,
    persistent: bool = False,
    pause: float = 0.01,
) -> AsyncIterator[Load]:
    """Buyers order as long as the block lasts.

    One whose connection ends stops; a persistent one connects again and repeats the order. Who was
    refused comes back after a pause, in seconds: sooner than `Retry-After` asks.
    """
    load = Load()
    dice = random.Random(1)  # noqa: S311
    with deployment.clients(buyers) as clients:
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(
                    _buy(client, load, product_ids, dice, persistent=persistent, pause=pause)
                )
            try:
                yield load
            finally:
                load.stopping = True


async def _buy(
    client: Client,
    load: Load,
    product_ids: Sequence[int],
    dice: random.Random,
    *,
    persistent: bool,
    pause: float,
) -> None:
    while not load.stopping:
        order_id = uuid4()
        products = dice.sample(product_ids, dice.randint(1, min(3, len(product_ids))))
        load.tokens[order_id] = client.token
        load.sent[order_id] = basket(*((product, dice.randint(1, 2)) for product in products))
        answer = None
        while answer is None:
            try:
                answer = await client.post(order_path(order_id), load.sent[order_id])
            except Gone:
                load.cut_off += 1
                if not persistent or load.stopping:
                    return
                await asyncio.sleep(0.01)
        load.slowest = max(load.slowest, answer.seconds)
        if answer.status in (200, 201):
            load.placed[order_id] = answer.body
            load.placed_at.append(time.monotonic())
        else:
            load.refused.append(answer)
            if answer.code != "outcome_unknown":
                load.not_done.append(order_id)
            await asyncio.sleep(pause)


# --- who changes what they ordered ---

State: TypeAlias = tuple[str, int]
"""Where an order stands, and how many pieces are on it."""


@dataclass(kw_only=True)
class Changes:
    """Orders that are placed, amended and cancelled, one step after the other."""

    answered: dict[UUID, State] = field(default_factory=dict)
    """What was answered last."""
    under_way: dict[UUID, State] = field(default_factory=dict)
    """What it is if the request under way is done."""
    number: int = 0
    """How many steps were answered."""
    stopping: bool = False

    async def have_been_made(self, number: int) -> None:
        """Wait until this many more are answered."""
        goal = self.number + number
        await until(lambda: self.number >= goal, within=PROGRESS_SECONDS_MAX)

    async def check(self, deployment: Deployment, caller: Caller) -> None:
        """Every order is as it was answered last, or as the request under way was to make it."""
        with deployment.clients(1, caller) as [client]:
            for order_id in self.answered.keys() | self.under_way.keys():
                answer = await client.get(order_path(order_id))
                stored = None if answer.status == 404 else _state_of(answer.body)
                before = self.answered.get(order_id)
                assert stored in (before, self.under_way.get(order_id, before))


def _state_of(order: dict[str, Any]) -> State:
    return order["status"], sum(quantities(order).values())


@asynccontextmanager
async def changing(
    deployment: Deployment, caller: Caller, product: int, *, clients: int = 8
) -> AsyncIterator[Changes]:
    """Clients of this caller change what they have ordered, as long as the block lasts.

    One whose connection ends stops.
    """
    changes = Changes()
    with deployment.clients(clients, caller) as opened:
        async with asyncio.TaskGroup() as group:
            for client in opened:
                group.create_task(_change(client, changes, product))
            try:
                yield changes
            finally:
                changes.stopping = True


async def _change(client: Client, changes: Changes, product: int) -> None:
    while not changes.stopping:
        order_id = uuid4()
        for method, path, body, state in (
            ("POST", order_path(order_id), basket((product, 1)), ("placed", 1)),
            ("PATCH", order_path(order_id), basket((product, 3)), ("placed", 3)),
            ("POST", order_path(order_id, "cancel"), None, ("cancelled", 3)),
        ):
            changes.under_way[order_id] = state
            try:
                answer = await client.ask(method, path, body)
            except Gone:
                return
            assert answer.status in (200, 201), answer
            assert _state_of(answer.body) == state
            del changes.under_way[order_id]
            changes.answered[order_id] = state
            changes.number += 1


# --- through a balancer ---

Answered: TypeAlias = list[tuple[int, str]]
"""Statuses, and who answered."""


@asynccontextmanager
async def ordering(
    deployment: Deployment, port: int, product: int, *, clients: int
) -> AsyncIterator[Answered]:
    """Clients of a balancer that place one order after the other, without repeating any."""
    answered: Answered = []
    is_over = False

    async def order(client: Client) -> None:
        with closing(client):
            while not is_over:
                answer = await client.post("/api/orders/", basket((product, 1)))
                answered.append((answer.status, answer.headers.get("x-served-by", "")))

    token = deployment.tokens[deployment.customers[0]]
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(order(Client(port=port, token=token)))
        yield answered
        is_over = True


async def has_answered(answered: Answered, server: ShopServer, times: int) -> None:
    before = len(answered)
    name = f"shop-{server.port}"
    await until(
        lambda: sum(by == name for _, by in answered[before:]) >= times, within=PROGRESS_SECONDS_MAX
    )

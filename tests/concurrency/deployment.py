"""A database with users, the servers on it, and what its customers and staff do there."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from shop.domain.users import OPERATOR, Caller, Role
from shop.entrypoints.container import build_container
from shop.entrypoints.settings import Settings
from tests.builders import PlainHasher
from tests.concurrency.books import Books, read_books
from tests.concurrency.servers import (
    FAILURES,
    SECRET_KEY,
    ShopServer,
)
from tests.concurrency.wire import Answer, Client
from tests.postgresql import PostgresServer
from tests.stores import sql_store
from tests.use_cases import UseCases

T = TypeVar("T")

CUSTOMERS = 4

_numbers = count(1)


@dataclass(frozen=True, kw_only=True)
class Database:
    url: str
    server: PostgresServer | None = None
    """None of SQLite."""

    @property
    def deadlocks(self) -> int:
        """How many PostgreSQL had to break, so far; SQLite knows none."""
        if self.server is None:
            return 0
        lines = (self.server.root / "log").read_text(errors="replace").splitlines()
        name = self.url.partition("?")[0].rpartition("/")[2]
        return sum(f"database={name} " in line and "deadlock detected" in line for line in lines)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    database: Database
    servers: Sequence[ShopServer]
    customers: Sequence[Caller]
    staff: Caller
    folder: Path
    tokens: dict[Caller, str] = field(repr=False)

    def client(self, caller: Caller | None = None, *, server: int = 0) -> Client:
        caller = caller or self.customers[0]
        return Client(port=self.servers[server].port, token=self.tokens[caller])

    @contextmanager
    def clients(self, number: int, *callers: Caller) -> Iterator[list[Client]]:
        """Clients of these callers (of all customers, when none is named), over all servers.

        Server and caller are dealt out in turns, so that each caller is at each server.
        """
        dealt = [
            self.client(caller, server=server)
            for caller in callers or self.customers
            for server in range(len(self.servers))
        ]
        clients = [
            Client(port=client.port, token=client.token) for client in islice(cycle(dealt), number)
        ]
        try:
            yield clients
        finally:
            for client in clients:
                client.close()

    async def given_product(self, *, stock: int) -> int:
        """Its id."""
        name = f"TEST-{os.getpid()}-{next(_numbers)}"
        with self.clients(1, self.staff) as [client]:
            answer = await client.post(
                "/api/products/", {"sku": name, "name": name, "price": "12.00", "stock": stock}
            )
        assert answer.status == 201, answer
        return int(answer.body["id"])

    async def given_products(self, number: int, *, stock: int) -> list[int]:
        return [await self.given_product(stock=stock) for _ in range(number)]

    async def books(self, product_ids: Collection[int]) -> Books:
        """Checked: see `Books.check`."""
        books = await read_books(self.database.url, product_ids)
        books.check()
        return books

    @asynccontextmanager
    async def sales_held(self, product_id: int) -> AsyncIterator[None]:
        """No order for this product (on SQLite: for any) gets on inside the block."""
        async with sql_store(self.database.url) as store, store.unit_of_work() as uow:
            await uow.stock.lock([product_id])
            yield

    async def requests_have_arrived(self) -> None:
        """What was sent until now has reached the workers: later ones of others are answered."""
        for _ in range(2):
            with self.clients(16) as clients:
                probes = [client.request("GET", "/health/live") for client in clients]
                for answer in await all_at_once(clients, *probes):
                    assert answer.status == 200

    async def verify_stock(self) -> None:
        """As `shop stock verify` does, which takes a process a time; tests/e2e runs the command."""
        async with sql_store(self.database.url) as store:
            assert await UseCases(store.unit_of_work).differences() == []

    def check_logs(self) -> None:
        for server in self.servers:
            log = server.log
            for failure in FAILURES:
                _, found, context = log.partition(failure)
                assert not found, f"in the log: {found}{context[:4_000]}"


@contextmanager
def deployed(
    folder: Path,
    database: Database,
    *,
    workers: Sequence[int] = (1,),
    **settings: str,
) -> Iterator[Deployment]:
    """A server for each number of workers, on a migrated database; settings as `intake_deadline`.

    Whatever a test does: the servers never log an unexpected failure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    customers, staff, tokens = run_apart(_sign_up(database.url))
    variables = {f"SHOP_{name.upper()}": value for name, value in settings.items()}
    servers = [
        ShopServer(folder / f"server-{i}", database.url, workers=number, settings=variables)
        for i, number in enumerate(workers)
    ]
    deployment = Deployment(
        database=database,
        servers=servers,
        customers=customers,
        staff=staff,
        folder=folder,
        tokens=tokens,
    )
    try:
        with ThreadPoolExecutor(len(servers)) as threads:
            list(threads.map(ShopServer.start, servers))
        yield deployment
        deployment.check_logs()
    finally:
        for server in servers:
            server.close()


async def _sign_up(database_url: str) -> tuple[list[Caller], Caller, dict[Caller, str]]:
    settings = Settings(
        database_url=database_url, secret_key=SECRET_KEY, access_token_lifetime=86_400.0
    )
    container = build_container(settings)
    container.hasher.override(PlainHasher())

    async def user(username: str, role: Role) -> Caller:
        user = await container.create_user()(
            caller=OPERATOR, username=username, password="not a common one", role=role
        )
        return Caller(user_id=user.id, role=role)

    customers = [await user(f"customer-{i}", Role.CUSTOMER) for i in range(CUSTOMERS)]
    staff = await user("staff", Role.STAFF)
    await container.engines().dispose()
    tokens = container.access_tokens()
    return customers, staff, {caller: tokens.issue(caller) for caller in (*customers, staff)}


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run it in a loop of its own, wherever this is called from."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def basket(*wanted: tuple[int, int]) -> dict[str, Any]:
    """The body that orders these quantities of products."""
    return {"items": [{"product_id": product, "quantity": n} for product, n in wanted]}


def quantities(order: dict[str, Any]) -> dict[int, int]:
    """By product, of an order as it is answered, or of the body that asks for it."""
    total: dict[int, int] = {}
    for item in order["items"]:
        product = item["product_id"] if "product_id" in item else item["product"]["id"]
        total[product] = total.get(product, 0) + item["quantity"]
    return total


def order_path(order_id: UUID | str, *more: str) -> str:
    return "/".join(["/api/orders", str(order_id), *more, ""])


async def all_at_once(clients: Sequence[Client], *requests: bytes) -> list[Answer]:
    """One request for each client, sent in one go when all are connected."""
    await asyncio.gather(*(client.connect() for client in clients))
    await asyncio.gather(
        *(client.send(request) for client, request in zip(clients, requests, strict=True))
    )
    return await asyncio.gather(*(client.answer() for client in clients))


async def until(condition: Callable[[], bool], *, within: float) -> None:
    """Wait for it to become true, and fail if it does not in time."""
    give_up_at = time.monotonic() + within
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen in time"
        await asyncio.sleep(0.01)

"""What operators and readers do while orders are placed: all of it works beside the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from click.testing import CliRunner

from shop.entrypoints.cli.main import main
from tests.concurrency.deployment import Deployment, order_path
from tests.concurrency.servers import environment
from tests.concurrency.wire import Client


def commands_of_operators(kept: str, dropped: str) -> list[str]:
    """One after the other, in a shop with these two orders; those of the schema come first."""
    return [
        "migrate",
        "migrate",
        "makemigrations -m nothing",
        "demo",
        "create-user ann --password-stdin",
        "set-password ann --password-stdin",
        "set-role ann staff",
        "disable-user ann",
        "enable-user ann",
        "list-users",
        "purge-sessions",
        "add-products --count 20",
        "products list --search a",
        "products create NEW --name New --price 1.00 --stock 3",
        "products change NEW --price 2.00",
        "stock adjust NEW --delta 2 --reason restock",
        "stock history NEW",
        "stock verify",
        "products export",
        "orders export",
        "stock export",
        "products archive NEW",
        "products restore new",
        "orders cancel-unpaid --older-than 99d",
        "orders list",
        f"orders show {kept}",
        f"orders pay {kept}",
        f"orders ship {kept}",
        f"orders deliver {kept}",
        f"orders return {kept}",
        f"orders history {kept}",
        f"orders cancel {dropped}",
    ]


def run_command(command: str, database_url: str, **settings: str) -> None:
    """Settings as `database_pgbouncer`. Raises `AssertionError` with what it said if it fails."""
    variables = {f"SHOP_{name.upper()}": value for name, value in settings.items()}
    result = CliRunner().invoke(
        main,
        command.split(),
        input="correct horse battery\n",
        env=environment(database_url, variables),
    )
    assert result.exit_code == 0, f"{command}: {result.output}"


@asynccontextmanager
async def watched(deployment: Deployment, order_id: str) -> AsyncIterator[None]:
    """Readiness and reads are asked for again and again, and answered, as long as the block."""
    is_over = asyncio.Event()

    async def ask(client: Client, *paths: str) -> None:
        while not is_over.is_set():
            for path in paths:
                answer = await client.get(path)
                assert answer.status == 200, (path, answer)

    with deployment.clients(4, deployment.staff) as clients:
        async with asyncio.TaskGroup() as group:
            for client in clients[:2]:
                group.create_task(ask(client, "/health/ready"))
            for client in clients[2:]:
                lists = ["/api/products/", "/api/products/?search=t", "/api/orders/"]
                group.create_task(ask(client, *lists, order_path(order_id)))
            try:
                yield
            finally:
                is_over.set()

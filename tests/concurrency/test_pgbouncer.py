"""Through PgBouncer, in transaction mode: each transaction may reach another server connection."""

import asyncio
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import rich_click as click

from shop.adapters.sql import schema
from shop.entrypoints.cli.main import main
from tests.concurrency.commands import commands_of_operators, run_command, watched
from tests.concurrency.deployment import Database, Deployment, basket, deployed
from tests.concurrency.load import loaded
from tests.pgbouncer import PROGRAM, running_pgbouncer
from tests.postgresql import TEMPLATE, PostgresServer

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")

SERVER_CONNECTIONS = 3
"""For two workers, who would have thirty, and every command."""

ELSEWHERE = {"serve", "doctor", "import", "import-django"}
"""One is what they run beside; one has something to say of this server (`test_doctor.py`); one
needs a database with nothing in it, and the last another shop."""

_numbers = count(1)


@pytest.fixture(scope="module")
def name(migrated_postgresql: PostgresServer) -> str:
    """Of an empty, migrated database."""
    name = f"pgbouncer_{next(_numbers)}"
    migrated_postgresql.create_database(name, template=TEMPLATE)
    return name


@pytest.fixture(scope="module")
def through(migrated_postgresql: PostgresServer, name: str) -> Iterator[str]:
    """The URL of the database behind PgBouncer."""
    with running_pgbouncer(migrated_postgresql, pool_size=SERVER_CONNECTIONS) as folder:
        yield f"postgresql+asyncpg://shop@/{name}?host={folder}"


@pytest.fixture(scope="module")
def bounced(
    migrated_postgresql: PostgresServer,
    name: str,
    through: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    database = Database(url=migrated_postgresql.url(name), server=migrated_postgresql)
    folder = tmp_path_factory.mktemp("pgbouncer")
    settings = {"database_url": through, "database_pgbouncer": "true"}
    with deployed(folder, database, workers=(2,), **settings) as deployment:
        yield deployment


async def test_everything_works_through_pgbouncer_under_load(
    bounced: Deployment, through: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    products = await bounced.given_products(8, stock=1_000_000)
    other = await bounced.given_product(stock=10)
    with bounced.clients(1, bounced.customers[0]) as [client]:
        kept, dropped = [
            (await client.post("/api/orders/", basket((other, 2)))).body["id"] for _ in range(2)
        ]
    # `shop makemigrations` writes beside the others.
    migrations = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, migrations)
    monkeypatch.setattr(schema, "MIGRATIONS", migrations)
    (tmp_path / "new.csv").write_text("sku,name,price\nFROM-A-FILE,New,1.00\n")
    commands = [
        *commands_of_operators(kept, dropped),
        f"products import {tmp_path / 'new.csv'}",
        f"export {tmp_path / 'out'}",
    ]
    assert {_path_of(command) for command in commands} == set(_all_commands()) - ELSEWHERE
    async with loaded(bounced, products) as load, watched(bounced, kept):
        await load.has_placed(100)
        for command in commands:
            await asyncio.to_thread(run_command, command, through, database_pgbouncer="true")
        await load.has_placed(100)
    assert not load.refused
    assert not load.cut_off
    await load.check(bounced, products)
    await bounced.verify_stock()


@pytest.mark.long
async def test_a_shop_moves_through_pgbouncer(
    migrated_postgresql: PostgresServer, name: str, through: str, tmp_path: Path
) -> None:
    """Into another database of the server."""
    other = f"pgbouncer_{next(_numbers)}"
    migrated_postgresql.create_database(other, template=TEMPLATE)
    for command, database in {
        "add-products --count 600 --seed 7": name,
        f"export {tmp_path / 'out'}": name,
        f"import {tmp_path / 'out'}": other,
        "stock verify": other,
    }.items():
        url = through.replace(f"/{name}?", f"/{database}?")
        await asyncio.to_thread(run_command, command, url, database_pgbouncer="true")


def _all_commands(group: click.Group = main, path: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _all_commands(command, f"{path}{name} ")
        else:
            yield path + name


def _path_of(command: str) -> str:
    """The command without what is said to it."""
    words = command.split()
    return " ".join(words[:2] if words[0] in {"products", "orders", "stock"} else words[:1])

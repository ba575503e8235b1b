"""The shop runs as a user who reads and writes rows and does nothing else, and over TLS."""

import asyncio

import asyncpg
import pytest

from tests.cluster.cluster import OWNER, PASSWORD, SELLER, Cluster
from tests.cluster.outages import BUYERS, by, check
from tests.concurrency.commands import commands_of_operators, run_command, watched
from tests.concurrency.deployment import Deployment, basket
from tests.concurrency.load import loaded

_OF_THE_SCHEMA = {"migrate", "makemigrations"}
"""What the owner runs."""

_FORBIDDEN = (
    "CREATE TABLE things (id bigint)",
    "ALTER TABLE orders ADD COLUMN more text",
    "DROP TABLE orders",
    "TRUNCATE orders CASCADE",
    "CREATE INDEX ON orders (user_id)",
    "ALTER TABLE stock_movements DISABLE TRIGGER ALL",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SET session_replication_role = replica",
)


@by("pooler", "hosts")
async def test_operators_and_buyers_need_no_rights_but_those_of_rows(
    cluster: Cluster, shop: Deployment, way: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    products = await shop.given_products(8, stock=1_000_000)
    other = await shop.given_product(stock=10)
    with shop.clients(1, shop.customers[0]) as [client]:
        kept, dropped = [
            (await client.post("/api/orders/", basket((other, 2)))).body["id"] for _ in range(2)
        ]
    name = shop.database.url.partition("?")[0].rpartition("/")[2]
    pgbouncer = str(way == "pooler").lower()
    async with loaded(shop, products, buyers=BUYERS) as load, watched(shop, kept):
        await load.has_placed(50)
        for command in commands_of_operators(kept, dropped):
            if command.split()[0] == "makemigrations":
                continue  # it writes files of the project; the other suite plays it
            user = OWNER if command.split()[0] in _OF_THE_SCHEMA else SELLER
            url = cluster.url(name, by=way, user=user)
            await asyncio.to_thread(run_command, command, url, database_pgbouncer=pgbouncer)
        await load.has_placed(50)
        primary = await asyncio.to_thread(lambda: cluster.primary)
        assert await _are_encrypted(primary.address, name)
    assert not load.refused
    await check(load, shop, products)


@by("hosts")
async def test_what_the_user_of_the_shop_may_not_do(cluster: Cluster, shop: Deployment) -> None:
    name = shop.database.url.partition("?")[0].rpartition("/")[2]
    primary = await asyncio.to_thread(lambda: cluster.primary)
    connection = await asyncpg.connect(
        host=primary.address, user=SELLER, password=PASSWORD, database=name, ssl="require"
    )
    try:
        assert await connection.fetchval("SELECT count(*) FROM products") >= 0
        for statement in _FORBIDDEN:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        # Without TLS nobody gets in, whatever they know.
        await asyncpg.connect(
            host=primary.address, user=SELLER, password=PASSWORD, database=name, ssl="disable"
        )


async def _are_encrypted(address: str, database: str) -> bool:
    """All sessions of the shop, of which there are some."""
    connection = await asyncpg.connect(host=address, user="postgres", database="postgres")
    try:
        return bool(
            await connection.fetchval(
                "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                "WHERE usename = $1 AND datname = $2",
                SELLER,
                database,
            )
        )
    finally:
        await connection.close()

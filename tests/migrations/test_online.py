"""Migrations that do not stop a running shop, and go on where they were interrupted."""

import asyncio
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from alembic import command
from sqlalchemy import Connection, event, select, text

from shop.adapters.sql.engine import Engines, create_engines
from shop.adapters.sql.postgresql_statements import LOCKS
from shop.adapters.sql.schema import SqlSchema, config, migrating
from shop.adapters.sql.tables import listings, products, stock
from shop.domain.errors import StoreUnavailable
from shop.domain.ports import SchemaState
from shop.domain.users import OPERATOR
from tests.builders import items, product
from tests.postgresql import HOW_MANY_WAIT
from tests.stores import sql_store
from tests.use_cases import UseCases

BEFORE = "0009"


@pytest.fixture
async def engines(postgresql_url: str) -> AsyncIterator[Engines]:
    engines = create_engines(postgresql_url)
    yield engines
    await SqlSchema(engines=engines).upgrade()
    await engines.dispose()


async def go_back(engines: Engines) -> None:
    """Leave the database as the release before left it."""
    await run(engines, lambda connection: command.downgrade(config(connection), BEFORE))


async def run(engines: Engines, work: Callable[[Connection], None]) -> None:
    async with migrating(engines) as connection:
        await connection.run_sync(work)


async def assert_is_listed(engines: Engines) -> None:
    """Every product, by its stock and by what it is."""
    keys = (listings.c.archived, listings.c.search_key, listings.c.price, listings.c.created_at)
    names = [column.name for column in keys]
    async with engines.patient.connect() as connection:
        stored = await connection.execute(
            select(
                products.c.id, stock.c.on_hand > 0, *(products.c[name] for name in names)
            ).join_from(products, stock)
        )
        found = await connection.execute(select(listings.c.product_id, listings.c.in_stock, *keys))
        assert sorted(map(tuple, found)) == sorted(map(tuple, stored))
        assert await connection.scalar(text("SELECT bool_and(indisvalid) FROM pg_index"))


async def test_a_shop_sells_while_its_database_is_migrated(
    postgresql_url: str, engines: Engines
) -> None:
    """As the release before does: it knows nothing of what is new. (Nor does what is used here.)"""
    async with sql_store(postgresql_url) as store:
        shop = UseCases(store.unit_of_work)
        buyer = await shop.given_customer()
        catalogue = await shop.add_products(
            caller=OPERATOR, products=[product(0, sku=f"S-{n}", stock=n % 3) for n in range(2_500)]
        )
        in_stock = [one for one in catalogue if one.stock]
        await go_back(engines)
        migration = asyncio.create_task(SqlSchema(engines=engines).upgrade())
        sold = 0
        while not migration.done() or sold < 10:
            await shop.place_order(caller=buyer, items=items((in_stock[-1 - sold].id, 1)))
            sold += 1
        await migration
        await shop.intake.close()
    await assert_is_listed(engines)


class Interrupted(Exception):
    pass


STEPS = ("CREATE TABLE listings", "\nDO $$", "CREATE INDEX CONCURRENTLY", "DROP INDEX CONCURRENTLY")


async def test_a_migration_that_was_interrupted_goes_on(
    postgresql_url: str, engines: Engines
) -> None:
    async with sql_store(postgresql_url) as store:
        shop = UseCases(store.unit_of_work)
        await shop.add_products(
            caller=OPERATOR, products=[product(0, sku=f"S-{n}", stock=n % 2) for n in range(10)]
        )
        await shop.intake.close()
    await go_back(engines)
    schema = SqlSchema(engines=engines)
    for step in STEPS:

        def interrupt(_: Connection, __: object, sql: str, *___: object, at: str = step) -> None:
            if sql.lstrip("\n").startswith(at.lstrip("\n")):
                raise Interrupted

        event.listen(engines.patient.sync_engine, "before_cursor_execute", interrupt)
        with pytest.raises(Interrupted):
            await schema.upgrade()
        event.remove(engines.patient.sync_engine, "before_cursor_execute", interrupt)
        assert await schema.state() is SchemaState.OUTDATED
    await schema.upgrade()
    assert await schema.state() is SchemaState.CURRENT
    await assert_is_listed(engines)


async def connected(url: str) -> asyncpg.Connection:
    database, _, host = url.removeprefix("postgresql+asyncpg://shop@/").partition("?host=")
    return await asyncpg.connect(host=host, user="shop", database=database)


_BUILDING = (
    "SELECT pid FROM pg_stat_progress_create_index "
    "WHERE datname = current_database() AND phase LIKE 'waiting%'"
)


async def test_an_index_that_was_left_half_built_is_built_anew(
    postgresql_url: str, engines: Engines
) -> None:
    """A killed migration leaves it behind: it is there by its name, and cannot be used."""
    await go_back(engines)
    other = await connected(postgresql_url)
    try:
        # Who builds an index waits for who writes to the table.
        await other.execute("BEGIN; LOCK TABLE orders IN ROW EXCLUSIVE MODE")
        migration = asyncio.create_task(SqlSchema(engines=engines).upgrade())
        async with asyncio.timeout(20):
            while not (building := await other.fetchval(_BUILDING)):
                # In a transaction it stays as it was first seen.
                await other.execute("SELECT pg_stat_clear_snapshot()")
        await other.execute("SELECT pg_terminate_backend($1)", building)
        with pytest.raises(StoreUnavailable):
            await migration
        await other.execute("ROLLBACK")
        assert not await other.fetchval("SELECT bool_and(indisvalid) FROM pg_index")
    finally:
        await other.close()
    await SqlSchema(engines=engines).upgrade()
    await assert_is_listed(engines)


async def test_a_migration_that_waits_for_a_table_gives_up_before_those_behind_it_do(
    postgresql_url: str, engines: Engines
) -> None:
    """A dump reads for as long as it takes; behind a migration that waits for it, so would all."""
    await run(engines, lambda connection: command.downgrade(config(connection), "0010"))
    async with engines.read.connect() as dump, engines.read.connect() as shop:
        await dump.execute(text("BEGIN"))
        await dump.execute(text("SELECT FROM products"))
        async with asyncio.timeout(20):
            migration = asyncio.create_task(SqlSchema(engines=engines).upgrade())
            while not migration.done():
                await shop.execute(text("SELECT FROM products"))
            with pytest.raises(StoreUnavailable):
                await migration
        await dump.execute(text("ROLLBACK"))
    assert await SqlSchema(engines=engines).state() is SchemaState.OUTDATED


_WAITING = HOW_MANY_WAIT.replace("count(*)", "pid") + " AND pid <> ALL($1::int[])"


# A server hears of what became another when it opens a table, as it may wherever it looks something
# up. Here it opens one after it has waited, and before it calls the function.
_HEARS_AFTER_WAITING = LOCKS[False, False].replace(
    "(SELECT count(*) FROM locked)",
    "(SELECT count(*) FROM locked) + 0 * pg_table_size('refresh_tokens')",
)


async def test_a_function_is_not_replaced_under_an_order_that_waits_for_its_stock(
    postgresql_url: str, engines: Engines
) -> None:
    """It calls the function when it has its locks, in the language that it had when it began."""
    async with sql_store(postgresql_url) as store:
        shop = UseCases(store.unit_of_work)
        teapot = await shop.given_product()
        await shop.intake.close()
    await run(engines, lambda connection: command.downgrade(config(connection), "0011"))
    holder, order, watcher = [await connected(postgresql_url) for _ in range(3)]
    try:
        await holder.execute(f"BEGIN; SELECT FROM stock WHERE product_id = {teapot.id} FOR UPDATE")
        deciding = asyncio.create_task(
            order.fetch(_HEARS_AFTER_WAITING, "{}", f"{{{teapot.id}}}", "{}")
        )
        [ordering] = await waiting(watcher, [])
        migration = asyncio.create_task(
            run(engines, lambda connection: command.upgrade(config(connection), "0012"))
        )
        # Either it waits as well, or it is done by now.
        looking = asyncio.create_task(waiting(watcher, [ordering]))
        await asyncio.wait([migration, looking], return_when=asyncio.FIRST_COMPLETED)
        await holder.execute("ROLLBACK")
        assert [row["id"] for row in await deciding] == [teapot.id]
        await migration
        looking.cancel()
        await asyncio.wait([looking])
    finally:
        for connection in (holder, order, watcher):
            await connection.close()


async def waiting(watcher: asyncpg.Connection, known: list[int]) -> list[int]:
    """Who waits for a lock, but for those known."""
    async with asyncio.timeout(20):
        while not (rows := await watcher.fetch(_WAITING, known)):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return [row["pid"] for row in rows]

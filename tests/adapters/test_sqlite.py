"""What is SQLite's own: its files on the disk, and its statements."""

from pathlib import Path

import aiosqlite
import pytest
from sqlalchemy import text

from shop.adapters.sql import engine
from shop.adapters.sql.sqlite import SqliteUnitOfWork
from shop.domain.services.keep_catalogue import initial_movements
from shop.domain.users import OPERATOR
from tests.builders import product
from tests.stores import sql_store
from tests.use_cases import UseCases


async def test_the_log_shrinks_again_after_a_long_reader(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bytes_max = 200_000
    monkeypatch.setattr(engine, "_LOG_BYTES_MAX", bytes_max)
    log = tmp_path / "shop.sqlite3-wal"
    numbers = iter(range(10_000))
    async with sql_store(sqlite_url) as store:
        shop = UseCases(store.unit_of_work)

        async def write(number: int) -> None:
            products = [
                product(0, sku=f"S-{next(numbers)}", description="x" * 10_000)
                for _ in range(number)
            ]
            await shop.add_products(caller=OPERATOR, products=products)

        async with store.sql.read.connect() as reader:
            await reader.execute(text("BEGIN"))
            await reader.execute(text("SELECT count(*) FROM products"))
            for _ in range(20):
                await write(50)
            assert log.stat().st_size > 10 * bytes_max
            await reader.execute(text("ROLLBACK"))
        # The first write finds that all may be copied into the database, the next begins anew.
        await write(1)
        await write(1)
        assert log.stat().st_size <= bytes_max


async def test_many_new_products_are_a_statement_for_each_table(sqlite_url: str) -> None:
    products = [product(n, sku=f"S-{n}", name=f'Ñandú "{n}" 🪶', stock=n) for n in range(1, 51)]
    sent: list[str] = []
    async with sql_store(sqlite_url) as store:
        async with store.unit_of_work() as uow:
            assert isinstance(uow, SqliteUnitOfWork)
            driver = uow.driver
            assert isinstance(driver, aiosqlite.Connection)
            await driver.set_trace_callback(sent.append)
            await uow.batch.add_products(products, initial_movements(products, OPERATOR))
            await uow.commit()
        async with store.unit_of_work(read_only=True) as uow:
            assert await uow.products.list_all(after=0, limit=100) == products
    # A statement is traced with its values, and once more, as it is, for each step of a trigger.
    inserts = [each for each in dict.fromkeys(sent) if each.startswith("INSERT INTO")]
    assert [each.split()[2] for each in inserts] == ["products", "stock", "stock_movements"]

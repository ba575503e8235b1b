"""SQLite's own files: what they take on the disk."""

from pathlib import Path

import pytest
from sqlalchemy import text

from shop.adapters.sql import engine
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

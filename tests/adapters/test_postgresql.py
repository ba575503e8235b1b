"""How PostgreSQL runs what is written for it alone, on tables of which it has no statistics yet."""

import asyncpg
import pytest
from sqlalchemy import make_url

from shop.adapters.sql.postgresql_statements import LOCK_ALIKE, READ_LOCKED
from shop.adapters.sql.products import POSTGRESQL_ALIKE


@pytest.mark.parametrize(
    ("statement", "types"),
    [
        (POSTGRESQL_ALIKE, "json, json"),
        (LOCK_ALIKE, "json, json"),
        *((statement, "json") for statement in READ_LOCKED.values()),
    ],
    ids=["find", "lock", "read", "read marking"],
)
async def test_no_row_of_a_new_table_is_compared_with_each_of_many_values(
    postgresql_url: str, statement: str, types: str
) -> None:
    url = make_url(postgresql_url)
    connection = await asyncpg.connect(
        host=str(url.query["host"]),
        user="shop",
        database=url.database,
        # As the shop's own connections plan.
        server_settings={"plan_cache_mode": "force_generic_plan"},
    )
    try:
        await connection.execute(f"PREPARE looked_at ({types}) AS {statement}")
        values = ", ".join(["'[]'"] * types.count("json"))
        lines = [row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE looked_at ({values})")]
    finally:
        await connection.close()
    assert not [line for line in lines if "ANY (" in line], "\n".join(lines)

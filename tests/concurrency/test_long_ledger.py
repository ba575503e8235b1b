"""Verifying a product whose ledger is far too long for one statement."""

import faulthandler
from collections.abc import Callable

from sqlalchemy import text

from shop.domain.services.verify_stock import MOVEMENTS_PER_STEP
from shop.domain.users import OPERATOR
from tests.stores import Store
from tests.use_cases import UseCases

# Each takes one and puts it back, all over again.
_FILL = """
INSERT INTO stock_movements (product_id, quantity, balance, reason, note, at)
SELECT {product}, 1 - 2 * (n % 2), 10 - n % 2, 'correction', '', '2026-01-01 00:00:00'
FROM {numbers}
"""
_NUMBERS = {
    "postgresql": "generate_series(1, {number}) AS numbers(n)",
    "sqlite": """(
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {number})
        SELECT n FROM numbers
    )""",  # noqa: E501
}


async def test_verifying_is_bounded_by_movements_not_by_products(
    sql: Store, effort: Callable[[int, int], int]
) -> None:
    """Under the statement timeout that the shop has by default."""
    number = effort(100_000, 12_000_000)
    if number > 1_000_000:
        # Writing so many takes longer than a test may that hangs.
        faulthandler.cancel_dump_traceback_later()
    shop = UseCases(sql.unit_of_work)
    before, long, after = [await shop.given_product(10) for _ in range(3)]
    numbers = _NUMBERS[sql.name].format(number=number)
    async with sql.sql.patient.begin() as connection:
        if sql.name == "postgresql":
            # Nothing of this is wrong, and checking each row takes long.
            await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text(_FILL.format(product=long.id, numbers=numbers)))
    steps = [step async for step in shop.verify_stock(caller=OPERATOR)]
    assert len(steps) > number / MOVEMENTS_PER_STEP
    assert not [step for step in steps if step.differences]
    for one in (before, long, after):
        await sql.set_stock_behind_the_ledger(one.id, 11)
    assert [audit.product_id for audit in await shop.audits()] == [before.id, long.id, after.id]

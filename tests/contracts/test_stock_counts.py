"""What is counted of the whole stock, and what verifying it came to, is known to every process."""

import pytest

from shop.domain.services import count_stock
from shop.domain.users import OPERATOR
from tests.stores import Store
from tests.use_cases import UseCases


async def test_nothing_is_known_before_anything_was_counted(shop: UseCases) -> None:
    counts = await shop.read_counts(caller=OPERATOR)
    assert (counts.out_of_stock, counts.low, counts.below_zero, counts.differences) == (0, 0, 0, 0)
    assert (counts.counted_at, counts.verified_at) == (None, None)


@pytest.mark.parametrize("step", [1, 3, 50_000])
async def test_products_for_sale_are_counted_by_how_much_there_is(
    shop: UseCases, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(count_stock, "PER_STEP", step)
    for stock in (0, 0, 1, 5, 6, 1_000):
        await shop.given_product(stock)
    for stock in (0, 3):
        archived = await shop.given_product(stock)
        await shop.archive_product(caller=OPERATOR, product_id=archived.id)
    # As many as SHOP_LOW_STOCK says, which are 5.
    await shop.count_stock(caller=OPERATOR)
    counts = await shop.read_counts(caller=OPERATOR)
    assert (counts.out_of_stock, counts.low, counts.below_zero) == (2, 2, 0)
    assert counts.counted_at is not None


async def test_a_stock_below_zero_is_found(store: Store, shop: UseCases) -> None:
    """The database refuses it; whoever takes its CHECK away is found out."""
    teapot = await shop.given_product(1)
    if store.memory is None:
        async with store.sql.patient.begin() as connection:
            if store.name == "sqlite":
                await connection.exec_driver_sql("PRAGMA ignore_check_constraints=ON")
            else:
                await connection.exec_driver_sql(
                    "ALTER TABLE stock DROP CONSTRAINT stock_on_hand_not_negative"
                )
            await connection.exec_driver_sql(
                f"UPDATE stock SET on_hand = -1 WHERE product_id = {teapot.id:d}"  # noqa: S608
            )
        await shop.count_stock(caller=OPERATOR)
        assert (await shop.read_counts(caller=OPERATOR)).below_zero == 1


async def test_what_verifying_came_to_is_known_and_the_last_one_counts(shop: UseCases) -> None:
    for differences in (3, 0, 2):
        await shop.record_differences(caller=OPERATOR, differences=differences)
        counts = await shop.read_counts(caller=OPERATOR)
        assert counts.differences == differences
        assert counts.verified_at is not None
    # Apart from it.
    assert counts.counted_at is None

"""A shop has one currency, whichever the store: the one it was first started with."""

import asyncio

import pytest

from shop.adapters.memory.schema import MemorySchema
from shop.adapters.sql.schema import SqlSchema
from shop.domain.errors import OtherCurrency
from shop.domain.ports import Schema
from tests.stores import Store


@pytest.fixture
def schema(store: Store) -> Schema:
    if store.memory is not None:
        return MemorySchema(database=store.memory)
    return SqlSchema(engines=store.sql)


async def test_the_first_currency_is_the_shops_and_any_other_is_refused(schema: Schema) -> None:
    await schema.claim_currency("EUR")
    await schema.claim_currency("EUR")
    with pytest.raises(OtherCurrency, match="in EUR, and SHOP_CURRENCY says JPY: set it to EUR"):
        await schema.claim_currency("JPY")
    await schema.claim_currency("EUR")


async def test_readiness_costs_one_statement(sql: Store) -> None:
    schema = SqlSchema(engines=sql.sql)
    with sql.statements() as sent:
        assert (await schema.state(writable=True)).is_fit
    assert len(sent) == 1


async def test_of_two_who_start_at_once_under_two_currencies_one_is_refused(
    schema: Schema,
) -> None:
    answers = await asyncio.gather(
        *(schema.claim_currency(each) for each in ("EUR", "JPY") * 5), return_exceptions=True
    )
    assert sum(isinstance(answer, OtherCurrency) for answer in answers) == 5
    assert sum(answer is None for answer in answers) == 5

"""Whoever wants to is told of each statement that goes to the database, and of nothing else."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from shop.adapters.sql.statements import StatementObserver
from shop.adapters.work import Work, work_under_way
from shop.domain.orders import OrderQuery
from shop.domain.pages import Window
from shop.domain.users import OPERATOR
from tests.builders import items, product
from tests.stores import Store, sql_store
from tests.use_cases import UseCases


class Told(StatementObserver):
    def __init__(self) -> None:
        self.all: list[tuple[str, float, BaseException | None, str | None]] = []

    def statement_done(
        self, statement: str, *, seconds: float, error: BaseException | None
    ) -> None:
        work = work_under_way.get()
        self.all.append((statement, seconds, error, work.use_case if work else None))

    @property
    def statements(self) -> list[str]:
        return [statement for statement, *_ in self.all]

    @property
    def use_cases(self) -> set[str | None]:
        return {use_case for *_, use_case in self.all}


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def observed(sql_url: str, told: Told) -> AsyncIterator[Store]:
    async with sql_store(sql_url, observers=[told, told]) as store:
        yield store


@pytest.fixture
async def shop(observed: Store, told: Told) -> AsyncIterator[UseCases]:
    shop = UseCases(observed.unit_of_work)
    await shop.given_product()
    told.all.clear()
    yield shop
    await shop.close()


async def test_each_observer_is_told_of_all_that_is_sent(
    shop: UseCases, observed: Store, told: Told
) -> None:
    buyer = await shop.given_customer()
    teapot = await shop.given_product()
    told.all.clear()
    with observed.statements() as sent:
        placed = await shop.place_order(caller=buyer, items=items((teapot.id, 1)))
        await shop.cancel_order(caller=buyer, order_id=placed.order.id)
        await shop.list_orders(caller=buyer, query=OrderQuery(), window=Window(limit=1))
        await shop.read_product(caller=buyer, product_id=teapot.id)
    assert sent
    without_transactions = [
        statement
        for statement in told.statements[::2]
        if not statement.startswith(("BEGIN", "COMMIT", "ROLLBACK"))
    ]
    assert len(without_transactions) == len(sent)
    assert told.statements[::2] == told.statements[1::2]
    commit = {"postgresql": "COMMIT AND CHAIN", "sqlite": "COMMIT"}[observed.name]
    assert commit in told.statements
    assert all(0 < seconds < 10 and error is None for _, seconds, error, _ in told.all)


async def test_rows_that_go_in_bulk_are_told_of(
    shop: UseCases, observed: Store, told: Told
) -> None:
    told.all.clear()
    await shop.add_products(caller=OPERATOR, products=[product(0, sku="BULK")])
    bulk = {"postgresql": "COPY products", "sqlite": "INSERT INTO products"}[observed.name]
    assert any(statement.startswith(bulk) for statement in told.statements)


async def test_it_is_known_for_which_use_case_a_statement_was(
    shop: UseCases, observed: Store, told: Told
) -> None:
    buyer = await shop.given_customer()
    teapot = await shop.given_product()
    request = Work(request_id="x")
    work_under_way.set(request)
    told.all.clear()
    placed = await shop.place_order(caller=buyer, items=items((teapot.id, 1)))
    # The intake works for many, not for this request.
    assert told.use_cases == {"decide_orders"}
    assert request.use_case is None
    told.all.clear()
    await shop.cancel_order(caller=buyer, order_id=placed.order.id)
    assert told.use_cases == {"decide_orders"}
    for use_case, arguments in {
        "read_history": {"order_id": placed.order.id, "window": Window(limit=1)},
        "list_orders": {"query": OrderQuery(), "window": Window(limit=1)},
    }.items():
        told.all.clear()
        await getattr(shop, use_case)(caller=buyer, **arguments)
        assert told.use_cases == {use_case}
        assert request.use_case == use_case


async def test_what_nobody_asked_for_has_a_use_case_as_well(shop: UseCases, told: Told) -> None:
    work_under_way.set(None)
    await shop.purge_keys(caller=OPERATOR)
    assert told.use_cases == {"purge_keys"}


async def test_it_is_told_of_statements_that_fail(observed: Store, told: Told) -> None:
    async with observed.sql.write.connect() as connection:
        driver = await connection.get_raw_connection()
        assert driver.driver_connection is not None
        told.all.clear()
        for run in (
            lambda: driver.driver_connection.execute("SELECT no_such_column"),
            lambda: connection.execute(text("SELECT no_such_column")),
        ):
            with pytest.raises(Exception, match="no_such_column"):
                await run()
    assert told.statements == ["SELECT no_such_column"] * 4
    assert all("no_such_column" in str(error) for _, _, error, _ in told.all)


async def test_nothing_is_there_where_nobody_observes(sql: Store) -> None:
    async with sql.sql.read.connect() as connection:
        raw = await connection.get_raw_connection()
        assert type(raw.driver_connection).__module__.startswith(("asyncpg", "aiosqlite"))
        assert "execute" in type(raw.driver_connection).__dict__
        assert not sql.sql.read.sync_engine.dispatch.before_cursor_execute

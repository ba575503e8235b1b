"""Migrations: every step there and back, no drift from the tables, many hosts at once."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    CheckConstraint,
    Connection,
    Executable,
    Insert,
    insert,
    inspect,
    select,
    text,
)

from shop.adapters.sql.engine import Engines, create_engines
from shop.adapters.sql.schema import SqlSchema, config, is_in_metadata, migrating
from shop.adapters.sql.tables import (
    metadata,
    products,
    refresh_tokens,
    session_families,
    users,
)
from shop.domain.errors import (
    OtherCurrency,
    ProductNotFound,
    SkuTaken,
    StoreUnavailable,
    StoreUnfit,
    UsernameTaken,
)
from shop.domain.pages import Window
from shop.domain.ports import SchemaState
from shop.domain.products import ProductQuery
from shop.domain.users import OPERATOR
from tests.builders import money
from tests.postgresql import PostgresServer, unused_name
from tests.stores import Store, sql_store
from tests.use_cases import UseCases

SCRIPTS = ScriptDirectory.from_config(config())
REVISIONS = [script.revision for script in reversed(list(SCRIPTS.walk_revisions()))]


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/new/shop.sqlite3"


@pytest.fixture
def empty_postgresql_url(postgresql: PostgresServer) -> Iterator[str]:
    name = unused_name("empty")
    yield postgresql.create_database(name)
    postgresql.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database that nobody has migrated."""
    url: str = request.getfixturevalue(f"empty_{request.param}_url")
    return url


@pytest.fixture
async def engines(url: str) -> AsyncIterator[Engines]:
    engines = create_engines(url)
    yield engines
    await engines.dispose()


async def run(engines: Engines, work: Callable[[Connection], Any]) -> Any:
    async with migrating(engines) as connection:
        result = await connection.run_sync(work)
        await connection.commit()
    return result


def upgrade_to(revision: str) -> Callable[[Connection], None]:
    return lambda connection: command.upgrade(config(connection), revision)


def downgrade_to(revision: str) -> Callable[[Connection], None]:
    return lambda connection: command.downgrade(config(connection), revision)


def shape(connection: Connection) -> dict[str, Any]:
    """All that a database says about its tables, in a form that can be compared."""
    inspector = inspect(connection)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"])
                for column in inspector.get_columns(table)
            },
            "primary key": inspector.get_pk_constraint(table)["constrained_columns"],
            "foreign keys": sorted(
                (key["constrained_columns"], key["referred_table"])
                for key in inspector.get_foreign_keys(table)
            ),
            "unique": sorted(u["column_names"] for u in inspector.get_unique_constraints(table)),
            "indexes": sorted(
                (str(index["name"]), index["column_names"])
                for index in inspector.get_indexes(table)
                if is_in_metadata(index, index["name"])
            ),
            "checks": sorted(
                str(check["name"]) for check in inspector.get_check_constraints(table)
            ),
        }
        for table in inspector.get_table_names()
        if table != "alembic_version" and is_in_metadata(table, table)
    }


async def test_every_revision_goes_up_down_and_up_again(engines: Engines) -> None:
    for revision in REVISIONS:
        before = await run(engines, shape)
        await run(engines, upgrade_to(revision))
        after = await run(engines, shape)
        await run(engines, downgrade_to("-1"))
        assert await run(engines, shape) == before
        await run(engines, upgrade_to(revision))
        assert await run(engines, shape) == after


async def test_migrated_tables_do_not_differ_from_the_tables_in_the_code(
    engines: Engines,
) -> None:
    await SqlSchema(engines=engines).upgrade()

    def differences(connection: Connection) -> object:
        options = {"include_object": is_in_metadata}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    assert await run(engines, differences) == []


async def test_migrated_tables_have_the_shape_the_code_would_create(engines: Engines) -> None:
    """Constraints too, which a comparison of metadata does not look at."""
    await SqlSchema(engines=engines).upgrade()
    migrated = await run(engines, shape)
    await run(engines, metadata.drop_all)
    await run(engines, metadata.create_all)
    assert migrated == await run(engines, shape)


async def test_every_check_in_the_code_is_in_the_migrated_database(engines: Engines) -> None:
    await SqlSchema(engines=engines).upgrade()
    found = {name for table in (await run(engines, shape)).values() for name in table["checks"]}
    assert found == {
        str(constraint.name)
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }


async def test_a_schema_is_current_when_it_is_migrated_and_only_then(engines: Engines) -> None:
    schema = SqlSchema(engines=engines)
    assert await schema.state() is SchemaState.OUTDATED
    await schema.upgrade()
    assert await schema.state() is SchemaState.CURRENT
    await schema.upgrade()
    assert await schema.state() is SchemaState.CURRENT
    for older in reversed(REVISIONS[:-1]):
        await run(engines, downgrade_to(older))
        assert await schema.state() is SchemaState.OUTDATED
    await run(engines, downgrade_to("base"))
    assert await schema.state() is SchemaState.OUTDATED


async def test_the_state_of_the_schema_is_one_statement(sql: Store) -> None:
    with sql.statements() as sent:
        assert await SqlSchema(engines=sql.sql).state() is SchemaState.CURRENT
    assert len(sent) == 1


async def test_two_who_migrate_at_once_both_succeed(url: str) -> None:
    processes = [create_engines(url) for _ in range(2)]
    await asyncio.gather(*(SqlSchema(engines=engines).upgrade() for engines in processes))
    for engines in processes:
        assert await SqlSchema(engines=engines).state() is SchemaState.CURRENT
        await engines.dispose()


async def test_migrating_again_keeps_what_is_stored(url: str, engines: Engines) -> None:
    await SqlSchema(engines=engines).upgrade()
    async with sql_store(url) as store:
        shop = UseCases(store.unit_of_work)
        teapot = await shop.given_product(3)
        await SqlSchema(engines=engines).upgrade()
        assert await shop.stock_of(teapot) == 3


async def test_sessions_outlive_the_column_that_tells_siblings_apart(engines: Engines) -> None:
    """What is written without it, before or by a shop that does not know it, has a time."""
    await run(engines, upgrade_to("0005"))
    now = datetime.now(UTC)
    user = {"username": "anna", "password_hash": "x", "role": "customer", "disabled": False}
    family = {"id": uuid4(), "user_id": 1, "client": "", "ended_at": None}
    times = dict.fromkeys(("started_at", "ends_at", "last_used_at", "expires_at"), now)

    def add_token(token_hash: bytes) -> Insert:
        return insert(refresh_tokens).values(
            token_hash=token_hash, family_id=family["id"], expires_at=now, retired=False
        )

    async with engines.patient.begin() as connection:
        await connection.execute(insert(users).values(**user, created_at=now))
        await connection.execute(insert(session_families).values(**family, **times))
        await connection.execute(add_token(b"before"))
    await run(engines, upgrade_to("0006"))
    async with engines.patient.begin() as connection:
        await connection.execute(add_token(b"after"))
        rows = await connection.execute(
            select(refresh_tokens.c.token_hash, refresh_tokens.c.issued_at)
        )
        issued = {row.token_hash: row.issued_at for row in rows}
    assert set(issued) == {b"before", b"after"}
    assert all(abs(issued_at - now) < timedelta(minutes=5) for issued_at in issued.values())


def add_products(*skus: str, currency: str = "EUR", archived: bool = False) -> Insert:
    """As programs add them that know neither folded SKUs nor limits."""
    now = datetime.now(UTC)
    return insert(products).values(
        [
            {
                "sku": sku,
                "name": sku,
                "description": "",
                "price": 1200,
                "currency": currency,
                "search_key": sku.casefold(),
                "archived": archived,
                "version": 1,
                "created_at": now,
                "modified_at": now,
            }
            for sku in skus
        ]
    )


def add_users(*names: str) -> Insert:
    role = {"password_hash": "plain:x", "role": "customer", "disabled": False}
    return insert(users).values(
        [{"username": name, "created_at": datetime.now(UTC), **role} for name in names]
    )


async def execute(engines: Engines, *statements: Executable) -> None:
    async with engines.patient.begin() as connection:
        for statement in statements:
            await connection.execute(statement)


EMPTY_SHELVES = text("INSERT INTO stock (product_id, on_hand) SELECT id, 0 FROM products")


async def test_names_that_clash_once_folded_stay_apart_and_are_reported(
    url: str, engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    await run(engines, upgrade_to("0007"))
    await execute(
        engines,
        add_products("tea", "TEA", "Cup", "TeA"),
        EMPTY_SHELVES,
        add_users("Anna", "Bert", "anna"),
    )
    await SqlSchema(engines=engines).upgrade()
    reported = " ".join(record.getMessage() for record in caplog.records)
    assert "products: 'tea' and 'TEA' and 'TeA' are the same" in reported
    assert "users: 'Anna' and 'anna' are the same" in reported
    assert not re.search("Cup|Bert", reported)
    async with sql_store(url) as store:
        async with store.unit_of_work() as uow:
            for typed, found in {
                **{"tea": 1, "TEA": 2, "TeA": 4, "tEA": None},
                **{"cup": 3, "Cup": 3, "pot": None},
            }.items():
                product = await uow.products.find(typed)
                assert (product.id if product else None) == found
            for typed, found in {"Anna": 1, "anna": 3, "ANNA": None, "bert": 2}.items():
                user = await uow.users.find(typed)
                assert (user.id if user else None) == found
        shop = UseCases(store.unit_of_work)
        with pytest.raises(SkuTaken):
            await shop.given_product(sku="tEA")
        with pytest.raises(UsernameTaken):
            await shop.given_customer("ANNA")
        # What clashes can be changed like any other, and one that gets a name of its own is free.
        for product_id in (1, 2):
            await shop.change_product(caller=OPERATOR, product_id=product_id, price=money(1))
        await shop.change_product(caller=OPERATOR, product_id=2, sku="Pot")
        await shop.change_product(caller=OPERATOR, product_id=4, sku="Kettle")
        assert (await shop.find_product(caller=OPERATOR, sku="tEA")).id == 1
        assert (await shop.find_product(caller=OPERATOR, sku="pot")).id == 2
        with pytest.raises(SkuTaken):
            await shop.change_product(caller=OPERATOR, product_id=2, sku="TEA")


async def test_what_an_older_program_adds_meanwhile_is_found_by_its_exact_name(
    url: str, engines: Engines
) -> None:
    await SqlSchema(engines=engines).upgrade()
    await execute(engines, add_products("Tea"), EMPTY_SHELVES, add_users("Anna"))
    async with sql_store(url) as store:
        shop = UseCases(store.unit_of_work)
        assert (await shop.find_product(caller=OPERATOR, sku="Tea")).max_per_order is None
        await shop.sign_in(username="Anna", password="x")
        with pytest.raises(SkuTaken):
            await shop.given_product(sku="Tea")
        await shop.change_product(caller=OPERATOR, product_id=1, price=money(1))
        assert (await shop.find_product(caller=OPERATOR, sku="TEA")).id == 1
        # And one whose SKU it changes is not taken for another.
        await execute(engines, text("UPDATE products SET sku = 'Pot'"))
        with pytest.raises(ProductNotFound):
            await shop.find_product(caller=OPERATOR, sku="TEA")
        assert (await shop.find_product(caller=OPERATOR, sku="Pot")).id == 1


async def test_a_shop_that_has_products_keeps_their_currency(engines: Engines) -> None:
    await run(engines, upgrade_to("0007"))
    await execute(engines, add_products("A", "B", currency="JPY"), add_products("C", archived=True))
    schema = SqlSchema(engines=engines)
    await schema.upgrade()
    with pytest.raises(OtherCurrency, match="in JPY"):
        await schema.claim_currency("EUR")
    await schema.claim_currency("JPY")


async def test_a_shop_with_prices_in_several_currencies_is_left_as_it_is(engines: Engines) -> None:
    await run(engines, upgrade_to("0008"))
    before = await run(engines, shape)
    await execute(engines, add_products("A"), add_products("B", "C", currency="JPY"))
    schema = SqlSchema(engines=engines)
    with pytest.raises(StoreUnfit, match=r"1 in EUR \(such as 1\), 2 in JPY \(such as 2\)"):
        await schema.upgrade()
    assert await run(engines, shape) == before
    await execute(engines, text("UPDATE products SET currency = 'EUR' WHERE sku = 'B'"))
    await execute(engines, text("UPDATE products SET archived = true WHERE sku = 'C'"))
    await schema.upgrade()
    await schema.claim_currency("EUR")


async def test_a_database_that_is_away_is_neither_current_nor_migrated(tmp_path: Path) -> None:
    engines = create_engines(f"postgresql+asyncpg://shop@/shop?host={tmp_path}")
    with pytest.raises(StoreUnavailable):
        await SqlSchema(engines=engines).state()
    with pytest.raises(StoreUnavailable):
        await SqlSchema(engines=engines).upgrade()
    await engines.dispose()


async def test_products_from_before_they_were_listed_by_a_table_of_their_own_are_listed(
    url: str, engines: Engines
) -> None:
    await SqlSchema(engines=engines).upgrade()
    async with sql_store(url) as store:
        shop = UseCases(store.unit_of_work)
        teapot, cup = await shop.given_product(3), await shop.given_product(0)
        await run(engines, downgrade_to("0009"))
        await SqlSchema(engines=engines).upgrade()
        for in_stock, product in ((True, teapot), (False, cup)):
            query = ProductQuery(in_stock=in_stock)
            async with store.unit_of_work(read_only=True) as uow:
                assert await uow.products.read_window(query, Window(limit=2)) == [product]

"""PostgreSQL's index for searching: built where it can be, and where not, said and done without."""

from collections.abc import Iterator

import pytest
from anyio import to_thread
from click.testing import CliRunner
from sqlalchemy import text

from shop.adapters.sql import search as sql_search
from shop.adapters.sql.engine import create_engines
from shop.adapters.sql.schema import SqlSchema
from shop.adapters.sql.search import Bounds
from shop.domain.errors import SearchTooBroad
from shop.domain.pages import Window
from shop.domain.products import ProductQuery
from shop.domain.users import OPERATOR
from shop.entrypoints.cli.main import main
from tests.builders import product
from tests.postgresql import PostgresServer, unused_name
from tests.stores import Store, sql_store
from tests.use_cases import UseCases

HAS_INDEX = text("SELECT indisvalid FROM pg_index WHERE indexrelid = 'products_search'::regclass")


@pytest.fixture
def in_c(postgresql: PostgresServer) -> Iterator[str]:
    """A database in whose locale letters beyond ASCII are no letters."""
    name = unused_name("in_c")
    postgresql.execute(
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    yield postgresql.url(name)
    postgresql.drop_database(name)


@pytest.fixture
def of_little_right(postgresql: PostgresServer) -> Iterator[str]:
    """A database in which the shop's user may create tables, and no extension."""
    name = unused_name("little")
    postgresql.create_database(name)
    postgresql.execute(f"CREATE ROLE {name} LOGIN")
    postgresql.execute(f"GRANT ALL ON SCHEMA public TO {name}", database=name)
    yield postgresql.url(name).replace("shop@", f"{name}@")
    postgresql.drop_database(name)
    postgresql.execute(f"DROP ROLE {name}")


@pytest.mark.parametrize(
    ("database", "reason"),
    [
        ("in_c", "in the locale of the database (LC_CTYPE) letters beyond ASCII are no letters"),
        ("of_little_right", "this user may not create"),
    ],
)
async def test_without_an_index_a_search_is_bounded_and_migrating_says_why(
    database: str, reason: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = request.getfixturevalue(database)
    said = await to_thread.run_sync(migrate_by_command, url)
    assert reason in said
    monkeypatch.setattr(sql_search, "BOUNDS", Bounds(walked_max=4))
    async with sql_store(url) as store:
        products = [product(0, sku=f"S-{n}", name=f"Käse {n}") for n in range(6)]
        await UseCases(store.unit_of_work).add_products(caller=OPERATOR, products=products)
        assert await names(store, "käse", limit=3) == ["Käse 0", "Käse 1", "Käse 2"]
        with pytest.raises(SearchTooBroad):
            await names(store, "käse 5", limit=3)
        monkeypatch.setattr(sql_search, "BOUNDS", Bounds(walked_max=6))
        assert await names(store, "käse 5", limit=3) == ["Käse 5"]


def migrate_by_command(url: str) -> str:
    variables = {"COLUMNS": "500", "SHOP_DATABASE_URL": url}
    result = CliRunner().invoke(main, ["migrate"], env=variables)
    assert result.exit_code == 0, result.output
    return result.stdout


async def names(store: Store, search: str, *, limit: int) -> list[str]:
    async with store.unit_of_work(read_only=True) as uow:
        found = await uow.products.read_window(ProductQuery(search=search), Window(limit=limit))
    return [each.name for each in found]


@pytest.mark.parametrize(
    "left_behind",
    [
        "DROP INDEX products_search",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'products_search'::regclass",
    ],
)
async def test_an_index_that_is_not_there_or_was_not_finished_is_built_by_migrating_again(
    postgresql_url: str, left_behind: str
) -> None:
    engines = create_engines(postgresql_url)
    schema = SqlSchema(engines=engines)
    assert await schema.slow_search() is None
    async with engines.patient.begin() as connection:
        await connection.execute(text(left_behind))
    assert "shop migrate" in str(await schema.slow_search())
    await schema.upgrade()
    assert await schema.slow_search() is None
    async with engines.read.connect() as connection:
        assert await connection.scalar(HAS_INDEX)
    await engines.dispose()


async def test_products_of_before_are_found_once_it_is_migrated(sql_url: str) -> None:
    async with sql_store(sql_url) as store:
        shop = UseCases(store.unit_of_work)
        await shop.given_product(1, name="Käse")
        async with store.sql.patient.begin() as connection:
            await connection.execute(
                text("UPDATE products SET search_text = '', search_version = 0, sku_folded = NULL")
            )
        assert await names(store, "käse", limit=3) == []
        await SqlSchema(engines=store.sql).upgrade()
        assert await names(store, "kase", limit=3) == ["Käse"]

"""Reading the database of a shop that the real Django made: as of one moment, and nothing else."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import make_url

from shop.adapters.passwords import Argon2Hasher
from shop.adapters.sql.django import DjangoTables, django_url, opened_django
from shop.adapters.sql.urls import WrongUrl
from shop.domain.errors import OldShopUnreadable
from shop.domain.moving import OldCounts
from tests.old_shops import django_shop
from tests.postgresql import PostgresServer, unused_name

NAMES = DjangoTables()
BERLIN = ZoneInfo("Europe/Berlin")
KINDS = ("pbkdf2_sha256", "argon2", "scrypt")
OTHER_KINDS = ("pbkdf2_sha1", "md5")
ROWS = {
    "users": [
        *(
            {"username": kind, "password": f"of {kind}", "hasher": kind}
            for kind in (*KINDS, *OTHER_KINDS)
        ),
        {"username": "none", "email": "none@example.com", "is_superuser": True},
    ],
    "products": [
        {
            "name": "Teapot",
            "price": "19.99",
            "stock": 5,
            "created": "2024-02-29T23:59:59.123456+00:00",
            "modified": "2024-07-01T10:00:00+02:00",
        },
        {"name": "Cup", "price": "999.90", "stock": -2},
        {"name": "Rug", "price": "100.00", "stock": 0},
    ],
    "orders": [
        {"code": "ABCDEFGH1234", "user_id": 1, "items": [[1, 2], [2, 1]]},
        {"code": "EMPTY", "user_id": 2, "items": []},
    ],
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop in SQLite, to be copied."""
    path = tmp_path_factory.mktemp("django") / "old.sqlite3"
    django_shop(f"sqlite:///{path}", **ROWS)
    return path


@pytest.fixture(scope="module")
def database(postgresql: PostgresServer) -> Iterator[str]:
    """The name of one in PostgreSQL."""
    name = unused_name("django")
    django_shop(postgresql.create_database(name), **ROWS)
    yield name
    postgresql.drop_database(name)


@dataclass(frozen=True)
class Made:
    url: str
    execute: Callable[[str], object]


@pytest.fixture(params=["sqlite", "postgresql"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    """The shop in each of them; what is changed in PostgreSQL has to be changed back."""
    if request.param == "sqlite":
        copy = copied(request.getfixturevalue("file"), tmp_path)
        return Made(f"sqlite:///{copy}", partial(execute, copy))
    server: PostgresServer = request.getfixturevalue("postgresql")
    name: str = request.getfixturevalue("database")
    return Made(server.url(name).replace("+asyncpg", ""), partial(server.execute, database=name))


def copied(file: Path, folder: Path) -> Path:
    return Path(shutil.copy(file, folder / "old.sqlite3"))


def execute(file: Path, *statements: str) -> None:
    connection = sqlite3.connect(file)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


async def test_what_django_stored_is_read_as_it_was_meant(made: Made) -> None:
    async with opened_django(django_url(made.url), NAMES, UTC) as old:
        assert await old.count() == OldCounts(users=6, products=3, orders=2)
        products = await old.products(after=-1, limit=10)
        orders = await old.orders(after=0, limit=10)
        users = await old.users(after=5, limit=10)
    assert [(p.id, p.name, p.price, p.stock) for p in products] == [
        (1, "Teapot", Decimal("19.99"), 5),
        (2, "Cup", Decimal("999.9"), -2),
        (3, "Rug", Decimal(100), 0),
    ]
    assert products[0].created_at == datetime(2024, 2, 29, 23, 59, 59, 123456, UTC)
    assert products[0].modified_at == datetime(2024, 7, 1, 8, tzinfo=UTC)
    assert [(o.id, o.code, o.user_id) for o in orders] == [(1, "ABCDEFGH1234", 1), (2, "EMPTY", 2)]
    assert [(i.product_id, i.quantity) for i in orders[0].items] == [(1, 2), (2, 1)]
    assert orders[1].items == []
    assert (users[0].username, users[0].is_active, users[0].is_staff) == ("none", True, False)
    assert users[0].rest["email"] == "none@example.com"
    assert set(users[0].rest) == {"email", "is_superuser"}


async def test_djangos_hashes_are_read_or_known_to_be_of_another_kind(made: Made) -> None:
    hasher = Argon2Hasher()
    async with opened_django(django_url(made.url), NAMES, UTC) as old:
        users = await old.users(after=0, limit=10)
    hashes = {user.username: user.password_hash for user in users}
    assert [kind for kind in hashes if hasher.is_readable(hashes[kind])] == list(KINDS)
    for kind in KINDS:
        assert await hasher.verify(f"of {kind}", hashes[kind])


async def test_lists_go_on_after_an_id(made: Made) -> None:
    async with opened_django(django_url(made.url), NAMES, UTC) as old:
        assert [p.id for p in await old.products(after=1, limit=1)] == [2]
        [order] = await old.orders(after=0, limit=1)
        assert len(order.items) == 2
        assert await old.orders(after=2, limit=1) == []
        assert await old.stray_items(after=0, limit=1) == []


async def test_a_table_that_is_not_there_is_named(made: Made) -> None:
    for names, said in (
        (DjangoTables(orders="sales_order"), "no table 'sales_order'"),
        (DjangoTables(users='"; DROP TABLE auth_user; --'), "no table"),
        (DjangoTables(items="orders_order"), "no column product_id, order_id, quantity"),
    ):
        with pytest.raises(OldShopUnreadable, match=said):
            async with opened_django(django_url(made.url), names, UTC):
                pass


async def test_it_is_read_as_of_one_moment_and_holds_nobody_up(made: Made) -> None:
    url = django_url(made.url)
    async with opened_django(url, NAMES, UTC) as old:
        before = await old.users(after=0, limit=10)
        made.execute("UPDATE auth_user SET username = 'later' WHERE id = 1")
        assert await old.users(after=0, limit=10) == before
    async with opened_django(url, NAMES, UTC) as old:
        assert (await old.users(after=0, limit=1))[0].username == "later"
    made.execute("UPDATE auth_user SET username = 'pbkdf2_sha256' WHERE id = 1")


async def test_names_of_tables_may_be_whatever_they_are(file: Path, tmp_path: Path) -> None:
    path, odd = copied(file, tmp_path), 'of "my" shop; --'
    execute(
        path,
        'ALTER TABLE products_product RENAME TO "of ""my"" shop; --"',
        'ALTER TABLE orders_orderitem ADD COLUMN "a ""note" TEXT',
        """UPDATE orders_orderitem SET "a ""note" = 'fragile' WHERE id = 1""",
    )
    url = django_url(f"sqlite:///{path}")
    async with opened_django(url, DjangoTables(products=odd), UTC) as old:
        assert (await old.count()).products == 3
        [order] = await old.orders(after=0, limit=1)
    assert [item.rest for item in order.items] == [{'a "note': "fragile"}, {}]


async def test_sqlite_may_hold_whatever_it_was_given(file: Path, tmp_path: Path) -> None:
    path = copied(file, tmp_path)
    execute(
        path,
        "UPDATE products_product SET name = CAST(x'54ff' AS TEXT), price = 'dear', stock = 'many', "
        "created = 'yesterday', modified = '2024-07-01 10:00:00' WHERE id = 1",
        "UPDATE orders_orderitem SET quantity = 2.5 WHERE id = 1",
        "UPDATE orders_orderitem SET order_id = 77 WHERE id = 2",
    )
    async with opened_django(django_url(f"sqlite:///{path}"), NAMES, BERLIN) as old:
        [product] = await old.products(after=0, limit=1)
        [order] = await old.orders(after=0, limit=1)
        strays = await old.stray_items(after=0, limit=10)
    assert (product.name, product.price, product.stock) == ("T\ufffd", None, None)
    assert product.created_at is None
    # In the zone that was given.
    assert product.modified_at == datetime(2024, 7, 1, 8, tzinfo=UTC)
    assert [item.quantity for item in order.items] == [None]
    assert [item.id for item in strays] == [2]


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_its_file_stays_as_it_is(file: Path, tmp_path: Path) -> None:
    path = copied(file, tmp_path)
    before = contents_of(tmp_path)
    async with opened_django(django_url(f"sqlite:///{path}"), NAMES, UTC) as old:
        await old.count()
    assert contents_of(tmp_path) == before


async def test_whoever_may_only_read_can_move_it(postgresql: PostgresServer, database: str) -> None:
    reader = unused_name("reader")
    postgresql.execute(f'CREATE ROLE "{reader}" LOGIN')
    for table in ("auth_user", "products_product", "orders_order", "orders_orderitem"):
        postgresql.execute(f'GRANT SELECT ON {table} TO "{reader}"', database=database)
    url = make_url(postgresql.url(database)).set(username=reader).render_as_string()
    async with opened_django(django_url(url), NAMES, UTC) as old:
        assert len(await old.orders(after=0, limit=10)) == 2
    postgresql.execute(f'DROP OWNED BY "{reader}"', database=database)
    postgresql.execute(f'DROP ROLE "{reader}"')


@pytest.mark.parametrize(
    "url", ["", "memory://", "mysql://localhost/shop", "sqlite://", "/srv/db.sqlite3", "postgres"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(WrongUrl):
        django_url(url)


@pytest.mark.parametrize("url", ["", "memory://", "mysql://localhost/shop", "/srv/db.sqlite3"])
def test_who_gives_another_url_is_told_how_django_spells_them(url: str) -> None:
    with pytest.raises(WrongUrl, match="sqlite:///path or postgresql://") as refused:
        django_url(url)
    assert "memory://" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("sqlite:////srv/db.sqlite3", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:////srv/db.sqlite3", "sqlite+aiosqlite"),
        ("postgres://shop:secret@db/shop?sslmode=require", "postgresql+asyncpg"),
        ("postgresql://shop@db/shop", "postgresql+asyncpg"),
    ],
)
def test_urls_are_those_of_django_too(url: str, driver: str) -> None:
    assert django_url(url).drivername == driver


async def test_what_is_no_database_or_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but a file of some length " * 100)
    for url, said in (
        (f"sqlite:///{tmp_path / 'missing'}", "There is no database"),
        (f"sqlite:///{tmp_path / 'text'}", "cannot be read: file is not a database"),
        (f"sqlite:///{tmp_path}", "is a folder"),
        (f"postgresql://shop:hidden@/shop?host={tmp_path}", "cannot be read"),
    ):
        with pytest.raises(OldShopUnreadable, match=said) as refused:
            async with opened_django(django_url(url), NAMES, UTC):
                pass
        assert "hidden" not in str(refused.value)
    assert not (tmp_path / "missing").exists()

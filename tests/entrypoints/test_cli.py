"""The `shop` command: every subcommand, its refusals in one sentence, its exit codes."""

import os
import re
import shutil
import socket
import sqlite3
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shop.adapters.passwords import Argon2Hasher
from shop.adapters.sql import schema
from shop.entrypoints.cli.main import main
from shop.entrypoints.settings import Settings, variable

Shop = Callable[..., Result]

COMMANDS = [
    "serve",
    "demo",
    "migrate",
    "makemigrations",
    "create-user",
    "set-password",
    "add-products",
    "stock",
    "stock verify",
    "orders",
    "orders list",
    "orders show",
]
ORDER = "00000000-0000-4000-8000-000000000000"
# Those that need a store, as they are called.
ON_A_STORE = [
    "demo",
    "migrate",
    "create-user ann --password-stdin",
    "set-password ann --password-stdin",
    "add-products --count 1",
    "stock verify",
    "orders list",
    f"orders show {ORDER}",
]
PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def shop() -> Shop:
    """Runs a command line with these variables; without any, over the embedded database."""

    def run(command: str, *, stdin: str | None = None, **variables: str) -> Result:
        # Nothing is inherited: a variable that is None is not set.
        own: dict[str, str | None] = {variable(name): None for name in Settings.__struct_fields__}
        wide = {"COLUMNS": "200", "TERMINAL_WIDTH": "200"}
        return CliRunner().invoke(main, command.split(), input=stdin, env=own | wide | variables)

    return run


def refusal(result: Result, exit_code: int = 1) -> str:
    """The message of a command that refused, without its frame."""
    assert result.exit_code == exit_code, result.output
    assert "Traceback" not in result.output
    return " ".join(re.sub(r"[─│╭╮╰╯]", " ", result.stderr).split())


def rows(database: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def change(database: Path, statement: str) -> None:
    connection = sqlite3.connect(database)
    with connection:
        connection.execute(statement)
    connection.close()


EMBEDDED = Path("var/shop.sqlite3")


# --- help and usage ---


def test_help_lists_every_command(shop: Shop) -> None:
    for command in ("--help", "-h"):
        result = shop(command)
        assert result.exit_code == 0
        for name in COMMANDS:
            assert name.split()[0] in result.stdout
        assert "SHOP_DATABASE_URL" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_without_a_database(shop: Shop, command: str) -> None:
    result = shop(f"{command} --help", SHOP_DATABASE_URL="nonsense")
    assert result.exit_code == 0
    assert len(result.stdout.split()) > 10


def test_the_version_is_that_of_the_package(shop: Shop) -> None:
    assert re.search(r"\d+\.\d+\.\d+", shop("--version").stdout)


@pytest.mark.parametrize(
    "command",
    [
        "nonsense",
        "serve --port 0",
        "serve --port 65536",
        "serve --workers 0",
        "serve --port x",
        "makemigrations",
        "create-user",
        "set-password",
        "add-products --count 0",
        "add-products --count x",
        "add-products --seed -1",
        "stock nonsense",
        "orders list --status lost",
        "orders list --limit 0",
        "orders list --user 0",
        "orders show",
        "orders show no-uuid",
        "create-user ann --nonsense",
    ],
)
def test_wrong_usage_is_exit_code_2(shop: Shop, command: str) -> None:
    assert "Usage" in refusal(shop(command), exit_code=2)
    assert not EMBEDDED.exists()


# --- settings and stores ---


@pytest.mark.parametrize("command", [*ON_A_STORE, "serve"])
def test_a_bad_setting_is_named_in_one_sentence(shop: Shop, command: str) -> None:
    message = refusal(shop(command, stdin=PASSWORD, SHOP_LOG_LEVEL="loud"))
    assert "SHOP_LOG_LEVEL is wrong" in message
    assert "SHOP_LOGLEVEL is not a setting" in refusal(
        shop(command, stdin=PASSWORD, SHOP_LOGLEVEL="info")
    )


@pytest.mark.parametrize("command", ON_A_STORE)
def test_the_in_memory_store_is_refused_with_the_reason(shop: Shop, command: str) -> None:
    message = refusal(shop(command, stdin=PASSWORD, SHOP_DATABASE_URL="memory://"))
    assert "lives only inside `shop serve`" in message


@pytest.mark.parametrize("command", [c for c in ON_A_STORE if c != "migrate"] + ["serve"])
def test_a_database_that_is_not_migrated_is_refused_with_the_command(
    shop: Shop, command: str
) -> None:
    url = "sqlite+aiosqlite:///other.sqlite3"
    message = refusal(shop(command, stdin=PASSWORD, SHOP_DATABASE_URL=url))
    assert "not migrated" in message
    assert "`shop migrate`" in message
    assert shop("migrate", SHOP_DATABASE_URL=url).exit_code == 0
    if command != "serve":
        assert "not migrated" not in shop(command, stdin=PASSWORD, SHOP_DATABASE_URL=url).output


@pytest.mark.parametrize("command", [*ON_A_STORE, "serve"])
def test_a_database_that_is_away_is_one_sentence(shop: Shop, command: str) -> None:
    url = "postgresql+asyncpg://shop:hunter2@/shop?host=/nowhere"
    message = refusal(shop(command, stdin=PASSWORD, SHOP_DATABASE_URL=url))
    assert "Check SHOP_DATABASE_URL ([Errno 2] No such file or directory)." in message
    assert "hunter2" not in message


def test_the_embedded_database_migrates_itself(shop: Shop) -> None:
    assert shop("stock verify").exit_code == 0
    assert EMBEDDED.exists()


# --- migrations ---


def test_migrating_says_which_schema_it_is_and_may_be_repeated(shop: Shop) -> None:
    for _ in range(2):
        result = shop("migrate")
        assert result.exit_code == 0
        assert f"schema {schema.head()}" in result.stdout


def test_a_drafted_migration_holds_the_difference_and_nothing_else(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, copy)
    monkeypatch.setattr(schema, "MIGRATIONS", copy)
    before = {path.name for path in (copy / "versions").glob("*.py")}
    shop("migrate")
    change(EMBEDDED, "DROP INDEX products_by_price")
    result = shop("makemigrations -m prices")
    assert result.exit_code == 0, result.output
    [new] = [path for path in (copy / "versions").glob("*.py") if path.name not in before]
    draft = new.read_text()
    assert new.name.startswith(f"{int(schema.head() or 0) + 1:04d}_")
    assert draft.count("op.create_index") == 1
    assert "products_by_price" in draft


# --- users ---


def test_a_user_is_created_with_a_password_from_standard_input(shop: Shop) -> None:
    result = shop("create-user ann --password-stdin", stdin=f"{PASSWORD}\r\nrest\n")
    assert result.exit_code == 0, result.output
    assert result.stdout == "Created customer ann with id 1.\n"
    assert shop("create-user boss --staff --password-stdin", stdin=PASSWORD).exit_code == 0
    users = rows(EMBEDDED, "SELECT username, role, password_hash FROM users ORDER BY id")
    assert [user[:2] for user in users] == [("ann", "customer"), ("boss", "staff")]
    for _, _, password_hash in users:
        assert str(password_hash).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_the_stored_hash_is_of_the_password_that_was_given(shop: Shop) -> None:
    with ThreadPoolExecutor(1) as thread:
        command = "create-user ann --password-stdin"
        assert thread.submit(shop, command, stdin=f"{PASSWORD}\n").result().exit_code == 0
    [[stored]] = rows(EMBEDDED, "SELECT password_hash FROM users")
    assert await Argon2Hasher().verify(PASSWORD, str(stored))


def test_without_standard_input_the_password_is_asked_for_twice(shop: Shop) -> None:
    result = shop("create-user ann", stdin=f"{PASSWORD}\nmistyped\n{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    assert "do not match" in result.output
    assert PASSWORD not in result.output


def test_a_prompt_that_is_cut_short_creates_nobody(shop: Shop) -> None:
    assert shop("create-user ann", stdin="").exit_code == 1
    assert rows(EMBEDDED, "SELECT * FROM users") == []


@pytest.mark.parametrize(
    ("name", "password", "message"),
    [
        ("ann", "short", "password: must have 8 to 256 characters"),
        ("ann", "", "password: must have 8 to 256 characters"),
        ("ann", "x" * 257, "password: must have 8 to 256 characters"),
        ("a/b", PASSWORD, "username: must be 1 to 150"),
        ("x" * 151, PASSWORD, "username: must be 1 to 150"),
    ],
)
def test_a_user_who_cannot_be_is_refused(
    shop: Shop, name: str, password: str, message: str
) -> None:
    result = shop(f"create-user {name} --password-stdin", stdin=f"{password}\n")
    assert message in refusal(result)
    assert rows(EMBEDDED, "SELECT * FROM users") == []


def test_a_name_is_taken_once(shop: Shop) -> None:
    shop("create-user ann --password-stdin", stdin=PASSWORD)
    result = shop("create-user ann --password-stdin", stdin=PASSWORD)
    assert "Another user is called 'ann'." in refusal(result)


def test_a_password_is_changed(shop: Shop) -> None:
    shop("create-user ann --password-stdin", stdin=PASSWORD)
    before = rows(EMBEDDED, "SELECT password_hash FROM users")
    result = shop("set-password ann --password-stdin", stdin="another horse")
    assert result.exit_code == 0
    assert result.stdout == "Changed the password of ann.\n"
    assert rows(EMBEDDED, "SELECT password_hash FROM users") != before


def test_the_password_of_nobody_cannot_be_changed(shop: Shop) -> None:
    result = shop("set-password ann --password-stdin", stdin=PASSWORD)
    assert "There is no user ann." in refusal(result)


# --- products ---

PRODUCTS = (
    "SELECT sku, name, description, price, on_hand FROM products JOIN stock ON id = product_id"
)


def test_the_same_seed_makes_the_same_products(shop: Shop) -> None:
    for name in ("one", "two"):
        url = f"sqlite+aiosqlite:///{name}.sqlite3"
        shop("migrate", SHOP_DATABASE_URL=url)
        result = shop("add-products --count 30 --seed 7", SHOP_DATABASE_URL=url)
        assert result.stdout == "Added 30 products.\n"
    one, two = rows(Path("one.sqlite3"), PRODUCTS), rows(Path("two.sqlite3"), PRODUCTS)
    assert one == two
    assert len({row[1] for row in one}) > 20, "names differ"
    assert len({row[3] for row in one}) > 10, "prices differ"


def test_adding_them_again_adds_nothing_and_more_of_them_adds_the_rest(shop: Shop) -> None:
    shop("add-products --count 30")
    before = rows(EMBEDDED, PRODUCTS)
    result = shop("add-products --count 30")
    assert result.exit_code == 0
    assert result.stdout == "Added 0 products; 30 were there already.\n"
    assert rows(EMBEDDED, PRODUCTS) == before
    result = shop("add-products --count 32")
    assert result.stdout == "Added 2 products; 30 were there already.\n"


def test_another_seed_makes_others(shop: Shop) -> None:
    shop("add-products --count 10 --seed 1")
    assert shop("add-products --count 10 --seed 2").stdout == "Added 10 products.\n"
    assert len(rows(EMBEDDED, PRODUCTS)) == 20


def test_large_counts_are_added_in_steps(shop: Shop) -> None:
    result = shop("add-products --count 2001")
    assert result.exit_code == 0
    assert result.stdout == "Added 2001 products.\n"
    # No bar, since this is no terminal.
    assert result.stderr.splitlines()[-1] == "2001 of 2001 products"
    assert len(rows(EMBEDDED, PRODUCTS)) == 2001


# --- stock ---


def test_sound_stock_is_confirmed(shop: Shop) -> None:
    shop("add-products --count 30")
    result = shop("stock verify")
    assert result.exit_code == 0
    assert "30 products: stock, sum of movements and last balance agree, and so do" in result.stdout


@pytest.mark.parametrize(
    "planted",
    [
        "UPDATE stock SET on_hand = on_hand + 1 WHERE product_id = 3",
        "INSERT INTO stock_movements (product_id, quantity, balance, reason, note, at) "
        "SELECT product_id, 1, on_hand, 'correction', '', '2026-01-01 00:00:00' "
        "FROM stock WHERE product_id = 3",
    ],
)
def test_a_difference_is_shown_in_a_table(shop: Shop, planted: str) -> None:
    shop("add-products --count 30")
    change(EMBEDDED, planted)
    result = shop("stock verify")
    assert "1 differences; --repair writes corrections." in refusal(result)
    [[sku]] = rows(EMBEDDED, "SELECT sku FROM products WHERE id = 3")
    assert str(sku) in result.stdout
    assert "Sum of movements" in result.stdout


# --- orders ---


@pytest.fixture
def order(shop: Shop) -> str:
    """An order of user 1: two of product 1."""
    shop("create-user ann --password-stdin", stdin=PASSWORD)
    shop("add-products --count 1")
    change(
        EMBEDDED,
        f"INSERT INTO orders VALUES ('{ORDER.replace('-', '')}', 'ABCDEFGH1234', 1, 'placed',"  # noqa: S608
        " 'EUR', x'00', 1, '2026-03-01 12:00:00.000000', '2026-03-01 12:00:00.000000', NULL)",
    )
    change(
        EMBEDDED,
        f"INSERT INTO order_lines VALUES ('{ORDER.replace('-', '')}', 0, 1, 'Teapot', 1200, 2, 0)",  # noqa: S608
    )
    return ORDER


@pytest.mark.usefixtures("order")
def test_orders_are_listed(shop: Shop) -> None:
    result = shop("orders list")
    assert result.exit_code == 0
    for shown in (ORDER, "ABCDEFGH1234", "placed", "24.00 EUR", "2026-03-01 12:00:00"):
        assert shown in result.stdout
    assert "1 of 1 orders." in result.stdout
    assert "1 of 1 orders." in shop("orders list --status placed --user 1 --limit 1").stdout
    assert "0 of 0 orders." in shop("orders list --status paid").stdout
    assert "0 of 0 orders." in shop("orders list --user 2").stdout


def test_an_order_is_shown_with_its_lines(shop: Shop, order: str) -> None:
    result = shop(f"orders show {order}")
    assert result.exit_code == 0
    for shown in (order, "ABCDEFGH1234", "user 1", "placed", "Teapot", "12.00", "24.00 EUR"):
        assert shown in result.stdout


def test_an_order_that_is_not_there_is_refused(shop: Shop) -> None:
    assert f"There is no order {ORDER}." in refusal(shop(f"orders show {ORDER}"))


# --- demo ---


def test_demo_makes_what_a_first_session_needs_once(shop: Shop) -> None:
    for _ in range(2):
        result = shop("demo")
        assert result.exit_code == 0
        assert "demo (customer), password demo-password" in result.stdout
        assert "admin (staff), password admin-password" in result.stdout
    assert len(rows(EMBEDDED, "SELECT * FROM users")) == 2
    assert len(rows(EMBEDDED, "SELECT * FROM products")) == 50


def test_production_gets_no_users_with_public_passwords(shop: Shop) -> None:
    production = {"SHOP_ENVIRONMENT": "production", "SHOP_SECRET_KEY": "k" * 32}
    assert "SHOP_ENVIRONMENT is production" in refusal(shop("demo", **production))
    assert rows(EMBEDDED, "SELECT * FROM users") == []


# --- serve ---


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Serving there fails, if nothing else is wrong."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_production_is_not_served_while_a_demo_password_fits(shop: Shop, taken_port: int) -> None:
    production = {"SHOP_ENVIRONMENT": "production", "SHOP_SECRET_KEY": "k" * 32}
    serve = f"serve --port {taken_port}"
    shop("demo")
    assert "Cannot listen" in refusal(shop(serve))
    message = refusal(shop(serve, **production))
    assert "everybody knows the password of demo, admin" in message
    assert "`shop disable-user demo` and `shop disable-user admin`" in message
    shop("disable-user demo", **production)
    message = refusal(shop(serve, **production))
    assert "Run `shop disable-user admin`, or `shop set-password`" in message
    shop("set-password admin --password-stdin", stdin=PASSWORD, **production)
    assert "Cannot listen" in refusal(shop(serve, **production))
    shop("enable-user demo", **production)
    assert "everybody knows the password of demo from" in refusal(shop(serve, **production))


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_the_database_is_its_owners_alone(shop: Shop, umask: int) -> None:
    before = os.umask(umask)
    try:
        shop("demo")
        # Somebody has it open, so that all that SQLite makes is there.
        reader = sqlite3.connect(EMBEDDED)
        reader.execute("SELECT * FROM users").fetchall()
        shop("create-user ann --password-stdin", stdin=PASSWORD)
        made = {path.name: path for path in EMBEDDED.parent.iterdir()}
        assert set(made) == {"shop.sqlite3", "shop.sqlite3-wal", "shop.sqlite3-shm", "secret_key"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in made.values()} == {0o600}
        assert stat.S_IMODE(EMBEDDED.parent.stat().st_mode) == 0o700
        reader.close()
    finally:
        os.umask(before)


def test_a_database_of_an_earlier_version_becomes_its_owners_alone(shop: Shop) -> None:
    shop("migrate")
    EMBEDDED.chmod(0o644)
    shop("list-users")
    assert stat.S_IMODE(EMBEDDED.stat().st_mode) == 0o600


def test_a_folder_that_was_there_keeps_its_permissions(shop: Shop, tmp_path: Path) -> None:
    """It may be for others, too: only the file in it is ours."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o755)
    shop("migrate", SHOP_DATABASE_URL=f"sqlite+aiosqlite:///{folder}/shop.sqlite3")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert stat.S_IMODE((folder / "shop.sqlite3").stat().st_mode) == 0o600


def test_serving_on_a_port_that_is_taken_is_refused(shop: Shop) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = refusal(shop(f"serve --port {port}"))
    assert f"Cannot listen on 127.0.0.1:{port}" in message
    assert "choose another" in message


def test_serving_on_an_address_of_somebody_else_is_refused(shop: Shop) -> None:
    for host in ("192.0.2.1", "no-such-host.invalid"):
        assert f"Cannot listen on {host}:8000" in refusal(shop(f"serve --host {host}"))


def test_the_in_memory_store_is_served_by_one_process_only(shop: Shop) -> None:
    message = refusal(shop("serve --workers 2", SHOP_DATABASE_URL="memory://"))
    assert "memory:// is one process's own" in message

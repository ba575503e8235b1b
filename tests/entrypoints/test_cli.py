"""The `shop` command: every subcommand, its refusals in one sentence, its exit codes."""

import errno
import json
import os
import re
import shlex
import shutil
import socket
import sqlite3
import stat
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from shop.adapters.passwords import Argon2Hasher
from shop.adapters.sql import schema
from shop.domain.orders import moved_order_id
from shop.entrypoints.cli.main import main
from shop.entrypoints.cli.orders import orders
from shop.entrypoints.settings import Settings, variable
from tests.concurrency.servers import shop_command, words_of
from tests.logged import logged

Shop = Callable[..., Result]

COMMANDS = [
    "serve",
    "demo",
    "migrate",
    "doctor",
    "makemigrations",
    "create-user",
    "set-password",
    "set-role",
    "disable-user",
    "enable-user",
    "list-users",
    "purge-sessions",
    "add-products",
    "products",
    "products list",
    "products create",
    "products change",
    "products archive",
    "products import",
    "products export",
    "stock",
    "stock verify",
    "stock history",
    "stock adjust",
    "stock export",
    "orders",
    "orders list",
    "orders show",
    "orders cancel-unpaid",
    "orders history",
    "orders pay",
    "orders ship",
    "orders deliver",
    "orders cancel",
    "orders return",
    "orders export",
    "products restore",
    "import-django",
    "export",
    "import",
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
    "orders cancel-unpaid --older-than 2h",
    "import-django sqlite:////missing/old.sqlite3",
    "export out",
]
PASSWORD = "correct horse"
EMBEDDED = Path("var/shop.sqlite3")
PRODUCTION = {
    "SHOP_ENVIRONMENT": "production",
    "SHOP_SECRET_KEY": "a key for production that is long enough",
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(command: str, *, stdin: str | None = None, **variables: str) -> Result:
    """Run a command line with these variables; without any, over the embedded database."""
    # Nothing is inherited: a variable that is None is not set.
    own: dict[str, str | None] = {variable(name): None for name in Settings.__struct_fields__}
    wide = {"COLUMNS": "200", "TERMINAL_WIDTH": "200"}
    return CliRunner().invoke(main, words_of(command), input=stdin, env=own | wide | variables)


@pytest.fixture
def elsewhere() -> Shop:
    """Runs commands in a folder where no shop is."""
    return run


@pytest.fixture
def shop(migrated_sqlite: Path) -> Shop:
    """Runs commands in the folder of a shop that has nothing in it."""
    EMBEDDED.parent.mkdir()
    shutil.copy(migrated_sqlite, EMBEDDED)
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


def change(database: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(database)
    with connection:
        connection.execute(statement, values)
    connection.close()


def insert(table: str, **values: object) -> None:
    """A row of the embedded database."""
    marks = ", ".join("?" * len(values))
    statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"  # noqa: S608
    change(EMBEDDED, statement, *values.values())


def insert_order(order_id: str, *, code: str) -> None:
    """Placed by user 1: two of product 1."""
    insert(
        "orders",
        id=order_id,
        code=code,
        user_id=1,
        status="placed",
        currency="EUR",
        digest=b"",
        version=1,
        created_at="2026-03-01 12:00:00.000000",
        modified_at="2026-03-01 12:00:00.000000",
    )
    insert(
        "order_lines",
        order_id=order_id,
        position=0,
        product_id=1,
        name="Teapot",
        price=1200,
        quantity=2,
    )


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
    # What an option takes is called by what it is, not by the function that reads it.
    assert re.findall(r"(?<!\S)_[A-Z]\w*", result.stdout) == []


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
        f"orders list --user {2**63}",
        "orders cancel-unpaid",
        *(f"orders cancel-unpaid --older-than {age}" for age in ("2", "0h", "2x", "-2h", "2h3m")),
        "products create A --name A --price 1 --max-per-order 0",
        "products change A",
        "create-user ann --nonsense",
        "import-django",
        "import-django nonsense",
        "import-django memory://",
        "import-django mysql://localhost/shop",
        "import-django sqlite:///old.sqlite3 --status cancelled",
        "import-django sqlite:///old.sqlite3 --time-zone Nowhere",
        "export",
        "import",
        "import one two",
    ],
)
def test_wrong_usage_is_exit_code_2(elsewhere: Shop, command: str) -> None:
    assert "Usage" in refusal(elsewhere(command), exit_code=2)
    assert not list(Path().iterdir())


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
def test_another_database_than_the_embedded_one_is_made_by_migrating_only(
    elsewhere: Shop, command: str
) -> None:
    url, file = "sqlite+aiosqlite:///other.sqlite3", Path("other.sqlite3")
    message = refusal(elsewhere(command, stdin=PASSWORD, SHOP_DATABASE_URL=url))
    assert f"There is no database {file.absolute()}, which SHOP_DATABASE_URL names" in message
    assert "`shop migrate`" in message
    assert not file.exists()
    file.touch()
    message = refusal(elsewhere(command, stdin=PASSWORD, SHOP_DATABASE_URL=url))
    assert f"{file.absolute()} is not migrated to this version; run `shop migrate`." in message
    assert str(file.absolute()) in elsewhere("migrate", SHOP_DATABASE_URL=url).stdout
    if command != "serve":
        again = elsewhere(command, stdin=PASSWORD, SHOP_DATABASE_URL=url)
        assert again.exit_code == 0 or "There is no " in refusal(again)


@pytest.mark.parametrize(
    "command", [*ON_A_STORE, "products list", "list-users", "makemigrations -m x"]
)
def test_a_command_in_another_folder_makes_nothing_there(elsewhere: Shop, command: str) -> None:
    """Else it would find an empty shop, and say that all is well."""
    if command.split()[0] in ("demo", "migrate"):
        assert elsewhere(command).exit_code == 0
        assert EMBEDDED.exists()
    else:
        message = refusal(elsewhere(command, stdin=PASSWORD))
        assert f"There is no database {EMBEDDED.absolute()}." in message
        assert "SHOP_DATABASE_URL" in message
        assert not list(Path().iterdir())


def test_a_command_migrates_no_database(elsewhere: Shop) -> None:
    """Servers of an older version may be at work on it."""
    EMBEDDED.parent.mkdir()
    EMBEDDED.touch()
    assert "run `shop migrate`" in refusal(elsewhere("stock verify"))
    assert rows(EMBEDDED, "SELECT name FROM sqlite_master") == []


@pytest.mark.parametrize("command", [*ON_A_STORE, "serve"])
def test_a_database_that_is_away_is_one_sentence(shop: Shop, command: str) -> None:
    url = "postgresql+asyncpg://shop:hunter2@/shop?host=/nowhere"
    message = refusal(shop(command, stdin=PASSWORD, SHOP_DATABASE_URL=url))
    assert "There is no PostgreSQL at /nowhere:5432" in message
    assert "hunter2" not in message


@pytest.mark.usefixtures("servers")
def test_serving_makes_the_embedded_database(elsewhere: Shop) -> None:
    assert elsewhere("serve").exit_code == 0
    assert elsewhere("stock verify").exit_code == 0


# --- migrations ---


def test_migrating_says_which_schema_it_is_and_may_be_repeated(shop: Shop) -> None:
    for _ in range(2):
        result = shop("migrate")
        assert result.exit_code == 0
        assert result.stdout == f"Schema {schema.head()}: {EMBEDDED.absolute()}\n"


@pytest.fixture
def migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of them of the test's own, which the commands use."""
    copy = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, copy)
    monkeypatch.setattr(schema, "MIGRATIONS", copy)
    return copy


def test_a_drafted_migration_holds_the_difference_and_nothing_else(
    shop: Shop, migrations: Path
) -> None:
    before = drafts(migrations)
    shop("migrate")
    change(EMBEDDED, "DROP INDEX listings_by_price")
    result = shop("makemigrations -m prices")
    assert result.exit_code == 0, result.output
    [new] = [path for path in (migrations / "versions").glob("*.py") if path.name not in before]
    draft = new.read_text()
    assert new.name.startswith(f"{int(schema.head() or 0) + 1:04d}_")
    assert draft.count("op.create_index") == 1
    assert "listings_by_price" in draft


def drafts(migrations: Path) -> set[str]:
    return {path.name for path in (migrations / "versions").glob("*.py")}


def test_nothing_is_drafted_where_nothing_changed(shop: Shop, migrations: Path) -> None:
    """What is drafted is applied by the next `serve`."""
    before = drafts(migrations)
    result = shop("makemigrations -m nothing")
    assert (result.exit_code, result.stdout) == (0, "Nothing to draft: no table has changed.\n")
    assert drafts(migrations) == before


@pytest.mark.parametrize("message", ["", " ", "\n\t"])
def test_a_migration_without_a_message_is_not_drafted(
    shop: Shop, migrations: Path, message: str
) -> None:
    before = drafts(migrations)
    change(EMBEDDED, "DROP INDEX listings_by_price")
    assert "say what changes" in refusal(shop(f"makemigrations -m '{message}'"), exit_code=2)
    assert drafts(migrations) == before


def test_a_draft_that_cannot_be_written_is_one_sentence(shop: Shop, migrations: Path) -> None:
    (migrations / "script.py.mako").unlink()
    change(EMBEDDED, "DROP INDEX listings_by_price")
    message = refusal(shop("makemigrations -m x"))
    assert f"The draft cannot be written to {migrations} (No such file" in message


def test_a_reader_that_hangs_up_is_no_failure_of_the_database(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang_up(*_: object, **__: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("shop.entrypoints.cli.running.require_schema", hang_up)
    result = shop("stock verify")
    # As of who dies of SIGPIPE.
    assert result.exit_code == 141
    assert result.output == ""


OUTPUT_COMMANDS = ["--help", "orders --help", "list-users", "list-users --json", "stock verify"]


def run_to(stdout: int, command: str) -> subprocess.CompletedProcess[str]:
    """Run the real command, whose output goes there."""
    return subprocess.run(
        shop_command(*shlex.split(command)),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"]},
        check=False,
    )


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("command", OUTPUT_COMMANDS)
def test_a_reader_that_hangs_up_ends_a_command_quietly(command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = run_to(writing, command)
    os.close(writing)
    assert (result.returncode, result.stderr) == (141, "")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("command", OUTPUT_COMMANDS)
def test_output_for_which_there_is_no_room_is_one_sentence(command: str) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    result = run_to(full, command)
    os.close(full)
    assert result.returncode == 1
    assert "could not be written (No space left on device)." in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr


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


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("command", ["create-user ann", "set-password ann"])
def test_without_a_terminal_no_password_is_asked_for(command: str) -> None:
    # In a session of its own it has no terminal either where the tests have one.
    result = subprocess.run(
        shop_command(*shlex.split(command)),
        input=f"{PASSWORD}\n{PASSWORD}\n",
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "COLUMNS": "200"},
        start_new_session=True,
        check=False,
    )
    assert result.returncode == 2
    assert "with --password-stdin." in " ".join(result.stderr.split())
    assert "Warning" not in result.stderr
    assert rows(EMBEDDED, "SELECT username FROM users") == []


def test_disabling_says_what_tokens_are_good_for(shop: Shop) -> None:
    shop("create-user ann --password-stdin", stdin=PASSWORD)
    said = shop("disable-user ann").stdout
    assert said == (
        "Disabled ann, and signed them out. An access token that they have changes nothing any "
        "more, but reads until it expires (SHOP_ACCESS_TOKEN_LIFETIME).\n"
    )


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
    assert result.stdout == "Added 2,001 products.\n"
    # No bar, since this is no terminal.
    assert result.stderr.splitlines()[-1] == "2001 of 2001 products"
    assert len(rows(EMBEDDED, PRODUCTS)) == 2001


def test_a_sku_is_as_people_have_it_and_found_however_it_is_typed(shop: Shop) -> None:
    for sku in ("A/B 7+#&(x).1_2", "Größe 42", "茶壺"):
        created = shop(f"products create '{sku}' --name Tea --price 1.00 --stock 3")
        assert created.exit_code == 0, created.output
        assert f". {sku}: " in created.stdout
        assert sku in shop("products list").stdout
        for price, typed in enumerate((sku, f"  {sku.upper()} ", sku.lower()), start=2):
            changed = shop(f"products change '{typed}' --price {price}").stdout
            assert changed.startswith(f"Changed. {sku}: ")
            again = shop(f"products change '{typed}' --price {price}").stdout
            assert again.startswith(f"There was nothing to change. {sku}: ")
            adjusted = shop(f"stock adjust '{typed}' --delta 1 --reason restock")
            assert f"{sku}: " in adjusted.stdout
            assert shop(f"stock history '{typed}'").exit_code == 0
    assert shop("products create --name Tea --price 1.00 -- -5").exit_code == 0
    assert shop("products archive -- -5").stdout == "Archived -5, 0 on the shelf\n"


def test_what_is_archived_is_listed_and_brought_back(shop: Shop) -> None:
    shop("products create TEA --name Tea --price 1.00")
    assert shop("products archive tea").stdout == "Archived TEA, 0 on the shelf\n"
    assert "TEA" not in shop("products list").stdout
    assert "TEA" in shop("products list --archived").stdout
    refused = refusal(shop("products create tea --name Tea --price 1.00"))
    assert "The archived product 1 has the SKU 'TEA'; restore it" in refused
    for _ in range(2):
        assert shop("products restore tea").stdout == "Restored TEA, 0 on the shelf\n"
    assert "TEA" in shop("products list").stdout
    assert "There is no product COFFEE." in refusal(shop("products restore COFFEE"))


def test_how_many_an_order_may_have_is_set_and_taken_away(shop: Shop) -> None:
    shop("products create TEA --name Tea --price 1.00 --max-per-order 5")
    assert rows(EMBEDDED, "SELECT max_per_order FROM products") == [(5,)]
    for said, stored in (("--max-per-order 7", 7), ("--name Mug", 7), ("--max-per-order 0", None)):
        assert shop(f"products change TEA {said}").exit_code == 0
        assert rows(EMBEDDED, "SELECT max_per_order FROM products") == [(stored,)]


# --- currency ---


@pytest.mark.parametrize("command", ["serve", "migrate", "add-products", "products list"])
def test_a_shop_keeps_the_currency_that_it_was_first_started_with(shop: Shop, command: str) -> None:
    assert shop("migrate", SHOP_CURRENCY="JPY").exit_code == 0
    message = refusal(shop(command, stdin=PASSWORD))
    assert "in JPY, and SHOP_CURRENCY says EUR: set it to JPY, or" in message
    assert rows(EMBEDDED, "SELECT currency FROM shop") == [("JPY",)]
    assert rows(EMBEDDED, "SELECT * FROM products") == []
    assert shop("products list", SHOP_CURRENCY="JPY").exit_code == 0


# --- stock ---


@pytest.mark.parametrize(
    ("currency", "highest", "above"),
    [("EUR", "10000000000", "10000000000.01"), ("VND", "1000000000000", "1000000000001")],
)
def test_the_highest_price_is_that_of_the_api(
    shop: Shop, currency: str, highest: str, above: str
) -> None:
    created = shop(f"products create TEA --name Tea --price {highest}", SHOP_CURRENCY=currency)
    assert created.exit_code == 0, created.output
    refused = shop(f"products create CUP --name Cup --price {above}", SHOP_CURRENCY=currency)
    assert f"must be at most {highest}" in refusal(refused)


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
    assert "1 difference; --repair writes corrections." in refusal(result)
    [[sku]] = rows(EMBEDDED, "SELECT sku FROM products WHERE id = 3")
    assert str(sku) in result.stdout
    assert "\tsum_of_movements\t" in result.stdout


def test_a_difference_is_repaired_once_somebody_says_yes(shop: Shop) -> None:
    shop("add-products --count 30")
    change(EMBEDDED, "UPDATE stock SET on_hand = on_hand + 1 WHERE product_id = 3")
    before = rows(EMBEDDED, "SELECT count(*) FROM stock_movements")
    assert shop("stock verify --repair", stdin="n\n").exit_code == 1
    assert rows(EMBEDDED, "SELECT count(*) FROM stock_movements") == before
    repaired = shop("stock verify --repair", stdin="y\n")
    assert "Wrote corrections for 1 difference; the ledger agrees now." in repaired.stdout
    assert shop("stock verify").exit_code == 0
    change(EMBEDDED, "UPDATE stock SET on_hand = on_hand + 1 WHERE product_id = 4")
    assert shop("stock verify --repair --yes").exit_code == 0
    corrections = "SELECT product_id, quantity FROM stock_movements WHERE reason = 'correction'"
    assert rows(EMBEDDED, corrections) == [(3, 1), (4, 1)]


# --- orders ---


@pytest.fixture
def order(shop: Shop) -> str:
    """An order of user 1: two of product 1."""
    shop("create-user ann --password-stdin", stdin=PASSWORD)
    shop("add-products --count 1")
    insert_order(ORDER.replace("-", ""), code="ABCDEFGH1234")
    return ORDER


@pytest.mark.usefixtures("order")
def test_orders_are_listed(shop: Shop) -> None:
    result = shop("orders list")
    assert result.exit_code == 0
    assert [line.split("\t") for line in result.stdout.splitlines()] == [
        ["id", "code", "user", "status", "lines", "total", "currency", "created"],
        [ORDER, "ABCDEFGH1234", "1", "placed", "1", "24.00", "EUR", "2026-03-01 12:00:00"],
    ]
    assert result.stderr == "1 of 1 order.\n"
    assert "1 of 1 order." in shop("orders list --status placed --user 1 --limit 1").stderr
    assert "0 of 0 orders." in shop("orders list --status paid").stderr
    assert "0 of 0 orders." in shop("orders list --user 2").stderr


@pytest.mark.usefixtures("order")
def test_an_order_that_was_moved_in_is_known_by_its_old_number(shop: Shop) -> None:
    """By all commands that take an order."""
    moved = moved_order_id(42)
    # Without foreign keys, which are for each connection to ask for.
    for statement in ("UPDATE orders SET id = ?", "UPDATE order_lines SET order_id = ?"):
        change(EMBEDDED, statement, moved.hex)
    assert f"Order {moved}, code ABCDEFGH1234" in shop("orders show 42").stdout
    for command in ("pay 42", "ship 42", "deliver 42", "return 42 --no-restock"):
        done = shop(f"orders {command}")
        assert done.exit_code == 0, done.output
        assert "Order ABCDEFGH1234" in done.stdout
    assert len(shop("orders history 42").stdout.splitlines()) == 5
    assert "is returned" in refusal(shop("orders cancel 42"))
    assert "There is no order" in refusal(shop("orders show 43"))
    # Twelve digits are a code.
    assert "123456789012" in refusal(shop("orders show 123456789012"))
    for wrong in ("0", "042", "-1", str(2**62), "\u0661"):
        assert shop(f"orders show -- {wrong}").exit_code == 2


def test_an_order_is_shown_with_its_lines(shop: Shop, order: str) -> None:
    result = shop(f"orders show {order}")
    assert result.exit_code == 0
    for shown in (order, "ABCDEFGH1234", "user 1", "placed", "Teapot", "12.00", "24.00 EUR"):
        assert shown in result.stdout


@pytest.mark.usefixtures("order")
def test_orders_that_nobody_pays_are_cancelled(shop: Shop) -> None:
    change(
        EMBEDDED,
        "INSERT INTO stock_movements (product_id, quantity, balance, reason, order_id, note, at)"
        " SELECT 1, -2, on_hand - 2, 'order', orders.id, '', orders.created_at FROM stock, orders",
    )
    change(EMBEDDED, "UPDATE stock SET on_hand = on_hand - 2")
    dry = shop("orders cancel-unpaid --older-than 7d --dry-run")
    assert dry.exit_code == 0, dry.output
    assert "ABCDEFGH1234" in dry.stdout
    assert "Would cancel 1 unpaid order." in dry.stderr
    assert rows(EMBEDDED, "SELECT status FROM orders") == [("placed",)]
    none = shop("orders cancel-unpaid --older-than 99999d")
    assert ("ABCDEFGH1234" in none.stdout, none.stderr) == (False, "Cancelled 0 unpaid orders.\n")
    done = shop("orders cancel-unpaid --older-than 2h")
    assert ("ABCDEFGH1234" in done.stdout, done.stderr) == (True, "Cancelled 1 unpaid order.\n")
    assert rows(EMBEDDED, "SELECT status FROM orders") == [("cancelled",)]
    assert rows(EMBEDDED, "SELECT note FROM order_events") == [("not paid in time",)]
    assert shop("stock verify").exit_code == 0


@pytest.mark.usefixtures("order")
def test_programs_are_told_which_orders_are_cancelled(shop: Shop) -> None:
    change(EMBEDDED, "UPDATE stock SET on_hand = 10 WHERE product_id = 1")
    command = "orders cancel-unpaid --json --older-than"
    assert json.loads(shop(f"{command} 99999d").stdout) == []
    [would] = json.loads(shop(f"{command} 2h --dry-run").stdout)
    assert (would["code"], would["status"]) == ("ABCDEFGH1234", "placed")
    result = shop(f"{command} 2h")
    assert json.loads(result.stdout) == [would | {"status": "cancelled"}]
    assert result.stderr == "Cancelled 1 unpaid order.\n"


def _orders_like_the_first(number: int) -> None:
    """More orders of its user, placed at the same moment."""
    change(
        EMBEDDED,
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)"
        " INSERT INTO orders (id, code, user_id, status, currency, digest, version, created_at,"
        " modified_at) SELECT printf('%032x', n), printf('CODE%08d', n), user_id, status, currency,"
        " digest, version, created_at, modified_at FROM numbers, orders",
        number,
    )
    change(
        EMBEDDED,
        "INSERT INTO order_lines (order_id, position, product_id, name, price, quantity)"
        " SELECT orders.id, position, product_id, name, price, quantity FROM orders, order_lines"
        " WHERE code LIKE 'CODE%'",
    )


@pytest.mark.usefixtures("order")
def test_however_many_are_cancelled_all_are_listed(shop: Shop) -> None:
    _orders_like_the_first(150)
    command = "orders cancel-unpaid --older-than 2h --dry-run"
    assert len(json.loads(shop(f"{command} --json").stdout)) == 151
    assert len(shop(command).stdout.splitlines()) == 1 + 151


@pytest.mark.usefixtures("order")
def test_what_was_cancelled_before_something_failed_is_listed(shop: Shop) -> None:
    change(EMBEDDED, "UPDATE stock SET on_hand = 10 WHERE product_id = 1")
    _orders_like_the_first(2)
    # The oldest is the last.
    change(
        EMBEDDED,
        "CREATE TRIGGER broken BEFORE UPDATE ON orders WHEN OLD.code = 'CODE00000001'"
        " BEGIN SELECT RAISE(ABORT, 'no more'); END",
    )
    result = shop("orders cancel-unpaid --older-than 2h --json")
    assert result.exit_code != 0
    listed = {order["code"] for order in json.loads(result.stdout)}
    assert listed == {
        code for (code,) in rows(EMBEDDED, "SELECT code FROM orders WHERE status = 'cancelled'")
    }
    assert listed


@pytest.mark.usefixtures("order")
@pytest.mark.parametrize(
    "read_out", ["ABCDEFGH1234", "abcdefgh1234", "abcd-efgh-1234", "ABCDEFGHI234", ORDER.upper()]
)
def test_an_order_is_found_by_what_people_read_out(shop: Shop, read_out: str) -> None:
    result = shop(f"orders show {read_out}")
    assert result.exit_code == 0, result.output
    assert f"Order {ORDER}, code ABCDEFGH1234, of user 1: placed" in result.stdout


@pytest.mark.usefixtures("order")
def test_blanks_in_a_code_are_forgiven(shop: Shop) -> None:
    read_out = CliRunner().invoke(main, ["orders", "show", " ABCD EFGH 1234 "])
    assert ORDER in read_out.stdout


ORDER_COMMANDS = ["show", "history", "cancel", "pay", "ship", "deliver", "return"]


@pytest.mark.parametrize("command", ORDER_COMMANDS)
def test_an_order_that_is_not_there_is_refused(shop: Shop, command: str) -> None:
    assert f"There is no order {ORDER}." in refusal(shop(f"orders {command} {ORDER}"))
    assert "There is no order ABCDEFGH1234." in refusal(shop(f"orders {command} abcdefgh1234"))
    assert "neither an order's id nor its code" in refusal(shop(f"orders {command} abc"), 2)


def test_every_command_about_an_order_is_in_the_list() -> None:
    assert {*ORDER_COMMANDS, "list", "cancel-unpaid", "export"} == set(orders.commands)


@pytest.mark.usefixtures("order")
def test_an_order_is_brought_along_by_its_code(shop: Shop) -> None:
    change(EMBEDDED, "UPDATE stock SET on_hand = 10 WHERE product_id = 1")
    [[sku]] = rows(EMBEDDED, "SELECT sku FROM products")
    for command, said in {
        "pay abcd-efgh-1234 --reference p1 --note called": "is paid",
        "ship ABCDEFGH1234": "is shipped",
        "deliver ABCDEFGH1234": "is delivered",
        "return ABCDEFGH1234 --item 1 1": "is delivered",
        "return ABCDEFGH1234 --no-restock": "is returned",
    }.items():
        result = shop(f"orders {command}")
        assert result.stdout.startswith(f"Order ABCDEFGH1234 (24.00 EUR) {said}."), result.output
        if command.startswith("return"):
            what = "written off" if "no-restock" in command else "back"
            assert f"\n{sku}: 1 {what}, 11 on the shelf\n" in result.stdout
    shown = json.loads(shop("orders show ABCDEFGH1234 --json").stdout)
    assert (shown["id"], shown["total"], shown["payment_reference"]) == (ORDER, "24.00", "p1")
    assert [(line["product"], line["quantity"]) for line in shown["lines"]] == [(1, 2)]
    lines = shop("orders history ABCDEFGH1234").stdout.splitlines()
    assert lines[0] == "at\tfrom\tto\tuser\treturned\tnote"
    assert lines[1].endswith("\tplaced\tpaid\t\t\tcalled")
    history = json.loads(shop("orders history ABCDEFGH1234 --json").stdout)
    assert [entry["to"] for entry in history] == [
        *("paid", "shipped", "delivered", "delivered", "returned")
    ]


@pytest.mark.usefixtures("order")
def test_cancelling_says_what_came_back_and_once(shop: Shop) -> None:
    change(EMBEDDED, "UPDATE stock SET on_hand = 10 WHERE product_id = 1")
    [[sku]] = rows(EMBEDDED, "SELECT sku FROM products")
    assert f"{sku}: 2 back, 12 on the shelf\n" in shop("orders cancel ABCDEFGH1234").stdout
    again = shop("orders cancel ABCDEFGH1234").stdout
    assert again == "Order ABCDEFGH1234 (24.00 EUR) is cancelled.\n"


# --- lists ---

LISTS = ["products list", "orders list", "list-users", "stock history TEA-1", "orders history {}"]


@pytest.mark.usefixtures("order")
@pytest.mark.parametrize("command", LISTS)
def test_every_list_is_lines_of_tabs_or_json_with_the_same_names(shop: Shop, command: str) -> None:
    shop("products create TEA-1 --name Tea --price 3.50 --stock 10")
    shop(f"orders pay {ORDER}")
    command = command.format(ORDER)
    plain = shop(command)
    header, *lines = [line.split("\t") for line in plain.stdout.splitlines()]
    objects = json.loads(shop(f"{command} --json").stdout)
    assert lines
    assert len(objects) == len(lines)
    for one, line in zip(objects, lines, strict=True):
        assert list(one) == header
        assert len(line) == len(header)
        for name, cell in zip(header, line, strict=True):
            if name not in ("at", "created"):
                assert cell == ("" if one[name] is None else str(one[name]))
    assert shop(f"{command} --json").stderr == plain.stderr


def test_an_empty_list_is_its_header_and_no_object(shop: Shop) -> None:
    assert shop("list-users").stdout == "id\tname\trole\tstate\tcreated\n"
    assert json.loads(shop("list-users --json").stdout) == []


# --- messages ---


def test_messages_name_the_product_and_how_many(shop: Shop) -> None:
    created = shop("products create TEA-1 --name Tea --price 3.50 --stock 10").stdout
    assert created == "Created product 1. TEA-1: 'Tea' for 3.50 EUR, 10 on the shelf\n"
    for command, said in {
        "stock adjust TEA-1 --delta 5 --reason restock": "TEA-1: 5 added, 15 on the shelf",
        "stock adjust TEA-1 --delta -3 --reason broken": "TEA-1: 3 taken, 12 on the shelf",
        "stock adjust TEA-1 --set 20 --expected 12 --reason count": (
            "TEA-1: 8 added, 20 on the shelf"
        ),
        "stock adjust TEA-1 --set 20 --expected 20 --reason count": (
            "TEA-1: nothing changed, 20 on the shelf"
        ),
        "products change TEA-1 --price 4": "Changed. TEA-1: 'Tea' for 4.00 EUR, 20 on the shelf",
        "products archive TEA-1": "Archived TEA-1, 20 on the shelf",
    }.items():
        assert shop(command).stdout == f"{said}\n"


def test_what_the_terminal_cannot_show_is_escaped(shop: Shop) -> None:
    shop("products create TEA-1 --name Żółty --price 3.50")
    runner = CliRunner(charset="latin-1")
    result = runner.invoke(main, ["products", "list"])
    assert result.exit_code == 0, result.output
    assert "\\u017bó\\u0142ty" in result.stdout


# --- roles ---


def test_a_role_is_changed(shop: Shop) -> None:
    shop("create-user ann --password-stdin", stdin=PASSWORD)
    for role in ("staff", "staff", "customer"):
        result = shop(f"set-role ann {role}")
        assert result.stdout == f"ann is {role} now; new access tokens say so.\n"
        assert rows(EMBEDDED, "SELECT role FROM users") == [(role,)]
    assert "There is no user bob." in refusal(shop("set-role bob staff"))
    assert "Usage" in refusal(shop("set-role ann admin"), 2)


@pytest.mark.usefixtures("order")
def test_what_came_back_is_said_and_shown(shop: Shop, order: str) -> None:
    change(EMBEDDED, "UPDATE orders SET status = 'shipped'")
    result = shop(f"orders return {order} --item 1 1 --note broken")
    assert result.exit_code == 0, result.output
    assert "is shipped" in result.stdout
    assert ": 1 back, " in result.stdout
    shown = shop(f"orders show {order}").stdout
    assert "\treturned\t" in shown
    assert "Without what came back 12.00 EUR" in shown
    assert "Total 24.00 EUR" in shown


# --- demo ---


def test_demo_makes_what_a_first_session_needs_once(elsewhere: Shop) -> None:
    for said in ("Added 50 demo products.\n", "Added 0 demo products; all 50 are there.\n"):
        result = elsewhere("demo")
        assert result.exit_code == 0
        assert result.stdout.startswith(said)
        assert "demo (customer), password demo-password" in result.stdout
        assert "admin (staff), password admin-password" in result.stdout
    assert len(rows(EMBEDDED, "SELECT * FROM users")) == 2
    assert len(rows(EMBEDDED, "SELECT * FROM products")) == 50


def test_production_gets_no_users_with_public_passwords(shop: Shop) -> None:
    assert "SHOP_ENVIRONMENT is production" in refusal(shop("demo", **PRODUCTION))
    assert rows(EMBEDDED, "SELECT * FROM users") == []


def test_demo_says_what_is_true(shop: Shop) -> None:
    assert "`shop serve` answers on http://127.0.0.1:8000," in shop("demo").stdout
    shop("disable-user demo")
    shop("set-role admin customer")
    said = shop("demo --port 8001").stdout
    assert "demo is disabled or has another password, and stays so.\n" in said
    assert "password demo-password" not in said
    assert "Sign in as admin (customer), password admin-password\n" in said
    assert "`shop serve --port 8001` answers on http://127.0.0.1:8001," in said
    assert "at http://127.0.0.1:8001/docs/" in said
    shop("set-password admin --password-stdin", stdin=PASSWORD)
    assert "admin-password" not in shop("demo").stdout


# --- serve ---


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What servers are told that come so far that they would serve."""
    told: list[dict[str, Any]] = []

    class Server:
        def __init__(self, _name: str, **options: Any) -> None:
            told.append(options)

        def run(self, _load: object, *, drain_seconds: float) -> None:
            """Serves nobody."""

    monkeypatch.setattr("shop.entrypoints.cli.serve.Server", Server)
    return told


def test_production_is_not_served_while_a_demo_password_fits(
    shop: Shop, servers: list[dict[str, Any]]
) -> None:
    shop("demo")
    assert shop("serve").exit_code == 0
    served = len(servers)
    message = refusal(shop("serve", **PRODUCTION))
    assert "everybody knows the password of demo, admin" in message
    assert "`shop disable-user demo` and `shop disable-user admin`" in message
    shop("disable-user demo", **PRODUCTION)
    message = refusal(shop("serve", **PRODUCTION))
    assert "Run `shop disable-user admin`, or `shop set-password`" in message
    assert len(servers) == served
    shop("set-password admin --password-stdin", stdin=PASSWORD, **PRODUCTION)
    assert shop("serve", **PRODUCTION).exit_code == 0
    shop("enable-user demo", **PRODUCTION)
    assert "everybody knows the password of demo from" in refusal(shop("serve", **PRODUCTION))


@pytest.mark.parametrize("umask", [0o022, 0o000])
@pytest.mark.usefixtures("servers")
def test_the_database_is_its_owners_alone(elsewhere: Shop, umask: int) -> None:
    shop = elsewhere
    before = os.umask(umask)
    try:
        assert shop("serve").exit_code == 0
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


def test_serving_on_a_port_that_is_taken_is_refused_and_leaves_nothing(elsewhere: Shop) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = refusal(elsewhere(f"serve --port {port}"))
    assert f"Cannot listen on 127.0.0.1:{port}" in message
    assert "choose another" in message
    assert not list(Path().iterdir())


def test_serving_on_an_address_of_somebody_else_is_refused(shop: Shop) -> None:
    for host in ("192.0.2.1", "no-such-host.invalid"):
        assert f"Cannot listen on {host}:8000" in refusal(shop(f"serve --host {host}"))


def test_the_in_memory_store_is_served_by_one_process_only(shop: Shop) -> None:
    message = refusal(shop("serve --workers 2", SHOP_DATABASE_URL="memory://"))
    assert "memory:// is one process's own" in message


def test_the_server_is_told_how_connections_are_kept(
    shop: Shop, servers: list[dict[str, Any]]
) -> None:
    for kept, seconds in (("no", "2.5"), ("yes", "60")):
        with logged():
            result = shop("serve", SHOP_KEEP_ALIVE=kept, SHOP_KEEP_ALIVE_TIMEOUT=seconds)
        assert result.exit_code == 0, result.output
        http1 = servers[-1]["http1_settings"]
        assert http1.keep_alive is (kept == "yes")
        assert http1.header_read_timeout == float(seconds) * 1_000

"""A database that a newer program has migrated: served if its migrations say so, else refused."""

import re
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from anyio import to_thread
from click.testing import CliRunner, Result
from sqlalchemy import Connection

from shop.adapters.sql.engine import create_engines
from shop.adapters.sql.schema import (
    MIGRATIONS,
    SqlSchema,
    config,
    head,
    migrating,
    oldest_program,
)
from shop.domain.errors import StoreTooNew
from shop.domain.ports import SchemaState
from shop.entrypoints.cli.main import main
from tests.concurrency.servers import FAILURES, SECRET_KEY, ShopServer, words_of
from tests.concurrency.wire import Client
from tests.entrypoints.test_cli import ON_A_STORE
from tests.stores import Store

HEAD = str(head())

Newer = Callable[..., ScriptDirectory]

_MIGRATION = """
import sqlalchemy as sa
from alembic import op
revision = {revision!r}
down_revision = {down_revision!r}
branch_labels = depends_on = None
{declared}
def upgrade() -> None:
    op.create_table("new_in_{revision}", sa.Column("id", sa.Integer, primary_key=True))
def downgrade() -> None:
    op.drop_table("new_in_{revision}")
"""


@pytest.fixture
def newer(tmp_path: Path) -> Newer:
    """The migrations of a program with more of them, each compatible with what is given for it."""

    def newer(*compatible_with: str | None) -> ScriptDirectory:
        folder = tmp_path / "newer"
        shutil.copytree(MIGRATIONS, folder)
        return with_more(folder, *compatible_with)

    return newer


def with_more(folder: Path, *compatible_with: str | None) -> ScriptDirectory:
    """The migrations of the folder, and more of them, written there."""
    before = HEAD
    for number, oldest in enumerate(compatible_with, start=9001):
        declared = f"compatible_with = {oldest!r}" if oldest else ""
        (folder / "versions" / f"{number}.py").write_text(
            _MIGRATION.format(revision=str(number), down_revision=before, declared=declared)
        )
        before = str(number)
    return ScriptDirectory(str(folder))


async def migrate(
    url: str, scripts: ScriptDirectory, to: str = "head", *, back: bool = False
) -> None:
    """As the newer program does it."""
    engines = create_engines(url)

    def migrate(connection: Connection) -> None:
        settings = config(connection)
        settings.set_main_option("script_location", scripts.dir)
        (command.downgrade if back else command.upgrade)(settings, to)

    async with migrating(engines) as connection:
        await connection.run_sync(migrate)
    await engines.dispose()


@pytest.mark.parametrize(
    ("compatible_with", "oldest"),
    [
        ([None], "9001"),
        ([HEAD], HEAD),
        ([HEAD, HEAD], HEAD),
        ([HEAD, "9001"], "9001"),
        ([None, HEAD], "9001"),
        (["9001", "9001", HEAD], "9001"),
        ([HEAD, None, "9002", "9001"], "9002"),
    ],
)
def test_the_oldest_program_is_one_that_every_migration_it_lacks_is_compatible_with(
    newer: Newer, compatible_with: list[str | None], oldest: str
) -> None:
    scripts = newer(*compatible_with)
    assert oldest_program(scripts, str(9000 + len(compatible_with))) == oldest


def test_what_migrations_declare_is_a_revision_that_is_no_newer_than_theirs() -> None:
    scripts = ScriptDirectory.from_config(config())
    for script in scripts.walk_revisions():
        allowed = getattr(script.module, "compatible_with", script.revision)
        assert allowed in [s.revision for s in scripts.iterate_revisions(script.revision, "base")]


async def test_a_newer_schema_is_fit_if_its_migrations_say_so(
    sql: Store, sql_url: str, newer: Newer
) -> None:
    own = SqlSchema(engines=sql.sql)
    scripts = newer(HEAD, "9001")
    states = {
        HEAD: SchemaState.CURRENT,
        "9001": SchemaState.COMPATIBLE,
        "9002": SchemaState.TOO_NEW,
    }
    for to, state in states.items():
        await migrate(sql_url, scripts, to)
        assert await own.state() is state
    for to, state in reversed(states.items()):
        await migrate(sql_url, scripts, to, back=True)
        assert await own.state() is state


async def test_upgrading_leaves_a_compatible_schema_alone_and_refuses_one_that_is_too_new(
    sql: Store, sql_url: str, newer: Newer
) -> None:
    own = SqlSchema(engines=sql.sql)
    await migrate(sql_url, scripts := newer(HEAD, None))
    with pytest.raises(StoreTooNew):
        await own.upgrade()
    await migrate(sql_url, scripts, "9001", back=True)
    await own.upgrade()
    assert await own.state() is SchemaState.COMPATIBLE


COMMANDS = ["serve", "migrate", "makemigrations -m more", *ON_A_STORE[2:]]


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_refuses_a_database_that_is_too_new_in_one_sentence(
    sqlite_url: str, newer: Newer, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_DATABASE_URL", sqlite_url)
    await migrate(sqlite_url, newer(None))
    result = await to_thread.run_sync(run_command, command)
    assert result.exit_code == 1
    assert "The database is newer than this program" in words(result.stderr)
    assert "Traceback" not in result.output
    assert len(words(result.stderr)) < 200


async def test_commands_work_on_a_newer_compatible_database(
    sqlite_url: str, newer: Newer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_DATABASE_URL", sqlite_url)
    await migrate(sqlite_url, newer(HEAD))
    for line, said in {
        "migrate": "The database is newer than this program, which can work on it as it is: /",
        "add-products --count 1": "1",
        "stock verify": "1 product",
    }.items():
        result = await to_thread.run_sync(run_command, line)
        assert result.exit_code == 0, result.output
        assert said in words(result.stdout)
    result = await to_thread.run_sync(run_command, "makemigrations -m more")
    assert result.exit_code == 1
    assert "Traceback" not in result.output


async def test_a_running_server_stays_ready_when_a_compatible_migration_is_applied_under_it(
    sql_url: str, newer: Newer, tmp_path: Path
) -> None:
    scripts = newer(HEAD, None)
    server = ShopServer(tmp_path / "shop", sql_url)
    await to_thread.run_sync(server.start)
    try:
        with closing(Client(port=server.port)) as client:
            assert (await client.get("/health/ready")).status == 200
            await migrate(sql_url, scripts, "9001")
            assert (await client.get("/health/ready")).status == 200
            await migrate(sql_url, scripts, "9002")
            answer = await client.get("/health/ready")
            assert (answer.status, answer.code) == (503, "database_unavailable")
            assert "newer than this program" in answer.body["detail"]
            await migrate(sql_url, scripts, "9001", back=True)
            assert (await client.get("/health/ready")).status == 200
        # And one that starts now serves, too.
        assert await to_thread.run_sync(server.stop) == 0
        await to_thread.run_sync(server.start)
        with closing(Client(port=server.port)) as client:
            assert (await client.get("/health/ready")).status == 200
    finally:
        server.close()
    assert not [failure for failure in FAILURES if failure in server.log]


@pytest.mark.parametrize("asked_before", [True, False])
async def test_a_running_server_whose_own_folder_is_upgraded_says_that_the_database_is_newer(
    sqlite_url: str, tmp_path: Path, asked_before: bool
) -> None:
    """It knows the migrations that it was started with, whatever is in their place now."""
    program = tmp_path / "program"
    shutil.copytree(MIGRATIONS.parents[2], program / "shop")
    server = ShopServer(tmp_path / "shop", sqlite_url, settings={"PYTHONPATH": str(program)})
    await to_thread.run_sync(server.start)
    try:
        with closing(Client(port=server.port)) as client:
            if asked_before:
                assert (await client.get("/health/ready")).status == 200
            folder = program / "shop" / MIGRATIONS.relative_to(MIGRATIONS.parents[2])
            await migrate(sqlite_url, with_more(folder, None))
            answer = await client.get("/health/ready")
            assert (answer.status, answer.code) == (503, "database_unavailable")
            assert "newer than this program" in answer.body["detail"]
    finally:
        server.close()


def run_command(command: str) -> Result:
    wide = {"COLUMNS": "200", "TERMINAL_WIDTH": "200", "SHOP_SECRET_KEY": SECRET_KEY}
    return CliRunner().invoke(main, words_of(command), input="a password of its own", env=wide)


def words(output: str) -> str:
    """Without the frame around it."""
    return " ".join(re.sub(r"[─│╭╮╰╯]", " ", output).split())

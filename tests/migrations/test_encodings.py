"""A database that cannot hold every text is refused before anything is in it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shop.entrypoints.cli.main import main
from tests.concurrency.servers import SECRET_KEY, words_of
from tests.postgresql import PostgresServer


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def postgresql_in(request: pytest.FixtureRequest, postgresql: PostgresServer) -> Iterator[str]:
    """An empty database with this encoding."""
    postgresql.execute(
        f"CREATE DATABASE odd TEMPLATE template0 ENCODING '{request.param}' "
        "LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    yield postgresql.url("odd")
    postgresql.drop_database("odd")


@pytest.mark.parametrize("command", ["migrate", "serve"])
def test_a_postgresql_database_that_is_not_in_utf_8_is_refused(
    postgresql_in: str, command: str, request: pytest.FixtureRequest
) -> None:
    result = run(command, postgresql_in)
    assert_refused(result, "SQL_ASCII" if "SQL_ASCII" in request.node.name else "LATIN1")


@pytest.mark.parametrize("command", ["migrate", "serve"])
def test_a_sqlite_database_that_is_not_in_utf_8_is_refused(tmp_path: Path, command: str) -> None:
    connection = sqlite3.connect(tmp_path / "odd.sqlite3")
    connection.execute("PRAGMA encoding = 'UTF-16le'")
    connection.execute("CREATE TABLE notes (note TEXT)")
    connection.close()
    assert_refused(run(command, f"sqlite+aiosqlite:///{tmp_path}/odd.sqlite3"), "UTF-16le")


def run(command: str, url: str) -> Result:
    variables = {"COLUMNS": "200", "SHOP_SECRET_KEY": SECRET_KEY, "SHOP_DATABASE_URL": url}
    return CliRunner().invoke(main, words_of(command), env=variables)


def assert_refused(result: Result, encoding: str) -> None:
    assert result.exit_code == 1
    assert f"stores text as {encoding}, which cannot hold" in result.stderr
    assert "Traceback" not in result.output

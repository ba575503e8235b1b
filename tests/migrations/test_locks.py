"""No migration stops a shop that serves: what it sends to PostgreSQL takes no lock for long.

squawk knows which statements do. It is shown what a real upgrade sends, since much of that depends
on what is there already. The database is empty, so what is done to each row is not seen: a
migration that changes many rows does it in steps, see `0010`.

Nor does one make a function another while it is called.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event

from shop.adapters.sql.engine import Engines, create_engines
from shop.adapters.sql.schema import config, migrating
from tests.postgresql import PostgresServer, unused_name

# Rules of squawk's that are not about locks.
NOT_OF_LOCKS = {
    "prefer-text-field": "a length is checked twice, by the shop and by the database",
    "prefer-bigint-over-int": "versions and places in an order stay small",
    "prefer-robust-stmts": "a transaction is done whole or not; `online.py` looks what is there",
    "require-statement-timeout": "an index takes as long as it takes, while others write",
}
A_WHOLE_TABLE = "changes-a-whole-table"
"""Our own: who changes a row of it waits until the transaction ends."""

# Before 0.1.0 there was no shop to be stopped. Nothing is added here for a migration after that.
BEFORE_THE_FIRST_RELEASE = {
    ("0002", "require-concurrent-index-creation"),
    ("0002", "require-concurrent-index-deletion"),
    ("0009", "require-concurrent-index-creation"),
}

# Small, or written to by nobody but migrations.
_TABLES_OF_FEW_ROWS = {"alembic_version", "schema_compatibility", "shop"}
_CHANGES_ROWS = re.compile(
    r"\s*(?:UPDATE|DELETE FROM|INSERT INTO) (\w+)(?!.*\bVALUES\b)", re.DOTALL
)


async def test_no_migration_holds_a_table_for_long(postgresql: PostgresServer) -> None:
    engines = create_engines(postgresql.create_database(unused_name("locks")))
    found = set()
    for revision, statements in (await sent_by_migrations(engines)).items():
        found |= {(revision, rule) for rule in broken_rules(statements)}
    await engines.dispose()
    assert found == BEFORE_THE_FIRST_RELEASE


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("CREATE INDEX found ON orders (user_id)", "require-concurrent-index-creation"),
        ("DROP INDEX orders_by_user", "require-concurrent-index-deletion"),
        ("ALTER TABLE orders ALTER COLUMN total TYPE text", "changing-column-type"),
        ("ALTER TABLE orders ADD COLUMN at timestamptz NOT NULL", "adding-required-field"),
        ("ALTER TABLE orders ADD CHECK (total > 0)", "constraint-missing-not-valid"),
        ("ALTER TABLE orders RENAME COLUMN total TO sum", "renaming-column"),
        ("ALTER TABLE orders DROP COLUMN total", "ban-drop-column"),
        ("UPDATE products SET version = 0", A_WHOLE_TABLE),
        ("INSERT INTO listings SELECT id FROM products", A_WHOLE_TABLE),
        ("ALTER TABLE orders ADD COLUMN note text DEFAULT '' NOT NULL", None),
        ("INSERT INTO shop (id) VALUES (1)", None),
    ],
)
def test_what_stops_a_shop_is_found(statement: str, rule: str | None) -> None:
    sent = [(True, "SET LOCAL lock_timeout = '2s'"), (True, statement)]
    assert broken_rules(sent) == ({rule} if rule else set())


def test_waiting_for_a_lock_without_an_end_is_found() -> None:
    sent = [(True, "ALTER TABLE orders ADD COLUMN note text")]
    assert broken_rules(sent) == {"require-lock-timeout"}


# It keeps away who calls the function meanwhile. Nothing is added here: a new function gets a name
# of its own.
REPLACES_A_FUNCTION_UNDER_LOCKS = {("0012", "known_orders")}


async def test_a_function_is_one_for_good(postgresql: PostgresServer) -> None:
    engines = create_engines(postgresql.create_database(unused_name("functions")))
    sent = await sent_by_migrations(engines)
    await engines.dispose()
    assert functions_made_others(sent) == REPLACES_A_FUNCTION_UNDER_LOCKS


IDS = "CREATE FUNCTION ids(wanted uuid[]) RETURNS uuid[] LANGUAGE sql AS 'SELECT wanted'"


@pytest.mark.parametrize(
    ("replacement", "is_other"),
    [
        (IDS.replace("sql", "plpgsql"), True),
        (IDS.replace("wanted uuid[]", "wanted uuid[], locks bigint"), True),
        (IDS.replace("RETURNS uuid[]", "RETURNS SETOF uuid"), True),
        (IDS.replace("sql AS 'SELECT wanted'", "C AS 'ids'"), True),
        (
            IDS.replace("CREATE", "create or replace").replace("'SELECT wanted'", "$$SELECT $1$$"),
            False,
        ),
        (IDS.replace("ids(", "other_ids(").replace("sql", "plpgsql"), False),
    ],
)
def test_a_function_that_becomes_another_is_found(replacement: str, is_other: bool) -> None:
    sent = {"0001": [(True, IDS)], "0002": [(True, f"\n  {replacement}")]}
    assert functions_made_others(sent) == ({("0002", "ids")} if is_other else set())


# --- tools ---

Statements = Sequence[tuple[bool, str]]
"""Whether it is in a transaction, and the statement."""


async def sent_by_migrations(engines: Engines) -> Mapping[str, Statements]:
    """By revision."""
    sent: dict[str, list[tuple[bool, str]]] = defaultdict(list)
    revisions = [each.revision for each in ScriptDirectory.from_config(config()).walk_revisions()]
    for revision in reversed(revisions):

        def note(
            connection: Connection, _: Any, statement: str, *__: Any, of: str = revision
        ) -> None:
            options = connection.get_execution_options()
            sent[of].append((options.get("isolation_level") != "AUTOCOMMIT", statement))

        def upgrade(connection: Connection, to: str = revision) -> None:
            command.upgrade(config(connection), to)

        event.listen(engines.patient.sync_engine, "before_cursor_execute", note)
        async with migrating(engines) as connection:
            await connection.run_sync(upgrade)
        event.remove(engines.patient.sync_engine, "before_cursor_execute", note)
    return sent


def broken_rules(statements: Statements) -> set[str]:
    changes = [_CHANGES_ROWS.match(sql) for in_transaction, sql in statements if in_transaction]
    of_whole = {match[1] for match in changes if match} - _TABLES_OF_FEW_ROWS
    return squawk(script_of(statements)) | ({A_WHOLE_TABLE} if of_whole else set())


_FUNCTION = re.compile(
    r"\s*CREATE\s+(?:OR\s+REPLACE\s+)?FUNCTION\s+(?P<name>\w+)\s*\((?P<arguments>.*?)\)\s*"
    r"RETURNS\s+(?P<type>.+?)\s+LANGUAGE\s+(?P<language>\w+)",
    re.DOTALL | re.IGNORECASE,
)


def functions_made_others(sent: Mapping[str, Statements]) -> set[tuple[str, str]]:
    """Revisions, and names of functions that are others there than before.

    Who calls a function while it is replaced may have its old language and its new body, and who
    calls it while it is dropped has none.
    """
    known: dict[str, tuple[str, ...]] = {}
    found = set()
    for revision, statements in sent.items():
        for _, statement in statements:
            if match := _FUNCTION.match(statement):
                name, *rest = match.groups()
                if known.setdefault(name, tuple(rest)) != tuple(rest):
                    found.add((revision, name))
                    known[name] = tuple(rest)
    return found


def script_of(statements: Statements) -> str:
    """As psql would be given it."""
    return ";\n".join(_lines(statements)) + ";\n"


def _lines(statements: Statements) -> Iterator[str]:
    was_in_transaction = False
    for in_transaction, statement in statements:
        if not statement.lstrip().startswith("SELECT"):
            if in_transaction != was_in_transaction:
                yield "BEGIN" if in_transaction else "COMMIT"
            yield statement.strip().rstrip(";")
            was_in_transaction = in_transaction
    if was_in_transaction:
        yield "COMMIT"


def squawk(script: str) -> set[str]:
    """The rules that it breaks."""
    done = subprocess.run(
        [
            Path(sys.executable).with_name("squawk"),
            f"--exclude={','.join(NOT_OF_LOCKS)}",
            "--pg-version=14",
            "--reporter=json",
            "--stdin-filepath=migration.sql",
        ],
        input=script,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stderr
    return {problem["rule_name"] for problem in json.loads(done.stdout)}

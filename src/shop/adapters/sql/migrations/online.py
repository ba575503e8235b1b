"""For migrations of large tables that must not stop a running shop.

What is done here is done outside of transactions on PostgreSQL: it commits what the migration did
before. So a migration that is interrupted has done a part of its work, and does the rest when it is
run again: each of its steps looks first whether it was done. SQLite does it all in one transaction.
"""

from typing import Any

from alembic import op
from sqlalchemy import text

# An index is not valid while it is being built, and for good if that was interrupted.
_IS_VALID = text(
    "SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
    "WHERE relname = :name AND pg_table_is_visible(indexrelid)"
)


def is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def create_index(name: str, table: str, columns: list[str], **options: Any) -> None:
    """An index on a table that others write to meanwhile."""
    if not is_postgresql():
        op.create_index(name, table, columns, **options)
        return
    with op.get_context().autocommit_block():
        is_valid = op.get_bind().scalar(_IS_VALID, {"name": name})
        if is_valid is False:
            op.drop_index(name, table, postgresql_concurrently=True)
        if not is_valid:
            op.create_index(name, table, columns, postgresql_concurrently=True, **options)


def drop_index(name: str, table: str) -> None:
    if not is_postgresql():
        op.drop_index(name, table)
        return
    with op.get_context().autocommit_block():
        op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)


def execute(statement: str) -> None:
    """A statement of PostgreSQL's that begins and ends transactions by itself."""
    with op.get_context().autocommit_block():
        op.execute(statement)

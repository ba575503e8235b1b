"""Runs migrations for `schema.py`, which brings a connection, or for alembic's own command."""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection

from shop.adapters.sql.engine import create_engines
from shop.adapters.sql.schema import is_in_metadata, migrating, note_compatibility
from shop.adapters.sql.tables import metadata


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # SQLite cannot alter most things; alembic then rebuilds the table.
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        transaction_per_migration=connection.dialect.name == "postgresql",
        include_object=is_in_metadata,
        on_version_apply=note_compatibility,
    )
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_run() -> None:
    engines = create_engines(os.environ["SHOP_DATABASE_URL"])
    async with migrating(engines) as connection:
        await connection.run_sync(run)
    await engines.dispose()


given = context.config.attributes.get("connection")
if given is None:
    asyncio.run(connect_and_run())
else:
    run(given)

"""`shop migrate` and `shop makemigrations`: the database's schema."""

import rich_click as click
from alembic import command
from sqlalchemy import Connection

from shop.adapters.sql import schema
from shop.domain.errors import StoreTooNew
from shop.domain.ports import SchemaState
from shop.entrypoints.cli.running import connected, note_slow_search, opened, run_async


@click.command()
@run_async
async def migrate() -> None:
    """Bring the database's schema up to date; run it before serving a new version."""
    async with connected() as container:
        await container.schema().upgrade()
        state = await container.schema().state()
        slow_search = await container.schema().slow_search()
    if state is SchemaState.COMPATIBLE:
        click.echo("The database is newer than this program, which can work on it as it is.")
    else:
        click.echo(f"The database has schema {schema.head()}.")
    if slow_search:
        click.echo(note_slow_search(slow_search))


@click.command()
@click.option("-m", "--message", required=True, help="What changes, in a few words.")
@run_async
async def makemigrations(message: str) -> None:
    """Draft a migration from the difference between tables.py and a migrated database.

    For developers: read and finish the draft before it is committed.
    """

    def draft(connection: Connection) -> None:
        revision = f"{int(schema.head() or 0) + 1:04d}"
        command.revision(
            schema.config(connection), message=message, autogenerate=True, rev_id=revision
        )

    async with opened() as container:
        if await container.schema().state() is not SchemaState.CURRENT:
            raise StoreTooNew
        async with container.engines().patient.begin() as connection:
            await connection.run_sync(draft)

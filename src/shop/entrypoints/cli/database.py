"""`shop migrate` and `shop makemigrations`: the database's schema."""

from collections.abc import Iterable

import rich_click as click
from alembic import command
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from shop.adapters.sql import schema
from shop.adapters.sql.urls import parse_url, place_of
from shop.domain.errors import StoreTooNew
from shop.domain.ports import SchemaState
from shop.entrypoints.cli.running import (
    AGAIN,
    connected,
    interruptible,
    note_slow_search,
    opened,
    run_async,
)
from shop.entrypoints.settings import load_settings


@click.command()
@run_async
async def migrate() -> None:
    """Bring the database's schema up to date; run it before serving a new version.

    Makes the SQLite file of SHOP_DATABASE_URL if it is not there.
    """
    settings = load_settings()
    async with connected(settings, creates=True, writing=True) as container:
        with interruptible(_how_to_go_on):
            await container.schema().upgrade()
        await container.schema().claim_currency(container.settings().currency)
        state = await container.schema().state()
        slow_search = await container.schema().slow_search()
    place = place_of(parse_url(settings.database_url))
    if state is SchemaState.COMPATIBLE:
        click.echo(
            f"The database is newer than this program, which can work on it as it is: {place}"
        )
    else:
        click.echo(f"Schema {schema.head()}: {place}")
    if slow_search:
        click.echo(note_slow_search(slow_search))


def _how_to_go_on(error: BaseException) -> str | None:
    if isinstance(error, Exception):
        return None
    return (
        "the schema is that of before, of a migration in between, or the new one without all of "
        f"its search. {AGAIN}: it goes on."
    )


def _words(_ctx: click.Context, _option: click.Parameter, message: str) -> str:
    if not message.strip():
        raise click.BadParameter("say what changes.")
    return message.strip()


@click.command()
@click.option(
    "-m", "--message", required=True, callback=_words, help="What changes, in a few words."
)
@run_async
async def makemigrations(message: str) -> None:
    """Draft a migration from the difference between tables.py and a migrated database.

    For developers: read and finish the draft before it is committed. Where nothing differs there is
    none.
    """

    def draft(connection: Connection) -> bool:
        drafted = command.revision(
            schema.config(connection),
            message=message,
            autogenerate=True,
            rev_id=f"{int(schema.head() or 0) + 1:04d}",
            process_revision_directives=_none_of_nothing,
        )
        return bool(drafted)

    async with opened() as container:
        if await container.schema().state() is not SchemaState.CURRENT:
            raise StoreTooNew
        try:
            async with container.engines().patient.begin() as connection:
                if not await connection.run_sync(draft):
                    click.echo("Nothing to draft: no table has changed.")
        except OSError as error:
            raise click.ClickException(
                f"The draft cannot be written to {schema.MIGRATIONS} ({error.strerror})."
            ) from error


def _none_of_nothing(
    _context: MigrationContext,
    _revision: str | Iterable[str | None] | Iterable[str],
    drafts: list[MigrationScript],
) -> None:
    """Alembic drafts a migration without steps, too, and `serve` would apply it."""
    [draft] = drafts
    if draft.upgrade_ops is not None and draft.upgrade_ops.is_empty():
        drafts.clear()

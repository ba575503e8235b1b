"""`shop export` and `shop import`: the whole shop, from one database into another."""

from functools import partial
from pathlib import Path

import rich_click as click

import shop as package
from shop.adapters.exports import Manifest, NewExport, WrongExport
from shop.adapters.sql.schema import head
from shop.adapters.sql.transfer import (
    check_files,
    different_table,
    export_shop,
    import_files,
    read_export,
    reading,
    writing,
)
from shop.adapters.sql.urls import parse_url, place_of
from shop.adapters.system import utc_now
from shop.domain.errors import StoreTooNew
from shop.domain.ports import SchemaState
from shop.domain.text import counted
from shop.entrypoints.cli.progress import progress_of
from shop.entrypoints.cli.running import AGAIN, interruptible, opened, run_async
from shop.entrypoints.cli.stock import find_differences
from shop.entrypoints.container import Container


@click.command("export")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@run_async
async def export_all(folder: Path) -> None:
    """Write the whole shop into the new folder DIR, as of one moment, while it goes on selling.

    A file of JSON Lines for each table, and manifest.json with their checksums, which is written
    last: a folder without it is no whole export. What is in it is as secret as the database:
    password hashes are among it. `shop import DIR` makes a shop of it again, on SQLite or
    PostgreSQL.
    """
    async with opened() as container, reading(container.engines()) as shop:
        if await shop.revision() != head():
            # It may have what this program does not know.
            raise StoreTooNew
        counts = await shop.counts()
        at = utc_now()
        export = NewExport(folder)
        with (
            interruptible(partial(_what_is_in, export)),
            progress_of("rows exported", sum(counts.values())) as advance,
        ):
            manifest = await export_shop(
                shop, export, program=package.__version__, at=at, advance=advance
            )
    click.echo(f"Exported {_size(manifest)} to {export.folder}, as of {at:%Y-%m-%d %H:%M:%S} UTC")


def _what_is_in(export: NewExport, error: BaseException) -> str | None:
    if isinstance(error, WrongExport):
        return None
    return f"{export.folder} is no whole export. Delete it, and run the same command again."


@click.command("import")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@run_async
async def import_all(folder: Path) -> None:
    """Fill an empty shop with all that `shop export DIR` wrote, and prove that it is the same.

    The database is to be migrated by `shop migrate` before, by the version that exported it; no
    server should serve it yet. Every file is checked before anything is written. Then all is
    written in one transaction, read again and held against the checksums: an import that is
    interrupted leaves nothing behind, and is run again. In the end the ledger is verified, as
    `shop stock verify` does.
    """
    manifest = read_export(folder)
    async with opened() as container:
        await _require_fit(container, manifest)
        with interruptible(_how_to_go_on):
            await _make_same(container, folder, manifest)
            differences = (await find_differences(container)).count
    if differences:
        raise click.ClickException(
            f"The ledger has {counted(differences, 'difference')}, as it had where it was "
            "exported; `shop stock verify` shows them."
        )
    click.echo("The ledger agrees with the stock and with all orders.")


async def _make_same(container: Container, folder: Path, manifest: Manifest) -> None:
    if await _is_there(container, manifest):
        click.echo("The shop has all of this export already: nothing was done.")
        return
    with progress_of("rows checked", manifest.rows) as advance:
        check_files(folder, manifest, advance=advance)
    await _fill(container, folder, manifest)
    # Databases plan for the sizes that they know.
    await container.schema().look_over()
    click.echo(
        f"Imported {_size(manifest)} into {_place(container)}; read again, each table has the "
        "checksum of the export."
    )


def _how_to_go_on(error: BaseException) -> str | None:
    if isinstance(error, WrongExport | click.ClickException):
        return None
    return f"nothing is written, or all if it was at the very end. {AGAIN}: it finds out."


async def _require_fit(container: Container, manifest: Manifest) -> None:
    if manifest.revision != head():
        raise click.ClickException(
            f"The export has the schema {manifest.revision} of shop {manifest.shop}, and this is "
            f"shop {package.__version__} with the schema {head()}: import it with that version, "
            "and upgrade then."
        )
    if await container.schema().state() is not SchemaState.CURRENT:
        raise StoreTooNew
    currency = container.settings().currency
    if manifest.currency != currency:
        raise click.ClickException(
            f"The export has prices in {manifest.currency}, and this shop is one with {currency}: "
            f"take a new database, and migrate it with SHOP_CURRENCY={manifest.currency}."
        )


async def _is_there(container: Container, manifest: Manifest) -> bool:
    """Whether this very export was imported before. Refuses a shop that has something else."""
    async with reading(container.engines()) as shop:
        counts = await shop.counts()
        if not any(counts.values()):
            return False
        if counts == {name: entry.rows for name, entry in manifest.files.items()}:
            with progress_of("rows compared", manifest.rows) as advance:
                if await different_table(shop, manifest, advance=advance) is None:
                    return True
    table = next(name for name, number in counts.items() if number)
    raise click.ClickException(
        f"{_place(container)} has something in it already ({counted(counts[table], 'row')} in "
        f"{table}), and "
        "an import needs an empty shop: take a new database, and run `shop migrate` before."
    )


async def _fill(container: Container, folder: Path, manifest: Manifest) -> None:
    async with writing(container.engines()) as shop:
        # Now nobody else writes.
        if any((await shop.counts()).values()):
            raise click.ClickException("Somebody has put something into this shop meanwhile.")
        with progress_of("rows written", manifest.rows) as advance:
            await import_files(shop, folder, manifest, advance=advance)
        with progress_of("rows compared", manifest.rows) as advance:
            different = await different_table(shop, manifest, advance=advance)
        if different is not None:
            raise click.ClickException(
                f"What was written into {different} is not what was read again, so all of it was "
                "taken back: this is a bug of the shop or a fault of the host."
            )
        await shop.execute("COMMIT")


def _size(manifest: Manifest) -> str:
    return f"{counted(manifest.rows, 'row')} of {counted(len(manifest.files), 'table')}"


def _place(container: Container) -> str:
    return place_of(parse_url(container.settings().database_url))

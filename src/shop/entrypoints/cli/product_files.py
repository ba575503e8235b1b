"""`shop products import` and `shop products export`."""

import codecs
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import rich_click as click

from shop.domain.bulk import Outcome, RowAnswer
from shop.domain.errors import InvalidField
from shop.domain.pages import Window
from shop.domain.products import Product, ProductQuery
from shop.domain.stock import NOTE_LENGTH_MAX
from shop.domain.text import clean, counted
from shop.domain.users import OPERATOR
from shop.entrypoints.cli.exporting import (
    decimal_option,
    delimiter_option,
    export,
    export_options,
    no_workbook,
)
from shop.entrypoints.cli.importing import KEY_LENGTH_MAX, Import
from shop.entrypoints.cli.progress import progress_through
from shop.entrypoints.cli.running import AGAIN, interruptible, opened, run_async
from shop.entrypoints.cli.tables import json_option, listing
from shop.entrypoints.container import Container
from shop.entrypoints.files.exports import PRODUCTS, Writing
from shop.entrypoints.files.product_rows import (
    FIELDS,
    FileRow,
    ProductFile,
    Reading,
    column_shown,
    shown,
)
from shop.entrypoints.files.rejects import opened_rejects
from shop.entrypoints.files.repeats import seen_skus
from shop.entrypoints.files.sources import STDIN, FileRefused, Format, Source, opened_source
from shop.entrypoints.settings import load_settings

LOOKED_OVER_FROM = 1_000
"""After so many new products the database is told to find out how many there are."""


@click.command("export")
@export_options
@run_async
async def export_products(file: str, writing: Writing) -> None:
    """Write all products into FILE, or to standard output: CSV, or JSON Lines.

    `shop products import` reads it again. Each step of it is of its own moment: what is sold
    meanwhile may be counted or not.
    """
    async with opened() as container:
        total = await _count_products(container)
        await export(
            container.export_products()(caller=OPERATOR),
            PRODUCTS,
            file=file,
            writing=writing,
            what="product",
            total=total,
            count=len,
        )


async def _count_products(container: Container) -> int:
    one = Window(limit=1)
    pages = [
        await container.list_products()(
            caller=OPERATOR, query=ProductQuery(archived=archived), window=one
        )
        for archived in (False, True)
    ]
    return sum(page.count.number for page in pages)


def _columns(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> Mapping[str, str]:
    columns = {}
    for each in given:
        theirs, _, ours = each.rpartition("=")
        ours = ours.strip().lower()
        if not theirs.strip() or ours not in FIELDS:
            raise click.BadParameter(
                f"{each!r} is not THEIRS=OURS, such as Artikelnr=sku; ours are {', '.join(FIELDS)}."
            )
        columns[theirs.strip()] = ours
    return columns


# Of Python's for other purposes: some make halves of characters, which are no text.
_NO_ENCODINGS = {"utf-7", "unicode-escape", "raw-unicode-escape", "idna", "punycode", "undefined"}


def _encoding(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        codec = codecs.lookup(text)
        "".encode(text)
        if codec.name in _NO_ENCODINGS:
            raise LookupError
    except (LookupError, UnicodeError):
        raise click.BadParameter(
            f"{text!r} is no encoding that is known here, such as windows-1252 or utf-16."
        ) from None
    return codec.name


def _key(text: str | None) -> str | None:
    if text is not None and not (0 < len(text) <= KEY_LENGTH_MAX and text.isprintable()):
        raise click.BadParameter(f"must have 1 to {KEY_LENGTH_MAX} characters.")
    return text


def _reason(text: str) -> str:
    try:
        return clean("reason", text, length_min=1, length_max=NOTE_LENGTH_MAX)
    except InvalidField as error:
        raise click.BadParameter(error.context["errors"][0]["message"]) from None


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option(
    "--atomic", is_flag=True, help="All rows in one transaction, and none if one is refused."
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False),
    callback=no_workbook,
    metavar="FILE",
    help="Write refused rows there, with what is wrong; to be put right and imported.",
)
@click.option(
    "--map",
    "columns",
    multiple=True,
    callback=_columns,
    metavar="THEIRS=OURS",
    help='A column by another name: --map "Artikelnr=sku". May be repeated.',
)
@delimiter_option
@decimal_option
@click.option(
    "--encoding",
    type=_encoding,
    metavar="NAME",
    help="Such as windows-1252, also called cp1252, if it is not found.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice([each.value for each in Format]),
    help="By default that of FILE's name, or what it looks like.",
)
@click.option(
    "--raw",
    is_flag=True,
    help="Cells are as programs write them: no apostrophe before =, no 1,23E+05 is of Excel's.",
)
@click.option(
    "--key",
    type=_key,
    metavar="NAME",
    help="What comes in, such as the number of a delivery note; what was done under it is not "
    "done again. Needed for a column delta.",
)
@click.option(
    "--reason",
    default="import",
    type=_reason,
    metavar="TEXT",
    show_default=True,
    help="Of changed stock, for the ledger.",
)
@json_option
def import_products(
    file: str,
    dry_run: bool,
    atomic: bool,
    rejects: str | None,
    columns: Mapping[str, str],
    delimiter: str | None,
    decimal: str | None,
    encoding: str | None,
    format_: str | None,
    raw: bool,
    key: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Create and change products by SKU, as the rows of FILE say; - is standard input.

    FILE is CSV with a header, or JSON Lines. Columns: sku, and any of name, price, description,
    max_per_order, archived, currency, and stock alone (it is set), stock with expected (it is set
    if so many are there), or delta (with --key). A column that is not there keeps what is.

    Rows are saved 1,000 at a time, without those that are refused. Whoever is interrupted runs the
    same command again: what is saved changes nothing.
    """
    if as_json and not dry_run:
        raise click.UsageError("--json shows what --dry-run would change.")
    if rejects is not None and file != STDIN and _is_same_file(file, rejects):
        raise click.UsageError("--rejects is FILE itself.")
    # Before there is an event loop: whoever waits for a pipe can be interrupted.
    with opened_source(
        file,
        sys.stdin.buffer,
        encoding=encoding,
        as_format=Format(format_) if format_ else None,
    ) as source:
        reading = Reading(
            currency=load_settings().currency,
            reason=reason,
            delimiter=delimiter,
            decimal=decimal,
            raw=raw,
            columns=columns,
            takes_deltas=key is not None or dry_run,
        )
        products = ProductFile(source, reading)
        _import(
            source,
            products,
            rejects=rejects,
            raw=raw,
            dry_run=dry_run,
            atomic=atomic,
            key=key,
            as_json=as_json,
        )


def _is_same_file(file: str, rejects: str) -> bool:
    return Path(rejects).exists() and Path(file).samefile(rejects)


_CHANGES = ["Line", "SKU", "Change", "What"]


@run_async
async def _import(
    source: Source,
    file: ProductFile,
    *,
    rejects: str | None,
    raw: bool,
    dry_run: bool,
    atomic: bool,
    key: str | None,
    as_json: bool,
) -> None:
    # Of all rows at once the COMMIT takes long.
    async with opened(in_bulk=atomic) as container:
        with ExitStack() as stack:
            through = stack.enter_context(progress_through("rows", source.size))
            show_row = stack.enter_context(listing(_CHANGES, as_json=as_json)) if dry_run else None

            def show(row: FileRow, answer: RowAnswer) -> None:
                if show_row is not None:
                    show_row([row.line, answer.sku, answer.outcome.value, _change(answer)])

            run = Import(
                container=container,
                file=file,
                seen=stack.enter_context(seen_skus()),
                through=through,
                position=lambda: source.position,
                rejects=stack.enter_context(opened_rejects(rejects, file, raw=raw)),
                show=show,
                dry_run=dry_run,
                key=key,
            )
            is_saved = not dry_run
            how_to_go_on = partial(_how_to_go_on, run, atomic=atomic, dry_run=dry_run)
            with interruptible(how_to_go_on, through.say):
                if atomic and not dry_run:
                    is_saved = await run.at_once(source.digest)
                else:
                    await run.in_batches()
        if is_saved and run.counts[Outcome.CREATED] >= LOOKED_OVER_FROM:
            await container.schema().look_over()
            await container.count_lists()(caller=OPERATOR)
    _sum_up(run, is_saved=is_saved, dry_run=dry_run)


def _change(answer: RowAnswer) -> str:
    before, after = answer.before, answer.after
    assert after is not None
    if before is None:
        return f"{after.name!r} for {after.price} {after.price.currency}, {after.stock} in stock"
    return ", ".join(
        f"{name} {_shown(before, name)} -> {_shown(after, name)}"
        for name in ("name", "price", "description", "max_per_order", "archived", "stock")
        if getattr(before, name) != getattr(after, name)
    )


def _shown(product: Product, name: str) -> str:
    value = getattr(product, name)
    if isinstance(value, str):
        return repr(shown(value))
    return "no limit" if value is None else str(value)


def _how_to_go_on(run: Import, error: BaseException, *, atomic: bool, dry_run: bool) -> str | None:
    if not run.counts and isinstance(error, FileRefused):
        return None
    if dry_run:
        return "nothing was changed, as this was a dry run."
    if atomic:
        return "nothing is saved, or all if it was at the very end."
    return (
        f"{counted(run.saved, 'row is', 'rows are')} saved, and perhaps the batch "
        f"that was under way. {AGAIN}: what is saved stays as it is."
    )


def _sum_up(run: Import, *, is_saved: bool, dry_run: bool) -> None:
    counts = run.counts
    refused = counts[Outcome.REFUSED]
    parts = [
        f"{counts[outcome]:,} {outcome.value}"
        for outcome in (Outcome.CREATED, Outcome.CHANGED, Outcome.UNCHANGED, Outcome.REFUSED)
        if counts[outcome] or outcome is not Outcome.REFUSED
    ]
    end = ""
    if run.done_before:
        before = counted(run.done_before, "of them was", "of them were")
        end = f" {before} done before under this key."
    if dry_run:
        end = " It was a dry run: nothing was changed."
    elif not is_saved:
        end = " So nothing was saved, as --atomic asks."
    click.echo(f"{counted(counts.total(), 'row')}: {', '.join(parts)}.{end}", err=dry_run)
    if run.file.unused:
        names = ", ".join(map(column_shown, run.file.unused))
        click.echo(f"Columns that were not read: {names}.", err=True)
    if refused:
        raise click.ClickException(f"{counted(refused, 'row was', 'rows were')} refused.")

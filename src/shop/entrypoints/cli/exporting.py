"""What `shop products export`, `shop orders export` and `shop stock export` have in common."""

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, TypeVar

import rich_click as click

from shop.domain.text import counted
from shop.entrypoints.cli.progress import Through, progress_through
from shop.entrypoints.cli.running import AGAIN, FULL, interruptible
from shop.entrypoints.files.cells import COMMA, POINT
from shop.entrypoints.files.exports import Exported, Writing
from shop.entrypoints.files.sources import STDIN, Format, is_named_as_workbook

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

SIGNS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t"}


def delimiter_of(text: str | None) -> str | None:
    """The sign that was named or given."""
    if text is None:
        return None
    sign = SIGNS.get(text.lower(), text)
    if len(sign) != 1 or sign in '"\r\n' or not sign.isascii():
        raise click.BadParameter(f"{text!r} is neither comma, semicolon, tab nor another sign.")
    return sign


delimiter_option = click.option(
    "--delimiter", type=delimiter_of, metavar="SIGN", help="comma, semicolon, tab or another sign."
)
decimal_option = click.option(
    "--decimal", type=click.Choice([POINT, COMMA]), help="The decimal sign of prices."
)


def no_workbook(
    _context: click.Context, _parameter: click.Parameter, file: str | None
) -> str | None:
    """Refuses a name under which a spreadsheet program would find no workbook, but text."""
    if file is not None and is_named_as_workbook(file):
        raise click.BadParameter(
            f"{file} is the name of a workbook, and what is written is text: call it .csv, which "
            "Excel and LibreOffice open as well."
        )
    return file


def export_options(command: Callable[..., R]) -> Callable[..., R]:
    """FILE and how it is to be written, which the command is given as `file` and `writing`."""

    @wraps(command)
    def run(
        *args: Any,
        file: str,
        format_: str | None,
        delimiter: str | None,
        decimal: str | None,
        mark: bool,
        raw: bool,
        **kwargs: Any,
    ) -> R:
        form = Format(format_) if format_ else Format.named_by(file) or Format.CSV
        if form is Format.JSON_LINES and (delimiter or decimal or mark or raw):
            raise click.UsageError("--delimiter, --decimal, --mark and --raw are for CSV.")
        writing = Writing(
            format=form,
            delimiter=delimiter or ",",
            decimal=decimal or POINT,
            mark=mark,
            raw=raw,
        )
        return command(*args, file=file, writing=writing, **kwargs)

    options = [
        click.argument(
            "file",
            default=STDIN,
            type=click.Path(dir_okay=False, allow_dash=True),
            callback=no_workbook,
        ),
        click.option(
            "--format",
            "format_",
            type=click.Choice([each.value for each in Format]),
            help="By default that of FILE's name, or csv.",
        ),
        delimiter_option,
        decimal_option,
        click.option("--mark", is_flag=True, help="Begin with the mark by which Excel knows UTF-8"),
        click.option(
            "--raw",
            is_flag=True,
            help="For programs: leave texts such as =1+1 as they are, which a spreadsheet would "
            "take for formulas.",
        ),
    ]
    for option in reversed(options):
        run = option(run)
    return run


async def export(
    steps: AsyncIterator[T],
    exported: Exported[T],
    *,
    file: str,
    writing: Writing,
    what: str,
    total: int | None,
    count: Callable[[T], int],
) -> None:
    """Write all steps; a file is there whole, or as it was before. `what` is what one is called."""
    number = 0

    def what_is_in(error: BaseException) -> str | None:
        # Who hangs up wants no more; a file that cannot be written is told by its name.
        if isinstance(error, OSError | click.ClickException):
            return None
        if _is_put_in_place(file):
            return f"{file} is as it was before. {AGAIN}."
        return f"what was written is not all, {counted(number, what)} or some more. {AGAIN}."

    with (
        interruptible(what_is_in),
        _written(file) as target,
        _progress(file, f"{what}s", total) as through,
    ):
        write = exported.writer(target, writing)
        async for step in steps:
            write(step)
            number += count(step)
            through.advance(number, number if total is None else min(number, total))
    click.echo(f"Wrote {counted(number, what)}.", err=True)


@contextmanager
def _progress(file: str, what: str, total: int | None) -> Iterator[Through]:
    # On the terminal the bar would stand between the rows.
    if not (file == STDIN and sys.stdout.isatty()):
        with progress_through(what, total) as through:
            yield through
    else:
        yield Through(lambda number, place: None, lambda line: None)


def _is_put_in_place(file: str) -> bool:
    """Once it is whole: a device or a pipe cannot be."""
    return file != STDIN and (Path(file).is_file() or not Path(file).exists())


@contextmanager
def _written(file: str) -> Iterator[BinaryIO]:
    if file == STDIN:
        stdout = sys.stdout.buffer
        yield stdout
        stdout.flush()
        return
    path = Path(file)
    if not _is_put_in_place(file):
        with path.open("wb") as target:
            yield target
        return
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as target:
            yield target
        partial.replace(path)
    except OSError as error:
        # What concerns neither is of the database.
        if error.filename is None and error.errno not in FULL:
            raise
        raise click.ClickException(f"{file} could not be written ({error.strerror}).") from error
    finally:
        partial.unlink(missing_ok=True)

"""What commands list: a table on a terminal, lines of tabs for a pipe or a file, or JSON."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from textwrap import indent
from typing import Any, TypeAlias

import msgspec
import rich_click as click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from shop.domain.money import Money
from shop.domain.pages import Count

json_option = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
limit_option = click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many to show."
)

Row: TypeAlias = Sequence[object]

SHOWN_MAX = 1_000
"""On a terminal; of more than that nobody reads the beginning."""


def show_table(header: Sequence[str], rows: Iterable[Row], *, as_json: bool = False) -> None:
    """Print the rows; for programs the columns have the names of `objects_of`.

    Cells are values, not text: JSON has numbers and null for them, and times as in RFC 3339.
    """
    with listing(header, as_json=as_json) as show:
        for row in rows:
            show(row)


@contextmanager
def listing(header: Sequence[str], *, as_json: bool = False) -> Iterator[Callable[[Row], None]]:
    """Takes the rows one by one, however many come.

    For programs each is printed at once, and what was taken is well-formed also when the next one
    fails: what a row tells of is done.
    """
    if as_json:
        yield from _json_lines(header)
    elif sys.stdout.isatty():
        rows: list[Row] = []
        try:
            yield lambda row: rows.append(row) if len(rows) < SHOWN_MAX else None
        finally:
            _show_on_terminal(header, rows)
    else:
        _show_line(_names(header))
        yield _show_line


def _json_lines(header: Sequence[str]) -> Iterator[Callable[[Row], None]]:
    before = "["

    def show(row: Row) -> None:
        nonlocal before
        [described] = objects_of(header, [row])
        text = indent(_json(described), "  ")
        click.echo(f"{before}\n{text}", nl=False)
        before = ","

    try:
        yield show
    finally:
        click.echo("[]" if before == "[" else "\n]")


def _show_line(cells: Row) -> None:
    click.echo("\t".join(_NO_CELL.sub(" ", _text(cell)) for cell in cells))


def show_json(value: object) -> None:
    click.echo(_json(value))


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode()


def show_count(shown: int, count: Count, what: str, of: str = "") -> None:
    """Say it beside the list, not in it: what reads the list is no person.

    `what` is what one of them is called.
    """
    things = what if count.number == 1 else f"{what}s"
    click.echo(f"{shown} of {count} {things}{of}.", err=True)


def objects_of(header: Sequence[str], rows: Iterable[Row]) -> list[dict[str, Any]]:
    """What JSON says of the rows; money is text, as everywhere."""
    return [
        {
            name: str(cell) if isinstance(cell, Money) else cell
            for name, cell in zip(_names(header), row, strict=True)
        }
        for row in rows
    ]


def _names(header: Sequence[str]) -> list[str]:
    return [title.lower().replace(" ", "_") for title in header]


# What people copy: it stands in one line, whatever is in it.
_COPIED = {"Id", "Code", "SKU", "Order"}


def _show_on_terminal(header: Sequence[str], rows: Sequence[Row]) -> None:
    """A table if each word finds room in it; else a paragraph for each row, with a line a cell.

    The terminal breaks a line that is too long, and still copies it as one.
    """
    console = Console()
    # As it is: what customers and staff typed may look like markup.
    cells = [[Text(_text(cell)) for cell in row] for row in rows]
    if widths := _widths(header, cells, console.width):
        columns = zip(header, widths, strict=True)
        table = Table(*(Column(name, overflow="fold", width=width) for name, width in columns))
        for line in cells:
            table.add_row(*line)
        console.print(table)
        return
    for line in cells:
        for name, cell in zip(header, line, strict=True):
            console.print(Text(f"{name}: ", style="bold") + cell, soft_wrap=True)
        console.print()


def _widths(header: Sequence[str], cells: Sequence[Sequence[Text]], console: int) -> list[int]:
    """Of the columns, so that no word is broken; nothing if there is no room for that."""
    columns = list(zip(map(Text, header), *cells, strict=True))
    most = [max(cell.cell_len for cell in column) for column in columns]
    least = [
        whole if name in _COPIED else max(_longest_word(cell) for cell in column)
        for name, whole, column in zip(header, most, columns, strict=True)
    ]
    # A line between columns and at both ends, and a blank at both sides of each.
    spare = console - 1 - 3 * len(header) - sum(least)
    wanted = sum(most) - sum(least)
    if spare >= wanted:
        return most
    if spare < 0:
        return []
    return [few + (many - few) * spare // wanted for few, many in zip(least, most, strict=True)]


def _longest_word(text: Text) -> int:
    return max((cell_len(word) for word in text.plain.split()), default=0)


# What would begin another cell or line.
_NO_CELL = re.compile(r"[\t\r\n]+")


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M:%S}"
    return str(cell)

"""What commands list: a table on a terminal, lines of tabs for a pipe or a file, or JSON."""

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from shop.domain.money import Money
from shop.domain.pages import Count

json_option = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
limit_option = click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many to show."
)

Rows = Iterable[Sequence[object]]


def show_table(header: Sequence[str], rows: Rows, *, as_json: bool = False) -> None:
    """Print the rows; for programs the columns have the names of `objects_of`.

    Cells are values, not text: JSON has numbers and null for them, and times as in RFC 3339.
    """
    if as_json:
        show_json(objects_of(header, rows))
    elif sys.stdout.isatty():
        _show_on_terminal(header, rows)
    else:
        for line in (_names(header), *rows):
            click.echo("\t".join(_NO_CELL.sub(" ", _text(cell)) for cell in line))


def show_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value)))


def show_count(shown: int, count: Count, what: str) -> None:
    """Say it beside the list, not in it: what reads the list is no person."""
    click.echo(f"{shown} of {count} {what}.", err=True)


def objects_of(header: Sequence[str], rows: Rows) -> list[dict[str, Any]]:
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


def _show_on_terminal(header: Sequence[str], rows: Rows) -> None:
    """Each cell whole: what does not fit the width goes on in the next line."""
    table = Table(*(Column(name, overflow="fold") for name in header))
    for row in rows:
        # As it is: what customers and staff typed may look like markup.
        table.add_row(*(Text(_text(cell)) for cell in row))
    Console().print(table)


# What would begin another cell or line.
_NO_CELL = re.compile(r"[\t\r\n]+")


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M:%S}"
    return str(cell)

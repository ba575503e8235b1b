"""Tables on the terminal."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

# For what is no terminal, such as a file or a pipe: wide enough for a note in every column.
_WIDTH_MAX = 4_000


def show_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print each cell whole: what does not fit a terminal's width goes on in the next line."""
    table = Table(*(Column(name, overflow="fold") for name in header))
    for row in rows:
        # As it is: what customers and staff typed may look like markup.
        table.add_row(*(Text(str(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else _WIDTH_MAX).print(table)

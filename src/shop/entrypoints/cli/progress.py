"""How far a long command has come: a bar on a terminal, lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SHOWN_FROM = 2_000
"""Fewer take no time worth showing."""
LINES = 20


def bar() -> Progress:
    """For stderr, where it is a terminal; it goes when all is done, and leaves nothing behind."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def progress_of(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """To be told of how many more there are, again and again."""
    console = Console(stderr=True)
    if total < SHOWN_FROM:
        yield lambda number: None
    elif console.is_terminal:
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(what, total=total)
            yield lambda number: progress.advance(task, number)
    else:
        yield _lines(what, total)


def _lines(what: str, total: int) -> Callable[[int], None]:
    done = told = 0

    def advance(number: int) -> None:
        nonlocal done, told
        done += number
        if done * LINES // total > told:
            told = done * LINES // total
            click.echo(f"{done} of {total} {what}", err=True)

    return advance

"""How far a long command has come: a bar on a terminal, lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import rich_click as click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

SHOWN_FROM = 2_000
"""Fewer take no time worth showing."""
LINES = 20
TOLD_EACH = 100_000
"""There is a line for so many where it is not known how many come."""


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


@dataclass(frozen=True, slots=True)
class Through:
    """Goes through something, such as a file in bytes."""

    advance: Callable[[int, int], None]
    """Told how many things there were until now, and how far that is."""
    say: Callable[[str], None]
    """A line on stderr, beside the bar."""


@contextmanager
def progress_through(what: str, size: int | None) -> Iterator[Through]:
    """With the rate, and the time that is left if the size is known."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Through(_lines_through(what, size), lambda line: click.echo(line, err=True))
        return
    columns = (
        TextColumn("{task.fields[number]:,} " + what),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=size, number=0, rate="")

        def advance(number: int, place: int) -> None:
            rate = f"{_rate(number, began):,} a second"
            progress.update(task, completed=place, number=number, rate=rate)

        yield Through(
            advance, lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)
        )


def _lines_through(what: str, size: int | None) -> Callable[[int, int], None]:
    began, told = time.monotonic(), 0

    def advance(number: int, place: int) -> None:
        nonlocal told
        part = number // TOLD_EACH if size is None else place * LINES // size
        if number < SHOWN_FROM or part <= told:
            return
        told = part
        if size is None:
            click.echo(f"{number:,} {what}, {_rate(number, began):,} a second", err=True)
            return
        left = (time.monotonic() - began) * (size - place) / place
        click.echo(
            f"{number:,} {what}, {place * 100 // size}%, {_rate(number, began):,} a second, "
            f"{timedelta(seconds=round(left))} left",
            err=True,
        )

    return advance


def _rate(number: int, began: float) -> int:
    return round(number / max(time.monotonic() - began, 0.001))

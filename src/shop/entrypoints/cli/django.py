"""`shop import-django`: moving a shop in that runs on Django."""

import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import rich_click as click

from shop.adapters.sql.django import DjangoTables, django_url, opened_django
from shop.adapters.sql.urls import WrongUrl
from shop.domain.moving import STATUSES, Finding, Notice, OldCounts
from shop.domain.orders import OrderStatus
from shop.domain.ports import OldShop
from shop.domain.services.move_in import Moved, MoveOptions, Stage
from shop.domain.text import counted
from shop.domain.users import OPERATOR
from shop.entrypoints.cli.progress import progress_of
from shop.entrypoints.cli.running import AGAIN, interruptible, opened, run_async
from shop.entrypoints.cli.tables import show_table
from shop.entrypoints.container import Container
from shop.entrypoints.files.writing import NamedFile

RANGES_SHOWN_MAX = 20
_TABLES = DjangoTables()


class _Zone(click.ParamType[tzinfo]):
    name = "zone"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tzinfo:
        if value == "UTC":
            # For which a host need not know the others.
            return UTC
        try:
            return ZoneInfo(str(value))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.fail(f"{value!r} is no time zone, such as Europe/Berlin.")


def _table(name: str, default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        f"--{name}-table", default=default, show_default=True, help=f"Its table of {name}."
    )


@click.command("import-django")
@click.argument("url", envvar="DJANGO_DATABASE_URL")
@click.option("--dry-run", is_flag=True, help="Say what would be moved, and move nothing.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write every notice to this file, as JSON Lines, with what stood there.",
)
@click.option(
    "--status",
    type=click.Choice([status.value for status in STATUSES]),
    default=OrderStatus.DELIVERED.value,
    show_default=True,
    help="In which new orders arrive. Of `placed` ones their owners could give the stock back.",
)
@click.option(
    "--sku-prefix",
    default="DJANGO-",
    show_default=True,
    help="Before a product's id, for its SKU, which that shop has none of.",
)
@click.option(
    "--time-zone",
    type=_Zone(),
    default="UTC",
    show_default=True,
    help="Of times without a zone: UTC where USE_TZ is set, else TIME_ZONE.",
)
@_table("users", _TABLES.users)
@_table("products", _TABLES.products)
@_table("orders", _TABLES.orders)
@_table("items", _TABLES.items)
@run_async
async def import_django(
    url: str,
    dry_run: bool,
    report: Path | None,
    status: str,
    sku_prefix: str,
    time_zone: tzinfo,
    users_table: str,
    products_table: str,
    orders_table: str,
    items_table: str,
) -> None:
    """Move a Django shop in, or what is new in it since the last time.

    URL is its database: sqlite:///path or postgresql://user:password@host/name. It is only read, as
    it is at one moment. What is written here is written in short transactions: run it again
    whenever it was interrupted. It may be DJANGO_DATABASE_URL in the environment, where nobody else
    on the host sees its password.

    Exits with 1 if anything was changed both there and here, or is gone there: it is left as it is
    here, for somebody to decide.
    """
    try:
        source = django_url(url)
    except WrongUrl as error:
        raise click.UsageError(f"URL cannot be used: {error}.") from error
    names = DjangoTables(
        users=users_table, products=products_table, orders=orders_table, items=items_table
    )
    options = MoveOptions(status=OrderStatus(status), sku_prefix=sku_prefix, dry_run=dry_run)
    with ExitStack() as stack:
        summary = Summary(stack.enter_context(_report_to(report)))
        async with opened() as container:
            with interruptible(partial(_how_to_go_on, summary, dry_run=dry_run)):
                async with opened_django(source, names, time_zone) as old:
                    await _move(container, old, options, summary)
            if not dry_run and summary.written:
                await container.schema().look_over()
                await container.count_lists()(caller=OPERATOR)
    _show(summary, dry_run=dry_run, has_report=report is not None)


async def _move(
    container: Container, old: OldShop, options: MoveOptions, summary: "Summary"
) -> None:
    with ExitStack() as stack:
        bars = _Bars(stack, await old.count())
        steps = container.move_in()(caller=OPERATOR, old=old, options=options)
        # Closed whatever happens here: it gives up its lease.
        async with aclosing(steps):
            async for step in steps:
                summary.add(step)
                bars.advance(step)


def _how_to_go_on(summary: "Summary", error: BaseException, *, dry_run: bool) -> str | None:
    if not summary.seen and isinstance(error, Exception):
        return None
    if dry_run:
        return "nothing was moved, as this was a dry run."
    stages = {Stage.USERS: "user", Stage.PRODUCTS: "product", Stage.ORDERS: "order"}
    users, products, orders = (counted(summary.new[stage], one) for stage, one in stages.items())
    missing = (
        " Until it is through, the stock has what those orders took that are not here yet."
        if Stage.STOCK in summary.seen
        else ""
    )
    return (
        f"{users}, {products} and {orders} came in, and perhaps the step that was under way. "
        f"{AGAIN}: it goes on from there.{missing}"
    )


@contextmanager
def _report_to(path: Path | None) -> Iterator[Callable[[Notice], None]]:
    """Where notices go. Names and mail addresses are among them: the file is its owner's alone."""
    if path is None:
        yield lambda notice: None
        return
    raw = NamedFile(str(path), mode=0o600)
    with io.BufferedWriter(raw) as file:
        if raw.is_plain:
            # One that is there already may be others' as well.
            os.fchmod(raw.fileno(), 0o600)
        yield lambda notice: _write(file.write, notice)


def _write(write: Callable[[bytes], int], notice: Notice) -> None:
    line = {
        "kind": notice.finding.kind,
        "id": notice.id,
        "column": notice.column,
        "value": notice.value.encode(errors="replace").decode(),
        "found": notice.finding.found,
        "done": notice.finding.done,
    }
    write(msgspec.json.encode(line) + b"\n")


class _Bars:
    """One after the other, for each stage."""

    def __init__(self, stack: ExitStack, counts: OldCounts) -> None:
        self._stack = stack
        self._totals = {
            Stage.USERS: counts.users,
            Stage.PRODUCTS: counts.products,
            Stage.COUNTED: counts.orders,
            Stage.STOCK: counts.products,
            Stage.ORDERS: counts.orders,
        }
        self._stage: Stage | None = None
        self._shown = ExitStack()
        self._advance: Callable[[int], None] = lambda number: None
        stack.callback(lambda: self._shown.close())

    def advance(self, step: Moved) -> None:
        if step.stage is not self._stage:
            self._stage = step.stage
            self._shown.close()
            total = self._totals[step.stage]
            self._advance = self._shown.enter_context(progress_of(step.stage.value, total))
        self._advance(step.seen)


class Ids:
    """Numbers that come in order, as ranges."""

    def __init__(self) -> None:
        self.count = 0
        self._ranges: list[list[int]] = []

    def add(self, number: int) -> None:
        self.count += 1
        last = self._ranges[-1] if self._ranges else None
        if last is not None and last[1] <= number <= last[1] + 1:
            last[1] = number
        else:
            self._ranges.append([number, number])

    def __str__(self) -> str:
        shown = [
            f"{first}" if first == last else f"{first}-{last}"
            for first, last in self._ranges[:RANGES_SHOWN_MAX]
        ]
        more = " ..." if len(self._ranges) > RANGES_SHOWN_MAX else ""
        return ", ".join(shown) + more

    @property
    def is_cut(self) -> bool:
        return len(self._ranges) > RANGES_SHOWN_MAX


@dataclass(slots=True)
class Summary:
    report: Callable[[Notice], None]
    seen: dict[Stage, int] = field(default_factory=lambda: defaultdict(int))
    new: dict[Stage, int] = field(default_factory=lambda: defaultdict(int))
    changed: dict[Stage, int] = field(default_factory=lambda: defaultdict(int))
    notices: dict[tuple[Finding, str], Ids] = field(default_factory=lambda: defaultdict(Ids))

    def add(self, step: Moved) -> None:
        self.seen[step.stage] += step.seen
        self.new[step.stage] += step.new
        self.changed[step.stage] += step.changed
        for notice in step.notices:
            self.notices[notice.finding, notice.column].add(notice.id)
            self.report(notice)

    @property
    def written(self) -> int:
        return sum(self.new.values()) + sum(self.changed.values())

    @property
    def open(self) -> int:
        return sum(ids.count for (finding, _), ids in self.notices.items() if finding.is_open)


def _show(summary: Summary, *, dry_run: bool, has_report: bool) -> None:
    stages = (Stage.USERS, Stage.PRODUCTS, Stage.STOCK, Stage.ORDERS)
    show_table(
        ["What", "There", "Would be new" if dry_run else "New", "Changed"],
        ([s.value, summary.seen[s], summary.new[s], summary.changed[s]] for s in stages),
    )
    for (finding, column), ids in summary.notices.items():
        found = f"{finding.found} ({column})" if column else finding.found
        click.echo(f"{finding.kind.value} {ids}: {found}: {finding.done}.")
    if not has_report and any(ids.is_cut for ids in summary.notices.values()):
        click.echo("--report FILE names them all, with what stood there.")
    if dry_run:
        click.echo("Nothing was moved.")
    if summary.open:
        raise click.ClickException(
            f"{counted(summary.open, 'thing differs', 'things differ')} there and here, and "
            f"{'was' if summary.open == 1 else 'were'} left as here."
        )

"""`shop orders`: what was ordered, and what becomes of it."""

import re
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import rich_click as click
from rich.console import Console
from rich.progress import Progress

from shop.domain.orders import Order, OrderItem, OrderQuery, OrderStatus
from shop.domain.pages import Window
from shop.domain.services.cancel_unpaid import unpaid
from shop.domain.users import OPERATOR
from shop.entrypoints.cli.running import opened, run_async
from shop.entrypoints.cli.tables import show_table

# With --dry-run; the number of all is said anyway.
SHOWN_MAX = 100


@click.group()
def orders() -> None:
    """Look at orders, and bring them to their next status."""


@orders.command("list")
@click.option("--status", type=click.Choice([status.value for status in OrderStatus]))
@click.option("--user", type=click.IntRange(1), help="Only this user's, by id.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many to show."
)
@run_async
async def list_orders(status: str | None, user: int | None, limit: int) -> None:
    """List orders, the newest first."""
    query = OrderQuery(status=OrderStatus(status) if status else None, user_id=user)
    async with opened() as container:
        page = await container.list_orders()(
            caller=OPERATOR, query=query, window=Window(limit=limit)
        )
    _show_orders(page.items)
    click.echo(f"{len(page.items)} of {page.count} orders.")


def _show_orders(orders: Sequence[Order]) -> None:
    show_table(
        ["Id", "Code", "User", "Status", "Lines", "Total", "Created"],
        (
            [
                order.id,
                order.code,
                order.user_id,
                order.status,
                len(order.lines),
                f"{order.total} {order.currency}",
                f"{order.created_at:%Y-%m-%d %H:%M:%S}",
            ]
            for order in orders
        ),
    )


@orders.command()
@click.argument("order_id", type=click.UUID)
@run_async
async def show(order_id: UUID) -> None:
    """Show the order ORDER_ID with its lines."""
    async with opened() as container:
        order = await container.read_order()(caller=OPERATOR, order_id=order_id)
    click.echo(f"Order {order.id}, code {order.code}, of user {order.user_id}: {order.status}")
    click.echo(f"Placed {order.created_at:%Y-%m-%d %H:%M:%S} UTC")
    show_table(
        ["Product", "Name", "Price", "Quantity", "Total"],
        (
            [line.product_id, line.name, line.price, line.quantity, line.total]
            for line in order.lines
        ),
    )
    click.echo(f"Total {order.total} {order.currency}")
    if order.payment_reference:
        click.echo(f"Paid by {order.payment_reference}")


_order_id = click.argument("order_id", type=click.UUID)
_note = click.option("--note", default="", help="For the history and the ledger.")
_no_restock = click.option(
    "--no-restock", is_flag=True, help="Write off what comes back, instead of restocking it."
)


@orders.command()
@_order_id
@_note
@_no_restock
@run_async
async def cancel(order_id: UUID, note: str, no_restock: bool) -> None:
    """Cancel the order ORDER_ID, which is not shipped yet."""
    async with opened() as container:
        order = await container.cancel_order()(
            caller=OPERATOR, order_id=order_id, restock=not no_restock, note=note
        )
    _say(order)


_AGE = re.compile(r"([0-9]{1,5})([mhd])", re.ASCII)
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def _age(text: str) -> timedelta:
    """A number of minutes, hours or days, such as 2h."""
    match = _AGE.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise click.BadParameter(f"{text!r} is no age such as 30m, 2h or 7d.")
    return int(match[1]) * _UNITS[match[2]]


@orders.command("cancel-unpaid")
@click.option(
    "--older-than",
    required=True,
    type=_age,
    metavar="AGE",
    help="How long ago they were placed, such as 30m, 2h or 7d.",
)
@click.option("--dry-run", is_flag=True, help="Show which they are, and cancel none.")
@run_async
async def cancel_unpaid(older_than: timedelta, dry_run: bool) -> None:
    """Cancel the orders that nobody has paid, so that their stock can be sold.

    Each is cancelled by itself; when the command is stopped, the rest is left for the next time.
    """
    shown: list[Order] = []
    count = 0
    async with opened() as container:
        created_before = container.clock()() - older_than
        page = await container.list_orders()(
            caller=OPERATOR, query=unpaid(created_before), window=Window(limit=1)
        )
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("Unpaid orders", total=page.count)
            async for step in container.cancel_unpaid()(
                caller=OPERATOR, created_before=created_before, dry_run=dry_run
            ):
                count += len(step)
                shown += step[: SHOWN_MAX - len(shown)]
                progress.advance(task, len(step))
    if dry_run and shown:
        _show_orders(shown)
    click.echo(f"{'Would cancel' if dry_run else 'Cancelled'} {count} unpaid orders.")


@orders.command()
@_order_id
@_note
@click.option("--reference", help="What the payment is called where it was made; unique.")
@run_async
async def pay(order_id: UUID, note: str, reference: str | None) -> None:
    """Record that the order ORDER_ID is paid."""
    async with opened() as container:
        order = await container.pay_order()(
            caller=OPERATOR, order_id=order_id, reference=reference, note=note
        )
    _say(order)


@orders.command()
@_order_id
@_note
@run_async
async def ship(order_id: UUID, note: str) -> None:
    """Record that the order ORDER_ID is shipped."""
    await _advance(order_id, OrderStatus.SHIPPED, note)


@orders.command()
@_order_id
@_note
@run_async
async def deliver(order_id: UUID, note: str) -> None:
    """Record that the order ORDER_ID is delivered."""
    await _advance(order_id, OrderStatus.DELIVERED, note)


async def _advance(order_id: UUID, to: OrderStatus, note: str) -> None:
    async with opened() as container:
        order = await container.advance_order()(
            caller=OPERATOR, order_id=order_id, to=to, note=note
        )
    _say(order)


@orders.command("return")
@_order_id
@click.option(
    "--item",
    "items",
    type=(click.IntRange(1), click.IntRange(1)),
    multiple=True,
    metavar="PRODUCT_ID QUANTITY",
    help="What comes back; all that is out, if left out. May be repeated.",
)
@_note
@_no_restock
@run_async
async def return_(
    order_id: UUID, items: tuple[tuple[int, int], ...], note: str, no_restock: bool
) -> None:
    """Take the shipped order ORDER_ID back, whole or in part."""
    wanted = [OrderItem(product_id=product_id, quantity=many) for product_id, many in items]
    async with opened() as container:
        order = await container.return_order()(
            caller=OPERATOR,
            order_id=order_id,
            items=wanted or None,
            restock=not no_restock,
            note=note,
        )
    _say(order)


def _say(order: Order) -> None:
    click.echo(f"Order {order.id} is {order.status.value}.")

"""`shop orders`: what was ordered, and what becomes of it."""

from uuid import UUID

import rich_click as click

from shop.domain.orders import Order, OrderItem, OrderQuery, OrderStatus
from shop.domain.pages import Window
from shop.domain.users import OPERATOR
from shop.entrypoints.cli.running import opened, run_async
from shop.entrypoints.cli.tables import show_table


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
            for order in page.items
        ),
    )
    click.echo(f"{len(page.items)} of {page.count} orders.")


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
        ["Product", "Name", "Price", "Quantity", "Returned", "Total"],
        (
            [line.product_id, line.name, line.price, line.quantity, line.returned, line.total]
            for line in order.lines
        ),
    )
    click.echo(f"Total {order.total} {order.currency}")
    if order.kept_total != order.total:
        click.echo(f"Without what came back {order.kept_total} {order.currency}")
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
    for line in order.lines:
        what = f"product {line.product_id} ({line.name}, {line.price} {order.currency})"
        click.echo(f"{line.returned} of {line.quantity} of {what} came back.")


def _say(order: Order) -> None:
    click.echo(f"Order {order.id} is {order.status.value}.")

"""`shop orders`: what was ordered."""

from uuid import UUID

import rich_click as click
from rich.console import Console
from rich.table import Table

from shop.domain.orders import OrderQuery, OrderStatus
from shop.domain.pages import Part
from shop.entrypoints.cli.running import OPERATOR, opened, run_async


@click.group()
def orders() -> None:
    """Look at orders."""


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
        page = await container.list_orders()(caller=OPERATOR, query=query, part=Part(limit=limit))
    table = Table("Id", "Code", "User", "Status", "Lines", "Total", "Created")
    for order in page.items:
        table.add_row(
            str(order.id),
            order.code,
            str(order.user_id),
            order.status.value,
            str(len(order.lines)),
            f"{order.total} {order.currency}",
            f"{order.created_at:%Y-%m-%d %H:%M:%S}",
        )
    Console().print(table)
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
    table = Table("Product", "Name", "Price", "Quantity", "Total")
    for line in order.lines:
        table.add_row(
            str(line.product_id),
            line.name,
            str(line.price),
            str(line.quantity),
            str(line.total),
        )
    Console().print(table)
    click.echo(f"Total {order.total} {order.currency}")

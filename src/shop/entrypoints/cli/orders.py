"""`shop orders`: what was ordered, and what becomes of it."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import rich_click as click

from shop.domain.errors import OrderNotFound
from shop.domain.orders import (
    MOVED_NUMBER_MAX,
    Order,
    OrderItem,
    OrderQuery,
    OrderStatus,
    code_from,
    moved_order_id,
)
from shop.domain.pages import Count, Window
from shop.domain.services.cancel_unpaid import unpaid
from shop.domain.text import counted
from shop.domain.users import OPERATOR
from shop.entrypoints.cli.exporting import export, export_options
from shop.entrypoints.cli.progress import bar
from shop.entrypoints.cli.running import AGAIN, interruptible, opened, run_async
from shop.entrypoints.cli.tables import (
    json_option,
    limit_option,
    listing,
    show_count,
    show_json,
    show_table,
)
from shop.entrypoints.container import Container
from shop.entrypoints.files.exports import ORDERS, Writing, order_object

# What a database takes for an id; as over HTTP.
_ID_MAX = 2**53 - 1


@click.group()
def orders() -> None:
    """Look at orders, and bring them to their next status.

    ORDER is an order's id, or its code as somebody reads it out: `shop orders show abcd-efgh-1234`.
    Of one that came over from a Django shop it may be its number there: `shop orders show 42`.
    """


@orders.command("list")
@click.option("--status", type=click.Choice([status.value for status in OrderStatus]))
@click.option("--user", type=click.IntRange(1, _ID_MAX), help="Only this user's, by id.")
@limit_option
@json_option
@run_async
async def list_orders(status: str | None, user: int | None, limit: int, as_json: bool) -> None:
    """List orders, the newest first."""
    query = OrderQuery(status=OrderStatus(status) if status else None, user_id=user)
    async with opened() as container:
        page = await container.list_orders()(
            caller=OPERATOR, query=query, window=Window(limit=limit)
        )
    show_table(_ORDERS, map(_row_of, page.items), as_json=as_json)
    show_count(len(page.items), page.count, "order")


@orders.command("export")
@export_options
@run_async
async def export_orders(file: str, writing: Writing) -> None:
    """Write all orders into FILE, or to standard output: CSV, or JSON Lines.

    CSV has a row for each line of an order, JSON Lines an object for each order. What is ordered
    meanwhile may be there or not.
    """
    async with opened() as container:
        page = await container.list_orders()(
            caller=OPERATOR, query=OrderQuery(), window=Window(limit=1)
        )
        await export(
            container.export_orders()(caller=OPERATOR),
            ORDERS,
            file=file,
            writing=writing,
            what="order",
            total=page.count.number,
            count=len,
        )


_ORDERS = ["Id", "Code", "User", "Status", "Lines", "Total", "Currency", "Created"]


def _row_of(order: Order) -> list[object]:
    return [
        order.id,
        order.code,
        order.user_id,
        order.status,
        len(order.lines),
        order.total,
        order.currency,
        order.created_at,
    ]


# A code may have digits alone: who gives twelve means one.
_OLD_NUMBER = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)


class _OrderReference(click.ParamType[UUID | str]):
    """An order's id, its code, or the number that it had in the shop that was moved in."""

    name = "order"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> UUID | str:
        try:
            return UUID(value)
        except ValueError:
            code = code_from(value)
        if code is None and _OLD_NUMBER.fullmatch(value) and int(value) <= MOVED_NUMBER_MAX:
            return moved_order_id(int(value))
        if code is None:
            self.fail(
                f"{value!r} is neither an order's id nor its code of 12 characters, nor the number "
                "that it had in a shop that was moved in."
            )
        return code


_order = click.argument("order", type=_OrderReference())


async def _id_of(order: UUID | str, container: Container) -> UUID:
    """Raises `OrderNotFound`."""
    if isinstance(order, UUID):
        return order
    query, window = OrderQuery(code=order), Window(limit=1)
    page = await container.list_orders()(
        caller=OPERATOR, query=query, window=window, count=Count(0)
    )
    if not page.items:
        raise OrderNotFound(order)
    return page.items[0].id


_LINES = ["Product", "Name", "Price", "Quantity", "Returned", "Total"]


def _lines_of(order: Order) -> list[list[object]]:
    return [
        [line.product_id, line.name, line.price, line.quantity, line.returned, line.total]
        for line in order.lines
    ]


@orders.command()
@_order
@json_option
@run_async
async def show(order: UUID | str, as_json: bool) -> None:
    """Show the order ORDER with its lines."""
    async with opened() as container:
        found = await container.read_order()(
            caller=OPERATOR, order_id=await _id_of(order, container)
        )
    if as_json:
        show_json(order_object(found))
        return
    click.echo(f"Order {found.id}, code {found.code}, of user {found.user_id}: {found.status}")
    click.echo(f"Placed {found.created_at:%Y-%m-%d %H:%M:%S} UTC")
    show_table(_LINES, _lines_of(found))
    click.echo(f"Total {found.total} {found.currency}")
    if found.kept_total != found.total:
        click.echo(f"Without what came back {found.kept_total} {found.currency}")
    if found.payment_reference:
        click.echo(f"Paid by {found.payment_reference}")


@orders.command()
@_order
@limit_option
@json_option
@run_async
async def history(order: UUID | str, limit: int, as_json: bool) -> None:
    """Show what happened to the order ORDER, the oldest change first."""
    async with opened() as container:
        page = await container.read_history()(
            caller=OPERATOR, order_id=await _id_of(order, container), window=Window(limit=limit)
        )
    show_table(
        ["At", "From", "To", "User", "Returned", "Note"],
        (
            [
                entry.at,
                entry.from_status,
                entry.to_status,
                entry.actor_id,
                ", ".join(
                    f"{item.quantity} of product {item.product_id}" for item in entry.returned
                ),
                entry.note,
            ]
            for entry in page.items
        ),
        as_json=as_json,
    )
    show_count(len(page.items), page.count, "change")


def _in_words(items: Sequence[OrderItem]) -> str:
    return ", ".join(f"{item.quantity} of product {item.product_id}" for item in items)


_note = click.option("--note", default="", help="For the history and the ledger.")
_no_restock = click.option(
    "--no-restock", is_flag=True, help="Write off what comes back, instead of restocking it."
)


@orders.command()
@_order
@_note
@_no_restock
@run_async
async def cancel(order: UUID | str, note: str, no_restock: bool) -> None:
    """Cancel the order ORDER, which is not shipped yet."""
    async with opened() as container:
        order_id = await _id_of(order, container)
        before = await container.read_order()(caller=OPERATOR, order_id=order_id)
        cancelled = await container.cancel_order()(
            caller=OPERATOR, order_id=order_id, restock=not no_restock, note=note
        )
        _say(cancelled)
        if before.status is not cancelled.status:
            await _say_what_came_back(before.out, container, restock=not no_restock)


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
@json_option
@run_async
async def cancel_unpaid(older_than: timedelta, dry_run: bool, as_json: bool) -> None:
    """Cancel the orders that nobody has paid, so that their stock can be sold.

    Each is cancelled by itself, and listed then; when the command is stopped, the rest is left for
    the next time.
    """
    count = 0
    async with opened() as container:
        created_before = container.clock()() - older_than
        page = await container.list_orders()(
            caller=OPERATOR, query=unpaid(created_before), window=Window(limit=1)
        )
        cancelling = container.cancel_unpaid()(
            caller=OPERATOR, created_before=created_before, dry_run=dry_run
        )
        with (
            interruptible(lambda _: _how_to_go_on(count, dry_run=dry_run)),
            listing(_ORDERS, as_json=as_json) as show_order,
            bar() as progress,
        ):
            task = progress.add_task("Unpaid orders", total=page.count.number)
            async for order in cancelling:
                show_order(_row_of(order))
                count += 1
                progress.advance(task)
    done = "Would cancel" if dry_run else "Cancelled"
    click.echo(f"{done} {counted(count, 'unpaid order')}.", err=True)


def _how_to_go_on(cancelled: int, *, dry_run: bool) -> str:
    if dry_run:
        return "no order was cancelled, as this was a dry run."
    return (
        f"{counted(cancelled, 'unpaid order was', 'unpaid orders were')} cancelled, and perhaps "
        f"one more. {AGAIN} for the rest."
    )


@orders.command()
@_order
@_note
@click.option("--reference", help="What the payment is called where it was made; unique.")
@run_async
async def pay(order: UUID | str, note: str, reference: str | None) -> None:
    """Record that the order ORDER is paid."""
    async with opened() as container:
        paid = await container.pay_order()(
            caller=OPERATOR,
            order_id=await _id_of(order, container),
            reference=reference,
            note=note,
        )
    _say(paid)


@orders.command()
@_order
@_note
@run_async
async def ship(order: UUID | str, note: str) -> None:
    """Record that the order ORDER is shipped."""
    await _advance(order, OrderStatus.SHIPPED, note)


@orders.command()
@_order
@_note
@run_async
async def deliver(order: UUID | str, note: str) -> None:
    """Record that the order ORDER is delivered."""
    await _advance(order, OrderStatus.DELIVERED, note)


async def _advance(order: UUID | str, to: OrderStatus, note: str) -> None:
    async with opened() as container:
        advanced = await container.advance_order()(
            caller=OPERATOR, order_id=await _id_of(order, container), to=to, note=note
        )
    _say(advanced)


@orders.command("return")
@_order
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
    order: UUID | str, items: tuple[tuple[int, int], ...], note: str, no_restock: bool
) -> None:
    """Take the shipped order ORDER back, whole or in part."""
    wanted = [OrderItem(product_id=product_id, quantity=many) for product_id, many in items]
    async with opened() as container:
        order_id = await _id_of(order, container)
        before = await container.read_order()(caller=OPERATOR, order_id=order_id)
        returned = await container.return_order()(
            caller=OPERATOR,
            order_id=order_id,
            items=wanted or None,
            restock=not no_restock,
            note=note,
        )
        _say(returned)
        came = {one: many - returned.out.get(one, 0) for one, many in before.out.items()}
        await _say_what_came_back(came, container, restock=not no_restock)


def _say(order: Order) -> None:
    click.echo(f"Order {order.code} ({order.total} {order.currency}) is {order.status}.")


async def _say_what_came_back(
    quantities: Mapping[int, int], container: Container, *, restock: bool
) -> None:
    for product_id, quantity in quantities.items():
        if quantity:
            product = await container.read_product()(caller=OPERATOR, product_id=product_id)
            what = "back" if restock else "written off"
            click.echo(f"{product.sku}: {quantity} {what}, {product.stock} on the shelf")

"""`shop stock`: what is there, why, and whether the ledger agrees."""

from contextlib import suppress
from dataclasses import dataclass, field

import rich_click as click

from shop.domain.errors import OutcomeUnknown, Unavailable
from shop.domain.orders import OrderQuery
from shop.domain.pages import Window
from shop.domain.products import ProductQuery
from shop.domain.services.verify_stock import ProductsChecked
from shop.domain.stock import OrderAudit, StockAudit
from shop.domain.text import counted
from shop.domain.users import OPERATOR
from shop.entrypoints.cli.exporting import export, export_options
from shop.entrypoints.cli.progress import bar
from shop.entrypoints.cli.running import AGAIN, interruptible, opened, run_async
from shop.entrypoints.cli.tables import json_option, limit_option, show_count, show_table
from shop.entrypoints.container import Container
from shop.entrypoints.files.exports import LEDGER, Writing

# A table of more says no more.
DIFFERENCES_SHOWN_MAX = 100


@click.group()
def stock() -> None:
    """Look after the stock and its ledger."""


@dataclass(slots=True)
class Differences:
    products: list[StockAudit] = field(default_factory=list)
    orders: list[OrderAudit] = field(default_factory=list)
    products_checked: int = 0

    @property
    def count(self) -> int:
        return len(self.products) + len(self.orders)


@stock.command()
@click.option("--repair", is_flag=True, help="Write corrections into the ledger, after asking.")
@click.option("--yes", is_flag=True, help="With --repair: do not ask.")
@run_async
async def verify(repair: bool, yes: bool) -> None:
    """Prove that the ledger is right; no sale is blocked.

    Each product's stock must be the sum of its movements and its last balance, and each order's
    movements what its status and lines say is taken. Exits with 1 and tables of what differs.
    """
    async with opened() as container:
        found = await find_differences(container)
        if not found.count:
            click.echo(
                f"{counted(found.products_checked, 'product')}: stock, sum of movements and last "
                "balance agree, and so do the movements of all orders."
            )
            return
        _show(found)
        differences = counted(found.count, "difference")
        if not repair:
            raise click.ClickException(f"{differences}; --repair writes corrections.")
        if not yes:
            click.confirm(f"Write corrections for {differences}?", abort=True)
        repair_stock = container.repair_stock()
        written = 0
        with interruptible(lambda _: _how_to_go_on(written, found.count)):
            differing: list[OrderAudit | StockAudit] = [*found.orders, *found.products]
            for difference in differing:
                await repair_stock(caller=OPERATOR, difference=difference)
                written += 1
        left = (await find_differences(container)).count
    if left:
        raise click.ClickException(f"{counted(left, 'difference is', 'differences are')} left.")
    click.echo(f"Wrote corrections for {differences}; the ledger agrees now.")


def _how_to_go_on(written: int, count: int) -> str:
    return (
        f"corrections for {written:,} of {counted(count, 'difference')} are written, and perhaps "
        f"one more. {AGAIN} for the rest."
    )


async def find_differences(container: Container) -> Differences:
    found = Differences()
    one = Window(limit=1)
    products = await container.list_products()(caller=OPERATOR, query=ProductQuery(), window=one)
    orders = await container.list_orders()(caller=OPERATOR, query=OrderQuery(), window=one)
    with bar() as progress:
        of_products = progress.add_task("Verifying products", total=products.count.number)
        of_orders = progress.add_task("Verifying orders", total=orders.count.number)
        async for step in container.verify_stock()(caller=OPERATOR):
            if isinstance(step, ProductsChecked):
                found.products += step.differences
                found.products_checked += step.count
                progress.advance(of_products, step.count)
            else:
                found.orders += step.differences
                progress.advance(of_orders, step.count)
    with suppress(Unavailable, OutcomeUnknown):
        # For the metrics; a store that takes no changes can be verified as well.
        await container.record_differences()(caller=OPERATOR, differences=found.count)
    return found


def _show(found: Differences) -> None:
    if found.products:
        show_table(
            ["Product", "SKU", "Stock", "Sum of movements", "Last balance"],
            (
                [one.product_id, one.sku, one.on_hand, one.movements_sum, one.last_balance]
                for one in found.products[:DIFFERENCES_SHOWN_MAX]
            ),
        )
    if found.orders:
        show_table(
            ["Order", "Product", "Taken by the order", "Taken by its movements"],
            (
                [one.order_id, one.product_id, one.taken, one.moved]
                for one in found.orders[:DIFFERENCES_SHOWN_MAX]
            ),
        )


@stock.command("export")
@export_options
@run_async
async def export_ledger(file: str, writing: Writing) -> None:
    """Write the whole ledger into FILE, or to standard output: CSV, or JSON Lines.

    The oldest movement comes first. What moves meanwhile may be there or not.
    """
    async with opened() as container:
        await export(
            container.export_ledger()(caller=OPERATOR),
            LEDGER,
            file=file,
            writing=writing,
            what="movement",
            total=None,
            count=lambda step: len(step.movements),
        )


@stock.command()
@click.argument("sku")
@limit_option
@json_option
@run_async
async def history(sku: str, limit: int, as_json: bool) -> None:
    """Show the ledger of the product SKU, the newest movement first."""
    async with opened() as container:
        product = await container.find_product()(caller=OPERATOR, sku=sku)
        page = await container.read_movements()(
            caller=OPERATOR, product_id=product.id, window=Window(limit=limit)
        )
    show_table(
        ["At", "Quantity", "Balance", "Reason", "Order", "User", "Note"],
        (
            [
                movement.at,
                movement.quantity,
                movement.balance,
                movement.reason,
                movement.order_id,
                movement.actor_id,
                movement.note,
            ]
            for movement in page.items
        ),
        as_json=as_json,
    )
    of = f" of {product.sku}, {product.stock} on hand"
    show_count(len(page.items), page.count, "movement", of)


@stock.command()
@click.argument("sku")
@click.option("--delta", type=int, help="Change by this many, such as 5 or -2.")
@click.option("--set", "quantity", type=click.IntRange(0), help="Change to this many.")
@click.option("--expected", type=click.IntRange(0), help="With --set: only if this many are there.")
@click.option("--reason", required=True, help="restock, correction, or words for the note.")
@run_async
async def adjust(
    sku: str, delta: int | None, quantity: int | None, expected: int | None, reason: str
) -> None:
    """Change the stock of the product SKU, by --delta or to --set with --expected."""
    if (delta is None) == (quantity is None) or (quantity is None) != (expected is None):
        raise click.UsageError("Give either --delta, or --set together with --expected.")
    async with opened() as container:
        product = await container.find_product()(caller=OPERATOR, sku=sku)
        changed = await container.change_stock()(
            caller=OPERATOR,
            product_id=product.id,
            reason=reason,
            delta=delta,
            quantity=quantity,
            expected=expected,
        )
    by = delta if delta is not None else changed.stock - (expected or 0)
    what = f"{by} added" if by > 0 else f"{-by} taken" if by else "nothing changed"
    click.echo(f"{changed.sku}: {what}, {changed.stock} on the shelf")

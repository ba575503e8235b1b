"""`shop stock`: what is there, and whether the ledger agrees."""

import rich_click as click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from shop.domain.pages import Part
from shop.domain.products import ProductQuery
from shop.domain.stock import StockAudit
from shop.entrypoints.cli.running import opened, run_async

# A table of more says no more.
DIFFERENCES_SHOWN_MAX = 100


@click.group()
def stock() -> None:
    """Look after the stock."""


@stock.command()
@run_async
async def verify() -> None:
    """Prove that every product's stock is the sum of its movements; no sale is blocked.

    Exits with 1 and a table when something differs.
    """
    unsound: list[StockAudit] = []
    checked = 0
    async with opened() as container:
        page = await container.list_products()(query=ProductQuery(), part=Part(limit=1))
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("Verifying stock", total=page.count)
            async for audits in container.verify_stock()():
                checked += len(audits)
                unsound += [audit for audit in audits if not audit.is_sound]
                progress.update(task, completed=checked)
    if unsound:
        Console().print(_differences(unsound[:DIFFERENCES_SHOWN_MAX]))
        raise click.ClickException(f"{len(unsound)} of {checked} products differ.")
    click.echo(f"{checked} products: stock, sum of movements and last balance agree.")


def _differences(audits: list[StockAudit]) -> Table:
    table = Table("Product", "SKU", "Stock", "Sum of movements", "Last balance")
    for audit in audits:
        table.add_row(
            str(audit.product_id),
            audit.sku,
            str(audit.on_hand),
            str(audit.movements_sum),
            str(audit.last_balance),
        )
    return table

"""`shop add-products`: sample products."""

import rich_click as click
from rich.progress import track

from shop.entrypoints.cli.running import opened, run_async
from shop.entrypoints.samples import sample_products

PER_STEP = 1_000


@click.command("add-products")
@click.option(
    "--count",
    default=50,
    show_default=True,
    type=click.IntRange(1, 10_000_000),
    help="How many to make.",
)
@click.option(
    "--seed",
    default=1,
    show_default=True,
    type=click.IntRange(0, 999_999),
    help="The same seed makes the same products.",
)
@run_async
async def add_products(count: int, seed: int) -> None:
    """Add sample products with realistic names, prices and stock.

    Products that are there already are left as they are, so repeating a command adds nothing;
    another --seed makes others.
    """
    added = 0
    async with opened() as container:
        now = container.clock()()
        currency = container.settings().currency
        steps = range(0, count, PER_STEP)
        for start in track(steps, "Adding products", disable=len(steps) < 3):
            numbers = range(start, min(start + PER_STEP, count))
            batch = sample_products(seed=seed, numbers=numbers, currency=currency, at=now)
            added += len(await container.add_products()(products=batch))
    kept = count - added
    click.echo(f"Added {added} products" + (f"; {kept} were there already." if kept else "."))

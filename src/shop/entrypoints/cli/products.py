"""`shop products`, and `shop add-products` for samples."""

import rich_click as click

from shop.domain.money import Money
from shop.domain.pages import Window
from shop.domain.products import NO_MAX, Product, ProductQuery, ProductSort
from shop.domain.text import counted
from shop.domain.users import OPERATOR
from shop.entrypoints.cli.product_files import export_products, import_products
from shop.entrypoints.cli.progress import progress_of
from shop.entrypoints.cli.running import AGAIN, interruptible, opened, run_async
from shop.entrypoints.cli.tables import json_option, limit_option, show_count, show_table
from shop.entrypoints.samples import add_samples


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
    async with opened(in_bulk=True) as container:
        there = 0
        with (
            interruptible(lambda _: _how_to_go_on(there)),
            progress_of("products", count) as show,
        ):

            def advance(number: int) -> None:
                nonlocal there
                there += number
                show(number)

            added = await add_samples(container, count=count, seed=seed, advance=advance)
    kept = count - added
    click.echo(
        f"Added {counted(added, 'product')}"
        + (f"; {counted(kept, 'was', 'were')} there already." if kept else ".")
    )


def _how_to_go_on(there: int) -> str:
    return (
        f"{counted(there, 'product is', 'products are')} there, and perhaps some more. {AGAIN}: "
        "what is there is left as it is."
    )


@click.group()
def products() -> None:
    """Keep the catalogue."""


products.add_command(import_products)
products.add_command(export_products)


@products.command("list")
@click.option("--search", default="", help="Words, all found in name, SKU or description.")
@click.option("--archived", is_flag=True, help="Those that are archived, in place of the others.")
@limit_option
@json_option
@run_async
async def list_products(search: str, archived: bool, limit: int, as_json: bool) -> None:
    """List products by name."""
    query = ProductQuery(search=search, archived=archived, sort=ProductSort.NAME)
    async with opened() as container:
        page = await container.list_products()(
            caller=OPERATOR, query=query, window=Window(limit=limit)
        )
    show_table(
        ["Id", "SKU", "Name", "Price", "Currency", "Stock"],
        (
            [
                product.id,
                product.sku,
                product.name,
                product.price,
                product.price.currency,
                product.stock,
            ]
            for product in page.items
        ),
        as_json=as_json,
    )
    show_count(len(page.items), page.count, "product")


@products.command()
@click.argument("sku")
@click.option("--name", required=True)
@click.option("--price", required=True, help='In the shop\'s currency, such as "12.00".')
@click.option("--description", default="")
@click.option("--stock", default=0, show_default=True, type=click.IntRange(0))
@click.option("--max-per-order", type=click.IntRange(1), help="How many one order may have.")
@run_async
async def create(
    sku: str, name: str, price: str, description: str, stock: int, max_per_order: int | None
) -> None:
    """Create the product SKU."""
    async with opened() as container:
        product = await container.create_product()(
            caller=OPERATOR,
            sku=sku,
            name=name,
            price=Money.parse(price, container.settings().currency),
            description=description,
            stock=stock,
            max_per_order=max_per_order,
        )
    click.echo(f"Created product {product.id}. {_in_words(product)}")


@products.command()
@click.argument("sku")
@click.option("--name")
@click.option("--price", help='In the shop\'s currency, such as "12.00".')
@click.option("--description")
@click.option(
    "--max-per-order",
    type=click.IntRange(NO_MAX),
    help=f"How many one order may have; {NO_MAX} takes the limit away.",
)
@run_async
async def change(
    sku: str,
    name: str | None,
    price: str | None,
    description: str | None,
    max_per_order: int | None,
) -> None:
    """Change the product SKU; orders placed before keep what they have."""
    if name is None and price is None and description is None and max_per_order is None:
        raise click.UsageError(
            "Give at least one of --name, --price, --description and --max-per-order."
        )
    async with opened() as container:
        product = await container.find_product()(caller=OPERATOR, sku=sku)
        currency = container.settings().currency
        changed = await container.change_product()(
            caller=OPERATOR,
            product_id=product.id,
            name=name,
            price=None if price is None else Money.parse(price, currency),
            description=description,
            max_per_order=max_per_order,
        )
    what = "Changed" if changed.version != product.version else "There was nothing to change"
    click.echo(f"{what}. {_in_words(changed)}")


def _in_words(product: Product) -> str:
    price = f"{product.price} {product.price.currency}"
    return f"{product.sku}: {product.name!r} for {price}, {product.stock} on the shelf"


@products.command()
@click.argument("sku")
@run_async
async def archive(sku: str) -> None:
    """Archive the product SKU: not listed or sold any more; old orders keep it."""
    async with opened() as container:
        product = await container.find_product()(caller=OPERATOR, sku=sku)
        await container.archive_product()(caller=OPERATOR, product_id=product.id)
    click.echo(f"Archived {product.sku}, {product.stock} on the shelf")


@products.command()
@click.argument("sku")
@run_async
async def restore(sku: str) -> None:
    """Bring the archived product SKU back, as it was."""
    async with opened() as container:
        product = await container.find_product()(caller=OPERATOR, sku=sku)
        await container.restore_product()(caller=OPERATOR, product_id=product.id)
    click.echo(f"Restored {product.sku}, {product.stock} on the shelf")

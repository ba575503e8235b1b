"""The `shop` command itself."""

import rich_click as click

import shop as package
from shop.entrypoints.cli import database, demo, orders, products, serve, stock, users
from shop.entrypoints.cli.running import ShopGroup


@click.group(
    cls=ShopGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=(
        "Settings are environment variables that begin with SHOP_, such as SHOP_DATABASE_URL; "
        ".env.example lists them all. Exit codes: 0 done, 1 refused, 2 wrong usage."
    ),
)
@click.version_option(package.__version__, prog_name="shop")
def main() -> None:
    """Run and look after a shop that never sells what is not there.

    A first session: `shop demo` makes users and products, `shop serve` answers on
    http://127.0.0.1:8000, and its page /docs/ shows what can be asked.
    """


for command in (
    serve.serve,
    demo.demo,
    database.migrate,
    database.makemigrations,
    users.create_user,
    users.set_password,
    users.disable_user,
    users.enable_user,
    users.list_users,
    users.purge_sessions,
    products.add_products,
    products.products,
    stock.stock,
    orders.orders,
):
    main.add_command(command)

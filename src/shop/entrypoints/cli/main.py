"""The `shop` command itself."""

import sys
from io import TextIOWrapper

import rich_click as click

import shop as package
from shop.entrypoints.cli import (
    database,
    demo,
    django,
    doctor,
    orders,
    products,
    serve,
    stock,
    transfer,
    users,
)
from shop.entrypoints.cli.running import ShopGroup
from shop.entrypoints.logs import log_uncaught, set_up_logging
from shop.entrypoints.settings import Settings, SettingsError, load_settings

_EPILOG = """
Settings are environment variables that begin with SHOP_, such as SHOP_DATABASE_URL, and lines of
the file .env in this folder; .env.example lists them all. Without any, the database is
var/shop.sqlite3 in this folder.

What is listed comes as a table on a terminal, with tabs into a pipe or a file, and as JSON with
--json. Exit codes: 0 done, 1 refused, 2 wrong usage; 141 when who reads the
output hangs up, as `head` does.
"""


@click.group(
    cls=ShopGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.version_option(package.__version__, prog_name="shop")
def main() -> None:
    """Run and look after a shop that never sells what is not there.

    A first session: `shop demo` makes users and products, `shop serve` answers on
    http://127.0.0.1:8000, and its page /docs/ shows what can be asked. Then
    `shop create-user ann --staff`, `shop products list` and `shop orders show CODE`.
    """
    for stream in (sys.stdout, sys.stderr):
        # What the terminal's encoding cannot show is no reason to fail.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run() -> None:
    """The command with its log lines, which a test of `main` does without."""
    try:
        settings = load_settings()
    except SettingsError:
        # The command says it.
        settings = Settings()
    # What commands do they say by themselves; where people try things out that is enough.
    in_production = settings.environment == "production"
    set_up_logging(
        level=settings.log_level if in_production else "warning",
        log_format=settings.form_of_log,
        audit=in_production,
    )
    log_uncaught()
    main()


_PANELS: dict[str, list[click.Command]] = {
    "Serve": [serve.serve, demo.demo, database.migrate, doctor.doctor],
    "Users": [
        users.create_user,
        users.set_password,
        users.set_role,
        users.disable_user,
        users.enable_user,
        users.list_users,
    ],
    "Goods and orders": [products.products, stock.stock, orders.orders],
    "In and out": [transfer.export_all, transfer.import_all, django.import_django],
    "Seldom needed": [products.add_products, users.purge_sessions, database.makemigrations],
}

for title, commands in _PANELS.items():
    main.add_panel(click.RichCommandPanel(title, commands=[str(one.name) for one in commands]))
    for command in commands:
        main.add_command(command)

"""`shop demo`: users and products to try the shop with."""

import rich_click as click

from shop.domain.text import counted
from shop.entrypoints.cli.running import HOST, address_of, opened, port_option, run_async
from shop.entrypoints.demo import DEMO_USERS, PRODUCTS, demo_users_left, make_demo
from shop.entrypoints.settings import SettingsError, load_settings


@click.command()
@port_option("The one that `shop serve` will be told, to say where the docs are.")
@run_async
async def demo(port: int) -> None:
    """Make demo users and products, once, and say how to sign in.

    Their passwords are public: it refuses when SHOP_ENVIRONMENT is production.
    """
    if load_settings().environment == "production":
        raise SettingsError("SHOP_ENVIRONMENT is production; demo users have public passwords.")
    async with opened(creates=True) as container:
        added = await make_demo(container)
        left = {user.username: user for user in await demo_users_left(container)}
    click.echo(
        f"Added {counted(added, 'demo product')}"
        + ("." if added else f"; all {PRODUCTS} are there.")
    )
    for user in DEMO_USERS:
        if user.username in left:
            role = left[user.username].role
            click.echo(f"Sign in as {user.username} ({role}), password {user.password}")
        else:
            click.echo(f"{user.username} is disabled or has another password, and stays so.")
    address = address_of(HOST, port)
    told = "" if port == 8000 else f" --port {port}"
    click.echo(f"`shop serve{told}` answers on {address}, with docs to try it at {address}/docs/")

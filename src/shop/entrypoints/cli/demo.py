"""`shop demo`: users and products to try the shop with."""

import rich_click as click

from shop.entrypoints.cli.running import opened, run_async
from shop.entrypoints.demo import DEMO_USERS, make_demo
from shop.entrypoints.settings import SettingsError


@click.command()
@run_async
async def demo() -> None:
    """Make demo users and products, once, and say how to sign in.

    Their passwords are public: it refuses when SHOP_ENVIRONMENT is production.
    """
    async with opened() as container:
        if container.settings().environment == "production":
            raise SettingsError("SHOP_ENVIRONMENT is production; demo users have public passwords.")
        await make_demo(container)
    for user in DEMO_USERS:
        click.echo(f"Sign in as {user.username} ({user.role.value}), password {user.password}")
    click.echo("Docs and a page to try the API: http://127.0.0.1:8000/docs/")

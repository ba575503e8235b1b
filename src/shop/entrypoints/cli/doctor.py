"""`shop doctor`: what endangers the shop's promises here, and what to do about it."""

from collections import Counter

import rich_click as click

from shop.adapters.findings import State
from shop.entrypoints.cli.running import run_async
from shop.entrypoints.cli.tables import json_option, show_table
from shop.entrypoints.doctor import Shop, examine, without_settings
from shop.entrypoints.settings import SettingsError, load_settings


@click.command()
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Worker processes of all servers over the database, to count their connections.",
)
@json_option
@run_async
async def doctor(workers: int, as_json: bool) -> None:
    """Look at settings, host and database, and change nothing.

    Each check is ok, a note, a danger to what the shop promises, or unknown where it could not be
    done. Exits with 1 if there is a danger.
    """
    try:
        shop = Shop(settings=load_settings(), workers=workers)
    except SettingsError as error:
        findings = without_settings(error)
    else:
        findings = [finding async for finding in examine(shop)]
    show_table(
        ["Check", "State", "Found", "What to do"],
        ([name, one.state, one.found, one.what_to_do] for name, one in findings),
        as_json=as_json,
    )
    counted = Counter(one.state for _, one in findings)
    click.echo(", ".join(f"{counted[state]} {state}" for state in State), err=True)
    if counted[State.DANGER]:
        raise click.ClickException("Something endangers what the shop promises.")

"""`shop create-user` and its like, and `shop purge-sessions`."""

import getpass
import sys
import warnings

import rich_click as click

from shop.domain.text import counted
from shop.domain.users import OPERATOR, Role
from shop.entrypoints.cli.running import AGAIN, interruptible, opened, run_async
from shop.entrypoints.cli.tables import json_option, show_table
from shop.entrypoints.settings import variable

_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, not a prompt."
)


def _read_password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    with warnings.catch_warnings():
        # Without a terminal it would read, and show, whatever comes.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        except getpass.GetPassWarning:
            raise click.UsageError(
                "There is no terminal to ask for the password; give it on standard input, with "
                "--password-stdin."
            ) from None
    return password


@click.command("create-user")
@click.argument("name")
@click.option("--staff", is_flag=True, help="May keep the catalogue and move orders.")
@_password_stdin
@run_async
async def create_user(name: str, staff: bool, password_stdin: bool) -> None:
    """Create a user called NAME."""
    async with opened() as container:
        user = await container.create_user()(
            caller=OPERATOR,
            username=name,
            password=_read_password(from_stdin=password_stdin),
            role=Role.STAFF if staff else Role.CUSTOMER,
        )
    click.echo(f"Created {user.role.value} {user.username} with id {user.id}.")


@click.command("set-password")
@click.argument("name")
@_password_stdin
@run_async
async def set_password(name: str, password_stdin: bool) -> None:
    """Change the password of the user NAME and sign them out everywhere.

    An access token that they have is good until it expires; one of a disabled
    user only reads.
    """
    async with opened() as container:
        await container.set_password()(
            caller=OPERATOR,
            username=name,
            password=_read_password(from_stdin=password_stdin),
        )
    click.echo(f"Changed the password of {name}.")


@click.command("disable-user")
@click.argument("name")
@run_async
async def disable_user(name: str) -> None:
    """Disable the user NAME and sign them out everywhere.

    An access token that they have changes nothing any more, but reads until it expires.
    """
    async with opened() as container:
        user = await container.disable_user()(caller=OPERATOR, username=name)
    click.echo(
        f"Disabled {user.username}, and signed them out. An access token that they have changes "
        f"nothing any more, but reads until it expires ({variable('access_token_lifetime')})."
    )


@click.command("enable-user")
@click.argument("name")
@run_async
async def enable_user(name: str) -> None:
    """Let the disabled user NAME sign in again."""
    async with opened() as container:
        user = await container.enable_user()(caller=OPERATOR, username=name)
    click.echo(f"Enabled {user.username}.")


@click.command("set-role")
@click.argument("name")
@click.argument("role", type=click.Choice([role.value for role in Role]))
@run_async
async def set_role(name: str, role: str) -> None:
    """Make the user NAME staff or customer, and sign them out everywhere.

    Who is staff no more changes nothing as staff from now on.
    """
    async with opened() as container:
        user = await container.set_role()(caller=OPERATOR, username=name, role=Role(role))
    click.echo(f"{user.username} is {user.role.value} now; new access tokens say so.")


@click.command("list-users")
@json_option
@run_async
async def list_users(as_json: bool) -> None:
    """List all users."""
    async with opened() as container:
        users = [user async for step in container.list_users()(caller=OPERATOR) for user in step]
    show_table(
        ["Id", "Name", "Role", "State", "Created"],
        (
            [
                user.id,
                user.username,
                user.role,
                "disabled" if user.disabled else "active",
                user.created_at,
            ]
            for user in users
        ),
        as_json=as_json,
    )


@click.command("purge-sessions")
@run_async
async def purge_sessions() -> None:
    """Forget all sessions that expired; a shop that serves does so every 10 minutes."""
    async with opened() as container:
        with interruptible(lambda _: f"a part is forgotten. {AGAIN} for the rest."):
            purged = await container.purge_sessions()(caller=OPERATOR)
    click.echo(f"Purged {counted(purged, 'session')}.")

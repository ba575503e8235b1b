"""How commands run: on an opened store, with refusals as one sentence and exit code 1."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

import msgspec
import rich_click as click

from shop.domain.errors import ShopError, StoreTooNew, StoreUnavailable, StoreUnfit
from shop.domain.ports import SchemaState
from shop.entrypoints.container import Container, build_container
from shop.entrypoints.settings import Settings, SettingsError, load_settings

P = ParamSpec("P")
R = TypeVar("R")


class ShopGroup(click.RichGroup):
    """Turns expected failures into a message and exit code 1; wrong usage stays 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StoreUnfit as error:
            raise click.ClickException(str(error)) from error
        except StoreUnavailable as error:
            reason = f" ({error.__cause__})" if error.__cause__ else ""
            raise click.ClickException(f"{error} Check SHOP_DATABASE_URL{reason}.") from error
        except (SettingsError, ShopError) as error:
            raise click.ClickException(str(error)) from error


def run_async(command: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Run an async command; click by itself would never await it."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return asyncio.run(command(*args, **kwargs))

    return run


@asynccontextmanager
async def connected(settings: Settings | None = None) -> AsyncIterator[Container]:
    """The container, over whatever schema the store has.

    Refuses the in-memory store, which no command can reach.
    """
    settings = settings or load_settings()
    if settings.store == "memory":
        raise SettingsError(
            "SHOP_DATABASE_URL is memory://, which lives only inside `shop serve`; "
            "set it to a SQLite file or a PostgreSQL server."
        )
    # Nobody else waits for an operator's reads: they may take as long as any statement.
    settings = msgspec.structs.replace(
        settings, database_read_statement_timeout=settings.database_statement_timeout
    )
    container = build_container(settings)
    try:
        yield container
    finally:
        await container.engines().dispose()


@asynccontextmanager
async def opened() -> AsyncIterator[Container]:
    """The container over a store whose schema fits."""
    async with connected() as container:
        await require_schema(container)
        yield container


async def require_schema(container: Container) -> None:
    """The embedded database is migrated on the spot; any other must have been."""
    schema = container.schema()
    await schema.check_encoding()
    state = await schema.state()
    if state is SchemaState.TOO_NEW:
        raise StoreTooNew
    if state.is_fit:
        return
    if not container.settings().is_embedded:
        raise SettingsError(
            "The database of SHOP_DATABASE_URL is not migrated to this version; run `shop migrate`."
        )
    await schema.upgrade()


def note_slow_search(reason: str) -> str:
    return (
        f"Searches have no index: {reason}. They look at a limited number of products, and say so "
        "where that is not enough; see docs/deploy.md."
    )

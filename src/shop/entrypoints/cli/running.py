"""How commands run: on an opened store, with refusals as one sentence and exit code 1."""

import asyncio
import errno
import functools
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, ParamSpec, TypeVar

import msgspec
import rich_click as click
import structlog
from click.exceptions import Exit

from shop.adapters.exports import WrongExport
from shop.adapters.sql.advice import advice
from shop.adapters.sql.files import is_there, probe, require_rights
from shop.adapters.sql.urls import parse_url, place_of, sqlite_file
from shop.domain.errors import ShopError, StoreTooNew, StoreUnavailable, StoreUnfit
from shop.domain.ports import SchemaState
from shop.entrypoints.container import Container, build_container
from shop.entrypoints.files.sources import FileRefused
from shop.entrypoints.settings import Settings, SettingsError, load_settings

logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("shop.cli")

P = ParamSpec("P")
R = TypeVar("R")


HOST = "127.0.0.1"
"""Where `shop serve` listens if it is not told."""


def port_option(text: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    return click.option(
        "--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help=text
    )


def address_of(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


_BULK_SECONDS = 300.0
"""For a statement or a COMMIT of many rows: on a busy machine it is slow, and not lost."""

NOBODY_READS = 128 + 13
"""The exit code when the reader hangs up, as `head` does: that of who dies of SIGPIPE."""

# A file that is full, for now or for good; what else a write may tell is nobody's fault here.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


@contextmanager
def _output() -> Iterator[None]:
    """What is printed may not get to where it should: that is no bug, and no traceback."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _print_no_more()
        raise Exit(NOBODY_READS) from None
    except OSError as error:
        # One that names a file came from elsewhere.
        if error.errno not in FULL or error.filename is not None:
            raise
        _print_no_more()
        raise click.ClickException(
            f"What was to be printed could not be written ({error.strerror})."
        ) from error


def _print_no_more() -> None:
    """What is left to be printed would fail again when Python ends (Python's docs, `signal`)."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class ShopGroup(click.RichGroup):
    """Turns expected failures into a message and exit code 1; wrong usage stays 2."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _output():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _output():
                return super().invoke(ctx)
        except StoreUnfit as error:
            raise click.ClickException(str(error)) from error
        except StoreUnavailable as error:
            reason = f" ({error.__cause__})" if error.__cause__ else ""
            raise click.ClickException(f"{error}{reason}") from error
        except (SettingsError, FileRefused, ShopError, WrongExport) as error:
            raise click.ClickException(str(error)) from error


def run_async(command: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Run an async command; click by itself would never await it."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return asyncio.run(command(*args, **kwargs))

    return run


@contextmanager
def interruptible(
    how_to_go_on: Callable[[BaseException], str | None],
    say: Callable[[str], None] = lambda line: click.echo(line, err=True),
) -> Iterator[None]:
    """Says what is done and how to go on, where the command is interrupted or fails in this.

    It is asked with what ended the command; None says nothing, as of a refusal that says it all.
    """
    try:
        yield
    except (Exception, asyncio.CancelledError) as error:
        if (sentence := how_to_go_on(error)) is not None:
            # Nobody may be there to read it.
            with suppress(OSError):
                say(f"Interrupted: {sentence}")
        raise


AGAIN = "Run the same command again"


@asynccontextmanager
async def connected(
    settings: Settings, *, creates: bool = False, writing: bool = False, in_bulk: bool = False
) -> AsyncIterator[Container]:
    """The container, over whatever schema the store has.

    Refuses the in-memory store, which no command can reach, and for a command that `creates` no
    database a file that is not there: run in another folder it would find an empty shop. Of who is
    `writing` it is known at once that they may not. Who writes `in_bulk` new rows, for which nobody
    waits, has longer for each statement and COMMIT.
    """
    if settings.store == "memory":
        raise SettingsError(
            "SHOP_DATABASE_URL is memory://, which lives only inside `shop serve`; "
            "set it to a SQLite file or a PostgreSQL server."
        )
    url = parse_url(settings.database_url)
    if settings.store == "sqlite" and not creates and not is_there(sqlite_file(url)):
        raise SettingsError(_not_there(settings))
    # Nobody else waits for an operator's reads: they may take as long as any statement.
    seconds = max(settings.database_statement_timeout, _BULK_SECONDS if in_bulk else 0.0)
    settings = msgspec.structs.replace(
        settings,
        database_statement_timeout=seconds,
        database_read_statement_timeout=seconds,
    )
    container = build_container(settings)
    try:
        container.engines()
        if settings.store == "sqlite":
            probe(sqlite_file(url))
            if writing:
                require_rights(sqlite_file(url))
        try:
            yield container
        finally:
            await container.engines().dispose()
    except Exception as error:
        if (sentence := advice(error, url)) is not None:
            raise click.ClickException(sentence) from error
        raise


def _not_there(settings: Settings) -> str:
    path = place_of(parse_url(settings.database_url))
    if settings.is_embedded:
        return (
            f"There is no database {path}. Run this in the folder of the shop, set "
            "SHOP_DATABASE_URL, or make a new database by `shop migrate`, `shop demo` or "
            "`shop serve`."
        )
    return (
        f"There is no database {path}, which SHOP_DATABASE_URL names; `shop migrate` makes a new "
        "one there."
    )


@asynccontextmanager
async def opened(*, creates: bool = False, in_bulk: bool = False) -> AsyncIterator[Container]:
    """The container over a store whose schema fits; one that `creates` makes the embedded one."""
    settings = load_settings()
    embedded = creates and settings.is_embedded
    async with connected(settings, creates=embedded, writing=creates, in_bulk=in_bulk) as container:
        await require_schema(container, migrates=embedded)
        yield container


async def require_schema(container: Container, *, migrates: bool) -> None:
    """A schema that fits, and prices in the currency of the settings."""
    schema = container.schema()
    await schema.check_encoding()
    state = await schema.state()
    if state is SchemaState.TOO_NEW:
        raise StoreTooNew
    if not state.is_fit:
        place = place_of(parse_url(container.settings().database_url))
        if not migrates:
            raise SettingsError(
                f"The schema of {place} is not migrated to this version; run `shop migrate`."
            )
        note(container.settings(), "schema.migrating", f"Migrating {place}")
        await schema.upgrade()
    await schema.claim_currency(container.settings().currency)


def note(settings: Settings, event: str, sentence: str) -> None:
    """Say it beside the output: in words to people, as a line where programs read the log."""
    if settings.form_of_log == "json":
        logger.info(event, detail=sentence)
    else:
        # Nobody may be there to read it.
        with suppress(OSError):
            click.echo(sentence, err=True)


def note_slow_search(reason: str) -> str:
    return (
        f"Searches have no index: {reason}. They look at a limited number of products, and say so "
        "where that is not enough; see docs/deploy.md."
    )

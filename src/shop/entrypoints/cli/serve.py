"""`shop serve`: the web server."""

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import rich_click as click
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings

from shop.entrypoints.cli.running import (
    HOST,
    address_of,
    note,
    note_slow_search,
    opened,
    port_option,
)
from shop.entrypoints.container import Container
from shop.entrypoints.demo import demo_users_left
from shop.entrypoints.exposition import split_address
from shop.entrypoints.failures import reported
from shop.entrypoints.keys import load_keys
from shop.entrypoints.logs import set_up_logging
from shop.entrypoints.metrics_files import MULTIPROCESS_VARIABLE, shared_folder
from shop.entrypoints.settings import Settings, SettingsError, load_settings
from shop.entrypoints.workers import GRANIAN_LOGS, STOP_SECONDS_MAX, Server, loader

HEADERS_BYTES_MAX = 32_768
_FILES_MIN = 4_096
"""A worker holds up to 1,024 connections, beside the database's and its own files."""


@click.command()
@click.option("--host", default=HOST, show_default=True, help="Address to listen on.")
@port_option("Port to listen on.")
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Processes. One for every two cores is best: see docs/performance.md.",
)
def serve(host: str, port: int, workers: int) -> None:
    """Serve the API until stopped.

    SIGTERM or Ctrl-C stops it gracefully: /health/ready says so for SHOP_DRAIN_SECONDS while it
    serves on, then requests under way are answered. A second time it hurries.

    SIGHUP replaces the workers by new ones, one after the other, with the settings of the start.
    """
    settings = load_settings()
    with reported(settings):
        _check_and_serve(settings, host, port, workers)


def _check_and_serve(settings: Settings, host: str, port: int, workers: int) -> None:
    # First: who cannot serve makes no key and no database, and upgrades none.
    _check_port(host, port)
    if settings.metrics_address:
        _check_metrics_address(settings.metrics_address, port)
    # Here, too, a wrong key file is one sentence, not a worker that dies again and again.
    load_keys(settings)
    if settings.store == "memory":
        if workers > 1:
            raise SettingsError("memory:// is one process's own; use --workers 1.")
    else:
        asyncio.run(_check_store())
    _allow_files()
    with _shared_metrics(settings, workers):
        _serve(settings, host, port, workers)


def _serve(settings: Settings, host: str, port: int, workers: int) -> None:
    set_up_logging(level=settings.log_level, log_format=settings.form_of_log, in_background=True)
    address = address_of(host, port)
    note(settings, "server.starting", f"Shop on {address} (docs: {address}/docs/)")
    Server(
        "shop",
        address=host,
        port=port,
        workers=workers,
        interface=Interfaces.ASGI,
        # Not `auto`: that waits for a first byte without the limit below.
        http=HTTPModes.http1,
        websockets=False,
        log_access=False,
        log_dictconfig=GRANIAN_LOGS,
        workers_kill_timeout=STOP_SECONDS_MAX,
        http1_settings=HTTP1Settings(
            max_buffer_size=HEADERS_BYTES_MAX,
            keep_alive=settings.keep_alive,
            # For the next head of a connection that is kept as well as for the first.
            header_read_timeout=int(settings.keep_alive_timeout * 1000),
        ),
    ).run(loader(port, settings), drain_seconds=settings.seconds_to_drain)


@contextmanager
def _shared_metrics(settings: Settings, workers: int) -> Iterator[None]:
    """A folder in which several workers add up their metrics; one worker needs none."""
    os.environ.pop(MULTIPROCESS_VARIABLE, None)
    with ExitStack() as stack:
        if workers > 1:
            try:
                # One more: a worker that is replaced still has its own while the next one starts.
                folder = stack.enter_context(shared_folder(workers + 1))
                os.environ[MULTIPROCESS_VARIABLE] = str(folder)
            except OSError as error:
                note(
                    settings,
                    "metrics.no_room",
                    f"No room for the metrics of all workers ({error.strerror}): "
                    "/metrics shows those of the worker that answers.",
                )
        yield


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _FILES_MIN <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES_MIN, hard))


async def _check_store() -> None:
    """Fail here, with one sentence, rather than in every worker."""
    async with opened(creates=True) as container:
        if slow_search := await container.schema().slow_search():
            note(container.settings(), "search.slow", note_slow_search(slow_search))
        if container.settings().environment == "production":
            await _refuse_demo_users(container)


async def _refuse_demo_users(container: Container) -> None:
    if left := [user.username for user in await demo_users_left(container)]:
        commands = " and ".join(f"`shop disable-user {name}`" for name in left)
        raise SettingsError(
            f"SHOP_ENVIRONMENT is production, but everybody knows the password of {', '.join(left)}"
            f" from `shop demo`. Run {commands}, or `shop set-password` for a password of your own."
        )


def _check_metrics_address(address: str, port: int) -> None:
    """Workers share it, so that another server there would be let in: it must be free."""
    host, own = split_address(address)
    if own == port or not 0 < own < 65_536:
        raise SettingsError(
            "SHOP_METRICS_ADDRESS is wrong: it needs a port of its own, from 1 to 65535."
        )
    try:
        _check_port(host, own)
    except click.ClickException as error:
        raise SettingsError(
            f"SHOP_METRICS_ADDRESS is wrong: {error.message.partition(';')[0]}."
        ) from error


def _check_port(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        # A name with an empty or a long part is refused before anybody is asked for it.
        reason = error.strerror if isinstance(error, OSError) else "no such name"
        raise click.ClickException(
            f"Cannot listen on {host}:{port}: {reason}; choose another --host or --port."
        ) from error

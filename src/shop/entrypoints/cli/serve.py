"""`shop serve`: the web server."""

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import rich_click as click
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings

from shop.entrypoints.cli.running import connected, note_slow_search, require_schema
from shop.entrypoints.container import Container
from shop.entrypoints.demo import demo_users_left
from shop.entrypoints.keys import load_keys
from shop.entrypoints.metrics import MULTIPROCESS_VARIABLE, reserve_files
from shop.entrypoints.settings import SettingsError, load_settings
from shop.entrypoints.workers import STOP_SECONDS_MAX, Server, loader

HEADERS_BYTES_MAX = 32_768
HEADERS_SECONDS_MAX = 10
_FILES_MIN = 4_096
"""A worker holds up to 1,024 connections, beside the database's and its own files."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Port to listen on.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Processes. One for every two cores is best: see docs/performance.md.",
)
def serve(host: str, port: int, workers: int) -> None:
    """Serve the API until stopped.

    SIGTERM or Ctrl-C stops it gracefully: requests under way are answered first.
    """
    settings = load_settings()
    # Here, too, a wrong key file is one sentence, not a worker that dies again and again.
    load_keys(settings)
    if settings.store == "memory":
        if workers > 1:
            raise SettingsError("memory:// is one process's own; use --workers 1.")
    else:
        asyncio.run(_check_store())
    _check_port(host, port)
    _allow_files()
    with _shared_metrics(workers):
        _serve(host, port, workers)


def _serve(host: str, port: int, workers: int) -> None:
    click.echo(f"Shop on http://{host}:{port} (docs: http://{host}:{port}/docs/)", err=True)
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
        workers_kill_timeout=STOP_SECONDS_MAX,
        http1_settings=HTTP1Settings(
            max_buffer_size=HEADERS_BYTES_MAX, header_read_timeout=HEADERS_SECONDS_MAX * 1000
        ),
    ).run(loader(port))


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """A folder in which several workers add up their metrics; one worker needs none."""
    os.environ.pop(MULTIPROCESS_VARIABLE, None)
    with ExitStack() as stack:
        if workers > 1:
            try:
                folder = stack.enter_context(TemporaryDirectory(prefix="shop-metrics-"))
                # One more: a worker that is replaced still has its own while the next one starts.
                reserve_files(Path(folder), workers + 1)
                os.environ[MULTIPROCESS_VARIABLE] = folder
            except OSError as error:
                stack.close()
                click.echo(
                    f"No room for the metrics of all workers ({error.strerror}): "
                    "/metrics shows those of the worker that answers.",
                    err=True,
                )
        yield


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _FILES_MIN <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES_MIN, hard))


async def _check_store() -> None:
    """Fail here, with one sentence, rather than in every worker."""
    async with connected() as container:
        await require_schema(container)
        if slow_search := await container.schema().slow_search():
            click.echo(note_slow_search(slow_search), err=True)
        if container.settings().environment == "production":
            await _refuse_demo_users(container)


async def _refuse_demo_users(container: Container) -> None:
    if left := await demo_users_left(container):
        commands = " and ".join(f"`shop disable-user {name}`" for name in left)
        raise SettingsError(
            f"SHOP_ENVIRONMENT is production, but everybody knows the password of {', '.join(left)}"
            f" from `shop demo`. Run {commands}, or `shop set-password` for a password of your own."
        )


def _check_port(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise click.ClickException(
            f"Cannot listen on {host}:{port}: {error.strerror}; choose another --host or --port."
        ) from error

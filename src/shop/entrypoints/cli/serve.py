"""`shop serve`: the web server."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import rich_click as click
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server import Server

from shop.entrypoints.cli.running import connected, require_schema
from shop.entrypoints.container import Container
from shop.entrypoints.demo import demo_users_left
from shop.entrypoints.keys import load_keys
from shop.entrypoints.metrics import MULTIPROCESS_VARIABLE
from shop.entrypoints.settings import SettingsError, load_settings

HEADERS_BYTES_MAX = 32_768
HEADERS_SECONDS_MAX = 10
STOP_SECONDS_MAX = 15


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
    with _shared_metrics(workers):
        _serve(host, port, workers)


def _serve(host: str, port: int, workers: int) -> None:
    click.echo(f"Shop on http://{host}:{port} (docs: http://{host}:{port}/docs/)", err=True)
    Server(
        "shop.entrypoints.http.app:create_app",
        factory=True,
        address=host,
        port=port,
        workers=workers,
        interface=Interfaces.ASGI,
        # Not `auto`: that waits for a first byte without the limit below.
        http=HTTPModes.http1,
        websockets=False,
        log_access=False,
        respawn_failed_workers=True,
        respawn_interval=1,
        workers_kill_timeout=STOP_SECONDS_MAX,
        http1_settings=HTTP1Settings(
            max_buffer_size=HEADERS_BYTES_MAX, header_read_timeout=HEADERS_SECONDS_MAX * 1000
        ),
    ).serve()


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """A folder in which several workers add up their metrics; one worker needs none."""
    if workers == 1 or MULTIPROCESS_VARIABLE in os.environ:
        yield
        return
    with TemporaryDirectory(prefix="shop-metrics-") as folder:
        os.environ[MULTIPROCESS_VARIABLE] = folder
        yield


async def _check_store() -> None:
    """Fail here, with one sentence, rather than in every worker."""
    async with connected() as container:
        await require_schema(container)
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

"""The web application, built from the container."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.config.cors import CORSConfig
from litestar.types import ASGIApp

from shop.entrypoints.container import Container, trace
from shop.entrypoints.demo import make_demo
from shop.entrypoints.exposition import exposed
from shop.entrypoints.failures import logged_at_the_end
from shop.entrypoints.http import docs
from shop.entrypoints.http.access_log import AccessLog
from shop.entrypoints.http.api.problems import EXCEPTION_HANDLERS
from shop.entrypoints.http.api.router import api_router
from shop.entrypoints.http.dependencies import use
from shop.entrypoints.http.edge import Edge
from shop.entrypoints.http.metrics import metrics_text
from shop.entrypoints.http.openapi import openapi_config
from shop.entrypoints.http.requests import check_request
from shop.entrypoints.logs import log_uncaught_of_loop

# What a page of another origin may read beside the body: without them it could not amend an order,
# nor know when to come again.
EXPOSED_HEADERS = [
    "ETag",
    "Location",
    "Retry-After",
    "X-Request-ID",
    "X-Shop-Seen",
    "Allow",
    "traceresponse",
]


def build_app(container: Container) -> ASGIApp:
    settings = container.settings()
    if settings.traces_endpoint:
        trace(container)
    app = Litestar(
        route_handlers=[
            api_router(container),
            # At a port of their own they are not here as well.
            *([] if settings.metrics_address else [metrics_text]),
            docs.welcome,
            docs.openapi_json,
            docs.docs_page,
            docs.docs_script,
            docs.docs_style,
            docs.docs_asset,
        ],
        # What a handler may ask for by name is what the container has.
        dependencies={name: use(provider) for name, provider in container.providers.items()},
        middleware=[check_request],
        cors_config=CORSConfig(allow_origins=settings.origins, expose_headers=EXPOSED_HEADERS)
        if settings.origins
        else None,
        # An address that no audience has is refused as the API refuses.
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=[partial(_running, container)],
        on_app_init=[_leave_logging_alone],
        openapi_config=openapi_config(),
        request_max_body_size=settings.body_max,
    )
    # For what reads and refuses requests outside of handlers.
    app.state.settings = container.settings
    return Edge(
        app,
        metrics=container.metrics(),
        drain=container.drain(),
        access_log=AccessLog(settings),
        body_seconds_max=settings.request_timeout,
        for_origins=bool(settings.origins),
        traces=container.traces(),
        marks=container.seen_marks() if settings.has_replicas else None,
    )


def _leave_logging_alone(config: AppConfig) -> AppConfig:
    """Litestar 2 would set up the root logger; Litestar 3 does not, and has no such setting."""
    if hasattr(config, "logging_config"):
        config.logging_config = None
    return config


_YOUNG_OBJECTS_MAX = 10_000
"""How many objects there may be before the collector looks for circles: about 2 MB of them, and
what they hold. What failed is in a circle, so with many more it would be held for long."""


@asynccontextmanager
async def _running(container: Container, _app: Litestar) -> AsyncIterator[None]:
    # What was imported stays for good; the collector need not look through it again and again.
    gc.collect()
    gc.freeze()
    # What is under way comes and goes by the thousand, next to none of it in circles: at the usual
    # threshold much of it is looked through, and nothing found.
    gc.set_threshold(_YOUNG_OBJECTS_MAX, *gc.get_threshold()[1:])
    log_uncaught_of_loop()
    in_memory = container.settings().store == "memory"
    # Each of these steps is taken when the server stops, the last first, also if another one fails.
    async with AsyncExitStack() as stopping:
        stopping.push_async_callback(_send_what_is_left, container)
        # Of whatever fails from here on, and in the steps below; then it is sent.
        stopping.enter_context(logged_at_the_end())
        if in_memory:
            await container.schema().claim_currency(container.settings().currency)
            # Nobody can sign in to an empty store that no command reaches.
            await make_demo(container)
        else:
            stopping.push_async_callback(container.engines().dispose)
            stopping.push_async_callback(container.replicas().dispose)
        stopping.push_async_callback(container.intake().close)
        stopping.push_async_callback(container.background().stop)
        container.background().start()
        async with exposed(container.exposition(), container.settings().metrics_address):
            yield


async def _send_what_is_left(container: Container) -> None:
    """Traces and reports, at the same time: it may take a moment, in vain."""
    senders = (container.traces(), container.error_reports())
    await asyncio.gather(*(sender.close() for sender in senders if sender is not None))

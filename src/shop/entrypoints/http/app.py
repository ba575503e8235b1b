"""The web application, built from the container; `create_app` is what the server serves."""

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.types import ASGIApp

from shop.entrypoints.container import Container, build_container
from shop.entrypoints.demo import make_demo
from shop.entrypoints.edge import Edge
from shop.entrypoints.http import docs
from shop.entrypoints.http.access import CheckAccess
from shop.entrypoints.http.answers import JSONAnswer
from shop.entrypoints.http.bodies import StrictJSON
from shop.entrypoints.http.dependencies import use
from shop.entrypoints.http.errors import EXCEPTION_HANDLERS
from shop.entrypoints.http.health import HealthController, metrics_text
from shop.entrypoints.http.orders import OrderController
from shop.entrypoints.http.pagination import provide_page_request
from shop.entrypoints.http.placing import PlaceDirectly
from shop.entrypoints.http.products import ProductController
from shop.entrypoints.http.tokens import TokenController, jwks, revoke_all
from shop.entrypoints.http.users import UserController
from shop.entrypoints.logs import set_up_logging
from shop.entrypoints.settings import load_settings

# What a page of another origin may read beside the body: without them it could not amend an order,
# nor know when to come again.
EXPOSED_HEADERS = ["ETag", "Location", "Retry-After", "X-Request-ID", "Allow"]

# What handlers ask for by name, as the container has it.
_PROVIDED = (
    "settings",
    "clock",
    "schema",
    "metrics",
    "access_tokens",
    "signing_keys",
    "sign_in",
    "refresh_session",
    "sign_out",
    "sign_out_everywhere",
    "list_sessions",
    "register_user",
    "read_user",
    "change_password",
    "list_products",
    "read_product",
    "create_product",
    "change_product",
    "archive_product",
    "change_stock",
    "read_movements",
    "list_orders",
    "read_order",
    "place_order",
    "amend_order",
    "cancel_order",
    "advance_order",
    "pay_order",
    "return_order",
    "read_history",
)

logger = logging.getLogger("shop.http")


def create_app() -> ASGIApp:
    """The application of this process, by the environment's settings."""
    settings = load_settings()
    set_up_logging(level=settings.log_level, log_format=settings.log_format)
    return build_app(build_container(settings))


def build_app(container: Container) -> ASGIApp:
    settings = container.settings()
    app = Litestar(
        route_handlers=[
            TokenController,
            ProductController,
            OrderController,
            UserController,
            jwks,
            revoke_all,
            HealthController,
            metrics_text,
            docs.openapi_json,
            docs.docs_page,
            docs.docs_script,
            docs.docs_asset,
        ],
        dependencies=_dependencies(container),
        middleware=_middleware(container),
        cors_config=CORSConfig(allow_origins=settings.origins, expose_headers=EXPOSED_HEADERS)
        if settings.origins
        else None,
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=[partial(_running, container)],
        openapi_config=docs.openapi_config(),
        dto=StrictJSON,
        return_dto=None,
        response_class=JSONAnswer,
        request_max_body_size=settings.body_max,
        logging_config=None,
    )
    return Edge(
        app,
        metrics=container.metrics(),
        log_access=settings.access_log,
        body_seconds_max=settings.request_timeout,
    )


def _dependencies(container: Container) -> dict[str, Provide]:
    return {
        "page_request": Provide(provide_page_request, sync_to_thread=False),
        **{name: use(getattr(container, name)) for name in _PROVIDED},
    }


def _middleware(container: Container) -> list[DefineMiddleware]:
    settings = container.settings()
    return [
        DefineMiddleware(
            CheckAccess,
            tokens=container.access_tokens(),
            check_user=container.check_user() if settings.check_users else None,
        ),
        DefineMiddleware(
            PlaceDirectly, place_order=container.place_order, body_max=settings.body_max
        ),
    ]


@asynccontextmanager
async def _running(container: Container, _app: Litestar) -> AsyncIterator[None]:
    # What was imported stays for good; the collector need not look through it again and again.
    gc.collect()
    gc.freeze()
    in_memory = container.settings().store == "memory"
    if in_memory:
        # Nobody can sign in to an empty store that no command reaches.
        await make_demo(container)
    container.background().start()
    try:
        yield
    finally:
        await container.background().stop()
        await container.intake().close()
        if not in_memory:
            await container.engines().dispose()

"""The API as one part of the application: its routes, and what is true for its clients only."""

from collections.abc import Callable
from functools import partial

from litestar import Router
from litestar.di import Provide
from litestar.types import ASGIApp

from shop.entrypoints.container import Container
from shop.entrypoints.http.answers import JSONAnswer
from shop.entrypoints.http.api.bodies import StrictJSON
from shop.entrypoints.http.api.bulk import change_stocks, save_products
from shop.entrypoints.http.api.clients import CheckClient
from shop.entrypoints.http.api.health import HealthController
from shop.entrypoints.http.api.idempotency import provide_once
from shop.entrypoints.http.api.orders import OrderController, show_plain_order
from shop.entrypoints.http.api.pagination import provide_paging
from shop.entrypoints.http.api.plain_details import PlainDetails
from shop.entrypoints.http.api.plain_orders import PlainOrders
from shop.entrypoints.http.api.problems import EXCEPTION_HANDLERS
from shop.entrypoints.http.api.products import ProductController, show_plain_product
from shop.entrypoints.http.api.reads_in_time import ReadsInTime
from shop.entrypoints.http.api.shared_answers import SharedAnswers
from shop.entrypoints.http.api.tokens import TokenController, jwks, revoke_all
from shop.entrypoints.http.api.users import UserController


def api_router(container: Container) -> Router:
    return Router(
        "/",
        route_handlers=[
            TokenController,
            ProductController,
            save_products,
            change_stocks,
            OrderController,
            UserController,
            jwks,
            revoke_all,
            HealthController,
        ],
        dependencies={
            "paging": Provide(provide_paging, sync_to_thread=False),
            "once": Provide(provide_once, sync_to_thread=False),
        },
        middleware=_middleware(container),
        exception_handlers=EXCEPTION_HANDLERS,
        dto=StrictJSON,
        return_dto=None,
        response_class=JSONAnswer,
    )


def _middleware(container: Container) -> list[Callable[[ASGIApp], ASGIApp]]:
    """Each is a function: Litestar copies a router with all that it holds, but not functions.

    None is an `ASGIMiddleware`, which costs more than twice as much.
    """
    settings = container.settings()
    tokens = container.access_tokens()
    check_user = container.check_user() if settings.check_users else None

    def check_client(app: ASGIApp) -> ASGIApp:
        return CheckClient(app, tokens=tokens, check_user=check_user)

    def plain_orders(app: ASGIApp) -> ASGIApp:
        return PlainOrders(
            app,
            place_order=container.place_order,
            body_max=settings.body_max,
            currency=settings.currency,
        )

    def plain_details(app: ASGIApp) -> ASGIApp:
        return PlainDetails(
            app,
            {
                "product": partial(show_plain_product, container.read_product),
                "order": partial(show_plain_order, container.read_order),
            },
        )

    def shared_answers(app: ASGIApp) -> ASGIApp:
        return SharedAnswers(app, share=container.shared_lists())

    def reads_in_time(app: ASGIApp) -> ASGIApp:
        return ReadsInTime(app, seconds_max=settings.request_deadline)

    return [reads_in_time, check_client, plain_orders, plain_details, shared_answers]

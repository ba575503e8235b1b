"""Health, for clients, restarters and routers of traffic; and metrics, for Prometheus."""

from datetime import datetime
from typing import Literal

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from shop.domain.errors import StoreTooNew, StoreUnavailable
from shop.domain.ports import Clock, Schema, SchemaState
from shop.entrypoints.http.access import PUBLIC, PUBLIC_PAGE
from shop.entrypoints.http.errors import problems
from shop.entrypoints.metrics import CONTENT_TYPE, Metrics


class Health(msgspec.Struct):
    status: Literal["OK"]
    timestamp: datetime


@get("/metrics", opt=PUBLIC_PAGE, include_in_schema=False, sync_to_thread=True)
def metrics_text(metrics: NamedDependency[Metrics]) -> Response[bytes]:
    """For Prometheus. Like health it is for anybody who reaches the port: keep it off the edge."""
    return Response(metrics.text(), media_type=CONTENT_TYPE)


class HealthController(Controller):
    tags = ("Health",)
    opt = PUBLIC
    security = [{}]  # noqa: RUF012  # Litestar's class attribute

    @get(
        "/api/health",
        operation_id="health",
        summary="This process answers",
        responses=problems(406),
    )
    async def health(self, clock: NamedDependency[SkipValidation[Clock]]) -> Health:
        return Health(status="OK", timestamp=clock())

    @get(
        "/health/live",
        operation_id="live",
        summary="This process answers; restart it if it does not",
        responses=problems(406),
    )
    async def live(self, clock: NamedDependency[SkipValidation[Clock]]) -> Health:
        return Health(status="OK", timestamp=clock())

    @get(
        "/health/ready",
        operation_id="ready",
        summary="The database answers and its schema fits; route traffic here if so",
        responses=problems(406, 503),
    )
    async def ready(
        self,
        clock: NamedDependency[SkipValidation[Clock]],
        schema: NamedDependency[SkipValidation[Schema]],
    ) -> Health:
        state = await schema.state()
        if state is SchemaState.TOO_NEW:
            raise StoreTooNew
        if not state.is_fit:
            raise StoreUnavailable("The database is not migrated; run `shop migrate`.")
        return Health(status="OK", timestamp=clock())

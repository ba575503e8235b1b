"""Health over HTTP, for clients, for what restarts processes and for what routes traffic."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Meta

from shop.domain.errors import StoreTooNew, StoreUnavailable
from shop.domain.ports import Clock, Schema, SchemaState
from shop.entrypoints.http.access import PUBLIC
from shop.entrypoints.http.api.problems import problems


class Health(msgspec.Struct):
    """That it answers."""

    status: Annotated[Literal["OK"], Meta(description="Always the same.", examples=["OK"])]
    timestamp: Annotated[
        datetime, Meta(description="What time it is there.", examples=["2026-01-31T12:00:00Z"])
    ]


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
        summary="The database takes changes and its schema fits; route traffic here if so",
        responses=problems(406, 503),
    )
    async def ready(
        self,
        clock: NamedDependency[SkipValidation[Clock]],
        schema: NamedDependency[SkipValidation[Schema]],
    ) -> Health:
        state = await schema.state(writable=True)
        if state is SchemaState.TOO_NEW:
            raise StoreTooNew
        if not state.is_fit:
            raise StoreUnavailable("The database is not migrated; run `shop migrate`.")
        return Health(status="OK", timestamp=clock())

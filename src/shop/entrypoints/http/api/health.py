"""Health over HTTP, for clients, for what restarts processes and for what routes traffic."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Meta

from shop.domain.ports import Clock
from shop.entrypoints.health import CheckResult, Health
from shop.entrypoints.http.access import PUBLIC
from shop.entrypoints.http.access_log import QUIET
from shop.entrypoints.http.api.problems import CheckOut, problems
from shop.entrypoints.http.errors import Broken, NotReady


class HealthOut(msgspec.Struct):
    """That it answers."""

    status: Annotated[Literal["OK"], Meta(description="Always the same.", examples=["OK"])]
    timestamp: Annotated[
        datetime, Meta(description="What time it is there.", examples=["2026-01-31T12:00:00Z"])
    ]


class ReadinessOut(HealthOut):
    """That it is ready, and all that was looked at."""

    checks: Annotated[list[CheckOut], Meta(description="What was looked at.")]


class HealthController(Controller):
    tags = ("Health",)
    opt = PUBLIC | QUIET
    security = [{}]  # noqa: RUF012  # Litestar's class attribute

    @get(
        "/api/health",
        operation_id="health",
        summary="This process answers",
        responses=problems(406),
    )
    async def health(self, clock: NamedDependency[SkipValidation[Clock]]) -> HealthOut:
        return HealthOut(status="OK", timestamp=clock())

    @get(
        "/health/live",
        operation_id="live",
        summary="This process answers, and all that runs in it goes on; restart it if not",
        responses=problems(406, 503),
    )
    async def live(
        self, clock: NamedDependency[SkipValidation[Clock]], health: NamedDependency[Health]
    ) -> HealthOut:
        if ended := health.ended:
            raise Broken(ended)
        return HealthOut(status="OK", timestamp=clock())

    @get(
        "/health/ready",
        operation_id="ready",
        summary="Route traffic here if so: the database takes changes, its schema fits, it stays",
        responses=problems(406, 503),
    )
    async def ready(
        self, clock: NamedDependency[SkipValidation[Clock]], health: NamedDependency[Health]
    ) -> ReadinessOut:
        results = await health.readiness()
        checks = [_check_out(result) for result in results]
        for result in results:
            if result.error is not None:
                raise NotReady(result.error, checks)
        return ReadinessOut(status="OK", timestamp=clock(), checks=checks)


def _check_out(result: CheckResult) -> CheckOut:
    return CheckOut(
        name=result.name,
        ok=result.error is None,
        seconds=result.seconds,
        detail=result.error.detail if result.error else "",
    )

"""How this process is: whether all goes on in it that should, and whether it can take requests."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shop.adapters.background import Background
from shop.adapters.intake import Intake
from shop.domain.errors import (
    Overloaded,
    ShopError,
    StoreTooNew,
    StoreUnavailable,
    Unavailable,
)
from shop.domain.orders import OrderRequest, Placed
from shop.domain.ports import Schema, SchemaState


class Stopping(Unavailable):
    """This process is told to stop: others take what comes."""

    code = "stopping"
    title = "This server is about to stop"

    def __init__(self) -> None:
        super().__init__("It still answers, but not for long; ask another server.")


class Drain:
    """Before a process stops it still serves for a while, and says that it will stop."""

    def __init__(self) -> None:
        self.has_begun = False

    def begin(self) -> None:
        self.has_begun = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    name: str
    seconds: float
    """What the check took."""
    error: ShopError | None


@dataclass(frozen=True, kw_only=True)
class Health:
    drain: Drain
    intake: Intake[OrderRequest, Placed]
    background: Background
    schema: Schema

    @property
    def ended(self) -> list[str]:
        """What should go on in this process and does not, for good."""
        return self.background.ended + ([] if self.intake.is_alive else ["intake"])

    async def readiness(self) -> list[CheckResult]:
        """Whether traffic may be routed here: it costs the database one statement."""
        return [
            await _run("stopping", self._stays),
            await _run("intake", self._has_room),
            *await self._of_database(),
        ]

    async def _stays(self) -> None:
        if self.drain.has_begun:
            raise Stopping

    async def _has_room(self) -> None:
        if self.intake.is_full:
            raise Overloaded("As many orders wait as may wait.")

    async def _of_database(self) -> list[CheckResult]:
        """One statement answers both: without an answer there is no more to say."""
        states: list[SchemaState] = []

        async def takes_changes() -> None:
            states.append(await self.schema.state(writable=True))

        async def fits() -> None:
            if states[0] is SchemaState.TOO_NEW:
                raise StoreTooNew
            if not states[0].is_fit:
                raise StoreUnavailable("The database is not migrated; run `shop migrate`.")

        database = await _run("database", takes_changes)
        return [database] if database.error else [database, await _run("schema", fits)]


async def _run(name: str, check: Callable[[], Awaitable[None]]) -> CheckResult:
    started = time.perf_counter()
    error = None
    try:
        await check()
    except ShopError as failure:
        error = failure
    return CheckResult(name=name, seconds=round(time.perf_counter() - started, 6), error=error)

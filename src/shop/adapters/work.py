"""The work under way, as log lines and traces tell of it: a request, or a batch of the intake.

A task knows it by a context variable, which the tasks that it starts inherit. What serves many
callers at once takes their work along with their calls.
"""

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from shop.domain.ports import UnitOfWork, UnitOfWorkFactory


class Seen(NamedTuple):
    """How far a store that has replicas had come when somebody changed or read it last.

    Positions are compared within one history only: a server that takes over from another may give
    the same numbers to other changes.
    """

    system: int
    """The database system: a copy of it has the same."""
    timeline: int
    """Which of its servers made the changes: each that is promoted begins another."""
    position: int
    """A transaction; whoever sees what it did sees all that was committed before it ended."""

    @property
    def history(self) -> tuple[int, int]:
        return self[:2]


@dataclass(slots=True, kw_only=True, eq=False)
class Work:
    """Filled in where something becomes known, and read whenever a line is logged."""

    request_id: str | None = None
    user_id: int | None = None
    order_id: UUID | None = None
    batch_id: str | None = None
    """The batch of the intake that decided the request's order or change last."""
    batch_wait: float | None = None
    """Seconds that it waited for its first batch to begin."""
    problem: str | None = None
    """The code of the problem document that answers the request."""
    use_case: str | None = None
    """The one that opened a unit of work last, by its name in the container."""
    route: str | None = None
    """Method and route, such as `GET /api/orders/{order_id}/`, where something failed."""
    trace_id: str | None = None
    """In hexadecimal digits, if it is traced: most work is not."""
    seen: Seen | None = None
    """What it reads must not be older. Set where a store has replicas: by a client, or a change."""
    trace: Any = None
    """Its spans under way, if it is traced. Only `entrypoints/traces.py` knows what is in it."""


work_under_way: ContextVar[Work | None] = ContextVar("work_under_way", default=None)


def last_seen(works: Iterable[Work]) -> Seen | None:
    """What those have seen together who have seen the same history."""
    seen = [work.seen for work in works if work.seen is not None]
    return max(seen, key=lambda each: each.position) if seen else None


def for_use_case(name: str, unit_of_work: UnitOfWorkFactory) -> UnitOfWorkFactory:
    """Units of work that say for which use case they are opened."""

    def opened(**options: Any) -> UnitOfWork:
        work = work_under_way.get()
        if work is None:
            # Of a command, or a task in the background.
            work_under_way.set(Work(use_case=name))
        else:
            work.use_case = name
        return unit_of_work(**options)

    return opened

"""The work under way, as log lines and traces tell of it: a request, or a batch of the intake.

A task knows it by a context variable, which the tasks that it starts inherit. What serves many
callers at once takes their work along with their calls.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID


@dataclass(slots=True, kw_only=True, eq=False)
class Work:
    """Filled in where something becomes known, and read whenever a line is logged."""

    request_id: str | None = None
    user_id: int | None = None
    order_id: UUID | None = None
    batch_id: str | None = None
    """The batch of the intake that decided the request's order last."""
    batch_wait: float | None = None
    """Seconds that the order waited for its first batch to begin."""
    problem: str | None = None
    """The code of the problem document that answers the request."""


work_under_way: ContextVar[Work | None] = ContextVar("work_under_way", default=None)

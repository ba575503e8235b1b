"""Lines: calls that wait, and a task that serves them, each time as many as have come.

There is no timer: a call that finds nobody before it is served at once and alone; whoever comes
while others are served is in the next batch.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from shop.adapters.work import Work, work_under_way
from shop.domain.errors import Overloaded

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(slots=True, kw_only=True, eq=False)
class Call(Generic[Q, A]):
    request: Q
    answer: asyncio.Future[A]
    since: float
    work: Work | None = field(default_factory=work_under_way.get)
    """The caller's."""

    def succeed(self, answer: A) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def give_up(self, why: str) -> None:
        self.fail(Overloaded(f"{why}; nothing was done."))


C = TypeVar("C", bound=Call)  # type: ignore[type-arg]  # of any request and answer


class Line(Generic[C]):
    """Calls in a queue, and a task of its own that serves them batch by batch."""

    def __init__(
        self,
        serve: Callable[[list[C]], Awaitable[None]],
        batch_max: int,
        ended: Callable[[], object] = lambda: None,
    ) -> None:
        """`ended` is called when nobody waits any more."""
        self._serve = serve
        self._batch_max = batch_max
        self._ended = ended
        self._queue: deque[C] = deque()
        self._worker: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_alive(self) -> bool:
        """Whether somebody serves, or would serve the next call."""
        return self._worker is None or not self._worker.done()

    def add(self, *calls: C) -> None:
        self._queue.extend(calls)
        if self._worker is None:
            # It serves many: what the first caller's task knows of itself is not theirs.
            self._worker = asyncio.create_task(self._serve_queue(), context=contextvars.Context())

    async def drain(self) -> None:
        """Until all that wait are served."""
        if self._worker is not None:
            await asyncio.wait([self._worker])

    async def _serve_queue(self) -> None:
        batch: list[C] = []
        try:
            while batch := self._next_batch():
                await self._serve(batch)
        finally:
            self._worker = None
            # None are left, unless this task was cancelled or broke; then nobody may wait in vain.
            for call in (*batch, *self._queue):
                call.give_up("Interrupted")
            self._queue.clear()
            self._ended()

    def _next_batch(self) -> list[C]:
        """Without those who have hung up."""
        batch: list[C] = []
        while self._queue and len(batch) < self._batch_max:
            call = self._queue.popleft()
            if not call.answer.done():
                batch.append(call)
        return batch

"""Letting attempts to sign in begin, and counting their outcomes; the rules are in `throttling`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from shop.domain.errors import OutcomeUnknown, StoreUnavailable, TooManyAttempts, Unavailable
from shop.domain.events import Event
from shop.domain.ports import (
    IN_COMMIT,
    OUT_OF_TIME,
    AttemptQueue,
    Audit,
    Clock,
    UnitOfWork,
    UnitOfWorkFactory,
)
from shop.domain.services.retrying import retrying
from shop.domain.throttling import (
    WITH_NAME,
    Attempt,
    AttemptKeys,
    Attempts,
    MustWait,
    WaitRule,
    free_moment,
)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ThrottleSignIn:
    """Surrounds whatever must not be guessed: signing in, changing a password, registering."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    audit: Audit
    queue: AttemptQueue

    @asynccontextmanager
    async def __call__(
        self,
        *,
        keys: AttemptKeys,
        throttled: Event,
        find: Callable[[UnitOfWork], Awaitable[T]],
    ) -> AsyncIterator[tuple[Attempt, T]]:
        """An attempt that may begin, and what `find` finds in the transaction that counts it.

        Raises `TooManyAttempts`, which is audited as `throttled`, and `Overloaded`. What is raised
        in the block is the attempt's failure, even that nobody waits for it any more. But where
        the shop itself could not serve it, it counts as never made. A block that ends well has
        called `succeed` or `fail`.
        """
        try:
            attempt, found = await self.queue.admit(partial(self._admit, keys, find))
        except TooManyAttempts:
            self.audit(throttled)
            raise
        try:
            yield attempt, found
        except BaseException as error:
            await (self._withdraw if _is_the_shops(error) else self.fail)(attempt)
            raise
        finally:
            self.queue.settled(keys.all)

    async def succeed(self, uow: UnitOfWork, attempt: Attempt) -> None:
        """Forget the failures, and know where the user signs in from; the caller commits it."""
        now = self.clock()
        keys = attempt.keys
        judges = {**attempt.judges, keys.pair: WITH_NAME}
        counters = await _counters(uow, judges, now)
        await uow.attempts.save(
            [
                # An attacker who signs in to an account of their own earns no more guesses.
                counter.withdrawn(attempt.began_at)
                if key == keys.address
                else counter.forgiven(attempt.began_at, now, is_known=key == keys.pair)
                for key, counter in counters.items()
            ]
        )

    async def fail(self, attempt: Attempt) -> None:
        """Count it as failed."""

        def failed(counter: Attempts, now: datetime, rule: WaitRule) -> Attempts:
            return counter.failed(attempt.began_at, now, rule)

        await self._settle(attempt, failed)

    async def _withdraw(self, attempt: Attempt) -> None:
        def withdrawn(counter: Attempts, _now: datetime, _rule: WaitRule) -> Attempts:
            return counter.withdrawn(attempt.began_at)

        await self._settle(attempt, withdrawn)

    async def _settle(
        self, attempt: Attempt, change: Callable[[Attempts, datetime, WaitRule], Attempts]
    ) -> None:
        @retrying
        async def settle() -> None:
            async with self.unit_of_work() as uow:
                now = self.clock()
                judges = attempt.judges
                counters = await _counters(uow, judges, now)
                await uow.attempts.save(
                    [change(counter, now, judges[key]) for key, counter in counters.items()]
                )
                await uow.commit()

        await self.queue.settle(settle)

    @retrying
    async def _admit(
        self, keys: AttemptKeys, find: Callable[[UnitOfWork], Awaitable[T]]
    ) -> tuple[Attempt, T]:
        """Raises `TooManyAttempts` or `MustWait`."""
        attempt: Attempt | None = None
        try:
            async with self.unit_of_work() as uow:
                attempt = await self._begin(uow, keys)
                found = await find(uow)
                await uow.commit()
        except OutcomeUnknown as error:
            # Nothing was done yet that the caller could see, so that a new try is safe.
            if attempt is not None:
                await self._withdraw(attempt)
            raise StoreUnavailable("The database did not answer in time; try again.") from error
        return attempt, found

    async def _begin(self, uow: UnitOfWork, keys: AttemptKeys) -> Attempt:
        now = self.clock()
        stored = await uow.attempts.lock(keys.all, now)
        is_known = stored[keys.pair].is_known_at(now)
        judges = keys.judges(is_known=is_known)
        counters = {key: stored[key].as_of(now, judges[key]) for key in judges}
        try:
            _check(counters, judges, now)
        except (TooManyAttempts, MustWait):
            if any(counters[key] != stored[key] for key in judges):
                await uow.attempts.save(counters.values())
                await uow.commit()
            raise
        attempt = Attempt(
            keys=keys, began_at=free_moment(now, counters.values()), is_known=is_known
        )
        await uow.attempts.save(
            [counter.begun(attempt.began_at, now) for counter in counters.values()]
        )
        return attempt


def _is_the_shops(error: BaseException) -> bool:
    """Whether it is the shop that failed: it then says so, whatever the password was."""
    if isinstance(error, asyncio.CancelledError):
        return error.args in ((OUT_OF_TIME,), (IN_COMMIT,))
    return isinstance(error, Unavailable | OutcomeUnknown)


async def _counters(
    uow: UnitOfWork, judges: Mapping[bytes, WaitRule], now: datetime
) -> dict[bytes, Attempts]:
    """These counters as they are by now, locked."""
    stored = await uow.attempts.lock(judges.keys(), now)
    return {key: stored[key].as_of(now, rule) for key, rule in judges.items()}


def _check(
    counters: Mapping[bytes, Attempts], judges: Mapping[bytes, WaitRule], now: datetime
) -> None:
    """Raises `TooManyAttempts` if one of them is blocked, else `MustWait` if one has no room."""
    for counter in counters.values():
        counter.check(now)
    for key, rule in judges.items():
        if not counters[key].has_room(rule):
            raise MustWait(key)

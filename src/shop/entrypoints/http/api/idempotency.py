"""Changes over HTTP: in time, and once for their `Idempotency-Key`."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, SkipValidation

from shop.domain.errors import AlreadyDone, OutcomeUnknown, StoreUnavailable, Unavailable
from shop.domain.keys import KeyedRequest
from shop.domain.orders import IDEMPOTENCY_KEY_LENGTH_MAX
from shop.domain.ports import IN_COMMIT, OUT_OF_TIME, Clock
from shop.domain.users import Caller
from shop.entrypoints.http.answers import JSONAnswer
from shop.entrypoints.http.api.fields import Words
from shop.entrypoints.settings import Settings

R = TypeVar("R")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=IDEMPOTENCY_KEY_LENGTH_MAX,
        pattern="^[ -~]+$",
        description="The same request under the same key is done once, and answered the same.",
        schema_extra={"examples": ["8f14e45f-ceea-467f-9575-6c1d2b0f3a77"]},
    ),
    Words(f"must be 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} printable ASCII characters"),
]

PAUSE = 0.05
"""Seconds between attempts to find out what became of a change."""


class Change(Protocol[R_co]):
    """A use case with everything but the key given."""

    def __call__(self, *, key: KeyedRequest | None) -> Awaitable[R_co]: ...


class StoredAnswer(msgspec.Struct):
    """An answer as it is kept under its key."""

    status: int
    headers: dict[str, str]
    body: msgspec.Raw

    @classmethod
    def of(cls, response: Response[Any]) -> "StoredAnswer":
        body = msgspec.Raw(msgspec.json.encode(response.content))
        return cls(status=response.status_code or 200, headers=dict(response.headers), body=body)

    def as_response(self, *, replayed: bool) -> Response[Any]:
        marks = {"Idempotency-Replayed": "true"} if replayed else {}
        content = None if bytes(self.body) == b"null" else self.body
        return JSONAnswer(content, status_code=self.status, headers=self.headers | marks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """Makes the change that a request asks for, within its time, and once for its key."""

    request: Request[Caller, str, Any]
    key: str | None
    clock: Clock
    seconds_max: float

    async def __call__(self, change: Change[R], respond: Callable[[R], Response[T]]) -> Response[T]:
        """The answer, new or as stored. Raises what the use case does.

        What became of a change whose COMMIT was lost is found out by making it again under its key;
        without one nobody can tell, and `OutcomeUnknown` is the answer.
        """
        keyed = None if self.key is None else await self._keyed(self.key, respond)
        finding_out = _FindingOut(change, respond, keyed)
        return await in_time(finding_out.answer(), self.seconds_max, finding_out.is_lost)

    async def _keyed(self, key: str, respond: Callable[[Any], Response[Any]]) -> KeyedRequest:
        scope = self.request.scope
        return KeyedRequest(
            user_id=self.request.user.user_id,
            key=key,
            route=f"{scope['method']} {scope['path'].rstrip('/')}/",
            digest=hashlib.sha256(await self.request.body()).digest(),
            at=self.clock(),
            render=lambda result: msgspec.json.encode(StoredAnswer.of(respond(result))),
        )


class _FindingOut:
    """One change, repeated under its key while nobody knows what became of it."""

    def __init__(
        self,
        change: Change[Any],
        respond: Callable[[Any], Response[Any]],
        key: KeyedRequest | None,
    ) -> None:
        self._change, self._respond, self._key = change, respond, key
        self._lost = False

    def is_lost(self) -> bool:
        return self._lost

    async def answer(self) -> Response[Any]:
        while True:
            try:
                return self._respond(await self._change(key=self._key))
            except AlreadyDone as done:
                # After a loss, it is this very request that did it.
                stored = msgspec.json.decode(done.answer, type=StoredAnswer)
                return stored.as_response(replayed=not self._lost)
            except OutcomeUnknown:
                if self._key is None:
                    raise
                self._lost = True
            except Unavailable:
                if not self._lost:
                    raise
            await asyncio.sleep(PAUSE)


async def in_time(
    work: Awaitable[T], seconds_max: float, is_lost: Callable[[], bool] = lambda: False
) -> T:
    """Raises `StoreUnavailable` when it is not done in time, and `OutcomeUnknown` if it may be.

    It is `asyncio.timeout`, but that the work is told why it is cancelled: for who signs in, a
    deadline of ours is no failure of theirs.
    """
    task = asyncio.current_task()
    assert task is not None
    cancelled_before, is_late = task.cancelling(), False

    def cancel() -> None:
        nonlocal is_late
        is_late = task.cancel(OUT_OF_TIME)

    timer = asyncio.get_running_loop().call_later(seconds_max, cancel)
    try:
        return await work
    except asyncio.CancelledError as cancelled:
        if not is_late or task.cancelling() > cancelled_before + 1:
            raise
        if is_lost() or cancelled.args == (IN_COMMIT,):
            raise OutcomeUnknown from None
        raise StoreUnavailable("There was no answer in time; nothing was done.") from None
    finally:
        timer.cancel()
        if is_late:
            task.uncancel()


def provide_once(
    request: Request[Any, Any, Any],
    settings: NamedDependency[Settings],
    clock: NamedDependency[SkipValidation[Clock]],
    idempotency_key: IdempotencyKey = None,
) -> Once:
    """`once`, for handlers that change something."""
    return Once(
        request=request,
        key=idempotency_key,
        clock=clock,
        seconds_max=settings.request_deadline,
    )

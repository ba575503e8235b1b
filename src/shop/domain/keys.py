"""Idempotency keys: a change is made once for its key, and its repeats get the same answer.

Placing an order needs none of this: there the key is an order id in disguise (`keyed_order_id`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from shop.domain.errors import AlreadyDone, IdempotencyKeyReused

Place: TypeAlias = tuple[int, str]
"""A user and their key: another user's same key is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedAnswer:
    """What is stored of a change, in the change's own transaction."""

    user_id: int
    key: str
    """The user's own; another user's same key is another one."""
    route: str
    """What was asked for: the method and the address."""
    digest: bytes
    """SHA-256 of the body."""
    answer: bytes
    at: datetime

    @property
    def place(self) -> Place:
        return self.user_id, self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedRequest:
    """A request to change something once; for its fields see `KeyedAnswer`."""

    user_id: int
    key: str
    route: str
    digest: bytes
    at: datetime
    render: Callable[[Any], bytes] = field(compare=False, repr=False)
    """Makes the answer of what the use case returns."""

    @property
    def place(self) -> Place:
        return self.user_id, self.key

    def answered(self, result: object) -> KeyedAnswer:
        return KeyedAnswer(
            user_id=self.user_id,
            key=self.key,
            route=self.route,
            digest=self.digest,
            answer=self.render(result),
            at=self.at,
        )

    def check(self, stored: KeyedAnswer | None) -> None:
        """Raises `AlreadyDone` for a repeat, `IdempotencyKeyReused` for something else."""
        if stored is None:
            return
        if (stored.route, stored.digest) != (self.route, self.digest):
            raise IdempotencyKeyReused
        raise AlreadyDone(stored.answer)

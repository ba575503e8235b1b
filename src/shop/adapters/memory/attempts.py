"""Attempts to sign in, in memory."""

from collections.abc import Collection
from datetime import datetime

from shop.adapters.memory.database import Tables
from shop.domain.ports import AttemptRepository
from shop.domain.throttling import Attempts


class MemoryAttemptRepository(AttemptRepository):
    def __init__(self, tables: Tables) -> None:
        self._attempts = tables.attempts

    async def lock(self, keys: Collection[bytes], now: datetime) -> dict[bytes, Attempts]:
        return {key: self._attempts.get(key) or Attempts(key=key, seen_at=now) for key in keys}

    async def save(self, attempts: Collection[Attempts]) -> None:
        for one in attempts:
            self._attempts[one.key] = one

    async def purge(self, now: datetime, *, limit: int) -> int:
        old = [one.key for one in self._attempts.values() if one.is_forgotten(now)][:limit]
        for key in old:
            del self._attempts[key]
        return len(old)

"""Idempotency keys in memory."""

from datetime import datetime

from shop.adapters.memory.database import Tables
from shop.domain.keys import KeyedAnswer, KeyedRequest
from shop.domain.ports import KeyRepository


class MemoryKeyRepository(KeyRepository):
    def __init__(self, tables: Tables) -> None:
        self._keys = tables.keys

    async def claim(self, request: KeyedRequest) -> KeyedAnswer | None:
        """One transaction is open at a time: nobody else can have it."""
        return self._keys.get((request.user_id, request.key))

    async def store(self, answer: KeyedAnswer) -> None:
        self._keys[answer.user_id, answer.key] = answer

    async def purge(self, before: datetime, *, limit: int) -> int:
        old = [place for place, answer in self._keys.items() if answer.at < before][:limit]
        for place in old:
            del self._keys[place]
        return len(old)

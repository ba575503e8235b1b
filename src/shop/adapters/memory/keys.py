"""Idempotency keys in memory."""

from collections.abc import Collection, Mapping
from datetime import datetime

from shop.adapters.memory.database import Tables
from shop.domain.keys import KeyedAnswer, KeyedRequest, Place
from shop.domain.ports import KeyRepository


class MemoryKeyRepository(KeyRepository):
    def __init__(self, tables: Tables) -> None:
        self._keys = tables.keys

    async def claim(self, requests: Collection[KeyedRequest]) -> Mapping[Place, KeyedAnswer]:
        """One transaction is open at a time: nobody else can have one."""
        places = (request.place for request in requests)
        return {place: self._keys[place] for place in places if place in self._keys}

    async def store(self, answer: KeyedAnswer) -> None:
        self._keys[answer.place] = answer

    async def purge(self, before: datetime, *, limit: int) -> int:
        old = [place for place, answer in self._keys.items() if answer.at < before][:limit]
        for place in old:
            del self._keys[place]
        return len(old)

"""Sessions in memory."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from shop.adapters.memory.database import Tables
from shop.domain.ports import SessionRepository
from shop.domain.sessions import RefreshToken, SessionFamily


class MemorySessionRepository(SessionRepository):
    def __init__(self, tables: Tables) -> None:
        self._families = tables.families
        self._tokens = tables.tokens

    async def start(self, family: SessionFamily, token: RefreshToken) -> None:
        self._families[family.id] = family
        self._tokens[token.token_hash] = token

    async def lock(self, token_hash: bytes) -> tuple[SessionFamily, RefreshToken] | None:
        token = self._tokens.get(token_hash)
        return None if token is None else (self._families[token.family_id], token)

    async def succeed(self, token: RefreshToken, successor: RefreshToken) -> None:
        if token.predecessor is not None:
            predecessor = self._tokens[token.predecessor]
            self._tokens[token.predecessor] = replace(predecessor, retired=True)
        self._tokens[successor.token_hash] = successor

    async def end(self, family_id: UUID, at: datetime) -> None:
        family = self._families[family_id]
        if family.ended_at is None:
            self._families[family_id] = replace(family, ended_at=at)

    async def end_all(self, user_id: int, at: datetime) -> None:
        for family in list(self._families.values()):
            if family.user_id == user_id:
                await self.end(family.id, at)

"""Sessions in memory."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from shop.adapters.memory.database import Tables
from shop.adapters.windows import cut_window
from shop.domain.pages import Count, Window
from shop.domain.ports import SessionRepository
from shop.domain.sessions import RefreshToken, SessionFamily, SessionQuery


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

    async def succeed(
        self, token: RefreshToken, successor: RefreshToken, *, used_at: datetime
    ) -> None:
        family = [old for old in self._tokens.values() if old.family_id == token.family_id]
        for other in filter(token.retires, family):
            self._tokens[other.token_hash] = replace(other, retired=True)
        self._tokens[successor.token_hash] = successor
        self._families[token.family_id] = replace(
            self._families[token.family_id],
            last_used_at=used_at,
            expires_at=successor.expires_at,
        )
        self._forget_tokens(
            lambda old: old.family_id == token.family_id and old.expires_at < used_at
        )

    async def read_window(self, query: SessionQuery, window: Window) -> Sequence[SessionFamily]:
        return cut_window(self._open(query), window, lambda family: family.key, descending=True)

    async def read_counted(
        self, query: SessionQuery, window: Window
    ) -> tuple[Sequence[SessionFamily], Count]:
        return await self.read_window(query, window), Count(len(self._open(query)))

    async def end_oldest(self, user_id: int, at: datetime, *, kept: int) -> None:
        families = self._open(SessionQuery(user_id=user_id, now=at))
        families.sort(key=lambda family: (family.started_at, family.id), reverse=True)
        for family in families[kept:]:
            await self.end(family.id, at)

    def _open(self, query: SessionQuery) -> list[SessionFamily]:
        return [
            family
            for family in self._families.values()
            if family.user_id == query.user_id
            and not family.is_over(query.now)
            and family.expires_at > query.now
        ]

    async def purge(self, before: datetime, *, limit: int) -> int:
        expired = [f.id for f in self._families.values() if f.expires_at < before][:limit]
        self._forget_tokens(lambda token: token.family_id in expired)
        for family_id in expired:
            del self._families[family_id]
        return len(expired)

    def _forget_tokens(self, is_old: Callable[[RefreshToken], bool]) -> None:
        for token_hash in [token.token_hash for token in self._tokens.values() if is_old(token)]:
            del self._tokens[token_hash]

    async def end(self, family_id: UUID, at: datetime) -> None:
        family = self._families[family_id]
        if family.ended_at is None:
            self._families[family_id] = replace(family, ended_at=at)

    async def end_all(self, user_id: int, at: datetime) -> None:
        for family in list(self._families.values()):
            if family.user_id == user_id:
                await self.end(family.id, at)

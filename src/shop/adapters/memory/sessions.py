"""Sessions in memory."""

from collections.abc import Callable, Sequence
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

    async def succeed(
        self, token: RefreshToken, successor: RefreshToken, *, used_at: datetime
    ) -> None:
        # None: there was none, or it has expired and is forgotten.
        predecessor = self._tokens.get(token.predecessor or b"")
        if predecessor is not None:
            self._tokens[predecessor.token_hash] = replace(predecessor, retired=True)
        self._tokens[successor.token_hash] = successor
        self._families[token.family_id] = replace(
            self._families[token.family_id],
            last_used_at=used_at,
            expires_at=successor.expires_at,
        )
        self._forget_tokens(
            lambda old: old.family_id == token.family_id and old.expires_at < used_at
        )

    async def list_open(self, user_id: int, now: datetime) -> Sequence[SessionFamily]:
        families = [
            family
            for family in self._families.values()
            if family.user_id == user_id and not family.is_over(now) and family.expires_at > now
        ]
        return sorted(families, key=lambda family: (family.last_used_at, family.id), reverse=True)

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

"""Signing out: ending sessions, and looking at those that are open."""

from dataclasses import dataclass

from shop.domain.events import Event
from shop.domain.pages import Count, Page, Window, read_page
from shop.domain.ports import Clock, UnitOfWorkFactory
from shop.domain.services.check_user import require_active
from shop.domain.services.retrying import retrying
from shop.domain.sessions import SESSIONS_MAX, SessionFamily, SessionQuery, hash_token
from shop.domain.users import Caller

ALL_SESSIONS = Window(limit=SESSIONS_MAX)


@dataclass(frozen=True, kw_only=True)
class SignOut:
    unit_of_work: UnitOfWorkFactory
    clock: Clock

    @retrying
    async def __call__(self, *, refresh_token: str) -> None:
        """End the session of this token. Says nothing of unknown ones: there is nothing to end."""
        async with self.unit_of_work() as uow:
            found = await uow.sessions.lock(hash_token(refresh_token))
            if found is None:
                return
            family, _ = found
            await uow.sessions.end(family.id, self.clock())
            uow.record(Event(name="session.revoked", about={"user": family.user_id}))
            await uow.commit()


@dataclass(frozen=True, kw_only=True)
class SignOutEverywhere:
    unit_of_work: UnitOfWorkFactory
    clock: Clock

    @retrying
    async def __call__(self, *, caller: Caller) -> None:
        """End all sessions of the caller. Raises `InvalidToken`."""
        async with self.unit_of_work() as uow:
            await require_active(uow, caller)
            await uow.sessions.end_all(caller.user_id, self.clock())
            uow.record(Event(name="session.revoked_all", by=caller, about={}))
            await uow.commit()


@dataclass(frozen=True, kw_only=True)
class ListSessions:
    unit_of_work: UnitOfWorkFactory
    clock: Clock

    @retrying
    async def __call__(
        self, *, caller: Caller, window: Window = ALL_SESSIONS, count: Count | None = None
    ) -> Page[SessionFamily]:
        """The caller's open sessions, the last used first."""
        query = SessionQuery(user_id=caller.user_id, now=self.clock())
        async with self.unit_of_work(read_only=True, caller=caller) as uow:
            return await read_page(uow.sessions, query, window, count=count)

"""Checking on every request that a caller is still what the access token says."""

from collections import OrderedDict
from dataclasses import dataclass, field

from shop.domain.errors import InvalidToken, UserNotFound
from shop.domain.ports import MonotonicClock, UnitOfWork, UnitOfWorkFactory
from shop.domain.users import Caller, Role, User

BELIEVED_SECONDS = 5.0
USERS_MAX = 10_000


@dataclass(frozen=True, kw_only=True)
class CheckUser:
    """Who is let in is believed for a few seconds: a busy user costs a statement now and then.

    Who is not is looked up again: as soon as a user is enabled, they are in.
    """

    unit_of_work: UnitOfWorkFactory
    monotonic: MonotonicClock
    _believed: OrderedDict[int, tuple[float, Caller]] = field(
        default_factory=OrderedDict, init=False
    )

    async def __call__(self, *, caller: Caller) -> Caller:
        """The caller with the role of now. Raises `InvalidToken` for who is disabled or gone."""
        now = self.monotonic()
        checked_at, current = self._believed.get(caller.user_id, (now, None))
        if current is None or now - checked_at > BELIEVED_SECONDS:
            self._believed.pop(caller.user_id, None)
            current = await self._look_up(caller)
            self._believed[caller.user_id] = (now, current)
            if len(self._believed) > USERS_MAX:
                self._believed.popitem(last=False)
        return current

    async def _look_up(self, caller: Caller) -> Caller:
        async with self.unit_of_work(read_only=True, caller=caller) as uow:
            user = await active_user_of(uow, caller)
        return user.as_caller


async def user_of(uow: UnitOfWork, caller: Caller) -> User:
    """Who the caller's token stands for. Raises `InvalidToken`.

    Users are never deleted: if there is none, the token was issued over another database.
    """
    try:
        return await uow.users.get(caller.user_id)
    except UserNotFound:
        raise InvalidToken from None


async def active_user_of(uow: UnitOfWork, caller: Caller) -> User:
    """Like `user_of`. Raises `InvalidToken` for who is disabled, too."""
    user = await user_of(uow, caller)
    if user.disabled:
        raise InvalidToken
    return user


async def require_active(uow: UnitOfWork, caller: Caller) -> None:
    """Raises `InvalidToken` for who is disabled, or says to be staff and is not any more.

    Their access token lives on for minutes, but changes nothing.
    """
    if caller.actor_id is None:
        return
    try:
        user = await uow.users.get(caller.actor_id)
    except UserNotFound:
        return  # what they change would name them, which the store refuses
    if not may_change(caller, role=user.role, disabled=user.disabled):
        raise InvalidToken


def may_change(caller: Caller, *, role: Role, disabled: bool) -> bool:
    """Whether a caller is still who they say, whose role is this now."""
    return not (disabled or (caller.is_staff and role is not caller.role))

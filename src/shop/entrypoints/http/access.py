"""Who may call a route. The route says it; each audience asks here, with the caller it knows."""

from enum import Enum

from litestar.handlers import BaseRouteHandler
from litestar.types import Scope

from shop.adapters.work import work_under_way
from shop.domain.users import Caller


class Access(Enum):
    PUBLIC = "anybody"
    SIGNED_IN = "whoever is signed in"
    STAFF = "staff"


# What a route says in its `opt`. One that says nothing is for whoever is signed in.
PUBLIC = {"access": Access.PUBLIC}
STAFF = {"access": Access.STAFF}

# By these names on the hot path: Python 3.11 looks the members of an enum up slowly.
_PUBLIC, _SIGNED_IN, _STAFF = Access


def is_public(route_handler: BaseRouteHandler) -> bool:
    """Whether the route needs no caller."""
    return route_handler.opt.get("access", _SIGNED_IN) is _PUBLIC


def let_in(scope: Scope, caller: Caller) -> None:
    """Puts the caller into `request.user`, or raises `StaffOnly`."""
    if (work := work_under_way.get()) is not None:
        work.user_id = caller.user_id
    if scope["route_handler"].opt.get("access", _SIGNED_IN) is _STAFF:
        caller.require_staff()
    scope["user"] = caller

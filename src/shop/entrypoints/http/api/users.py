"""Users over HTTP: oneself, and registration where it is open."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from shop.domain.services.keep_users import ChangePassword, ReadUser, RegisterUser
from shop.domain.services.sign_out import ListSessions
from shop.domain.sessions import SessionFamily
from shop.domain.users import (
    PASSWORD_LENGTH_MAX,
    PASSWORD_LENGTH_MIN,
    USERNAME_LENGTH_MAX,
    Caller,
    Role,
    User,
    clean_username,
)
from shop.entrypoints.http.access import PUBLIC
from shop.entrypoints.http.addresses import client_address
from shop.entrypoints.http.api.fields import Rule
from shop.entrypoints.http.api.idempotency import in_time
from shop.entrypoints.http.api.pagination import (
    PAGE_PARAMETERS,
    KeyTime,
    Listing,
    PageOut,
    Paging,
)
from shop.entrypoints.http.api.parameters import CreatedOut
from shop.entrypoints.http.api.problems import problems
from shop.entrypoints.settings import Settings


class NewUser(msgspec.Struct, forbid_unknown_fields=True):
    """An account to be made."""

    username: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=USERNAME_LENGTH_MAX,
            description="Letters and digits of any script, and any of `.@+-_`.",
            examples=["ann"],
        ),
        Rule(lambda username, _: clean_username(username)),
    ]
    password: Annotated[
        str,
        Meta(
            min_length=PASSWORD_LENGTH_MIN,
            max_length=PASSWORD_LENGTH_MAX,
            description="Anything that is not guessed at once.",
            examples=["three green bottles"],
        ),
    ]

    def __repr__(self) -> str:
        return "NewUser(...)"


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True):
    """The password to be changed, and what to."""

    # The examples change nothing, so that those of signing in go on being true.
    current: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=PASSWORD_LENGTH_MAX,
            description="The one to be replaced.",
            examples=["demo-password"],
        ),
    ]
    new: Annotated[
        str,
        Meta(
            min_length=PASSWORD_LENGTH_MIN,
            max_length=PASSWORD_LENGTH_MAX,
            description="Anything that is not guessed at once.",
            examples=["demo-password"],
        ),
    ]

    def __repr__(self) -> str:
        return "PasswordChange(...)"


class UserOut(msgspec.Struct):
    """Somebody who can sign in."""

    id: Annotated[int, Meta(description="What orders name them by.", examples=[1])]
    username: Annotated[str, Meta(description="What they sign in with.", examples=["demo"])]
    role: Annotated[Role, Meta(description="What they may do.", examples=["customer"])]
    created: CreatedOut

    @classmethod
    def of(cls, user: User) -> "UserOut":
        return cls(id=user.id, username=user.username, role=user.role, created=user.created_at)


class SessionOut(msgspec.Struct):
    """A place where somebody is signed in."""

    started: Annotated[
        datetime, Meta(description="When they signed in.", examples=["2026-01-31T12:00:00Z"])
    ]
    last_used: Annotated[
        datetime,
        Meta(description="When its token was used last.", examples=["2026-01-31T13:37:00Z"]),
    ]
    client: Annotated[
        str, Meta(description="What signed in, in its own words.", examples=["curl/8.5.0"])
    ]

    @classmethod
    def of(cls, family: SessionFamily) -> "SessionOut":
        return cls(started=family.started_at, last_used=family.last_used_at, client=family.client)


_SESSIONS = Listing(key=lambda family: family.key, key_type=tuple[KeyTime, UUID], out=SessionOut.of)


class UserController(Controller):
    path = "/api/users"
    tags = ("Users",)

    @post(
        operation_id="registerUser",
        summary="Create an account, where the shop is open for that (SHOP_REGISTRATION)",
        opt=PUBLIC,
        security=[{}],
        responses=problems(403, 406, 408, 409, 413, 415, 429, 503),
    )
    async def register(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[NewUser],
        settings: NamedDependency[Settings],
        register_user: NamedDependency[RegisterUser],
    ) -> UserOut:
        registering = register_user(
            username=data.username,
            password=data.password,
            address=client_address(request.scope, settings.proxy_networks),
        )
        return UserOut.of(await in_time(registering, settings.request_deadline))

    @get(
        "/me",
        operation_id="readMe",
        summary="Who is signed in",
        responses=problems(401, 406, 503),
    )
    async def read_me(
        self, request: Request[Caller, str, Any], read_user: NamedDependency[ReadUser]
    ) -> UserOut:
        return UserOut.of(await read_user(caller=request.user))

    @post(
        "/me/password",
        status_code=204,
        operation_id="changePassword",
        summary="Change one's password, by the current one; ends all one's sessions",
        responses=problems(401, 406, 408, 413, 415, 429, 503),
    )
    async def change_password(
        self,
        request: Request[Caller, str, Any],
        data: JSONBody[PasswordChange],
        settings: NamedDependency[Settings],
        change_password: NamedDependency[ChangePassword],
    ) -> None:
        changing = change_password(
            caller=request.user,
            current=data.current,
            new=data.new,
            address=client_address(request.scope, settings.proxy_networks),
        )
        await in_time(changing, settings.request_deadline)

    @get(
        "/me/sessions",
        operation_id="listSessions",
        summary="One's open sessions, the last used first",
        description="All of them as a list; a page of them if the query asks for one.",
        responses=problems(401, 404, 406, 503),
    )
    async def list_sessions(
        self,
        request: Request[Caller, str, Any],
        list_sessions: NamedDependency[ListSessions],
        paging: NamedDependency[Paging],
    ) -> list[SessionOut] | PageOut[SessionOut]:
        read = partial(list_sessions, caller=request.user)
        if not PAGE_PARAMETERS & set(request.query_params):
            # All there are: a user has only so many.
            return [SessionOut.of(family) for family in (await read()).items]
        return await paging(_SESSIONS, read)

"""Signing in, refreshing and signing out: `/api/token/`."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from shop.domain.services.refresh_session import RefreshSession
from shop.domain.services.sign_in import SignedIn, SignIn
from shop.domain.services.sign_out import SignOut, SignOutEverywhere
from shop.domain.users import PASSWORD_LENGTH_MAX, USERNAME_LENGTH_MAX, Caller
from shop.entrypoints.http.access import PUBLIC
from shop.entrypoints.http.addresses import client_address
from shop.entrypoints.http.api.idempotency import in_time
from shop.entrypoints.http.api.problems import problems
from shop.entrypoints.keys import SigningKeys
from shop.entrypoints.settings import Settings
from shop.entrypoints.tokens import AccessTokens

_PROBLEMS = problems(401, 406, 408, 413, 415, 429, 503)


class Credentials(msgspec.Struct, forbid_unknown_fields=True):
    """Who signs in; the example is the customer of the demo data."""

    username: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=USERNAME_LENGTH_MAX,
            description="The user's name.",
            examples=["demo"],
        ),
    ]
    password: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=PASSWORD_LENGTH_MAX,
            description="The user's password.",
            examples=["demo-password"],
        ),
    ]

    def __repr__(self) -> str:
        return "Credentials(...)"


class Refresh(msgspec.Struct, forbid_unknown_fields=True):
    """A refresh token."""

    refresh: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=512,
            description="The `refresh` of `/api/token/`, or its successor.",
            examples=["Zm9yIHRoZSBleGFtcGxlIG9ubHk"],
        ),
    ]

    def __repr__(self) -> str:
        return "Refresh(...)"


class TokenPair(msgspec.Struct):
    """What a user is signed in with."""

    access: Annotated[
        str,
        Meta(
            description="For the `Authorization` header; lives 5 minutes, or as the shop is set.",
            examples=["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"],
        ),
    ]
    refresh: Annotated[
        str,
        Meta(
            description="For `/api/token/refresh/`; opaque; lives a day, or as the shop is set.",
            examples=["Zm9yIHRoZSBleGFtcGxlIG9ubHk"],
        ),
    ]

    def __repr__(self) -> str:
        return "TokenPair(...)"


class TokenController(Controller):
    path = "/api/token"
    tags = ("Tokens",)
    opt = PUBLIC
    security = [{}]  # noqa: RUF012  # Litestar's class attribute

    @post(
        status_code=200,
        operation_id="signIn",
        summary="Sign in",
        responses=_PROBLEMS,
    )
    async def sign_in(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[Credentials],
        settings: NamedDependency[Settings],
        sign_in: NamedDependency[SignIn],
        access_tokens: NamedDependency[AccessTokens],
    ) -> TokenPair:
        signing_in = sign_in(
            username=data.username,
            password=data.password,
            address=client_address(request.scope, settings.proxy_networks),
            client=request.headers.get("user-agent", ""),
        )
        return _pair(await in_time(signing_in, settings.request_deadline), access_tokens)

    @post(
        "/refresh",
        status_code=200,
        operation_id="refreshToken",
        summary="A new access token, and the refresh token's successor",
        responses=_PROBLEMS,
    )
    async def refresh(
        self,
        data: JSONBody[Refresh],
        settings: NamedDependency[Settings],
        refresh_session: NamedDependency[RefreshSession],
        access_tokens: NamedDependency[AccessTokens],
    ) -> TokenPair:
        refreshing = refresh_session(refresh_token=data.refresh)
        return _pair(await in_time(refreshing, settings.request_deadline), access_tokens)

    @post(
        "/revoke",
        status_code=204,
        operation_id="revokeToken",
        summary="Sign out; unknown tokens answer the same",
        responses=problems(406, 408, 413, 415, 503),
    )
    async def revoke(
        self,
        data: JSONBody[Refresh],
        settings: NamedDependency[Settings],
        sign_out: NamedDependency[SignOut],
    ) -> None:
        await in_time(sign_out(refresh_token=data.refresh), settings.request_deadline)


@post(
    "/api/token/revoke-all",
    status_code=204,
    operation_id="revokeAllTokens",
    summary="Sign out everywhere",
    tags=["Tokens"],
    responses=problems(401, 406, 503),
)
async def revoke_all(
    request: Request[Caller, str, Any],
    settings: NamedDependency[Settings],
    sign_out_everywhere: NamedDependency[SignOutEverywhere],
) -> None:
    await in_time(sign_out_everywhere(caller=request.user), settings.request_deadline)


class JwkSet(msgspec.Struct):
    """RFC 7517; empty while tokens are signed with a shared secret."""

    keys: Annotated[
        list[dict[str, str]],
        Meta(description="Each by RFC 7517.", examples=[[{"kty": "OKP", "crv": "Ed25519"}]]),
    ]


@get(
    "/.well-known/jwks.json",
    operation_id="jwks",
    summary="The public keys that access tokens are verified with",
    tags=["Tokens"],
    opt=PUBLIC,
    security=[{}],
    responses=problems(406),
    sync_to_thread=False,
)
def jwks(signing_keys: NamedDependency[SigningKeys]) -> JwkSet:
    return JwkSet(keys=signing_keys.jwks)


def _pair(signed_in: SignedIn, access_tokens: AccessTokens) -> TokenPair:
    return TokenPair(access=access_tokens.issue(signed_in.caller), refresh=signed_in.refresh_token)

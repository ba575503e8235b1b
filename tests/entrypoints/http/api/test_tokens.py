"""Signing in over HTTP: tokens, their rotation, and the same words for every refusal."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest

from tests.builders import PASSWORD, PlainHasher
from tests.entrypoints.api import (
    SECRET_KEY,
    Api,
    container_for,
    opened_api,
    problem,
    settings_for,
)

SIGN_IN = {"username": "customer", "password": PASSWORD}
FIVE_MINUTES = 300


async def signed_in(api: Api) -> dict[str, str]:
    response = await api.anonymous.post("/api/token/", json=SIGN_IN)
    assert response.status_code == 200, response.text
    tokens: dict[str, str] = response.json()
    return tokens


async def refreshed(api: Api, refresh: str) -> httpx.Response:
    return await api.anonymous.post("/api/token/refresh/", json={"refresh": refresh})


async def successor(api: Api, refresh: str) -> str:
    response = await refreshed(api, refresh)
    assert response.status_code == 200, response.text
    token: str = response.json()["refresh"]
    return token


async def test_signing_in_gives_an_access_and_a_refresh_token(api: Api) -> None:
    response = await api.anonymous.post("/api/token/", json=SIGN_IN)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert set(response.json()) == {"access", "refresh"}
    claims = jwt.decode(
        response.json()["access"], SECRET_KEY, algorithms=["HS256"], audience="shop"
    )
    assert claims["sub"] == str(api.customer_id)
    assert claims["role"] == "customer"
    assert claims["exp"] - claims["iat"] == FIVE_MINUTES


async def test_the_access_token_opens_the_api(api: Api) -> None:
    access = (await signed_in(api))["access"]
    for scheme in ("Bearer", "bearer", "BEARER"):
        response = await api.anonymous.get(
            "/api/products/", headers={"Authorization": f"{scheme} {access}"}
        )
        assert response.status_code == 200


@pytest.mark.parametrize("path", ["/api/token", "/api/token/"])
async def test_the_slash_at_the_end_changes_nothing(api: Api, path: str) -> None:
    response = await api.anonymous.post(path, json=SIGN_IN)
    assert response.status_code == 200
    refresh = {"refresh": response.json()["refresh"]}
    prefix = path.rstrip("/")
    slash = path[len(prefix) :]
    assert (await api.anonymous.post(f"{prefix}/refresh{slash}", json=refresh)).status_code == 200
    assert (await api.anonymous.post(f"{prefix}/revoke{slash}", json=refresh)).status_code == 204


async def test_a_user_name_is_found_however_it_was_typed(api: Api) -> None:
    full_width = "".join(chr(ord(c) + 0xFEE0) for c in "customer")
    for typed in (full_width, " Customer", "CUSTOMER\n"):
        response = await api.anonymous.post("/api/token/", json=SIGN_IN | {"username": typed})
        assert response.status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"username": "nobody"},
        {"password": "wrong"},
        {"password": PASSWORD + " "},
        {"username": "custo mer"},
        {"username": "customer\x00"},
        {"username": "customer' OR '1'='1"},
        {"username": "\N{SNOWMAN}" * 150},
    ],
)
async def test_every_failed_sign_in_is_answered_with_the_same_words(
    api: Api, wrong: dict[str, str]
) -> None:
    refused = problem(
        await api.anonymous.post("/api/token/", json=SIGN_IN | wrong), 401, "wrong_credentials"
    )
    expected = await api.anonymous.post("/api/token/", json={"username": "x", "password": "x"})
    assert refused == expected.json()
    assert expected.headers["www-authenticate"] == "Bearer"


async def test_a_disabled_user_is_answered_with_the_same_words(api: Api) -> None:
    await api.store.disable_user(api.customer_id)
    response = await api.anonymous.post("/api/token/", json=SIGN_IN)
    unknown = await api.anonymous.post("/api/token/", json=SIGN_IN | {"username": "nobody"})
    assert problem(response, 401, "wrong_credentials") == unknown.json()


async def test_every_failed_sign_in_takes_the_work_of_one_password(api: Api) -> None:
    hasher = api.container.hasher()
    assert isinstance(hasher, PlainHasher)
    for wrong in ({"username": "nobody"}, {"password": "wrong"}, {}):
        before = hasher.verified
        await api.anonymous.post("/api/token/", json=SIGN_IN | wrong)
        assert hasher.verified == before + 1


# --- refreshing ---


async def test_a_right_password_that_the_shop_had_no_time_for_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def for_ever(*_: object) -> bool:
        return await asyncio.Future()

    async with opened_api(container_for(settings_for(request_deadline=0.1))) as api:
        with monkeypatch.context() as patch:
            patch.setattr(api.container.hasher(), "verify", for_ever)
            sign_ins = [api.anonymous.post("/api/token/", json=SIGN_IN) for _ in range(10)]
            for answer in await asyncio.gather(*sign_ins):
                assert "nothing was done" in problem(answer, 503, "database_unavailable")["detail"]
        await signed_in(api)


async def test_refreshing_gives_a_new_access_token_and_a_successor(api: Api) -> None:
    tokens = await signed_in(api)
    response = await refreshed(api, tokens["refresh"])
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert response.json().keys() == {"access", "refresh"}
    assert response.json()["access"] != tokens["access"]
    assert response.json()["refresh"] != tokens["refresh"]


async def test_a_client_that_keeps_its_first_refresh_token_stays_signed_in_for_its_day(
    api: Api,
) -> None:
    first = (await signed_in(api))["refresh"]
    for _ in range(4):
        api.clock.advance(timedelta(hours=5))
        assert (await refreshed(api, first)).status_code == 200
    api.clock.advance(timedelta(hours=4))
    problem(await refreshed(api, first), 401, "invalid_token")


async def test_a_client_that_adopts_every_successor_stays_signed_in_for_days(api: Api) -> None:
    token = (await signed_in(api))["refresh"]
    for _ in range(5):
        api.clock.advance(timedelta(hours=23))
        token = await successor(api, token)


async def test_a_session_ends_for_good_however_often_it_is_refreshed(api: Api) -> None:
    token = (await signed_in(api))["refresh"]
    for _ in range(31):
        api.clock.advance(timedelta(hours=23))
        token = await successor(api, token)
    api.clock.advance(timedelta(hours=7))
    problem(await refreshed(api, token), 401, "invalid_token")


async def test_two_tabs_that_refresh_at_once_both_stay_signed_in(api: Api) -> None:
    first = (await signed_in(api))["refresh"]
    one, two = await successor(api, first), await successor(api, first)
    assert (await refreshed(api, one)).status_code == 200
    assert (await refreshed(api, two)).status_code == 200


async def test_presenting_a_retired_token_signs_the_whole_family_out(api: Api) -> None:
    first = (await signed_in(api))["refresh"]
    second = await successor(api, first)
    third = await successor(api, second)
    problem(await refreshed(api, first), 401, "invalid_token")
    for token in (second, third):
        problem(await refreshed(api, token), 401, "invalid_token")


async def test_another_session_of_the_same_user_goes_on(api: Api) -> None:
    stolen, own = (await signed_in(api))["refresh"], (await signed_in(api))["refresh"]
    await successor(api, await successor(api, stolen))
    problem(await refreshed(api, stolen), 401, "invalid_token")
    assert (await refreshed(api, own)).status_code == 200


async def test_a_disabled_user_is_not_refreshed(api: Api) -> None:
    token = (await signed_in(api))["refresh"]
    await api.store.disable_user(api.customer_id)
    problem(await refreshed(api, token), 401, "invalid_token")


async def test_neither_token_passes_for_the_other(api: Api) -> None:
    tokens = await signed_in(api)
    problem(await refreshed(api, tokens["access"]), 401, "invalid_token")
    response = await api.anonymous.get(
        "/api/products/", headers={"Authorization": f"Bearer {tokens['refresh']}"}
    )
    problem(response, 401, "invalid_token")


# --- revoking ---


async def test_revoking_signs_the_family_out(api: Api) -> None:
    first = (await signed_in(api))["refresh"]
    second = await successor(api, first)
    response = await api.anonymous.post("/api/token/revoke/", json={"refresh": first})
    assert response.status_code == 204
    assert response.content == b""
    for token in (first, second):
        problem(await refreshed(api, token), 401, "invalid_token")


async def test_revoking_an_unknown_token_answers_the_same(api: Api) -> None:
    for token in ("unknown", "ünknown\x00"):
        response = await api.anonymous.post("/api/token/revoke/", json={"refresh": token})
        assert response.status_code == 204


# --- without a good token ---

ENDPOINTS: list[tuple[str, str]] = [
    ("GET", "/api/products/"),
    ("GET", "/api/products/1/"),
    ("POST", "/api/products/"),
    ("POST", "/api/products/1/stock/"),
    ("GET", "/api/orders/"),
    ("POST", "/api/orders/"),
    ("GET", "/api/orders/00000000-0000-4000-8000-000000000000/"),
    ("POST", "/api/orders/00000000-0000-4000-8000-000000000000/"),
    ("POST", "/api/orders/00000000-0000-4000-8000-000000000000/cancel/"),
]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_nobody_gets_in_without_a_token(api: Api, method: str, path: str) -> None:
    response = await api.anonymous.request(method, path)
    problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"


HEADERS: dict[str, Any] = {
    "nothing": b"",
    "a scheme alone": b"Bearer",
    "a scheme and a space": b"Bearer ",
    "another scheme": b"Basic Y3VzdG9tZXI6eA==",
    "nonsense": b"Bearer nonsense",
    "three parts": b"Bearer a.b.c",
    "bytes that are no text": b"Bearer \xff\xfe",
    "too long": b"Bearer " + b"x" * 10_000,
    "two tokens": b"Bearer a.b.c d.e.f",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
async def test_nobody_gets_in_with_a_bad_token(api: Api, header: bytes) -> None:
    response = await api.anonymous.get("/api/products/", headers=[(b"Authorization", header)])
    problem(response, 401, "invalid_token")
    assert response.headers["www-authenticate"] == "Bearer"


async def test_an_expired_token_is_refused(api: Api) -> None:
    claims = jwt.decode(
        (await signed_in(api))["access"], SECRET_KEY, algorithms=["HS256"], audience="shop"
    )
    expired = jwt.encode(claims | {"exp": claims["iat"] - 1}, SECRET_KEY, "HS256")
    response = await api.anonymous.get(
        "/api/products/", headers={"Authorization": f"Bearer {expired}"}
    )
    problem(response, 401, "invalid_token")

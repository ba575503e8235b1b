"""Access tokens: what they say, and that nothing else passes for one."""

import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from shop.domain.errors import InvalidToken
from shop.domain.users import Role
from shop.entrypoints import tokens as module
from shop.entrypoints.keys import load_keys
from shop.entrypoints.settings import Settings
from shop.entrypoints.tokens import TOKEN_LENGTH_MAX, AccessTokens
from tests.builders import customer, staff

KEY = "k" * 32
KID = load_keys(Settings(secret_key=KEY)).signing.kid
LIFETIME = 300


class Now:
    def __init__(self) -> None:
        self.seconds = time.time()

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def tokens(now: Now) -> AccessTokens:
    return access_tokens(now)


def access_tokens(now: Callable[[], float], *, secret_key: str = KEY) -> AccessTokens:
    keys = load_keys(Settings(secret_key=secret_key))
    return AccessTokens(keys=keys, issuer="shop", audience="clients", lifetime=LIFETIME, now=now)


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, KEY, algorithms=["HS256"], audience="clients")


def signed(claims: dict[str, Any], key: str = KEY, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm, headers={"kid": KID})


def test_a_token_says_who_is_calling_since_when_and_until_when(
    tokens: AccessTokens, now: Now
) -> None:
    token = tokens.issue(staff(7))
    claims = claims_of(token)
    assert claims.pop("jti")
    assert claims == {
        "sub": "7",
        "iat": int(now.seconds),
        "exp": int(now.seconds) + LIFETIME,
        "iss": "shop",
        "aud": "clients",
        "role": "staff",
        "typ": "access",
    }
    assert jwt.get_unverified_header(token)["alg"] == "HS256"


@pytest.mark.parametrize("caller", [customer(1), staff(2), customer(2**62)])
def test_verifying_gives_back_who_it_was_issued_to(tokens: AccessTokens, caller: Any) -> None:
    token = tokens.issue(caller)
    assert tokens.verify(token.encode()) == caller
    assert tokens.verify(token.encode()) == caller, "the second time it is remembered"


def test_no_two_tokens_are_the_same(tokens: AccessTokens) -> None:
    assert tokens.issue(customer()) != tokens.issue(customer())


def test_a_token_passes_in_every_process_with_the_same_key(tokens: AccessTokens, now: Now) -> None:
    assert access_tokens(now).verify(tokens.issue(customer()).encode()) == customer()


def test_a_host_whose_clock_is_behind_takes_the_tokens_of_the_others(
    tokens: AccessTokens, now: Now
) -> None:
    ahead = access_tokens(lambda: now.seconds + 60)
    assert tokens.verify(ahead.issue(customer()).encode()) == customer()


def test_a_token_is_refused_from_the_second_it_expires(tokens: AccessTokens, now: Now) -> None:
    now.seconds = float(int(now.seconds))
    token = tokens.issue(customer())
    now.seconds += LIFETIME - 0.5
    assert tokens.verify(token.encode()) == customer()
    now.seconds += 0.5
    with pytest.raises(InvalidToken):
        tokens.verify(token.encode())


def test_a_remembered_token_expires_like_any_other_and_is_forgotten(
    tokens: AccessTokens, now: Now
) -> None:
    token = tokens.issue(customer())
    tokens.verify(token.encode())
    now.seconds += LIFETIME
    with pytest.raises(InvalidToken):
        tokens.verify(token.encode())
    assert tokens._verified == {}


def test_only_so_many_tokens_are_remembered_and_the_oldest_goes_first(
    tokens: AccessTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHED_MAX", 3)
    for user_id in range(1, 6):
        tokens.verify(tokens.issue(customer(user_id)).encode())
    assert [caller.user_id for _, caller in tokens._verified.values()] == [3, 4, 5]


def test_what_is_remembered_is_not_the_token(tokens: AccessTokens) -> None:
    token = tokens.issue(customer())
    tokens.verify(token.encode())
    assert token.encode() not in tokens._verified
    assert token not in repr(tokens._verified)


def test_a_refused_token_is_not_remembered(tokens: AccessTokens) -> None:
    for token in ("", "nonsense", tokens.issue(customer()) + "x"):
        with pytest.raises(InvalidToken):
            tokens.verify(token.encode())
    assert tokens._verified == {}


def tampered(token: str) -> str:
    """Another role under the old signature."""
    header, _, signature = token.split(".")
    forged = signed(claims_of(token) | {"role": "staff"}, "another key, which is long enough too")
    return f"{header}.{forged.split('.')[1]}.{signature}"


FORGERIES: dict[str, Callable[[str], str]] = {
    "no algorithm": lambda t: jwt.encode(claims_of(t), key="", algorithm="none"),
    "no signature": lambda t: t.rpartition(".")[0] + ".",
    "another signature": lambda t: t[:-4] + ("AAAA" if t[-4:] != "AAAA" else "BBBB"),
    "another key": lambda t: signed(claims_of(t), "another key, which is long enough too"),
    "another algorithm": lambda t: signed(claims_of(t), KEY * 2, "HS512"),
    "other claims": tampered,
    "another issuer": lambda t: signed(claims_of(t) | {"iss": "other"}),
    "another audience": lambda t: signed(claims_of(t) | {"aud": "other"}),
    "a refresh token's type": lambda t: signed(claims_of(t) | {"typ": "refresh"}),
    "no expiry": lambda t: signed({k: v for k, v in claims_of(t).items() if k != "exp"}),
    "no type": lambda t: signed({k: v for k, v in claims_of(t).items() if k != "typ"}),
    "no role": lambda t: signed({k: v for k, v in claims_of(t).items() if k != "role"}),
    "an unknown role": lambda t: signed(claims_of(t) | {"role": "owner"}),
    "a role that is none": lambda t: signed(claims_of(t) | {"role": ["staff"]}),
    "a subject that is no number": lambda t: signed(claims_of(t) | {"sub": "admin"}),
    "an expiry that is none": lambda t: signed(claims_of(t) | {"exp": "tomorrow"}),
    "expired": lambda t: signed(claims_of(t) | {"exp": int(time.time()) - 1}),
    "more after it": lambda t: t + ".x",
    "too long": lambda t: "x" * (TOKEN_LENGTH_MAX + 1),
    "nothing": lambda t: "",
    "characters outside of ASCII": lambda t: t + "ü\N{SNOWMAN}",
    "bytes that are no text": lambda t: t + "\udcff",
    "null": lambda t: "bnVsbA.bnVsbA.bnVsbA",
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_nothing_else_passes_for_an_access_token(
    tokens: AccessTokens, forge: Callable[[str], str]
) -> None:
    token = tokens.issue(customer())
    with pytest.raises(InvalidToken):
        tokens.verify(forge(token).encode(errors="surrogateescape"))
    assert tokens.verify(token.encode()).role is Role.CUSTOMER


def test_the_claims_of_a_forgery_are_those_of_a_good_token_but_for_one(
    tokens: AccessTokens,
) -> None:
    """Else the table above could refuse for another reason than the one it names."""
    token = tokens.issue(customer())
    assert tokens.verify(signed(claims_of(token)).encode()) == customer()

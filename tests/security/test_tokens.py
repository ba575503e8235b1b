"""Nothing but an access token of ours, unchanged and in its time, opens a door."""

import stat
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from shop.domain.users import Caller, Role
from shop.entrypoints.keys import load_keys
from shop.entrypoints.settings import Settings, SettingsError, load_settings
from shop.entrypoints.tokens import TOKEN_LENGTH_MAX
from tests.security.doors import SECRET_KEY, Door, code_of, opened
from tests.security.forging import (
    RSA_KEY,
    PrivateKey,
    claims_of,
    decode,
    encode,
    forged,
    header_of,
    kid_of,
    private_pem,
    public_pem,
    soon,
    with_hmac,
    with_key,
)

CUSTOMER = Caller(user_id=1, role=Role.CUSTOMER)
PRODUCTS = "/api/products/"


@pytest.fixture(scope="module")
async def door() -> AsyncIterator[Door]:
    """One for all attacks that need no settings of their own: none leaves anything behind."""
    async with opened() as door:
        yield door


def token_of(door: Door, caller: Caller = CUSTOMER) -> str:
    return door.container.access_tokens().issue(caller)


async def show(door: Door, token: str | bytes, scheme: str = "Bearer") -> httpx.Response:
    value = scheme.encode() + b" " + (token.encode() if isinstance(token, str) else token)
    return await door.at().get(PRODUCTS, headers=[(b"Authorization", value)])


async def must_be_refused(door: Door, token: str | bytes) -> None:
    response = await show(door, token)
    assert response.status_code == 401, response.text
    assert code_of(response) == "invalid_token"
    assert response.headers["www-authenticate"] == "Bearer"


# --- one thing wrong with a token that is signed with the right key ---

WRONG_CLAIMS: dict[str, dict[str, Any]] = {
    "expired": {"exp": 1},
    "expired as text": {"exp": "1"},
    "no expiry": {"exp": None},
    "an expiry that is none": {"exp": "never"},
    "an expiry in a list": {"exp": [soon()]},
    "not valid yet": {"nbf": soon() + 3_600},
    "a beginning that is none": {"nbf": "soon"},
    "another issuer": {"iss": "shop.evil"},
    "a longer issuer": {"iss": "shops"},
    "issuers": {"iss": ["shop"]},
    "no issuer": {"iss": None},
    "another audience": {"aud": "shop2"},
    "other audiences": {"aud": ["shop2", "shop3"]},
    "no audience": {"aud": None},
    "no audiences": {"aud": []},
    "a refresh token's type": {"typ": "refresh"},
    "no type": {"typ": None},
    "a type in another case": {"typ": "ACCESS"},
    "no role": {"role": None},
    "an unknown role": {"role": "admin"},
    "roles": {"role": ["staff"]},
    "no subject": {"sub": None},
    "a subject that is no number": {"sub": "1 OR 1=1"},
    "a subject that is a number": {"sub": 1},
    "no id": {"jti": None},
    "no beginning": {"iat": None},
}


@pytest.mark.parametrize("change", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS)
async def test_a_wrong_claim_is_refused_even_with_our_signature(
    door: Door, change: dict[str, Any]
) -> None:
    token = token_of(door)
    sign = with_hmac(SECRET_KEY)
    claims = {k: v for k, v in (claims_of(token) | change).items() if v is not None}
    assert (await show(door, forged(header_of(token), claims_of(token), sign))).is_success
    await must_be_refused(door, forged(header_of(token), claims, sign))


# --- algorithms ---

NONES = ["none", "None", "NONE", "nOnE", "", " none", "none ", "null", None, False, 0, [], ["none"]]


@pytest.mark.parametrize("algorithm", NONES, ids=repr)
async def test_no_algorithm_is_no_signature_however_it_is_spelt(door: Door, algorithm: Any) -> None:
    token = token_of(door)
    header = header_of(token) | {"alg": algorithm}
    staff = claims_of(token) | {"role": "staff"}
    for claims in (claims_of(token), staff):
        await must_be_refused(door, forged(header, claims))
        await must_be_refused(door, forged(header, claims).removesuffix("."))
        await must_be_refused(door, forged(header, claims) + token.rpartition(".")[2])


@pytest.mark.parametrize("algorithm", ["HS384", "HS512", "RS256", "EdDSA", "ES256", "PS256"])
async def test_the_header_does_not_choose_the_algorithm(door: Door, algorithm: str) -> None:
    token = token_of(door)
    header = header_of(token) | {"alg": algorithm}
    digest = {"HS384": "sha384", "HS512": "sha512"}.get(algorithm, "sha256")
    await must_be_refused(door, forged(header, claims_of(token), with_hmac(SECRET_KEY, digest)))


KEYS: dict[str, PrivateKey] = {"EdDSA": Ed25519PrivateKey.generate(), "RS256": RSA_KEY}


def signing_file(folder: Path, key: PrivateKey) -> dict[str, Any]:
    path = folder / "signing.pem"
    path.write_text(private_pem(key))
    return {"signing_key_file": str(path)}


@pytest.mark.parametrize("secret_key", ["", SECRET_KEY], ids=["no secret", "a secret as well"])
@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_public_key_is_no_secret_to_sign_with(
    algorithm: str, secret_key: str, tmp_path: Path
) -> None:
    key = KEYS[algorithm]
    async with opened(secret_key=secret_key, **signing_file(tmp_path, key)) as door:
        token = token_of(door)
        assert header_of(token)["alg"] == algorithm
        assert (await show(door, token)).is_success
        [jwk] = (await door.at().get("/.well-known/jwks.json")).json()["keys"]
        pem = public_pem(key)
        for spelt in (pem, pem.strip(), pem.replace("\n", "\r\n"), pem.replace("\n", "")):
            for kid in (jwk["kid"], kid_of(SECRET_KEY), kid_of(spelt), kid_of(pem)):
                header = {"alg": "HS256", "typ": "JWT", "kid": kid}
                claims = claims_of(token) | {"role": "staff"}
                await must_be_refused(door, forged(header, claims, with_hmac(spelt)))
        raw = decode(jwk.get("x") or jwk["n"])
        header = {"alg": "HS256", "typ": "JWT", "kid": jwk["kid"]}
        await must_be_refused(door, forged(header, claims_of(token), with_hmac(raw)))


async def test_a_key_signs_only_with_its_own_algorithm(tmp_path: Path) -> None:
    """The signature of one key under the name of another, and the reverse."""
    ours, theirs = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    async with opened(**signing_file(tmp_path, ours)) as door:
        token = token_of(door)
        header, claims = header_of(token), claims_of(token)
        await must_be_refused(door, forged(header, claims, with_key(theirs)))
        await must_be_refused(door, forged(header | {"alg": "RS256"}, claims, with_key(RSA_KEY)))
        # The secret verifies, too, while keys are rolled; each only what it signed.
        secret = header | {"kid": kid_of(SECRET_KEY)}
        await must_be_refused(door, forged(secret, claims, with_key(ours)))
        await must_be_refused(door, forged(header, claims, with_hmac(SECRET_KEY)))
        good = forged(secret | {"alg": "HS256"}, claims, with_hmac(SECRET_KEY))
        assert (await show(door, good)).is_success


# --- what is in the header ---

KIDS = [
    "",
    " ",
    "unknown",
    "0" * 12,
    "../../../../dev/null",
    "/dev/null",
    "file:///dev/null",
    "http://evil.example/jwks.json",
    "' UNION SELECT 'secret' --",
    "x'; DROP TABLE users; --",
    "\x00",
    "__class__",
    "🔑",
    "k" * 2_000,
    None,
    0,
    1,
    True,
    1.5,
    [],
    ["unknown"],
    {"$ne": None},
]


@pytest.mark.parametrize("kid", KIDS, ids=lambda kid: repr(kid)[:30])
@pytest.mark.parametrize("secret", ["", "\x00", SECRET_KEY], ids=["no key", "nul", "the key"])
async def test_only_a_key_of_ours_is_looked_up(door: Door, kid: Any, secret: str) -> None:
    token = token_of(door)
    header = header_of(token) | {"kid": kid}
    await must_be_refused(door, forged(header, claims_of(token), with_hmac(secret)))


async def test_a_token_that_names_no_key_is_refused(door: Door) -> None:
    token = token_of(door)
    header = header_of(token)
    del header["kid"]
    await must_be_refused(door, forged(header, claims_of(token), with_hmac(SECRET_KEY)))


async def test_a_token_does_not_bring_its_own_key(tmp_path: Path) -> None:
    mine = RSA_KEY
    numbers = mine.public_key().public_numbers()
    jwk = {
        "kty": "RSA",
        "kid": "mine",
        "n": encode(numbers.n.to_bytes(256, "big")),
        "e": "AQAB",
        "alg": "RS256",
    }
    secret_jwk = {"kty": "oct", "k": encode(b"mine"), "kid": "mine"}
    brought: list[dict[str, Any]] = [
        {"jwk": jwk},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/key.pem"},
        {"x5c": [encode(b"certificate")]},
        {"jwk": secret_jwk},
    ]
    async with opened(**signing_file(tmp_path, Ed25519PrivateKey.generate())) as door:
        token = token_of(door)
        for extra in brought:
            for kid in ("mine", header_of(token)["kid"]):
                header = {"typ": "JWT", "kid": kid} | extra
                claims = claims_of(token) | {"role": "staff"}
                rsa = forged(header | {"alg": "RS256"}, claims, with_key(mine))
                await must_be_refused(door, rsa)
                shared = forged(header | {"alg": "HS256"}, claims, with_hmac("mine"))
                await must_be_refused(door, shared)


@pytest.mark.parametrize("header", [{"crit": ["b64"], "b64": False}, {"crit": ["exp"]}, {"zip": 1}])
async def test_what_a_header_asks_for_never_helps(door: Door, header: dict[str, Any]) -> None:
    token = token_of(door)
    claims = claims_of(token) | {"role": "staff"}
    await must_be_refused(door, forged(header_of(token) | header, claims))


# --- broken tokens ---


async def test_no_character_of_a_token_can_be_changed(door: Door) -> None:
    token = token_of(door)
    # The last character of a part has bits that mean nothing; all others count.
    ends = {i for i in range(len(token)) if (token + ".")[i + 1] == "."}
    for i in range(len(token)):
        other = "A" if token[i] != "A" else "B"
        changed = token[:i] + other + token[i + 1 :]
        if i not in ends:
            await must_be_refused(door, changed)


async def test_a_truncated_token_is_refused_wherever_it_is_cut(door: Door) -> None:
    token = token_of(door)
    for length in range(1, len(token)):
        await must_be_refused(door, token[:length])
        await must_be_refused(door, token[length:])


def another_payload(token: str) -> str:
    header, _, signature = token.split(".")
    payload = forged({}, claims_of(token) | {"role": "staff"}).split(".")[1]
    return f"{header}.{payload}.{signature}"


BROKEN: dict[str, Callable[[str], str | bytes]] = {
    "another payload": another_payload,
    "two parts": lambda t: t.rpartition(".")[0],
    "four parts": lambda t: f"{t}.{t.split('.')[2]}",
    "encrypted": lambda t: f"{t}.x.y",
    "parts in another order": lambda t: ".".join(reversed(t.split("."))),
    "dots": lambda t: "..",
    "padded": lambda t: t + "==",
    "a newline": lambda t: t.replace(".", ".\n", 1),
    "no base64": lambda t: "ü." + t,
    "bytes": lambda t: b"\xff\xfe\x00" + t.encode(),
    "NUL": lambda t: t.encode() + b"\x00",
    "a header that is no object": lambda t: forged([], claims_of(t), with_hmac(SECRET_KEY)),
    "a header that is null": lambda t: forged(None, claims_of(t), with_hmac(SECRET_KEY)),
    "claims that are no object": lambda t: forged(header_of(t), [], with_hmac(SECRET_KEY)),
    "claims that are no JSON": lambda t: forged(header_of(t), b"{", with_hmac(SECRET_KEY)),
    "claims of NaN": lambda t: forged(header_of(t), b'{"exp": NaN}', with_hmac(SECRET_KEY)),
    "a header without an end": lambda t: forged(b"[" * 2_900, {}),
    "claims without an end": lambda t: forged(
        header_of(t), b'{"a":' + b"[" * 2_500, with_hmac(SECRET_KEY)
    ),
    "a huge number": lambda t: forged(
        header_of(t), b'{"exp": 1' + b"0" * 2_500 + b"}", with_hmac(SECRET_KEY)
    ),
    "a huge expiry": lambda t: forged(
        header_of(t), claims_of(t) | {"exp": 10**400}, with_hmac(SECRET_KEY)
    ),
    "longer than the limit": lambda t: "x" * (TOKEN_LENGTH_MAX + 1),
    "huge": lambda t: "x" * 1_000_000,
    "huge in three parts": lambda t: ".".join(["x" * 300_000] * 3),
}


@pytest.mark.parametrize("break_", BROKEN.values(), ids=BROKEN)
async def test_what_is_no_token_is_refused_and_nothing_worse(
    door: Door,
    break_: Callable[[str], str | bytes],
) -> None:
    await must_be_refused(door, break_(token_of(door)))


# --- the other kind of token ---


async def test_neither_kind_of_token_passes_for_the_other(database_url: str) -> None:
    async with opened(database_url) as door:
        await door.create("customer")
        tokens = (await door.sign_in("customer")).json()
        await must_be_refused(door, tokens["refresh"])
        for path in ("/api/token/refresh/", "/api/token/revoke/"):
            response = await door.at().post(path, json={"refresh": tokens["access"][:512]})
            assert response.status_code == (204 if "revoke" in path else 401)
        assert (await show(door, tokens["access"])).is_success
        response = await door.at().post("/api/token/refresh/", json={"refresh": tokens["refresh"]})
        assert response.is_success, "and nothing was signed out by trying"


# --- the Authorization header ---


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
async def test_the_scheme_may_be_in_any_case(door: Door, scheme: str) -> None:
    assert (await show(door, token_of(door), scheme)).is_success


@pytest.mark.parametrize("scheme", ["Basic", "JWT", "Token", "Bearer,", "Bearer:", "Bearerx", ""])
async def test_no_other_scheme_carries_a_token(door: Door, scheme: str) -> None:
    response = await show(door, token_of(door), scheme)
    assert (response.status_code, code_of(response)) == (401, "invalid_token")


@pytest.mark.parametrize("value", ["", " ", "Bearer", "Bearer ", "Bearer  ", "bearer\t"])
async def test_a_header_without_a_token_is_refused(door: Door, value: str) -> None:
    response = await door.at().get(PRODUCTS, headers={"Authorization": value})
    assert (response.status_code, code_of(response)) == (401, "invalid_token")


async def test_of_two_authorization_headers_neither_is_believed(door: Door) -> None:
    good, bad = f"Bearer {token_of(door)}", "Bearer nonsense"
    for pair in ((good, bad), (bad, good), (good, good)):
        headers = [("Authorization", pair[0]), ("authorization", pair[1])]
        response = await door.at().get(PRODUCTS, headers=headers)
        assert (response.status_code, code_of(response)) == (401, "invalid_token")


async def test_a_token_counts_in_the_header_only(door: Door) -> None:
    token = token_of(door)
    for where in (
        {"params": {"access_token": token}},
        {"params": {"token": token}},
        {"headers": {"Cookie": f"access={token}; Authorization=Bearer {token}"}},
        {"headers": {"X-Authorization": f"Bearer {token}"}},
        {"headers": {"Proxy-Authorization": f"Bearer {token}"}},
    ):
        response = await door.at().get(PRODUCTS, **where)  # type: ignore[arg-type]
        assert (response.status_code, code_of(response)) == (401, "unauthenticated")


# --- leeway ---


async def test_the_leeway_is_what_is_set_and_no_more() -> None:
    async with opened(token_leeway=7.0) as door:
        tokens = door.container.access_tokens()
        token = token_of(door)
        end = claims_of(token)["exp"] + 7
        for fresh in (True, False):  # refused by its signature's check and by the memory of it
            tokens._now = lambda: end - 0.01
            assert (await show(door, token)).is_success
            tokens._now = lambda: float(end)
            if fresh:
                tokens._verified.clear()
            await must_be_refused(door, token)


@pytest.mark.parametrize("leeway", ["61", "-1", "86400", "inf", "nan", "a while"])
def test_a_leeway_beyond_a_minute_stops_the_start(leeway: str) -> None:
    with pytest.raises(SettingsError, match="SHOP_TOKEN_LEEWAY"):
        load_settings({"SHOP_SECRET_KEY": SECRET_KEY, "SHOP_TOKEN_LEEWAY": leeway})


# --- rolling keys ---

OLD = "the secret before this one: long enough"


async def test_a_rolled_secret_verifies_until_it_is_removed() -> None:
    async with opened(secret_key=OLD) as before:
        token = token_of(before)
    async with opened(old_secret_keys=f" {OLD} ,{OLD}x") as rolled:
        assert (await show(rolled, token)).is_success
        assert header_of(token_of(rolled))["kid"] == kid_of(SECRET_KEY), "the new one signs"
    async with opened() as after:
        await must_be_refused(after, token)


async def test_a_secret_is_rolled_first_where_it_verifies_then_where_it_signs() -> None:
    """While processes restart one by one, each takes the tokens of the others."""
    async with (
        opened(secret_key=OLD, old_secret_keys=SECRET_KEY) as behind,
        opened(secret_key=SECRET_KEY, old_secret_keys=OLD) as ahead,
    ):
        assert (await show(ahead, token_of(behind))).is_success
        assert (await show(behind, token_of(ahead))).is_success


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_rolled_key_pair_verifies_until_it_is_removed(
    algorithm: str, tmp_path: Path
) -> None:
    old, new = KEYS[algorithm], Ed25519PrivateKey.generate()
    async with opened(secret_key="", **signing_file(tmp_path, old)) as before:
        token = token_of(before)
    files = signing_file(tmp_path, new)
    public = tmp_path / "public.pem"
    public.write_text(f"{public_pem(Ed25519PrivateKey.generate())}\n{public_pem(old)}\n\n")
    async with opened(secret_key="", verification_keys_file=str(public), **files) as rolled:
        assert (await show(rolled, token)).is_success
        assert header_of(token_of(rolled))["kid"] != header_of(token)["kid"]
        jwks = (await rolled.at().get("/.well-known/jwks.json")).json()["keys"]
        assert len(jwks) == 3
        assert {header_of(token)["kid"], header_of(token_of(rolled))["kid"]} < {
            key["kid"] for key in jwks
        }
    async with opened(secret_key="", **files) as after:
        await must_be_refused(after, token)
        assert len((await after.at().get("/.well-known/jwks.json")).json()["keys"]) == 1


@pytest.mark.parametrize("algorithm", KEYS)
async def test_the_published_keys_are_public(algorithm: str, tmp_path: Path) -> None:
    files = signing_file(tmp_path, KEYS[algorithm])
    async with opened(old_secret_keys=OLD, **files) as door:
        [jwk] = (await door.at().get("/.well-known/jwks.json")).json()["keys"]
        parts = {"EdDSA": {"crv", "x"}, "RS256": {"n", "e"}}[algorithm]
        assert set(jwk) == {"kty", "kid", "alg", "use"} | parts
        assert (jwk["alg"], jwk["use"]) == (algorithm, "sig")


async def test_a_shared_secret_is_not_published() -> None:
    async with opened(old_secret_keys=OLD) as door:
        assert (await door.at().get("/.well-known/jwks.json")).json() == {"keys": []}


# --- files of keys that are none ---

PUBLIC = public_pem(KEYS["EdDSA"])
PRIVATE = private_pem(KEYS["EdDSA"])
WEAK = generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  # to be refused

BAD_VERIFICATION_FILES = {
    "empty": "",
    "blank": "\n\n",
    "prose": "the key",
    "half a key": PUBLIC[: len(PUBLIC) // 2],
    "a key and half of one": PUBLIC + PUBLIC[: len(PUBLIC) // 2],
    "a key and prose": PUBLIC + "prose",
    "a private key": PRIVATE,
    "a broken key": PUBLIC.replace("MC", "MD", 1),
    "a weak key": public_pem(WEAK),
    "bytes": b"\xff\xfe",
}
BAD_SIGNING_FILES = {
    "empty": "",
    "prose": "the key",
    "a public key": PUBLIC,
    "half a key": PRIVATE[: len(PRIVATE) // 2],
    "a weak key": private_pem(WEAK),
    "bytes": b"\xff\xfe",
}


def load_with(folder: Path, field: str, content: str | bytes) -> None:
    path = folder / "key.pem"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    settings: dict[str, Any] = {"secret_key": SECRET_KEY, field: str(path)}
    load_keys(Settings(**settings))


@pytest.mark.parametrize("content", BAD_VERIFICATION_FILES.values(), ids=BAD_VERIFICATION_FILES)
def test_a_file_of_old_keys_that_holds_no_keys_stops_the_start(
    content: str | bytes, tmp_path: Path
) -> None:
    load_with(tmp_path, "verification_keys_file", PUBLIC + "\n" + public_pem(RSA_KEY))
    with pytest.raises(SettingsError, match=r"^SHOP_VERIFICATION_KEYS_FILE is wrong: "):
        load_with(tmp_path, "verification_keys_file", content)


@pytest.mark.parametrize("content", BAD_SIGNING_FILES.values(), ids=BAD_SIGNING_FILES)
def test_a_file_that_holds_no_signing_key_stops_the_start(
    content: str | bytes, tmp_path: Path
) -> None:
    load_with(tmp_path, "signing_key_file", PRIVATE)
    with pytest.raises(SettingsError, match=r"^SHOP_SIGNING_KEY_FILE is wrong: ") as refusal:
        load_with(tmp_path, "signing_key_file", content)
    assert "PRIVATE KEY-----" not in str(refusal.value)


@pytest.mark.parametrize("field", ["signing_key_file", "verification_keys_file"])
def test_a_file_that_cannot_be_read_stops_the_start(field: str, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        settings: dict[str, Any] = {"secret_key": SECRET_KEY, field: str(path)}
        with pytest.raises(SettingsError, match=f"^SHOP_{field.upper()} is wrong: "):
            load_keys(Settings(**settings))


@pytest.mark.parametrize("field", ["secret_key", "old_secret_keys"])
def test_a_short_secret_stops_the_start_and_is_not_told(field: str) -> None:
    short = "s" * 31
    with pytest.raises(SettingsError, match=f"^SHOP_{field.upper()} is too short") as refusal:
        load_keys(load_settings({"SHOP_SECRET_KEY": SECRET_KEY, f"SHOP_{field.upper()}": short}))
    assert short not in str(refusal.value)


def test_the_development_key_is_made_once_and_kept_to_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = load_keys(load_settings({})).private_key
    assert load_keys(load_settings({})).private_key == first
    assert len(first) >= 32
    kept = tmp_path / "var" / "secret_key"
    assert kept.read_text() == first
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert [path.name for path in kept.parent.iterdir()] == ["secret_key"]


def test_processes_that_start_together_agree_on_the_development_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        made = threads.map(lambda _: load_keys(load_settings({})).private_key, range(32))
        keys = set(made)
    assert len(keys) == 1


@pytest.mark.parametrize("kept", [b"", b"short", b"\xff\xfe", None], ids=repr)
def test_a_development_key_that_is_none_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bytes | None
) -> None:
    """An empty file, which a full disk leaves, would else sign with an empty key."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "var" / "secret_key"
    path.parent.mkdir()
    path.mkdir() if kept is None else path.write_bytes(kept)
    with pytest.raises(SettingsError, match=f"^SHOP_SECRET_KEY is not set, and .*{path}"):
        load_keys(load_settings({}))

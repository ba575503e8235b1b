"""Planted secrets: whatever is done to the shop, none of them is written, answered or shown."""

import ast
import base64
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner
from dependency_injector import providers
from sqlalchemy import text

import shop
from shop.domain.orders import OrderStatus
from shop.domain.services.sign_in import SignedIn
from shop.domain.sessions import RefreshToken, hash_token
from shop.domain.users import OPERATOR, Caller, Role, User
from shop.entrypoints.cli.main import main
from shop.entrypoints.container import build_container
from shop.entrypoints.http.api.tokens import Credentials, Refresh, TokenPair
from shop.entrypoints.http.api.users import NewUser, PasswordChange
from shop.entrypoints.settings import Settings, SettingsError, load_settings
from tests.builders import NOON, PlainHasher
from tests.logged import Log, logged
from tests.security.doors import Door, opened
from tests.security.forging import RSA_KEY, private_pem

PASSWORD = "planted-password-1f0c"
NEW_PASSWORD = "planted-password-new-77ab"
GUESS = "planted-guess-9d2e"
SECRET_KEY = "planted-secret-key-5b1e-long-enough-to-be-one"
OLD_SECRET = "planted-old-secret-key-8c3d-long-enough-too"
DATABASE_PASSWORD = "planted-database-password-e4f1"
PLANTED = "planted-"


@pytest.fixture(params=["text", "json"])
def log(request: pytest.FixtureRequest) -> Iterator[Log]:
    """All that a service logs at its chattiest."""
    with logged("debug", request.param, only=True) as log:
        yield log


def forms(secret: str) -> list[str]:
    """Of a secret, as it could turn up."""
    raw = secret.encode()
    return [secret, base64.b64encode(raw).decode(), raw.hex(), repr(raw)[2:-1]]


def hashed_forms(secret: str) -> list[str]:
    """Of what is stored of a token."""
    digest = hash_token(secret)
    return [digest.hex(), repr(digest)[2:-1], base64.b64encode(digest).decode()]


def must_not_show(where: str, *secrets: str, hashes: bool = True) -> None:
    for secret in (PASSWORD, NEW_PASSWORD, GUESS, SECRET_KEY, OLD_SECRET, *secrets):
        for form in forms(secret) + (hashed_forms(secret) if hashes else []):
            assert form not in where
    assert PLANTED not in where


@asynccontextmanager
async def opened_shop(database_url: str) -> AsyncIterator[Door]:
    async with opened(
        database_url,
        secret_key=SECRET_KEY,
        old_secret_keys=OLD_SECRET,
        hasher=PlainHasher(),
        registration=True,
        access_log=True,
    ) as door:
        yield door


async def lived(door: Door) -> tuple[list[httpx.Response], list[str]]:
    """Everything that handles a secret, well and badly; the answers, and the tokens given out."""
    answers: list[httpx.Response] = []
    tokens: list[str] = []

    async def post(path: str, body: Any = None, **request: Any) -> httpx.Response:
        if body is not None:
            request["json"] = body
        response = await door.at().post(path, **request)
        if path in ("/api/token/", "/api/token/refresh/") and response.is_success:
            tokens.extend(response.json().values())
        else:
            answers.append(response)
        return response

    name = {"username": "customer"}
    await post("/api/users/", name | {"password": PASSWORD})
    await post("/api/users/", name | {"password": PASSWORD})
    await post("/api/users/", {"username": PASSWORD + " ", "password": PASSWORD})
    signed_in = (await post("/api/token/", name | {"password": PASSWORD})).json()
    bearer = {"Authorization": f"Bearer {signed_in['access']}"}
    await post("/api/token/", name | {"password": GUESS})
    await post("/api/token/", {"username": PASSWORD, "password": GUESS})
    await post("/api/token/", name | {"password": GUESS, "otp": GUESS})
    await post("/api/token/", name | {"password": [GUESS]})
    await post("/api/token/", name | {"password": GUESS * 40})
    await post("/api/token/", content=f'{{"username": "x", "password": "{GUESS}"'.encode())
    await post("/api/token/", content=f'{{"password": "{GUESS}", "password": "x"}}'.encode())
    body = f"username=customer&password={GUESS}"
    await post(
        "/api/token/",
        content=body.encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    first = signed_in["refresh"]
    second = (await post("/api/token/refresh/", {"refresh": first})).json()["refresh"]
    await post("/api/token/refresh/", {"refresh": second})
    await post("/api/token/refresh/", {"refresh": first})
    await post("/api/token/revoke/", {"refresh": first, "extra": first})
    await post("/api/token/revoke/", {"refresh": second})
    for token in (first, signed_in["access"] + "x", GUESS):
        for path in ("/api/orders/", f"/api/products/?search={token[:90]}", "/nowhere/"):
            header = {"Authorization": f"Bearer {token}"}
            answers.append(await door.at().get(path, headers=header))
    for change in (
        {"current": GUESS, "new": NEW_PASSWORD},
        {"current": PASSWORD, "new": "short"},
        {"current": PASSWORD, "new": NEW_PASSWORD},
    ):
        await post("/api/users/me/password/", change, headers=bearer)
    for _ in range(8):
        await post("/api/token/", name | {"password": GUESS})
    answers.append(await door.at().get("/api/users/me/", headers=bearer))
    answers.append(await door.at().get("/metrics"))
    return answers, tokens


async def test_nothing_is_told_in_a_log_an_answer_or_a_metric(
    any_database_url: str, log: Log
) -> None:
    async with opened_shop(any_database_url) as door:
        answers, tokens = await lived(door)
    assert {r.status_code for r in answers} >= {200, 201, 204, 400, 401, 409, 415, 429}
    for answer in answers:
        must_not_show(answer.text + str(answer.headers), *tokens)
    assert "sign_in.failed" in log.text
    must_not_show(log.text, *tokens)


async def test_what_nobody_asked_for_is_in_no_line_of_a_request(
    any_database_url: str, log: Log
) -> None:
    """Headers, keys, queries, bodies, and whatever is in an address that there is not."""
    async with opened_shop(any_database_url) as door:
        caller = await door.create("customer")
        product = await door.given_product()
        bearer = door.signed_in(caller)
        token = bearer["Authorization"].removeprefix("Bearer ")
        secret = {
            "Cookie": "session=planted-cookie",
            "X-Api-Key": "planted-api-key",
            "User-Agent": "planted-agent",
            "Referer": "https://planted-referer/",
        }
        order = {"items": [{"product_id": product.id, "quantity": 1}]}
        many = {"items": [{"product_id": product.id, "quantity": 99}]}
        odd = {"items": [{"product_id": "planted-product", "quantity": 1}]}
        client = door.at()
        statuses = [
            (
                await client.post(
                    "/api/orders/",
                    json=body,
                    headers=bearer | secret | {"Idempotency-Key": f"planted-key-{number}"},
                )
            ).status_code
            for number, body in enumerate((order, many, odd))
        ]
        for path in (f"/nowhere/{token}", f"/{token}?x=planted", "/api/products/?search=planted"):
            statuses.append((await client.get(path, headers=bearer | secret)).status_code)
    assert statuses == [201, 409, 400, 404, 404, 200]
    assert log.text.count("shop.access") == len(statuses)
    must_not_show(log.text, token)


async def test_a_row_that_the_database_refuses_is_not_told(postgresql_url: str, log: Log) -> None:
    """PostgreSQL says the whole row, in which there is a hash."""
    async with opened_shop(postgresql_url) as door:
        async with door.container.engines().patient.begin() as connection:
            await connection.execute(
                text("ALTER TABLE users ADD CONSTRAINT ck_odd CHECK (password_hash IS NULL)")
            )
        answer = await door.at().post(
            "/api/users/", json={"username": "another", "password": NEW_PASSWORD}
        )
        assert answer.status_code == 500
    assert "ck_odd" in log.text
    assert "DETAIL" in log.text
    must_not_show(answer.text + log.text)


class Mishap(Exception):
    """What nobody expects."""


async def test_a_failure_with_a_secret_in_hand_does_not_tell_it(
    any_database_url: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened_shop(any_database_url) as door:
        _, tokens = await lived(door)

        async def fail(*_: object, **__: object) -> None:
            raise Mishap("out of luck")

        hasher = door.container.hasher()
        monkeypatch.setattr(hasher, "verify", fail)
        answer = await door.sign_in("customer", NEW_PASSWORD, address="198.51.100.1")
        assert answer.status_code == 500
        must_not_show(answer.text)
        assert "Mishap" in log.text
        must_not_show(log.text, *tokens)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("table", ["users", "sign_in_attempts", "refresh_tokens"])
async def test_a_statement_that_fails_does_not_tell_what_was_in_it(
    kind: str, table: str, log: Log, request: pytest.FixtureRequest
) -> None:
    async with opened_shop(request.getfixturevalue(f"{kind}_url")) as door:
        await door.container.create_user()(caller=OPERATOR, username="customer", password=PASSWORD)
        refresh = (await door.sign_in("customer", PASSWORD)).json()["refresh"]
        async with door.container.engines().patient.begin() as connection:
            await connection.execute(text(f"ALTER TABLE {table} RENAME TO gone"))
        # People type their password as their name at times.
        answers = [
            await door.sign_in(PASSWORD, PASSWORD),
            await door.sign_in("customer", PASSWORD),
            await door.at().post("/api/token/refresh/", json={"refresh": refresh}),
            await door.at().post(
                "/api/users/", json={"username": "another", "password": NEW_PASSWORD}
            ),
        ]
        assert 500 in {answer.status_code for answer in answers}
        for answer in answers:
            must_not_show(answer.text, refresh)
        assert table in log.text, "what went wrong is there all the same"
        must_not_show(log.text, refresh)


async def test_nobody_who_looks_at_an_object_sees_a_secret(tmp_path: Path) -> None:
    pem = tmp_path / "signing.pem"
    pem.write_text(private_pem(RSA_KEY))
    container = build_container(
        Settings(
            database_url=f"postgresql+asyncpg://shop:{DATABASE_PASSWORD}@127.0.0.1:1/shop",
            secret_key=SECRET_KEY,
            old_secret_keys=OLD_SECRET,
            signing_key_file=str(pem),
        )
    )
    caller = Caller(user_id=1, role=Role.CUSTOMER)
    token = container.access_tokens().issue(caller)
    container.access_tokens().verify(token.encode())
    parts: list[Any] = [
        provider()
        for name, provider in container.providers.items()
        if isinstance(provider, providers.Singleton | providers.Selector)
        and name not in ("memory", "schema", "unit_of_work")
    ]
    assert len(parts) > 30
    user = User(
        id=1,
        username="customer",
        password_hash=f"plain:{PASSWORD}",
        role=Role.CUSTOMER,
        disabled=False,
        created_at=NOON,
    )
    hashed = RefreshToken(
        token_hash=hash_token("other"),
        family_id=container.new_id()(),
        predecessor=None,
        issued_at=NOON,
        expires_at=NOON,
    )
    objects = [
        container,
        container.settings(),
        *parts,
        *[value for part in parts for value in getattr(part, "__dict__", {}).values()],
        user,
        hashed,
        [user],
        SignedIn(caller=caller, refresh_token=PASSWORD),
        Credentials(username="x", password=PASSWORD),
        Refresh(refresh=PASSWORD),
        TokenPair(access=token, refresh=PASSWORD),
        NewUser(username="x", password=PASSWORD),
        PasswordChange(current=PASSWORD, new=NEW_PASSWORD),
    ]
    keys = {SECRET_KEY, container.signing_keys().private_key}
    for one in objects:
        if isinstance(one, str) and one in keys:
            continue  # the thing itself, inside of what hides it
        for shown in (repr(one), str(one), f"{one}"):
            must_not_show(shown, DATABASE_PASSWORD, token, hashes=False)
            assert "PRIVATE" not in shown
    await container.engines().dispose()


def test_every_body_that_takes_or_gives_a_secret_hides_it() -> None:
    """A new body with such a field fails here until it does."""
    secret = {"password", "current", "new", "refresh", "access", "token", "secret"}
    found = set()
    for module in ("tokens", "users", "orders", "products", "health"):
        contents = vars(__import__(f"shop.entrypoints.http.api.{module}", fromlist=["*"]))
        for value in contents.values():
            if isinstance(value, type) and issubclass(value, msgspec.Struct):
                fields = set(value.__struct_fields__) & secret
                if fields:
                    found.add(value.__name__)
                    assert "__repr__" in vars(value), value
    assert found == {"Credentials", "Refresh", "TokenPair", "NewUser", "PasswordChange"}


BAD_SETTINGS: dict[str, dict[str, str]] = {
    "a short secret": {"SHOP_SECRET_KEY": "planted-short"},
    "a short old secret": {"SHOP_SECRET_KEY": SECRET_KEY, "SHOP_OLD_SECRET_KEYS": "planted-old"},
    "another database": {"SHOP_DATABASE_URL": f"mysql://shop:{DATABASE_PASSWORD}@db/shop"},
    "no database": {"SHOP_DATABASE_URL": f"{DATABASE_PASSWORD}"},
    "a wrong port": {"SHOP_DATABASE_URL": f"postgresql+asyncpg://a:{DATABASE_PASSWORD}@db:x/y"},
    "a misspelt secret": {"SHOP_SECRETKEY": SECRET_KEY},
    "nobody there": {
        "SHOP_DATABASE_URL": f"postgresql+asyncpg://shop:{DATABASE_PASSWORD}@127.0.0.1:1/shop",
        "SHOP_SECRET_KEY": SECRET_KEY,
        "SHOP_DATABASE_CONNECT_TIMEOUT": "1",
    },
}


@pytest.mark.parametrize("environ", BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_a_command_that_fails_tells_no_secret(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["list-users"], env=environ)
    assert result.exit_code == 1
    assert "Error" in result.output or result.exception
    must_not_show(result.output + repr(result.exception), DATABASE_PASSWORD)


def test_a_command_that_takes_a_password_does_not_repeat_it(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"SHOP_DATABASE_URL": sqlite_url, "SHOP_SECRET_KEY": SECRET_KEY}
    for arguments, typed, code in (
        (["create-user", "alice", "--password-stdin"], PASSWORD, 0),
        (["create-user", "alice", "--password-stdin"], PASSWORD, 1),
        (["create-user", "al ice", "--password-stdin"], PASSWORD, 1),
        (["create-user", "bob", "--password-stdin"], "planted", 1),
        (["create-user", "bob"], f"{PASSWORD}\n{PASSWORD}\n", 0),
        (["create-user", "carol"], f"{PASSWORD}\n{GUESS}\n", 1),
        (["set-password", "alice", "--password-stdin"], NEW_PASSWORD, 0),
        (["set-password", "nobody", "--password-stdin"], NEW_PASSWORD, 1),
        (["list-users"], "", 0),
    ):
        result = CliRunner().invoke(main, arguments, input=typed, env=environ)
        assert result.exit_code == code, result.output
        must_not_show(result.output)


def test_a_secret_in_a_wrong_setting_is_not_repeated() -> None:
    for name in ("SHOP_TOKEN_LEEWAY", "SHOP_REGISTRATION", "SHOP_BODY_MAX", "SHOP_PUBLIC_URL"):
        with pytest.raises(SettingsError) as refusal:
            load_settings({"SHOP_SECRET_KEY": SECRET_KEY, name: PASSWORD})
        must_not_show(str(refusal.value))


# --- the audit trail ---

DOCS = Path(__file__).parents[2] / "docs" / "security.md"

# `order.{status}` stands for these.
ADVANCED = {f"order.{status.value}" for status in (OrderStatus.SHIPPED, OrderStatus.DELIVERED)}


def events_of(node: ast.expr) -> set[str]:
    match node:
        case ast.Constant(value=str(event)):
            return {event}
        case ast.JoinedStr(values=[ast.Constant(value="order."), ast.FormattedValue()]):
            return ADVANCED
        case ast.Name():
            return set()  # handed on
    raise AssertionError(f"an event's name must be readable in the source: {ast.unparse(node)}")


def is_false(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


_NAMING = ("Event", "record_change", "books.change_order")
"""What is given an event's name by its own name."""


@cache
def events_in_source() -> frozenset[str]:
    events: set[str] = set()
    for path in Path(shop.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            if called in _NAMING and not is_false(given.get("security")):
                events |= events_of(given["name"])
            elif called in ("_event", "catalogue_event"):
                events |= events_of(node.args[0])
    return frozenset(events)


def test_the_docs_list_the_audit_events_that_there_are() -> None:
    section = DOCS.read_text().partition("## Audit trail")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `([a-z_.]+)` \|", section, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == events_in_source()
    assert len(listed) > 20


async def test_an_audit_line_is_an_event_that_nothing_breaks_out_of(database_url: str) -> None:
    with logged() as log:
        async with opened(database_url, hasher=PlainHasher(), trusted_proxies="10.0.0.0/8") as door:
            await door.container.create_user()(
                caller=OPERATOR, username="customer", password=PASSWORD
            )
            for address in ("192.0.2.1", "10.0.0.1"):
                for password in (PASSWORD, GUESS):
                    forged = {
                        "X-Forwarded-For": 'x"} sign_in.succeeded {"user": 1',
                        "User-Agent": "x",
                    }
                    await door.sign_in("customer", password, address=address, **forged)
    lines = [line for line in log.lines if line["logger"] == "shop.audit"]
    assert len(lines) == 5
    # What every line may have.
    common = {"time", "level", "logger", "event", "audit", "request_id", "batch_id"}
    for line in lines:
        assert line["event"] in events_in_source()
        assert line["audit"] is True
        assert line.keys() - common <= {"user", "address", "role"}
    assert (lines[-1]["user"], lines[-1]["address"]) == (1, "10.0.0.1")

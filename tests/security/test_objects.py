"""Other people's things, fields that are not theirs to set, and text that is more than text."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, product
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from uuid import UUID, uuid4

import httpx
import pytest

from shop.domain.orders import OrderQuery
from shop.domain.pages import Window
from shop.domain.products import Product
from shop.domain.users import OPERATOR, Caller, Role, User
from tests.builders import PASSWORD
from tests.security.doors import HOST, Door, code_of, opened

_numbers = count(1)


@dataclass(frozen=True, kw_only=True)
class Shop:
    door: Door
    customer: Caller
    other: Caller
    staff: Caller
    tea: Product

    async def ask(
        self, method: str, path: str, who: Caller | None = None, **request: Any
    ) -> httpx.Response:
        headers = dict(request.pop("headers", {})) | (self.door.signed_in(who) if who else {})
        response = await self.door.at().request(method, path, headers=headers, **request)
        assert response.status_code < 500, response.text
        if response.status_code >= 400:
            assert code_of(response)
        return response

    def basket(self, quantity: int = 1) -> dict[str, Any]:
        return {"items": [{"product_id": self.tea.id, "quantity": quantity}]}

    async def place(self, who: Caller) -> dict[str, Any]:
        response = await self.ask("POST", "/api/orders/", who, json=self.basket())
        assert response.status_code == 201
        order: dict[str, Any] = response.json()
        return order

    async def everything(self) -> list[Any]:
        """All orders, products, movements and users there are."""
        container, window = self.door.container, Window(limit=100)
        users: list[User] = []
        async for some in container.list_users()(caller=OPERATOR):
            users.extend(some)
        products = (await self.ask("GET", "/api/products/?page_size=100", self.staff)).json()
        return [
            await container.list_orders()(caller=self.staff, query=OrderQuery(), window=window),
            products,
            *[
                await container.read_movements()(
                    caller=OPERATOR, product_id=one["id"], window=window
                )
                for one in products["results"]
            ],
            users,
        ]


@asynccontextmanager
async def opened_shop(database_url: str, **settings: Any) -> AsyncIterator[Shop]:
    async with opened(database_url, **settings) as door:
        yield Shop(
            door=door,
            customer=await door.create("customer"),
            other=await door.create("other"),
            staff=await door.create("staff", Role.STAFF),
            tea=await door.given_product(stock=1_000),
        )


@pytest.fixture
async def shop(any_database_url: str) -> AsyncIterator[Shop]:
    async with opened_shop(any_database_url) as shop:
        yield shop


@pytest.fixture(scope="module")
async def standing() -> AsyncIterator[Shop]:
    """One for attacks that change nothing; it takes longer to build than they to run."""
    async with opened_shop("memory://", registration=True) as shop:
        yield shop


# --- other people's orders ---


async def test_anothers_order_looks_like_one_that_is_not_there(shop: Shop) -> None:
    order = (await shop.place(shop.customer))["id"]
    unknown = str(uuid4())
    before = await shop.everything()
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/", {}),
        ("GET", "/history/", {}),
        ("GET", "/history/?page=2", {}),
        ("PATCH", "/", {"json": shop.basket(2)}),
        ("PATCH", "/", {"json": shop.basket(2), "headers": {"If-Match": '"1"'}}),
        ("PATCH", "/", {"json": shop.basket(2), "headers": {"If-Match": '"9"'}}),
        ("PATCH", "/", {"json": {"items": [{"product_id": 999, "quantity": 1}]}}),
        ("PATCH", "/", {"json": shop.basket(1_000_000)}),
        ("POST", "/cancel/", {}),
        ("POST", "/cancel/", {"json": {"restock": False, "note": "mine"}}),
    ]
    for method, path, request in calls:
        there = await shop.ask(method, f"/api/orders/{order}{path}", shop.other, **request)
        absent = await shop.ask(method, f"/api/orders/{unknown}{path}", shop.other, **request)
        assert (there.status_code, code_of(there)) == (404, "order_not_found"), (method, path)
        assert there.text.replace(order, unknown) == absent.text
        assert visible(there) == visible(absent)
    assert await shop.everything() == before


def visible(response: httpx.Response) -> list[tuple[str, str]]:
    return [item for item in response.headers.items() if item[0] != "x-request-id"]


async def test_what_only_staff_do_looks_the_same_whether_the_order_is_there(shop: Shop) -> None:
    order = (await shop.place(shop.customer))["id"]
    for verb in ("pay", "ship", "deliver", "return"):
        answers = {
            (await shop.ask("POST", f"/api/orders/{one}/{verb}/", shop.other)).text
            for one in (order, uuid4(), "nonsense")
        }
        assert len(answers) == 1


async def test_an_order_id_is_no_other_thing_than_itself(shop: Shop) -> None:
    """Placing under another's id says no more than that the id is taken; nothing changes."""
    order = (await shop.place(shop.customer))["id"]
    before = await shop.everything()
    response = await shop.ask("POST", f"/api/orders/{order}/", shop.other, json=shop.basket())
    assert (response.status_code, code_of(response)) == (409, "order_id_taken")
    assert "user" not in response.json()
    for spelt in (order.upper(), order.replace("-", ""), f"{{{order}}}", f"urn:uuid:{order}"):
        for method in ("GET", "PATCH"):
            body = {"json": shop.basket(2)} if method == "PATCH" else {}
            response = await shop.ask(method, f"/api/orders/{spelt}/", shop.other, **body)
            assert response.status_code in (400, 404), spelt
    assert await shop.everything() == before


async def test_a_list_has_only_ones_own_orders_whatever_is_asked_for(shop: Shop) -> None:
    theirs = await shop.place(shop.customer)
    mine = await shop.place(shop.other)
    me = shop.customer.user_id
    queries = ["", f"user={me}", f"user={me}&user=1", f"code={theirs['code']}", "status=placed"]
    for query in [*queries, "page_size=100", f"user_id={me}", f"User={me}", f"user[]={me}"]:
        response = await shop.ask("GET", f"/api/orders/?{query}", shop.other)
        if response.status_code == 200:
            assert {order["id"] for order in response.json()["results"]} <= {mine["id"]}, query


async def test_anothers_cursor_shows_ones_own_orders_only(shop: Shop) -> None:
    for _ in range(3):
        await shop.place(shop.customer)
    await shop.place(shop.other)
    page = (await shop.ask("GET", "/api/orders/?page_size=1", shop.customer)).json()
    response = await shop.ask("GET", page["next"].removeprefix(HOST), shop.other)
    assert {order["user"] for order in response.json()["results"]} <= {shop.other.user_id}


async def test_an_idempotency_key_is_ones_own(shop: Shop) -> None:
    headers = {"Idempotency-Key": "the same"}
    mine, theirs = [
        await shop.ask("POST", "/api/orders/", who, json=shop.basket(), headers=headers)
        for who in (shop.customer, shop.other)
    ]
    assert mine.status_code == theirs.status_code == 201
    assert mine.json()["id"] != theirs.json()["id"]


async def test_sessions_are_ones_own(shop: Shop) -> None:
    await shop.door.sign_in("customer")
    listed = await shop.ask("GET", "/api/users/me/sessions/", shop.other)
    assert listed.json() == []
    refresh = (await shop.door.sign_in("customer")).json()["refresh"]
    await shop.ask("POST", "/api/token/revoke-all/", shop.other)
    again = await shop.ask("POST", "/api/token/refresh/", json={"refresh": refresh})
    assert again.status_code == 200


# --- mass assignment ---

EXTRA = {
    "id": 1,
    "user": 1,
    "user_id": 1,
    "owner": 1,
    "role": "staff",
    "is_staff": True,
    "is_superuser": True,
    "status": "paid",
    "price": "0.01",
    "total": "0.00",
    "currency": "USD",
    "code": "AAAAAAAAAAAA",
    "created": "2020-01-01T00:00:00Z",
    "version": 1,
    "archived": True,
    "disabled": False,
    "password_hash": "x",
    "stock": 1_000_000,
    "restock": True,
    "reference": "x",
    "note": "x",
    "__class__": {},
    "": 1,
}


async def test_no_body_takes_a_field_that_is_not_its_own(database_url: str) -> None:
    async with opened_shop(database_url, registration=True) as shop:
        order = (await shop.place(shop.customer))["id"]
        refresh = (await shop.door.sign_in("other")).json()["refresh"]
        credentials = {"username": "newcomer", "password": PASSWORD}
        new_product = {"sku": "NEW", "name": "New", "price": "1.00", "stock": 1}
        tea = f"/api/products/{shop.tea.id}"
        bodies: list[tuple[str, str, dict[str, Any], set[str]]] = [
            ("POST", "/api/token/", credentials, set()),
            ("POST", "/api/token/refresh/", {"refresh": refresh}, set()),
            ("POST", "/api/token/revoke/", {"refresh": refresh}, set()),
            ("POST", "/api/users/", credentials, set()),
            ("POST", "/api/users/me/password/", {"current": PASSWORD, "new": "n" * 12}, set()),
            ("POST", "/api/products/", new_product, {"price", "stock"}),
            ("PATCH", f"{tea}/", {"name": "Other"}, {"price"}),
            ("POST", f"{tea}/stock/", {"delta": 1, "reason": "restock"}, set()),
            ("POST", "/api/products/bulk/", {"rows": [{"sku": "NEW"}]}, set()),
            ("POST", "/api/stock/changes/", {"rows": [{"sku": "NEW"}]}, set()),
            ("POST", "/api/orders/", shop.basket(), set()),
            ("POST", f"/api/orders/{uuid4()}/", shop.basket(), set()),
            ("PATCH", f"/api/orders/{order}/", shop.basket(2), set()),
            ("POST", f"/api/orders/{order}/cancel/", {}, {"restock", "note"}),
            ("POST", f"/api/orders/{order}/pay/", {}, {"reference", "note"}),
            ("POST", f"/api/orders/{order}/ship/", {}, {"note"}),
            ("POST", f"/api/orders/{order}/deliver/", {}, {"note"}),
            ("POST", f"/api/orders/{order}/return/", {}, {"restock", "note"}),
        ]
        before = await shop.everything()
        for (method, path, body, own), (name, value) in product(bodies, EXTRA.items()):
            if name in own:
                continue
            response = await shop.ask(method, path, shop.staff, json=body | {name: value})
            assert (response.status_code, code_of(response)) == (400, "invalid_fields"), (
                path,
                name,
            )
        assert await shop.everything() == before
        again = await shop.ask("POST", "/api/token/refresh/", json={"refresh": refresh})
        assert again.status_code == 200, "the refused bodies did not use or revoke it"


async def test_no_line_of_an_order_takes_a_price(database_url: str) -> None:
    async with opened_shop(database_url) as shop:
        order = (await shop.place(shop.customer))["id"]
        before = await shop.everything()
        for name, value in EXTRA.items():
            line = shop.basket()["items"][0] | {name: value}
            for method, path in (
                ("POST", "/api/orders/"),
                ("POST", f"/api/orders/{uuid4()}/"),
                ("PATCH", f"/api/orders/{order}/"),
            ):
                body = {"items": [line]}
                response = await shop.ask(method, path, shop.customer, json=body)
                assert (response.status_code, code_of(response)) == (400, "invalid_fields")
        assert await shop.everything() == before


# --- SQL ---

SQL = [
    "'",
    '"',
    "';--",
    "' OR '1'='1",
    "1 OR 1=1",
    "'; DROP TABLE users; --",
    "x') UNION SELECT password_hash FROM users --",
    "%' AND 1=(SELECT COUNT(*) FROM users) AND '%'='",
    "\\",
    "\\'",
    "%",
    "_",
    "$1",
    "?",
    ":name",
    "%s %(name)s",
    "{0}",
    "${jndi:ldap://evil.example}",
    "`id`",
    "$$; SELECT pg_sleep(10); $$",
]


async def test_sql_in_a_query_finds_text_or_is_refused(shop: Shop) -> None:
    await shop.place(shop.customer)
    before = await shop.everything()
    for text in SQL:
        found = await shop.ask("GET", "/api/products/", shop.customer, params={"search": text})
        assert (found.status_code, found.json()["count"]) == (200, 0), text
        for path, names in {
            "/api/products/": ["ordering", "in_stock", "price_min", "price_max", "page", "cursor"],
            "/api/orders/": ["status", "created_after", "created_before", "code", "user", "cursor"],
        }.items():
            for name in names:
                response = await shop.ask("GET", path, shop.staff, params={name: text})
                assert (response.status_code, code_of(response)) == (400, "invalid_fields"), name
        for path in ("/api/products/{}/", "/api/orders/{}/", "/api/products/{}/movements/"):
            response = await shop.ask("GET", path.format(quote(text, safe="")), shop.staff)
            assert response.status_code in (400, 404)
    assert await shop.everything() == before


async def test_sql_in_what_is_stored_comes_back_as_it_is(shop: Shop) -> None:
    for number, text in enumerate(SQL):
        created = await shop.ask(
            "POST",
            "/api/products/",
            shop.staff,
            json={"sku": f"SQL-{number}", "name": f"x{text}", "price": "1.00", "description": text},
        )
        assert created.json()["name"] == f"x{text}"
        assert created.json()["description"] == text
        found = await shop.ask("GET", "/api/products/", shop.other, params={"search": f"x{text}"})
        assert f"x{text}" in {one["name"] for one in found.json()["results"]}
        stock = f"/api/products/{created.json()['id']}/stock/"
        await shop.ask("POST", stock, shop.staff, json={"delta": 3, "reason": text})
        movements = await shop.ask("GET", stock.replace("stock", "movements"), shop.staff)
        assert movements.json()["results"][0]["note"] == text
        headers = {"Idempotency-Key": text}
        placed = [
            await shop.ask("POST", "/api/orders/", shop.other, json=shop.basket(), headers=headers)
            for _ in range(2)
        ]
        assert [response.status_code for response in placed] == [201, 200], text
        cancel = f"/api/orders/{placed[0].json()['id']}/cancel/"
        await shop.ask("POST", cancel, shop.other, json={"note": text})
        history = await shop.ask("GET", cancel.replace("cancel", "history"), shop.other)
        assert history.json()["results"][-1]["note"] == text


async def test_percent_and_underscore_are_no_wildcards(shop: Shop) -> None:
    for wildcard in ("%", "_", "Tea%", "T_apot", "Teapo_", "[T]eapot", "*"):
        found = await shop.ask("GET", "/api/products/", shop.other, params={"search": wildcard})
        assert found.json()["count"] == 0, wildcard
    found = await shop.ask("GET", "/api/products/", shop.other, params={"search": "eApO"})
    assert found.json()["count"] == 1


async def test_sql_in_names_and_passwords_signs_nobody_in(any_database_url: str) -> None:
    async with opened_shop(any_database_url) as shop:
        for number, text in enumerate(SQL):
            for name, password in ((text, text), ("customer", text), (f"customer{text}", PASSWORD)):
                address = f"198.51.{number}.1"
                response = await shop.door.sign_in(name, password, address=address)
                assert response.status_code in (401, 429)
            for path in ("/api/token/refresh/", "/api/token/revoke/"):
                response = await shop.ask("POST", path, json={"refresh": text})
                assert response.status_code == (401 if "refresh" in path else 204)


# --- user names ---

REFUSED_NAMES = {
    "a space": "ad min",
    "a no-break space": "ad\u00a0min",
    "a zero-width space": "ad\u200bmin",
    "a zero-width joiner": "ad\u200dmin",
    "a soft hyphen": "ad\u00admin",
    "a byte order mark": "\ufeffadmin",
    "right to left": "\u202enimda",
    "a left-to-right mark": "admin\u200e",
    "an isolate": "\u2066admin\u2069",
    "a line": "ad\nmin",
    "a NUL": "admin\x00",
    "an escape": "\x1b[31madmin",
    "a tag": "<b>admin",
    "a slash": "../admin",
    "a quote": "admin'--",
    "an emoji": "admin🔑",
    "nothing": "",
    "too long": "a" * 151,
    "too long when it is normal": "\ufdfa" * 20,
}


@pytest.mark.parametrize("name", REFUSED_NAMES.values(), ids=REFUSED_NAMES)
async def test_a_name_that_could_be_taken_for_another_is_refused(standing: Shop, name: str) -> None:
    address = f"198.51.{next(_numbers)}.1"
    name = name.replace("admin", "customer")
    body = {"username": name, "password": PASSWORD}
    response = await standing.door.at(address).post("/api/users/", json=body)
    assert (response.status_code, code_of(response)) == (400, "invalid_fields")
    signed_in = await standing.door.sign_in(name or "-", address=address)
    assert signed_in.status_code in (400, 401), "and signing in does not clean it up either"


async def test_one_name_in_two_spellings_is_one_name(any_database_url: str) -> None:
    async with opened(any_database_url, registration=True) as door:
        spellings = (
            ("admin", "\uff41\uff44\uff4d\uff49\uff4e"),
            ("café", "cafe\u0301"),
            ("\ufb01ona", "fiona"),
            ("Bert", "BERT"),
            ("\u0130lkay", "ilkay"),
            ("stra\u00dfe", " STRASSE\n"),
            ("carla", "carla\u00a0"),
        )
        for number, (name, spelt) in enumerate(spellings):
            address = f"198.51.100.{number}"
            await door.create(name)
            body = {"username": spelt, "password": PASSWORD}
            response = await door.at(address).post("/api/users/", json=body)
            assert (response.status_code, code_of(response)) == (409, "username_taken")
            assert (await door.sign_in(spelt, address=address)).status_code == 200


CYRILLIC = "\u0430dmin"


async def test_names_that_only_look_alike_are_different_users(any_database_url: str) -> None:
    async with opened(any_database_url) as door:
        ids = {(await door.create(name)).user_id for name in ("admin", CYRILLIC, "adm\u0131n")}
        assert len(ids) == 3
        body = {"username": CYRILLIC, "password": PASSWORD}
        access = (await door.at().post("/api/token/", json=body)).json()["access"]
        me = await door.at().get("/api/users/me/", headers={"Authorization": f"Bearer {access}"})
        assert me.json()["username"] == CYRILLIC


# --- headers, paths, bodies ---


def as_one_line(headers: httpx.Headers) -> None:
    assert "x-injected" not in headers
    for _, value in headers.raw:
        assert not {13, 10, 0} & set(value)


async def test_nothing_that_is_sent_becomes_a_header(database_url: str) -> None:
    async with opened_shop(database_url) as shop:
        bearer = shop.door.signed_in(shop.customer)["Authorization"]
        for break_ in (b"\r\n", b"\n", b"\r", b"%0d%0a", b"\xc2\x85", "\u560a".encode(), b"\\r\\n"):
            injected = b"a" + break_ + b"X-Injected: 1"
            for name in (b"X-Request-ID", b"Idempotency-Key", b"Origin", b"User-Agent", b"Accept"):
                response = await shop.door.at().post(
                    "/api/orders/",
                    headers=[
                        (name, injected),
                        (b"Authorization", bearer.encode()),
                    ],
                    json=shop.basket(),
                )
                assert response.status_code in (201, 400, 406)
                as_one_line(response.headers)
        for path in (
            f"/api/orders/{uuid4()}%0d%0aX-Injected:%201/",
            "/api/products/1%0d%0aX-Injected:%201/",
            "/nowhere%0d%0aX-Injected:%201",
            "/docs/assets/a%0d%0aX-Injected:%201",
        ):
            response = await shop.door.at().get(
                httpx.URL(HOST + path), headers=shop.door.signed_in(shop.customer)
            )
            assert response.status_code in (400, 404)
            as_one_line(response.headers)


async def test_where_a_new_thing_is_comes_from_its_id_alone(database_url: str) -> None:
    async with opened_shop(database_url) as shop:
        headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
        placed = await shop.ask(
            "POST", "/api/orders/", shop.customer, json=shop.basket(), headers=headers
        )
        assert placed.headers["location"] == f"/api/orders/{UUID(placed.json()['id'])}/"


@pytest.mark.parametrize(
    "path",
    [
        "/api/products/{id}%2fmovements/",
        "/api/products/{id}/%6dovements/",
        "//api//products//{id}//movements//",
        "/api/products/{id}/./movements/",
        "/api/products/%2e%2e/products/{id}/movements/",
        "/docs/../api/products/{id}/movements/",
        "/docs/%2e%2e/api/products/{id}/movements/",
        "/docs/assets/..%2f..%2fapi/products/{id}/movements/",
        "/api/health/..%2fproducts/{id}/movements/",
        "/api/health/..;/products/{id}/movements/",
        "/api/products/{id}/movements;/",
        "/api/products/{id}/movements/;a=b",
        "/api/products/{id}/movements%00/",
        "/api/products/{id}/movements%20/",
        "/api/products/{id}/movements/.json",
        "/api/products/{id}/movements.json",
        "/API/products/{id}/MOVEMENTS/",
        "/api\\products\\{id}\\movements\\",
        "/api/products/{id}/movements/?/api/health/",
        "/api/products/{id}/movements/#/api/health/",
    ],
)
async def test_no_way_of_writing_a_path_leads_past_the_guard(standing: Shop, path: str) -> None:
    # As it is: a URL would be tidied up.
    raw = path.format(id=standing.tea.id).partition("#")[0].encode()
    url = httpx.URL(HOST).copy_with(raw_path=raw)
    for who, statuses in ((None, (401, 404, 400)), (standing.customer, (403, 404, 400))):
        headers = standing.door.signed_in(who) if who else {}
        response = await standing.door.at().get(url, headers=headers)
        assert response.status_code in statuses
        assert code_of(response)


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2fpyproject.toml",
        "%2e%2e%2fpage.js",
        "....//",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "swagger-ui.css%00.png",
        "swagger-ui.css/",
        "C:%5cwindows",
        "",
        "index.html",
    ],
)
async def test_of_the_files_of_the_docs_only_those_that_are_needed_are_served(
    standing: Shop, name: str
) -> None:
    url = httpx.URL(HOST).copy_with(raw_path=f"/docs/assets/{name}".encode())
    response = await standing.door.at().get(url)
    if response.status_code == 200:
        assert name.rstrip("/") == "swagger-ui.css"
    else:
        assert (response.status_code, code_of(response)) == (404, "not_found")


async def test_a_body_beyond_the_limit_is_refused_before_anybody_reads_it() -> None:
    async with opened_shop("memory://", body_max=2_048) as shop:
        before = await shop.everything()
        for content in (b" " * 2_049, b'{"items": [' + b'{"product_id": 1},' * 200):
            response = await shop.ask(
                "POST",
                "/api/orders/",
                shop.customer,
                content=content,
                headers={"Content-Type": "application/json"},
            )
            assert (response.status_code, code_of(response)) == (413, "body_too_large")
        assert await shop.everything() == before


@pytest.mark.parametrize("opening", [b"[", b'{"items":', b'{"items":[', b'[{"a":'])
@pytest.mark.parametrize("depth", [100, 5_000])
async def test_a_body_that_is_deeply_nested_is_refused(
    standing: Shop, opening: bytes, depth: int
) -> None:
    closing = {b"[": b"]", b"{": b"}"}
    end = b"".join(closing[bytes([c])] for c in reversed(opening) if bytes([c]) in closing)
    for content in (opening * depth, opening * depth + b"1" + end * depth):
        for path, who in (("/api/orders/", standing.customer), ("/api/token/", None)):
            response = await standing.ask(
                "POST",
                path,
                who,
                content=content,
                headers={"Content-Type": "application/json"},
            )
            assert response.status_code == 400


async def test_the_method_is_the_one_of_the_request_line(database_url: str) -> None:
    async with opened_shop(database_url) as shop:
        before = await shop.everything()
        path = f"/api/products/{shop.tea.id}/"
        for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"):
            response = await shop.ask("GET", path, shop.staff, headers={name: "DELETE"})
            assert (response.status_code, response.json()["id"]) == (200, shop.tea.id)
        response = await shop.ask("GET", f"{path}?_method=DELETE", shop.staff)
        assert response.status_code == 200
        for name in ("X-Original-URL", "X-Rewrite-URL"):
            response = await shop.ask("GET", "/api/health/", headers={name: path})
            assert "sku" not in response.json()
        assert await shop.everything() == before


HOSTS = ["evil.example/", "evil.example?", "a b", "evil.example#", "user@evil", "<script>", ""]


async def test_a_host_that_is_none_gets_into_no_link(database_url: str) -> None:
    async with opened_shop(database_url) as shop:
        await shop.door.given_product("TEA-2")
        for host in HOSTS:
            response = await shop.ask(
                "GET", "/api/products/?page_size=1", shop.customer, headers={"Host": host}
            )
            assert response.status_code == 400, host
        headers = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
        page = await shop.ask("GET", "/api/products/?page_size=1", shop.customer, headers=headers)
        assert urlsplit(page.json()["next"]).netloc == "shop.test"


async def test_where_the_public_address_is_set_no_host_header_matters(database_url: str) -> None:
    async with opened_shop(database_url, public_url="https://shop.example/base") as shop:
        await shop.door.given_product("TEA-2")
        for host in ("evil.example", "shop.test"):
            page = await shop.ask(
                "GET", "/api/products/?page_size=1", shop.customer, headers={"Host": host}
            )
            link = urlsplit(page.json()["next"])
            assert (link.scheme, link.netloc) == ("https", "shop.example")
            assert set(parse_qs(link.query)) == {"page_size", "cursor"}


# --- what browsers do with answers ---

EVIL = [
    "https://evil.example",
    "https://shop.example.evil.example",
    "https://evilshop.example",
    "https://shopxexample",
    "http://shop.example",
    "https://shop.example:8443",
    "https://SHOP.example",
    "null",
    "*",
    "",
    "https://shop.example https://evil.example",
]


async def preflight(door: Door, origin: str) -> httpx.Response:
    return await door.at().options(
        "/api/orders/",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        },
    )


async def test_no_page_elsewhere_may_read_answers_unless_it_is_named() -> None:
    async with opened() as door:
        for origin in ("https://shop.example", *EVIL):
            for response in (
                await door.at().get("/api/health/", headers={"Origin": origin}),
                await preflight(door, origin),
            ):
                assert not [name for name in response.headers if "access-control" in name]


async def test_a_named_origin_is_allowed_and_none_that_resembles_it() -> None:
    async with opened(cors_origins="https://shop.example, https://www.shop.example") as door:
        for origin in ("https://shop.example", "https://www.shop.example"):
            for response in (
                await door.at().get("/api/health/", headers={"Origin": origin}),
                await preflight(door, origin),
            ):
                assert response.is_success
                assert response.headers["access-control-allow-origin"] == origin
                if response.request.method == "GET":
                    exposed = response.headers["access-control-expose-headers"].lower()
                    assert {"etag", "location", "retry-after"} <= set(exposed.split(", "))
                assert "Origin" in response.headers["vary"]
                assert "access-control-allow-credentials" not in response.headers
        for origin in EVIL:
            for response in (
                await door.at().get("/api/health/", headers={"Origin": origin}),
                await preflight(door, origin),
            ):
                assert "access-control-allow-origin" not in response.headers


async def answers_of_every_kind(shop: Shop) -> dict[str, httpx.Response]:
    """By what they are; the failure is one of the shop's own making."""
    client = shop.door.at()
    header = shop.door.signed_in(shop.customer)
    answers = {
        "health": await client.get("/api/health/"),
        "a page": await client.get("/api/products/", headers=header),
        "a refusal": await client.get("/api/products/"),
        "an unknown address": await client.get("/nowhere/"),
        "another method": await client.put("/api/orders/"),
        "options": await client.options("/api/orders/"),
        "a wrong body": await client.post("/api/orders/", content=b"{", headers=header),
        "too large a body": await client.post("/api/token/", content=b" " * 100_000),
        "the document": await client.get("/openapi.json"),
        "metrics": await client.get("/metrics"),
        "the docs": await client.get("/docs/"),
        "a script": await client.get("/docs/page.js"),
        "a style": await client.get("/docs/page.css"),
        "an asset": await client.get("/docs/assets/swagger-ui.css"),
        "keys": await client.get("/.well-known/jwks.json"),
        "a refused preflight": await preflight(shop.door, "https://evil.example"),
        "a preflight": await preflight(shop.door, "https://shop.example"),
    }
    with shop.door.container.read_product.override(object()):  # no use case: a bug
        shop.door.container.reset_singletons()
        path = f"/api/products/{shop.tea.id}/"
        answers["a failure"] = await client.get(path, headers=header)
    assert answers["a failure"].status_code == 500
    return answers


async def test_every_answer_says_what_a_browser_must_not_do_with_it() -> None:
    async with opened_shop("memory://", cors_origins="https://shop.example") as shop:
        for kind, response in (await answers_of_every_kind(shop)).items():
            headers = response.headers
            assert headers["x-content-type-options"] == "nosniff", kind
            assert headers["referrer-policy"] == "no-referrer", kind
            assert len(headers.get_list("content-security-policy")) == 1, kind
            policy = headers["content-security-policy"]
            assert "frame-ancestors 'none'" in policy, kind
            assert "default-src 'none'" in policy, kind
            assert headers.get_list("server") == ["shop"], kind
            assert headers["x-request-id"], kind
            assert not [name for name in headers if name in ("x-powered-by", "via", "set-cookie")]
            if kind != "the docs":
                assert policy == "default-src 'none'; frame-ancestors 'none'", kind


async def test_the_docs_page_loads_and_runs_nothing_from_elsewhere() -> None:
    async with opened() as door:
        response = await door.at().get("/docs/")
        policy = dict(
            window.strip().split(" ", 1)
            for window in response.headers["content-security-policy"].split(";")
        )
        assert policy["script-src"] == "'self'"
        assert policy["connect-src"] == "'self'"
        assert policy["base-uri"] == policy["form-action"] == "'none'"
        assert not {"object-src", "worker-src"} & set(policy), "the default holds: none"
        assert "http" not in response.text.replace("http-equiv", "")


async def test_no_token_is_kept_by_anything_between(database_url: str) -> None:
    async with opened_shop(database_url, registration=True) as shop:
        refresh = (await shop.door.sign_in("customer")).json()["refresh"]
        header = shop.door.signed_in(shop.customer)
        client = shop.door.at()
        asked = [
            client.post("/api/token/", json={"username": "customer", "password": PASSWORD}),
            client.post("/api/token/", json={"username": "customer", "password": "x"}),
            client.post("/api/token/", json={}),
            client.post("/api/token/", content=b" " * 100_000),
            client.post("/api/token/refresh/", json={"refresh": refresh}),
            client.post("/api/token/refresh/", json={"refresh": "x"}),
            client.post("/api/token/revoke/", json={"refresh": refresh}),
            client.post("/api/token/revoke/", json={}),
            client.post("/api/token/revoke-all/", headers=header),
            client.post("/api/token/revoke-all/"),
            client.post(f"{HOST}//api//token//refresh", json={"refresh": "x"}),
            client.post("/api/users/", json={"username": "new", "password": PASSWORD}),
            client.get("/api/users/me/", headers=header),
            client.get("/api/users/me/sessions/", headers=header),
            client.post("/api/users/me/password/", json={}, headers=header),
        ]
        statuses = set()
        for request in asked:
            response = await request
            statuses.add(response.status_code)
            assert response.headers.get_list("cache-control") == ["no-store"], response.url
        assert statuses == {200, 201, 204, 400, 401, 404, 413}


async def test_what_is_signed_for_is_cached_by_nothing_that_is_shared() -> None:
    """RFC 9111, 3.5: without `public` or `s-maxage` no shared cache keeps it."""
    async with opened_shop("memory://") as shop:
        for path in ("/api/products/", f"/api/products/{shop.tea.id}/", "/api/orders/"):
            response = await shop.ask("GET", path, shop.customer)
            caching = response.headers.get("cache-control", "")
            assert not {"public", "s-maxage", "must-revalidate"} & set(caching.split(", "))

"""What is asked for at the same moment is read once, and answers only those who asked for it."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from shop.domain.services.keep_catalogue import ListProducts
from shop.domain.users import OPERATOR
from tests.entrypoints.api import Api, container_for, opened_api, placed, settings_for
from tests.logged import fields_of

CHANGES = 5
LISTS = ["/api/products/", "/api/orders/"]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def any_api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    in_memory = request.param == "memory"
    url = "memory://" if in_memory else request.getfixturevalue(f"{request.param}_url")
    # A machine that is busy with other tests shall refuse nothing.
    patient = settings_for(url, database_pool_timeout=60, database_lock_timeout=60)
    async with opened_api(container_for(patient)) as api:
        yield api


@pytest.fixture
async def postgresql_api(postgresql_url: str) -> AsyncIterator[Api]:
    async with opened_api(container_for(settings_for(postgresql_url))) as api:
        yield api


def shown(response: httpx.Response) -> tuple[int, Any, str | None]:
    return response.status_code, response.json(), response.headers.get("etag")


@pytest.fixture
async def memory_api() -> AsyncIterator[Api]:
    """A store that lets one user read as much at once as he likes."""
    async with opened_api(container_for(settings_for())) as api:
        yield api


async def test_whatever_an_answer_depends_on_tells_those_who_ask_at_once_apart(
    memory_api: Api,
) -> None:
    """Who asks, where, by which host, for which part: each gets what he gets alone."""
    api = memory_api
    products = [await api.given_product(price=100 * n) for n in range(5)]
    for client in (api.customer, api.other):
        ids = [(await placed(client, (products[1], 1)))["id"] for _ in range(3)]
    queries = [
        *("", "?page_size=2", "?page=2&page_size=2", "?page_size=2&page=2", "?page=9", "?page=x"),
        *("?page_size=2&ordering=-price", "?ordering=nonsense", "?user=1", "?cursor=AAAA"),
    ]
    details = ["/api/products/1/", "/api/products/99/", f"/api/orders/{ids[0]}/"]
    asked = [
        (client, path, host)
        for client in (api.customer, api.other, api.staff)
        for path in [*(lists + query for lists in LISTS for query in queries), *details]
        for host in ("one.example", "two.example:8443")
    ]

    async def ask(client: httpx.AsyncClient, path: str, host: str) -> tuple[int, Any, str | None]:
        return shown(await client.get(path, headers={"Host": host}))

    alone = [await ask(*each) for each in asked]
    numbers = list(range(len(asked))) * 3
    random.Random(1).shuffle(numbers)  # noqa: S311
    together = await asyncio.gather(*(ask(*asked[number]) for number in numbers))
    assert together == [alone[number] for number in numbers]
    assert {status for status, *_ in together} == {200, 400, 404}


async def test_origins_that_ask_at_once_are_each_allowed_once() -> None:
    settings = settings_for(cors_origins="https://one.example,https://two.example")
    async with opened_api(container_for(settings)) as api:
        origins = ["https://one.example", "https://two.example", "https://other.example"] * 5
        answers = await asyncio.gather(
            *(api.customer.get("/api/products/", headers={"Origin": each}) for each in origins)
        )
        allowed = [
            answer.headers.get_list("access-control-allow-origin", split_commas=False)
            for answer in answers
        ]
    assert allowed == [[] if "other" in origin else [origin] for origin in origins]


async def test_an_unexpected_failure_is_told_to_each_under_his_own_id_by_which_it_is_found(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ListProducts, "__call__", fail)
    async with opened_api(container_for(settings_for())) as api:
        for number in range(2):
            ids = [f"{number}-{n}" for n in range(10)]
            caplog.clear()
            answers = await asyncio.gather(
                *(api.customer.get("/api/products/", headers={"X-Request-ID": one}) for one in ids)
            )
            assert {answer.status_code for answer in answers} == {500}
            assert [answer.headers["x-request-id"] for answer in answers] == ids
            assert [answer.json()["request_id"] for answer in answers] == ids
            lengths = [int(answer.headers["content-length"]) for answer in answers]
            assert lengths == [len(answer.content) for answer in answers]
            logged = [one for one in caplog.records if one.name == "shop.http"]
            assert {one.getMessage() for one in logged} == {"request.failed"}
            read_by = {fields_of(one).get("read_by") for one in logged if not one.exc_info}
            # Each that failed is logged once with its traceback, and who shared it names that one.
            assert len([one for one in logged if one.exc_info]) < 10
            assert len(logged) == 10
            assert read_by
            assert read_by <= set(ids)


@pytest.mark.parametrize("path", ["/api/products/?page_size=2", "/api/orders/", "/api/products/1/"])
async def test_many_who_ask_at_once_cost_a_few_statements(postgresql_api: Api, path: str) -> None:
    api = postgresql_api
    for _ in range(3):
        await api.given_product()
    with api.store.statements() as alone:
        await api.customer.get(path)
    with api.store.statements() as sent:
        answers = await asyncio.gather(*(api.customer.get(path) for _ in range(64)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(sent) <= 3 * len(alone)


async def test_details_of_different_products_and_orders_share_a_statement(
    postgresql_api: Api,
) -> None:
    api = postgresql_api
    products = [await api.given_product() for _ in range(20)]
    orders = [await placed(api.customer, (product, 1)) for product in products]
    with api.store.statements() as sent:
        answers = await asyncio.gather(
            *(api.customer.get(f"/api/products/{product.id}/") for product in products),
            *(api.customer.get(f"/api/orders/{order['id']}/") for order in orders),
        )
    wanted: list[object] = [product.id for product in products]
    assert [answer.json()["id"] for answer in answers] == wanted + [o["id"] for o in orders]
    assert len(sent) <= 6


async def test_whoever_asks_sees_what_was_answered_before(any_api: Api) -> None:
    """Their own changes and those of others, in details and in lists, while all go on."""
    api, done = any_api, 0
    product = await api.given_product(stock=0)
    path = f"/api/products/{product.id}/"

    async def change() -> None:
        nonlocal done
        for _ in range(CHANGES):
            answer = await api.staff.post(f"{path}stock/", json={"delta": 1, "reason": "restock"})
            assert answer.status_code == 200
            done += 1
            await check(api.staff, path)

    async def check(client: httpx.AsyncClient, address: str) -> None:
        before = done
        body = (await client.get(address)).json()
        stock = body["stock"] if address == path else body["results"][0]["stock"]
        assert before <= stock <= 4 * CHANGES

    async def read(client: httpx.AsyncClient, address: str) -> None:
        while done < 4 * CHANGES:
            await check(client, address)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(change())
        for client in (api.customer, api.other):
            for address in (path, "/api/products/"):
                for _ in range(3):
                    group.create_task(read(client, address))
    assert (await api.customer.get(path)).json()["stock"] == 4 * CHANGES


@pytest.mark.parametrize("path", ["/api/products/", "/api/products/1/"])
async def test_who_hangs_up_takes_nobody_along(any_api: Api, path: str) -> None:
    await any_api.given_product()
    asking = [asyncio.create_task(any_api.customer.get(path)) for _ in range(20)]
    for task in asking[::2]:
        await asyncio.sleep(0)
        task.cancel()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    # In a step of their own each; the last ones may have been answered before.
    assert any(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
    for answer in answers[1::2]:
        assert isinstance(answer, httpx.Response)
        assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/api/products/", "/api/products/1/"])
async def test_when_the_database_goes_away_in_a_shared_read_all_are_told(
    postgresql_api: Api, postgresql_url: str, path: str
) -> None:
    api = postgresql_api
    await api.given_product()
    assert (await api.customer.get(path)).status_code == 200
    database = await asyncpg.connect(postgresql_url.replace("+asyncpg", ""))
    try:
        async with database.transaction():
            await database.execute("LOCK TABLE products")
            asking = [asyncio.create_task(api.customer.get(path)) for _ in range(20)]
            async with asyncio.timeout(5):
                await _end_those_who_wait(database)
                refused = await _first(asking)
        answers = await asyncio.gather(*asking)
    finally:
        await database.close()
    assert refused.status_code == 503
    for answer in answers:
        assert answer.status_code in (200, 503)
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1
    assert (await api.customer.get(path)).status_code == 200


async def _end_those_who_wait(database: "asyncpg.Connection[Any]") -> None:
    """For a lock, as soon as there are any."""
    ended = 0
    while not ended:
        await asyncio.sleep(0.01)
        ended = await database.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_stat_activity"
            " USING (pid) WHERE NOT granted AND datname = current_database()"
        )


async def _first(asking: list[asyncio.Task[httpx.Response]]) -> httpx.Response:
    [one, *_], _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    answer: httpx.Response = one.result()
    return answer


# --- ETag ---


@pytest.mark.parametrize("path", [*LISTS, "/api/products/1/", "order"])
async def test_what_has_not_changed_is_not_sent_again(api: Api, path: str) -> None:
    product = await api.given_product()
    order = await placed(api.customer, (product, 1))
    path = f"/api/orders/{order['id']}/" if path == "order" else path
    first = await api.customer.get(path)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    assert first.headers.get("vary") == ("authorization" if "orders" in path else None)
    for known in (tag, f"W/{tag}", f'"a,b", {tag}', f'{tag[:-1]}-gzip"', "*"):
        answer = await api.customer.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b""), known
        assert answer.headers["etag"] == tag
        assert answer.headers["cache-control"] == "private, no-cache"
    for other in ('"other"', tag[1:-1], f"x{tag}", f'"{tag}', tag[:-1], f'"x{tag[1:]}', ""):
        answer = await api.customer.get(path, headers={"If-None-Match": other})
        assert shown(answer) == shown(first), other


async def test_a_list_has_another_tag_when_something_on_it_has_changed(api: Api) -> None:
    product = await api.given_product(stock=5)
    tags = {(await api.customer.get("/api/products/")).headers["etag"]}
    await api.staff.post(
        f"/api/products/{product.id}/stock/", json={"delta": 1, "reason": "restock"}
    )
    tags.add((await api.customer.get("/api/products/")).headers["etag"])
    await api.container.archive_product()(caller=OPERATOR, product_id=product.id)
    tags.add((await api.customer.get("/api/products/")).headers["etag"])
    assert len(tags) == 3


async def test_a_refusal_has_no_tag(api: Api) -> None:
    for path in ("/api/products/?page=9", "/api/products/?page=x", "/api/products/99/"):
        answer = await api.customer.get(path, headers={"If-None-Match": "*"})
        assert answer.status_code in (400, 404)
        assert "etag" not in answer.headers

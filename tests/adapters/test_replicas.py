"""Reads at replicas: whoever hands back what they have seen never sees it as it was before."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shop.adapters.sql.replicas import Look, Sample, lag_of, state_of
from shop.adapters.work import Seen, Work, work_under_way
from shop.domain.errors import StoreUnavailable
from shop.domain.stock import Reason, Shelf
from shop.entrypoints.settings import SettingsError, load_settings
from tests.addresses import Address, address
from tests.builders import FakeClock
from tests.entrypoints.api import (
    SECRET_KEY,
    Api,
    container_for,
    opened_api,
    order_of,
    placed,
    problem,
    settings_for,
)
from tests.pgbouncer import PROGRAM, running_pgbouncer
from tests.postgresql import PostgresServer, follows, running_postgresql, unused_name
from tests.stores import migrate

_keys = count(1)


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresServer]:
    # What is committed has been written: by that it is told how late a replica is.
    with running_postgresql(synchronous_commit="on") as server:
        migrate(server.create_database("migrated"))
        yield server


@pytest.fixture(scope="module")
def standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    with running_postgresql(standby_of=primary) as server:
        yield server


@pytest.fixture
async def replica(primary: PostgresServer, standby: PostgresServer) -> AsyncIterator["Follower"]:
    follower = Follower(standby, primary)
    yield follower
    follower.go_on()


@pytest.fixture
def database(primary: PostgresServer) -> str:
    name = unused_name("replicated")
    primary.create_database(name, template="migrated")
    return name


@pytest.fixture
async def api(
    primary: PostgresServer, standby: PostgresServer, replica: "Follower", database: str
) -> AsyncIterator[Api]:
    """Over a primary and a replica that was looked at."""
    async with replicated(primary.url(database), standby.url(database)) as api:
        await replica.catches_up()
        await look(api)
        yield api


@asynccontextmanager
async def replicated(url: str, read_url: str, **changes: Any) -> AsyncIterator[Api]:
    settings = settings_for(url, database_read_url=read_url, **changes)
    async with opened_api(container_for(settings)) as api:
        yield api


class Follower:
    """A replica that can be held where it is."""

    def __init__(self, server: PostgresServer, primary: PostgresServer) -> None:
        self.server = server
        self._primary = primary

    def stands_still(self) -> None:
        self.server.execute("SELECT pg_wal_replay_pause()")
        while not self.server.execute(
            "SELECT WHERE pg_get_wal_replay_pause_state() = 'paused'"
        ).endswith(" 1"):
            pass  # each look is a round trip, which gives the server its time

    def go_on(self) -> None:
        self.server.execute("SELECT pg_wal_replay_resume()")

    async def catches_up(self) -> None:
        self.go_on()
        await follows(self.server, self._primary)


async def look(api: Api) -> list[str]:
    """What becomes of each replica."""
    replicas = api.container.replicas()
    await replicas.look()
    return [replica.state for replica in replicas]


def served(api: Api) -> dict[str, float]:
    """How many reads were served by whom, until now."""
    registry = api.container.metrics()._registry
    whom = {each: {"served": each} for each in ("replica", "behind", "unfit", "failed")}
    found = {
        each: registry.get_sample_value("shop_replica_reads_total", labels) or 0
        for each, labels in whom.items()
    }
    return {each: number for each, number in found.items() if number}


def told(api: Api, replica: str) -> tuple[bool, float | None]:
    """What the metrics say of it."""
    registry, labels = api.container.metrics()._registry, {"replica": replica}
    fit = registry.get_sample_value("shop_replica_fit", labels)
    return bool(fit), registry.get_sample_value("shop_replica_lag_seconds", labels)


async def stock(client: httpx.AsyncClient, product_id: int, seen: str | None = None) -> int:
    answer = await client.get(f"/api/products/{product_id}/", headers=mark(seen))
    assert answer.status_code == 200, answer.text
    return int(answer.json()["stock"])


async def listed(client: httpx.AsyncClient, sku: str, seen: str | None = None) -> int:
    answer = await client.get("/api/products/", params={"sku": sku}, headers=mark(seen))
    assert answer.status_code == 200, answer.text
    [product] = answer.json()["results"]
    return int(product["stock"])


def mark(seen: str | None) -> Mapping[str, str]:
    return {} if seen is None else {"X-Shop-Seen": seen}


# --- who sees what ---


async def test_who_hands_back_what_they_have_seen_sees_their_own_change(
    api: Api, replica: Follower
) -> None:
    tea = await api.given_product(stock=10)
    await replica.catches_up()
    replica.stands_still()
    answer = await api.customer.post("/api/orders/", json=order_of((tea, 2)))
    seen = answer.headers["X-Shop-Seen"]
    assert await stock(api.customer, tea.id, seen) == 8
    assert await listed(api.customer, tea.sku, seen) == 8
    assert served(api) == {"behind": 2}
    # Others, and who does not hand it back, see what the replica has.
    assert await stock(api.customer, tea.id) == 10
    assert await listed(api.other, tea.sku) == 10
    assert served(api) == {"behind": 2, "replica": 2}
    await replica.catches_up()
    assert await stock(api.customer, tea.id, seen) == 8
    assert await listed(api.customer, tea.sku, seen) == 8
    assert served(api) == {"behind": 2, "replica": 4}


async def test_every_change_says_how_far_the_shop_has_come_also_when_it_is_repeated(
    api: Api, replica: Follower
) -> None:
    replica.stands_still()
    for method, path, body in await changes_of(api):
        key = {"Idempotency-Key": f"key-{next(_keys)}"}
        for _ in range(2):
            answer = await api.staff.request(method, path, json=body, headers=key)
            assert answer.is_success, (path, answer.text)
            seen = api.container.seen_marks().sent_in(raw(answer))
            assert seen is not None, (method, path)


async def changes_of(api: Api) -> list[tuple[str, str, Any]]:
    """Each that the API has but for users, in an order in which they can be made."""
    tea, cake = await api.given_product(stock=100), await api.given_product(stock=100)
    one, two = [await placed(api.customer, (tea, 3)) for _ in range(2)]
    a, b = [f"/api/orders/{each['id']}" for each in (one, two)]
    product, restocked = f"/api/products/{tea.id}", {"delta": 1, "reason": "restock"}
    changes: list[tuple[str, str, Any]] = [
        ("POST", "/api/orders/", order_of((tea, 1))),
        ("POST", f"/api/orders/{uuid4()}/", order_of((tea, 1))),
        ("PATCH", f"{a}/", order_of((tea, 2), (cake, 1))),
        ("POST", f"{b}/cancel/", None),
        ("POST", f"{a}/pay/", {"reference": "pay-1"}),
        ("POST", f"{a}/ship/", None),
        ("POST", f"{a}/deliver/", None),
        ("POST", f"{a}/return/", None),
        ("POST", "/api/products/", {"sku": "NEW", "name": "New", "price": "1.00", "stock": 3}),
        ("PATCH", f"{product}/", {"name": "Another"}),
        ("POST", f"{product}/stock/", restocked),
        ("POST", "/api/products/bulk/", {"rows": [{"sku": "B", "name": "New", "price": "1.00"}]}),
        ("POST", "/api/stock/changes/", {"rows": [{"sku": cake.sku, **restocked}]}),
        ("DELETE", f"{product}/", None),
        ("POST", f"{product}/restore/", None),
    ]
    documented = (await api.anonymous.get("/openapi.json")).json()["paths"]
    known = {
        (method.upper(), operation["operationId"])
        for path, methods in documented.items()
        for method, operation in methods.items()
        if method != "get" and not path.startswith(("/api/token", "/api/users"))
    }
    assert len(changes) == len(known), known
    return changes


def raw(answer: httpx.Response) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in answer.headers.raw]


async def test_a_change_costs_no_statement_more(
    api: Api, primary: PostgresServer, database: str
) -> None:
    """Than where there is no replica."""
    sent: list[list[int]] = []
    for marking in (True, False):
        numbers = []
        async with AsyncExitStack() as stack:
            name = unused_name("counted")
            url = primary.create_database(name, template="migrated")
            settings = settings_for(url, database_read_url=url if marking else "")
            counted = await stack.enter_async_context(opened_api(container_for(settings)))
            for method, path, body in await changes_of(counted):
                with counted.store.statements() as statements:
                    answer = await counted.staff.request(method, path, json=body)
                assert answer.is_success, (path, answer.text)
                assert ("X-Shop-Seen" in answer.headers) is marking
                numbers.append(len(statements))
        sent.append(numbers)
    assert sent[0] == sent[1]


async def test_a_transaction_that_began_before_others_is_missed_until_it_is_there_itself(
    api: Api, replica: Follower
) -> None:
    """Of who is under way on the primary a replica tells nobody."""
    tea, cake = await api.given_product(stock=10), await api.given_product(stock=10)
    changing = Work()
    work_under_way.set(changing)
    async with api.store.unit_of_work() as uow:
        # It has its number from here on, and later ones are done before it.
        shelf = Shelf(await uow.stock.lock([tea.id]))
        shelf.move(tea.id, -2, Reason.CORRECTION, at=api.clock(), actor_id=None)
        await uow.stock.record(shelf.movements)
        later = await api.other.post("/api/orders/", json=order_of((cake, 1)))
        await replica.catches_up()
        replica.stands_still()
        await uow.commit()
    assert changing.seen is not None
    mine, theirs = signed(api, changing.seen), later.headers["X-Shop-Seen"]
    assert await stock(api.customer, tea.id, mine) == 8
    # What is later, and there, is not known to be there while the earlier one is under way.
    assert await stock(api.other, cake.id, theirs) == 9
    assert served(api) == {"behind": 2}
    await replica.catches_up()
    assert await stock(api.customer, tea.id, mine) == 8
    assert await stock(api.other, cake.id, theirs) == 9
    assert served(api) == {"behind": 2, "replica": 2}


async def mark_of_now(api: Api) -> Seen:
    tea = await api.given_product()
    answer = await api.customer.post("/api/orders/", json=order_of((tea, 1)))
    seen = api.container.seen_marks().sent_in(raw(answer))
    assert seen is not None
    return seen


def signed(api: Api, seen: Seen) -> str:
    [(_, text)] = api.container.seen_marks().of(Work(seen=seen))
    return text.decode()


async def test_what_was_seen_of_another_history_is_read_at_the_primary(api: Api) -> None:
    """Of a primary that another took over from, and of another database."""
    tea = await api.given_product(stock=10)
    now = await mark_of_now(api)
    for system, timeline in ((now.system, now.timeline + 1), (now.system + 1, now.timeline)):
        old = Seen(system=system, timeline=timeline, position=3)
        assert await stock(api.customer, tea.id, signed(api, old)) == 10
    assert served(api) == {"behind": 2}


async def test_what_is_not_ours_counts_for_nothing(api: Api, replica: Follower) -> None:
    tea = await api.given_product(stock=10)
    await replica.catches_up()
    replica.stands_still()
    seen = (await api.customer.post("/api/orders/", json=order_of((tea, 2)))).headers["X-Shop-Seen"]
    decoded = bytearray(base64.urlsafe_b64decode(seen))
    decoded[19] ^= 1
    forged = base64.urlsafe_b64encode(decoded).decode()
    for sent in ("", "x", "é" * 24, forged, seen[:-1], seen + seen, "*" * 48, "x" * 20_000):
        headers = {b"X-Shop-Seen": sent.encode("latin-1")}
        answer = await api.customer.get(f"/api/products/{tea.id}/", headers=headers)
        assert (answer.status_code, answer.json()["stock"]) == (200, 10), sent
        assert "X-Shop-Seen" not in answer.headers
    twice = [("X-Shop-Seen", seen), ("X-Shop-Seen", seen)]
    assert (await api.customer.get(f"/api/products/{tea.id}/", headers=twice)).json()["stock"] == 10


async def test_an_answer_hands_on_what_was_handed_in(api: Api) -> None:
    """So that the last answer is always the one to go by."""
    tea = await api.given_product(stock=10)
    seen = (await api.customer.post("/api/orders/", json=order_of((tea, 2)))).headers["X-Shop-Seen"]
    for path in (f"/api/products/{tea.id}/", "/api/products/", "/api/orders/", "/health/live"):
        answer = await api.customer.get(path, headers=mark(seen))
        assert answer.headers["X-Shop-Seen"] == seen
        assert "X-Shop-Seen" not in (await api.customer.get(path)).headers


async def test_a_session_is_asked_once_for_what_its_server_has(api: Api, replica: Follower) -> None:
    tea = await api.given_product(stock=10)
    older, newer, newest = [
        (await api.customer.post("/api/orders/", json=order_of((tea, 1)))).headers["X-Shop-Seen"]
        for _ in range(3)
    ]
    await replica.catches_up()

    async def asked(path: str, seen: str) -> list[bool]:
        """For each statement, whether it asks that."""
        with api.store.statements() as sent:
            assert (await api.customer.get(path, headers=mark(seen))).status_code == 200
        return ["txid_snapshot_xmin" in statement for statement in sent]

    product, page = f"/api/products/{tea.id}/", "/api/products/?page_size=1"
    for seen, is_new in ((newer, True), (newer, False), (older, False), (newest, True)):
        # A product's statement asks along the way, a list's has one before it.
        assert await asked(product, seen) == [is_new]
        assert await asked(page, seen) == ([True, False] if is_new else [False])
    assert served(api) == {"replica": 8}


async def test_who_has_seen_much_sends_nobody_else_to_the_primary(
    api: Api, replica: Follower
) -> None:
    tea = await api.given_product(stock=10)
    await replica.catches_up()
    replica.stands_still()
    seen = (await api.customer.post("/api/orders/", json=order_of((tea, 2)))).headers["X-Shop-Seen"]
    now = await mark_of_now(api)
    before = signed(api, Seen(system=now.system, timeline=now.timeline, position=3))
    stocks = await asyncio.gather(
        *(stock(api.customer, tea.id, each) for each in (seen, None, before, None, seen))
    )
    # Who has seen anything shares with others who have, and sees more than they had to.
    assert (stocks[0], stocks[4]) == (8, 8)
    assert (stocks[1], stocks[3]) == (10, 10)
    lists = await asyncio.gather(
        *(listed(api.customer, tea.sku, each) for each in (seen, None, seen))
    )
    assert lists == [8, 10, 8]


# --- replicas that may not serve ---


async def test_before_it_was_looked_at_no_replica_is_asked(
    primary: PostgresServer, standby: PostgresServer, database: str
) -> None:
    async with replicated(primary.url(database), standby.url(database)) as api:
        tea = await api.given_product(stock=10)
        assert await stock(api.customer, tea.id) == 10
        assert served(api) == {"unfit": 1}


@asynccontextmanager
async def behind_a_door(
    primary: PostgresServer, database: str, *doors: Address, **changes: Any
) -> AsyncIterator[Api]:
    hosts = ",".join(f"127.0.0.1:{door.port}" for door in doors)
    read_url = f"postgresql+asyncpg://shop@{hosts}/{database}"
    async with replicated(primary.url(database), read_url, **changes) as api:
        yield api


async def test_one_that_is_away_holds_up_nobody_and_is_not_asked_again_and_again(
    primary: PostgresServer, standby: PostgresServer, replica: Follower, database: str
) -> None:
    async with address(standby) as door, behind_a_door(primary, database, door) as api:
        tea = await api.given_product(stock=10)
        await replica.catches_up()
        assert await look(api) == ["fit"]
        assert await stock(api.customer, tea.id) == 10
        door.refuses = True
        await door.hang_up()
        # It is found out once, by a read, which is served all the same; the rest does not ask.
        for _ in range(10):
            assert await stock(api.customer, tea.id) == 10
            assert await listed(api.customer, tea.sku) == 10
        assert served(api)["unfit"] >= 19
        assert served(api)["replica"] + served(api).get("failed", 0) == 2
        assert await look(api) == ["away"]
        door.refuses = False
        assert await look(api) == ["fit"]
        assert await stock(api.customer, tea.id) == 10
        assert served(api)["replica"] >= 2


async def test_one_that_is_silent_is_found_out_by_who_looks(
    primary: PostgresServer, standby: PostgresServer, replica: Follower, database: str
) -> None:
    async with address(standby) as door, behind_a_door(primary, database, door) as api:
        tea = await api.given_product(stock=10)
        await replica.catches_up()
        assert await look(api) == ["fit"]
        door.silent = True
        assert await look(api) == ["away"]
        started = time.monotonic()
        assert await stock(api.customer, tea.id) == 10
        assert time.monotonic() - started < 1.0
        # What was open to it is not asked again, though it looks sound.
        door.silent = False
        taken = door.taken
        assert await look(api) == ["fit"]
        assert await stock(api.customer, tea.id) == 10
        assert door.taken > taken
        assert served(api) == {"unfit": 1, "replica": 1}


async def test_of_two_each_has_its_turn_and_one_is_enough(
    primary: PostgresServer, standby: PostgresServer, replica: Follower, database: str
) -> None:
    async with (
        address(standby) as one,
        address() as other,
        behind_a_door(primary, database, one, other, database_connect_timeout=0.2) as api,
    ):
        tea = await api.given_product(stock=10)
        await replica.catches_up()
        assert await look(api) == ["fit", "away"]
        assert [await stock(api.customer, tea.id) for _ in range(4)] == [10] * 4
        other.leads_to = standby
        assert await look(api) == ["fit", "fit"]
        taken = one.taken, other.taken
        assert [await stock(api.customer, tea.id) for _ in range(4)] == [10] * 4
        assert served(api) == {"replica": 8}
        assert other.taken >= taken[1]


async def test_one_that_is_late_is_left_out_until_it_has_caught_up(
    api: Api, replica: Follower
) -> None:
    clock = FakeClock()
    replicas = api.container.replicas()
    replicas._clock = clock.monotonic
    replicas._samples.clear()
    tea = await api.given_product(stock=10)
    await replica.catches_up()
    assert await look(api) == ["fit"]
    replica.stands_still()
    clock.advance(timedelta(seconds=1))
    await placed(api.customer, (tea, 1))
    assert await look(api) == ["fit"]
    for seconds in range(2, 8):
        clock.advance(timedelta(seconds=1))
        # Its own mark is another matter: this is for those who have none.
        expected = "fit" if seconds <= 5 else "late"
        assert await look(api) == [expected], seconds
        [one] = replicas
        assert one.lag is not None
        assert told(api, one.name) == (expected == "fit", one.lag)
        assert seconds - 1 <= one.lag <= seconds
    assert await stock(api.other, tea.id) == 9
    await replica.catches_up()
    assert await look(api) == ["fit"]
    assert await stock(api.other, tea.id) == 9
    assert served(api) == {"unfit": 1, "replica": 1}


async def test_one_that_lacks_a_migration_is_left_out_and_what_fails_there_is_done_again(
    api: Api, replica: Follower, primary: PostgresServer, database: str
) -> None:
    tea = await api.given_product(stock=10)

    def run(statement: str) -> None:
        primary.execute(statement, database=database)

    # As if the replica were from before a column that this program reads.
    run("ALTER TABLE products RENAME COLUMN max_per_order TO later")
    run("UPDATE alembic_version SET version_num = 'before'")
    await replica.catches_up()
    replica.stands_still()
    run("ALTER TABLE products RENAME COLUMN later TO max_per_order")
    assert await stock(api.customer, tea.id) == 10
    assert await listed(api.customer, tea.sku) == 10
    # It was asked once; then the primary served this read, and the next one.
    assert served(api) == {"failed": 1, "unfit": 2}
    run("UPDATE alembic_version SET version_num = 'after'")
    assert await look(api) == ["other_schema"]


async def test_what_takes_too_long_there_is_not_asked_of_the_primary_as_well(
    primary: PostgresServer, standby: PostgresServer, replica: Follower, database: str
) -> None:
    quick = {"database_read_statement_timeout": 0.2}
    async with replicated(primary.url(database), standby.url(database), **quick) as api:
        await replica.catches_up()
        assert await look(api) == ["fit"]
        with pytest.raises(StoreUnavailable):
            async with api.store.unit_of_work(read_only=True, may_lag=True) as uow:
                await uow.connection.exec_driver_sql("SELECT pg_sleep(5)")  # type: ignore[attr-defined]
        assert [one.state for one in api.container.replicas()] == ["fit"]


async def test_the_primary_itself_is_no_replica_and_nothing_is_wrong_with_it(
    primary: PostgresServer, database: str
) -> None:
    url = primary.url(database)
    async with replicated(url, url) as api:
        assert await look(api) == ["primary"]
        tea = await api.given_product(stock=10)
        assert await stock(api.customer, tea.id) == 10
        assert served(api) == {"unfit": 1}
        [one] = api.container.replicas()
        assert told(api, one.name) == (True, 0.0)


_HERE = Look(is_standby=False, system=1, timeline=2, written=100, schema="5")
_THERE = _HERE._replace(is_standby=True)


@pytest.mark.parametrize(
    ("look", "primary", "expected"),
    [
        (_THERE, _HERE, "fit"),
        (_THERE, None, "unknown"),
        (_HERE, _HERE, "primary"),
        (_HERE._replace(timeline=1), _HERE, "promoted"),
        (_THERE._replace(system=3), _HERE, "foreign"),
        (_THERE._replace(timeline=1), _HERE, "other_timeline"),
        (_THERE._replace(schema="4"), _HERE, "other_schema"),
    ],
)
def test_a_replica_serves_only_if_it_follows_this_primary(
    look: Look, primary: Look | None, expected: str
) -> None:
    assert state_of(look, primary, is_late=False) == expected
    assert state_of(look, primary, is_late=True) == ("late" if expected == "fit" else expected)


def test_a_lag_is_told_by_when_the_primary_had_written_no_more() -> None:
    samples = [Sample(0.0, 100), Sample(1.0, 100), Sample(2.0, 300), Sample(4.0, 400)]
    assert lag_of(samples, 400) == 0.0
    assert lag_of(samples, 500) == 0.0
    assert lag_of(samples, 350) == 1.0
    assert lag_of(samples, 300) == 2.0
    assert lag_of(samples, 200) == 2.5
    assert lag_of(samples, 100) == 3.0
    assert lag_of(samples, 99) is None
    assert lag_of(samples[:1], 99) is None


async def test_replicas_serve_on_while_the_primary_is_away(
    primary: PostgresServer, standby: PostgresServer, replica: Follower, database: str
) -> None:
    async with address(primary) as door:
        url = f"postgresql+asyncpg://shop@127.0.0.1:{door.port}/{database}"
        async with replicated(url, standby.url(database)) as api:
            tea = await api.given_product(stock=10)
            seen = signed(api, await mark_of_now(api))
            await replica.catches_up()
            assert await look(api) == ["fit"]
            door.refuses = True
            await door.hang_up()
            assert await look(api) == ["fit"]
            assert await stock(api.customer, tea.id) == 10
            assert await stock(api.customer, tea.id, seen) == 10
            answer = await api.customer.post("/api/orders/", json=order_of((tea, 1)))
            problem(answer, 503, "database_unavailable")


async def test_after_a_failover_old_marks_are_read_at_the_primary_and_new_ones_at_replicas() -> (
    None
):
    with ExitStack() as stack:
        # Of a standby there is no copy without it.
        old = stack.enter_context(running_postgresql(full_page_writes="on"))
        migrate(old.create_database("shop"))
        new = stack.enter_context(running_postgresql(standby_of=old))
        third = stack.enter_context(running_postgresql(standby_of=new))
        async with address(old) as door:
            url = f"postgresql+asyncpg://shop@127.0.0.1:{door.port}/shop"
            hosts = f"host={old.root}:5432&host={new.root}:5432&host={third.root}:5432"
            read_url = f"postgresql+asyncpg://shop@/shop?{hosts}"
            async with replicated(url, read_url) as api:
                tea = await api.given_product(stock=10)
                answer = await api.customer.post("/api/orders/", json=order_of((tea, 1)))
                before = answer.headers["X-Shop-Seen"]
                await follows(new, old)
                await follows(third, old)
                assert await look(api) == ["primary", "fit", "fit"]
                new.execute("SELECT pg_promote()")
                # For a moment there are two primaries; the shop's connections stay with the old.
                await placed(api.customer, (tea, 1))
                door.leads_to = new
                await door.hang_up()
                answer = await api.customer.post("/api/orders/", json=order_of((tea, 3)))
                after = answer.headers["X-Shop-Seen"]
                await follows(third, new)
                while (await look(api))[2] != "fit":
                    pass  # until it receives from the new primary
                assert await stock(api.customer, tea.id, after) == 6
                assert served(api) == {"replica": 1}
                assert await stock(api.customer, tea.id, before) == 6
                assert served(api) == {"replica": 1, "behind": 1}
                # What the old one did alone is nowhere: it is asked for nothing any more.
                states = [one.state for one in api.container.replicas()]
                assert states == ["promoted", "primary", "fit"]


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")
async def test_a_replica_behind_pgbouncer_is_asked_in_the_transaction_of_the_read(
    primary: PostgresServer, standby: PostgresServer, replica: Follower, database: str
) -> None:
    with running_pgbouncer(standby, pool_size=3) as folder:
        read_url = f"postgresql+asyncpg://shop@/{database}?host={folder}"
        url = primary.url(database)
        async with replicated(url, read_url, database_pgbouncer=True) as api:
            tea = await api.given_product(stock=10)
            await replica.catches_up()
            assert await look(api) == ["fit"]
            replica.stands_still()
            answer = await api.customer.post("/api/orders/", json=order_of((tea, 2)))
            seen = answer.headers["X-Shop-Seen"]
            assert await stock(api.customer, tea.id, seen) == 8
            assert await listed(api.customer, tea.sku, seen) == 8
            assert await stock(api.customer, tea.id) == 10
            assert served(api) == {"behind": 2, "replica": 1}
            await replica.catches_up()
            assert await stock(api.customer, tea.id, seen) == 8
            assert served(api) == {"behind": 2, "replica": 2}


# --- settings ---


async def test_without_replicas_nothing_is_said_and_nothing_is_read(
    primary: PostgresServer, database: str
) -> None:
    async with opened_api(container_for(settings_for(primary.url(database)))) as api:
        tea = await api.given_product(stock=10)
        answer = await api.customer.post("/api/orders/", json=order_of((tea, 1)))
        assert "X-Shop-Seen" not in answer.headers
        assert await stock(api.customer, tea.id, "x" * 48) == 9
        assert served(api) == {}


@pytest.mark.parametrize(
    ("url", "read_url", "expected"),
    [
        ("memory://", "postgresql+asyncpg://u@h/d", "SHOP_DATABASE_URL is no PostgreSQL"),
        ("postgresql+asyncpg://u@h/d", "sqlite+aiosqlite:///d", "READ_URL is no PostgreSQL"),
        ("postgresql+asyncpg://u@h/d", "postgres://u@h/d", "SHOP_DATABASE_READ_URL is wrong"),
        ("postgresql+asyncpg://u@h/d", "postgresql+asyncpg://u:pa ss@/d?x=1", "x is not known"),
    ],
)
def test_only_postgresql_has_replicas(url: str, read_url: str, expected: str) -> None:
    variables = {"SHOP_DATABASE_URL": url, "SHOP_DATABASE_READ_URL": read_url}
    with pytest.raises(SettingsError, match=expected) as refused:
        load_settings({**variables, "SHOP_SECRET_KEY": SECRET_KEY})
    assert "pa ss" not in str(refused.value)

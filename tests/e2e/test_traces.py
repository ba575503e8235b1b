"""Traces as a collector receives them from a running shop, over HTTP and as protobuf."""

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.concurrency.servers import FAILURES
from tests.e2e.conftest import Start, make_demo
from tests.e2e.shops import Shop, order_of
from tests.postgresql import TEMPLATE, PostgresServer, unused_name
from tests.receivers import CLIENT, SERVER, Collector, SeenSpan, collector, receiver

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
NOT_SAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-00"}
STOP_SECONDS_MAX = 15.0


@pytest.fixture
def seen() -> Iterator[Collector]:
    with collector() as seen:
        yield seen


def traced(seen: Collector, share: str = "1") -> dict[str, str]:
    return {"SHOP_TRACES_ENDPOINT": seen.endpoint, "SHOP_TRACES_SAMPLE": share}


def stopped(shop: Shop) -> float:
    """Seconds that a graceful stop took, which must be without complaints."""
    started = time.monotonic()
    assert shop.server.stop() == 0
    assert not [sign for sign in FAILURES if sign in shop.server.log]
    return time.monotonic() - started


def place(shop: Shop, headers: dict[str, str] | None = None) -> str:
    """The id of the request that placed an order."""
    with shop.signed_in() as client:
        response = client.post("/api/orders/", json=order_of(1, 1), headers=headers or {})
    assert response.status_code == 201, response.text
    return str(response.headers["x-request-id"])


def the_request(seen: Collector, name: str, request_id: str) -> SeenSpan:
    [span] = [span for span in seen.named(name) if span.attributes["shop.request_id"] == request_id]
    return span


@pytest.mark.parametrize("database", ["embedded", "postgresql"])
def test_an_order_is_followed_from_its_request_to_the_statements_of_its_batch(
    start: Start, seen: Collector, database: str, request: pytest.FixtureRequest
) -> None:
    if database == "postgresql":
        postgresql: PostgresServer = request.getfixturevalue("migrated_postgresql")
        url = postgresql.create_database(unused_name("traces"), template=TEMPLATE)
        shop = start(url, **traced(seen))
        make_demo(shop.folder, url)
    else:
        shop = start(**traced(seen))
    request_id = place(shop)
    stopped(shop)

    span = the_request(seen, "POST /api/orders", request_id)
    assert span.kind == SERVER
    assert span.parent_id == ""
    assert span.attributes["http.request.method"] == "POST"
    assert span.attributes["http.route"] == "/api/orders"
    assert span.attributes["http.response.status_code"] == 201
    assert span.attributes["url.path"] == "/api/orders/"
    assert not span.failed
    assert span.resource["service.name"] == "shop"
    [use_case] = seen.below(span)
    assert use_case.name == "place_order"

    [batch] = [each for each in seen.spans if span.span_id in each.links]
    assert batch.name == "order batch"
    assert span.links == [batch.span_id]
    assert batch.attributes["shop.batch_id"] == span.attributes["shop.batch_id"]
    [deciding] = seen.below(batch)
    assert deciding.name == "decide_orders"
    statements = seen.below(deciding)
    assert "COMMIT" in {each.name for each in statements}
    for each in statements:
        assert each.kind == CLIENT
        assert each.attributes["db.system.name"] == (
            "sqlite" if database == "embedded" else "postgresql"
        )
        assert each.attributes["db.operation.name"] == each.name
        assert each.attributes["db.query.text"]
        assert 0 <= each.seconds <= batch.seconds
    placed = [each for each in statements if "orders" in each.attributes["db.query.text"]]
    assert placed
    # No value is in a statement's text.
    order_ids = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-|'teapot'", re.IGNORECASE)
    assert not [each for each in statements if order_ids.search(each.attributes["db.query.text"])]


def test_a_client_decides_within_bounds_whether_its_requests_are_traced(
    start: Start, seen: Collector
) -> None:
    shop = start(**traced(seen, "0"))
    with shop.signed_in() as client:
        for headers in ({}, NOT_SAMPLED, {"traceparent": "00-planted-01"}):
            assert client.get("/api/products/", headers=headers).status_code == 200
        refused = client.get("/api/products/999/", headers=SAMPLED)
        assert refused.json()["trace_id"] == TRACE
        assert refused.headers["traceresponse"].split("-")[1] == TRACE
        answers = [
            client.get("/api/products/", headers=SAMPLED, params={"page": 1}) for _ in range(100)
        ]
    took = sum(answer.elapsed.total_seconds() for answer in answers)
    assert {answer.status_code for answer in answers} == {200}
    stopped(shop)
    [of_refusal] = seen.named("GET /api/products/{product_id}")
    assert (of_refusal.trace_id, of_refusal.parent_id) == (TRACE, SPAN)
    # One is taken by the refusal; ten a second come back.
    lists = seen.named("GET /api/products", number=9)
    assert len(lists) <= 10 + 10 * (took + 1)
    assert {span.trace_id for span in lists} == {TRACE}


def test_two_workers_trace_by_themselves(start: Start, seen: Collector) -> None:
    shop = start(workers=2, **traced(seen))
    pids = shop.server.worker_pids

    def ask(_: int) -> int:
        # Each with a connection of its own, which either worker may take.
        with shop.client() as client:
            return client.get("/api/health").status_code

    def answered_by() -> set[int]:
        return {span.resource["process.pid"] for span in seen.spans}

    give_up_at = time.monotonic() + 30
    with ThreadPoolExecutor(8) as pool:
        while answered_by() != pids:
            assert time.monotonic() < give_up_at, (answered_by(), pids)
            assert set(pool.map(ask, range(16))) == {200}
    stopped(shop)
    of_resources = {span.resource["service.instance.id"] for span in seen.spans}
    assert len(of_resources) == 2


def test_a_collector_that_is_away_is_no_ones_trouble(start: Start) -> None:
    shop = start(SHOP_TRACES_ENDPOINT="http://127.0.0.1:1/planted-path", SHOP_TRACES_SAMPLE="1")
    for _ in range(5):
        place(shop)
    # Longer than the pause between two attempts to send.
    shop.server.wait_for_line("opentelemetry")
    assert stopped(shop) < STOP_SECONDS_MAX
    assert shop.server.log.count("opentelemetry.exporter") <= 2


def test_a_collector_that_does_not_answer_is_no_ones_trouble(start: Start) -> None:
    answers = threading.Event()
    with receiver("/v1/traces", answers_after=answers) as received:
        shop = start(
            SHOP_TRACES_ENDPOINT=f"http://{received.address}/v1/traces", SHOP_TRACES_SAMPLE="1"
        )
        place(shop)
        received.wait_until(lambda: received.bodies)
        place(shop)
        assert stopped(shop) < STOP_SECONDS_MAX
        answers.set()

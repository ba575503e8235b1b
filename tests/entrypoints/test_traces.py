"""Traces of the application in this process, from the spans as they are made."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shop.adapters.work import Work, work_under_way
from shop.domain.errors import StoreUnavailable
from shop.entrypoints import traces as module
from shop.entrypoints.settings import Settings
from shop.entrypoints.trace_context import HeadSampler
from shop.entrypoints.traces import Traces, trace_calls
from tests.entrypoints.api import (
    Api,
    container_for,
    opened_api,
    order_of,
    placed,
    problem,
    settings_for,
)

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture(autouse=True)
def of_this_process(monkeypatch: pytest.MonkeyPatch, exporter: InMemorySpanExporter) -> None:
    """Everything as it is, but that spans are kept here instead of being sent."""

    def open_traces(*, share: float, database: str, **_: Any) -> Traces:
        provider = TracerProvider(span_limits=module.LIMITS, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        return Traces(provider, HeadSampler(share), database=database)

    monkeypatch.setattr(module, "open_traces", open_traces)


@pytest.fixture(scope="module", autouse=True)
def leave_nothing_to_collect() -> Iterator[None]:
    yield
    gc.collect()


def settings(share: float = 1.0) -> Settings:
    return settings_for(traces_endpoint="http://127.0.0.1:9", traces_sample=share)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with opened_api(container_for(settings())) as api:
        yield api


@pytest.fixture
async def seldom() -> AsyncIterator[Api]:
    """Where only what a client asks for is traced."""
    async with opened_api(container_for(settings(0.0))) as api:
        yield api


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def trace_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


async def test_a_refusal_names_its_trace(api: Api, exporter: InMemorySpanExporter) -> None:
    product = await api.given_product(stock=1)
    response = await api.customer.post("/api/orders/", json=order_of((product, 2)))
    body = problem(response, 409, "out_of_stock")
    [request] = named(exporter, "POST /api/orders")
    assert body["trace_id"] == trace_id(request)
    assert response.headers["traceresponse"].split("-")[1] == body["trace_id"]
    # Being sold out is no failure.
    assert request.status.is_ok or request.status.is_unset
    [use_case] = named(exporter, "place_order")
    assert (use_case.attributes or {})["shop.refusal"] == "out_of_stock"
    assert use_case.status.is_unset


async def test_what_is_not_traced_names_no_trace(
    seldom: Api, exporter: InMemorySpanExporter
) -> None:
    product = await seldom.given_product()
    await placed(seldom.customer, (product, 1))
    response = await seldom.customer.get("/api/products/99/")
    assert "trace_id" not in problem(response, 404, "product_not_found")
    assert "traceresponse" not in response.headers
    assert not exporter.get_finished_spans()


async def test_a_refused_list_that_many_share_names_the_trace_of_each_asker(seldom: Api) -> None:
    asked = [{"traceparent": PARENT} if n % 3 == 0 else {} for n in range(9)]
    answers = await asyncio.gather(
        *(seldom.customer.get("/api/products/?page=x", headers=headers) for headers in asked)
    )
    for headers, answer in zip(asked, answers, strict=True):
        shown = problem(answer, 400, "invalid_fields").get("trace_id")
        assert shown == (PARENT.split("-")[1] if headers else None)


async def test_a_client_asks_for_a_trace(seldom: Api, exporter: InMemorySpanExporter) -> None:
    response = await seldom.customer.get("/api/products/99/", headers={"traceparent": PARENT})
    assert problem(response, 404, "product_not_found")["trace_id"] == PARENT.split("-")[1]
    [request] = named(exporter, "GET /api/products/{product_id}")
    assert request.parent is not None
    assert request.parent.is_remote
    assert f"{request.parent.span_id:016x}" == PARENT.split("-")[2]


async def test_a_client_that_is_not_traced_is_not_traced_here(
    api: Api, exporter: InMemorySpanExporter
) -> None:
    await api.customer.get("/api/products/", headers={"traceparent": PARENT[:-1] + "0"})
    assert not exporter.get_finished_spans()


@pytest.mark.parametrize("hostile", ["x", PARENT.upper(), PARENT + "-x", "00-" + "0" * 52, ""])
async def test_a_hostile_parent_is_as_none(
    api: Api, exporter: InMemorySpanExporter, hostile: str
) -> None:
    assert (
        await api.customer.get("/api/products/", headers={"traceparent": hostile})
    ).status_code == 200
    [request] = named(exporter, "GET /api/products")
    assert request.parent is None


async def test_orders_of_one_batch_are_linked_with_it_in_both_directions(
    seldom: Api, exporter: InMemorySpanExporter
) -> None:
    product = await seldom.given_product()
    body = order_of((product, 1))
    traced = {"traceparent": PARENT}
    # Whoever comes while the first is being decided is in the next batch.
    await asyncio.gather(
        *(
            seldom.customer.post("/api/orders/", json=body, headers=headers)
            for headers in ({}, traced, {}, traced, {})
        )
    )
    requests = named(exporter, "POST /api/orders")
    batches = named(exporter, "order batch")
    assert len(requests) == 2
    carried = {span.context.span_id for span in requests if span.context}
    assert {link.context.span_id for batch in batches for link in batch.links} == carried
    for request in requests:
        [link] = request.links
        [batch] = [each for each in batches if each.context == link.context]
        attributes, of_request = dict(batch.attributes or {}), dict(request.attributes or {})
        assert attributes["shop.batch_id"] == of_request["shop.batch_id"]
        assert attributes["shop.requests"] in range(1, 6)
        [deciding] = [
            span
            for span in named(exporter, "decide_orders")
            if span.parent is not None and span.parent == batch.context
        ]
        assert trace_id(deciding) == trace_id(batch) != trace_id(request)


async def test_a_batch_in_which_nobody_is_traced_is_not(
    seldom: Api, exporter: InMemorySpanExporter
) -> None:
    product = await seldom.given_product()
    await placed(seldom.customer, (product, 1))
    await seldom.customer.get("/api/products/", headers={"traceparent": PARENT})
    assert not named(exporter, "order batch")


async def test_a_batch_knows_its_trace(api: Api, exporter: InMemorySpanExporter) -> None:
    seen: list[Work] = []
    decide = api.container.decide_orders()
    original = decide.unit_of_work

    def noting(**options: Any) -> Any:
        if (work := work_under_way.get()) is not None:
            seen.append(work)
        return original(**options)

    object.__setattr__(decide, "unit_of_work", noting)
    product = await api.given_product()
    await placed(api.customer, (product, 1))
    [batch] = named(exporter, "order batch")
    assert [(work.trace_id, work.batch_id) for work in seen] == [
        (trace_id(batch), (batch.attributes or {})["shop.batch_id"])
    ]


async def test_a_read_for_many_is_part_of_one_trace_and_linked_from_the_others(
    api: Api, exporter: InMemorySpanExporter
) -> None:
    product = await api.given_product()
    await asyncio.gather(*(api.customer.get(f"/api/products/{product.id}/") for _ in range(4)))
    requests = by_id(named(exporter, "GET /api/products/{product_id}"))
    use_cases = by_id(named(exporter, "read_product"))
    look_ups = named(exporter, "look_up_products")
    assert len(requests) == 4
    assert 1 <= len(look_ups) < 4
    readers = [parent_of(parent_of(each, use_cases), requests) for each in look_ups]
    linked = [link.context.span_id for request in requests.values() for link in request.links]
    assert len(linked) == 4 - len(readers)
    assert set(linked) <= set(by_id(readers))
    assert not [reader for reader in readers if reader.links]


def by_id(spans: Sequence[ReadableSpan]) -> dict[int, ReadableSpan]:
    return {span.context.span_id: span for span in spans if span.context}


def parent_of(span: ReadableSpan, among: Mapping[int, ReadableSpan]) -> ReadableSpan:
    assert span.parent is not None
    return among[span.parent.span_id]


async def test_nothing_of_a_query_a_body_or_a_header_is_in_a_span(
    api: Api, exporter: InMemorySpanExporter
) -> None:
    planted = "planted-secret"
    headers = {"X-Whatever": planted, "Authorization": f"Bearer {planted}"}
    await api.customer.get("/api/products/", params={"search": planted})
    await api.anonymous.get("/api/products/", headers=headers)
    await api.anonymous.get(f"/api/{planted}/")
    await api.anonymous.request(planted.upper(), "/api/products/")
    await api.anonymous.post("/api/token/", json={"username": planted, "password": planted})
    spans = exporter.get_finished_spans()
    assert len(spans) > 5
    assert not [span for span in spans if planted in span.to_json().lower()]


async def test_an_unexpected_failure_is_one_of_the_request_and_of_the_use_case(
    api: Api, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_products = api.container.list_products()

    def broken(**_: object) -> Any:
        raise ValueError("planted-secret")

    object.__setattr__(list_products, "unit_of_work", broken)
    try:
        response = await api.customer.get("/api/products/")
    finally:
        api.container.list_products.reset()
    body = problem(response, 500, "internal_error")
    [request] = named(exporter, "GET /api/products")
    [use_case] = named(exporter, "list_products")
    assert body["trace_id"] == trace_id(request)
    for span in (request, use_case):
        assert not span.status.is_ok
        assert not span.status.is_unset
        assert "planted" not in span.to_json()
    assert (request.attributes or {})["error.type"] == "500"
    assert (use_case.attributes or {})["error.type"] == "builtins.ValueError"


async def test_a_use_case_is_wrapped_once_however_often_traces_are_opened(
    exporter: InMemorySpanExporter,
) -> None:
    for _ in range(2):
        async with opened_api(container_for(settings())) as api:
            exporter.clear()
            await api.customer.get("/api/products/")
            [span] = named(exporter, "list_products")
            [request] = named(exporter, "GET /api/products")
            assert span.parent == request.context


async def test_without_work_a_use_case_is_called_as_it_is(
    api: Api, exporter: InMemorySpanExporter
) -> None:
    product = await api.given_product()
    assert await api.stock_of(product) == 10
    assert not exporter.get_finished_spans()


async def test_a_batch_that_fails_as_a_whole_is_a_failure_whoever_is_answered(
    api: Api, exporter: InMemorySpanExporter
) -> None:
    product = await api.given_product()
    decide = api.container.decide_orders()
    opened, failures = decide.unit_of_work, [ValueError("planted-secret")]

    def broken_once(**options: Any) -> Any:
        if failures:
            raise failures.pop()
        return opened(**options)

    object.__setattr__(decide, "unit_of_work", broken_once)
    answers = await asyncio.gather(
        *(api.customer.post("/api/orders/", json=order_of((product, 1))) for _ in range(2))
    )
    object.__setattr__(decide, "unit_of_work", opened)
    # It is tried again in halves.
    assert [answer.status_code for answer in answers] == [201, 201]
    failed, *done = named(exporter, "order batch")
    assert (failed.attributes or {})["error.type"] == "builtins.ValueError"
    assert not failed.status.is_ok
    assert not failed.status.is_unset
    assert "planted" not in failed.to_json()
    assert [span.status.is_unset for span in done] == [True, True]
    assert not [span for span in done if "error.type" in (span.attributes or {})]


async def test_who_hung_up_is_not_linked_any_more() -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    traces = Traces(provider, HeadSampler(1.0), database="memory")
    gone, there = Work(), Work()
    for work in (gone, there):
        traces.request_began(work, method="POST", scheme="http", headers=[])
    traces.request_ended(gone, method="POST", route="/x", path="/x", status=0)
    batch = Work(batch_id="b-1")
    traces.attempt_began(batch, [gone, there, Work()])
    traces.attempt_ended(batch, None)
    assert [len(work.trace.root.links) for work in (gone, there, batch)] == [0, 1, 2]
    assert gone.trace.root.attributes["error.type"] == "no_answer"


async def test_a_statement_that_fails_says_how_and_not_with_what() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces = Traces(provider, HeadSampler(1.0), database="postgresql")
    error = StoreUnavailable("planted")
    error.sqlstate = "57014"  # type: ignore[attr-defined]  # as the drivers' errors have it
    traces.statement_done("SELECT 1", seconds=1.0, error=error)
    assert not exporter.get_finished_spans()
    work = Work()
    traces.request_began(work, method="GET", scheme="http", headers=[])
    token = work_under_way.set(work)
    traces.statement_done("  select 1", seconds=1.0, error=error)
    traces.statement_done("", seconds=1.0, error=None)
    work_under_way.reset(token)
    failed, _ = exporter.get_finished_spans()
    assert failed.name == "SELECT"
    assert (failed.attributes or {})["db.response.status_code"] == "57014"
    assert "planted" not in failed.to_json()
    assert failed.start_time is not None
    assert failed.end_time is not None
    assert failed.end_time - failed.start_time == 1_000_000_000


def test_what_shows_its_results_bit_by_bit_stays_as_it_is() -> None:
    class Bits:
        async def __call__(self) -> AsyncIterator[int]:
            yield 1

    call = Bits.__call__
    trace_calls(Bits, "bits")
    assert Bits.__call__ is call

"""The edge: request ids, slow bodies, and where a body ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, cast

import pytest
from litestar.types import Receive, Scope, Send

from shop.entrypoints.health import Drain
from shop.entrypoints.http.access_log import AccessLog
from shop.entrypoints.http.edge import PART_BYTES_MAX, Edge
from shop.entrypoints.http.errors import BodyTooSlow
from shop.entrypoints.metrics import Metrics
from shop.entrypoints.settings import Settings
from tests.entrypoints.api import (
    Api,
    client_of,
    container_for,
    problem,
    settings_for,
)


@pytest.fixture
def database_url() -> str:
    return "memory://"


# --- slow bodies ---


async def test_a_body_that_does_not_arrive_in_time_is_refused() -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b'{"username": '
        await asyncio.Event().wait()

    async with client_of(container_for(settings_for(request_timeout=0.05))) as client:
        response = await client.post(
            "/api/token/", content=stalled(), headers={"Content-Type": "application/json"}
        )
    problem(response, 408, "body_too_slow")


@pytest.mark.parametrize("after", [-0.005, 0.005], ids=["just before", "just after"])
async def test_a_request_that_is_given_up_just_when_its_time_is_over_ends(after: float) -> None:
    waiting = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def receive() -> Any:
        waiting.set()
        await asyncio.Event().wait()

    async def send(_: Any) -> None: ...

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(BodyTooSlow):
            await receive()

    edge = Edge(
        app,
        metrics=Metrics(),
        drain=Drain(),
        access_log=AccessLog(Settings()),
        body_seconds_max=0.02,
    )
    scope = {"type": "http", "method": "POST", "headers": []}
    request = asyncio.create_task(edge(cast("Scope", scope), receive, send))
    over_at = loop.time() + 0.02
    await waiting.wait()
    loop.call_at(over_at + after, request.cancel)
    keep_the_loop_busy(0.04)
    with pytest.raises(asyncio.CancelledError):
        await request


def keep_the_loop_busy(seconds: float) -> None:
    """So that what comes due meanwhile is done in one step."""
    time.sleep(seconds)


# --- request ids ---


@pytest.mark.parametrize("sane", ["a", "trace-1.2_3", "x" * 64])
async def test_a_sane_request_id_is_kept(api: Api, sane: str) -> None:
    for path in ("/api/health/", "/nowhere", "/api/products/"):
        response = await api.anonymous.get(path, headers={"X-Request-ID": sane})
        assert response.headers.get_list("x-request-id") == [sane]


@pytest.mark.parametrize("odd", [b"", b"x" * 65, b"a b", b"a\tb", b"<script>", b"\xff", b"a,b"])
async def test_any_other_is_replaced(api: Api, odd: bytes) -> None:
    response = await api.anonymous.get("/api/health/", headers=[(b"X-Request-ID", odd)])
    [given] = response.headers.get_list("x-request-id")
    assert given.encode() != odd
    assert len(given) == 32


async def test_every_request_without_one_gets_its_own(api: Api) -> None:
    given = {(await api.anonymous.get("/api/health/")).headers["x-request-id"] for _ in range(5)}
    assert len(given) == 5


async def test_answers_are_not_to_be_taken_for_anything_else(api: Api) -> None:
    response = await api.customer.get("/api/products/")
    assert response.headers["x-content-type-options"] == "nosniff"


# --- the end of a body ---


@pytest.mark.parametrize(
    ("length", "received"), [(b"4", 2), (b"5", 3), (b"3", 3), (None, 3), (b"x", 3), (b"-4", 3)]
)
async def test_a_body_is_complete_when_as_much_came_as_was_announced(
    length: bytes | None, received: int
) -> None:
    """The server says so with one more message only; what it announced wrongly changes nothing."""
    left = [(b"ab", True), (b"cd", True), (b"", False)]
    read = []

    async def receive() -> Any:
        body, more = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": more}

    async def send(_: Any) -> None: ...

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            assert message["type"] == "http.request"
            read.append(message["body"])
            more = message["more_body"]

    headers = [(b"host", b"x")] + ([(b"content-length", length)] if length is not None else [])
    scope = {"type": "http", "method": "POST", "headers": headers}
    edge = Edge(
        app, metrics=Metrics(), drain=Drain(), access_log=AccessLog(Settings()), body_seconds_max=60
    )
    await edge(cast("Scope", scope), receive, send)
    assert (len(read), b"".join(read)) == (received, b"abcd")


@pytest.mark.parametrize("length", [0, 1, PART_BYTES_MAX, PART_BYTES_MAX + 1, 10 * PART_BYTES_MAX])
async def test_a_large_answer_is_handed_on_part_by_part(length: int) -> None:
    """So that what a peer has not read yet is not kept twice."""
    whole = bytes(n % 251 for n in range(length))
    sent: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": whole, "more_body": False})

    async def send(message: Any) -> None:
        sent.append(message)

    edge = Edge(
        app, metrics=Metrics(), drain=Drain(), access_log=AccessLog(Settings()), body_seconds_max=1
    )
    scope = {"type": "http", "method": "GET", "headers": [], "raw_path": b"/"}
    await edge(cast(Scope, scope), cast(Receive, None), send)
    parts = sent[1:]
    assert b"".join(part["body"] for part in parts) == whole
    assert all(len(part["body"]) <= PART_BYTES_MAX for part in parts)
    assert len(parts) == max(1, -(-length // PART_BYTES_MAX))
    assert [part["more_body"] for part in parts] == [True] * (len(parts) - 1) + [False]

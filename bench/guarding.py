"""What it costs that a request is guarded: the application with and without, in one process.

Over HTTP that is lost in what the machine's speed changes by from one second to the next. Here both
are called without a server, in short turns and many of them, and of each the best turn counts: what
the work takes while nobody disturbs it.
"""

import asyncio
import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any, cast

import msgspec
import uvloop
from litestar.types import ASGIApp, Message, ReceiveMessage

from bench.candidates import World
from bench.data import opened, problems_of
from bench.variants import build_unguarded
from shop.entrypoints.http.app import build_app

WORKLOADS = {"hot": "placing an order", "reading": "reading a product"}
CALLERS = 64
REQUESTS_EACH = 4
"""In a turn."""
TURNS = 40


class Guarding(msgspec.Struct, frozen=True):
    """One round of turns."""

    workload: str
    round: int
    guarded: list[float]
    unguarded: list[float]
    """Microseconds of this process for a request, turn by turn."""
    problems: list[str]

    @property
    def ratio(self) -> float:
        return min(self.guarded) / min(self.unguarded)

    def __str__(self) -> str:
        return (
            f"guarding, {self.workload}: {min(self.guarded):.0f} us of CPU,"
            f" {min(self.unguarded):.0f} unguarded"
        )


def measure_guarding(world: World, workload: str, *, number: int) -> Guarding:
    with world.copied_postgres() as url:
        tokens = world.tokens.read_text().split()
        guarded, unguarded = uvloop.run(_take_turns(url, workload, tokens))
        placed = 0 if workload == "reading" else 2 * (1 + TURNS) * CALLERS * REQUESTS_EACH
        return Guarding(
            workload=workload,
            round=number,
            guarded=guarded,
            unguarded=unguarded,
            problems=problems_of(url, answered=placed, cut_off=0),
        )


async def _take_turns(url: str, workload: str, tokens: list[str]) -> list[list[float]]:
    """What a request cost in each turn: guarded, then unguarded."""
    async with opened(url) as one, opened(url) as other:
        applications = build_app(one), build_unguarded(other)
        costs: list[list[float]] = [[], []]
        # The first turn is the one in which connections are made and tokens are verified.
        for _ in range(1 + TURNS):
            for application, cost in zip(applications, costs, strict=True):
                before = time.process_time()
                requests = _requests(workload, tokens)
                async with asyncio.TaskGroup() as callers:
                    for _ in range(CALLERS):
                        callers.create_task(_call(application, requests))
                spent = time.process_time() - before
                cost.append(spent / (CALLERS * REQUESTS_EACH) * 1e6)
        return [cost[1:] for cost in costs]


_Request = tuple[str, str, bytes, list[tuple[bytes, bytes]]]


def _requests(workload: str, tokens: list[str]) -> Iterator[_Request]:
    for number, token in enumerate(cycle(tokens), start=1):
        headers = [(b"host", b"shop"), (b"authorization", b"Bearer " + token.encode())]
        if workload == "reading":
            yield "GET", f"/api/products/{number}/", b"", headers
        else:
            body = b'{"items":[{"product_id":1,"quantity":1}]}'
            headers.append((b"content-type", b"application/json"))
            headers.append((b"content-length", b"%d" % len(body)))
            yield "POST", "/api/orders/", body, headers


async def _call(application: ASGIApp, requests: Iterator[_Request]) -> None:
    for _ in range(REQUESTS_EACH):
        method, path, body, headers = next(requests)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 40_000),
            "server": ("127.0.0.1", 8000),
            "extensions": {},
            "state": {},
        }
        statuses: list[int] = []

        # As the server does it, which has one more message for the end of a body.
        async def receive(body: bytes = body) -> ReceiveMessage:
            return {"type": "http.request", "body": body, "more_body": True}

        async def send(message: Message, statuses: list[int] = statuses) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await application(cast("Any", scope), receive, cast("Any", send))
        if statuses not in ([200], [201]):
            raise RuntimeError(f"{method} {path} was answered {statuses}")

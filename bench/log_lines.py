"""What logging costs a request, in one process: `python -m bench.log_lines`.

The same requests go through the edge with no access log, with one that logs failed and slow ones
only, and with a JSON line for each, to a file. Rounds take turns. What is counted is the time of
the processor, that of the writing thread as well.
"""

import asyncio
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from litestar.types import Receive, Scope, Send

from shop.entrypoints.health import Drain
from shop.entrypoints.http.access_log import AccessLog
from shop.entrypoints.http.edge import Edge
from shop.entrypoints.logs import set_up_logging
from shop.entrypoints.metrics import Metrics
from shop.entrypoints.settings import Settings

ROUNDS, REQUESTS = 15, 3_000
HEADERS = [(b"host", b"shop"), (b"accept", b"*/*"), (b"user-agent", b"x"), (b"authorization", b"x")]
PROXIED = [*HEADERS, (b"x-forwarded-for", b"203.0.113.9")]


class NoAccessLog(AccessLog):
    def __call__(self, *_: Any, **__: Any) -> None: ...


async def answer(scope: Scope, _: Receive, send: Send) -> None:
    cast("Any", scope)["path_template"] = "/api/products/{product_id}"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x" * 300, "more_body": False})


async def send(_: Any) -> None: ...


def edge(log: AccessLog) -> Edge:
    return Edge(answer, metrics=Metrics(), drain=Drain(), access_log=log, body_seconds_max=10)


async def microseconds(edge: Edge, headers: list[tuple[bytes, bytes]]) -> float:
    started = time.process_time()
    for _ in range(REQUESTS):
        scope: Any = {
            "type": "http",
            "method": "GET",
            "raw_path": b"/api/products/1/",
            "headers": headers,
            "client": ("192.0.2.1", 1234),
        }
        await edge(scope, cast("Receive", None), send)
    return (time.process_time() - started) / REQUESTS * 1e6


async def main() -> None:
    all_of_them = Settings(access_log=True, trusted_proxies="192.0.2.0/24,10.0.0.0/8")
    variants = {
        "none": (edge(NoAccessLog(Settings())), HEADERS),
        "failed and slow": (edge(AccessLog(Settings())), HEADERS),
        "all": (edge(AccessLog(all_of_them)), HEADERS),
        "all, behind a proxy": (edge(AccessLog(all_of_them)), PROXIED),
    }
    took: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, (variant, headers) in variants.items():
            took[name].append(await microseconds(variant, headers))
    for name, times in took.items():
        more = statistics.median(a - b for a, b in zip(times, took["none"], strict=True))
        print(f"{name:20} {min(times):6.2f} us a request, {more:+6.2f} us")


if __name__ == "__main__":
    with TemporaryDirectory() as folder, (Path(folder) / "log").open("wb", buffering=0) as log:
        set_up_logging(level="info", log_format="json", in_background=True, destination=log)
        asyncio.run(main())

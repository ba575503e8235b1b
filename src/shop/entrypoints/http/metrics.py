"""Metrics over HTTP, for Prometheus: `/metrics`, where they have no port of their own."""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from shop.entrypoints.exposition import Exposition
from shop.entrypoints.http.access import PUBLIC
from shop.entrypoints.http.access_log import QUIET


@get("/metrics", opt=PUBLIC | QUIET, include_in_schema=False)
async def metrics_text(
    request: Request[Any, Any, Any], exposition: NamedDependency[Exposition]
) -> Response[bytes]:
    """Without SHOP_METRICS_TOKEN it is for anybody who reaches the port, as health is."""
    content, media_type = await exposition(
        authorization=request.headers.get("authorization", ""),
        accept=request.headers.get("accept", ""),
    )
    # As a header: to a media type Litestar would add the character set a second time.
    return Response(content, headers={"content-type": media_type, "vary": "accept"})

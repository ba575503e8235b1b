"""Metrics over HTTP, for Prometheus: `/metrics`."""

from litestar import Response, get
from litestar.di import NamedDependency

from shop.entrypoints.http.access import PUBLIC
from shop.entrypoints.http.access_log import QUIET
from shop.entrypoints.metrics import CONTENT_TYPE, Metrics


@get("/metrics", opt=PUBLIC | QUIET, include_in_schema=False, sync_to_thread=True)
def metrics_text(metrics: NamedDependency[Metrics]) -> Response[bytes]:
    """Like health it is for anybody who reaches the port: keep it from the internet."""
    return Response(metrics.text(), media_type=CONTENT_TYPE)

"""A line for each request, or only for those that failed or were slow."""

import logging
import random
from typing import Any

from litestar.handlers import BaseRouteHandler
from litestar.types import Scope

from shop.adapters.work import Work
from shop.entrypoints.http.addresses import client_address
from shop.entrypoints.log_forms import cut, printable, without_secrets
from shop.entrypoints.logs import log_request, requests
from shop.entrypoints.settings import Settings

QUIET: dict[str, Any] = {"quiet": True}
"""Said by a route (`opt=`) that is asked every second: only its failures are logged."""

_PATH_LENGTH_MAX = 200
_ERROR = 500


class AccessLog:
    """Decides which requests have a line, and writes it.

    Failed and slow requests always have one; of the others a share, if all are asked for.
    """

    def __init__(self, settings: Settings) -> None:
        self._share = settings.log_sample if settings.access_log else 0.0
        self._slow_seconds = settings.log_slow
        self._proxies = settings.proxy_networks

    def __call__(
        self, scope: Scope, work: Work, *, method: str, status: int, seconds: float, size: int
    ) -> None:
        """Of a request that took `seconds` and was answered with `size` bytes of a body.

        Its status is 0 if it ended without an answer, as where a server stops.
        """
        if status >= _ERROR or not status:
            level, name = logging.ERROR, "error"
        elif _is_quiet(scope):
            return
        elif seconds >= self._slow_seconds:
            level, name = logging.WARNING, "warning"
        elif self._share and (self._share == 1.0 or random.random() < self._share):  # noqa: S311
            level, name = logging.INFO, "info"
        else:
            return
        if requests.isEnabledFor(level):
            fields: dict[str, Any] = {"method": method}
            if route := scope.get("path_template"):
                fields["route"] = route
            else:
                fields["path"] = _shown(scope.get("raw_path", b""))
            fields["status"] = status
            fields["seconds"] = round(seconds, 6)
            fields["bytes"] = size
            fields["address"] = client_address(scope, self._proxies)
            if work.problem is not None:
                fields["problem"] = work.problem
            if work.batch_wait is not None:
                fields["batch_wait"] = round(work.batch_wait, 6)
            log_request(name, fields)


def _is_quiet(scope: Scope) -> bool:
    handler: BaseRouteHandler | None = scope.get("route_handler")
    return handler is not None and "quiet" in handler.opt


def _shown(path: bytes) -> str:
    """An address that there is not: as it came, percent-encoded, but short and harmless."""
    return printable(without_secrets(cut(path.decode("latin-1"), _PATH_LENGTH_MAX)))

"""Errors as RFC 9457 problem documents, one shape for all."""

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.enums import ParamType
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example

from shop.domain.errors import (
    InvalidFields,
    ShopError,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from shop.entrypoints.http.answers import JSONAnswer
from shop.entrypoints.http.errors import STATUSES, EncodedBody, status_of
from shop.entrypoints.http.requests import allowed
from shop.entrypoints.logs import request_id_of_context

logger = logging.getLogger("shop.http")

PROBLEM_JSON = "application/problem+json"
INTERNAL_ERROR = "internal_error"


class FieldProblem(msgspec.Struct):
    field: str
    message: str


class LineProblem(msgspec.Struct):
    product_id: int
    requested: int
    available: int


class Problem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """An error: RFC 9457, `application/problem+json`."""

    type: str
    """A stable URI of the kind of problem; `code` as a URI."""
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldProblem] = []
    """Each wrong field, by its dotted path."""
    lines: list[LineProblem] = []
    """Each line that cannot be served."""
    request_id: str = ""
    """Only of an unexpected failure, to find it in the log."""
    expected: int | None = None
    actual: int | None = None
    order_status: str = ""
    allowed: list[str] = []


def shop_error(_: Request[Any, Any, Any], error: ShopError) -> Response[Any]:
    headers: dict[str, str] = {}
    if isinstance(error, Unavailable | TooManyRequests):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, EncodedBody):
        headers["Accept-Encoding"] = "identity"
    return problem(
        status_of(error),
        code=error.code,
        title=error.title,
        detail=error.detail,
        context=error.context,
        headers=headers,
    )


def http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """What Litestar refuses: unknown paths and methods, wrong parameters, bodies too large."""
    if isinstance(error, ValidationException):
        return shop_error(request, _invalid_parameters(error))
    status = HTTPStatus(error.status_code)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return unexpected_error(request, error)
    code, title, detail = _REFUSALS.get(status, ("bad_request", "Bad request", f"{error.detail}."))
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if methods := headers.get("allow"):
        headers["allow"] = allowed(methods.split(", "))
    return problem(status, code=code, title=title, detail=detail, headers=headers)


# These names stand here because Python's own names of statuses differ between its versions.
_REFUSALS = {
    HTTPStatus.NOT_FOUND: ("not_found", "Not found", "There is nothing at this address."),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        "method_not_allowed",
        "Method not allowed",
        "`Allow` lists the methods this address takes.",
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        "body_too_large",
        "The body is too large",
        "The body is larger than the limit (SHOP_BODY_MAX).",
    ),
}


def unexpected_error(_: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """A bug: the log has the details, the answer only the id to find them by."""
    logger.error("unexpected failure", exc_info=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        code=INTERNAL_ERROR,
        title="Internal error",
        detail="The request failed unexpectedly; report it with its request id.",
        context={"request_id": request_id_of_context.get()},
    )


EXCEPTION_HANDLERS: dict[
    int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Any]]
] = {
    ShopError: shop_error,
    HTTPException: http_error,
    Exception: unexpected_error,
}


def problem(
    status: HTTPStatus,
    *,
    code: str,
    title: str,
    detail: str,
    context: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response[Any]:
    return JSONAnswer(
        {
            "type": f"urn:shop:problem:{code}",
            "title": title,
            "status": status.value,
            "detail": detail,
            "code": code,
            **(context or {}),
        },
        status_code=status.value,
        media_type=PROBLEM_JSON,
        headers=headers,
    )


def _invalid_parameters(error: ValidationException) -> InvalidFields:
    extra = error.extra if isinstance(error.extra, list) else []
    # When something else is wrong, Litestar also names an optional body that was left out.
    others = [item for item in extra if item.get("key") != "data"]
    return InvalidFields(
        [_invalid_parameter(item) for item in others or extra]
        or [("request", "the request is not valid")]
    )


def _invalid_parameter(item: Mapping[str, Any]) -> tuple[str, str]:
    name = str(item.get("key", "request"))
    if name == "data":
        return "body", "a JSON body is required"
    if item.get("source") == ParamType.HEADER:
        # Litestar names the function's parameter: idempotency_key is Idempotency-Key.
        name = name.replace("_", "-").title()
    return name, str(item.get("message"))


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """The error answers of a route, for the OpenAPI document.

    Every route can be asked wrongly (400) and can fail unexpectedly (500).
    """
    return {status: _documented(HTTPStatus(status)) for status in (400, *statuses, 500)}


def _documented(status: HTTPStatus) -> ResponseSpec:
    code = next(
        (kind.code for kind, known in STATUSES.items() if known == status),
        _REFUSALS.get(status, (INTERNAL_ERROR,))[0],
    )
    example = Problem(
        type=f"urn:shop:problem:{code}",
        title=status.phrase,
        status=status.value,
        detail="One sentence for a person.",
        code=code,
    )
    return ResponseSpec(
        Problem,
        generate_examples=False,
        description=status.phrase,
        media_type=PROBLEM_JSON,
        examples=[Example(summary=code, value=msgspec.to_builtins(example))],
    )

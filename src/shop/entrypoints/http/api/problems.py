"""Errors as RFC 9457 problem documents, one shape for all."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from msgspec import Meta

from shop.adapters.work import work_under_way
from shop.domain.bulk import Outcome, RowAnswer
from shop.domain.errors import (
    InvalidFields,
    RowsRefused,
    ShopError,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from shop.entrypoints.http.answers import JSONAnswer
from shop.entrypoints.http.api.fields import wrong_parameters
from shop.entrypoints.http.errors import STATUSES, EncodedBody, status_of
from shop.entrypoints.http.requests import allowed
from shop.entrypoints.logs import current_request_id

logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("shop.http")

PROBLEM_JSON = "application/problem+json"
INTERNAL_ERROR = "internal_error"


class FieldProblem(msgspec.Struct):
    """A wrong field, parameter or header."""

    field: Annotated[
        str, Meta(description="Its name, or its dotted path.", examples=["items.0.quantity"])
    ]
    message: Annotated[
        str,
        Meta(
            description="What it must be.",
            examples=["must be a whole number from 1 to 1,000,000"],
        ),
    ]


class LineProblem(msgspec.Struct, omit_defaults=True):
    """A line that cannot be served."""

    product_id: Annotated[int, Meta(description="The product's id.", examples=[1])]
    requested: Annotated[int, Meta(description="How many were asked for.", examples=[65])]
    available: Annotated[int, Meta(description="How many there are.", examples=[63])]
    max_per_order: Annotated[
        int | None,
        Meta(
            description="Where an order may have no more of it, however many are there.",
            examples=[5],
        ),
    ] = None


class CheckOut(msgspec.Struct, kw_only=True):
    """Something that a server needs to be ready."""

    name: Annotated[str, Meta(description="What was looked at.", examples=["database"])]
    ok: Annotated[bool, Meta(description="Whether all is well.", examples=[True])]
    seconds: Annotated[float, Meta(description="What the check took.", examples=[0.0012])]
    detail: Annotated[
        str, Meta(description="What is wrong; empty if nothing is.", examples=[""])
    ] = ""


class PricedItem(msgspec.Struct):
    """A line of an order that would come to another sum, at the price of today."""

    product_id: Annotated[int, Meta(description="The product's id.", examples=[1])]
    quantity: Annotated[int, Meta(description="How many pieces.", examples=[2])]
    price: Annotated[str, Meta(description="Of one piece, today.", examples=["21.90"])]
    total: Annotated[str, Meta(description="Of the line, today.", examples=["43.80"])]


class RowError(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Why a row was refused: what a request of its own would have been told, in short."""

    code: Annotated[
        str, Meta(description="The kind of problem, for programs.", examples=["stock_changed"])
    ]
    detail: Annotated[
        str,
        Meta(
            description="One sentence for a person.",
            examples=["The stock is 34, not the expected 35; nothing was changed."],
        ),
    ]
    errors: Annotated[list[FieldProblem], Meta(description="Each wrong field of the row.")] = []
    lines: Annotated[list[LineProblem], Meta(description="What is short, of `out_of_stock`.")] = []
    expected: Annotated[
        int | None, Meta(description="The stock that the row expected.", examples=[35])
    ] = None
    actual: Annotated[int | None, Meta(description="The stock that there is.", examples=[34])] = (
        None
    )
    product_id: Annotated[
        int | None, Meta(description="The product that has the SKU.", examples=[1])
    ] = None
    archived: Annotated[
        bool, Meta(description="Whether that product is archived.", examples=[True])
    ] = False


class RowOut(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What became of a row."""

    sku: Annotated[
        str,
        Meta(description="The row's, empty if it cannot be read.", examples=["BLA-1-000001"]),
    ]
    outcome: Annotated[
        Outcome,
        Meta(
            description="`unchanged`: it is so already. `held_back`: nothing is wrong with it, and "
            "it was not written since others were refused.",
            examples=["changed"],
        ),
    ]
    product_id: Annotated[
        int | None, Meta(description="The product's id, if there is one.", examples=[1])
    ] = None
    stock: Annotated[
        int | None, Meta(description="How many are there; not of a row refused.", examples=[40])
    ] = None
    error: RowError | msgspec.UnsetType = msgspec.UNSET
    """Why it was refused."""

    @classmethod
    def of(cls, answer: RowAnswer) -> "RowOut":
        if answer.outcome in (Outcome.REFUSED, Outcome.HELD_BACK):
            product_id = None if answer.before is None else answer.before.id
            return cls(
                sku=answer.sku,
                outcome=answer.outcome,
                product_id=product_id,
                error=msgspec.UNSET if answer.error is None else _row_error(answer.error),
            )
        assert answer.entry is not None
        return cls(
            sku=answer.sku,
            outcome=answer.outcome,
            product_id=answer.entry.id,
            stock=answer.stock,
        )


def _row_error(error: ShopError) -> RowError:
    return msgspec.convert({"code": error.code, "detail": error.detail, **error.context}, RowError)


class Problem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """An error: RFC 9457, `application/problem+json`."""

    type: Annotated[
        str,
        Meta(
            description="A stable URI of the kind of problem; `code` as a URI.",
            examples=["urn:shop:problem:out_of_stock"],
        ),
    ]
    title: Annotated[
        str, Meta(description="The kind of problem, for people.", examples=["Out of stock"])
    ]
    status: Annotated[int, Meta(description="The HTTP status.", examples=[409])]
    detail: Annotated[
        str,
        Meta(
            description="One sentence for a person.",
            examples=["Not enough stock for product 1."],
        ),
    ]
    code: Annotated[
        str, Meta(description="The kind of problem, for programs.", examples=["out_of_stock"])
    ]
    errors: Annotated[list[FieldProblem], Meta(description="Each wrong field.")] = []
    lines: Annotated[list[LineProblem], Meta(description="Each line that cannot be served.")] = []
    request_id: Annotated[
        str,
        Meta(
            description="Only of an unexpected failure, to find it in the log.",
            examples=["9a149d92cec0ebd19e249dcf3ec0a1b2"],
        ),
    ] = ""
    trace_id: Annotated[
        str,
        Meta(
            description="The trace that the request is part of, if it is traced.",
            examples=["4bf92f3577b34da6a3ce929d0e0e4736"],
        ),
    ] = ""
    expected: Annotated[
        int | None, Meta(description="The stock that the request expected.", examples=[35])
    ] = None
    actual: Annotated[int | None, Meta(description="The stock that there is.", examples=[34])] = (
        None
    )
    product_id: Annotated[
        int | None, Meta(description="The product that has the SKU already.", examples=[1])
    ] = None
    archived: Annotated[
        bool, Meta(description="Whether that product is archived.", examples=[True])
    ] = False
    order_status: Annotated[
        str, Meta(description="Where the order stands.", examples=["shipped"])
    ] = ""
    allowed: Annotated[
        list[str], Meta(description="Where it may go from there.", examples=[["delivered"]])
    ] = []
    checks: Annotated[
        list[CheckOut], Meta(description="What was looked at, of a server that is not ready.")
    ] = []
    items: Annotated[
        list[PricedItem],
        Meta(description="What the order would consist of, at the prices of today."),
    ] = []
    total: Annotated[str, Meta(description="What the order would come to.", examples=["43.80"])] = (
        ""
    )
    currency: Annotated[str, Meta(description="Of these prices.", examples=["EUR"])] = ""
    rows: Annotated[
        list[RowOut], Meta(description="What became of each row, where one of them was refused.")
    ] = []


def shop_error(request: Request[Any, Any, Any], error: ShopError) -> Response[Any]:
    headers: dict[str, str] = {}
    if isinstance(error, InvalidFields):
        error = _with_wrong_parameters(request, error)
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
        context=_context_of(error),
        headers=headers,
    )


def _context_of(error: ShopError) -> Mapping[str, Any]:
    if isinstance(error, RowsRefused):
        return {"rows": [RowOut.of(answer) for answer in error.answers]}
    return error.context


def http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """What Litestar refuses: unknown paths and methods, wrong parameters, bodies too large."""
    if isinstance(error, ValidationException):
        return shop_error(request, _invalid_parameters(request, error))
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
        "The body is larger than the limit (SHOP_BODY_MAX; 1 MiB where it has rows).",
    ),
}


def unexpected_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """A bug: the log has the details, the answer only the id to find them by."""
    if (work := work_under_way.get()) is not None:
        work.route = f"{request.method} {request.scope.get('path_template') or '(none)'}"
    logger.error("request.failed", exc_info=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        code=INTERNAL_ERROR,
        title="Internal error",
        detail="The request failed unexpectedly; report it with its request id.",
        context={"request_id": current_request_id()},
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
    if (work := work_under_way.get()) is not None:
        work.problem = code
    return JSONAnswer(
        {
            "type": f"urn:shop:problem:{code}",
            "title": title,
            "status": status.value,
            "detail": detail,
            "code": code,
            **(context or {}),
            **_trace(),
        },
        status_code=status.value,
        media_type=PROBLEM_JSON,
        headers=headers,
    )


def _trace() -> dict[str, str]:
    work = work_under_way.get()
    return {} if work is None or work.trace_id is None else {"trace_id": work.trace_id}


def _with_wrong_parameters(request: Request[Any, Any, Any], error: InvalidFields) -> InvalidFields:
    """What was found, and what else is wrong with the address and the headers."""
    problems = [(each["field"], each["message"]) for each in error.context["errors"]]
    named = {field for field, _ in problems}
    others = wrong_parameters(request, request.app.state.settings().currency)
    return InvalidFields([*problems, *(each for each in others if each[0] not in named)])


def _invalid_parameters(
    request: Request[Any, Any, Any], error: ValidationException
) -> InvalidFields:
    problems = wrong_parameters(request, request.app.state.settings().currency)
    body = request.route_handler.parsed_data_field
    keys = {item.get("key") for item in error.extra or () if isinstance(item, dict)}
    # When something else is wrong, Litestar also names an optional body that was left out.
    if "data" in keys and body is not None and not body.has_default:
        problems.append(("body", "is required, in JSON"))
    return InvalidFields(problems or [("request", "is not valid")])


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

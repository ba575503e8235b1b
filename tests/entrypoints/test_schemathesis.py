"""Requests made up from the OpenAPI document, good and bad: every answer is a documented one."""

import asyncio
from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import AuthContext, Case, Response
from schemathesis.checks import CheckFunction
from schemathesis.core.failures import FailureGroup, as_reported_failure
from schemathesis.core.result import Ok
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from shop.domain.users import Role
from shop.entrypoints.demo import make_demo
from shop.entrypoints.http.app import build_app
from tests.builders import customer, staff
from tests.cases import all_cases
from tests.entrypoints.api import container_for, settings_for

# Made up at random, beside those at the limits of every value; much is closed to customers.
EXAMPLES = {Role.CUSTOMER: 5, Role.STAFF: 20}


def without_lifespan(app: Any) -> Any:
    """The client of schemathesis would start and stop the application for every request."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
        else:
            await app(scope, receive, send)

    return serve


# Whose requests say nothing new: the other role's, where anybody is answered the same, and a
# customer's, where all but staff are refused at the door (tests/security/test_access.py).
NOTHING_NEW = {Role.STAFF: "PUBLIC", Role.CUSTOMER: "STAFF"}


def says_nothing_new(app: Any, role: Role) -> Callable[[Any], bool]:
    left_out = {
        (route.path_format.rstrip("/"), method)
        for route in app._app.routes
        for method, (handler, _) in getattr(route, "route_handler_map", {}).items()
        if (access := handler.opt.get("access")) and access.name == NOTHING_NEW[role]
    }
    assert left_out
    return lambda context: (
        (context.operation.path.rstrip("/"), context.operation.method.upper()) in left_out
    )


def signed_in_schema(role: Role) -> Any:
    container = container_for(settings_for())
    asyncio.run(make_demo(container))
    caller = customer(1) if role is Role.CUSTOMER else staff(2)
    app = build_app(container)
    whole = schemathesis.openapi.from_asgi("/openapi.json", without_lifespan(app))
    schema = whole.exclude(says_nothing_new(app, role))

    @schema.auth()
    class Bearer:
        def get(self, case: Case[Any], context: AuthContext) -> str:
            return container.access_tokens().issue(caller)

        def set(self, case: Case[Any], token: str, context: AuthContext) -> None:
            case.headers["Authorization"] = f"Bearer {token}"

    return schema


# What a document cannot say: which products, keys, versions and cursors there are, how much stock
# is left below its limit, what a letter is, and that 2.0 is no 2.
BEYOND_A_DOCUMENT = (
    "items.*.product_id: no such product",
    "cursor: is not one of this list's links",
    "current: is not the current password",
    "new: is one of the most common passwords*",
    "new: must not be one character again and again",
    "username: must be 1 to 150 letters, digits or any of *",
    "sku: must be 1 to 64 letters, digits, spaces or any of *",
    "quantity: the stock would be above *",
    "*: must be a whole number*, written without a point and an exponent",
)


def is_beyond_a_document(response: Response) -> bool:
    if response.status_code in (412, 422):
        return True
    errors = response.json().get("errors", []) if response.status_code == 400 else []
    return bool(errors) and all(
        any(fnmatch(f"{error['field']}: {error['message']}", known) for known in BEYOND_A_DOCUMENT)
        for error in errors
    )


def refuses_rows(response: Response) -> bool:
    """What is wrong inside a row is told of that row, in whatever is answered to the request."""
    answer = response.json() if response.status_code in (200, 409) else None
    rows = answer.get("rows", []) if isinstance(answer, dict) else []
    return any(row["outcome"] == "refused" for row in rows)


def check(case: Case[Any]) -> None:
    response = case.call()
    excluded: list[CheckFunction] = []
    if is_beyond_a_document(response):
        excluded.append(positive_data_acceptance)
    if refuses_rows(response):
        excluded.append(negative_data_rejection)
    case.validate_response(response, excluded_checks=excluded)


@pytest.mark.parametrize("role", Role)
def test_no_answer_is_found_that_is_not_documented(
    role: Role, effort: Callable[[int, int], int]
) -> None:
    schema = signed_in_schema(role)

    @settings(
        max_examples=effort(EXAMPLES[role], 200),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def bounded(case: Case[Any]) -> None:
        check(case)

    # Not `schema.parametrize()`: every test process would make all tests of it, for seconds.
    tests = get_all_tests(schema=schema, test_func=bounded, settings=None, given_kwargs=None)
    with all_cases() as cases:
        for made in tests:
            assert isinstance(made, Ok), made
            operation, test = made.ok()
            with cases.case(operation.label):
                try:
                    test()
                except FailureGroup as failures:  # no Exception
                    raise AssertionError(as_reported_failure(failures)) from failures

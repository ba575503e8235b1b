"""Requests made up from the OpenAPI document, good and bad: every answer is a documented one."""

import asyncio
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import AuthContext, Case, Response
from schemathesis.specs.openapi.checks import positive_data_acceptance

from shop.domain.users import Role
from shop.entrypoints.demo import make_demo
from shop.entrypoints.http.app import build_app
from tests.builders import customer, staff
from tests.entrypoints.api import container_for, settings_for

EXAMPLES = 40


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


def signed_in_schema(role: Role) -> Any:
    container = container_for(settings_for())
    asyncio.run(make_demo(container))
    caller = customer(1) if role is Role.CUSTOMER else staff(2)
    app = without_lifespan(build_app(container))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)

    @schema.auth()
    class Bearer:
        def get(self, case: Case[Any], context: AuthContext) -> str:
            return container.access_tokens().issue(caller)

        def set(self, case: Case[Any], token: str, context: AuthContext) -> None:
            case.headers["Authorization"] = f"Bearer {token}"

    return schema


def is_about_what_is_stored(response: Response) -> bool:
    """Which products there are, and which cursors lead somewhere, no document can say."""
    return response.status_code == 400 and all(
        error["field"] == "cursor" or error["message"] == "no such product"
        for error in response.json().get("errors", [{"field": "", "message": ""}])
    )


def check(case: Case[Any]) -> None:
    response = case.call()
    excluded = [positive_data_acceptance] if is_about_what_is_stored(response) else []
    case.validate_response(response, excluded_checks=excluded)


customer_schema = signed_in_schema(Role.CUSTOMER)
staff_schema = signed_in_schema(Role.STAFF)

bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@customer_schema.parametrize()
@bounded
def test_a_customer_finds_no_answer_that_is_not_documented(case: Case[Any]) -> None:
    check(case)


@staff_schema.parametrize()
@bounded
def test_staff_find_no_answer_that_is_not_documented(case: Case[Any]) -> None:
    check(case)

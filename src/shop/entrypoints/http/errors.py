"""The status of every error, and the errors that only a request over HTTP can cause."""

from collections.abc import Sequence
from http import HTTPStatus

from shop.domain.errors import (
    Conflict,
    Forbidden,
    IdempotencyKeyReused,
    Invalid,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    ShopError,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)


class NotAcceptable(Invalid):
    code = "not_acceptable"
    title = "Only JSON is served here"

    def __init__(self) -> None:
        super().__init__("The answer is application/json; let the `Accept` header allow it.")


class UnsupportedMediaType(Invalid):
    code = "unsupported_media_type"
    title = "The body is not JSON"

    def __init__(self) -> None:
        super().__init__("Send the body as JSON, with `Content-Type: application/json`.")


class EncodedBody(UnsupportedMediaType):
    code = "unsupported_content_encoding"
    title = "The body is encoded"

    def __init__(self) -> None:
        Invalid.__init__(self, "Send the body as it is, without `Content-Encoding`.")


class BodyTooSlow(Invalid):
    code = "body_too_slow"
    title = "The body came too slowly"

    def __init__(self) -> None:
        super().__init__("The body did not arrive in time; nothing was done.")


class Broken(Unavailable):
    """Something that must go on in this process has ended for good."""

    code = "broken"
    title = "This process must be started again"

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__(f"Ended for good: {', '.join(tasks)}. The log says why.")


class NotReady(Unavailable):
    """What one of the checks said, and all that was looked at."""

    def __init__(self, cause: ShopError, checks: Sequence[object]) -> None:
        super().__init__(cause.detail)
        self.code = cause.code  # type: ignore[misc]
        self.title = cause.title  # type: ignore[misc]
        self.context = {"checks": checks}


# By category; a subclass that needs another status stands before its category.
STATUSES: dict[type[ShopError], HTTPStatus] = {
    UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    BodyTooSlow: HTTPStatus.REQUEST_TIMEOUT,
    NotAcceptable: HTTPStatus.NOT_ACCEPTABLE,
    PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    IdempotencyKeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    Invalid: HTTPStatus.BAD_REQUEST,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    OutcomeUnknown: HTTPStatus.SERVICE_UNAVAILABLE,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}


def status_of(error: ShopError) -> HTTPStatus:
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)

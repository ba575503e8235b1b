"""The page of the errors: code, status and title are the code's; what a client does stands here."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import NamedTuple

import shop
from reference.markdown import MADE, code, table
from shop.domain.errors import (
    Conflict,
    Forbidden,
    Invalid,
    PreconditionFailed,
    ShopError,
    Unavailable,
)
from shop.entrypoints.http.api.problems import _REFUSALS, INTERNAL_ERROR
from shop.entrypoints.http.errors import STATUSES

CATEGORIES = (Conflict, Forbidden, Invalid, PreconditionFailed, Unavailable)
"""Answers have the codes of their subclasses."""

_WAIT = "Nothing was done. Wait for `Retry-After` seconds, and repeat."
ADVICE = {
    "bad_request": "Correct the request. `detail` says what is wrong.",
    "body_too_large": "Send less: a body has at most `SHOP_BODY_MAX` bytes, one with rows 1 MiB.",
    "body_too_slow": "Nothing was done. Repeat, over a better connection.",
    "broken": "Only `/health/live` says it: start the process again.",
    "client_gone": "Nobody reads this answer; the client had hung up. It stands in the log.",
    "database_unavailable": _WAIT,
    "idempotency_key_reused": "A bug of the client: a new request needs a new key.",
    "internal_error": (
        "A bug of the shop. Report the `request_id`. A change may have been made: repeat it under "
        "its id or key only."
    ),
    "invalid_fields": "Correct each field that `errors` names.",
    "invalid_token": "Refresh the access token, or sign in again, and repeat.",
    "key_busy": _WAIT,
    "malformed_body": "Send JSON in UTF-8.",
    "method_not_allowed": "Use a method that `Allow` names.",
    "mixed_currencies": "Staff: give all products prices in the one currency of the shop.",
    "move_not_allowed": "Read the order. `allowed` has the moves that are open.",
    "not_acceptable": "Let `Accept` allow `application/json`.",
    "not_found": "Correct the address.",
    "not_out": "Give back no more than is out; `lines` has the numbers.",
    "operator_only": "Use the `shop` command.",
    "order_busy": _WAIT,
    "order_changed": "Read the order again, and decide anew.",
    "order_id_taken": "If the id is from an order of yours with another content, make a new id.",
    "order_not_amendable": "Nothing can be amended any more; cancel or return instead.",
    "order_not_found": "Correct the id. An order of somebody else looks the same.",
    "out_of_stock": "Ask the buyer. `lines` says how many are there. Nothing was deducted.",
    "outcome_unknown": (
        "The change may have been made. Repeat it under the same order id or `Idempotency-Key`, "
        "until another answer comes. Without one, read before you repeat."
    ),
    "over_max_per_order": "Order no more than `max_per_order` in `lines`.",
    "overloaded": _WAIT,
    "page_not_found": "The list ends before this page.",
    "payment_reference_taken": "Look at the payment: the reference is that of another order.",
    "price_changed": "Show the buyer `items` and `total`. Who agrees sends that `total`.",
    "product_changed": "Read the product again, and decide anew.",
    "product_not_found": "Correct the id. Customers do not see archived products.",
    "registration_closed": "Ask the shop's operators for an account.",
    "search_too_broad": "Narrow the search down, or order by what it filters.",
    "sku_taken": "Take another SKU, or change the product that `product_id` names.",
    "staff_only": "Sign in as a member of staff.",
    "stock_busy": _WAIT,
    "rows_refused": "Look at `rows`: put right what was refused, and send all again; or send them "
    "with `policy` `each`.",
    "stock_changed": "Read the stock again, and decide anew.",
    "stopping": "Only `/health/ready` says it: send traffic to another server.",
    "too_many_attempts": "Wait for `Retry-After` seconds before you sign in again.",
    "too_many_requests": "Wait for `Retry-After` seconds, and send less.",
    "unauthenticated": "Send `Authorization: Bearer <access>`.",
    "unsupported_content_encoding": "Send the body without `Content-Encoding`.",
    "unsupported_media_type": "Send JSON, with `Content-Type: application/json`.",
    "user_not_found": "Correct the user's id or name.",
    "username_taken": "Take another name.",
    "write_conflict": _WAIT,
    "wrong_credentials": "Ask for the password again.",
}


class Problem(NamedTuple):
    code: str
    status: int
    title: str


def problems() -> list[Problem]:
    """Every kind of problem that an answer may have, by status and code."""
    for module in pkgutil.walk_packages(shop.__path__, "shop."):
        if ".migrations." not in module.name:
            importlib.import_module(module.name)
    found = {
        INTERNAL_ERROR: Problem(INTERNAL_ERROR, 500, "Internal error"),
        "bad_request": Problem("bad_request", 400, "Bad request"),
    }
    for kind in _kinds(ShopError):
        if kind not in CATEGORIES and kind.code not in found and "code" in vars(kind):
            found[kind.code] = Problem(kind.code, _status(kind), kind.title)
    for status, (name, title, _) in _REFUSALS.items():
        found.setdefault(name, Problem(name, status.value, title))
    return sorted(found.values(), key=lambda each: (each.status, each.code))


def _kinds(kind: type[ShopError]) -> Iterator[type[ShopError]]:
    for each in kind.__subclasses__():
        if each.__module__.startswith("shop."):
            yield each
            yield from _kinds(each)


def _status(kind: type[ShopError]) -> int:
    return next(STATUSES[one] for one in kind.__mro__ if one in STATUSES).value


def page() -> str:
    found = problems()
    codes = {each.code for each in found}
    missing, unknown = codes - ADVICE.keys(), ADVICE.keys() - codes
    assert not missing, f"ADVICE in reference/errors.py does not say what to do about {missing}"
    assert not unknown, f"ADVICE in reference/errors.py has codes that there are not: {unknown}"
    rows = [(code(each.code), str(each.status), each.title, ADVICE[each.code]) for each in found]
    return (
        f"{MADE}# Errors\n\n"
        "An error is a problem document ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)) with "
        "a stable `code`. Decide by the code, or by the status where you do not know the code; "
        "`detail` is a sentence for people and may change. [The contract](../api.md) has the "
        "members that come with each. [A client that retries]"
        "(../tutorials/a-client-that-retries.md) does what is said here.\n\n"
        f"{table(('code', 'status', 'title', 'what a client does'), rows)}"
    )

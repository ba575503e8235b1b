"""The codes of docs/api.md are those that there are, each with its status."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import shop
from shop.domain.errors import Invalid, ShopError
from shop.entrypoints.http.api.problems import _REFUSALS, INTERNAL_ERROR
from shop.entrypoints.http.errors import STATUSES

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
# Of the framework, see `http_error`.
BAD_REQUEST = "bad_request"


def documented() -> dict[str, int]:
    """Statuses by code, of the table; each code stands in it once."""
    [section] = re.findall(r"## Codes\n(.*?)\n## ", PAGE.read_text(), re.DOTALL)
    found: dict[str, int] = {}
    for status, codes in re.findall(r"^\| (\d+) \| (.*) \|$", section, re.MULTILINE):
        # In parentheses stand the members that come with a code.
        for code in re.findall(r"`([a-z_]+)`", re.sub(r"\([^()]*\)", "", codes)):
            assert code not in found
            found[code] = int(status)
    return found


def kinds_of(kind: type[ShopError]) -> Iterator[type[ShopError]]:
    for each in kind.__subclasses__():
        if each.__module__.startswith("shop."):
            yield each
            yield from kinds_of(each)


def in_use() -> dict[str, int]:
    for module in pkgutil.walk_packages(shop.__path__, "shop."):
        if ".migrations." not in module.name:
            importlib.import_module(module.name)
    codes = {kind.code: _status(kind) for kind in kinds_of(ShopError) if kind is not Invalid}
    codes |= {code: status.value for status, (code, *_) in _REFUSALS.items()}
    return codes | {
        INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR.value,
        BAD_REQUEST: HTTPStatus.BAD_REQUEST.value,
    }


def _status(kind: type[ShopError]) -> int:
    return next(STATUSES[one] for one in kind.__mro__ if one in STATUSES).value


def test_each_code_is_documented_with_its_status_and_each_documented_one_is_real() -> None:
    assert documented() == in_use()

"""The file `.env`: settings of this folder, read as Docker Compose would read it.

Compose knows more: it puts variables in the place of `$NAME`, reads escapes in double quotes and
values over several lines. A line that would mean something else to it is refused.
"""

import re
from collections.abc import Mapping
from pathlib import Path

PREFIX = "SHOP_"

_OURS = re.compile(rf"\s*(?:export\s+)?(?P<name>{PREFIX}\w*)(?P<rest>.*)", re.DOTALL)
_VALUE = re.compile(
    r"""\s*=\s*+(?:
        '(?P<single>[^']*)'
        | "(?P<double>[^"\\]*)"
        | (?P<bare>[^\s'"\#].*?)?
    )(?:\s+\#.*|\s*)""",
    re.VERBOSE,
)


class WrongFile(Exception):
    """Says in a sentence, without a value, what is wrong."""


def read_env_file(file: Path) -> Mapping[str, str]:
    """The `SHOP_` variables in it; lines of others are not looked at. Raises `WrongFile`."""
    if not file.is_file():
        return {}
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise WrongFile(f"{file.absolute()} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise WrongFile(f"{file.absolute()} must be text in UTF-8.") from None
    values = {}
    for number, line in enumerate(text.split("\n"), 1):
        if found := _OURS.fullmatch(line):
            where = f"{file.absolute()}, line {number}: {found['name']}"
            values[found["name"]] = _value(found["rest"], where)
    return values


def _value(text: str, where: str) -> str:
    found = _VALUE.fullmatch(text)
    if found is None:
        raise WrongFile(
            f"{where} must be followed by = and a value in this line, which may be in quotes as a "
            "whole, without escapes."
        )
    value = next((group for group in found.groups() if group is not None), "")
    if "$" in value:
        raise WrongFile(
            f"{where} has a $ in its value, in the place of which Docker Compose would put a "
            "variable; use another value, or set it in the environment."
        )
    return value

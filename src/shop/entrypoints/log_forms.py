"""The forms of a log line: JSON for programs, text for people. Nothing makes two lines of one.

A line is a mapping; `time`, `level`, `logger` and `event` come first. Lines of libraries and
failures hold what nobody foresaw, so `tame` cuts and cleans them before they take a form.
"""

import codecs
import json
import re
import traceback
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

import msgspec
from structlog.dev import ConsoleRenderer

Line: TypeAlias = dict[str, Any]
Form: TypeAlias = Callable[[Line], bytes]

TEXT_LENGTH_MAX = 4_096
FAILURE_LENGTH_MAX = 16_384
"""Of a traceback; its middle is left out."""


# --- what may be on a line ---


def tame(line: Line) -> Line:
    """The same with values that any form takes, none of them long, and no secret that is known."""
    return {key: _plain(key, value) for key, value in line.items()}


def _plain(key: str, value: object) -> object:
    if value is None or isinstance(value, bool | int | float | datetime):
        return value
    # Of anything that is not plain what it shows of itself, which is nothing secret.
    text = value if isinstance(value, str) else str(value)
    length_max = FAILURE_LENGTH_MAX if key == "exception" else TEXT_LENGTH_MAX
    # At first so long that no part of a secret is left where it is cut.
    return cut(without_secrets(cut(text, length_max * 4)), length_max)


def cut(text: str, length_max: int) -> str:
    """What is too long without its middle."""
    if len(text) <= length_max:
        return text
    half = length_max // 2
    return f"{text[:half]} [...] {text[-half:]}"


# Nothing puts these into a log on purpose. Libraries do by accident: in the message of an error, in
# the address of a database.
_SECRETS = re.compile(
    r"(?P<before>://[^\s:/@]{0,256}:)[^\s/]{1,1024}(?=@)"
    r"|(?P<scheme>\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}"
    r"|\beyJ[\w-]{4,1024}\.[\w-]+\.[\w-]*",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """Without passwords in addresses, credentials of HTTP, and access tokens."""
    return _SECRETS.sub(lambda found: f"{found['before'] or found['scheme'] or ''}[hidden]", text)


def failure_text(error: BaseException) -> str:
    """Its traceback, with no value of any variable and no row of the database."""
    text = "".join(traceback.format_exception(error))
    for detail in _rows_told_by(error):
        text = text.replace(detail, "[hidden]")
    return text.removesuffix("\n")


def _rows_told_by(error: BaseException | None) -> set[str]:
    """PostgreSQL's DETAIL has the whole row that a constraint refused."""
    found: set[str] = set()
    seen: set[int] = set()
    left = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        detail = getattr(one, "detail", None)
        if isinstance(detail, str) and detail and hasattr(one, "sqlstate"):
            found.add(detail)
        left += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return found


# --- JSON ---


def _in_ascii(error: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    odd = error.object[error.start : error.end]
    return json.dumps(odd)[1:-1].encode(), error.end


codecs.register_error("shop.json", _in_ascii)

_encode = msgspec.json.Encoder(enc_hook=str).encode


def json_form(line: Line) -> bytes:
    try:
        encoded = _encode(line)
    except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError, TypeError, ValueError):
        # Half of a character, or a number that is too large for others to read.
        encoded = json.dumps(line, default=msgspec.to_builtins).encode()
    if not encoded.isascii():
        # Some readers end a line at more than `\n`, and some terminals obey more than `\x1b`.
        encoded = encoded.decode().encode("ascii", "shop.json")
    return encoded + b"\n"


# --- text ---

_EVENT_WIDTH = 20


def text_form(*, colors: bool, encoding: str) -> Form:
    """For terminals, where a line that goes on is indented."""
    render = ConsoleRenderer(
        colors=colors, sort_keys=False, timestamp_key="time", pad_event_to=_EVENT_WIDTH
    )

    def form(line: Line) -> bytes:
        shown = {key: _for_people(key, value) for key, value in line.items()}
        text = render(None, "", shown)
        return f"{text}\n".encode(encoding, "backslashreplace")

    return form


def _for_people(key: str, value: object) -> object:
    if key == "time":
        return f"{value:%Y-%m-%d %H:%M:%S.%f}"[:-3]
    if key == "exception":
        return "\n".join(f"    {printable(part)}" for part in str(value).splitlines())
    return value if isinstance(value, bool | int | float) else printable(str(value))


def printable(text: str) -> str:
    """Without what a terminal would obey, or take for the end of a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)

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


# Nothing puts these into a log or a report on purpose. Libraries do by accident: in the message of
# an error, in the address of a database. A named group is what stays before what is hidden, but for
# the last: what is so long that it may be a key.
_SCHEME = r"(?:(?:bearer|basic)\s+)"
_NAMED = (
    r"(?:passw(?:or)?d|passphrase|secret|token|authorization|cookie|dsn"
    r"|(?:api|access|private|signing)[_-]?key)"
    r"(?:[_-]?key|s)?['\"]?\s*[:=]\s*"
)
_SECRETS = re.compile(
    rf"(?P<single>{_NAMED}'{_SCHEME}?)(?:\\.|[^'\\\n]){{1,1024}}"
    rf"|(?P<double>{_NAMED}\"{_SCHEME}?)(?:\\.|[^\"\\\n]){{1,1024}}"
    rf"|(?P<named>{_NAMED}{_SCHEME}?)[^\s'\"]\S*"
    r"|(?P<user>://[^\s:/@]{0,256}:)[^\s/]{1,1024}(?=@)"
    # A key without a password, as in the DSN of Sentry.
    r"|(?P<address>://)[^\s:/@]{1,256}(?=@)"
    rf"|(?P<scheme>\b{_SCHEME})[\w.~+/=-]{{8,}}"
    # Access tokens, and the hashes of passwords.
    r"|\beyJ[\w-]{4,}(?:\.[\w-]+)*"
    r"|\$?\b(?:argon2|pbkdf2)\w*\$\S+"
    r"|(?P<word>[\w+/=-]{40,})",
    re.IGNORECASE,
)


# As the audit trail tells of many things at once. To look for secrets in them took a tenth of all
# that a thousand rows of stock cost.
_NUMBERS = re.compile(r"-?[0-9]{1,20}(?: -?[0-9]{1,20})*", re.ASCII)


def without_secrets(text: str) -> str:
    """Without what looks like a password, a credential of HTTP, a token, a key or a hash."""
    return text if _NUMBERS.fullmatch(text) else _SECRETS.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    if found.lastgroup == "word":
        return "[hidden]" if _may_be_secret(found[0]) else found[0]
    return f"{found[found.lastgroup] if found.lastgroup else ''}[hidden]"


def _may_be_secret(word: str) -> bool:
    """Names and paths of programs may be as long, but have no figures, or no capitals."""
    has_figure = any(map(str.isdigit, word))
    return has_figure and ("/" not in word or any(map(str.isupper, word)))


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

"""Users: who may sign in, and as what."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shop.domain.errors import InvalidField, OperatorOnly, StaffOnly
from shop.domain.text import folded

USERNAME_LENGTH_MAX = 150
# Few characters fold to more than two; what does not fit is no name that anybody has.
USERNAME_FOLDED_LENGTH_MAX = 2 * USERNAME_LENGTH_MAX
PASSWORD_LENGTH_MIN = 8
PASSWORD_LENGTH_MAX = 256
_USERNAME = re.compile(r"[\w.@+-]+")
_FOREIGN = re.compile(r"[^\w.@+-]")


class Role(StrEnum):
    CUSTOMER = "customer"
    STAFF = "staff"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    id: int
    """0 until a repository has stored the user and given it one."""
    username: str
    password_hash: str
    role: Role
    disabled: bool
    created_at: datetime

    def __repr__(self) -> str:
        return f"User(id={self.id}, username={self.username!r}, role={self.role!r})"

    @property
    def as_caller(self) -> "Caller":
        return Caller(user_id=self.id, role=self.role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is asking: what a verified access token says, or `OPERATOR`."""

    user_id: int
    """0 for an operator at the command line, who needs no account."""
    role: Role

    @property
    def actor_id(self) -> int | None:
        """Who the ledger and the history say it was; None for an operator."""
        return self.user_id or None

    @property
    def is_staff(self) -> bool:
        return self.role is Role.STAFF

    def require_staff(self) -> None:
        """Raises `StaffOnly` for a customer."""
        if not self.is_staff:
            raise StaffOnly

    def require_operator(self) -> None:
        """Raises `OperatorOnly` for everybody with an account."""
        if self.user_id:
            raise OperatorOnly


OPERATOR = Caller(user_id=0, role=Role.STAFF)
"""Who uses the command line, and the shop itself where nobody asked."""


def normal_username(username: str) -> str:
    """The form (NFKC) that names are stored in, without what no name can have."""
    return _FOREIGN.sub("?", unicodedata.normalize("NFKC", username).strip())


def clean_username(username: str) -> str:
    """The name as stored, or `InvalidField`: NFKC, word characters and `.@+-`, as Django has it."""
    username = unicodedata.normalize("NFKC", username).strip()
    if (
        len(username) > USERNAME_LENGTH_MAX
        or not _USERNAME.fullmatch(username)
        or not 1 <= len(folded(username)) <= USERNAME_FOLDED_LENGTH_MAX
    ):
        raise InvalidField(
            "username", f"must be 1 to {USERNAME_LENGTH_MAX} letters, digits or any of . @ + - _"
        )
    return username


def password_forms(password: str) -> tuple[str, ...]:
    """What a stored hash may be of: the password in NFKC, and as typed if that is another.

    The first is what is hashed (NIST SP 800-63B): keyboards and systems write the same letters in
    several ways. The second is what older hashes are of.
    """
    normal = normal_password(password)
    return (normal,) if normal == password else (normal, password)


def normal_password(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


def check_password(
    password: str, *, username: str, is_common: Callable[[str], bool], field: str = "password"
) -> str:
    """The password as it is hashed, in NFKC.

    `InvalidField` unless it is long enough and not what is guessed first. NIST SP 800-63B: length
    and a blocklist, and no rules of composition.
    """
    password = normal_password(password)
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        raise InvalidField(
            field, f"must have {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters"
        )
    if any("\ud800" <= character <= "\udfff" for character in password):
        raise InvalidField(field, "must be text in UTF-8")
    guess = folded(password)
    if guess == folded(username):
        raise InvalidField(field, "must not be the user name")
    if len(set(guess) - {" "}) < 2:
        raise InvalidField(field, "must not be one character again and again")
    if is_common(guess):
        raise InvalidField(field, "is one of the most common passwords; choose another")
    return password

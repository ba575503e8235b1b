"""Users: who may sign in, and as what."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shop.domain.errors import InvalidField, OperatorOnly, StaffOnly

USERNAME_LENGTH_MAX = 150
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
    """The form (NFKC) names are stored and compared in, without what no name can have."""
    return _FOREIGN.sub("?", unicodedata.normalize("NFKC", username))


def clean_username(username: str) -> str:
    """The name as stored, or `InvalidField`: NFKC, word characters and `.@+-`, as Django has it."""
    username = unicodedata.normalize("NFKC", username)
    if len(username) > USERNAME_LENGTH_MAX or not _USERNAME.fullmatch(username):
        raise InvalidField(
            "username", f"must be 1 to {USERNAME_LENGTH_MAX} letters, digits or any of . @ + - _"
        )
    return username


def check_password(
    password: str, *, username: str, is_common: Callable[[str], bool], field: str = "password"
) -> None:
    """`InvalidField` unless the password is long enough and not what is guessed first.

    NIST SP 800-63B: length and a blocklist, and no rules of composition.
    """
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        raise InvalidField(
            field, f"must have {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters"
        )
    if any("\ud800" <= character <= "\udfff" for character in password):
        raise InvalidField(field, "must be text in UTF-8")
    if password.casefold() == username.casefold():
        raise InvalidField(field, "must not be the user name")
    if is_common(password):
        raise InvalidField(field, "is one of the most common passwords; choose another")

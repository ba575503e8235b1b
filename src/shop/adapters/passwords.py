"""Password hashes: argon2id off the event loop, only so many at once; Django's are read as well."""

import asyncio
import base64
import hashlib
import hmac
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher as Argon2
from argon2 import Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from shop.domain.errors import Overloaded
from shop.domain.ports import PasswordHasher

P = ParamSpec("P")
R = TypeVar("R")

WAITING_MAX = 200
NICENESS = 10

_HASH_LENGTH_MAX = 255
# Far above what Django has ever had by default: verifying takes seconds, not minutes.
_ROUNDS_MAX = 10_000_000
_KIBIBYTES_MAX = 1024 * 1024
_PASSES_MAX = 100
_LANES_MAX = 64


class Argon2Hasher(PasswordHasher):
    """OWASP's first choice for argon2id: 19 MiB, two passes, one lane.

    A hash costs about 40 ms of one core, so at most one per core runs at a time and a bounded
    number wait; past that `Overloaded` is raised, and orders keep flowing.
    """

    def __init__(self, *, concurrent_max: int | None = None) -> None:
        self._argon2 = Argon2(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)
        self._threads = ThreadPoolExecutor(
            concurrent_max or os.cpu_count() or 1, "argon2", initializer=_let_others_go_first
        )
        self._waiting = 0
        # Verified when there is no user, so that an unknown name takes as long as a wrong password.
        self._nobody = self._argon2.hash("nobody has this password")

    @property
    def waiting(self) -> int:
        """How many are hashed, or wait for it."""
        return self._waiting

    async def hash(self, password: str) -> str:
        return await self._run(self._argon2.hash, password)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        fits = await self._run(self._fits, password, password_hash or self._nobody)
        return fits and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        try:
            return self._argon2.check_needs_rehash(password_hash)
        except InvalidHashError:
            return True

    def is_readable(self, password_hash: str) -> bool:
        return len(password_hash) <= _HASH_LENGTH_MAX and _is_readable(password_hash)

    def _fits(self, password: str, password_hash: str) -> bool:
        if password_hash.startswith(("pbkdf2_sha256$", "scrypt$")):
            return _fits_django(password, password_hash)
        try:
            return self._argon2.verify(password_hash.removeprefix("argon2"), password)
        except (VerificationError, ValueError):
            # No fit, no hash, or a password that is no text.
            return False

    async def _run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if self._waiting >= WAITING_MAX:
            raise Overloaded("Too many people are signing in; try again shortly.", retry_after=5)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, partial(work, *args, **kwargs))
        finally:
            self._waiting -= 1


def _let_others_go_first() -> None:
    """Hashing gets the processor that orders leave, and a tenth of one at the least.

    On Linux a thread has a priority of its own; elsewhere this would slow the whole process down.
    """
    if sys.platform == "linux":
        os.nice(NICENESS)


def _fits_django(password: str, password_hash: str) -> bool:
    """Django's formats: `pbkdf2_sha256$rounds$salt$hash` and `scrypt$n$salt$r$p$hash`."""
    try:
        match password_hash.split("$"):
            case "pbkdf2_sha256", rounds, salt, expected:
                digest = hashlib.pbkdf2_hmac(
                    "sha256", password.encode(), salt.encode(), int(rounds)
                )
            case "scrypt", n, salt, r, p, expected:
                digest = hashlib.scrypt(
                    password.encode(),
                    salt=salt.encode(),
                    n=int(n),
                    r=int(r),
                    p=int(p),
                    maxmem=256 * int(n) * int(r),
                    dklen=64,
                )
            case _:
                return False
    except (ValueError, TypeError, OverflowError):
        return False
    return hmac.compare_digest(base64.b64encode(digest), expected.encode())


def _is_readable(password_hash: str) -> bool:
    """Whether `_fits` can compare a password with it, at a cost within bounds."""
    try:
        match password_hash.split("$"):
            case "pbkdf2_sha256", rounds, _, expected:
                return 1 <= int(rounds) <= _ROUNDS_MAX and _has_bytes(expected, 32)
            case "scrypt", n, _, r, p, expected:
                cost, block, lanes = int(n), int(r), int(p)
                return (
                    cost > 1
                    and cost & (cost - 1) == 0
                    and block >= 1
                    and cost * block // 8 <= _KIBIBYTES_MAX
                    and 1 <= lanes <= _LANES_MAX
                    and _has_bytes(expected, 64)
                )
        costs = extract_parameters(password_hash.removeprefix("argon2"))
    except (ValueError, InvalidHashError):
        return False
    return (
        costs.memory_cost <= _KIBIBYTES_MAX
        and costs.time_cost <= _PASSES_MAX
        and costs.parallelism <= _LANES_MAX
    )


def _has_bytes(encoded: str, number: int) -> bool:
    return len(base64.b64decode(encoded, validate=True)) == number


@lru_cache(maxsize=1)
def _common_passwords() -> frozenset[str]:
    # A list of 30,000, read when the first password is set: serving orders does not need it.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # type: ignore[import-untyped]

    return frozenset(FREQUENCY_LISTS["passwords"])


# Powers of ten. What is random has 30 for 32 characters; words and sequences have fewer.
_GUESSES_MIN = 20
_GUESSED_MAX = 72
"""Characters that zxcvbn looks at."""


def is_guessable(secret: str) -> bool:
    """Whether a key has a pattern: a sequence, a repetition, a few common words."""
    from zxcvbn import zxcvbn  # type: ignore[import-untyped]

    return bool(zxcvbn(secret[:_GUESSED_MAX])["guesses_log10"] < _GUESSES_MIN)


def is_common_password(password: str) -> bool:
    return password.casefold() in _common_passwords()

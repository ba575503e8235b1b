"""Access tokens: short-lived JWTs that say who is calling."""

import hashlib
import time
import uuid
from collections.abc import Callable

import jwt

from shop.domain.errors import InvalidToken
from shop.domain.users import Caller, Role
from shop.entrypoints.keys import SigningKeys

ACCESS_TYPE = "access"
TOKEN_LENGTH_MAX = 4_096
CACHED_MAX = 10_000
_REQUIRED = ["sub", "exp", "iat", "jti", "iss", "aud", "role", "typ"]


class AccessTokens:
    """Issues access tokens and verifies them.

    Verifying a signature costs a quarter of a placed order, so a verified token is remembered until
    it expires: by its hash, never as itself, and only so many.
    """

    def __init__(
        self,
        *,
        keys: SigningKeys,
        issuer: str,
        audience: str,
        lifetime: float,
        leeway: float = 0.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._leeway = leeway
        self._issuer = issuer
        self._audience = audience
        self._lifetime = lifetime
        self._now = now
        self._verified: dict[bytes, tuple[float, Caller]] = {}

    def issue(self, caller: Caller) -> str:
        now = int(self._now())
        claims = {
            "sub": str(caller.user_id),
            "iat": now,
            "exp": now + int(self._lifetime),
            "jti": uuid.uuid4().hex,
            "iss": self._issuer,
            "aud": self._audience,
            "role": caller.role.value,
            "typ": ACCESS_TYPE,
        }
        signing = self._keys.signing
        return jwt.encode(
            claims, self._keys.private_key, signing.algorithm, headers={"kid": signing.kid}
        )

    def verify(self, token: bytes) -> Caller:
        """Who the token stands for. Raises `InvalidToken`."""
        # As strong as SHA-256, at half its price.
        key = hashlib.blake2b(token).digest()
        known = self._verified.get(key)
        if known is not None:
            expires_at, caller = known
            if self._now() < expires_at:
                return caller
            del self._verified[key]
        expires_at, caller = self._decode(token)
        while len(self._verified) >= CACHED_MAX:
            # The oldest goes first: dicts keep the order of insertion.
            del self._verified[next(iter(self._verified))]
        self._verified[key] = (expires_at, caller)
        return caller

    def _decode(self, token: bytes) -> tuple[float, Caller]:
        if len(token) > TOKEN_LENGTH_MAX:
            raise InvalidToken
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            # The key decides the algorithm; what the token's header says must agree with it.
            key = self._keys.verification.get(kid) if isinstance(kid, str) else None
            if key is None:
                raise InvalidToken
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                leeway=self._leeway,
                issuer=self._issuer,
                audience=self._audience,
                # Expiry goes by the clock below; `iat` may be from a host whose clock is ahead.
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},
            )
            if claims["typ"] != ACCESS_TYPE:
                raise InvalidToken
            expires_at = float(claims["exp"]) + self._leeway
            if self._now() >= expires_at:
                raise InvalidToken
            user_id = int(claims["sub"])
            if user_id < 1:
                # Nobody becomes an operator by a token.
                raise InvalidToken
            return expires_at, Caller(user_id=user_id, role=Role(claims["role"]))
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
            raise InvalidToken from None

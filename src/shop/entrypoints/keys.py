"""Signing keys: one that signs, and any number that still verify, each known by its `kid`.

A key is rolled with nobody signed out: serve with the new one signing and the old one verifying,
and drop the old one when the last token it signed has expired. Refresh tokens are not signed.
"""

import base64
import contextlib
import hashlib
import json
import secrets as random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from shop.entrypoints.settings import SECRET_KEY_BYTES_MIN, Settings, SettingsError, variable

DEVELOPMENT_KEY_FILE = Path("var/secret_key")
RSA_BITS_MIN = 2_048
_PEM_END = "-----END PUBLIC KEY-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    kid: str
    algorithm: str
    """The only one it is used with, whatever a token says: ours to choose, never the token's."""
    key: Any
    jwk: Mapping[str, str] | None
    """Its public form; None for a shared secret, which has none."""

    def __repr__(self) -> str:
        return f"VerificationKey(kid={self.kid!r}, algorithm={self.algorithm!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeys:
    signing: VerificationKey
    private_key: Any
    verification: Mapping[str, VerificationKey]
    """By `kid`; the signing key's own is among them."""

    def __repr__(self) -> str:
        return f"SigningKeys(signing={self.signing!r}, verification={sorted(self.verification)})"

    def derived(self, purpose: bytes) -> list[bytes]:
        """Keys of 32 bytes for another purpose: the first is in use, the others were before.

        Of a key that has only its public half here there is none.
        """
        secrets = [self.private_key]
        secrets += [key.key for key in self.verification.values() if key.algorithm == "HS256"]
        return [
            hashlib.blake2b(_bytes_of(secret), digest_size=32, person=purpose).digest()
            for secret in dict.fromkeys(secrets)
        ]

    @property
    def jwks(self) -> list[dict[str, str]]:
        """The public keys, as RFC 7517 has them."""
        return [dict(key.jwk) for key in self.verification.values() if key.jwk]


def load_keys(settings: Settings) -> SigningKeys:
    """HS256 by the secret, or EdDSA or RS256 by a PEM file, by the kind of key in it.

    With neither, in development, one is made and kept. Raises `SettingsError`.
    """
    secrets = settings.old_secrets
    secret = settings.secret_key
    if not secret and not settings.signing_key_file:
        secret = _development_key(DEVELOPMENT_KEY_FILE)
    if secret:
        secrets.append(secret)
    verification = [_shared_key(secret) for secret in secrets]
    if settings.verification_keys_file:
        pems = _read("verification_keys_file", settings.verification_keys_file).strip()
        # What is after the last key must be one, too: an empty file, or half of one, is none.
        verification += [
            _public_key(_parse_public(pem + _PEM_END))
            for pem in pems.removesuffix(_PEM_END).split(_PEM_END)
        ]
    private_key: Any = secret
    if settings.signing_key_file:
        private_key = _parse_private(_read("signing_key_file", settings.signing_key_file))
        verification.append(_public_key(private_key.public_key()))
    signing = verification[-1] if settings.signing_key_file else _shared_key(secret)
    return SigningKeys(
        signing=signing,
        private_key=private_key,
        verification={key.kid: key for key in verification},
    )


def _bytes_of(secret: Any) -> bytes:
    if isinstance(secret, str):
        return secret.encode()
    form, no_password = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    written: bytes = secret.private_bytes(serialization.Encoding.DER, form, no_password)
    return written


def _shared_key(secret: str) -> VerificationKey:
    # Only a few bits of a hash, with its own prefix: it names the secret and says nothing of it.
    kid = hashlib.sha256(b"shop kid\x00" + secret.encode()).hexdigest()[:12]
    return VerificationKey(kid=kid, algorithm="HS256", key=secret, jwk=None)


def _public_key(key: Ed25519PublicKey | RSAPublicKey) -> VerificationKey:
    if isinstance(key, Ed25519PublicKey):
        algorithm, jwk = "EdDSA", json.loads(OKPAlgorithm.to_jwk(key))
    else:
        algorithm, jwk = "RS256", json.loads(RSAAlgorithm.to_jwk(key))
    kid = _thumbprint(jwk)
    public = {name: jwk[name] for name in ("kty", "crv", "x", "n", "e") if name in jwk}
    return VerificationKey(
        kid=kid,
        algorithm=algorithm,
        key=key,
        jwk=public | {"kid": kid, "alg": algorithm, "use": "sig"},
    )


def _thumbprint(jwk: Mapping[str, Any]) -> str:
    """RFC 7638."""
    required = {"OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}[jwk["kty"]]
    canonical = json.dumps({name: jwk[name] for name in required}, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _parse_private(pem: str) -> Ed25519PrivateKey | RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, RSAPrivateKey) and key.key_size < RSA_BITS_MIN:
        raise SettingsError(
            f"SHOP_SIGNING_KEY_FILE is wrong: an RSA key needs at least {RSA_BITS_MIN} bits."
        )
    if not isinstance(key, Ed25519PrivateKey | RSAPrivateKey):
        raise SettingsError(
            "SHOP_SIGNING_KEY_FILE is wrong: it must hold an unencrypted Ed25519 or RSA private "
            "key in PEM form, such as from `openssl genpkey -algorithm ed25519`."
        )
    return key


def _parse_public(pem: str) -> Ed25519PublicKey | RSAPublicKey:
    try:
        key = serialization.load_pem_public_key(pem.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, RSAPublicKey) and key.key_size < RSA_BITS_MIN:
        key = None
    if not isinstance(key, Ed25519PublicKey | RSAPublicKey):
        raise SettingsError(
            "SHOP_VERIFICATION_KEYS_FILE is wrong: it must hold Ed25519 or RSA public keys "
            f"({RSA_BITS_MIN} bits or more) in PEM form, such as from `openssl pkey -pubout`."
        )
    return key


def _read(field: str, path: str) -> str:
    try:
        return Path(path).read_text()
    except UnicodeDecodeError:
        raise SettingsError(f"{variable(field)} is wrong: {path} holds no text.") from None
    except OSError as error:
        raise SettingsError(
            f"{variable(field)} is wrong: {path} cannot be read ({error.strerror})."
        ) from None


def _development_key(path: Path) -> str:
    """A random key, made once and kept, so that restarts sign nobody out."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            # Written aside and linked into place: nobody ever reads half a key.
            with tempfile.NamedTemporaryFile("w", dir=path.parent) as draft:
                draft.write(random.token_urlsafe(48))
                draft.flush()
                with contextlib.suppress(FileExistsError):
                    path.hardlink_to(draft.name)
        key = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds no text"
        raise SettingsError(
            f"SHOP_SECRET_KEY is not set, and no key can be kept in {path.absolute()} instead "
            f"({reason})."
        ) from None
    if len(key.encode()) < SECRET_KEY_BYTES_MIN:
        raise SettingsError(
            f"SHOP_SECRET_KEY is not set, and {path.absolute()} holds no key; delete that file, "
            "and another is made."
        )
    return key

"""Tokens as an attacker makes them: byte by byte, where a library would refuse to help."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

PrivateKey = Ed25519PrivateKey | RSAPrivateKey
Sign = Callable[[bytes], bytes]

# RSA keys take a while to make, and nobody minds the same one.
RSA_KEY = generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(key: PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def public_pem(key: PrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "==")


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(decode(token.split(".")[1]))
    return claims


def header_of(token: str) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(decode(token.split(".")[0]))
    return header


def with_hmac(secret: str | bytes, digest: str = "sha256") -> Sign:
    key = secret.encode() if isinstance(secret, str) else secret
    return lambda message: hmac.digest(key, message, digest)


def with_key(key: PrivateKey) -> Sign:
    if isinstance(key, Ed25519PrivateKey):
        return key.sign
    return lambda message: key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def forged(header: Any, claims: Any, sign: Sign = lambda _: b"") -> str:
    message = f"{encode(_bytes(header))}.{encode(_bytes(claims))}"
    return f"{message}.{encode(sign(message.encode()))}"


def _bytes(part: Any) -> bytes:
    return part if isinstance(part, bytes) else json.dumps(part).encode()


def kid_of(secret: str) -> str:
    """What a service with this secret calls it, as anybody sees in its tokens."""
    return hashlib.sha256(b"shop kid\x00" + secret.encode()).hexdigest()[:12]


def soon() -> int:
    return int(time.time()) + 200

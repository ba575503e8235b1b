"""What clients hand back of a store with replicas: nobody else makes it, or reads it."""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from shop.adapters.work import Seen, Work
from shop.entrypoints.keys import load_keys
from shop.entrypoints.marks import SeenMarks
from shop.entrypoints.settings import Settings

SECRET, OTHER = "a key for tests that is long enough", "another key for tests, as long as that"
SEEN = Seen(system=7712812014504314037, timeline=3, position=2**40 + 5)


def marks_of(**settings: str) -> SeenMarks:
    return SeenMarks(load_keys(Settings(**settings)))  # type: ignore[arg-type]


def text_of(marks: SeenMarks, seen: Seen = SEEN) -> bytes:
    [(name, text)] = marks.of(Work(seen=seen))
    assert name == b"x-shop-seen"
    return text


def read(marks: SeenMarks, *texts: bytes) -> Seen | None:
    return marks.sent_in([(b"host", b"shop.test"), *((b"x-shop-seen", text) for text in texts)])


def key_file(folder: Path, kind: str) -> str:
    key = (
        ed25519.Ed25519PrivateKey.generate()
        if kind == "ed25519"
        else rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    )
    path = folder / f"{kind}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(path)


@pytest.mark.parametrize("kind", ["secret", "ed25519", "rsa"])
def test_each_process_with_the_key_reads_what_another_made(tmp_path: Path, kind: str) -> None:
    key = (
        {"secret_key": SECRET}
        if kind == "secret"
        else {"signing_key_file": key_file(tmp_path, kind)}
    )
    assert read(marks_of(**key), text_of(marks_of(**key))) == SEEN
    assert read(marks_of(secret_key=OTHER), text_of(marks_of(**key))) is None


def test_a_mark_outlives_its_secret_as_tokens_do(tmp_path: Path) -> None:
    old = text_of(marks_of(secret_key=SECRET))
    rolled = marks_of(secret_key=OTHER, old_secret_keys=SECRET)
    assert read(rolled, old) == SEEN
    assert text_of(rolled) == text_of(marks_of(secret_key=OTHER))
    with_file = marks_of(signing_key_file=key_file(tmp_path, "ed25519"), old_secret_keys=SECRET)
    assert read(with_file, old) == SEEN


def test_a_mark_shows_nothing_of_what_is_in_it() -> None:
    marks = marks_of(secret_key=SECRET)
    one = base64.urlsafe_b64decode(text_of(marks))
    next_one = Seen(system=SEEN.system, timeline=SEEN.timeline, position=SEEN.position + 1)
    other = base64.urlsafe_b64decode(text_of(marks, next_one))
    same = sum(a == b for a, b in zip(one, other, strict=True))
    # Of 36 bytes chance makes hardly more the same.
    assert same < 8


def test_whatever_else_is_sent_is_as_if_it_had_not_been() -> None:
    marks = marks_of(secret_key=SECRET)
    good = text_of(marks)
    changed = [
        good[:i] + (b"A" if good[i : i + 1] != b"A" else b"B") + good[i + 1 :] for i in range(48)
    ]
    for wrong in (b"", b"x", good[:-1], good + b"=", good[:-1] + b"=", b"\xff" * 48, *changed):
        assert read(marks, wrong) is None, wrong
    assert read(marks) is None
    assert read(marks, good, good) is None


def test_who_has_seen_nothing_is_told_nothing() -> None:
    assert list(marks_of(secret_key=SECRET).of(Work())) == []

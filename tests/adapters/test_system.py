"""The real clock, ids, codes and secrets."""

import re
import time
from datetime import UTC, datetime, timedelta
from uuid import RFC_4122

import pytest

from shop.adapters.system import new_id, new_order_code, new_refresh_token, utc_now
from shop.domain.orders import KEPT_ID_VERSION


def test_the_clock_tells_utc() -> None:
    assert utc_now().tzinfo is UTC
    assert abs(utc_now() - datetime.now(UTC)) < timedelta(seconds=1)


def test_ids_are_of_version_7_and_never_look_like_keyed_ones() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert {id_.version for id_ in ids} == {7}
    assert {id_.variant for id_ in ids} == {RFC_4122}
    assert KEPT_ID_VERSION != 7


def test_an_id_carries_the_time_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    milliseconds = new_id().int >> 80
    assert before <= milliseconds <= time.time_ns() // 1_000_000


def test_a_later_id_sorts_later(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for second in range(100):
        monkeypatch.setattr(time, "time_ns", lambda second=second: second * 1_000_000_000)
        ids.append(new_id())
    assert ids == sorted(ids)
    assert [str(id_) for id_ in ids] == sorted(str(id_) for id_ in ids)


def test_codes_are_twelve_characters_nobody_misreads() -> None:
    codes = {new_order_code() for _ in range(1000)}
    assert len(codes) == 1000
    assert all(re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{12}", code) for code in codes)
    assert len({character for code in codes for character in code}) == 32


def test_secrets_have_256_bits_and_fit_a_url() -> None:
    secrets = {new_refresh_token() for _ in range(100)}
    assert len(secrets) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", secret) for secret in secrets)

"""What is looked at every second, and every fifteen."""

import asyncio
import os
import time

import pytest
from dependency_injector import providers

from shop.domain.errors import StoreUnavailable
from shop.domain.users import OPERATOR
from tests.entrypoints.api import container_for, settings_for
from tests.entrypoints.test_metrics import text_of, values_of


async def test_whether_the_database_answers_is_told() -> None:
    container = container_for(settings_for())
    vitals, metrics = container.vitals(), container.metrics()
    await container.record_differences()(caller=OPERATOR, differences=2)
    await vitals.tell_counts()
    text = text_of(metrics)
    assert values_of(text, "shop_database_up") == {"": 1.0}
    assert values_of(text, "shop_stock_verify_differences") == {"": 2.0}

    def away(**_: object) -> None:
        raise StoreUnavailable("away")

    container.unit_of_work.override(providers.Callable(away))
    with pytest.raises(StoreUnavailable):
        await vitals.tell_counts()
    assert values_of(text_of(metrics), "shop_database_up") == {"": 0.0}


async def test_what_keeps_the_event_loop_is_seen() -> None:
    container = container_for(settings_for())
    vitals = container.vitals()
    looking = asyncio.create_task(vitals())
    await asyncio.sleep(0)
    time.sleep(0.3)  # noqa: ASYNC251 - this is what must not be
    await looking
    text = text_of(container.metrics())
    assert values_of(text, "shop_event_loop_lag_seconds_sum")[""] > 0.2


async def test_open_files_are_listed_every_ten_seconds_however_often_metrics_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    container = container_for(settings_for())
    vitals, metrics = container.vitals(), container.metrics()
    now, listed = 100.0, []

    def list_files(path: object) -> list[str]:
        listed.append(path)
        return ["a file"] * 8

    monkeypatch.setattr(vitals, "monotonic", lambda: now)
    monkeypatch.setattr(os, "listdir", list_files)
    for seconds in (0, 1, 2, 9):
        now = 100.0 + seconds
        vitals.look()
        # Without that of looking.
        assert list(values_of(text_of(metrics), "process_open_fds").values()) == [7.0]
    assert len(listed) == 1
    now = 110.0
    vitals.look()
    assert len(listed) == 2

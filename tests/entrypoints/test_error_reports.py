"""Unexpected failures as Sentry receives them: envelopes, over HTTP."""

import asyncio
import gc
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest

from shop.adapters.background import Background, BackgroundTimes, PeriodicTask
from shop.adapters.intake import Intake
from shop.adapters.listeners import RecordedEvents
from shop.adapters.work import Work, work_under_way
from shop.domain.errors import Conflict, ShopError, StoreUnavailable
from shop.domain.events import Event
from shop.entrypoints.error_reports import (
    ErrorReports,
    ReportingHandler,
    ReportRate,
    cause_of,
    harmless,
)
from shop.entrypoints.failures import reported
from shop.entrypoints.settings import SettingsError
from tests.entrypoints.api import container_for, opened_api, order_of, problem, settings_for
from tests.receivers import Sentry, sentry

PLANTED = "planted-secret"


@pytest.fixture
def seen() -> Iterator[Sentry]:
    with sentry() as seen:
        yield seen


@pytest.fixture
def reports(seen: Sentry) -> Iterator[ErrorReports]:
    """What is logged is reported, as `shop serve` has it."""
    reports = ErrorReports(dsn=seen.dsn, environment="production")
    handler = ReportingHandler(reports)
    logging.getLogger().addHandler(handler)
    yield reports
    logging.getLogger().removeHandler(handler)
    reports.flush()


def raised(raising: Callable[[], object]) -> Exception:
    try:
        raising()
    except Exception as error:
        return error
    raise AssertionError


def value_error() -> None:
    raise ValueError("no")


def key_error() -> None:
    raise KeyError("no")


def all_that_came(seen: Sentry) -> str:
    return b"".join(seen.received.bodies).decode()


async def test_a_failing_request_is_reported_with_its_ids_and_nothing_of_its_content(
    seen: Sentry, reports: ErrorReports
) -> None:
    container = container_for(settings_for())
    async with opened_api(container) as api:
        place_order = container.place_order()

        async def broken(_: object) -> Any:
            password = PLANTED
            raise ZeroDivisionError(f"with {len(password)} letters")

        object.__setattr__(place_order, "intake", broken)
        response = await api.customer.post(
            "/api/orders/?" + PLANTED,
            json=order_of((1, 1)),
            headers={
                "Idempotency-Key": PLANTED,
                "X-Request-ID": "the-request",
                "Cookie": PLANTED,
            },
        )
        authorization = api.customer.headers["Authorization"].split()[1]
        problem(response, 500, "internal_error")
        [event] = await asyncio.to_thread(seen.wait_for)
        assert event["user"] == {"id": str(api.customer_id)}
    assert event["tags"]["request_id"] == "the-request"
    assert event["tags"]["route"] == event["transaction"] == "POST /api/orders"
    assert event["environment"] == "production"
    assert event["release"].startswith("shop@")
    assert event["level"] == "error"
    kind, ours, where = event["fingerprint"]
    assert kind == "builtins.ZeroDivisionError"
    assert ours == "shop.domain.services.place_order.PlaceOrder.__call__"
    assert "broken" in where
    [shown] = event["exception"]["values"]
    assert (shown["type"], shown["value"]) == ("ZeroDivisionError", "with 14 letters")
    frames = shown["stacktrace"]["frames"]
    assert frames[-1]["function"] == "broken"
    assert not [frame for frame in frames if "vars" in frame]
    assert not {"request", "breadcrumbs", "modules", "extra"} & {
        name for name, value in event.items() if value
    }
    assert [kind for kind, _ in seen.items] == ["event"]
    everything = all_that_came(seen)
    assert authorization not in everything
    # The source of this test has the word itself.
    assert PLANTED not in everything.replace(f'"{PLANTED}"', "")


async def test_a_trace_is_named() -> None:
    with sentry() as seen:
        reports = ErrorReports(dsn=seen.dsn, environment="development")
        token = work_under_way.set(Work(trace_id="a" * 32, batch_id="b-1", use_case="place_order"))
        reports.report(raised(value_error))
        work_under_way.reset(token)
        [event] = await asyncio.to_thread(seen.wait_for)
        assert event["tags"] == {
            "trace_id": "a" * 32,
            "batch_id": "b-1",
            "use_case": "place_order",
        }
        await reports.close()


@pytest.mark.usefixtures("reports")
async def test_what_is_expected_is_not_reported(seen: Sentry, reports: ErrorReports) -> None:
    logger = logging.getLogger("shop.test")
    for error in (Conflict("no"), StoreUnavailable("gone"), SystemExit(1), KeyboardInterrupt()):
        logger.error("expected", exc_info=error)
    logger.error("without an exception")
    logger.warning("a warning", exc_info=raised(value_error))
    reports.report(raised(key_error))
    [event] = await asyncio.to_thread(seen.wait_for)
    await reports.close()
    assert event["exception"]["values"][0]["type"] == "KeyError"
    assert len(seen.events) == 1


@pytest.mark.usefixtures("reports")
async def test_a_background_task_that_fails_is_reported(seen: Sentry) -> None:
    async def run() -> None:
        raise ZeroDivisionError

    def unused(**_: object) -> Any:
        raise AssertionError

    background = Background(
        tasks=[PeriodicTask(name="sweep", every=60, run=run, once=False)],
        unit_of_work=unused,
        clock=unused,
        new_id=lambda: Any,  # type: ignore[arg-type,return-value]
        times=BackgroundTimes(first=0.001),
    )
    background.start()
    [event] = await asyncio.to_thread(seen.wait_for)
    await background.stop()
    assert event["exception"]["values"][0]["type"] == "ZeroDivisionError"
    assert event["logger"] == "shop.background"


@pytest.mark.usefixtures("reports")
async def test_a_listener_and_an_intake_that_fail_are_reported(seen: Sentry) -> None:
    def listener(_: object) -> None:
        raise ZeroDivisionError

    events = RecordedEvents([listener])
    events.add(Event(name="x", about={}, security=False))
    events.publish()

    class Clumsy(Intake[str, str]):
        async def _serve(self, batch: Any) -> None:
            raise KeyError("the intake itself")

    loop = asyncio.get_running_loop()
    of_tests = loop.get_exception_handler()
    # As where no tests are: what became of a task is logged when nobody has it any more.
    loop.set_exception_handler(None)
    with pytest.raises(ShopError):
        await Clumsy(handle=None)("tea")  # type: ignore[arg-type]
    await asyncio.sleep(0)
    gc.collect()
    loop.set_exception_handler(of_tests)
    got = await asyncio.to_thread(seen.wait_for, 2)
    assert [event["exception"]["values"][0]["type"] for event in got] == [
        "ZeroDivisionError",
        "KeyError",
    ]


async def test_a_storm_of_one_cause_is_one_report(seen: Sentry, reports: ErrorReports) -> None:
    logger = logging.getLogger("shop.test")
    for number in range(1_000):
        try:
            raise ValueError(f"number {number}")
        except ValueError:
            logger.exception("again")
    reports.report(raised(key_error))
    await asyncio.to_thread(seen.wait_for, 2)
    await reports.close()
    assert [event["exception"]["values"][0]["value"] for event in seen.events] == [
        "number 0",
        "'no'",
    ]


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_cause_is_reported_again_after_a_minute_and_how_often_it_was_not() -> None:
    time = Time()
    rate = ReportRate(time)
    assert [rate.take(("a",)) for _ in range(4)] == [0, None, None, None]
    time.now += 59
    assert rate.take(("a",)) is None
    time.now += 1
    assert rate.take(("a",)) == 4
    time.now += 60
    assert rate.take(("a",)) == 0


def test_a_storm_of_many_causes_is_bounded() -> None:
    time = Time()
    rate = ReportRate(time)
    assert sum(rate.take((str(number),)) is not None for number in range(10_000)) == 20
    time.now += 30
    assert sum(rate.take((f"x{number}",)) is not None for number in range(10_000)) == 10
    for _ in range(1_000):
        time.now += 3
        rate.take((str(time.now),))
    assert len(rate._due) <= 256


def test_a_cause_is_the_kind_and_the_place_not_what_is_said() -> None:
    def failing(text: str) -> None:
        raise ValueError(text)

    def elsewhere() -> None:
        raise ValueError("a")

    one, same = raised(lambda: failing("a")), raised(lambda: failing("b"))
    assert cause_of(one) == cause_of(same)
    assert cause_of(one) != cause_of(raised(elsewhere))
    assert cause_of(one) != cause_of(raised(key_error))
    assert cause_of(ValueError("never raised")) == ("builtins.ValueError",)


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://shop:{PLANTED}@db/shop refused",
        f"Authorization: Bearer {PLANTED}",
        f"token={PLANTED}",
        f"{{'password': '{PLANTED}'}}",
        f'"refresh_token": "{PLANTED}"',
        f"SHOP_SENTRY_DSN=https://{PLANTED}@sentry.example/1",
        f"$argon2id$v=19${PLANTED}",
        f"eyJhbGciOi.eyJzdWIi.{PLANTED}",
        f"Failing row\nDETAIL: contains ({PLANTED})",
        "x" * 300 + PLANTED,
    ],
)
def test_what_an_exception_says_shows_no_secret(text: str) -> None:
    assert PLANTED not in harmless(text)


@pytest.mark.parametrize(
    "text", ["", "division by zero", "'bogus' is not a valid OrderStatus", "no such table: stock"]
)
def test_what_is_harmless_is_said(text: str) -> None:
    assert harmless(text) == text


async def test_what_caused_an_error_is_told_without_secrets_too(
    seen: Sentry, reports: ErrorReports
) -> None:
    def failing() -> None:
        try:
            raise KeyError(f"token={PLANTED}")
        except KeyError as error:
            raise ValueError("outer") from error

    reports.report(raised(failing))
    [event] = await asyncio.to_thread(seen.wait_for)
    assert {each["type"] for each in event["exception"]["values"]} == {"KeyError", "ValueError"}
    assert "[hidden]" in json.dumps(event)


def test_what_ends_the_server_is_reported_before_it_ends(seen: Sentry) -> None:
    settings = settings_for(sentry_dsn=seen.dsn)
    with pytest.raises(ZeroDivisionError), reported(settings):
        raise ZeroDivisionError
    [event] = seen.events
    assert event["level"] == "fatal"
    for expected in (SettingsError("x"), click.ClickException("x"), Conflict("x")):
        with pytest.raises(type(expected)), reported(settings):
            raise expected
    assert len(seen.events) == 1


def test_without_a_dsn_it_is_only_raised() -> None:
    with pytest.raises(ZeroDivisionError), reported(settings_for()):
        raise ZeroDivisionError


async def test_sentry_that_is_away_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    reports = ErrorReports(dsn=f"http://{PLANTED}@127.0.0.1:1/1", environment="development")
    loop = asyncio.get_running_loop()
    for _ in range(100):
        reports.report(raised(value_error))
        reports.report(raised(key_error))
    started = loop.time()
    await reports.close()
    assert loop.time() - started < 5
    assert PLANTED not in caplog.text

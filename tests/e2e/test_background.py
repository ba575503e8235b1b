"""Background work on a running server: done by itself, and by one of its processes."""

import asyncio
import re
import time

from shop.adapters.background import BackgroundTimes
from shop.adapters.system import utc_now
from shop.domain.throttling import KNOWN_FOR
from tests.builders import PASSWORD
from tests.e2e.conftest import Start
from tests.stores import sql_store
from tests.use_cases import UseCases

GIVE_UP_AFTER = 30.0
TABLES = ("families", "tokens", "attempts")


async def leave_old_sessions(url: str) -> None:
    async with sql_store(url) as store:
        shop = UseCases(store.unit_of_work)
        shop.clock.now = utc_now() - 2 * KNOWN_FOR
        await shop.given_customer("anna")
        for _ in range(3):
            await shop.sign_in(username="anna", password=PASSWORD)
        assert all([await store.count(table) >= 3 for table in TABLES])


async def left(url: str) -> int:
    async with sql_store(url) as store:
        return sum([await store.count(table) for table in TABLES])


def test_one_of_two_workers_purges_what_expired_without_any_sign_in(
    start: Start, postgresql_url: str
) -> None:
    asyncio.run(leave_old_sessions(postgresql_url))
    shop = start(postgresql_url, workers=2)
    give_up_at = time.monotonic() + GIVE_UP_AFTER
    # By then each worker has taken its turn, or a second run would come too late to be seen.
    time.sleep(BackgroundTimes().first + 0.5)
    while asyncio.run(left(postgresql_url)):
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
    with shop.client() as client:
        metrics = client.get("/metrics").text
    for task in ("purge_sessions", "purge_attempts"):
        runs = re.findall(
            rf'^shop_background_run_seconds_count{{task="{task}"}} (.+)$', metrics, re.M
        )
        assert runs == ["1.0"]
        last = re.findall(
            rf'^shop_background_last_success_timestamp_seconds{{task="{task}"}} (.+)$',
            metrics,
            re.M,
        )
        assert [time.time() - float(at) < GIVE_UP_AFTER for at in last] == [True]
    assert shop.server.stop() == 0
    assert "Traceback" not in shop.server.log

"""Many attempts at once on every store: right passwords get in, guesses get no further."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from shop.adapters import attempt_queue
from shop.domain.errors import (
    InvalidField,
    Overloaded,
    StoreUnavailable,
    TooManyAttempts,
    UsernameTaken,
    WrongCredentials,
)
from shop.domain.events import Event
from shop.domain.ports import IN_COMMIT, OUT_OF_TIME, UnitOfWork
from shop.domain.throttling import (
    LONG_AGO,
    OUTCOME_WITHIN,
    WITH_ADDRESS,
    WITH_NAME,
    AttemptKeys,
    Attempts,
)
from shop.domain.users import OPERATOR, Caller
from tests.builders import PASSWORD
from tests.stores import Store
from tests.use_cases import ADDRESS, UseCases

ELSEWHERE = "198.51.100.7"
SECOND = timedelta(seconds=1)
MANY = 200


class Gate:
    """Holds those who come to it, and counts them, until it is opened."""

    def __init__(self) -> None:
        self.waiting = 0
        self._opened = asyncio.Event()
        self._came = asyncio.Condition()

    async def __call__(self) -> None:
        async with self._came:
            self.waiting += 1
            self._came.notify_all()
        await self._opened.wait()

    def open(self) -> None:
        self._opened.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10), self._came:
            await self._came.wait_for(lambda: self.waiting >= count)


def verifying(
    shop: UseCases, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], Awaitable[None]]
) -> None:
    """Let every hash of a password wait there, as a real one takes its time."""
    real = shop.hasher.verify

    async def verify(password: str, password_hash: str | None) -> bool:
        await meanwhile()
        return await real(password, password_hash)

    monkeypatch.setattr(shop.hasher, "verify", verify)


@pytest.fixture
def processes(
    shop: UseCases, store: Store, monkeypatch: pytest.MonkeyPatch
) -> tuple[UseCases, UseCases]:
    """Two, whose hashes take a moment."""
    other = UseCases(store.unit_of_work, process=2)
    for process in (shop, other):
        verifying(process, monkeypatch, partial(asyncio.sleep, 0.005))
    return shop, other


@pytest.fixture
async def anna(shop: UseCases) -> Caller:
    return await shop.given_customer("anna")


async def attempt(
    shop: UseCases, password: str = "wrong", *, username: str = "anna", address: str = ADDRESS
) -> type[Exception] | None:
    try:
        await shop.container.sign_in()(username=username, password=password, address=address)
    except (WrongCredentials, TooManyAttempts, Overloaded, StoreUnavailable) as error:
        return type(error)
    return None


async def held_up(
    shop: UseCases, monkeypatch: pytest.MonkeyPatch, number: int, password: str = "wrong"
) -> tuple[Gate, list["asyncio.Task[type[Exception] | None]"]]:
    """So many attempts whose password is being looked at until the gate is opened."""
    gate = Gate()
    with monkeypatch.context() as patch:
        verifying(shop, patch, gate)
        attempts = [asyncio.create_task(attempt(shop, password)) for _ in range(number)]
        await gate.until(number)
    return gate, attempts


async def counters(store: Store, *keys: bytes) -> list[Attempts]:
    async with store.unit_of_work() as uow:
        stored = await uow.attempts.lock(keys, LONG_AGO)
    return [stored[key] for key in keys]


async def gathered(attempts: Iterable[Awaitable[type[Exception] | None]]) -> Counter[object]:
    return Counter(await asyncio.gather(*attempts))


def process_counts(store: Store) -> tuple[int, ...]:
    """Two share a database; one process is told apart from them in memory."""
    return (1, 2) if store.name == "memory" else (2,)


# --- who is right gets in ---


@pytest.mark.usefixtures("anna")
async def test_32_sign_ins_of_one_user_at_once_all_succeed(
    processes: tuple[UseCases, UseCases], store: Store
) -> None:
    for count in process_counts(store):
        answers = await gathered(
            attempt(process, PASSWORD, address=f"192.0.2.{count}")
            for process in processes[:count]
            for _ in range(32 // count)
        )
        assert answers == {None: 32}
    keys = AttemptKeys.of("anna", "192.0.2.2")
    for counter in await counters(store, *keys.all):
        assert (counter.failures, counter.pending) == (0, ())


async def test_59_users_behind_one_address_all_sign_in_at_once(
    processes: tuple[UseCases, UseCases],
) -> None:
    names = [f"user-{n}" for n in range(59)]
    for name in names:
        await processes[0].given_customer(name)
    answers = await gathered(
        attempt(processes[n % 2], PASSWORD, username=name) for n, name in enumerate(names)
    )
    assert answers == {None: 59}


async def test_five_sign_ins_at_once_of_a_user_with_an_outdated_hash_all_succeed(
    shop: UseCases, store: Store, anna: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would replace the hash; one does."""
    await store.set_password_hash(anna.user_id, f"old:{PASSWORD}")
    gate = Gate()
    verifying(shop, monkeypatch, gate)
    signing_in = [asyncio.create_task(attempt(shop, PASSWORD)) for _ in range(5)]
    await gate.until(5)
    gate.open()
    assert await asyncio.gather(*signing_in) == [None] * 5
    upgraded = [name for name, _ in shop.audit.events if name == "password.hash_upgraded"]
    assert len(upgraded) == 1


async def test_a_password_is_changed_while_a_sign_in_replaces_its_outdated_hash(
    shop: UseCases, store: Store, anna: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.set_password_hash(anna.user_id, f"old:{PASSWORD}")
    gate = Gate()
    verifying(shop, monkeypatch, gate)
    changing = asyncio.create_task(
        shop.change_password(caller=anna, current=PASSWORD, new="another password", address=ADDRESS)
    )
    await gate.until(1)
    await store.set_password_hash(anna.user_id, f"plain:{PASSWORD}")
    gate.open()
    await changing
    assert await attempt(shop, "another password") is None


@pytest.mark.usefixtures("anna")
async def test_a_neighbour_who_fails_keeps_out_only_who_is_not_known_there(shop: UseCases) -> None:
    await shop.given_customer("bert")
    assert await attempt(shop, PASSWORD) is None
    for n in range(WITH_ADDRESS.free + 1):
        assert await attempt(shop, username=f"user-{n}") is WrongCredentials
    assert await attempt(shop, PASSWORD, username="bert") is TooManyAttempts
    assert await gathered(attempt(shop, PASSWORD) for _ in range(32)) == {None: 32}


@pytest.mark.usefixtures("anna")
async def test_who_is_known_at_an_address_has_a_counter_of_their_own_there(
    shop: UseCases, store: Store
) -> None:
    assert await attempt(shop, PASSWORD) is None
    while await attempt(shop) is WrongCredentials:
        pass
    keys = AttemptKeys.of("anna", ADDRESS)
    name, address, pair = await counters(store, *keys.all)
    assert (name.failures, address.failures, pair.failures) == (0, 0, WITH_NAME.free + 1)
    # It forgives itself only: at the name, somebody elsewhere goes on guessing.
    shop.clock.advance(2 * SECOND)
    for _ in range(WITH_NAME.free):
        await attempt(shop, address=ELSEWHERE)
    assert await attempt(shop, PASSWORD) is None
    name, _, pair = await counters(store, *keys.all)
    assert (name.failures, pair.failures) == (WITH_NAME.free, 0)


# --- who guesses gets no further ---


@pytest.mark.usefixtures("anna")
async def test_of_200_guesses_at_once_on_a_name_6_are_looked_at(
    processes: tuple[UseCases, UseCases], store: Store
) -> None:
    for count in process_counts(store):
        username = ("nobody", "anna")[count - 1]
        before = sum(process.hasher.verified for process in processes)
        answers = await gathered(
            attempt(process, username=username, address=f"192.0.2.{n}")
            for process in processes[:count]
            for n in range(MANY // count)
        )
        looked_at = sum(process.hasher.verified for process in processes) - before
        assert looked_at == answers[WrongCredentials] == WITH_NAME.free + 1 == 6
        assert answers[TooManyAttempts] == MANY - 6


async def test_of_200_names_at_once_from_one_address_21_are_looked_at(
    processes: tuple[UseCases, UseCases], store: Store
) -> None:
    for count in process_counts(store):
        answers = await gathered(
            attempt(process, username=f"user-{count}-{n}", address=f"192.0.2.{count}")
            for process in processes[:count]
            for n in range(MANY // count)
        )
        assert answers == {WrongCredentials: 21, TooManyAttempts: MANY - 21}
        assert WITH_ADDRESS.free + 1 == 21


@pytest.mark.usefixtures("anna")
async def test_bursts_for_a_while_get_no_further_than_one_guess_at_a_time(
    shop: UseCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a whole day see tests/domain."""
    verifying(shop, monkeypatch, partial(asyncio.sleep, 0.005))
    bursts = []
    end = shop.clock() + timedelta(minutes=15)
    while shop.clock() < end:
        before = shop.hasher.verified
        await gathered(attempt(shop, address=f"192.0.2.{n}") for n in range(8))
        bursts.append(shop.hasher.verified - before)
        shop.clock.advance(min(2 ** min(len(bursts), 6) * SECOND, WITH_NAME.wait_max))
    assert bursts[0] == 6
    assert set(bursts[1:]) == {1}
    assert len(bursts) < 22


@pytest.mark.usefixtures("anna")
async def test_who_signs_in_among_guesses_forgives_those_that_failed_before(
    shop: UseCases, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not those that are under way."""
    gate = Gate()
    verifying(shop, monkeypatch, gate)
    signing_in = [
        asyncio.create_task(attempt(shop, password)) for password in (PASSWORD, *["wrong"] * 5)
    ]
    await gate.until(6)
    gate.open()
    await asyncio.gather(*signing_in)
    [name] = await counters(store, AttemptKeys.of("anna", ADDRESS).name)
    assert (name.failures, name.pending) == (5, ()) or name.failures < 5
    [address] = await counters(store, AttemptKeys.of("anna", ADDRESS).address)
    assert (address.failures, address.pending) == (5, ())


# --- outcomes ---


@pytest.mark.usefixtures("anna")
async def test_a_503_counts_for_nothing(
    shop: UseCases, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def overloaded(*_: object) -> bool:
        raise Overloaded("Too many people are signing in.")

    with monkeypatch.context() as patch:
        patch.setattr(shop.hasher, "verify", overloaded)
        answers = await gathered(attempt(shop) for _ in range(3 * WITH_ADDRESS.free))
        assert answers == {Overloaded: 3 * WITH_ADDRESS.free}
    for counter in await counters(store, *AttemptKeys.of("anna", ADDRESS).all):
        assert (counter.failures, counter.pending) == (0, ())
    assert await attempt(shop, PASSWORD) is None


class Outage:
    """Units of work over a store that is away at times."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.is_on = False
        self.opened = 0

    def __call__(self, **options: Any) -> UnitOfWork:
        if self.is_on:
            raise StoreUnavailable("The database is away.")
        self.opened += 1
        return self._store.unit_of_work(**options)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110  # another process has it
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("anna")
async def test_an_attempt_during_an_outage_is_withdrawn_when_it_is_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_queue, "SETTLE_PAUSES", (0.02,) * 100)
    outage = Outage(store)
    shop = UseCases(outage)
    gate = Gate()
    verifying(shop, monkeypatch, gate)
    signing_in = [asyncio.create_task(attempt(shop, PASSWORD)) for _ in range(6)]
    await gate.until(6)
    outage.is_on = True
    gate.open()
    assert await asyncio.gather(*signing_in) == [StoreUnavailable] * 6
    outage.is_on = False

    async def settled() -> bool:
        stored = await counters(store, *AttemptKeys.of("anna", ADDRESS).all)
        return all((counter.failures, counter.pending) == (0, ()) for counter in stored)

    await until(settled)
    assert await attempt(shop, PASSWORD) is None


@pytest.mark.usefixtures("anna")
async def test_hanging_up_is_a_failure(
    shop: UseCases, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, guesses = await held_up(shop, monkeypatch, 6)
    for guess in guesses:
        guess.cancel()
    await asyncio.wait(guesses)
    [name] = await counters(store, AttemptKeys.of("anna", ADDRESS).name)
    assert (name.failures, name.pending) == (6, ())
    assert await attempt(shop) is TooManyAttempts


@pytest.mark.parametrize("password", ["wrong", PASSWORD])
async def test_30_seconds_without_an_outcome_are_a_failure(
    shop: UseCases, store: Store, anna: Caller, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    keys = AttemptKeys.of("anna", ADDRESS)
    gate, late = await held_up(shop, monkeypatch, 6, password)
    shop.clock.advance(OUTCOME_WITHIN + SECOND)
    assert await attempt(shop, PASSWORD) is TooManyAttempts
    gate.open()
    answers = await asyncio.gather(*late)
    [name, address] = await counters(store, keys.name, keys.address)
    # What comes after all is not counted again, and a success is forgiven still.
    if password == PASSWORD:
        assert answers == [None] * 6
        assert (name.failures, name.pending) == (0, ())
    else:
        assert answers == [WrongCredentials] * 6
        assert (name.failures, name.pending) == (6, ())
    assert (address.failures, address.pending) == (6, ())


@pytest.mark.usefixtures("anna")
async def test_a_clock_that_is_set_back_blocks_nobody_for_longer_than_a_minute(
    shop: UseCases,
) -> None:
    for _ in range(WITH_NAME.free + 12):
        while await attempt(shop) is WrongCredentials:
            pass
        shop.clock.advance(WITH_NAME.wait_max)
    assert await attempt(shop) is WrongCredentials
    shop.clock.set_back(timedelta(days=3, seconds=30))
    with pytest.raises(TooManyAttempts) as refused:
        await shop.sign_in(username="anna", password=PASSWORD)
    assert refused.value.retry_after == WITH_NAME.wait_max.total_seconds() + 1
    shop.clock.advance(WITH_NAME.wait_max)
    assert await attempt(shop, PASSWORD) is None


# --- waiting ---


@pytest.fixture
async def held(
    shop: UseCases, anna: Caller, monkeypatch: pytest.MonkeyPatch
) -> tuple[Gate, list["asyncio.Task[type[Exception] | None]"]]:
    """As many attempts of anna as may begin, held at the gate; later ones pass it by."""
    return await held_up(shop, monkeypatch, WITH_NAME.free + 1)


async def test_waiting_ends_at_a_limit(
    shop: UseCases,
    held: tuple[Gate, list["asyncio.Task[type[Exception] | None]"]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, attempts = held
    monkeypatch.setattr(attempt_queue, "WAIT_SECONDS_MAX", 0.3)
    verified, started = shop.hasher.verified, time.monotonic()
    assert await gathered(attempt(shop, PASSWORD) for _ in range(10)) == {TooManyAttempts: 10}
    assert 0.3 <= time.monotonic() - started < 5
    assert shop.hasher.verified == verified
    gate.open()
    await asyncio.gather(*attempts)


async def test_only_so_many_wait(
    shop: UseCases,
    held: tuple[Gate, list["asyncio.Task[type[Exception] | None]"]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, attempts = held
    monkeypatch.setattr(attempt_queue, "WAIT_SECONDS_MAX", 0.3)
    monkeypatch.setattr(attempt_queue, "WAITING_MAX", 7)
    answers = await gathered(attempt(shop, PASSWORD) for _ in range(10))
    assert answers == {TooManyAttempts: 7, Overloaded: 3}
    gate.open()
    await asyncio.gather(*attempts)
    # Who waited has left.
    shop.clock.advance(2 * SECOND)
    assert await attempt(shop, PASSWORD) is None


@pytest.mark.usefixtures("anna")
async def test_who_waits_is_let_in_when_there_is_an_outcome(
    shop: UseCases, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once in this process, and soon where another one has it."""
    gate, held = await held_up(shop, monkeypatch, WITH_NAME.free + 1, PASSWORD)
    other = UseCases(store.unit_of_work, process=2)
    waiting = [
        asyncio.create_task(attempt(process, PASSWORD, address=ELSEWHERE))
        for process in (shop, other)
        for _ in range(3)
    ]
    await asyncio.wait(waiting, timeout=0.1)
    assert not any(task.done() for task in waiting)
    gate.open()
    assert await asyncio.gather(*held, *waiting) == [None] * 12


async def test_200_who_wait_ask_the_store_no_more_often_than_one(
    store: Store, held: tuple[Gate, list["asyncio.Task[type[Exception] | None]"]]
) -> None:
    """Another process has the attempts they wait for, which tells them nothing."""
    gate, attempts = held
    outage = Outage(store)
    other = UseCases(outage, process=2)
    waiting = [asyncio.create_task(attempt(other, PASSWORD)) for _ in range(MANY)]

    async def all_asked() -> bool:
        return outage.opened >= MANY

    await until(all_asked)
    before, started = outage.opened, time.monotonic()
    await asyncio.wait(waiting, timeout=1)
    # The first waits 0.05 s, 0.1 s, 0.2 s, and so on up to a second.
    assert outage.opened - before <= 6 + (time.monotonic() - started)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    gate.open()
    await asyncio.gather(*attempts)


# --- other doors ---


async def test_changing_a_password_waits_and_counts_like_signing_in(
    processes: tuple[UseCases, UseCases], anna: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, _ = processes

    async def change(current: str) -> type[Exception] | None:
        try:
            await shop.change_password(
                caller=anna, current=current, new="another password", address=ADDRESS
            )
        except (InvalidField, TooManyAttempts, Overloaded) as error:
            return type(error)
        return None

    async def overloaded(*_: object) -> bool:
        raise Overloaded("Too many people are signing in.")

    with monkeypatch.context() as patch:
        patch.setattr(shop.hasher, "verify", overloaded)
        assert await gathered(change(PASSWORD) for _ in range(20)) == {Overloaded: 20}
    answers = await gathered(change("wrong") for _ in range(20))
    assert answers == {InvalidField: 6, TooManyAttempts: 14}
    shop.clock.advance(2 * SECOND)
    assert await change(PASSWORD) is None


async def test_those_who_register_at_once_do_not_keep_others_from_signing_in(
    processes: tuple[UseCases, UseCases], anna: Caller, store: Store
) -> None:
    shop, _ = processes

    async def register(username: str) -> type[Exception] | None:
        try:
            await shop.register_user(username=username, password=PASSWORD, address=ADDRESS)
        except (TooManyAttempts, UsernameTaken) as error:
            return type(error)
        return None

    names = [f"user-{n}" for n in range(30)]
    assert await gathered(register(name) for name in names) == {None: 6, TooManyAttempts: 24}
    for _ in range(WITH_ADDRESS.free):
        shop.clock.advance(WITH_NAME.wait_max)
        assert await register("anna") is UsernameTaken
    assert await attempt(shop, PASSWORD) is None


@pytest.mark.parametrize(
    ("error", "failures"),
    [
        (LookupError(), 1),
        (asyncio.CancelledError(), 1),
        (asyncio.CancelledError(OUT_OF_TIME), 0),
        (asyncio.CancelledError(IN_COMMIT), 0),
    ],
    ids=["a bug", "a caller who hung up", "a deadline of the shop's", "a COMMIT without an answer"],
)
async def test_what_breaks_in_an_attempt_counts_as_its_failure_and_being_slow_as_the_shops(
    shop: UseCases, store: Store, error: BaseException, failures: int
) -> None:
    keys = AttemptKeys.of("anna", ADDRESS)

    async def nothing(_: UnitOfWork) -> None: ...

    with pytest.raises(type(error)):
        async with shop.throttle_sign_in(
            keys=keys, throttled=Event(name="throttled", about={}), find=nothing
        ):
            raise error
    for counter in await counters(store, keys.name, keys.address):
        assert (counter.failures, counter.pending) == (failures, ())


async def test_a_disabled_user_is_throttled_like_a_wrong_password(
    shop: UseCases, anna: Caller
) -> None:
    await shop.disable_user(caller=OPERATOR, username="anna")
    answers = [await attempt(shop, PASSWORD) for _ in range(WITH_NAME.free + 2)]
    assert answers == [WrongCredentials] * (WITH_NAME.free + 1) + [TooManyAttempts]

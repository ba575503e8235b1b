"""Signing in: what can be learnt by trying, and how often one may try."""

import asyncio
import math
import statistics
import threading
import time
from datetime import timedelta

import httpx
import pytest

from shop.adapters import passwords
from shop.adapters.passwords import Argon2Hasher
from shop.domain.throttling import FORGOTTEN_AFTER, WITH_ADDRESS, WITH_NAME
from shop.domain.users import OPERATOR
from shop.entrypoints.http import addresses as forwarded
from tests.builders import PASSWORD, FakeClock, PlainHasher
from tests.logged import fields_of
from tests.security.doors import HERE, Door, code_of, opened

ELSEWHERE = "203.0.113.9"
WRONG = "not the password of anybody"


async def disable(door: Door, name: str) -> None:
    await door.container.disable_user()(caller=OPERATOR, username=name)


def addresses() -> list[str]:
    """More than a test needs, each of its own network."""
    return [f"198.51.{i}.{j}" for i in range(100) for j in range(1, 11)]


# --- which users there are ---


def shown(response: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    headers = [(k, v) for k, v in response.headers.items() if k not in ("x-request-id", "date")]
    return response.status_code, response.content, headers


async def test_every_refusal_looks_the_same(any_database_url: str) -> None:
    async with opened(any_database_url) as door:
        await door.create("customer")
        await door.create("disabled")
        await disable(door, "disabled")
        attempts = [
            ("customer", WRONG),
            ("customer", PASSWORD + " "),
            ("nobody", PASSWORD),
            ("nobody", WRONG),
            ("disabled", PASSWORD),
            ("disabled", WRONG),
            ("CUSTOMER", WRONG),
            (" customer ", WRONG),
            ("custo mer", PASSWORD),
            ("customer\x00", PASSWORD),
            ("' OR '1'='1", "' OR '1'='1"),
            ("\u200bcustomer", PASSWORD),
        ]
        answers = [
            await door.sign_in(name, password, address=address)
            for (name, password), address in zip(attempts, addresses(), strict=False)
        ]
        assert code_of(answers[0]) == "wrong_credentials"
        assert {str(shown(answer)) for answer in answers} == {str(shown(answers[0]))}


async def test_throttling_looks_the_same_whether_there_is_such_a_user(
    any_database_url: str,
) -> None:
    async with opened(any_database_url) as door:
        await door.create("customer")
        await door.create("disabled")
        await disable(door, "disabled")
        courses = [
            [
                shown(await door.sign_in(name, WRONG, address=f"192.0.2.{number}"))
                for _ in range(WITH_NAME.free + 3)
            ]
            for number, name in enumerate(("customer", "nobody", "disabled"))
        ]
        assert [status for status, _, _ in courses[0]] == [401] * (WITH_NAME.free + 1) + [429] * 2
        assert courses[0] == courses[1] == courses[2]


async def test_a_refusal_costs_one_hash_whoever_is_asked_for(database_url: str) -> None:
    hasher = PlainHasher()
    async with opened(database_url, hasher=hasher) as door:
        await door.create("customer")
        await door.create("disabled")
        await disable(door, "disabled")
        for name in ("customer", "nobody", "disabled"):
            before = hasher.verified
            await door.sign_in(name, WRONG)
            assert hasher.verified == before + 1


async def test_time_does_not_tell_which_users_there_are() -> None:
    """By the time of the processor, hashing included: who waits for it is the machine's business.

    Interleaved, so that what the machine does meanwhile befalls all alike.
    """
    async with opened(hasher=Argon2Hasher(concurrent_max=1)) as door:
        await door.create("customer")
        await door.create("disabled")
        await disable(door, "disabled")
        names = ["customer", "nobody", "disabled"]
        taken: dict[str, list[float]] = {name: [] for name in names}
        for number, address in enumerate(addresses()[:24]):
            if number % 4 == 0:
                door.clock.advance(FORGOTTEN_AFTER * 2)
            for name in names[number % 3 :] + names[: number % 3]:
                started = time.process_time()
                response = await door.sign_in(name, WRONG, address=address)
                taken[name].append(time.process_time() - started)
                assert response.status_code == 401
    for name in ("nobody", "disabled"):
        # The smallest is what the work takes; the rest is what the machine was busy with.
        assert 2 / 3 < min(taken[name]) / min(taken["customer"]) < 3 / 2
        assert 1 / 2 < statistics.median(taken[name]) / statistics.median(taken["customer"]) < 2
        assert abs(rank_z(taken[name], taken["customer"])) < 4.5


def rank_z(left: list[float], right: list[float]) -> float:
    """Mann-Whitney: by how many standard deviations one of them tends to be larger."""
    wins = sum((a > b) + (a == b) / 2 for a in left for b in right)
    pairs = len(left) * len(right)
    return (wins - pairs / 2) / math.sqrt(pairs * (len(left) + len(right) + 1) / 12)


def test_the_test_of_time_sees_a_hash_that_was_left_out() -> None:
    slow = [0.040 + i % 7 / 1000 for i in range(24)]
    fast = [0.001 + i % 7 / 1000 for i in range(24)]
    assert rank_z(slow, fast) > 4.5
    assert abs(rank_z(slow, [s + 0.0001 * (-1) ** i for i, s in enumerate(slow)])) < 4.5


# --- throttling ---


async def waits(door: Door, name: str = "customer", *, address: str = HERE) -> list[int]:
    """Fail again and again, as soon as one may; the `Retry-After` of each time one may not."""
    seen = []
    for _ in range(12):
        while (response := await door.sign_in(name, WRONG, address=address)).status_code == 401:
            pass
        assert code_of(response) == "too_many_attempts"
        seen.append(int(response.headers["retry-after"]))
        door.clock.advance(timedelta(seconds=seen[-1]))
    return seen


async def test_guessing_at_a_name_gets_slower_and_slower(any_database_url: str) -> None:
    async with opened(any_database_url) as door:
        await door.create("customer")
        seen = await waits(door)
        assert seen == sorted(seen)
        assert seen[0] <= 3
        assert WITH_NAME.wait_max.seconds in (seen[-1], seen[-1] - 1)


async def test_waiting_as_long_as_told_is_enough_and_a_second_less_is_not(
    database_url: str,
) -> None:
    async with opened(database_url) as door:
        await door.create("customer")
        for _ in range(WITH_NAME.free + 3):
            response = await door.sign_in("customer", WRONG)
            door.clock.advance(timedelta(seconds=int(response.headers.get("retry-after", 0))))
        while (response := await door.sign_in("customer", WRONG)).status_code == 401:
            pass
        wait = timedelta(seconds=int(response.headers["retry-after"]))
        door.clock.advance(wait - timedelta(seconds=2))
        assert (await door.sign_in("customer")).status_code == 429, "though the password is right"
        door.clock.advance(timedelta(seconds=2))
        assert (await door.sign_in("customer")).status_code == 200


async def test_guessing_from_everywhere_at_one_name_is_slowed_down(database_url: str) -> None:
    async with opened(database_url) as door:
        await door.create("customer")
        answers = [
            (await door.sign_in("customer", WRONG, address=address)).status_code
            for address in addresses()[:20]
        ]
        assert answers == [401] * (WITH_NAME.free + 1) + [429] * (19 - WITH_NAME.free)


async def test_guessing_at_every_name_from_one_address_is_slowed_down(
    any_database_url: str,
) -> None:
    async with opened(any_database_url) as door:
        answers = [
            (await door.sign_in(f"user{number}", WRONG)).status_code
            for number in range(WITH_ADDRESS.free + 5)
        ]
        assert answers == [401] * (WITH_ADDRESS.free + 1) + [429] * 4
        assert (await door.sign_in("another", address=ELSEWHERE)).status_code == 401


async def test_an_ipv6_host_is_one_address_whatever_it_calls_itself() -> None:
    async with opened() as door:
        answers = [
            (await door.sign_in(f"u{i}", WRONG, address=f"2001:db8:1:2::{i:x}")).status_code
            for i in range(1, WITH_ADDRESS.free + 4)
        ]
        assert answers[-2:] == [429, 429]
        other = await door.sign_in("u", WRONG, address="2001:db8:1:3::1")
        assert other.status_code == 401


async def test_ipv4_peers_of_an_ipv6_socket_are_not_one_address() -> None:
    async with opened() as door:
        for i in range(WITH_ADDRESS.free + 3):
            await door.sign_in(f"u{i}", WRONG, address="::ffff:192.0.2.1")
        assert (await door.sign_in("u", WRONG, address="::ffff:192.0.2.1")).status_code == 429
        assert (await door.sign_in("u", WRONG, address="192.0.2.1")).status_code == 429
        assert (await door.sign_in("u", WRONG, address="::ffff:192.0.2.2")).status_code == 401


async def test_success_is_forgiven_but_does_not_buy_guesses_at_others(database_url: str) -> None:
    """Signing in oneself between guesses does not make the address look better."""
    async with opened(database_url) as door:
        await door.create("attacker")
        await door.create("victim")
        answers = []
        for number in range(WITH_ADDRESS.free + 5):
            answers.append((await door.sign_in(f"victim{number}", WRONG)).status_code)
            await door.sign_in("attacker")
        assert answers[-1] == 429


async def test_attackers_elsewhere_do_not_lock_a_user_out(any_database_url: str) -> None:
    async with opened(any_database_url) as door:
        await door.create("customer")
        assert (await door.sign_in("customer")).status_code == 200
        for address in addresses()[:30]:
            await door.sign_in("customer", WRONG, address=address)
        stranger = await door.sign_in("customer", address=ELSEWHERE)
        assert stranger.status_code == 429, "even with the password: it may be a guess"
        assert (await door.sign_in("customer")).status_code == 200
        # Nor is it a way around: a guesser who shares the address waits as well.
        answers = [(await door.sign_in("customer", WRONG)).status_code for _ in range(8)]
        assert answers[-1] == 429


async def test_nobody_is_locked_out_for_good(database_url: str) -> None:
    async with opened(database_url) as door:
        await door.create("customer")
        for address in addresses()[:60]:
            await door.sign_in("customer", WRONG, address=address)
            door.clock.advance(WITH_NAME.wait_max)
        assert (await door.sign_in("customer", address=ELSEWHERE)).status_code == 200


async def test_it_holds_across_processes_on_one_database(
    request: pytest.FixtureRequest, subtests: pytest.Subtests
) -> None:
    for kind in ("sqlite", "postgresql"):
        with subtests.test(kind):
            url = request.getfixturevalue(f"{kind}_url")
            async with opened(url) as one, opened(url, clock=one.clock) as two:
                await one.create("customer")
                doors = [one, two] * WITH_NAME.free
                answers = [(await door.sign_in("customer", WRONG)).status_code for door in doors]
                assert answers.count(401) == WITH_NAME.free + 1
                assert answers[-1] == 429
            async with opened(url, clock=FakeClock()) as restarted:
                assert (await restarted.sign_in("customer")).status_code == 429


async def test_attempts_made_at_once_count_like_attempts_one_by_one(
    request: pytest.FixtureRequest, subtests: pytest.Subtests
) -> None:
    for kind in ("sqlite", "postgresql"):
        with subtests.test(kind):
            url = request.getfixturevalue(f"{kind}_url")
            hasher = PlainHasher()
            async with (
                opened(url, hasher=hasher) as one,
                opened(url, hasher=hasher, clock=one.clock) as two,
            ):
                await one.create("customer")
                answers = await asyncio.gather(
                    *(door.sign_in("customer", WRONG) for door in [one, two] * 20)
                )
                statuses = [answer.status_code for answer in answers]
                assert statuses.count(401) == hasher.verified == WITH_NAME.free + 1
                assert set(statuses) == {401, 429}


async def test_a_stolen_access_token_does_not_help_to_guess_the_password(
    database_url: str,
) -> None:
    async with opened(database_url) as door:
        header = door.signed_in(await door.create("customer"))
        answers = [
            await door.at(address).post(
                "/api/users/me/password/",
                json={"current": WRONG, "new": "a quite new password"},
                headers=header,
            )
            for address in addresses()[:12]
        ]
        assert {answer.status_code for answer in answers} == {400, 429}
        assert answers[-1].status_code == 429
        assert (await door.sign_in("customer")).status_code == 200, "and harms nobody's sign-in"


# --- whose address it is ---


async def exhaust(door: Door, address: str, **headers: str) -> None:
    """Use up what the address may do."""
    for number in range(WITH_ADDRESS.free + 2):
        await door.sign_in(f"user{number}", WRONG, address=address, **headers)


async def is_slowed(door: Door, address: str, **headers: str) -> bool:
    return (await door.sign_in("another", WRONG, address=address, **headers)).status_code == 429


def via(*hops: str) -> dict[str, str]:
    return {"X-Forwarded-For": ", ".join(hops)}


async def test_a_forwarded_address_from_anybody_is_ignored() -> None:
    names = ["X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP"]
    async with opened() as door:
        await exhaust(door, HERE)
        for name in names:
            assert await is_slowed(door, HERE, **{name: "203.0.113.77"})
    async with opened(trusted_proxies="10.0.0.0/8") as door:
        await exhaust(door, HERE)
        assert await is_slowed(door, HERE, **via("203.0.113.77"))


async def test_a_proxy_that_is_not_trusted_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    forwarded._warn_of_forwarding.cache_clear()
    async with opened(trusted_proxies="10.0.0.0/8") as door:
        await door.sign_in("anybody", WRONG)
        await door.sign_in("anybody", WRONG, address="10.0.0.7", **via("203.0.113.1", "10.0.0.8"))
        assert "proxy.untrusted" not in caplog.messages
        for _ in range(3):
            await door.sign_in("anybody", WRONG, address="172.17.0.1", **via("203.0.113.1"))
    [record] = [one for one in caplog.records if one.getMessage() == "proxy.untrusted"]
    assert "SHOP_TRUSTED_PROXIES" in fields_of(record)["detail"]


async def test_a_trusted_proxy_tells_the_address_of_the_client() -> None:
    proxy = "10.0.0.7"
    async with opened(trusted_proxies="10.0.0.0/8, ::1") as door:
        await exhaust(door, proxy, **via("203.0.113.1"))
        assert await is_slowed(door, proxy, **via("203.0.113.1"))
        assert not await is_slowed(door, proxy, **via("203.0.113.2"))
        assert not await is_slowed(door, proxy)
        # Through two proxies, or through another one.
        assert await is_slowed(door, proxy, **via("203.0.113.1", "10.9.9.9"))
        assert await is_slowed(door, "::1", **via("203.0.113.1"))
        assert await is_slowed(door, "::ffff:10.0.0.7", **via("203.0.113.1"))


async def test_what_a_client_forges_stands_before_what_the_proxy_writes() -> None:
    proxy = "10.0.0.7"
    async with opened(trusted_proxies="10.0.0.0/8") as door:
        await exhaust(door, proxy, **via("203.0.113.1"))
        for forged in ("1.2.3.4", "10.0.0.1", "garbage", "", "127.0.0.1, ::1", "x" * 5_000):
            assert await is_slowed(door, proxy, **via(forged, "203.0.113.1"))
        two = [("X-Forwarded-For", "1.2.3.4"), ("x-forwarded-for", "203.0.113.1")]
        response = await door.at(proxy).post(
            "/api/token/", json={"username": "x", "password": "y"}, headers=two
        )
        assert response.status_code == 429


GARBAGE = [
    "unknown",
    "",
    " ",
    "1.2.3",
    "1.2.3.4:80",
    "[::1]:80",
    "٣.1.1.1",
    "1.2.3.4/8",
    "x" * 9_000,
]


async def test_garbage_from_a_proxy_counts_as_the_proxy_and_breaks_nothing() -> None:
    proxy = "10.0.0.7"
    async with opened(trusted_proxies="10.0.0.0/8") as door:
        await exhaust(door, proxy)
        for garbage in GARBAGE:
            header = [(b"X-Forwarded-For", f"{garbage}".encode())]
            response = await door.at(proxy).post(
                "/api/token/", json={"username": "x", "password": "y"}, headers=header
            )
            assert response.status_code == 429, garbage


async def test_addresses_are_believed_for_registration_as_for_signing_in() -> None:
    async with opened(registration=True) as door:
        statuses = []
        for number in range(12):
            response = await door.at().post(
                "/api/users/",
                json={"username": f"user{number}", "password": PASSWORD},
                headers=via(f"203.0.113.{number}"),
            )
            statuses.append(response.status_code)
        assert statuses[:5] == [201] * 5
        assert statuses[-1] == 429


# --- sessions end ---


async def test_a_new_password_ends_every_session_at_once(any_database_url: str) -> None:
    async with opened(any_database_url) as door:
        customer = await door.create("customer")
        refreshes = [(await door.sign_in("customer")).json()["refresh"] for _ in range(3)]
        response = await door.at().post(
            "/api/users/me/password/",
            json={"current": PASSWORD, "new": "a quite new password"},
            headers=door.signed_in(customer),
        )
        assert response.status_code == 204
        for refresh in refreshes:
            refused = await door.at().post("/api/token/refresh/", json={"refresh": refresh})
            assert (refused.status_code, code_of(refused)) == (401, "invalid_token")
        assert (await door.sign_in("customer")).status_code == 401
        assert (await door.sign_in("customer", "a quite new password")).status_code == 200


async def test_disabling_ends_every_session_at_once(any_database_url: str) -> None:
    async with opened(any_database_url) as door:
        await door.create("customer")
        refresh = (await door.sign_in("customer")).json()["refresh"]
        await disable(door, "customer")
        refused = await door.at().post("/api/token/refresh/", json={"refresh": refresh})
        assert refused.status_code == 401
        await door.container.enable_user()(caller=OPERATOR, username="customer")
        refused = await door.at().post("/api/token/refresh/", json={"refresh": refresh})
        assert refused.status_code == 401, "what has ended stays so"


async def test_a_stolen_refresh_token_that_was_used_signs_the_thief_out(
    any_database_url: str,
) -> None:
    async with opened(any_database_url) as door:

        async def refreshed(token: str) -> httpx.Response:
            return await door.at().post("/api/token/refresh/", json={"refresh": token})

        await door.create("customer")
        stolen = (await door.sign_in("customer")).json()["refresh"]
        thiefs = (await refreshed(stolen)).json()["refresh"]
        owners = (await refreshed(stolen)).json()["refresh"]
        owners = (await refreshed(owners)).json()["refresh"]
        assert (await refreshed(stolen)).status_code == 401, "retired: its successor was used"
        for token in (thiefs, owners):
            assert (await refreshed(token)).status_code == 401, "and the family is over"


# --- registration ---


async def test_registration_is_closed_unless_it_is_opened(database_url: str) -> None:
    body = {"username": "newcomer", "password": PASSWORD}
    async with opened(database_url) as door:
        await door.create("customer")
        refused = [
            await door.at().post("/api/users/", json=body | {"username": name})
            for name in ("newcomer", "customer")
        ]
        assert [code_of(response) for response in refused] == ["registration_closed"] * 2
        assert refused[0].content == refused[1].content, "it says nothing of who is there"
        assert (await door.sign_in("newcomer")).status_code == 401
    async with opened(database_url, registration=True) as door:
        response = await door.at().post("/api/users/", json=body)
        assert (response.status_code, response.json()["role"]) == (201, "customer")
        assert (await door.sign_in("newcomer")).status_code == 200


@pytest.mark.parametrize(
    "password", ["password", "12345678", "short", "newcomer", "iloveyou", "PASSWORD1", "x" * 257]
)
async def test_a_password_that_is_guessed_first_is_refused(password: str) -> None:
    async with opened(registration=True) as door:
        body = {"username": "newcomer", "password": password}
        response = await door.at().post("/api/users/", json=body)
        assert (response.status_code, code_of(response)) == (400, "invalid_fields")


# --- hashing is bounded ---


class HeldHasher(Argon2Hasher):
    """Its threads are all at work until they are let go."""

    def __init__(self) -> None:
        super().__init__(concurrent_max=2)
        self.let_go = threading.Event()

    def _fits(self, password: str, password_hash: str) -> bool:
        return not self.let_go.wait(timeout=60)


async def test_orders_flow_while_fifty_sign_ins_wait_for_their_hash(any_database_url: str) -> None:
    hasher = HeldHasher()
    async with opened(any_database_url, hasher=hasher) as door:
        customer = await door.create("customer")
        product = await door.given_product(stock=100)
        sign_ins = [
            asyncio.create_task(door.sign_in(f"user{i}", WRONG, address=address))
            for i, address in enumerate(addresses()[:50])
        ]
        while hasher._waiting < 50:
            await asyncio.wait(sign_ins, timeout=0.01)
        for _ in range(20):
            response = await door.at().post(
                "/api/orders/",
                json={"items": [{"product_id": product.id, "quantity": 1}]},
                headers=door.signed_in(customer),
            )
            assert response.status_code == 201
        assert not any(task.done() for task in sign_ins), "no order waited for any of them"
        hasher.let_go.set()
        assert {response.status_code for response in await asyncio.gather(*sign_ins)} == {401}


async def test_only_so_many_hashes_run_at_once_and_only_so_many_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passwords, "WAITING_MAX", 10)
    hasher = Argon2Hasher(concurrent_max=2)
    assert hasher._threads._max_workers == 2
    async with opened(hasher=hasher) as door:
        answers = await asyncio.gather(
            *(
                door.sign_in(f"user{i}", WRONG, address=address)
                for i, address in enumerate(addresses()[:30])
            )
        )
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {401, 503}
        assert statuses.count(401) >= 10
        shed = answers[statuses.index(503)]
        assert code_of(shed) == "overloaded"
        assert int(shed.headers["retry-after"]) >= 1
        assert (await door.sign_in("user", WRONG)).status_code == 401, "and it recovers"

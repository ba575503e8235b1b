"""Orders: what may be asked for, what counts as the same request, and where an order may go."""

import hashlib
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.adapters.system import new_order_code
from shop.domain.errors import (
    InvalidField,
    MixedCurrencies,
    NotAmendable,
    NotOut,
    OrderChanged,
    OverMaxPerOrder,
    TransitionNotAllowed,
)
from shop.domain.orders import (
    GIVEN_BACK,
    KEPT_ID_VERSION,
    LINES_MAX,
    MOVED_NUMBER_MAX,
    OWNER_TRANSITIONS,
    QUANTITY_MAX,
    TRANSITIONS,
    Order,
    OrderStatus,
    add_up,
    code_from,
    keyed_order_id,
    moved_order_id,
    moved_order_number,
    refusal_of,
)
from shop.domain.stock import Shelf
from tests.builders import NOON, items, money, order, order_line, product, request

S = OrderStatus

ALLOWED_TO_STAFF = {
    (S.PLACED, S.PAID),
    (S.PLACED, S.CANCELLED),
    (S.PAID, S.SHIPPED),
    (S.PAID, S.CANCELLED),
    (S.SHIPPED, S.DELIVERED),
    (S.SHIPPED, S.RETURNED),
    (S.DELIVERED, S.RETURNED),
}
ALLOWED_TO_THE_OWNER = {(S.PLACED, S.CANCELLED)}


@pytest.mark.parametrize("to", S)
@pytest.mark.parametrize("status", S)
@pytest.mark.parametrize("by_staff", [True, False])
def test_an_order_moves_only_along_its_way(status: S, to: S, by_staff: bool) -> None:
    before = order(status=status)
    later = NOON + timedelta(hours=1)
    if (status, to) in (ALLOWED_TO_STAFF if by_staff else ALLOWED_TO_THE_OWNER):
        after = before.advanced(to, at=later, by_staff=by_staff)
        assert (after.status, after.version, after.modified_at) == (to, 2, later)
        assert (after.id, after.lines, after.created_at) == (before.id, before.lines, NOON)
    else:
        with pytest.raises(TransitionNotAllowed) as refused:
            before.advanced(to, at=later, by_staff=by_staff)
        assert refused.value.context["order_status"] == status


def test_a_refused_move_says_what_would_be_allowed() -> None:
    with pytest.raises(TransitionNotAllowed) as refused:
        order(status=S.PAID).advanced(S.DELIVERED, at=NOON)
    assert refused.value.context["allowed"] == ["shipped", "cancelled"]
    assert "An order that is paid cannot become delivered" in str(refused.value)
    with pytest.raises(TransitionNotAllowed, match="none"):
        order(status=S.PAID).advanced(S.CANCELLED, at=NOON, by_staff=False)


def test_the_tables_of_moves_are_the_ones_above() -> None:
    assert {(a, b) for a, moves in TRANSITIONS.items() for b in moves} == ALLOWED_TO_STAFF
    assert {(a, b) for a, moves in OWNER_TRANSITIONS.items() for b in moves} == ALLOWED_TO_THE_OWNER
    assert set(GIVEN_BACK) == {status for status in S if not TRANSITIONS[status]}


def test_a_paid_order_knows_its_payment() -> None:
    later = NOON + timedelta(hours=1)
    paid = order().paid(reference="pay-1", at=later)
    assert (paid.status, paid.payment_reference, paid.version) == (S.PAID, "pay-1", 2)
    assert paid.modified_at == later
    with pytest.raises(TransitionNotAllowed):
        paid.paid(reference="pay-1", at=later)


@pytest.mark.parametrize("status", S)
def test_only_a_placed_order_gets_other_lines(status: S) -> None:
    kept = order_line(1, price=money(900))
    before, products = order(status=status, lines=(kept,)), {1: product(1), 2: product(2)}
    if status is S.PLACED:
        after = before.amended({2: 7, 1: 3}, products, at=NOON + timedelta(hours=1))
        assert (after.version, after.digest) == (2, before.digest)
        assert after.modified_at == NOON + timedelta(hours=1)
        assert after.lines == (
            order_line(2, quantity=7, price=products[2].price),
            order_line(1, quantity=1, price=money(900)),
            order_line(1, quantity=2, price=products[1].price),
        )
    else:
        with pytest.raises(NotAmendable):
            before.amended({2: 7}, products, at=NOON)


def test_pieces_of_equal_price_are_one_line_whatever_they_are_called() -> None:
    before = order(lines=(order_line(1, price=money(900)), order_line(1, price=money(800))))
    renamed = replace(product(1, price=money(900)), name="Kettle")
    after = before.amended({1: 5}, {1: renamed}, at=NOON)
    assert after.lines == (
        order_line(1, quantity=1, price=money(800)),
        order_line(1, quantity=4, price=money(900)),
    )


def test_lines_at_several_prices_count_towards_the_hundred() -> None:
    numbers = range(1, LINES_MAX + 1)
    before = order(lines=tuple(order_line(n, price=money(900)) for n in numbers))
    products = {n: product(n, price=money(1000)) for n in numbers}
    once_each = dict.fromkeys(numbers, 1)
    with pytest.raises(InvalidField) as refused:
        before.amended({**once_each, 7: 2}, products, at=NOON)
    [error] = refused.value.context["errors"]
    assert error["field"] == "items"
    assert "101 lines" in error["message"]
    fewer = {n: 1 for n in numbers if n > 1}
    assert len(before.amended({**fewer, 7: 2}, products, at=NOON).lines) == LINES_MAX


def pieces_of(placed: Order, *, out: bool = False) -> dict[int, list[int]]:
    """The price of each piece by product, in the order of the lines."""
    pieces: dict[int, list[int]] = {}
    for line in placed.lines:
        many = line.out if out else line.quantity
        pieces.setdefault(line.product_id, []).extend([line.price.amount] * many)
    return pieces


quantities = st.dictionaries(st.integers(1, 3), st.integers(1, 5), min_size=1)
prices_of_now = st.fixed_dictionaries({n: st.integers(10, 12) for n in (1, 2, 3)})


@settings(deadline=None)
@given(st.lists(st.tuples(quantities, prices_of_now), min_size=2, max_size=6), quantities)
def test_no_piece_gets_another_price_and_the_last_added_leave_first(
    amendments: list[tuple[dict[int, int], dict[int, int]]], coming_back: dict[int, int]
) -> None:
    (wanted, now), *later = amendments
    products = {n: product(n, price=money(price)) for n, price in now.items()}
    placed = Order.place(request(*wanted.items()), products, code="0" * 12, at=NOON)
    for wanted, now in later:
        products = {n: product(n, price=money(price)) for n, price in now.items()}
        before = pieces_of(placed)
        placed = placed.amended(wanted, products, at=NOON)
        assert placed.out == wanted
        for number, quantity in wanted.items():
            had, has = before.get(number, []), pieces_of(placed)[number]
            if quantity <= len(had):
                assert has == had[:quantity]
            else:
                assert sorted(has) == sorted(had + [now[number]] * (quantity - len(had)))
                # Who takes away what they added has what they had.
                assert sorted(has[: len(had)]) == sorted(had)
        told_apart = [(line.product_id, line.price.amount) for line in placed.lines]
        assert len(set(told_apart)) == len(told_apart)

    before, out = pieces_of(placed), placed.out
    some = {n: back for n, many in coming_back.items() if (back := min(many, out.get(n, 0)))}
    after = replace(placed, status=S.SHIPPED).given_back(some, at=NOON)
    assert pieces_of(after) == before
    left = pieces_of(after, out=True)
    for number, prices in before.items():
        assert left[number] == prices[: len(prices) - some.get(number, 0)]
    assert after.kept_total.amount == sum(sum(prices) for prices in left.values())


def test_the_total_is_what_its_buyer_expects_or_they_are_told_the_lines_of_today() -> None:
    lines = (order_line(1, quantity=3, price=money(1205)), order_line(2, price=money(1)))
    placed = order(lines=lines)
    for as_expected in (None, Decimal("36.16"), Decimal("36.160"), Decimal("036.16")):
        assert placed.refusal_unless(as_expected) is None
    refusal = placed.refusal_unless(Decimal("36.15"))
    assert refusal is not None
    assert refusal.context == {
        "total": "36.16",
        "currency": "EUR",
        "items": [
            {"product_id": 1, "quantity": 3, "price": "12.05", "total": "36.15"},
            {"product_id": 2, "quantity": 1, "price": "0.01", "total": "0.01"},
        ],
    }


def test_what_is_expected_says_nothing_of_what_is_wanted() -> None:
    plain = request((1, 2))
    assert replace(plain, expected_total=Decimal(5)).digest == plain.digest


def test_nothing_is_out_or_kept_of_what_is_cancelled() -> None:
    cancelled = order(status=S.CANCELLED, lines=(order_line(1, quantity=3),))
    assert (cancelled.out, cancelled.kept_total, cancelled.total) == ({}, money(0), money(3600))


def test_what_came_back_is_not_out_any_more() -> None:
    lines = (order_line(1, quantity=3), order_line(2, quantity=1))
    shipped = order(status=S.SHIPPED, lines=lines)
    assert shipped.out == {1: 3, 2: 1}
    some = shipped.given_back({1: 2, 2: 1}, at=NOON)
    assert (some.out, some.status, some.version) == ({1: 1}, S.SHIPPED, 2)
    assert some.total == shipped.total
    assert some.kept_total == money(1200)
    whole = some.given_back({1: 1}, at=NOON)
    assert (whole.out, whole.status, whole.version) == ({}, S.RETURNED, 3)


def test_more_than_is_out_cannot_come_back() -> None:
    shipped = order(status=S.SHIPPED, lines=(order_line(1, quantity=3),))
    with pytest.raises(NotOut) as refused:
        shipped.given_back({1: 4, 2: 1}, at=NOON)
    assert refused.value.context["lines"] == [
        {"product_id": 1, "requested": 4, "available": 3},
        {"product_id": 2, "requested": 1, "available": 0},
    ]


@pytest.mark.parametrize("status", S)
def test_only_what_has_left_the_house_comes_back(status: S) -> None:
    before = order(status=status)
    if status in (S.SHIPPED, S.DELIVERED):
        assert before.given_back({1: 1}, at=NOON).status is S.RETURNED
    else:
        with pytest.raises(TransitionNotAllowed):
            before.given_back({1: 1}, at=NOON)


def test_a_version_is_checked_where_one_is_expected() -> None:
    order().check_version(None)
    order().check_version([1, 5])
    for expected in ([], [2]):
        with pytest.raises(OrderChanged):
            order().check_version(expected)


def test_repeated_lines_add_up_in_order_of_first_mention() -> None:
    assert list(request((7, 1), (3, 2), (7, 4)).wanted.items()) == [(7, 5), (3, 2)]


@pytest.mark.parametrize("lines", [1, LINES_MAX])
def test_an_order_has_one_to_a_hundred_lines(lines: int) -> None:
    assert len(request(*[(n, 1) for n in range(lines)]).wanted) == lines


@pytest.mark.parametrize("lines", [0, LINES_MAX + 1])
def test_an_order_without_lines_or_with_too_many_is_refused(lines: int) -> None:
    with pytest.raises(InvalidField) as refused:
        add_up(items(*[(n, 1) for n in range(lines)]))
    assert refused.value.context["errors"][0]["field"] == "items"


@pytest.mark.parametrize("quantity", [1, QUANTITY_MAX])
def test_a_line_is_for_one_to_a_million_pieces(quantity: int) -> None:
    assert request((1, quantity)).wanted == {1: quantity}


@pytest.mark.parametrize("quantity", [0, -1, QUANTITY_MAX + 1, 2**64])
def test_a_quantity_out_of_range_is_refused_at_its_line(quantity: int) -> None:
    with pytest.raises(InvalidField) as refused:
        request((1, 1), (2, quantity))
    assert refused.value.context["errors"][0]["field"] == "items.1.quantity"


def test_the_positions_of_a_product_are_those_of_the_request() -> None:
    wish = items((1, 1), (2, 1), (1, 1), (3, 1))
    refusal = refusal_of(wish, add_up(wish), Shelf({2: product(2), 3: product(3, archived=True)}))
    assert refusal is not None
    assert refusal.context["errors"] == [
        {"field": f"items.{position}.product_id", "message": "no such product"}
        for position in (0, 2, 3)
    ]


def test_prices_in_several_currencies_make_no_order() -> None:
    wish = items((1, 1), (2, 1))
    euros, yen = product(1), product(2, price=money(1200, "JPY"))
    assert isinstance(refusal_of(wish, add_up(wish), Shelf({1: euros, 2: yen})), MixedCurrencies)
    with pytest.raises(MixedCurrencies, match="EUR and JPY"):
        order(lines=(order_line(1), order_line(2, price=yen.price)))


def test_more_than_an_order_may_have_is_refused_with_the_number() -> None:
    wish = items((1, 2), (2, 3), (1, 1))
    shelf = Shelf({1: product(1, max_per_order=2), 2: product(2, max_per_order=3)})
    refusal = refusal_of(wish, add_up(wish), shelf)
    assert isinstance(refusal, OverMaxPerOrder)
    assert "2 of product 1" in str(refusal)
    assert refusal.context["lines"] == [
        {"product_id": 1, "requested": 3, "available": 2, "max_per_order": 2}
    ]
    assert refusal_of(wish, add_up(wish), shelf, held={1: 3}) is None


@pytest.mark.parametrize("same", [((1, 2), (2, 3)), ((2, 3), (1, 2)), ((1, 1), (2, 3), (1, 1))])
def test_the_same_content_has_the_same_digest(same: tuple[tuple[int, int], ...]) -> None:
    assert request(*same).digest == request((1, 2), (2, 3)).digest


@pytest.mark.parametrize(
    "other", [((1, 2),), ((1, 3), (2, 2)), ((1, 2), (2, 3), (3, 1)), ((12, 3),), ((1, 23),)]
)
def test_other_content_has_another_digest(other: tuple[tuple[int, int], ...]) -> None:
    assert request(*other).digest != request((1, 2), (2, 3)).digest


def test_a_repeat_is_the_same_content_from_the_same_user() -> None:
    placed = order(user_id=1)
    assert placed.is_repeat(request((1, 1), user_id=1))
    assert not placed.is_repeat(request((1, 2), user_id=1))
    assert not placed.is_repeat(request((1, 1), user_id=2))


def test_a_key_stands_for_one_id_of_its_user() -> None:
    assert keyed_order_id(1, "k") == keyed_order_id(1, "k")
    ids = {keyed_order_id(1, "k"), keyed_order_id(2, "k"), keyed_order_id(1, "K")}
    assert len(ids) == 3


def test_user_and_key_do_not_run_into_each_other() -> None:
    assert keyed_order_id(1, "1\x002") != keyed_order_id(11, "\x002")
    assert keyed_order_id(1, "23") != keyed_order_id(12, "3")


@pytest.mark.parametrize("key", ["", "k", "x" * 255, "ключ"])
def test_a_keyed_id_says_that_it_is_one(key: str) -> None:
    keyed = keyed_order_id(1, key)
    assert (keyed.version, keyed.variant) == (KEPT_ID_VERSION, RFC_4122)
    assert UUID(str(keyed)) == keyed


@pytest.mark.parametrize("number", [1, 42, 2**31, MOVED_NUMBER_MAX])
def test_a_moved_id_says_that_it_is_one_and_of_which_number(number: int) -> None:
    moved = moved_order_id(number)
    assert (moved.version, moved.variant) == (KEPT_ID_VERSION, RFC_4122)
    assert moved.bytes[:6] == b"django"
    assert UUID(str(moved)) == moved
    assert moved_order_number(moved) == number


def test_a_moved_id_never_changes() -> None:
    assert moved_order_id(42) == UUID("646a616e-676f-8000-8000-00000000002a")


def test_moved_ids_sort_by_their_numbers() -> None:
    numbers = [1, 2, 255, 256, 2**32, MOVED_NUMBER_MAX]
    assert sorted(map(moved_order_id, reversed(numbers))) == list(map(moved_order_id, numbers))


@pytest.mark.parametrize("rest", [0, 1, 42, 2**80 - 1, MOVED_NUMBER_MAX])
def test_no_key_stands_for_a_moved_id(monkeypatch: pytest.MonkeyPatch, rest: int) -> None:
    """Not even where a digest begins as all moved ids do, of which one in 2^48 does."""
    unlucky = (int.from_bytes(b"django") << 80 | rest).to_bytes(16) + bytes(16)

    class Unlucky:
        def digest(self) -> bytes:
            return unlucky

    monkeypatch.setattr(hashlib, "sha256", lambda _: Unlucky())
    keyed = keyed_order_id(1, "k")
    assert (keyed.version, keyed.variant) == (KEPT_ID_VERSION, RFC_4122)
    assert keyed.bytes[:6] != b"django"


def test_a_key_stands_for_the_id_that_it_always_stood_for() -> None:
    """An order placed by an older release is found again by its key."""
    assert keyed_order_id(7, "k") == UUID("6f6942a3-b961-87b1-ad88-1e8881eb37c4")


def test_a_total_is_the_sum_of_the_lines() -> None:
    lines = (
        order_line(1, quantity=3, price=money(1205)),
        order_line(2, quantity=1, price=money(1)),
    )
    placed = order(lines=lines)
    assert lines[0].total == money(3615)
    assert placed.total == money(3616)


def test_the_newest_order_has_the_highest_key() -> None:
    old, new = order(2, created_at=NOON), order(1, created_at=NOON + timedelta(seconds=1))
    assert old.key < new.key
    assert order(1).key < order(2).key


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ABCDEFGH1234", "ABCDEFGH1234"),
        ("abcdefgh1234", "ABCDEFGH1234"),
        (" abcd-efgh-1234 ", "ABCDEFGH1234"),
        ("ABC DEF GH1 234", "ABCDEFGH1234"),
        ("abcdefghil0o", "ABCDEFGH1100"),
        ("", None),
        ("ABCDEFGH123", None),
        ("ABCDEFGH12345", None),
        ("ABCDEFGH123!", None),
        ("ÄBCDEFGH1234", None),
        ("ABCDEFGH123ß", None),
    ],
)
def test_a_code_is_known_however_it_is_read_out(text: str, code: str | None) -> None:
    assert code_from(text) == code


def test_every_code_that_is_made_is_known() -> None:
    for _ in range(100):
        code = new_order_code()
        assert code_from(code.lower()) == code

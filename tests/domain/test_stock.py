"""The shelf: every change of stock is a movement, and nothing goes below zero."""

import pytest

from shop.domain.errors import InvalidField, OutOfStock, OverMax, Shortage
from shop.domain.products import STOCK_MAX
from shop.domain.stock import Reason, Shelf, StockAudit
from tests.builders import NOON, order_id, product


def shelf(**stock: int) -> Shelf:
    """Products by number: `shelf(p1=5)` holds five pieces of product 1."""
    return Shelf({int(name[1:]): product(int(name[1:]), stock=n) for name, n in stock.items()})


def test_what_leaves_is_written_down_with_the_balance_after_it() -> None:
    tea = shelf(p1=5)
    tea.move(1, -2, Reason.ORDER, at=NOON, actor_id=7, order_id=order_id(1))
    tea.move(1, -3, Reason.ORDER, at=NOON)
    tea.move(1, 4, Reason.RESTOCK, at=NOON, note="lorry")
    assert [(m.quantity, m.balance) for m in tea.movements] == [(-2, 3), (-3, 0), (4, 4)]
    first = tea.movements[0]
    assert (first.actor_id, first.order_id, first.reason) == (7, order_id(1), Reason.ORDER)
    assert tea.on_hand(1) == 4


def test_the_last_piece_can_be_taken_and_not_one_more() -> None:
    tea = shelf(p1=1)
    tea.move(1, -1, Reason.ORDER, at=NOON)
    with pytest.raises(OutOfStock) as refused:
        tea.move(1, -1, Reason.ORDER, at=NOON)
    assert refused.value.context["lines"] == [{"product_id": 1, "requested": 1, "available": 0}]
    assert tea.on_hand(1) == 0
    assert len(tea.movements) == 1


def test_the_shelf_is_not_filled_above_the_limit() -> None:
    full = shelf(p1=STOCK_MAX - 1)
    full.move(1, 1, Reason.RESTOCK, at=NOON)
    with pytest.raises(InvalidField):
        full.move(1, 1, Reason.RESTOCK, at=NOON)
    assert full.on_hand(1) == STOCK_MAX


@pytest.mark.parametrize("restock", [True, False])
def test_what_an_order_gives_back_has_room_on_a_full_shelf(restock: bool) -> None:
    full = shelf(p1=STOCK_MAX)
    full.give_back(
        {1: 2}, Reason.CANCEL, restock=restock, at=NOON, actor_id=7, order_id=order_id(1)
    )
    assert full.on_hand(1) == STOCK_MAX + (2 if restock else 0)
    full.move(1, 1, Reason.AMEND, at=NOON)
    full.move(1, -1, Reason.CORRECTION, at=NOON)
    with pytest.raises(InvalidField):
        full.move(1, 1, Reason.CORRECTION, at=NOON)


def test_an_order_gets_no_more_than_it_may_and_keeps_what_it_has() -> None:
    limited = product(1, stock=9, max_per_order=5)
    tea = Shelf({1: limited, 2: product(2, stock=9)})
    assert tea.over_max({2: 9, 1: 5}, {}) == []
    assert tea.over_max({2: 9, 1: 6}, {}) == [
        OverMax(product_id=1, requested=6, available=5, max_per_order=5)
    ]
    assert tea.over_max({1: 7}, {1: 7}) == []
    assert tea.over_max({1: 8}, {1: 7}) == [
        OverMax(product_id=1, requested=8, available=7, max_per_order=5)
    ]
    few = Shelf({1: product(1, stock=2, max_per_order=5)})
    assert few.over_max({1: 6}, {})[0].available == 2
    # What the order holds is there for it.
    assert few.over_max({1: 6}, {1: 1})[0].available == 3


def test_every_shortage_is_named_in_the_order_of_the_wish() -> None:
    tea = shelf(p1=1, p2=2, p3=3)
    assert tea.shortages({3: 9, 2: 2, 1: 2}, {}) == [
        Shortage(product_id=3, requested=9, available=3),
        Shortage(product_id=1, requested=2, available=1),
    ]
    assert tea.shortages({1: 1, 2: 2, 3: 3}, {}) == []
    assert tea.shortages({3: 9, 1: 2}, {1: 1, 3: 5}) == [
        Shortage(product_id=3, requested=9, available=8)
    ]


def test_a_movement_of_nothing_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        shelf(p1=1).move(1, 0, Reason.RESTOCK, at=NOON)


@pytest.mark.parametrize("restock", [True, False])
def test_what_comes_back_is_put_on_the_shelf_and_may_be_written_off(restock: bool) -> None:
    tea = shelf(p1=5, p2=0)
    tea.give_back(
        {2: 3, 1: 1},
        Reason.RETURN,
        restock=restock,
        at=NOON,
        actor_id=7,
        order_id=order_id(1),
        note="broken",
    )
    assert (tea.on_hand(1), tea.on_hand(2)) == ((6, 3) if restock else (5, 0))
    back = [(2, 3, 3, Reason.RETURN), (1, 1, 6, Reason.RETURN)]
    if not restock:
        back.insert(1, (2, -3, 0, Reason.WRITE_OFF))
        back.append((1, -1, 5, Reason.WRITE_OFF))
    assert [(m.product_id, m.quantity, m.balance, m.reason) for m in tea.movements] == back
    assert {(m.actor_id, m.order_id, m.note) for m in tea.movements} == {(7, order_id(1), "broken")}


def test_nothing_is_said_of_what_comes_back_unless_somebody_says_it() -> None:
    tea = shelf(p1=5)
    tea.give_back({1: 1}, Reason.RETURN, restock=False, at=NOON, actor_id=7, order_id=order_id(1))
    assert [movement.note for movement in tea.movements] == ["", ""]


@pytest.mark.parametrize(
    ("on_hand", "movements_sum", "last_balance", "sound"),
    [
        (3, 3, 3, True),
        (0, 0, 0, True),
        (2, 3, 3, False),
        (3, 2, 3, False),
        (3, 3, 2, False),
        (-1, -1, -1, False),
    ],
)
def test_stock_is_sound_when_the_three_accounts_agree(
    on_hand: int, movements_sum: int, last_balance: int, sound: bool
) -> None:
    audit = StockAudit(
        product_id=1,
        sku="A",
        on_hand=on_hand,
        movements_sum=movements_sum,
        last_balance=last_balance,
    )
    assert audit.is_sound is sound

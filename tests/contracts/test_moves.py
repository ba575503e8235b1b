"""The life of an order: each move that is allowed, each that is not, and what it leaves behind."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from shop.domain.errors import (
    InvalidField,
    NotOut,
    OrderChanged,
    OrderNotFound,
    PaymentReferenceTaken,
    StaffOnly,
    TransitionNotAllowed,
)
from shop.domain.orders import (
    OWNER_TRANSITIONS,
    PAYMENT_REFERENCE_LENGTH_MAX,
    TRANSITIONS,
    Order,
    OrderStatus,
)
from shop.domain.products import Product
from shop.domain.stock import NOTE_LENGTH_MAX, Reason
from shop.domain.users import OPERATOR, Caller
from tests.builders import items
from tests.stores import Store
from tests.use_cases import UseCases

S = OrderStatus
MINUTE = timedelta(minutes=1)

WAYS: dict[S, tuple[S, ...]] = {
    S.PLACED: (),
    S.PAID: (S.PAID,),
    S.SHIPPED: (S.PAID, S.SHIPPED),
    S.DELIVERED: (S.PAID, S.SHIPPED, S.DELIVERED),
    S.CANCELLED: (S.CANCELLED,),
    S.RETURNED: (S.PAID, S.SHIPPED, S.RETURNED),
}
"""How an order gets into each status."""
TARGETS = [status for status in S if status is not S.PLACED]


class Life:
    """A shop, its people, and two products of which every order wants some."""

    def __init__(
        self, shop: UseCases, *, owner: Caller, boss: Caller, teapot: Product, cup: Product
    ) -> None:
        self.shop = shop
        self.owner, self.boss = owner, boss
        self.teapot, self.cup = teapot, cup

    async def order(self, status: S = S.PLACED) -> Order:
        """Three teapots and two cups, moved along until it is in this status."""
        wanted = items((self.teapot.id, 3), (self.cup.id, 2))
        placing = self.shop.container.place_order()(caller=self.owner, items=wanted)
        order = (await placing).order
        for to in WAYS[status]:
            self.shop.clock.advance(MINUTE)
            order = await self.move(order.id, to)
        return order

    async def move(
        self, order_id: UUID, to: S, *, by: Caller | None = None, note: str = ""
    ) -> Order:
        caller = by or self.boss
        match to:
            case S.PAID:
                return await self.shop.container.pay_order()(
                    caller=caller, order_id=order_id, note=note
                )
            case S.CANCELLED:
                return await self.shop.container.cancel_order()(
                    caller=caller, order_id=order_id, note=note
                )
            case S.RETURNED:
                return await self.shop.container.return_order()(
                    caller=caller, order_id=order_id, note=note
                )
            case _:
                return await self.shop.container.advance_order()(
                    caller=caller, order_id=order_id, to=to, note=note
                )

    async def stored(self, order: Order) -> Order:
        return await self.shop.container.read_order()(caller=self.boss, order_id=order.id)

    async def stock(self) -> tuple[int, int]:
        return await self.shop.stock_of(self.teapot), await self.shop.stock_of(self.cup)


@pytest.fixture
async def life(shop: UseCases) -> Life:
    return Life(
        shop,
        owner=await shop.given_customer(),
        boss=await shop.given_staff(),
        teapot=await shop.given_product(60),
        cup=await shop.given_product(60),
    )


@pytest.mark.parametrize("status", S)
async def test_an_order_goes_where_the_table_lets_it_and_nowhere_else(
    life: Life, status: S
) -> None:
    for to in TARGETS:
        await assert_moves(life, status, to, by=life.boss, moves=TRANSITIONS)
    await assert_moves(life, status, S.CANCELLED, by=life.owner, moves=OWNER_TRANSITIONS)
    assert await life.shop.differences() == []


async def assert_moves(
    life: Life, status: S, to: S, *, by: Caller, moves: Mapping[S, Sequence[S]]
) -> None:
    before = await life.order(status)
    history, stock = await life.shop.history_of(before.id), await life.stock()
    life.shop.clock.advance(MINUTE)
    if to in moves.get(status, ()):
        after = await life.move(before.id, to, by=by, note="why")
        assert (after.status, after.version) == (to, before.version + 1)
        assert (after.modified_at, after.created_at) == (life.shop.clock(), before.created_at)
        event = (await life.shop.history_of(before.id))[-1]
        assert (event.from_status, event.to_status, event.actor_id) == (status, to, by.user_id)
        assert (event.note, event.at) == ("why", life.shop.clock())
        history = [*history, event]
        if to in (S.CANCELLED, S.RETURNED):
            stock = (stock[0] + 3, stock[1] + 2)
    elif to is status:
        after = await life.move(before.id, to, by=by, note="again")
        assert after == before
    else:
        with pytest.raises(TransitionNotAllowed) as refused:
            await life.move(before.id, to, by=by)
        assert refused.value.context["order_status"] == status
        assert refused.value.context["allowed"] == list(moves.get(status, ()))
        after = before
    assert await life.stored(before) == after
    assert await life.shop.history_of(before.id) == history
    assert await life.stock() == stock


async def test_what_is_for_staff_is_refused_before_the_order_is_looked_at(life: Life) -> None:
    order = await life.order()
    for to in set(TARGETS) - {S.CANCELLED}:
        for order_id in (order.id, UUID(int=404)):
            with pytest.raises(StaffOnly):
                await life.move(order_id, to, by=life.owner)
    assert await life.stored(order) == order


async def test_an_order_that_is_not_there_or_not_ones_own_is_not_found(life: Life) -> None:
    order = await life.order()
    with pytest.raises(OrderNotFound):
        await life.move(order.id, S.CANCELLED, by=await life.shop.given_customer())
    for to in TARGETS:
        with pytest.raises(OrderNotFound):
            await life.move(UUID(int=404), to)
    assert await life.stored(order) == order


async def test_a_note_that_is_no_line_of_text_moves_nothing(life: Life) -> None:
    for to in TARGETS:
        order = await life.order(WAYS[to][-2] if len(WAYS[to]) > 1 else S.PLACED)
        for note in ("x" * (NOTE_LENGTH_MAX + 1), "a\nb", "a\x00b", "\ud800"):
            with pytest.raises(InvalidField) as refused:
                await life.move(order.id, to, note=note)
            assert refused.value.context["errors"][0]["field"] == "note"
        assert await life.stored(order) == order
        await life.move(order.id, to, note="x" * NOTE_LENGTH_MAX)


async def test_a_whole_life_is_in_the_history(life: Life) -> None:
    order = await life.order()
    await life.shop.amend_order(
        caller=life.owner, order_id=order.id, items=items((life.teapot.id, 3))
    )
    for to in (S.PAID, S.SHIPPED, S.DELIVERED, S.RETURNED):
        await life.move(order.id, to, note=f"now {to.value}" if to is not S.RETURNED else "")
    assert [
        (e.from_status, e.to_status, e.actor_id, e.note)
        for e in await life.shop.history_of(order.id)
    ] == [
        (S.PLACED, S.PLACED, life.owner.user_id, "amended"),
        (S.PLACED, S.PAID, life.boss.user_id, "now paid"),
        (S.PAID, S.SHIPPED, life.boss.user_id, "now shipped"),
        (S.SHIPPED, S.DELIVERED, life.boss.user_id, "now delivered"),
        (S.DELIVERED, S.RETURNED, life.boss.user_id, f"returned 3 of product {life.teapot.id}"),
    ]


# --- giving back ---


@pytest.mark.parametrize("restock", [True, False])
@pytest.mark.parametrize(
    ("status", "to", "reason"),
    [
        (S.PLACED, S.CANCELLED, Reason.CANCEL),
        (S.PAID, S.CANCELLED, Reason.CANCEL),
        (S.SHIPPED, S.RETURNED, Reason.RETURN),
        (S.DELIVERED, S.RETURNED, Reason.RETURN),
    ],
)
async def test_what_is_given_back_is_sold_again_or_written_off(
    life: Life, store: Store, status: S, to: S, reason: Reason, restock: bool
) -> None:
    order = await life.order(status)
    if to is S.CANCELLED:
        await life.shop.cancel_order(
            caller=life.boss, order_id=order.id, restock=restock, note="broken"
        )
    else:
        await life.shop.return_order(
            caller=life.boss, order_id=order.id, restock=restock, note="broken"
        )
    assert await life.stock() == ((60, 60) if restock else (57, 58))
    ledger = [m for m in await store.movements(order_id=order.id) if m.reason is not Reason.ORDER]
    expected = [(life.teapot.id, 3, reason), (life.cup.id, 2, reason)]
    if not restock:
        expected.insert(1, (life.teapot.id, -3, Reason.WRITE_OFF))
        expected.insert(3, (life.cup.id, -2, Reason.WRITE_OFF))
    assert [(m.product_id, m.quantity, m.reason) for m in ledger] == expected
    assert {(m.note, m.actor_id, m.at) for m in ledger} == {
        ("broken", life.boss.user_id, life.shop.clock())
    }
    assert await life.shop.differences() == []


async def test_only_staff_writes_off(life: Life) -> None:
    order = await life.order()
    with pytest.raises(StaffOnly):
        await life.shop.cancel_order(caller=life.owner, order_id=order.id, restock=False)
    assert await life.stored(order) == order
    assert await life.stock() == (57, 58)


async def test_an_order_comes_back_bit_by_bit_until_nothing_is_out(
    life: Life, store: Store
) -> None:
    order = await life.order(S.SHIPPED)
    steps: list[tuple[tuple[tuple[int, int], ...], bool, dict[int, int], S]] = [
        (((life.teapot.id, 1),), True, {life.teapot.id: 2, life.cup.id: 2}, S.SHIPPED),
        (((life.cup.id, 1), (life.cup.id, 1)), True, {life.teapot.id: 2}, S.SHIPPED),
        (((life.teapot.id, 1),), False, {life.teapot.id: 1}, S.SHIPPED),
        (((life.teapot.id, 1),), True, {}, S.RETURNED),
    ]
    for wanted, restock, out, status in steps:
        before = order
        order = await life.shop.return_order(
            caller=life.boss, order_id=order.id, items=items(*wanted), restock=restock
        )
        assert (order.out, order.status, order.version) == (out, status, before.version + 1)
        assert await life.stored(order) == order
        event = (await life.shop.history_of(order.id))[-1]
        assert (event.from_status, event.to_status) == (before.status, status)
        assert await life.shop.differences() == []
    assert await life.stock() == (59, 60)
    assert [(line.quantity, line.returned) for line in order.lines] == [(3, 3), (2, 2)]
    ledger = await store.movements(order_id=order.id)
    assert [m.reason for m in ledger].count(Reason.WRITE_OFF) == 1


async def test_the_rest_comes_back_when_no_items_are_named(life: Life) -> None:
    order = await life.order(S.DELIVERED)
    some = items((life.teapot.id, 2))
    partly = await life.shop.return_order(caller=life.boss, order_id=order.id, items=some)
    assert partly.status is S.DELIVERED
    whole = await life.shop.return_order(caller=life.boss, order_id=order.id)
    assert (whole.status, whole.out) == (S.RETURNED, {})
    assert await life.stock() == (60, 60)
    assert await life.shop.differences() == []


@pytest.mark.parametrize("status", [S.SHIPPED, S.DELIVERED])
async def test_more_than_is_out_does_not_come_back(life: Life, status: S) -> None:
    order = await life.order(status)
    await life.shop.return_order(
        caller=life.boss, order_id=order.id, items=items((life.teapot.id, 1))
    )
    before, stock = await life.stored(order), await life.stock()
    other = await life.shop.given_product(5)
    wanted = items((life.teapot.id, 3), (life.cup.id, 1), (other.id, 1), (404, 2))
    with pytest.raises(NotOut) as refused:
        await life.shop.return_order(caller=life.boss, order_id=order.id, items=wanted)
    assert refused.value.context["lines"] == [
        {"product_id": life.teapot.id, "requested": 3, "available": 2},
        {"product_id": other.id, "requested": 1, "available": 0},
        {"product_id": 404, "requested": 2, "available": 0},
    ]
    assert await life.stored(order) == before
    assert await life.stock() == stock
    assert await life.shop.differences() == []


async def test_a_returned_order_has_no_items_left_to_return(life: Life) -> None:
    order = await life.order(S.RETURNED)
    with pytest.raises(TransitionNotAllowed):
        await life.shop.return_order(
            caller=life.boss, order_id=order.id, items=items((life.teapot.id, 1))
        )


async def test_a_return_holds_for_the_versions_expected(life: Life) -> None:
    order = await life.order(S.SHIPPED)
    with pytest.raises(OrderChanged):
        await life.shop.return_order(
            caller=life.boss, order_id=order.id, expected_versions=[order.version - 1]
        )
    assert await life.stored(order) == order
    back = await life.shop.return_order(
        caller=life.boss, order_id=order.id, expected_versions=[1, order.version]
    )
    assert back.status is S.RETURNED


async def test_what_was_archived_comes_back_too(life: Life) -> None:
    order = await life.order(S.SHIPPED)
    await life.shop.archive_product(caller=OPERATOR, product_id=life.teapot.id)
    await life.shop.return_order(caller=life.boss, order_id=order.id)
    assert (await life.shop.find_product(caller=OPERATOR, sku=life.teapot.sku)).stock == 60


# --- paying ---


async def test_a_payment_may_be_told_of_twice(life: Life) -> None:
    order = await life.order()
    paid = await life.shop.pay_order(caller=life.boss, order_id=order.id, reference=" pay-1 ")
    assert paid.payment_reference == "pay-1"
    assert await life.stored(order) == paid
    for reference in ("pay-1", None):
        again = await life.shop.pay_order(caller=life.boss, order_id=order.id, reference=reference)
        assert again == paid
    assert len(await life.shop.history_of(order.id)) == 1


@pytest.mark.parametrize("status", [S.SHIPPED, S.DELIVERED, S.RETURNED, S.CANCELLED])
async def test_a_payment_may_be_told_of_again_when_the_order_has_gone_on(
    life: Life, status: S
) -> None:
    order = await life.order()
    await life.shop.pay_order(caller=life.boss, order_id=order.id, reference="pay-1")
    for step in WAYS[status][1:] or WAYS[status]:
        order = await life.move(order.id, step)
    again = await life.shop.pay_order(caller=life.boss, order_id=order.id, reference="pay-1")
    assert again == order == await life.stored(order)


async def test_an_order_is_paid_by_one_payment(life: Life) -> None:
    order = await life.order()
    paid = await life.shop.pay_order(caller=life.boss, order_id=order.id, reference="pay-1")
    with pytest.raises(PaymentReferenceTaken, match="pay-2"):
        await life.shop.pay_order(caller=life.boss, order_id=order.id, reference="pay-2")
    assert await life.stored(order) == paid
    unnamed = await life.order(S.PAID)
    with pytest.raises(PaymentReferenceTaken):
        await life.shop.pay_order(caller=life.boss, order_id=unnamed.id, reference="pay-3")


async def test_a_payment_pays_one_order(life: Life) -> None:
    first, second = await life.order(), await life.order()
    await life.shop.pay_order(caller=life.boss, order_id=first.id, reference="pay-1")
    with pytest.raises(PaymentReferenceTaken, match="pay-1"):
        await life.shop.pay_order(caller=life.boss, order_id=second.id, reference="pay-1")
    assert await life.stored(second) == second
    assert await life.shop.history_of(second.id) == []
    # Many orders are paid by what has no name.
    await life.shop.pay_order(caller=life.boss, order_id=second.id)
    assert (await life.order(S.PAID)).payment_reference is None


async def test_the_payment_stays_with_the_order_for_life(life: Life) -> None:
    order = await life.order()
    await life.shop.pay_order(caller=life.boss, order_id=order.id, reference="pay-1")
    await life.move(order.id, S.SHIPPED)
    assert (await life.move(order.id, S.RETURNED)).payment_reference == "pay-1"
    assert (await life.stored(order)).payment_reference == "pay-1"


async def test_a_payment_reference_is_a_line_of_text(life: Life) -> None:
    order = await life.order()
    for reference in ("", " ", "x" * (PAYMENT_REFERENCE_LENGTH_MAX + 1), "a\nb"):
        with pytest.raises(InvalidField) as refused:
            await life.shop.pay_order(caller=life.boss, order_id=order.id, reference=reference)
        assert refused.value.context["errors"][0]["field"] == "reference"
    longest = "x" * PAYMENT_REFERENCE_LENGTH_MAX
    await life.shop.pay_order(caller=life.boss, order_id=order.id, reference=longest)


async def test_what_staff_does_is_audited_and_what_owners_do_to_their_own_is_not(
    life: Life,
) -> None:
    order = await life.order(S.DELIVERED)
    await life.move(order.id, S.RETURNED)
    other = await life.order()
    await life.move(other.id, S.CANCELLED, by=life.owner)
    assert [
        (event, fields["user"], fields["order"])
        for event, fields in life.shop.audit.events
        if event.startswith("order.")
    ] == [
        (f"order.{name}", life.boss.user_id, order.id)
        for name in ("paid", "shipped", "delivered", "returned")
    ]

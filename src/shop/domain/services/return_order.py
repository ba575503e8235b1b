"""Taking an order back, whole or in part."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from shop.domain.keys import KeyedRequest
from shop.domain.orders import Order, OrderItem, OrderStatus, add_up
from shop.domain.services.books import Books, Change, ChangeIntake
from shop.domain.services.change_order import clean_note
from shop.domain.stock import Reason
from shop.domain.users import Caller


@dataclass(frozen=True, kw_only=True)
class ReturnOrder:
    intake: ChangeIntake

    async def __call__(
        self,
        *,
        caller: Caller,
        order_id: UUID,
        items: Sequence[OrderItem] | None = None,
        restock: bool = True,
        note: str = "",
        expected_versions: Collection[int] | None = None,
        key: KeyedRequest | None = None,
    ) -> Order:
        """The order without what came back, which is all that is out when no items are named.

        It is `returned` when nothing is out any more; taking back all of a returned order again
        answers with it as it is. Without `restock`, what comes back is written off. Raises
        `StaffOnly`, `OrderNotFound`, `TransitionNotAllowed`, `NotOut`, `OrderChanged`,
        `InvalidField`.
        """
        caller.require_staff()
        return await self.intake(
            Return(
                caller=caller,
                order_id=order_id,
                wanted=None if items is None else add_up(items),
                restock=restock,
                note=clean_note(note),
                expected_versions=expected_versions,
                key=key,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Return(Change[Order]):
    order_id: UUID
    wanted: dict[int, int] | None
    restock: bool
    note: str
    expected_versions: Collection[int] | None

    def decide(self, books: Books) -> Order:
        caller = self.caller
        order = books.order_for(caller, self.order_id)
        if self.wanted is None and order.status is OrderStatus.RETURNED:
            return order
        order.check_version(self.expected_versions)
        quantities = order.out if self.wanted is None else self.wanted
        after = order.given_back(quantities, at=books.now)
        books.change_order(
            order,
            after,
            name="order.returned",
            caller=caller,
            note=self.note or _summary(quantities),
            returned=tuple(
                OrderItem(product_id=product_id, quantity=quantity)
                for product_id, quantity in quantities.items()
            ),
        )
        books.give_back(
            quantities,
            Reason.RETURN,
            order=after,
            caller=caller,
            restock=self.restock,
            note=self.note,
        )
        return after


def _summary(quantities: dict[int, int]) -> str:
    """What came back, as far as a note has room for it."""
    parts = [f"{quantity} of product {product}" for product, quantity in quantities.items()]
    return f"returned {', '.join(parts[:3])}" + (", and more" if len(parts) > 3 else "")

"""Amending an order: other lines, with the stock moved by the difference, all or nothing."""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from shop.domain.keys import KeyedRequest
from shop.domain.orders import Order, OrderItem, add_up, refusal_of
from shop.domain.services.books import Books, Change, ChangeIntake
from shop.domain.stock import Reason
from shop.domain.users import Caller


@dataclass(frozen=True, kw_only=True)
class AmendOrder:
    intake: ChangeIntake

    async def __call__(
        self,
        *,
        caller: Caller,
        order_id: UUID,
        items: tuple[OrderItem, ...],
        expected_total: Decimal | None = None,
        expected_versions: Collection[int] | None = None,
        key: KeyedRequest | None = None,
    ) -> Order:
        """The order with these lines in place of its own.

        Pieces that were on it keep their price, those that are added have today's; what is taken
        away are those that were added last. Lines that change nothing leave the order as it is. It
        comes to `expected_total`, if that is given. Raises `OrderNotFound`, `NotAmendable`,
        `OrderChanged`, `OutOfStock`, `PriceChanged`, `InvalidFields`.
        """
        return await self.intake(
            Amendment(
                caller=caller,
                order_id=order_id,
                items=items,
                wanted=add_up(items),
                expected_total=expected_total,
                expected_versions=expected_versions,
                key=key,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment(Change[Order]):
    order_id: UUID
    items: tuple[OrderItem, ...]
    wanted: dict[int, int]
    expected_total: Decimal | None
    expected_versions: Collection[int] | None

    @property
    def product_ids(self) -> Collection[int]:
        return self.wanted

    def decide(self, books: Books) -> Order:
        caller, wanted = self.caller, self.wanted
        order = books.order_for(caller, self.order_id)
        order.check_version(self.expected_versions)
        order.check_amendable()
        held = order.out
        if wanted == held:
            if unexpected := order.refusal_unless(self.expected_total):
                raise unexpected
            return order
        shelf = books.shelf_with({**wanted, **held})
        if refusal := refusal_of(self.items, wanted, shelf, held=held):
            raise refusal
        amended = order.amended(wanted, shelf.products, at=books.now)
        if unexpected := amended.refusal_unless(self.expected_total):
            raise unexpected
        for product_id in {**held, **wanted}:
            change = held.get(product_id, 0) - wanted.get(product_id, 0)
            if change:
                shelf.move(
                    product_id,
                    change,
                    Reason.AMEND,
                    at=amended.modified_at,
                    actor_id=caller.actor_id,
                    order_id=order.id,
                )
        books.change_order(order, amended, name="order.amended", caller=caller, note="amended")
        return amended

"""Saving many products, or their stock, by SKU in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shop.domain.bulk import (
    ROWS_MAX,
    Outcome,
    Policy,
    RefusedRow,
    Row,
    RowAnswer,
    RowDecisions,
)
from shop.domain.errors import InvalidField, SkuTaken
from shop.domain.keys import KeyedRequest
from shop.domain.ports import Clock, UnitOfWork, UnitOfWorkFactory
from shop.domain.products import Product
from shop.domain.services.check_user import require_active
from shop.domain.services.keep_catalogue import catalogue_event, initial_movements
from shop.domain.services.retrying import lost_by, retrying
from shop.domain.text import folded
from shop.domain.users import Caller


@dataclass(frozen=True, kw_only=True)
class SaveProducts:
    """Make products, or their stock alone, as rows say; what is so already is left."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    currency: str

    @retrying
    async def __call__(
        self,
        *,
        caller: Caller,
        rows: Sequence[Row],
        policy: Policy,
        dry_run: bool = False,
        key: KeyedRequest | None = None,
    ) -> list[RowAnswer]:
        """An answer for each row, in their order. A dry run says what would be, and writes nothing.

        Raises `StaffOnly`, `InvalidField` for more than `ROWS_MAX`, and `RowsRefused` where all
        are to be written and one is refused. In a dry run rows are answered for by themselves.
        """
        caller.require_staff()
        if not 1 <= len(rows) <= ROWS_MAX:
            raise InvalidField("rows", f"must be a list of 1 to {ROWS_MAX:,} items")
        async with self.unit_of_work(key=key, many=True) as uow:
            decisions = await decide_rows(
                uow, rows, caller=caller, clock=self.clock, currency=self.currency
            )
            if dry_run:
                return decisions.answers
            answers = await write_rows(uow, decisions, caller=caller, policy=policy)
            await uow.commit(answers)
        return answers


async def decide_rows(
    uow: UnitOfWork, rows: Sequence[Row], *, caller: Caller, clock: Clock, currency: str
) -> RowDecisions:
    """Lock what the rows name, and decide them. Raises `InvalidToken`."""
    skus = {row.sku for row in rows if not isinstance(row, RefusedRow)}
    stored = await uow.batch.lock_alike(skus)
    await require_active(uow, caller)
    decisions = RowDecisions(stored=stored, at=clock(), currency=currency, actor_id=caller.actor_id)
    decisions.decide(rows)
    return decisions


async def write_rows(
    uow: UnitOfWork, decisions: RowDecisions, *, caller: Caller, policy: Policy
) -> list[RowAnswer]:
    """Write what was decided, in the transaction that it was decided in.

    The answers, in which new products have ids. Raises `RowsRefused` by the policy, and
    `WriteConflict` when somebody else was faster to create one of the products.
    """
    if policy is Policy.ALL:
        decisions.require_all()
    changed, movements = decisions.changed, decisions.shelf.movements
    if changed or movements:
        await uow.batch.change_products([after for _, after in changed], movements)
    stored = await _add(uow, decisions.created, caller)
    for before, after in changed:
        for name in _changes(before, after):
            uow.record(catalogue_event(name, caller, after.id))
    for moved in movements:
        uow.record(
            catalogue_event("stock.changed", caller, moved.product_id, quantity=moved.quantity)
        )
    return [
        RowAnswer(sku=answer.sku, outcome=answer.outcome, entry=stored[answer.sku])
        if answer.outcome is Outcome.CREATED
        else answer
        for answer in decisions.answers
    ]


async def _add(uow: UnitOfWork, new: Sequence[Product], caller: Caller) -> dict[str, Product]:
    """The new products as they are stored, by SKU."""
    if not new:
        return {}
    ids = await uow.batch.new_product_ids(len(new))
    stored = [replace(product, id=id_) for product, id_ in zip(new, ids, strict=True)]
    # Whoever adds the same SKUs at the same moment waits at the first of them, and nobody in a
    # circle.
    in_order = sorted(stored, key=lambda product: folded(product.sku))
    with lost_by(SkuTaken):
        await uow.batch.add_products(in_order, initial_movements(stored, caller))
    for product in stored:
        uow.record(catalogue_event("product.created", caller, product.id))
        if product.archived:
            uow.record(catalogue_event("product.archived", caller, product.id))
    return {product.sku: product for product in stored}


def _changes(before: Product, after: Product) -> list[str]:
    """What happened to the entry of a product, in the words of single changes."""
    is_moved = before.archived is not after.archived
    names = ["product.changed"] if after.version - before.version > is_moved else []
    if is_moved:
        names.append("product.archived" if after.archived else "product.restored")
    return names

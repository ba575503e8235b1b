"""Keeping the catalogue: products and their stock, as staff do it."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from shop.domain.errors import InvalidField, ProductNotFound, StockChanged
from shop.domain.money import Money
from shop.domain.pages import Page, Part, read_page
from shop.domain.ports import Audit, Clock, UnitOfWork, UnitOfWorkFactory
from shop.domain.products import STOCK_MAX, Product, ProductQuery
from shop.domain.stock import NOTE_LENGTH_MAX, MovementQuery, Reason, Shelf, StockMovement
from shop.domain.text import clean

# A movement's reason may be named by staff; these are the ones that are theirs to give.
STAFF_REASONS = (Reason.RESTOCK, Reason.CORRECTION)


class ListProducts:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory) -> None:
        self._unit_of_work = unit_of_work

    async def __call__(
        self, *, query: ProductQuery, part: Part, count: int | None = None
    ) -> Page[Product]:
        async with self._unit_of_work(read_only=True) as uow:
            return await read_page(uow.products, query, part, count=count)


class ReadProduct:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory) -> None:
        self._unit_of_work = unit_of_work

    async def __call__(self, *, product_id: int) -> Product:
        """Raises `ProductNotFound`, for archived ones too."""
        async with self._unit_of_work(read_only=True) as uow:
            product = await uow.products.get(product_id)
        if product.archived:
            raise ProductNotFound(product_id)
        return product


class FindProduct:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory) -> None:
        self._unit_of_work = unit_of_work

    async def __call__(self, *, sku: str) -> Product:
        """The product with this SKU, archived or not. Raises `ProductNotFound`."""
        async with self._unit_of_work(read_only=True) as uow:
            product = await uow.products.find(sku)
        if product is None:
            raise ProductNotFound(sku)
        return product


class CreateProduct:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock, audit: Audit) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._audit = audit

    async def __call__(
        self,
        *,
        actor_id: int | None,
        sku: str,
        name: str,
        price: Money,
        description: str = "",
        stock: int = 0,
    ) -> Product:
        """The stored product. Raises `SkuTaken` and `InvalidField`."""
        product = Product.new(
            sku=sku, name=name, description=description, price=price, stock=stock, at=self._clock()
        )
        async with self._unit_of_work() as uow:
            [stored] = await _add(uow, [product], actor_id)
            await uow.commit()
        self._audit("product.created", user=actor_id, product=stored.id)
        return stored


class AddProducts:
    """Add many products at once; those whose SKU is there already are left as they are."""

    def __init__(self, *, unit_of_work: UnitOfWorkFactory) -> None:
        self._unit_of_work = unit_of_work

    async def __call__(self, *, products: Sequence[Product]) -> list[Product]:
        """What was added."""
        async with self._unit_of_work() as uow:
            taken = await uow.products.find_skus([product.sku for product in products])
            new = [product for product in products if product.sku not in taken]
            stored = await _add(uow, new, actor_id=None)
            await uow.commit()
        return stored


async def _add(uow: UnitOfWork, products: Sequence[Product], actor_id: int | None) -> list[Product]:
    """Store products and their initial stock, which enters through the ledger like any other."""
    empty = await uow.products.add([replace(product, stock=0) for product in products])
    shelf = Shelf({product.id: product for product in empty})
    stored = []
    for product, added in zip(products, empty, strict=True):
        if product.stock:
            shelf.move(
                added.id, product.stock, Reason.INITIAL, at=product.created_at, actor_id=actor_id
            )
        stored.append(replace(added, stock=product.stock))
    await uow.stock.record(shelf.movements)
    return stored


class ChangeProduct:
    """Change fields of a product's entry; orders placed before keep the old ones."""

    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock, audit: Audit) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._audit = audit

    async def __call__(
        self,
        *,
        actor_id: int | None,
        product_id: int,
        sku: str | None = None,
        name: str | None = None,
        description: str | None = None,
        price: Money | None = None,
        expected_versions: Collection[int] | None = None,
    ) -> Product:
        """The changed product; None keeps a field.

        Raises `ProductNotFound` (for archived ones too), `ProductChanged`, `SkuTaken`,
        `InvalidField`.
        """
        async with self._unit_of_work() as uow:
            product = await uow.products.lock(product_id)
            if product.archived:
                raise ProductNotFound(product_id)
            product.check_version(expected_versions)
            changed = product.changed(
                at=self._clock(), sku=sku, name=name, description=description, price=price
            )
            await uow.products.save(changed)
            await uow.commit()
        self._audit("product.changed", user=actor_id, product=product_id)
        return changed


class ArchiveProduct:
    """Take a product out of the catalogue: not listed or sold any more; old orders keep it."""

    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock, audit: Audit) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._audit = audit

    async def __call__(
        self,
        *,
        actor_id: int | None,
        product_id: int,
        expected_versions: Collection[int] | None = None,
    ) -> None:
        """Archiving it again changes nothing. Raises `ProductNotFound` and `ProductChanged`."""
        async with self._unit_of_work() as uow:
            product = await uow.products.lock(product_id)
            if product.archived:
                return
            product.check_version(expected_versions)
            await uow.products.save(product.archive(at=self._clock()))
            await uow.commit()
        self._audit("product.archived", user=actor_id, product=product_id)


class ReadMovements:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory) -> None:
        self._unit_of_work = unit_of_work

    async def __call__(
        self, *, product_id: int, part: Part, count: int | None = None
    ) -> Page[StockMovement]:
        """A product's ledger, the newest movement first. Raises `ProductNotFound`."""
        async with self._unit_of_work(read_only=True) as uow:
            await uow.products.get(product_id)
            return await read_page(
                uow.stock, MovementQuery(product_id=product_id), part, count=count
            )


class ChangeStock:
    """Change a product's stock by hand: by a difference, or to a quantity if it is as expected."""

    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock, audit: Audit) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._audit = audit

    async def by(
        self, *, actor_id: int | None, product_id: int, delta: int, reason: str
    ) -> Product:
        """Raises `ProductNotFound`, `InvalidField`, and `OutOfStock` if fewer are there."""
        if delta == 0:
            raise InvalidField("delta", "must not be 0")
        return await self._change(
            actor_id=actor_id, product_id=product_id, delta=delta, reason=reason
        )

    async def to(
        self, *, actor_id: int | None, product_id: int, quantity: int, expected: int, reason: str
    ) -> Product:
        """Raises `ProductNotFound`, `InvalidField`, and `StockChanged` if it is not `expected`."""
        if not 0 <= quantity <= STOCK_MAX:
            raise InvalidField("quantity", f"must be from 0 to {STOCK_MAX}")
        return await self._change(
            actor_id=actor_id,
            product_id=product_id,
            delta=quantity - expected,
            reason=reason,
            expected=expected,
        )

    async def _change(
        self,
        *,
        actor_id: int | None,
        product_id: int,
        delta: int,
        reason: str,
        expected: int | None = None,
    ) -> Product:
        ledger_reason, note = _reason_and_note(reason, delta, is_count=expected is not None)
        async with self._unit_of_work() as uow:
            shelf = Shelf(await uow.stock.lock([product_id]))
            if product_id not in shelf.products:
                raise ProductNotFound(product_id)
            if expected is not None and shelf.on_hand(product_id) != expected:
                raise StockChanged(expected=expected, actual=shelf.on_hand(product_id))
            if delta:
                shelf.move(
                    product_id, delta, ledger_reason, at=self._clock(), actor_id=actor_id, note=note
                )
                await uow.stock.record(shelf.movements)
                await uow.commit()
                self._audit("stock.changed", user=actor_id, product=product_id, quantity=delta)
        return replace(shelf.products[product_id], stock=shelf.on_hand(product_id))


def _reason_and_note(reason: str, delta: int, *, is_count: bool) -> tuple[Reason, str]:
    """The ledger's reason and note: a staff reason stands for itself, else it is the note."""
    reason = clean("reason", reason, length_min=1, length_max=NOTE_LENGTH_MAX)
    if reason in STAFF_REASONS:
        return Reason(reason), ""
    return Reason.RESTOCK if delta > 0 and not is_count else Reason.CORRECTION, reason

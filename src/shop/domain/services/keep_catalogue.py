"""Keeping the catalogue: products and their stock, as staff do it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from shop.domain.errors import ProductArchived, ProductNotFound, SkuTaken
from shop.domain.events import Event
from shop.domain.keys import KeyedRequest
from shop.domain.money import Money
from shop.domain.pages import Count, Page, Window, read_page
from shop.domain.ports import Clock, ProductLookUp, UnitOfWork, UnitOfWorkFactory
from shop.domain.products import Product, ProductQuery, clean_sku
from shop.domain.services.books import Books, Change, ChangeIntake
from shop.domain.services.check_user import require_active
from shop.domain.services.retrying import retrying
from shop.domain.stock import MovementQuery, Reason, StockChange, StockMovement
from shop.domain.users import Caller


@dataclass(frozen=True, kw_only=True)
class ListProducts:
    unit_of_work: UnitOfWorkFactory

    @retrying
    async def __call__(
        self, *, caller: Caller, query: ProductQuery, window: Window, count: Count | None = None
    ) -> Page[Product]:
        """The same for every caller, but that archived ones are for staff. Raises `StaffOnly`."""
        if query.archived:
            caller.require_staff()
        async with self.unit_of_work(read_only=True, caller=caller, may_lag=True) as uow:
            return await read_page(uow.products, query, window, count=count)


@dataclass(frozen=True, kw_only=True)
class ReadProduct:
    look_up: ProductLookUp

    async def __call__(self, *, caller: Caller, product_id: int) -> Product:
        """Raises `ProductNotFound`; for archived ones too, unless the caller is staff."""
        product = await self.look_up(product_id)
        if product is None or (product.archived and not caller.is_staff):
            raise ProductNotFound(product_id)
        return product


@dataclass(frozen=True, kw_only=True)
class FindProduct:
    unit_of_work: UnitOfWorkFactory

    @retrying
    async def __call__(self, *, caller: Caller, sku: str) -> Product:
        """The product that this SKU stands for, archived or not.

        Raises `StaffOnly`, `ProductNotFound`, and `InvalidField` for what is no SKU.
        """
        caller.require_staff()
        sku = clean_sku(sku)
        async with self.unit_of_work(read_only=True, caller=caller) as uow:
            product = await uow.products.find(sku)
        if product is None:
            raise ProductNotFound(sku)
        return product


@dataclass(frozen=True, kw_only=True)
class CreateProduct:
    unit_of_work: UnitOfWorkFactory
    clock: Clock

    @retrying
    async def __call__(
        self,
        *,
        caller: Caller,
        sku: str,
        name: str,
        price: Money,
        description: str = "",
        stock: int = 0,
        max_per_order: int | None = None,
        key: KeyedRequest | None = None,
    ) -> Product:
        """The stored product. Raises `StaffOnly`, `SkuTaken` and `InvalidField`."""
        caller.require_staff()
        product = Product.new(
            sku=sku,
            name=name,
            description=description,
            price=price,
            stock=stock,
            at=self.clock(),
            max_per_order=max_per_order,
        )
        async with self.unit_of_work(key=key) as uow:
            await require_active(uow, caller)
            await _require_free(uow, product)
            [added] = await uow.products.add([product])
            stored = replace(added, stock=product.stock)
            await uow.stock.record(initial_movements([stored], caller))
            uow.record(catalogue_event("product.created", caller, stored.id))
            await uow.commit(stored)
        return stored


@dataclass(frozen=True, kw_only=True)
class AddProducts:
    """Add many products at once; those whose SKU is there already are left as they are."""

    unit_of_work: UnitOfWorkFactory

    @retrying
    async def __call__(self, *, caller: Caller, products: Sequence[Product]) -> list[Product]:
        """What was added. Raises `OperatorOnly`."""
        caller.require_operator()
        async with self.unit_of_work() as uow:
            taken = await uow.products.find_skus([product.sku for product in products])
            new = [product for product in products if product.sku not in taken]
            ids = await uow.batch.new_product_ids(len(new))
            stored = [replace(product, id=id_) for product, id_ in zip(new, ids, strict=True)]
            await uow.batch.add_products(stored, initial_movements(stored, caller))
            await uow.commit()
        return stored


async def _require_free(uow: UnitOfWork, product: Product) -> None:
    """Raises `SkuTaken` if the product's SKU, whatever its case, is another's; says whose.

    The store has the last word, and cannot say so much.
    """
    for other in await uow.products.find_alike(product.sku):
        if other.id != product.id:
            raise SkuTaken(other.sku, product_id=other.id, archived=other.archived)


def initial_movements(products: Sequence[Product], caller: Caller) -> Sequence[StockMovement]:
    """How the stock of new products came: it enters through the ledger like any other."""
    return [
        StockMovement(
            product_id=product.id,
            quantity=product.stock,
            balance=product.stock,
            reason=Reason.INITIAL,
            order_id=None,
            actor_id=caller.actor_id,
            note="",
            at=product.created_at,
        )
        for product in products
        if product.stock
    ]


async def _lock_product(uow: UnitOfWork, product_id: int, caller: Caller) -> Product:
    """The product, changed by nobody else meanwhile. Raises `ProductNotFound`, `InvalidToken`."""
    product = await uow.products.lock(product_id)
    await require_active(uow, caller)
    return product


@dataclass(frozen=True, kw_only=True)
class ChangeProduct:
    """Change fields of a product's entry; orders placed before keep the old ones."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    @retrying
    async def __call__(
        self,
        *,
        caller: Caller,
        product_id: int,
        sku: str | None = None,
        name: str | None = None,
        description: str | None = None,
        price: Money | None = None,
        max_per_order: int | None = None,
        expected_versions: Collection[int] | None = None,
        key: KeyedRequest | None = None,
    ) -> Product:
        """The changed product, or the same where nothing becomes another.

        None keeps a field, `NO_MAX` takes the limit of an order away.

        Raises `StaffOnly`, `ProductNotFound`, `ProductArchived`, `ProductChanged`, `SkuTaken`,
        `InvalidField`.
        """
        caller.require_staff()
        async with self.unit_of_work(key=key) as uow:
            product = await _lock_product(uow, product_id, caller)
            if product.archived:
                raise ProductArchived(product_id)
            product.check_version(expected_versions)
            changed = product.changed(
                at=self.clock(),
                sku=sku,
                name=name,
                description=description,
                price=price,
                max_per_order=max_per_order,
            )
            if changed is not product:
                if changed.sku != product.sku:
                    await _require_free(uow, changed)
                await uow.products.save(changed)
                uow.record(catalogue_event("product.changed", caller, product_id))
            await uow.commit(changed)
        return changed


@dataclass(frozen=True, kw_only=True)
class ArchiveProduct:
    """Take a product out of the catalogue: not listed or sold any more; old orders keep it."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    @retrying
    async def __call__(
        self,
        *,
        caller: Caller,
        product_id: int,
        expected_versions: Collection[int] | None = None,
        key: KeyedRequest | None = None,
    ) -> None:
        """Archiving it again changes nothing.

        Raises `StaffOnly`, `ProductNotFound` and `ProductChanged`.
        """
        caller.require_staff()
        async with self.unit_of_work(key=key) as uow:
            product = await _lock_product(uow, product_id, caller)
            if not product.archived:
                product.check_version(expected_versions)
                await uow.products.save(product.archive(at=self.clock()))
                uow.record(catalogue_event("product.archived", caller, product_id))
            await uow.commit()


@dataclass(frozen=True, kw_only=True)
class RestoreProduct:
    """Bring an archived product back into the catalogue, as it was."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    currency: str

    @retrying
    async def __call__(
        self,
        *,
        caller: Caller,
        product_id: int,
        expected_versions: Collection[int] | None = None,
        key: KeyedRequest | None = None,
    ) -> Product:
        """The product; one that is not archived, as it is.

        Raises `StaffOnly`, `ProductNotFound`, `ProductChanged`, and `MixedCurrencies` for one that
        was archived when the shop had another currency.
        """
        caller.require_staff()
        async with self.unit_of_work(key=key) as uow:
            product = await _lock_product(uow, product_id, caller)
            if product.archived:
                product.check_version(expected_versions)
                product.price.require_currency(self.currency)
                product = product.restore(at=self.clock())
                await uow.products.save(product)
                uow.record(catalogue_event("product.restored", caller, product_id))
            await uow.commit(product)
        return product


@dataclass(frozen=True, kw_only=True)
class ReadMovements:
    unit_of_work: UnitOfWorkFactory

    @retrying
    async def __call__(
        self, *, caller: Caller, product_id: int, window: Window, count: Count | None = None
    ) -> Page[StockMovement]:
        """A product's ledger, the newest movement first. Raises `StaffOnly`, `ProductNotFound`."""
        caller.require_staff()
        async with self.unit_of_work(read_only=True, caller=caller) as uow:
            await uow.products.get(product_id)
            return await read_page(
                uow.stock, MovementQuery(product_id=product_id), window, count=count
            )


@dataclass(frozen=True, kw_only=True)
class ChangeStock:
    """Change a product's stock by hand: by a difference, or to a quantity if it is as expected."""

    intake: ChangeIntake

    async def __call__(
        self,
        *,
        caller: Caller,
        product_id: int,
        reason: str,
        delta: int | None = None,
        quantity: int | None = None,
        expected: int | None = None,
        key: KeyedRequest | None = None,
    ) -> Product:
        """The product with its new stock, by `delta`, or to `quantity` if there are `expected`.

        Raises `StaffOnly`, `ProductNotFound`, `InvalidField`, `OutOfStock` if fewer are there than
        are to go, and `StockChanged` if it is not `expected`.
        """
        caller.require_staff()
        change = StockChange(reason=reason, delta=delta, quantity=quantity, expected=expected)
        return await self.intake(
            ChangeOfStock(caller=caller, product_id=product_id, change=change, key=key)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOfStock(Change[Product]):
    product_id: int
    change: StockChange

    @property
    def product_ids(self) -> Collection[int]:
        return (self.product_id,)

    def decide(self, books: Books) -> Product:
        caller, product_id = self.caller, self.product_id
        shelf = books.shelf_with([product_id])
        books.require_active(caller)
        if product_id not in shelf.products:
            raise ProductNotFound(product_id)
        moved = self.change.make(shelf, product_id, at=books.now, actor_id=caller.actor_id)
        if moved:
            event = catalogue_event("stock.changed", caller, product_id, quantity=moved)
            books.events.append(event)
        product = shelf.products[product_id]
        assert isinstance(product, Product)  # `Batch.products`, where there is a change
        return replace(product, stock=shelf.on_hand(product_id))


def catalogue_event(name: str, caller: Caller, product_id: int, **numbers: int) -> Event:
    return Event(name=name, by=caller, about={"product": product_id, **numbers})

"""Moving in: a shop that ran elsewhere comes over in short transactions, again and again.

Each part is decided on what is stored of the last move (`uow.moving`), so a move that was broken
off goes on, one that is repeated changes nothing, and a later one brings what is new there since.
What was changed here since is never overwritten.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar
from uuid import UUID

from shop.domain.errors import MoveUnderWay, ShopError, ShopInUse, SkuTaken, WriteConflict
from shop.domain.events import Event
from shop.domain.moving import (
    Finding,
    IdRange,
    MovedProduct,
    Notice,
    OldOrder,
    OldProduct,
    OldUser,
    code_of,
    described,
    is_id,
    merged,
    moved_order_ids,
    new_code_of,
    note_of,
    notices_of,
    order_digest,
    order_from,
    product_digest,
    product_from,
    refusal_of,
    renamed,
    stock_from,
    user_digest,
    user_from,
    wanted_by,
)
from shop.domain.orders import (
    MOVED_NUMBER_MAX,
    HistoryEntry,
    Order,
    OrderStatus,
    moved_order_id,
    moved_order_number,
)
from shop.domain.ports import (
    Clock,
    NewId,
    OldShop,
    PasswordHasher,
    UnitOfWork,
    UnitOfWorkFactory,
)
from shop.domain.products import STOCK_MAX, Product, clean_sku
from shop.domain.services.retrying import lost_by, retrying
from shop.domain.stock import Reason, Shelf
from shop.domain.text import folded
from shop.domain.users import Caller, User

USERS_PER_STEP = 1_000
PRODUCTS_PER_STEP = 1_000
ORDERS_PER_STEP = 1_000
LEASE = "move_in"
LEASE_LASTS = timedelta(seconds=10)
"""One that was killed is waited for until its lease has expired."""
_BELOW_ALL, _ABOVE_ALL = -(2**63), 2**63 - 1
_STOCK_NOTE = "moved in from the Django shop"


class Stage(StrEnum):
    USERS = "users"
    PRODUCTS = "products"
    COUNTED = "orders counted"
    STOCK = "stocks"
    ORDERS = "orders"


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveOptions:
    status: OrderStatus
    """In which orders arrive, see `moving.STATUSES`."""
    sku_prefix: str
    """Of the products' SKUs, before their ids."""
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A step: so many rows of the old shop, and what became of them."""

    stage: Stage
    seen: int
    new: int = 0
    changed: int = 0
    notices: Sequence[Notice] = ()


class _Row(Protocol):
    @property
    def id(self) -> int: ...


_R = TypeVar("_R", bound=_Row, covariant=True)


class _Read(Protocol[_R]):
    def __call__(self, *, after: int, limit: int) -> Awaitable[Sequence[_R]]: ...


async def _walk(read: "_Read[_R]", limit: int) -> AsyncIterator[tuple[IdRange, Sequence[_R]]]:
    """Rows by id, with the range of ids that each step has all of; the last step has none."""
    after = _BELOW_ALL
    while True:
        rows = await read(after=after, limit=limit)
        last = rows[-1].id if rows else _ABOVE_ALL
        yield IdRange(after=after, last=last), rows
        if not rows:
            return
        after = last


@dataclass(frozen=True, kw_only=True)
class MoveIn:
    """Bring what another shop has; it may be done again, until this one takes its place."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    hasher: PasswordHasher
    new_id: NewId
    currency: str

    async def __call__(
        self, *, caller: Caller, old: OldShop, options: MoveOptions
    ) -> AsyncGenerator[Moved, None]:
        """Users, products, their stock, and then orders, step by step.

        Raises `OperatorOnly`, `ShopInUse`, `MoveUnderWay`, `OldShopUnreadable`, and `InvalidField`
        for a prefix that no SKU begins with.
        """
        caller.require_operator()
        clean_sku(f"{options.sku_prefix}{MOVED_NUMBER_MAX}")
        move = _Move(use_case=self, caller=caller, old=old, options=options)
        await move.begin()
        try:
            for stage in (move.users, move.products, move.count, move.stock, move.orders):
                async for step in stage():
                    yield step
            await move.note()
        finally:
            await move.end()


@dataclass(kw_only=True)
class _Move:
    """One run: what it has found out on its way. It grows with users and products, not orders."""

    use_case: MoveIn
    caller: Caller
    old: OldShop
    options: MoveOptions
    holder: UUID = field(init=False)
    at: datetime = field(init=False)
    renewed_at: datetime = field(init=False)
    moved_users: set[int] = field(default_factory=set)
    moved_products: set[int] = field(default_factory=set)
    awaited: dict[int, int] = field(default_factory=dict)
    """Quantity by product of the orders that are to be brought."""
    orders_new: int = 0

    def __post_init__(self) -> None:
        self.holder, self.at = self.use_case.new_id(), self.use_case.clock()
        self.renewed_at = self.at

    # --- one at a time ---

    async def begin(self) -> None:
        async with self._reading() as uow:
            if await uow.moving.is_other_shop():
                raise ShopInUse
        if self.options.dry_run:
            return
        for _ in range(int(LEASE_LASTS.total_seconds()) + 2):
            async with self.use_case.unit_of_work() as uow:
                if await uow.leases.take(LEASE, holder=self.holder, lasting=LEASE_LASTS):
                    await uow.commit()
                    return
            await asyncio.sleep(1)
        raise MoveUnderWay

    async def _hold(self, uow: UnitOfWork) -> None:
        """Whoever writes still has the lease, and has it anew."""
        if not await uow.leases.take(LEASE, holder=self.holder, lasting=LEASE_LASTS):
            raise MoveUnderWay
        self.renewed_at = self.use_case.clock()

    async def _renew(self) -> None:
        """For who has written nothing for a while."""
        if self.options.dry_run or self.use_case.clock() - self.renewed_at < LEASE_LASTS / 4:
            return
        async with self.use_case.unit_of_work() as uow:
            await self._hold(uow)
            await uow.commit()

    async def note(self) -> None:
        if self.options.dry_run:
            return
        about = {
            "users": len(self.moved_users),
            "products": len(self.moved_products),
            "orders": self.orders_new,
        }
        async with self.use_case.unit_of_work() as uow:
            await self._hold(uow)
            uow.record(Event(name="shop.moved_in", by=self.caller, about=about))
            await uow.commit()

    async def end(self) -> None:
        if self.options.dry_run:
            return
        # It expires by itself, and what ended the move is what is to be told.
        with suppress(ShopError):
            async with self.use_case.unit_of_work() as uow:
                await uow.leases.release(LEASE, holder=self.holder)
                await uow.commit()

    def _reading(self) -> UnitOfWork:
        return self.use_case.unit_of_work(read_only=True, caller=self.caller)

    def _deciding(self) -> UnitOfWork:
        """For who may have something to write, unless nothing is to be written at all."""
        return self._reading() if self.options.dry_run else self.use_case.unit_of_work()

    # --- users ---

    async def users(self) -> AsyncIterator[Moved]:
        async for ids, rows in _walk(self.old.users, USERS_PER_STEP):
            step, moved = await self._move_users(ids, rows)
            self.moved_users |= moved
            yield step
            await self._renew()

    @retrying
    async def _move_users(self, ids: IdRange, rows: Sequence[OldUser]) -> tuple[Moved, set[int]]:
        can_verify, at = self.use_case.hasher.is_readable, self.at
        made = [user_from(row, can_verify=can_verify, at=at) for row in rows if is_id(row.id)]
        by_id = {row.id: row for row in rows}
        notices = [Notice(finding=Finding.USER_ID, id=id_) for id_ in by_id if not is_id(id_)]
        new, changed, moved = [], [], set[int]()
        digests: dict[int, bytes] = {}
        async with self._deciding() as uow:
            marks = await uow.moving.users(ids)
            found = await uow.moving.find_users(ids, [user.username for user, _ in made])
            here = {user.id: user for user in found}
            names = _Names(found)
            for user, of_user in made:
                if user.id in here and user.id not in marks:
                    notices.append(Notice(finding=Finding.USER_TAKEN, id=user.id))
                    continue
                if any(other.username == user.username for other in names.alike(user)):
                    user, notice = renamed(user, by_id[user.id])
                    of_user.append(notice)
                if any(other.id < user.id for other in names.alike(user)):
                    of_user.append(
                        Notice(finding=Finding.USERNAMES_CLASH, id=user.id, value=user.username)
                    )
                names.add(user)
                moved.add(user.id)
                notices += of_user
                digest, mark = user_digest(user), marks.get(user.id)
                if digest == mark:
                    continue
                if mark is None:
                    new.append(user)
                elif user_digest(here[user.id]) == mark:
                    changed.append(user)
                else:
                    names.add(here[user.id])
                    notices.append(Notice(finding=Finding.USER_CHANGED_TWICE, id=user.id))
                    continue
                digests[user.id] = digest
            gone = sorted(set(marks) - set(by_id))
            notices += [Notice(finding=Finding.USER_GONE, id=id_) for id_ in gone]
            if digests and not self.options.dry_run:
                await self._save_users(uow, new, changed, here, names, digests)
        step = Moved(
            stage=Stage.USERS, seen=len(rows), new=len(new), changed=len(changed), notices=notices
        )
        return step, moved

    async def _save_users(
        self,
        uow: UnitOfWork,
        new: Sequence[User],
        changed: Sequence[User],
        here: Mapping[int, User],
        names: "_Names",
        digests: Mapping[int, bytes],
    ) -> None:
        await self._hold(uow)
        for user in changed:
            if await uow.users.lock(user.id) != here[user.id]:
                raise WriteConflict("A user was changed meanwhile; try again.")
        alike = {user.id for user in (*new, *changed) if names.alike(user)}
        await uow.moving.save_users(new, changed, alike=alike, digests=digests)
        for user in changed:
            # Whoever signed in by the old password, or in the old role, does so anew.
            await uow.sessions.end_all(user.id, self.at)
            uow.record(Event(name="user.moved_again", about={"user": user.id}))
        await uow.commit()

    # --- products ---

    async def products(self) -> AsyncIterator[Moved]:
        async for ids, rows in _walk(self.old.products, PRODUCTS_PER_STEP):
            step, moved = await self._move_products(ids, rows)
            self.moved_products |= moved
            yield step
            await self._renew()

    @retrying
    async def _move_products(
        self, ids: IdRange, rows: Sequence[OldProduct]
    ) -> tuple[Moved, set[int]]:
        made = [self._product_from(row) for row in rows if is_id(row.id)]
        there = {row.id for row in rows}
        notices = [Notice(finding=Finding.PRODUCT_ID, id=id_) for id_ in there if not is_id(id_)]
        new, changed, moved = [], [], set[int]()
        async with self._deciding() as uow:
            marks = await uow.moving.products(ids)
            here = await uow.details.products([product.id for product, _ in made])
            unknown = [product.sku for product, _ in made if product.id not in marks]
            taken = await uow.products.find_skus(unknown)
            for product, of_product in made:
                mark, current = marks.get(product.id), here.get(product.id)
                if mark is None and (current is not None or product.sku in taken):
                    notices.append(Notice(finding=Finding.PRODUCT_TAKEN, id=product.id))
                    continue
                moved.add(product.id)
                notices += of_product
                if mark is None or current is None:
                    new.append(product)
                elif product_digest(product) == mark.digest:
                    continue
                elif product_digest(current) == mark.digest:
                    changed.append(merged(current, product))
                else:
                    notices.append(Notice(finding=Finding.PRODUCT_CHANGED_TWICE, id=product.id))
            gone = sorted(set(marks) - there)
            notices += [Notice(finding=Finding.PRODUCT_GONE, id=id_) for id_ in gone]
            if (new or changed) and not self.options.dry_run:
                await self._save_products(uow, new, changed, here, marks)
        step = Moved(
            stage=Stage.PRODUCTS,
            seen=len(rows),
            new=len(new),
            changed=len(changed),
            notices=notices,
        )
        return step, moved

    def _product_from(self, row: OldProduct) -> tuple[Product, list[Notice]]:
        sku = f"{self.options.sku_prefix}{row.id}"
        return product_from(row, currency=self.use_case.currency, sku=sku, at=self.at)

    async def _save_products(
        self,
        uow: UnitOfWork,
        new: Sequence[Product],
        changed: Sequence[Product],
        here: Mapping[int, Product],
        marks: Mapping[int, MovedProduct],
    ) -> None:
        await self._hold(uow)
        locked = await uow.stock.lock([product.id for product in changed])
        for product in changed:
            if replace(locked[product.id], stock=0) != replace(here[product.id], stock=0):
                raise WriteConflict("A product was changed meanwhile; try again.")
            await uow.products.save(product)
        with lost_by(SkuTaken):
            await uow.batch.add_products(new, [])
        first = [
            MovedProduct(
                product_id=product.id, digest=product_digest(product), stock_there=0, stock=0
            )
            for product in new
        ]
        again = [replace(marks[product.id], digest=product_digest(product)) for product in changed]
        await uow.moving.save_products([*first, *again])
        await uow.commit()

    # --- stock, before the orders take theirs ---

    async def count(self) -> AsyncIterator[Moved]:
        """What the orders that are to be brought will take."""
        async for ids, rows in _walk(self.old.orders, ORDERS_PER_STEP):
            known = await self._known_orders(ids)
            for row in self._movable(rows):
                if moved_order_id(row.id) not in known:
                    self.orders_new += 1
                    for product_id, quantity in wanted_by(row).items():
                        self.awaited[product_id] = self.awaited.get(product_id, 0) + quantity
            yield Moved(stage=Stage.COUNTED, seen=len(rows))
            await self._renew()

    def _movable(self, rows: Sequence[OldOrder]) -> list[OldOrder]:
        users, products = self.moved_users, self.moved_products
        return [row for row in rows if refusal_of(row, users=users, products=products) is None]

    @retrying
    async def _known_orders(self, ids: IdRange) -> dict[UUID, bytes]:
        async with self._reading() as uow:
            return await uow.moving.orders(*moved_order_ids(ids))

    async def stock(self) -> AsyncIterator[Moved]:
        async for ids, rows in _walk(self.old.products, PRODUCTS_PER_STEP):
            yield await self._move_stock(
                ids, [row for row in rows if row.id in self.moved_products]
            )
            await self._renew()

    @retrying
    async def _move_stock(self, ids: IdRange, rows: Sequence[OldProduct]) -> Moved:
        notices: list[Notice] = []
        marks_after: list[MovedProduct] = []
        async with self._deciding() as uow:
            lock = uow.details.products if self.options.dry_run else uow.stock.lock
            shelf = Shelf(await lock([row.id for row in rows]))
            marks = await uow.moving.products(ids)
            for row in rows:
                mark = marks.get(row.id)
                if mark is None:
                    # Nothing was written for it.
                    notices += stock_from(row)[1]
                    continue
                after, of_stock = self._stock_moved(shelf, row, mark)
                notices += of_stock
                if after != mark:
                    marks_after.append(after)
            if marks_after and not self.options.dry_run:
                await self._hold(uow)
                await uow.stock.record(shelf.movements)
                await uow.moving.save_products(marks_after)
                await uow.commit()
        return Moved(stage=Stage.STOCK, seen=len(rows), changed=len(marks_after), notices=notices)

    def _stock_moved(
        self, shelf: Shelf, row: OldProduct, mark: MovedProduct
    ) -> tuple[MovedProduct, list[Notice]]:
        """Move a product's stock to what is there now, and what its orders are still to take.

        Where it was changed here, by a sale say, what the old shop has is not what is on this
        shelf: then only what its orders take comes, and goes with them.
        """
        there, notices = stock_from(row)
        is_a_copy = shelf.on_hand(row.id) == mark.stock
        if not is_a_copy and there != mark.stock_there:
            notices.append(Notice(finding=Finding.STOCK_CHANGED_TWICE, id=row.id, value=str(there)))
            there = mark.stock_there
        awaited = self.awaited.get(row.id, 0)
        on_hand = max(0, min(there, STOCK_MAX - awaited))
        after = replace(mark, stock_there=there, stock=on_hand + awaited)
        # Never below zero: somebody may have bought here what orders were still to take.
        delta = max(after.stock - mark.stock, -shelf.on_hand(row.id))
        # What that shop sold and did not have is no stock that came from it.
        lacking = max(-there, 0) - max(-mark.stock_there, 0)
        corrected = max(0, min(delta, lacking))
        if delta - corrected:
            shelf.move(row.id, delta - corrected, Reason.IMPORT, at=self.at, note=_STOCK_NOTE)
        if corrected:
            note = f"the Django shop had {there}"
            shelf.move(row.id, corrected, Reason.CORRECTION, at=self.at, note=note)
        return after, notices

    # --- orders ---

    async def orders(self) -> AsyncIterator[Moved]:
        async for ids, rows in _walk(self.old.orders, ORDERS_PER_STEP):
            known = await self._known_orders(ids)
            new = [row for row in self._movable(rows) if moved_order_id(row.id) not in known]
            notices = [*self._told_of_orders(rows, known)]
            if new:
                bring = self._look_at_codes if self.options.dry_run else self._move_orders
                notices += await bring(new)
            yield Moved(stage=Stage.ORDERS, seen=len(rows), new=len(new), notices=notices)
            await self._renew()
        async for _, items in _walk(self.old.stray_items, ORDERS_PER_STEP):
            strays = [Notice(finding=Finding.ITEM_STRAY, id=item.id) for item in items]
            yield Moved(stage=Stage.ORDERS, seen=0, notices=strays)

    def _told_of_orders(
        self, rows: Sequence[OldOrder], known: Mapping[UUID, bytes]
    ) -> Iterator[Notice]:
        users, products = self.moved_users, self.moved_products
        there = {moved_order_id(row.id) for row in rows if is_id(row.id)}
        for row in rows:
            digest = known.get(moved_order_id(row.id)) if is_id(row.id) else None
            refusal = refusal_of(row, users=users, products=products) if digest is None else None
            if refusal is not None:
                yield Notice(finding=refusal, id=row.id, value=described(row))
                continue
            yield from notices_of(row)
            if digest is not None and digest != order_digest(row):
                yield Notice(finding=Finding.ORDER_CHANGED, id=row.id)
        for order_id in sorted(set(known) - there):
            yield Notice(finding=Finding.ORDER_GONE, id=moved_order_number(order_id))

    @retrying
    async def _look_at_codes(self, rows: Sequence[OldOrder]) -> list[Notice]:
        async with self._reading() as uow:
            return (await _codes_for(uow, rows))[1]

    @retrying
    async def _move_orders(self, rows: Sequence[OldOrder]) -> list[Notice]:
        """Store new orders, with what they took and their history; what is to be told of codes."""
        async with self.use_case.unit_of_work() as uow:
            await self._hold(uow)
            wanted = {product_id for row in rows for product_id in wanted_by(row)}
            locked = await uow.batch.lock(order_ids=[], product_ids=wanted, user_ids=[])
            codes, notices = await _codes_for(uow, rows)
            orders, shelf = [], Shelf(locked.products)
            for row in rows:
                order = order_from(
                    row,
                    locked.products,
                    code=codes[row.id],
                    status=self.options.status,
                    at=self.at,
                )
                orders.append(order)
                self._take(shelf, order)
            await uow.batch.add(orders, shelf.movements, products=locked.products)
            await uow.history.add_all(
                [self._entry(row, order) for row, order in zip(rows, orders, strict=True)]
            )
            await uow.moving.take(_sum_of(orders))
            await uow.commit()
        return notices

    def _take(self, shelf: Shelf, order: Order) -> None:
        for line in order.lines:
            product_id, quantity = line.product_id, line.quantity
            if (lacking := quantity - shelf.on_hand(product_id)) > 0:
                # Somebody bought here what this order had taken there.
                note = f"for an order that is moved in: {order.code}"
                shelf.move(product_id, lacking, Reason.CORRECTION, at=self.at, note=note)
            shelf.move(product_id, -quantity, Reason.IMPORT, at=self.at, order_id=order.id)

    def _entry(self, row: OldOrder, order: Order) -> HistoryEntry:
        return HistoryEntry(
            order_id=order.id,
            from_status=order.status,
            to_status=order.status,
            actor_id=self.caller.actor_id,
            note=note_of(row, has_its_code=order.code == code_of(row)),
            at=self.at,
        )


async def _codes_for(
    uow: UnitOfWork, rows: Sequence[OldOrder]
) -> tuple[dict[int, str], list[Notice]]:
    """The orders' codes by their numbers, each once; and what is to be told of those taken."""
    kept = {row.id: code for row in rows if (code := code_of(row)) is not None}
    taken = await uow.moving.taken_codes(kept.values())
    codes: dict[int, str] = {}
    notices = []
    for row in rows:
        code = kept.get(row.id)
        if code is not None and code in taken:
            notices.append(Notice(finding=Finding.CODE_TAKEN, id=row.id, value=code))
            code = None
        codes[row.id] = code or new_code_of(row)
        taken.add(codes[row.id])
    return codes, notices


def _sum_of(orders: Sequence[Order]) -> dict[int, int]:
    taken: dict[int, int] = {}
    for order in orders:
        for line in order.lines:
            taken[line.product_id] = taken.get(line.product_id, 0) + line.quantity
    return taken


class _Names:
    """Who has which name, here and among those who are moved in."""

    def __init__(self, users: Sequence[User]) -> None:
        self._by_key: dict[str, dict[int, User]] = {}
        self._keys: dict[int, str] = {}
        for user in users:
            self.add(user)

    def add(self, user: User) -> None:
        """In the place of the name that the user had."""
        key = folded(user.username)
        self._by_key.get(self._keys.get(user.id, key), {}).pop(user.id, None)
        self._by_key.setdefault(key, {})[user.id] = user
        self._keys[user.id] = key

    def alike(self, user: User) -> list[User]:
        """Others whose names fold to the same."""
        known = self._by_key.get(folded(user.username), {}).values()
        return [other for other in known if other.id != user.id]

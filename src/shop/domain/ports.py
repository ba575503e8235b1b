"""Every driven port: what the domain needs from outside, and the errors an adapter must raise.

Any operation of a unit of work may raise `StoreUnavailable` (the store is away or too slow) or
`WriteConflict` (another transaction won; nothing was written); entering one, also `Overloaded`
(others have all connections).
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from types import TracebackType
from typing import Protocol, Self, TypeVar
from uuid import UUID

from shop.domain.events import Event
from shop.domain.keys import KeyedAnswer, KeyedRequest, Place
from shop.domain.moving import (
    IdRange,
    MovedProduct,
    OldCounts,
    OldItem,
    OldOrder,
    OldProduct,
    OldUser,
)
from shop.domain.orders import (
    HistoryEntry,
    HistoryQuery,
    Order,
    OrderQuery,
    OrderRequest,
    Placed,
)
from shop.domain.pages import CountedList, Listable, ListLength
from shop.domain.products import Offer, Product, ProductQuery
from shop.domain.sessions import RefreshToken, SessionFamily, SessionQuery
from shop.domain.stock import (
    LedgerPosition,
    MovementQuery,
    OrderAudit,
    StockAudit,
    StockLevels,
    StockMovement,
)
from shop.domain.throttling import Attempts
from shop.domain.users import Caller, Role, User

# What a `CancelledError` says, if it is not that a caller has hung up.
IN_COMMIT = "cancelled in COMMIT: whether it was done is unknown"
OUT_OF_TIME = "cancelled since the shop took too long"

T = TypeVar("T")

Clock = Callable[[], datetime]
"""Now, in UTC."""

MonotonicClock = Callable[[], float]
"""Seconds since some moment; they go on evenly when somebody sets the clock."""

NewId = Callable[[], UUID]
"""A new time-ordered UUID."""

NewOrderCode = Callable[[], str]
"""A new random order code: 12 characters."""

NewRefreshToken = Callable[[], str]
"""A new random secret of 256 bits."""

RateLimit = Callable[[int], None]
"""Counts one more use by a user; raises `TooManyRequests` when that is too many."""

IsCommonPassword = Callable[[str], bool]
"""Whether many people use this password."""

Audit = Callable[[Event], None]
"""Notes a security event that nothing is stored of, such as a refusal.

What is stored is recorded with the unit of work that stores it.
"""

EventListener = Callable[[Sequence[Event]], None]
"""Told what happened in a transaction, once it is committed."""

OrderIntake = Callable[[OrderRequest], Awaitable[Placed]]
"""Places one order among many: raises its `ShopError`, or `Overloaded` when too many wait."""

ProductLookUp = Callable[[int], Awaitable[Product | None]]
"""The product with this id as it is now, archived or not, read together with those of others."""

OrderLookUp = Callable[[UUID], Awaitable[Order | None]]
"""The order with this id as it is now, whoever's it is, read together with those of others."""


class ProductRepository(Listable[ProductQuery, Product], Protocol):
    """Reading a part of a list may raise `SearchTooBroad`."""

    async def get(self, product_id: int) -> Product:
        """Archived ones too. Raises `ProductNotFound`."""
        ...

    async def lock(self, product_id: int) -> Product:
        """Like `get`, and nobody else changes the entry or its stock until the transaction ends.

        So an order that waits for a change of its products is decided on what they are then.
        """
        ...

    async def find(self, sku: str) -> Product | None:
        """The product that this SKU stands for (`the_one_called`), archived or not."""
        ...

    async def find_alike(self, sku: str) -> Sequence[Product]:
        """Those whose SKUs fold to the same, archived or not.

        There is one at most, but for those from before SKUs were folded.
        """
        ...

    async def save(self, product: Product) -> None:
        """Store a locked product's entry, not its stock. Raises `SkuTaken` as `add` does."""
        ...

    async def find_skus(self, skus: Collection[str]) -> set[str]:
        """Those of the SKUs that are taken, whatever the case."""
        ...

    async def add(self, products: Sequence[Product]) -> list[Product]:
        """Store new products with stock 0; hands them back with ids, in the same order.

        Raises `SkuTaken` for a SKU that folds to the same as another product's.
        """
        ...

    async def list_all(self, *, after: int, limit: int) -> Sequence[Product]:
        """The next products by id, archived or not."""
        ...

    async def make_searchable(self, *, limit: int) -> int:
        """Make products searchable that an older program stored; how many these were.

        It writes what the products are looked in for a search, and changes nothing of them.
        """
        ...


class StockRepository(Listable[MovementQuery, StockMovement], Protocol):
    """Lists the ledger, the newest movement first."""

    async def lock(self, product_ids: Collection[int]) -> dict[int, Product]:
        """Lock the stock of these products until the transaction ends, in product-id order.

        Their entries are as of after the locks were taken. Unknown ids are left out; archived
        products are not.
        """
        ...

    async def record(self, movements: Sequence[StockMovement]) -> None:
        """Append to the ledger, in this order, and set each product's stock to its last balance.

        The products must have been locked, or added, in this transaction.
        """
        ...

    async def list_all(self, *, after: int, limit: int) -> Sequence[StockMovement]:
        """The next movements of the whole ledger, the oldest first."""
        ...

    async def audit(
        self, start: LedgerPosition, *, products: int, movements: int
    ) -> tuple[Sequence[StockAudit], LedgerPosition | None]:
        """Stock against ledger of the next products by id, as of one moment.

        Looks at so many products and movements at most. Also where to go on, or None at the end: a
        product with more movements is carried on there. What is read of it before stays as it is,
        since the ledger is only added to, and each product's movements are numbered in their order.
        """
        ...

    async def moved_last(self, *, products: int, movements: int) -> Sequence[int]:
        """So many products at most of so many newest movements, the last moved first."""
        ...

    async def audit_order(self, *, order_id: UUID, product_id: int) -> OrderAudit: ...

    async def audit_orders(
        self, *, after: UUID | None, limit: int
    ) -> tuple[Sequence[OrderAudit], UUID | None]:
        """What differs between the next orders by id and the ledger, as of one moment.

        Also the id of the last order looked at, or None when there was none.
        """
        ...

    async def count_levels(self, after: int, *, low: int, limit: int) -> StockLevels:
        """How much there is of the next products by id, as of one moment; `low` are few."""
        ...


class OrderRepository(Listable[OrderQuery, Order], Protocol):
    async def get(self, order_id: UUID) -> Order:
        """Raises `OrderNotFound`."""
        ...

    async def lock(self, order_id: UUID) -> Order:
        """Like `get`, and nobody else changes the order until the transaction ends."""
        ...

    async def list_all(self, *, after: UUID | None, limit: int) -> Sequence[Order]:
        """The next orders by id."""
        ...

    async def save(self, order: Order) -> None:
        """Store a locked order but for its lines. Raises `PaymentReferenceTaken`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a batch of orders, and of changes of orders and stock, is decided on."""

    orders: Mapping[UUID, Order]
    """As of after the locks were taken: who had them before has been seen."""
    products: Mapping[int, Offer]
    """Locked until the transaction ends; their entries may be of before, see `add`. They are whole
    `Product`s where something is to be changed."""
    busy: Collection[int] = ()
    """The products that there are, and that somebody else holds."""
    disabled: Collection[int] = ()
    """Those of the users who are disabled."""
    busy_orders: Collection[UUID] = ()
    """Of the orders that are to be changed, those that somebody else holds or has just changed."""
    claimed: Collection[Place] = frozenset()
    """The idempotency keys that are this transaction's now."""
    answers: Mapping[Place, KeyedAnswer] = field(default_factory=dict)
    """What is stored under other keys. Somebody else holds those that are in neither."""
    roles: Mapping[int, Role] = field(default_factory=dict)
    """Of the users, where there are changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a batch writes besides new orders and movements."""

    orders: Sequence[Order] = ()
    """Locked ones, as they are from now on."""
    relined: Sequence[Order] = ()
    """Those of them that have other lines than before."""
    history: Sequence[HistoryEntry] = ()
    answers: Sequence[KeyedAnswer] = ()
    """Under keys that were claimed in this transaction."""
    unused: Collection[Place] = ()
    """The places of claimed keys that have no answer, since what they were for was refused."""


class BatchRepository(Protocol):
    """What a batch of orders or of products reads and writes, in one go whatever their number."""

    async def lock(
        self,
        *,
        order_ids: Collection[UUID],
        product_ids: Collection[int],
        user_ids: Collection[int],
        changing: Collection[UUID] | None = None,
        keys: Collection[KeyedRequest] = (),
        wait_for: Collection[int | UUID | Place] | None = None,
    ) -> Batch:
        """The products, locked as by `StockRepository.lock`, and then those orders that exist.

        `changing` are orders to be changed, or None where nothing is, which costs less. First these
        keys are claimed, then these orders locked, and then the products, with those that are on
        these orders. Keys and orders that somebody else holds are not waited for.

        `wait_for` None waits for all products; otherwise only for what it names, before anything
        else is taken, and without what somebody else holds.
        """
        ...

    async def add(
        self,
        orders: Sequence[Order],
        movements: Sequence[StockMovement],
        *,
        products: Mapping[int, Offer],
        changes: Changes | None = None,
    ) -> None:
        """Store new orders with their lines, and record movements as `StockRepository.record` does.

        And `changes`, of what was locked by the same batch. Raises `StaleProducts` when one of the
        products moved is not as it was read any more, `WriteConflict` when an id or code is taken,
        `InvalidToken` when a user is unknown.
        """
        ...

    async def new_product_ids(self, count: int) -> Sequence[int]:
        """Ids for new products, which nobody else gets."""
        ...

    async def add_products(
        self, products: Sequence[Product], movements: Sequence[StockMovement]
    ) -> None:
        """Store new products with their stock, and the movements by which that came.

        Raises `SkuTaken` for a SKU that folds to the same as another product's.
        """
        ...

    async def lock_alike(self, skus: Collection[str]) -> Mapping[str, Sequence[Product]]:
        """The products that have one of these SKUs, whatever the case: `find_alike` for many.

        Locked as by `StockRepository.lock`, archived or not, by their folded SKUs.
        """
        ...

    async def change_products(
        self, products: Sequence[Product], movements: Sequence[StockMovement]
    ) -> None:
        """Store the entries of locked products but for their SKUs, and record movements.

        The latter as `StockRepository.record` does: of these or of other locked products, of each
        one at most.
        """
        ...


class DetailRepository(Protocol):
    """What many ask for at once by ids, each kind in one go. Unknown ids are left out."""

    async def products(self, ids: Collection[int]) -> dict[int, Product]:
        """Archived ones too."""
        ...

    async def orders(self, ids: Collection[UUID]) -> dict[UUID, Order]:
        """With their lines, both of one moment."""
        ...


class KeyRepository(Protocol):
    """Idempotency keys of changes, see `keys`."""

    async def claim(self, requests: Collection[KeyedRequest]) -> Mapping[Place, KeyedAnswer]:
        """Take these keys for this transaction, but for those that have answers; these, by place.

        Waits for other transactions that have taken one, key by key in one order.
        """
        ...

    async def store(self, answer: KeyedAnswer) -> None:
        """Store the answer under a key that was claimed in this transaction."""
        ...

    async def purge(self, before: datetime, *, limit: int) -> int:
        """Forget answers from before then; how many there were."""
        ...


class HistoryRepository(Listable[HistoryQuery, HistoryEntry], Protocol):
    """Lists an order's history, the oldest event first."""

    async def add(self, event: HistoryEntry) -> None: ...

    async def add_all(self, events: Sequence[HistoryEntry]) -> None: ...


class UserRepository(Protocol):
    async def get(self, user_id: int) -> User:
        """Raises `UserNotFound`."""
        ...

    async def find(self, username: str) -> User | None:
        """The user that this name stands for (`the_one_called`)."""
        ...

    async def lock(self, user_id: int) -> User:
        """Like `get`, and nobody else changes the user until the transaction ends."""
        ...

    async def list_all(self, *, after: int, limit: int) -> Sequence[User]:
        """The next users by id."""
        ...

    async def add(self, user: User) -> User:
        """Store a new user; hands it back with its id.

        Raises `UsernameTaken` for a name that folds to the same as another user's.
        """
        ...

    async def save(self, user: User) -> None:
        """Store a locked user's password hash, role and state."""
        ...


class SessionRepository(Listable[SessionQuery, SessionFamily], Protocol):
    """Lists a user's families that are neither over nor expired, the last used first."""

    async def start(self, family: SessionFamily, token: RefreshToken) -> None: ...

    async def lock(self, token_hash: bytes) -> tuple[SessionFamily, RefreshToken] | None:
        """A token and its family, which nobody else changes until the transaction ends."""
        ...

    async def succeed(
        self, token: RefreshToken, successor: RefreshToken, *, used_at: datetime
    ) -> None:
        """Store a successor of `token`, and retire what the use of `token` retires.

        That is what `RefreshToken.retires` says. The family was used then, and what of its tokens
        has expired is forgotten.
        """
        ...

    async def end_oldest(self, user_id: int, at: datetime, *, kept: int) -> None:
        """End the user's open families but for the `kept` that were started last."""
        ...

    async def purge(self, before: datetime, *, limit: int) -> int:
        """Forget families that expired before then, and their tokens; how many there were."""
        ...

    async def end(self, family_id: UUID, at: datetime) -> None: ...

    async def end_all(self, user_id: int, at: datetime) -> None:
        """End every family of this user that has not ended."""
        ...


class AttemptRepository(Protocol):
    """Attempts to sign in, by key: see `throttling`."""

    async def lock(self, keys: Collection[bytes], now: datetime) -> dict[bytes, Attempts]:
        """Those of these keys, new where there were none; locked until the transaction ends."""
        ...

    async def save(self, attempts: Collection[Attempts]) -> None:
        """Store locked ones."""
        ...

    async def purge(self, now: datetime, *, limit: int) -> int:
        """Delete some that are forgotten (`Attempts.is_forgotten`); how many there were.

        That are fewer than `limit` only when no more are left, but for those that are locked.
        """
        ...


class LeaseRepository(Protocol):
    """Who may do what only one process should do at a time, by the name of the work.

    Leases expire by the store's own clock: the clocks of hosts differ, and a host whose clock is
    fast would take a lease that another still holds.
    """

    async def take(self, name: str, *, holder: UUID, lasting: timedelta) -> bool:
        """Take a lease that is free, has expired or is the holder's already: whether it is theirs.

        It is for as long as given, from now on.
        """
        ...

    async def release(self, name: str, *, holder: UUID) -> None:
        """Make it free, if it is still the holder's."""
        ...


class LengthRepository(Protocol):
    """Lengths of the longest lists, for counts that are not exact."""

    async def count(self) -> Sequence[ListLength]:
        """Those of the lists for which they are worth keeping; it takes a while."""
        ...

    async def store(self, lengths: Sequence[ListLength]) -> None:
        """With the time of now."""
        ...

    async def known(self, names: Collection[str]) -> Sequence[CountedList]:
        """What was stored last of those of these lists that are everybody's."""
        ...


class MovingRepository(Protocol):
    """What was moved in from another shop, see `moving`, by its id there, which is the one here.

    Everything is read and written in one go whatever the number.
    """

    async def is_other_shop(self) -> bool:
        """Whether there are users or products, and nothing was ever moved in."""
        ...

    async def users(self, ids: IdRange) -> dict[int, bytes]:
        """The digests of those moved in."""
        ...

    async def find_users(self, ids: IdRange, names: Collection[str]) -> Sequence[User]:
        """Whoever has one of these ids, or a name alike."""
        ...

    async def save_users(
        self,
        new: Sequence[User],
        changed: Sequence[User],
        *,
        alike: Collection[int],
        digests: Mapping[int, bytes],
    ) -> None:
        """Store new users under their ids, and of others all but when they were created.

        `alike` have a name that folds to the same as another's. Raises `WriteConflict` for an id or
        a name that is taken.
        """
        ...

    async def products(self, ids: IdRange) -> dict[int, MovedProduct]: ...

    async def save_products(self, moved: Sequence[MovedProduct]) -> None:
        """Of products that are stored; nobody else gets their ids."""
        ...

    async def take(self, quantities: Mapping[int, int]) -> None:
        """Orders that were moved in have taken so many of what would be on hand."""
        ...

    async def orders(self, first: UUID, last: UUID) -> dict[UUID, bytes]:
        """The digests of those from the first to the last id."""
        ...

    async def taken_codes(self, codes: Collection[str]) -> set[str]: ...


class OldShop(Protocol):
    """A shop to be moved in, as it is at one moment.

    Its lists go by id, from the one after `after` on. Raises `OldShopUnreadable`.
    """

    async def count(self) -> OldCounts: ...

    async def users(self, *, after: int, limit: int) -> Sequence[OldUser]: ...

    async def products(self, *, after: int, limit: int) -> Sequence[OldProduct]: ...

    async def orders(self, *, after: int, limit: int) -> Sequence[OldOrder]:
        """With their items."""
        ...

    async def stray_items(self, *, after: int, limit: int) -> Sequence[OldItem]:
        """Those whose order is not there."""
        ...


class UnitOfWork(Protocol):
    """One transaction. Leaving it without `commit`, in any way, leaves nothing behind.

    One that is `read_only` may see each statement at its own moment. It writes nothing.
    """

    @property
    def products(self) -> ProductRepository: ...
    @property
    def stock(self) -> StockRepository: ...
    @property
    def orders(self) -> OrderRepository: ...
    @property
    def batch(self) -> BatchRepository: ...
    @property
    def details(self) -> DetailRepository: ...
    @property
    def keys(self) -> KeyRepository: ...
    @property
    def history(self) -> HistoryRepository: ...
    @property
    def users(self) -> UserRepository: ...
    @property
    def sessions(self) -> SessionRepository: ...
    @property
    def attempts(self) -> AttemptRepository: ...
    @property
    def leases(self) -> LeaseRepository: ...
    @property
    def lengths(self) -> LengthRepository: ...
    @property
    def moving(self) -> MovingRepository: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def record(self, event: Event) -> None:
        """Tell the listeners of it after the commit, in this order; not at all without one."""
        ...

    async def commit(self, result: object = None) -> None:
        """Make it last. `result` is what the use case returns; it is stored under its key, if any.

        Raises `OutcomeUnknown` when it cannot be told whether it was done. It goes on when its
        caller is cancelled, who gets a `CancelledError` with the message `IN_COMMIT`.
        """
        ...


class UnitOfWorkFactory(Protocol):
    def __call__(
        self,
        *,
        read_only: bool = False,
        caller: Caller | None = None,
        batch: bool = False,
        key: KeyedRequest | None = None,
        may_lag: bool = False,
        many: bool = False,
    ) -> UnitOfWork:
        """A new unit of work. A read-only one costs less; each of its reads sees its own moment.

        It names its caller, who may have only so many at once: entering it raises `Overloaded`
        when the others do not end in time. One for a batch, of orders or of what is looked up,
        waits for no connection of others, and for a lock only a moment, with `LockTimeout`. One
        with a key begins with claiming it: entering it raises `AlreadyDone` or
        `IdempotencyKeyReused`. One that may lag is read-only, and may see the changes of others a
        little late, but never what the work under way has changed or seen as it was before. One
        for many rows may have many products locked for a while: there is one at a time in a
        process, and entering it raises `Overloaded` when those before it do not end in time.
        """
        ...


class AttemptQueue(Protocol):
    """Where attempts to sign in wait for the outcome of those before them: see `throttling`."""

    async def admit(self, admit: Callable[[], Awaitable[T]]) -> T:
        """What `admit` answers; while it raises `MustWait` it is asked again.

        Raises `TooManyAttempts` for who has waited too long, `Overloaded` when too many wait.
        """
        ...

    def settled(self, keys: Collection[bytes]) -> None:
        """Let those who wait for these keys look again."""
        ...

    async def settle(self, settle: Callable[[], Awaitable[None]]) -> None:
        """Store an outcome, even for a caller who is cancelled; later if the store is away now.

        `settle` may be called several times.
        """
        ...


class PasswordHasher(Protocol):
    async def hash(self, password: str) -> str: ...

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the password should be hashed anew, now that it is at hand."""
        ...

    def is_readable(self, password_hash: str) -> bool:
        """Whether there may be a password that fits it, and verifying one takes no absurd time."""
        ...

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether it fits. Against None it takes as long and is False. Raises `Overloaded`."""
        ...


class SchemaState(Enum):
    CURRENT = auto()
    """It is that of this program."""
    COMPATIBLE = auto()
    """It is newer, and lets this program work on it."""
    OUTDATED = auto()
    """It must be upgraded before this program works on it."""
    TOO_NEW = auto()

    @property
    def is_fit(self) -> bool:
        """Whether this program can work on it."""
        return self in (SchemaState.CURRENT, SchemaState.COMPATIBLE)


class Schema(Protocol):
    """The store's schema, as a whole."""

    async def state(self, *, writable: bool = False) -> SchemaState:
        """Raises `StoreUnavailable`, also if it is to be `writable` and takes no changes now."""
        ...

    async def check_encoding(self) -> None:
        """Raises `StoreUnfit` if it cannot hold every text, and `StoreUnavailable`."""
        ...

    async def claim_currency(self, currency: str) -> None:
        """Have it as the shop's currency, for good, if the shop has none yet.

        Raises `OtherCurrency` if the shop has another one.
        """
        ...

    async def upgrade(self) -> None:
        """Bring it up to date; many may do so at once. A compatible one is left alone.

        Raises `StoreTooNew`, `StoreUnfit` as `check_encoding` does, and `StoreUnavailable`.
        """
        ...

    async def look_over(self) -> None:
        """Have the store find out how much there is, after much was added at once.

        By itself it does so too, but later, and counts long lists wrong until then.
        """
        ...

    async def slow_search(self) -> str | None:
        """Why searches have no index and are bounded (`SearchTooBroad`); None if they have one."""
        ...

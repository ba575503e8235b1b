"""One in-memory transaction: staged on top of what is stored, published on commit."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from shop.adapters.listeners import RecordedEvents
from shop.adapters.memory.attempts import MemoryAttemptRepository
from shop.adapters.memory.batch import MemoryBatchRepository
from shop.adapters.memory.database import MemoryDatabase, Tables
from shop.adapters.memory.details import MemoryDetailRepository
from shop.adapters.memory.history import MemoryHistoryRepository
from shop.adapters.memory.keys import MemoryKeyRepository
from shop.adapters.memory.leases import MemoryLeaseRepository
from shop.adapters.memory.lengths import MemoryLengthRepository
from shop.adapters.memory.moving import MemoryMovingRepository
from shop.adapters.memory.orders import MemoryOrderRepository
from shop.adapters.memory.products import MemoryProductRepository
from shop.adapters.memory.sessions import MemorySessionRepository
from shop.adapters.memory.stock import MemoryStockRepository
from shop.adapters.memory.users import MemoryUserRepository
from shop.domain.events import Event
from shop.domain.keys import KeyedRequest
from shop.domain.ports import EventListener, UnitOfWork
from shop.domain.users import Caller


class MemoryUnitOfWork(UnitOfWork):
    def __init__(
        self,
        *,
        database: MemoryDatabase,
        listeners: Sequence[EventListener] = (),
        read_only: bool = False,
        caller: Caller | None = None,
        batch: bool = False,
        key: KeyedRequest | None = None,
        may_lag: bool = False,
        many: bool = False,
    ) -> None:
        # There are no connections, and whoever waits here waits for one transaction, which waits
        # for nothing: who asks, and what for, makes no difference. Nor is there a replica.
        del caller, batch, may_lag, many
        self._database = database
        self._events = RecordedEvents(listeners)
        self._read_only = read_only
        self._key = key
        self._staged: Tables | None = None

    async def __aenter__(self) -> Self:
        if not self._read_only:
            await self._database.writing.acquire()
        self._staged = self._database.tables.staged()
        if self._key is not None:
            try:
                stored = await self.keys.claim([self._key])
                self._key.check(stored.get(self._key.place))
            except BaseException:
                self._leave()
                raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self._staged = None
        if not self._read_only:
            self._database.writing.release()

    async def commit(self, result: object = None) -> None:
        assert not self._read_only, "a unit of work for reading has nothing to commit"
        if self._key is not None:
            await self.keys.store(self._key.answered(result))
        self._open.publish()
        # It is over, as in a database.
        self._staged = None
        self._events.publish()

    def record(self, event: Event) -> None:
        self._events.add(event)

    @property
    def _open(self) -> Tables:
        assert self._staged is not None, "use it inside `async with`, and commit once"
        return self._staged

    @property
    def products(self) -> MemoryProductRepository:
        return MemoryProductRepository(self._open)

    @property
    def stock(self) -> MemoryStockRepository:
        return MemoryStockRepository(self._open)

    @property
    def orders(self) -> MemoryOrderRepository:
        return MemoryOrderRepository(self._open)

    @property
    def batch(self) -> MemoryBatchRepository:
        return MemoryBatchRepository(self._open)

    @property
    def details(self) -> MemoryDetailRepository:
        return MemoryDetailRepository(self._open)

    @property
    def keys(self) -> MemoryKeyRepository:
        return MemoryKeyRepository(self._open)

    @property
    def history(self) -> MemoryHistoryRepository:
        return MemoryHistoryRepository(self._open)

    @property
    def users(self) -> MemoryUserRepository:
        return MemoryUserRepository(self._open)

    @property
    def sessions(self) -> MemorySessionRepository:
        return MemorySessionRepository(self._open)

    @property
    def attempts(self) -> MemoryAttemptRepository:
        return MemoryAttemptRepository(self._open)

    @property
    def leases(self) -> MemoryLeaseRepository:
        return MemoryLeaseRepository(self._open)

    @property
    def lengths(self) -> MemoryLengthRepository:
        return MemoryLengthRepository(self._open)

    @property
    def moving(self) -> MemoryMovingRepository:
        return MemoryMovingRepository(self._open)

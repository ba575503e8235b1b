"""One in-memory transaction: staged on top of what is stored, published on commit."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from shop.adapters.listeners import RecordedEvents
from shop.adapters.memory.attempts import MemoryAttemptRepository
from shop.adapters.memory.batch import MemoryBatchRepository
from shop.adapters.memory.database import MemoryDatabase, Tables
from shop.adapters.memory.history import MemoryHistoryRepository
from shop.adapters.memory.orders import MemoryOrderRepository
from shop.adapters.memory.products import MemoryProductRepository
from shop.adapters.memory.sessions import MemorySessionRepository
from shop.adapters.memory.stock import MemoryStockRepository
from shop.adapters.memory.users import MemoryUserRepository
from shop.domain.events import Event
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
    ) -> None:
        """It reads at once and has no connections: who asks, and what for, makes no difference."""
        self._database = database
        self._events = RecordedEvents(listeners)
        self._read_only = read_only
        self._staged: Tables | None = None

    async def __aenter__(self) -> Self:
        if not self._read_only:
            await self._database.writing.acquire()
        self._staged = self._database.tables.staged()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._staged = None
        if not self._read_only:
            self._database.writing.release()

    async def commit(self) -> None:
        assert not self._read_only, "a unit of work for reading has nothing to commit"
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

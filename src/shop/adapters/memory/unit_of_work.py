"""One in-memory transaction: staged on top of what is stored, published on commit."""

from types import TracebackType
from typing import Self

from shop.adapters.memory.attempts import MemoryAttemptRepository
from shop.adapters.memory.database import MemoryDatabase, Tables
from shop.adapters.memory.history import MemoryHistoryRepository
from shop.adapters.memory.leases import MemoryLeaseRepository
from shop.adapters.memory.orders import MemoryOrderRepository
from shop.adapters.memory.placing import MemoryPlacingRepository
from shop.adapters.memory.products import MemoryProductRepository
from shop.adapters.memory.sessions import MemorySessionRepository
from shop.adapters.memory.stock import MemoryStockRepository
from shop.adapters.memory.users import MemoryUserRepository
from shop.domain.ports import UnitOfWork


class MemoryUnitOfWork(UnitOfWork):
    def __init__(self, *, database: MemoryDatabase, read_only: bool = False) -> None:
        self._database = database
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
    def placing(self) -> MemoryPlacingRepository:
        return MemoryPlacingRepository(self._open)

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

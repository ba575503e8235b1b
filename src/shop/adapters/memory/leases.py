"""Leases in memory."""

from datetime import timedelta
from uuid import UUID

from shop.adapters.memory.database import Lease, Tables
from shop.adapters.system import utc_now
from shop.domain.ports import LeaseRepository


class MemoryLeaseRepository(LeaseRepository):
    def __init__(self, tables: Tables) -> None:
        self._leases = tables.leases

    async def take(self, name: str, *, holder: UUID, lasting: timedelta) -> bool:
        now, lease = utc_now(), self._leases.get(name)
        if lease is not None and lease.holder != holder and lease.expires_at > now:
            return False
        self._leases[name] = Lease(holder=holder, expires_at=now + lasting)
        return True

    async def release(self, name: str, *, holder: UUID) -> None:
        lease = self._leases.get(name)
        if lease is not None and lease.holder == holder:
            del self._leases[name]

"""The in-memory store has the schema of the program that runs."""

from shop.adapters.memory.database import MemoryDatabase
from shop.domain.errors import OtherCurrency
from shop.domain.ports import Schema, SchemaState


class MemorySchema(Schema):
    def __init__(self, *, database: MemoryDatabase) -> None:
        self._database = database

    async def state(self, *, writable: bool = False) -> SchemaState:
        return SchemaState.CURRENT

    async def check_encoding(self) -> None:
        return None

    async def claim_currency(self, currency: str) -> None:
        self._database.currency = self._database.currency or currency
        if self._database.currency != currency:
            raise OtherCurrency(stored=self._database.currency, given=currency)

    async def upgrade(self) -> None:
        return None

    async def look_over(self) -> None:
        return None

    async def slow_search(self) -> str | None:
        return None

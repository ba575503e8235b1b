"""The in-memory store has the schema of the program that runs."""

from shop.domain.ports import Schema, SchemaState


class MemorySchema(Schema):
    async def state(self, *, writable: bool = False) -> SchemaState:
        return SchemaState.CURRENT

    async def check_encoding(self) -> None:
        return None

    async def upgrade(self) -> None:
        return None

    async def slow_search(self) -> str | None:
        return None

"""What the in-memory store holds, and how a transaction stages changes of it."""

import asyncio
from collections import ChainMap, defaultdict
from collections.abc import Iterator, MutableMapping
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from itertools import count
from uuid import UUID

from shop.domain.orders import Order, OrderEvent
from shop.domain.products import Product
from shop.domain.sessions import RefreshToken, SessionFamily
from shop.domain.stock import StockMovement
from shop.domain.users import User

_from_one = partial(count, 1)


@dataclass(slots=True)
class Tables:
    """Values are frozen, so whoever reads one cannot change what is stored."""

    products: MutableMapping[int, Product] = field(default_factory=dict)
    orders: MutableMapping[UUID, Order] = field(default_factory=dict)
    movements: MutableMapping[int, StockMovement] = field(default_factory=dict)
    events: MutableMapping[int, OrderEvent] = field(default_factory=dict)
    users: MutableMapping[int, User] = field(default_factory=dict)
    families: MutableMapping[UUID, SessionFamily] = field(default_factory=dict)
    tokens: MutableMapping[bytes, RefreshToken] = field(default_factory=dict)
    _: KW_ONLY
    ids: defaultdict[str, Iterator[int]] = field(default_factory=lambda: defaultdict(_from_one))
    """The next id of each table; as in a database, one that was taken is not given again."""

    def each(self) -> Iterator[MutableMapping]:  # type: ignore[type-arg]
        yield from (
            self.products,
            self.orders,
            self.movements,
            self.events,
            self.users,
            self.families,
            self.tokens,
        )

    def staged(self) -> "Tables":
        """Reads fall through to these tables, writes do not reach them."""
        return Tables(*(ChainMap({}, table) for table in self.each()), ids=self.ids)

    def publish(self, staged: "Tables") -> None:
        for table, changed in zip(self.each(), staged.each(), strict=True):
            assert isinstance(changed, ChainMap)
            table.update(changed.maps[0])


class MemoryDatabase:
    def __init__(self) -> None:
        self.tables = Tables()
        self.writing = asyncio.Lock()
        """One transaction at a time, as in SQLite."""

"""What the in-memory store holds, and how a transaction stages changes of it."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, MutableMapping
from dataclasses import KW_ONLY, dataclass, field, fields
from datetime import datetime
from functools import partial
from itertools import count
from typing import TypeVar
from uuid import UUID

from shop.domain.keys import KeyedAnswer
from shop.domain.moving import MovedProduct
from shop.domain.orders import HistoryEntry, Order
from shop.domain.pages import CountedList
from shop.domain.products import Product
from shop.domain.sessions import RefreshToken, SessionFamily
from shop.domain.stock import StockMovement
from shop.domain.throttling import Attempts
from shop.domain.users import User

_from_one = partial(count, 1)


K = TypeVar("K")
V = TypeVar("V")


class Staged(MutableMapping[K, V]):
    """Changes on top of a table, which they reach when they are published."""

    def __init__(self, below: MutableMapping[K, V]) -> None:
        self._below = below
        self._written: dict[K, V] = {}
        self._deleted: set[K] = set()

    def __getitem__(self, key: K) -> V:
        if key in self._written:
            return self._written[key]
        if key in self._deleted:
            raise KeyError(key)
        return self._below[key]

    def __setitem__(self, key: K, value: V) -> None:
        self._written[key] = value
        self._deleted.discard(key)

    def __delitem__(self, key: K) -> None:
        if key not in self:
            raise KeyError(key)
        self._written.pop(key, None)
        self._deleted.add(key)

    def __iter__(self) -> Iterator[K]:
        for key in self._below:
            if key not in self._deleted:
                yield key
        for key in self._written:
            if key not in self._below:
                yield key

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def publish(self) -> None:
        for key in self._deleted:
            self._below.pop(key, None)
        self._below.update(self._written)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    holder: UUID
    expires_at: datetime


@dataclass(slots=True)
class Tables:
    """Values are frozen, so whoever reads one cannot change what is stored."""

    products: MutableMapping[int, Product] = field(default_factory=dict)
    orders: MutableMapping[UUID, Order] = field(default_factory=dict)
    movements: MutableMapping[int, StockMovement] = field(default_factory=dict)
    events: MutableMapping[int, HistoryEntry] = field(default_factory=dict)
    users: MutableMapping[int, User] = field(default_factory=dict)
    families: MutableMapping[UUID, SessionFamily] = field(default_factory=dict)
    tokens: MutableMapping[bytes, RefreshToken] = field(default_factory=dict)
    attempts: MutableMapping[bytes, Attempts] = field(default_factory=dict)
    leases: MutableMapping[str, Lease] = field(default_factory=dict)
    keys: MutableMapping[tuple[int, str], KeyedAnswer] = field(default_factory=dict)
    lengths: MutableMapping[tuple[str, int], CountedList] = field(default_factory=dict)
    moved_users: MutableMapping[int, bytes] = field(default_factory=dict)
    moved_products: MutableMapping[int, MovedProduct] = field(default_factory=dict)
    _: KW_ONLY
    ids: defaultdict[str, Iterator[int]] = field(default_factory=lambda: defaultdict(_from_one))
    """The next id of each table; as in a database, one that was taken is not given again."""

    def skip_ids(self, table: str, last: int) -> None:
        """As ids up to the last are taken, the next one given comes after it."""
        self.ids[table] = count(max(next(self.ids[table]), last + 1))

    def each(self) -> Iterator[MutableMapping]:  # type: ignore[type-arg]
        for name in _TABLES:
            yield getattr(self, name)

    def staged(self) -> "Tables":
        """Reads fall through to these tables, writes do not reach them."""
        return Tables(*(Staged(table) for table in self.each()), ids=self.ids)

    def publish(self) -> None:
        """Let what was staged reach the tables below."""
        for changed in self.each():
            assert isinstance(changed, Staged)
            changed.publish()


# In the order in which `Tables` takes them; found out once, since every transaction asks.
_TABLES = tuple(table.name for table in fields(Tables) if not table.kw_only)


class MemoryDatabase:
    def __init__(self) -> None:
        self.tables = Tables()
        self.currency: str | None = None
        self.writing = asyncio.Lock()
        """One transaction at a time, as in SQLite."""

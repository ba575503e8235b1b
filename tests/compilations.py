"""One cache of compiled statements for all engines of a test process.

An engine of SQLAlchemy has a cache of its own, and asks it for statements of its own dialect.
Each test has engines of its own, so each test compiled all its statements anew: a tenth to a fifth
of its time. Engines of one database compile the same statement to the same text.
"""

from typing import Any

from sqlalchemy.engine import Compiled
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import LRUCache

_Key = tuple[Any, ...]


class _Compilations(LRUCache[_Key, Compiled]):
    """Keeps them by the dialect's kind, where SQLAlchemy names the dialect itself."""

    def get(self, key: _Key, default: Any = None) -> Any:
        return super().get(_of_any_engine(key), default)

    def __setitem__(self, key: _Key, compiled: Compiled) -> None:
        super().__setitem__(_of_any_engine(key), compiled)


def _of_any_engine(key: _Key) -> _Key:
    dialect, *statement = key
    return type(dialect), dialect.server_version_info, *statement


_COMPILATIONS = _Compilations(5_000)


def create_engine_that_shares(url: Any, **options: Any) -> AsyncEngine:
    """As `create_async_engine`, in whose place it stands."""
    engine = create_async_engine(url, **options)
    engine.update_execution_options(compiled_cache=_COMPILATIONS)
    return engine

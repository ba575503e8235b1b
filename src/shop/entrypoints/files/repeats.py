"""Which SKUs a file has had before, however many they are."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from shop.domain.text import folded
from shop.entrypoints.files.sources import FileRefused


class SeenSkus:
    """Remembers SKUs and where they were.

    In a database of SQLite's that is a file of its own, goes with the process and has a few
    megabytes in memory: a million SKUs in a dictionary of Python's would take 200.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("CREATE TABLE seen (sku TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")

    def forget(self) -> None:
        self._connection.execute("DELETE FROM seen")

    def note(self, skus: Sequence[tuple[str, int]]) -> dict[int, int]:
        """Note SKUs with their lines; of those that were there before, the line of the first."""
        rows = [(folded(sku), line) for sku, line in skus]
        before = self._connection.total_changes
        try:
            self._connection.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", rows)
        except sqlite3.OperationalError as error:
            raise FileRefused(
                f"The temporary file of SKUs could not be written ({error})."
            ) from error
        if self._connection.total_changes - before == len(rows):
            return {}
        return {line: first for sku, line in rows if (first := self._first(sku)) != line}

    def _first(self, sku: str) -> int:
        [[line]] = self._connection.execute("SELECT line FROM seen WHERE sku = ?", [sku])
        assert isinstance(line, int)
        return line


@contextmanager
def seen_skus() -> Iterator[SeenSkus]:
    # An empty name: a file without one, which SQLite removes by itself.
    with closing(sqlite3.connect("", isolation_level=None)) as connection:
        connection.execute("BEGIN")
        yield SeenSkus(connection)

"""`shop products import`: rows of a file become products, whole batches at a time."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec
import rich_click as click

from shop.domain.bulk import ROWS_MAX, Outcome, Policy, ProductRow, RefusedRow, RowAnswer
from shop.domain.errors import (
    AlreadyDone,
    IdempotencyKeyReused,
    InvalidFields,
    OutOfStock,
    ShopError,
    SkuTaken,
    StockChanged,
)
from shop.domain.keys import KeyedRequest
from shop.domain.products import SKU_FOLDED_LENGTH_MAX
from shop.domain.users import OPERATOR
from shop.entrypoints.cli.progress import Through
from shop.entrypoints.container import Container
from shop.entrypoints.files.product_rows import FileRow, ProductFile
from shop.entrypoints.files.rejects import Rejects
from shop.entrypoints.files.repeats import SeenSkus

AT_ONCE = 2
"""Batches: while the database stores one, the next is read."""
BATCH_LENGTH_MAX = 4 << 20
"""In characters: a thousand rows with a megabyte each are several batches."""
KEY_LENGTH_MAX = 200
ROUTE = "shop products import"

Rows: TypeAlias = list[ProductRow | RefusedRow]

# What our fields are called that these are about.
_FIELD_OF: dict[type[ShopError], str] = {
    OutOfStock: "delta",
    SkuTaken: "sku",
    StockChanged: "expected",
}


class Done(msgspec.Struct, omit_defaults=True):
    """What became of a row, as it is kept under the key of its batch."""

    outcome: Outcome
    wrong: list[tuple[str, str]] = []
    """Our fields, and what is wrong with them."""


_DONE = msgspec.json.Decoder(list[Done])


@dataclass(kw_only=True)
class Import:
    """One run over a file."""

    container: Container
    file: ProductFile
    seen: SeenSkus
    through: Through
    position: Callable[[], int]
    """How far the file is read."""
    rejects: Rejects
    show: Callable[[FileRow, RowAnswer], None]
    """Is told of each row that changes something."""
    dry_run: bool
    key: str | None
    counts: Counter[Outcome] = field(default_factory=Counter, init=False)
    done_before: int = field(default=0, init=False)
    """Rows that another run has saved under the same key."""

    async def in_batches(self) -> None:
        """Each batch is saved by itself, without the rows that are refused."""
        batches = self._batches()

        async def work() -> None:
            for batch in batches:
                self._tell(batch, await self._save(batch))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(1 if self.dry_run else AT_ONCE):
                    group.create_task(work())
        except BaseExceptionGroup as failed:
            # The others were ended because of the first.
            raise failed.exceptions[0] from failed.exceptions[0].__cause__

    async def at_once(self, digest: bytes) -> bool:
        """All is saved in one transaction if no row is refused; whether it is."""
        batch: list[FileRow] = []
        attempts = 0

        def rows() -> Iterator[Rows]:
            nonlocal batch, attempts
            attempts += 1
            if attempts > 1:
                self._restart()
            for batch in self._batches():
                yield _rows_of(batch)

        def answered(answers: Sequence[RowAnswer]) -> None:
            self._tell(batch, list(map(_done, answers)))

        try:
            return await self.container.import_products()(
                caller=OPERATOR,
                batches=rows,
                answered=answered,
                key=self._keyed("", digest, lambda _: b"[]"),
            )
        except AlreadyDone:
            raise click.ClickException(
                f"This file was imported under the key {self.key!r} before; nothing was changed."
            ) from None

    def _restart(self) -> None:
        self.through.say("Another change was in the way: once more from the first row.")
        self.counts.clear()
        self.seen.forget()
        self.rejects.restart()
        self.file.restart()

    def _batches(self) -> Iterator[list[FileRow]]:
        for batch in _batched(self.file):
            self._refuse_repeated(batch)
            yield batch

    def _refuse_repeated(self, batch: Sequence[FileRow]) -> None:
        by_line = {row.line: row for row in batch if 0 < len(row.sku) <= SKU_FOLDED_LENGTH_MAX}
        for line, first in self.seen.note(
            [(row.sku, line) for line, row in by_line.items()]
        ).items():
            row = by_line[line]
            row.row = None
            row.problems += self.file.problems_of(row, [("sku", f"is on line {first} already")])

    async def _save(self, batch: Sequence[FileRow]) -> list[Done]:
        digest = hashlib.sha256(msgspec.json.encode([row.given for row in batch])).digest()
        try:
            answers = await self.container.save_products()(
                caller=OPERATOR,
                rows=_rows_of(batch),
                policy=Policy.EACH,
                dry_run=self.dry_run,
                key=self._keyed(f"/{batch[0].line}", digest, _kept),
            )
        except AlreadyDone as done:
            self.done_before += len(batch)
            return _DONE.decode(done.answer)
        except IdempotencyKeyReused:
            raise click.ClickException(
                f"Lines {batch[0].line} to {batch[-1].line} were imported under the key "
                f"{self.key!r} before, with something else in them. Put what is new into a file "
                "of its own (--rejects writes one of what was refused), and give it another key."
            ) from None
        for row, answer in zip(batch, answers, strict=True):
            if answer.outcome in (Outcome.CREATED, Outcome.CHANGED):
                self.show(row, answer)
        return list(map(_done, answers))

    def _keyed(
        self, part: str, digest: bytes, render: Callable[[list[RowAnswer]], bytes]
    ) -> KeyedRequest | None:
        if self.key is None or self.dry_run:
            return None
        return KeyedRequest(
            user_id=OPERATOR.user_id,
            key=f"{self.key}{part}",
            route=ROUTE,
            digest=digest,
            at=self.container.clock()(),
            render=render,
        )

    def _tell(self, batch: Sequence[FileRow], done: Sequence[Done]) -> None:
        for row, each in zip(batch, done, strict=True):
            self.counts[each.outcome] += 1
            if each.outcome is Outcome.REFUSED:
                row.problems = row.problems or self.file.problems_of(row, each.wrong)
                for problem in row.problems:
                    self.through.say(str(problem))
                self.rejects.take(row)
        self.through.advance(self.counts.total(), self.position())

    @property
    def saved(self) -> int:
        """Rows that are as the file has them."""
        return self.counts.total() - self.counts[Outcome.REFUSED]


def _batched(rows: Iterable[FileRow]) -> Iterator[list[FileRow]]:
    """Which rows come together depends on the file alone: under a key they are known again."""
    batch: list[FileRow] = []
    length = 0
    for row in rows:
        batch.append(row)
        length += row.length
        if len(batch) == ROWS_MAX or length >= BATCH_LENGTH_MAX:
            yield batch
            batch, length = [], 0
    if batch:
        yield batch


def _rows_of(batch: Sequence[FileRow]) -> Rows:
    return [row.row if row.row is not None else _refused(row) for row in batch]


def _refused(row: FileRow) -> RefusedRow:
    return RefusedRow(error=InvalidFields([(each.column, each.reason) for each in row.problems]))


def _kept(answers: list[RowAnswer]) -> bytes:
    return msgspec.json.encode(list(map(_done, answers)))


def _done(answer: RowAnswer) -> Done:
    return Done(answer.outcome, [] if answer.error is None else _wrong(answer.error))


def _wrong(error: ShopError) -> list[tuple[str, str]]:
    if isinstance(error, InvalidFields):
        return [(each["field"], each["message"]) for each in error.context["errors"]]
    return [(_FIELD_OF.get(type(error), ""), error.detail)]

"""A list of products of any length, saved as one change."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from shop.domain.bulk import Outcome, Policy, ProductRow, RefusedRow, RowAnswer
from shop.domain.keys import KeyedRequest
from shop.domain.ports import Clock, UnitOfWorkFactory
from shop.domain.services.retrying import retrying
from shop.domain.services.save_products import decide_rows, write_rows
from shop.domain.users import Caller


@dataclass(frozen=True, kw_only=True)
class ImportProducts:
    """All rows are saved in one transaction, or none, however many batches they come in."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    currency: str

    @retrying
    async def __call__(
        self,
        *,
        caller: Caller,
        batches: Callable[[], Iterable[Sequence[ProductRow | RefusedRow]]],
        answered: Callable[[Sequence[RowAnswer]], None],
        key: KeyedRequest | None = None,
    ) -> bool:
        """Whether all are saved: none was refused. Each batch is answered as it is decided.

        After the first refusal the others are only looked at. While it runs it holds the locks of
        all products that it has changed, in the order of the rows; where that crosses somebody
        else's order it asks for `batches` anew, from the first. Raises `OperatorOnly`.
        """
        caller.require_operator()
        is_refused = False
        async with self.unit_of_work(key=key) as uow:
            for rows in batches():
                decisions = await decide_rows(
                    uow, rows, caller=caller, clock=self.clock, currency=self.currency
                )
                answers: Sequence[RowAnswer] = decisions.answers
                is_refused |= any(answer.outcome is Outcome.REFUSED for answer in answers)
                if not is_refused:
                    answers = await write_rows(uow, decisions, caller=caller, policy=Policy.EACH)
                answered(answers)
            if is_refused:
                return False
            await uow.commit(True)
        return True

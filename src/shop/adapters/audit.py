"""The audit trail: security events as log lines with stable names."""

from collections import defaultdict
from collections.abc import Sequence

import structlog

from shop.domain.events import Event

logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("shop.audit")

TOGETHER_FROM = 11
TOGETHER_MAX = 100
"""So many on a line are far below the length at which a field is cut."""


class LogAudit:
    """Logs a line with the event's name and its fields.

    What happened to many things in one transaction is told together, up to `TOGETHER_MAX` on a
    line: a line for each would cost more than all else that is done for a thousand of them.
    """

    def __call__(self, event: Event) -> None:
        logger.info(event.name, audit=True, **_who(event), **event.about)

    def listen(self, events: Sequence[Event]) -> None:
        """Of what was committed, what concerns security."""
        alike = defaultdict(list)
        for event in events:
            if event.security:
                alike[event.name, event.by and event.by.actor_id, *event.about].append(event)
        for several in alike.values():
            if len(several) < TOGETHER_FROM:
                for event in several:
                    self(event)
            else:
                for start in range(0, len(several), TOGETHER_MAX):
                    _tell_together(several[start : start + TOGETHER_MAX])


def _tell_together(events: Sequence[Event]) -> None:
    """Each field has the values of all, in the same order."""
    first = events[0]
    about = {name: " ".join(str(event.about[name]) for event in events) for name in first.about}
    logger.info(first.name, audit=True, **_who(first), count=len(events), **about)


def _who(event: Event) -> dict[str, int | None]:
    return {} if event.by is None else {"user": event.by.actor_id}

"""The audit trail: security events as log lines with stable names."""

from collections.abc import Sequence

import structlog

from shop.domain.events import Event

logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("shop.audit")


class LogAudit:
    """Logs a line with the event's name and its fields."""

    def __call__(self, event: Event) -> None:
        who = {"user": event.by.actor_id} if event.by is not None else {}
        logger.info(event.name, audit=True, **who, **event.about)

    def listen(self, events: Sequence[Event]) -> None:
        """Of what was committed, what concerns security."""
        for event in events:
            if event.security:
                self(event)

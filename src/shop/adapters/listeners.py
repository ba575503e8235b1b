"""What happened in one transaction, kept until it is committed."""

from collections.abc import Sequence

import structlog

from shop.domain.events import Event
from shop.domain.ports import EventListener

logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("shop.events")


class RecordedEvents:
    def __init__(self, listeners: Sequence[EventListener]) -> None:
        self._listeners = listeners
        self._events: list[Event] = []

    def add(self, event: Event) -> None:
        self._events.append(event)

    def publish(self) -> None:
        """Call it when the transaction is committed: what fails here cannot undo it."""
        for listener in self._listeners:
            try:
                listener(self._events)
            except Exception:
                logger.exception("listener.failed")

"""The audit trail: security events as log lines with stable names."""

import json
import logging
from collections.abc import Sequence

from shop.domain.events import Event

logger = logging.getLogger("shop.audit")


class LogAudit:
    """Logs `event {fields as JSON}`, which no field's content can break out of."""

    def __call__(self, event: Event) -> None:
        who = {"user": event.by.actor_id} if event.by is not None else {}
        logger.info("%s %s", event.name, json.dumps({**who, **event.about}, default=str))

    def listen(self, events: Sequence[Event]) -> None:
        """Of what was committed, what concerns security."""
        for event in events:
            if event.security:
                self(event)

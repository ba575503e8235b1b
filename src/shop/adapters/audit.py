"""The audit trail: security events as log lines with stable names."""

import json
import logging

from shop.domain.ports import Audit

logger = logging.getLogger("shop.audit")


class LogAudit(Audit):
    """Logs `event {fields as JSON}`, which no field's content can break out of."""

    def __call__(self, event: str, **fields: str | int | None) -> None:
        logger.info("%s %s", event, json.dumps(fields))

"""What happened, as values: the audit trail and the metrics are told of it after the commit."""

from collections.abc import Mapping
from uuid import UUID

from shop.domain.users import Caller
from shop.domain.values import value


@value
class Event:
    """Something that happened, or was refused."""

    name: str
    """Stable, such as `order.cancelled`; docs/security.md lists those of the audit trail."""
    by: Caller | None = None
    """None where nobody is signed in; `about` then says which user it concerns, if any."""
    about: Mapping[str, str | int | UUID | None]
    """Ids and numbers by name; never a secret, nor what people typed."""
    security: bool = True
    """Whether it belongs in the audit trail."""
    pieces: int = 0
    """How many were sold by it."""

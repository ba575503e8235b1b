"""The address that a request comes from, as far as it can be trusted."""

import ipaddress
import logging
from collections.abc import Iterable, Sequence
from functools import cache

from litestar.types import Scope

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


logger = logging.getLogger("shop.http")


def client_address(scope: Scope, trusted: Sequence[Network]) -> str:
    """The address of the peer or, where that is a trusted proxy, the one it forwards for.

    `X-Forwarded-For` is read from its end, which the nearest proxy wrote. The first address that
    is not a trusted proxy's is the client's; what stands before it may be invented.
    """
    client = scope.get("client")
    address = peer = _parse(client[0]) if client else None
    for hop in reversed(list(_forwarded(scope["headers"]))):
        if address is None:
            break
        if not any(address in network for network in trusted):
            if address is peer:
                _warn_of_forwarding()
            break
        believed = _parse(hop)
        if believed is None:
            # This proxy does not write addresses: all its clients count as one.
            break
        address = believed
    return "" if address is None else str(address)


@cache
def _warn_of_forwarding() -> None:
    """Once: it comes with every request."""
    logger.warning(
        "X-Forwarded-For is ignored, since it came from an address that is not in "
        "SHOP_TRUSTED_PROXIES. If that is your proxy, name it there: until then all clients "
        "behind it count as one address, and their failed sign-ins slow each other down."
    )


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[str]:
    for name, value in headers:
        if name == b"x-forwarded-for":
            yield from (hop.strip() for hop in value.decode("latin-1").split(","))


def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A socket for both families shows IPv4 peers as ::ffff:192.0.2.1.
    return getattr(address, "ipv4_mapped", None) or address

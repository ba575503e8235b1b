"""The address that a request comes from, as far as it can be trusted."""

import ipaddress
from functools import cache, lru_cache

import structlog
from litestar.types import Scope

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("shop.http")


_FORWARDED_BYTES_MAX = 256
"""Of what is remembered; nobody may fill the memory with long ones."""


_ADDRESS_LENGTH_MAX = 64
"""With the name of a network interface, as in fe80::1%eth0, which has no bound of its own."""


def client_address(scope: Scope, trusted: tuple[Network, ...]) -> str:
    """The address of the peer or, where that is a trusted proxy, the one it forwards for.

    `X-Forwarded-For` is read from its end, which the nearest proxy wrote. The first address that
    is not a trusted proxy's is the client's; what stands before it may be invented.
    """
    client = scope.get("client")
    if not client:
        return ""
    forwarded = b",".join([value for name, value in scope["headers"] if name == b"x-forwarded-for"])
    # The line of each request has it, and clients come again.
    find = _client_behind if len(forwarded) <= _FORWARDED_BYTES_MAX else _find_client_behind
    address, is_ignored = find(client[0], forwarded, trusted)
    if is_ignored:
        _warn_of_forwarding()
    return address


def _find_client_behind(
    peer: str, forwarded: bytes, trusted: tuple[Network, ...]
) -> tuple[str, bool]:
    """The address, and whether what was forwarded is ignored."""
    address = first = _parse(peer)
    hops = forwarded.decode("latin-1").split(",") if forwarded else []
    for hop in reversed(hops):
        if address is None:
            break
        if not any(address in network for network in trusted):
            return str(address), address is first
        believed = _parse(hop.strip())
        if believed is None:
            # This proxy does not write addresses: all its clients count as one.
            break
        address = believed
    return "" if address is None else str(address), False


_client_behind = lru_cache(4_096)(_find_client_behind)


@cache
def _warn_of_forwarding() -> None:
    """Once: it comes with every request."""
    logger.warning(
        "proxy.untrusted",
        detail="X-Forwarded-For is ignored, since it came from an address that is not in "
        "SHOP_TRUSTED_PROXIES. If that is your proxy, name it there: until then all clients "
        "behind it count as one address, and their failed sign-ins slow each other down.",
    )


def _parse(text: str) -> Address | None:
    if len(text) > _ADDRESS_LENGTH_MAX:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A socket for both families shows IPv4 peers as ::ffff:192.0.2.1.
    return getattr(address, "ipv4_mapped", None) or address

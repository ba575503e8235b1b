"""Where a request comes from, as far as it can be believed."""

import ipaddress
from collections.abc import Iterable, Sequence

from litestar.types import Scope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(scope: Scope, trusted: Sequence[Network]) -> str:
    """The address of the peer or, where that is a trusted proxy, the one it forwards for.

    `X-Forwarded-For` is read from its end, which the nearest proxy wrote; the first address that is
    not a trusted proxy's is the client's, and what stands before it anybody may have made up.
    """
    client = scope.get("client")
    address = client[0] if client else ""
    if not _is_within(address, trusted):
        return address
    for hop in reversed(list(_forwarded(scope["headers"]))):
        address = hop
        if not _is_within(hop, trusted):
            break
    return address


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[str]:
    for name, value in headers:
        if name == b"x-forwarded-for":
            yield from (hop.strip() for hop in value.decode("latin-1").split(","))


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)

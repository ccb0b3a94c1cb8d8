"""The networks that limits count by: an IPv4 address, or the /64 of an IPv6 address."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import Final

# A customer gets a /64 or more (RFC 6177), and could pass any limit on single addresses.
IPV6_BITS: Final = 64


def network_of(address: str) -> str:
    """Return the network of a client's address.

    Anything that is no address, such as the name of a stream, is a network by itself.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:  # a socket for both versions shows IPv4 so
        return str(found.ipv4_mapped)
    return f"{found.packed[: IPV6_BITS // 8].hex(':', 2)}::/{IPV6_BITS}"

"""Addresses that a setting trusts: single ones, networks, and `unix`."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from trio_chat.config.endpoints import UNIX_ADDRESS


def is_trusted(address: str, proxies: tuple[str, ...]) -> bool:
    """Whether an address is among `proxies`, or in one of their networks.

    `proxies` is the value of the setting `trusted_proxies` or `private_networks`.
    """
    if not proxies:
        return False
    if address == UNIX_ADDRESS:
        return address in proxies
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in trusted_networks(proxies))


@lru_cache(maxsize=2)  # every connection passes the same two tuples
def trusted_networks(proxies: tuple[str, ...]) -> list[IPv4Network | IPv6Network]:
    """Return the networks of `proxies`. A single address is a network, too."""
    return [ip_network(proxy) for proxy in proxies if proxy != UNIX_ADDRESS]

"""Networks: what limits count by, and what a ban may be about.

A customer may have one IPv4 address or 256, and an IPv6 prefix of 64, 56 or 48 bits (RFC 6177).
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TYPE_CHECKING, Final, TypeAlias

from trio_chat.config.endpoints import is_local
from trio_chat.errors import Code, Refused
from trio_chat.people.marks import TAG_CHARS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trio_chat.people.marks import Marks

Network: TypeAlias = IPv4Network | IPv6Network

# The prefix lengths of networks that have a tag, the narrowest first, by the version of IP.
LENGTHS: Final[Mapping[int, tuple[int, ...]]] = {4: (32, 24), 6: (64, 56, 48)}
# Networks with a tag that one target may stand for: an IPv4 /16, or an IPv6 /40.
MOST_NETWORKS: Final = 256
# The bits of IPv6 before an IPv4 address that is written in it.
MAPPED_BITS: Final = 96
MAPPED: Final = bytes(10) + b"\xff\xff"
IPV4_BYTES: Final = 4
# The form of a tag; see `Marks.of_guests`.
TAG: Final = re.compile(f"[0-9a-f]{{{TAG_CHARS}}}")
# Addresses whose tags are at hand. To make them takes some 10 microseconds.
MOST_ADDRESSES: Final = 16_384


def networks_of(address: str) -> tuple[str, ...]:
    """Return the networks of a client's address that have a tag, the narrowest first.

    Anything that is no address, such as the name of a stream, is a network by itself.
    """
    # Each new connection asks: `ipaddress` would take five times as long.
    packed = _packed(address)
    if packed is None:
        return (address,)
    if len(packed) == IPV4_BYTES:
        text = inet_ntop(AF_INET, packed)
        return text, f"{text.rpartition('.')[0]}.0/24"
    return tuple(_ipv6(packed[: length // 8], length) for length in LENGTHS[6])


def _packed(address: str) -> bytes | None:
    """Return the bytes of an IP address: 4, or 16 of IPv6. Other text is `None`."""
    host = address.partition("%")[0]  # before the scope of a local IPv6 address
    try:
        if ":" not in host:
            return inet_pton(AF_INET, host)
        # A socket for both versions shows IPv4 addresses as mapped ones.
        return inet_pton(AF_INET6, host).removeprefix(MAPPED)
    except (OSError, ValueError):
        return None


def _ipv6(begin: bytes, length: int) -> str:
    return f"{begin.ljust(8, bytes(1)).hex(':', 2)}::/{length}"


def network_of(address: str) -> str:
    """Return the narrowest network of a client's address: limits count by it.

    A customer could pass any limit on single IPv6 addresses.
    """
    return networks_of(address)[0]


def parse_network(text: str) -> Network:
    """Return the network that an address or a CIDR stands for. Raises `Refused` for others."""
    try:
        network = ip_network(text, strict=False)
        if isinstance(network, IPv6Network) and network.prefixlen >= MAPPED_BITS:
            mapped = network.network_address.ipv4_mapped
            if mapped is not None:
                return IPv4Network((int(mapped), network.prefixlen - MAPPED_BITS))
    except ValueError:
        sentence = f"{text!r} is no network: 203.0.113.0/24, or 2001:db8::/56"
        raise Refused(sentence, code=Code.BAD_USAGE) from None
    return network


def parts_of(network: Network) -> list[str]:
    """Return the networks with a tag that together are this one. Raises `Refused` for too many.

    A network that is narrower than any with a tag is widened.
    """
    lengths = LENGTHS[network.version]
    if network.prefixlen >= lengths[0]:
        return [_word(network.supernet(new_prefix=lengths[0]))]
    length = min(known for known in lengths if known >= network.prefixlen)
    if 1 << (length - network.prefixlen) > MOST_NETWORKS:
        sentence = f"{network} is too wide: a ban or mute may be about an IPv4 /16 or an IPv6 /40"
        raise Refused(sentence, code=Code.BAD_USAGE)
    return [_word(part) for part in network.subnets(new_prefix=length)]


def _word(network: Network) -> str:
    """Return a network as the text that stored marks are made of: it never changes."""
    if isinstance(network, IPv6Network):
        return _ipv6(network.network_address.packed[:8], network.prefixlen)
    is_single = network.prefixlen == network.max_prefixlen
    return str(network.network_address if is_single else network)


class Tags:
    """The tags of networks: moderators and rules know a network by its tag alone."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self.of_address = lru_cache(MOST_ADDRESSES)(self._of_address)

    def of_networks(self, networks: Iterable[str]) -> tuple[str, ...]:
        """Return a tag for each of these networks, as `networks_of` and `parts_of` give them."""
        return tuple(map(self._marks.of_guests, networks))

    def _of_address(self, address: str) -> tuple[str, ...]:
        """Return the tags of an address's networks, the narrowest first.

        This machine has none: no rule may shut out its owner, or a proxy on it.
        """
        return () if is_local(address) else self.of_networks(networks_of(address))

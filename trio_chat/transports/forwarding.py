"""The headers in which HTTP proxies name their client: `X-Forwarded-For` and `Forwarded`.

Each proxy adds the address of its own client at the right. So the rightmost address that is not a
trusted proxy's was seen by a trusted proxy. The addresses before it may be invented.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from trio_chat.config.trusted import is_trusted
from trio_chat.hub.inbox import CameFrom

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*"?([^";]*)"?', re.IGNORECASE)
# An address in brackets, or an address with a port.
_WITH_PORT: Final = re.compile(r"\[([^\[\]]*)\](?::([0-9]{1,5}))?|([^:]*):([0-9]{1,5})")


def client_of(headers: Mapping[str, str], proxies: tuple[str, ...]) -> CameFrom | None:
    """Return the client that a trusted proxy names in these headers, which have lower-case names.

    Returns `None` if they name no client, or only trusted proxies. `proxies` is the value of the
    setting `trusted_proxies`.
    """
    for text in reversed(_named(headers)):
        client = _client(text.strip())
        if client is None or not is_trusted(client.address, proxies):
            return client
    return None


def _named(headers: Mapping[str, str]) -> list[str]:
    """Return all addresses in order, as they are written."""
    if "x-forwarded-for" in headers:
        return headers["x-forwarded-for"].split(",")
    found = map(_FOR.search, headers.get("forwarded", "").split(","))
    return ["" if one is None else one[1] for one in found]


def _client(text: str) -> CameFrom | None:
    """Parse an address with or without a port; `None` for anything else, such as `unknown`."""
    port = ""
    if with_port := _WITH_PORT.fullmatch(text):
        in_brackets, port_behind, plain, port = (part or "" for part in with_port.groups())
        text, port = in_brackets or plain, port_behind or port
    try:
        ip = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or ip
    address = str(ip)
    if not port:
        return CameFrom(address, address)
    shown = f"[{address}]" if isinstance(ip, IPv6Address) else address
    return CameFrom(f"{shown}:{port}", address)

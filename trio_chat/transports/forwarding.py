"""The headers in which proxies by HTTP say whom they speak for: `X-Forwarded-For`, or `Forwarded`.

Each proxy writes the address of its own client behind what came. So the rightmost address that is
none of a trusted proxy is the one that somebody trusted has seen. Those before it may be invented.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from trio_chat.hub.inbox import CameFrom
from trio_chat.transports.proxy_protocol import is_trusted

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*"?([^";]*)"?', re.IGNORECASE)
# An address in brackets, or one with a port behind it.
_WITH_PORT: Final = re.compile(r"\[([^\[\]]*)\](?::([0-9]{1,5}))?|([^:]*):([0-9]{1,5})")


def client_of(headers: Mapping[str, str], proxies: tuple[str, ...]) -> CameFrom | None:
    """Give whom a trusted proxy speaks for in these headers, with their names in lower case.

    `None` if it names nobody, or the trusted proxies alone. `proxies` is as the setting
    `trusted_proxies` has it.
    """
    for text in reversed(_named(headers)):
        client = _client(text.strip())
        if client is None or not is_trusted(client.address, proxies):
            return client
    return None


def _named(headers: Mapping[str, str]) -> list[str]:
    """All addresses in order, as they are written."""
    if "x-forwarded-for" in headers:
        return headers["x-forwarded-for"].split(",")
    found = map(_FOR.search, headers.get("forwarded", "").split(","))
    return ["" if one is None else one[1] for one in found]


def _client(text: str) -> CameFrom | None:
    """Read an address, perhaps with a port; `None` if it is none, such as `unknown`."""
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

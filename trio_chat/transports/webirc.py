"""The line in which a gateway names its client of IRC (IRCv3, WEBIRC), before all other lines.

Only trusted proxies may send it, so its password counts for nothing.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Final

from trio_chat.hub.inbox import CameFrom
from trio_chat.transports.proxy_protocol import Header, MalformedHeader

START: Final = b"WEBIRC "
# As long as any line of IRC without tags.
MOST_BYTES: Final = 512
# The command, and the password, the gateway, and the host and the address of the client.
_WORDS: Final = 5


def read_line(first: bytes, *, late: bool = False) -> Header | None:
    """Read the line from bytes that begin with `START`; `None` if bytes are missing.

    If it is `late`, no more bytes will come. Raises `MalformedHeader` as soon as an error shows.
    """
    size = first.find(b"\n", 0, MOST_BYTES) + 1
    if not size:
        if late or len(first) >= MOST_BYTES:
            raise MalformedHeader("its line has no end")
        return None
    words = first[:size].decode("latin-1").split()
    if len(words) < _WORDS:
        raise MalformedHeader("its line has too few parameters")
    try:
        # A colon before the last parameter is none of its own.
        text = words[4] if words[4].startswith("::") else words[4].removeprefix(":")
        ip = ip_address(text.partition("%")[0])
    except ValueError:
        raise MalformedHeader("its line has a wrong address") from None
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or ip
    return Header(size, CameFrom(str(ip), str(ip)))

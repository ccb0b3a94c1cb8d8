r"""The PROXY protocol: a proxy names its client in a header before all other bytes.

This follows haproxy's proxy-protocol.txt of 2020/03/05, versions 1 and 2. A header is a line that
begins with `PROXY `, or a binary block. Headers that break the specification are refused. In
version 2, everything after the addresses is skipped.

The target address is not used. In version 1 it may be of the other family: nginx writes the address
at which it was reached itself.

Only TCP addresses are of use here. A client that reached the proxy by a unix socket, by datagrams
or by another kind of transport gets the proxy's own address. The specification allows this (UNKNOWN
in version 1, UNSPEC in version 2).
"""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address

from attrs import frozen

from trio_chat.hub.inbox import CameFrom

V1 = b"PROXY "
V2 = b"\r\n\r\n\0\r\nQUIT\n"
SIGNATURES = (V1, V2)

# Version 1: the longest line with its end, by the specification (2.1).
LINE_BYTES = 107
# Version 2: the most bytes after the first 16. The specification wants a header to fit into 536
# bytes, but proxies may add a few kilobytes about certificates.
MOST_BYTES = 4_096

_HEAD_BYTES = 16
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
# Version 2: the length of the addresses by family and transport. The addresses are unknown if one
# of the two is unspecified.
_UNSPECIFIED = dict.fromkeys((0x00, 0x01, 0x02, 0x10, 0x20, 0x30), 0)
_ADDRESS_BYTES = _UNSPECIFIED | {_TCP4: 12, 0x12: 12, _TCP6: 36, 0x22: 36, 0x31: 216, 0x32: 216}

_UNKNOWN_LINE = re.compile(rb"PROXY UNKNOWN(?: .*)?\r\n")
_PORT = rb"(0|[1-9][0-9]{0,4})"
_TCP_LINE = re.compile(
    rb"PROXY (TCP[46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) %b %b\r\n" % (_PORT, _PORT)
)
_LAST_PORT = 65_535

_IPV4_BYTES, _IPV6_BYTES = 4, 16
# IPv6 sockets put these bytes before the address of an IPv4 client (RFC 4291, 2.5.5.2).
_MAPPED = bytes(10) + b"\xff\xff"


class MalformedHeader(Exception):
    """A header that breaks the specification. The text says where, in a few words."""


@frozen
class Header:
    """A header: its size in bytes, and the client that it names, or `None`.

    `own` means that the proxy speaks for itself.
    """

    size: int
    client: CameFrom | None
    own: bool = False


def read_header(first: bytes) -> Header | None:
    """Read a header from bytes that begin with one of `SIGNATURES`; `None` if bytes are missing.

    Raises `MalformedHeader` as soon as an error shows.
    """
    return _read_v1(first) if first.startswith(V1) else _read_v2(first)


def _read_v1(first: bytes) -> Header | None:
    size = first.find(b"\n", 0, LINE_BYTES) + 1
    if not size:
        if len(first) >= LINE_BYTES:
            raise MalformedHeader("its line is too long")
        return None
    line = first[:size]
    if _UNKNOWN_LINE.fullmatch(line):
        return Header(size, None)
    found = _TCP_LINE.fullmatch(line)
    if found is None:
        raise MalformedHeader("its line is not one of version 1")
    transport, source, target, *ports = (part.decode() for part in found.groups())
    family = socket.AF_INET if transport == "TCP4" else socket.AF_INET6
    try:
        packed, _ = socket.inet_pton(family, source), ip_address(target)
    except (OSError, ValueError):
        raise MalformedHeader("its line has a wrong address") from None
    if any(int(port) > _LAST_PORT for port in ports):
        raise MalformedHeader("its line has a wrong port")
    return Header(size, _client(packed, int(ports[0])))


def _read_v2(first: bytes) -> Header | None:
    if len(first) < _HEAD_BYTES:
        return None
    command, kind, length = first[12], first[13], int.from_bytes(first[14:16])
    if command not in (_LOCAL, _PROXY):
        raise MalformedHeader("its version or command is unknown")
    if length > MOST_BYTES:
        raise MalformedHeader(f"it is longer than {MOST_BYTES} bytes")
    if command == _PROXY:
        if kind not in _ADDRESS_BYTES:
            raise MalformedHeader("its address family or transport is unknown")
        if length < _ADDRESS_BYTES[kind]:
            raise MalformedHeader("it is shorter than its addresses")
    size = _HEAD_BYTES + length
    if len(first) < size:
        return None
    if command == _LOCAL:
        return Header(size, None, own=True)
    if kind not in (_TCP4, _TCP6):
        return Header(size, None)
    width = _IPV4_BYTES if kind == _TCP4 else _IPV6_BYTES
    # The two addresses come first, then the two ports. The source comes before the target.
    source, ports = first[_HEAD_BYTES:], first[_HEAD_BYTES + 2 * width :]
    return Header(size, _client(source[:width], int.from_bytes(ports[:2])))


def _client(packed: bytes, port: int) -> CameFrom:
    """Return the record for an address, written as for a client without a proxy."""
    packed = packed.removeprefix(_MAPPED)
    if len(packed) == _IPV4_BYTES:
        address = socket.inet_ntop(socket.AF_INET, packed)
        return CameFrom(f"{address}:{port}", address)
    address = socket.inet_ntop(socket.AF_INET6, packed)
    return CameFrom(f"[{address}]:{port}", address)

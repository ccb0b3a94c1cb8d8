"""A WebSocket by hand: the request, and frames whose mask changes nothing."""

from __future__ import annotations

REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(head: int, payload: bytes, *, length: int | None = None) -> bytes:
    """One frame of a client; its length may be a lie. With such a mask a fuzzer sees through it."""
    size = len(payload) if length is None else length
    lengths = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2)
    return bytes((head,)) + lengths + bytes(4) + payload

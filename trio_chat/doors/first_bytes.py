"""Tells from a connection's first bytes who came: a browser, or a person with telnet.

Nobody is greeted, so the first bytes are the client's. A line server that takes a browser's POST
for commands could be spoken to by any web page its user opens; so whoever starts with an HTTP verb
gets an HTTP answer and never a room.
"""

from __future__ import annotations

# RFC 9110, 5789 and 9113 (whose connections begin with PRI).
VERBS = (
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"PRI ",
)

_SENTENCE = (
    b"This is a chat server for plain lines: reach it with telnet or nc, not with a browser.\n"
)
HTTP_REFUSAL = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\n"
    b"Connection: close\r\n"
    b"\r\n%b" % (len(_SENTENCE), _SENTENCE)
)


def is_http(first: bytes) -> bool | None:
    """Whether these are the first bytes of an HTTP client; `None` as long as they do not tell."""
    if first.startswith(VERBS):
        return True
    if any(verb.startswith(first) for verb in VERBS):
        return None
    return False

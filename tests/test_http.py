"""Answers to HTTP requests, and the requests that become a WebSocket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opening import records, split

from trio_chat import Settings
from trio_chat.dialects.answers import ANSWERS
from trio_chat.dialects.websocket import DOCUMENTS
from trio_chat.http.head import HEAD_BYTES, HEADERS
from trio_chat.http.request import read_opening
from trio_chat.protocol.commands import Answer, Disconnected, Greet, Served, SwitchEncoding

SETTINGS = Settings()
Answered = Answer | Disconnected | Greet | Served | SwitchEncoding
# The example of RFC 6455, 1.3.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def request(
    method: str = "GET", target: str = "/ws", version: str = "HTTP/1.1", **headers: str | None
) -> bytes:
    """A request that makes a WebSocket, but for what is given; `None` leaves a header out."""
    default = {
        "Host": "localhost:8888",
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Sec_WebSocket_Key": KEY,
        "Sec_WebSocket_Version": "13",
    }
    lines = [f"{method} {target} {version}"]
    for name, value in (default | headers).items():
        if value is not None:
            lines.append(f"{name.replace('_', '-')}: {value}")
    return "\r\n".join([*lines, "", ""]).encode()


def status(first: bytes, settings: Settings = SETTINGS) -> int:
    opening = read_opening(first, settings)
    assert opening is not None
    assert opening.served is not None
    line, _, rest = opening.served.answer.partition(b"\r\n")
    head, _, body = rest.partition(b"\r\n\r\n")
    code = int(line.split()[1])
    assert code == opening.served.status
    if code == 101:
        assert opening.upgrades
        assert body == b""
    else:
        lines = head.split(b"\r\n")
        assert (b"Connection: close" in lines) == (not opening.keeps)
        assert code < 400 or not opening.keeps
        assert bool(opening.served.refusal) == (code >= 400)
        if first.strip().startswith(b"HEAD") or code == 204:
            assert body == b""
        else:
            assert f"Content-Length: {len(body)}".encode() in lines
            assert body.endswith(b"\n") or code == 200
        assert b"X-Content-Type-Options: nosniff" in lines
    return code


def test_an_upgrade_is_answered_as_the_rfc_has_it() -> None:
    opening = read_opening(request() + b"rest", SETTINGS)
    assert opening is not None
    assert opening.size == len(request())
    assert opening.upgrades
    assert opening.served is not None
    assert opening.served.answer == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (request(), 101),
        (request(target="/ws?room=x"), 101),
        (request(Upgrade="WebSocket", Connection="upgrade"), 101),
        (request().replace(b"\r\n", b"\n"), 101),
        (request(target="/"), 200),
        (request(target="/WS"), 404),
        (request("POST"), 405),
        (request("HEAD"), 405),
        (request(Upgrade=None), 426),
        (request(Connection="keep-alive"), 426),
        (request(Upgrade="h2c"), 426),
        (request(Sec_WebSocket_Version="8"), 426),
        (request(Sec_WebSocket_Version=None), 426),
        (request(Sec_WebSocket_Key=None), 400),
        (request(Sec_WebSocket_Key="short"), 400),
        (request(Sec_WebSocket_Key="\u00e9" * 12), 400),
        (request(Content_Length="5"), 400),
        (request(Transfer_Encoding="chunked"), 400),
        (request(version="HTTP/2.0"), 505),
        (request(version="HTTP/9"), 400),
        (request(Host=None), 400),
        (request(X="a\r\nHost: localhost"), 400),
        (request(**{"X y": "z"}), 400),
        (b"GET \r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n" + b"x" * HEAD_BYTES, 431),
        (request(X="x" * HEAD_BYTES), 431),
        (b"GET /ws HTTP/1.1\r\n" + b"a: b\r\n" * HEADERS + b"\r\n", 431),
    ],
)
def test_each_request_has_its_answer(first: bytes, code: int) -> None:
    assert status(first) == code


@pytest.mark.parametrize(
    ("first", "code"),
    [
        # Lines of one name are one list (RFC 9110, 5.3), and one line may be folded (9112, 5.2).
        (request(Connection="Upgrade\r\nConnection: keep-alive"), 101),
        (request(Connection="keep-alive\r\nCONNECTION: x, UPGRADE"), 101),
        (request(Upgrade="h2c\r\nUpgrade: websocket"), 101),
        (request(Connection="keep-alive,\r\n\tUpgrade"), 101),
        (request(Sec_WebSocket_Key=f"{KEY}\r\nSec-WebSocket-Key: {KEY}"), 400),
        # Targets (9112, 3.2): the name in an absolute one counts, and not Host.
        (request(target="http://localhost/ws"), 101),
        (request(target="HTTP://LOCALHOST:80/ws?a=b"), 101),
        (request(target="http://localhost/ws", Host="evil.example"), 101),
        (request(target="http://evil.example/ws"), 403),
        (request(target="http://localhost@evil.example/ws"), 400),
        (request(target="http://localhost"), 200),
        (request(target="https://[::1]?x"), 200),
        (request(target="ftp://localhost/"), 400),
        (request(target="ws"), 400),
        (request("CONNECT", "localhost:443"), 400),
        (request(target="*"), 400),
        (request(target="/?x=%zz"), 200),
        # Percent-encoding (3986, 6.2.2).
        (request(target="/%77%73"), 101),
        (request(target="/main%2Ejs"), 200),
        (request(target="/%6dain.js"), 200),
        (request(target="/%2fws"), 404),
        (request(target="/%zz"), 404),
        (request(target="/%"), 404),
        # Methods (9110, 9.3): their case counts; any resource may be asked what it takes.
        (request("OPTIONS"), 204),
        (request("OPTIONS", "/"), 204),
        (request("OPTIONS", "*"), 204),
        (request("OPTIONS", "/nothing"), 404),
        (request("TRACE", "/"), 405),
        (request("DELETE", "/main.js"), 405),
        (request("GeT", "/"), 405),
        # Bodies (9112, 6): those that nobody reads are refused, and so are those of two lengths.
        (request(target="/", Content_Length="0"), 200),
        (request("HEAD", "/", Content_Length="3"), 400),
        (request("POST", "/", Content_Length="3") + b"abc", 405),
        (request("POST", "/", Transfer_Encoding="chunked") + b"0\r\n\r\n", 405),
        (request("POST", "/", Transfer_Encoding="chunked", Content_Length="3"), 400),
        (request("POST", "/", Transfer_Encoding="gzip"), 400),
        (request("POST", "/", Content_Length="3\r\nContent-Length: 4"), 400),
        (request("POST", "/", Content_Length="-3"), 400),
        # Nobody has to wait for a 100 who is told the end at once (9110, 10.1.1).
        (request(target="/", Expect="100-continue"), 200),
        (request("PUT", "/", Expect="100-Continue", Content_Length="3"), 405),
        # Host (9112, 3.2).
        (request(Host="localhost\r\nHost: localhost"), 400),
        (request(Host="local host"), 400),
        (request(Host="localhost/x"), 400),
        (request(Host="localhost:x"), 400),
        (request(target="/", version="HTTP/1.0", Host=None), 200),
        (request(target="/", version="HTTP/1.0", Host="evil.example"), 403),
        (request("OPTIONS", "/", version="HTTP/1.0", Host=None), 204),  # as haproxy asks
        # Versions (9110, 6.2): a newer 1.x is spoken to as 1.1. By 1.0 nothing is upgraded (7.8).
        (request(version="HTTP/1.0"), 426),
        (request(version="HTTP/1.2"), 101),
        (request(version="HTTP/1.2", Host=None), 400),
        (request(version="http/1.1"), 400),
        # Empty lines before a request (9112, 2.2), and spaces where none may be (5.1).
        (b"\r\n" + request(), 101),
        (b"\r\n\n\r\n" + request("HEAD", "/"), 200),
        (b"\r\n" * HEADERS + request(), 431),
        (request().replace(b"Host:", b"Host :"), 400),
        (request(Host=" \tlocalhost \t"), 101),
        (request(Sec_WebSocket_Version="13\r\nSec-WebSocket-Version: 8"), 426),
        (request(X="a\0b"), 400),
        (request(X="\x85\xff"), 101),
    ],
)
def test_http_is_read_as_the_rfcs_have_it(first: bytes, code: int) -> None:
    assert status(first) == code


def told(first: bytes) -> dict[str, str]:
    """The headers of the answer, by their names in lower case."""
    opening = read_opening(first, SETTINGS)
    assert opening is not None
    assert opening.served is not None
    lines = opening.served.answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


def test_a_refusal_says_what_would_do() -> None:
    for wrong in ({"Sec_WebSocket_Version": "8"}, {"Upgrade": None}):
        assert told(request(**wrong))["sec-websocket-version"] == "13"
        assert told(request(**wrong))["upgrade"] == "websocket"
    assert told(request("POST", "/"))["allow"] == told(request("OPTIONS", "/"))["allow"]
    assert told(request("OPTIONS", "*"))["allow"] == "GET, HEAD, OPTIONS"
    assert told(request("POST"))["allow"] == told(request("OPTIONS"))["allow"] == "GET, OPTIONS"
    assert "content-length" not in told(request("OPTIONS"))


def test_a_path_of_operators_is_known_as_it_is_written_alone() -> None:
    # A proxy hides these paths by their names, so they must have no other name.
    asked: list[str] = []

    def reports(path: str, headers: object) -> None:
        asked.append(path)

    for path in ("/%6detrics", "/healthz%2Flive", "/metrics?x"):
        read_opening(request(target=path), SETTINGS, reports=reports)
    assert asked == ["/%6detrics", "/healthz%2Flive", "/metrics"]


@pytest.mark.parametrize(
    ("host", "good"),
    [
        *((name, True) for name in ("localhost", "LOCALHOST:1", "127.0.0.1:8888", "127.1.2.3")),
        *((name, True) for name in ("[::1]:8888", "[::1]", "localhost.")),
        *((name, False) for name in ("evil.example", "localhost.evil.example", "192.0.2.1")),
        *((name, False) for name in ("", ":8888", "[::2]", "127.0.0.1.evil.example")),
        *((name, False) for name in ("chat.example.org", "[::1]evil.example", "[::1")),
        ("localhost@evil.example", False),
    ],
)
def test_a_host_must_be_the_servers_own(host: str, *, good: bool) -> None:
    malformed = host in ("[::1]evil.example", "[::1", "localhost@evil.example")
    assert status(request(Host=host)) == (101 if good else 400 if malformed else 403)


def test_a_host_may_be_one_of_the_setting() -> None:
    settings = Settings(http_hosts=("Chat.example.org", "192.0.2.1"))
    for host in ("chat.example.org", "chat.example.org:443", "192.0.2.1:8888", "localhost"):
        assert status(request(Host=host), settings) == 101
    assert status(request(Host="www.chat.example.org"), settings) == 403


@pytest.mark.parametrize(
    ("origin", "good"),
    [
        ("http://localhost:8888", True),
        ("https://LOCALHOST:8888", True),
        ("http://localhost", False),
        ("http://localhost:3000", False),  # another program of the same machine
        ("http://evil.example", False),
        ("null", False),
        ("", False),
        ("localhost:8888", False),
        ("file://localhost:8888", False),
        ("http://localhost:8888.evil.example", False),
    ],
)
def test_an_origin_must_be_the_same_host(origin: str, *, good: bool) -> None:
    assert status(request(Origin=origin)) == (101 if good else 403)


def test_an_origin_may_be_one_of_the_setting() -> None:
    settings = Settings(http_origins=("https://chat.example.org",))
    assert status(request(Origin="https://chat.example.org"), settings) == 101
    assert status(request(Origin="http://chat.example.org"), settings) == 403
    two = request(Origin="https://chat.example.org", X="y\r\nOrigin: https://chat.example.org")
    assert status(two, settings) == 403


@pytest.mark.parametrize("first", [request(), request(target="/nothing")])
def test_a_head_may_be_split_anywhere(first: bytes) -> None:
    # A close and what comes after it.
    sent = first + b"\x88\x80abcd/join #a\n"
    whole = records([sent])
    for pieces in split(sent, cuts=40):
        assert records(pieces) == whole
    if first == request():
        assert isinstance(whole[0], Served)
        assert whole[1] == Greet(DOCUMENTS)
        assert whole[3] == Disconnected("closed with 1005", for_good=True)
        assert len(whole) == 4
    else:
        assert whole[0] == SwitchEncoding(ANSWERS)
        assert isinstance(whole[1], Served)
        assert (whole[1].status, whole[1].request) == (404, "GET /nothing")
        assert whole[2:] == [Disconnected("spoke HTTP")]


@given(data=st.binary(max_size=200), late=st.booleans())
def test_no_bytes_crash_it_and_none_becomes_a_line(data: bytes, *, late: bool) -> None:
    for start in (
        b"GET ",
        b"\r\nGET ",
        b"POST /ws HTTP/1.1\r\n",
        request()[:-2],
        request(Content_Length="1"),
    ):
        opening = read_opening(start + data, SETTINGS, late=late)
        assert opening is not None or not late
        assert all(
            isinstance(record, Answered) or start == request()[:-2]
            for record in records([start + data])
        )

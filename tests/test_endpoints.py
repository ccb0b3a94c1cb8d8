"""Several places to listen at, each with what it takes: as a setting, and by what is answered."""

from __future__ import annotations

import socket
import stat
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from loopback import chat_on_tcp, until
from needs import needs
from opening import records, run

from trio_chat import Endpoint, ListenError, Settings, SettingsError, open_chat
from trio_chat.config.endpoints import from_text
from trio_chat.config.sources import load
from trio_chat.config.trusted import is_trusted
from trio_chat.daemon.addresses import announce
from trio_chat.snapshot.codec import read_state, write_state
from trio_chat.snapshot.model import ChatSnapshot
from trio_chat.transports.first_bytes import FIRST_BYTES_SECONDS
from trio_chat.transports.rejection import NO_TLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from served import Serve

# --- as a setting ---------------------------------------------------------------------------------

CONFIG = """
[[listen]]
port = 2300
accept = ["line"]

[[listen]]
host = "::1"
port = 4430
accept = ["tls", "http"]

[[listen]]
unix = "/run/chat.sock"
mode = 0o660
"""
WANTED = (
    Endpoint(port=2300, accept=("line",)),
    Endpoint("::1", 4430, accept=("http", "tls")),
    Endpoint(unix="/run/chat.sock"),
)


def test_tables_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "chat.toml"
    file.write_text(CONFIG.replace('"tls", ', ""))
    settings = load({}, {}, file)
    assert settings.listen == (
        WANTED[0],
        Endpoint("::1", 4430, accept=("http",)),
        Endpoint(unix="/run/chat.sock", mode=0o660),
    )
    assert settings.instance == "2300"


def test_a_flag_and_a_variable_are_the_same_in_a_line() -> None:
    text = "127.0.0.1:2300=line, [::1]:4430=tls+http, unix:/run/chat.sock"
    with pytest.raises(SettingsError, match=r"listen takes TLS at \[::1\]:4430: that needs tls_c"):
        load({"listen": text}, {}, None)
    assert tuple(map(from_text, text.split(","))) == WANTED
    text = text.replace("tls+", "")
    settings = load({"listen": text}, {}, None)
    assert load({}, {"TRIO_CHAT_LISTEN": text}, None) == settings
    assert ",".join(endpoint.text for endpoint in settings.listen) == text.replace(", ", ",")


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("[[listen]]\nprot = 1", "must have no key 'prot': did you mean 'port'?"),
        ("listen = [1]", "must have a table [[listen]] for each, not 1"),
        ("listen = 1", "must have a table [[listen]] for each, not 1"),
        (
            "listen = '0.0.0.0:80'",
            'not "0.0.0.0:80": write listen = [{host = "0.0.0.0", port = 80}]',
        ),
        (
            "listen = ['unix:/run/x=line']",
            'not "unix:/run/x=line": write listen = [{unix = "/run/x", accept = ["line"]}]',
        ),
        (
            "[listen]\nport = 1",
            "must have a table [[listen]] for each, not {port = 1}: write [[listen]]",
        ),
        ("listen = []", "must have a table [[listen]] or more: leave out an empty one"),
        ("port = 8888\n[[listen]]\nport = 1", "takes the place of port in"),
        ("[[listen]]\nunix = '/nowhere/x'", "there is no directory /nowhere: make it, or choose"),
        ("[[listen]]\nunix = '/etc/passwd'", "/etc/passwd is no socket: remove it, or choose"),
        ("[[listen]]\nport = '1'", 'port must be a whole number from 0 to 65535, not "1"'),
        ("[[listen]]\nport = true", "port must be a whole number from 0 to 65535, not true"),
        ("[[listen]]\nhost = 1\nport = 1", "host must be a host name or an address, not 1"),
        ("[[listen]]\nhost = 'a'", "must have port (and host), or else unix (and mode), in each"),
        ("[[listen]]\nport = 1\nunix = 'x'", "must have port (and host), or else unix (and mode)"),
        ("[[listen]]\nmode = 1", "must have port (and host), or else unix (and mode), in each"),
        ("[[listen]]\nunix = ''", "must have a path as unix, not an empty text"),
        ("[[listen]]\nunix = 'x'\nmode = 888", "mode must be from 0o000 to 0o777, not 888"),
        ("[[listen]]\nunix = 'x'\nmode = 660", "an octal mode, not 660: write mode = 0o660"),
        ("[[listen]]\nunix = 'x'\nmode = '0600'", 'not "0600": write mode = 0o600'),
        ("[[listen]]\nport = 1\nrate_burst = 3", "settings stand above the first [[listen]]"),
        (f"[[listen]]\nunix = '{'x' * 101}'", "unix must be a path of at most 100 bytes, not"),
        (
            "[[listen]]\nport = 1\naccept = []",
            "accept must be one or more of line, http, tls, irc, each once",
        ),
        (
            "[[listen]]\nport = 1\naccept = 'tls'",
            'a list to accept, not "tls": write accept = ["tls"]',
        ),
        (
            "[[listen]]\nport = 1\naccept = [1]",
            "one or more of line, http, tls, irc, each once, not [1]",
        ),
        (
            "[[listen]]\nport = 1\naccept = [[1]]",
            "one or more of line, http, tls, irc, each once, not [",
        ),
        ("[[listen]]\nport = 1\n[[listen]]\nport = 1", "must have 127.0.0.1:1 once, not twice"),
        ("port = 9\n[[listen]]\nport = 1", "takes the place of host and port: put these into one"),
        ("[[listen]]\nport = 1\naccept = ['tls']", "takes TLS at 127.0.0.1:1: that needs tls_cert"),
    ],
)
def test_a_mistake_in_a_table_is_told_in_a_line(table: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "chat.toml"
    file.write_text(table)
    with pytest.raises(SettingsError) as caught:
        load({}, {}, file)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("listen ")
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["here", "127.0.0.1:x", ":80", "unix:", "a:1=", "a:1=lines"])
def test_a_mistake_in_a_flag_is_told_in_a_line(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^--listen (must have|has an entry whose) [^\n]*$"):
        load({"listen": text}, {}, None)


def test_all_of_it_counts_when_an_upgrade_compares() -> None:
    text = Endpoint(unix="/run/x", accept=("line",), mode=0o660).full_text
    assert text == "unix:/run/x=line (mode 0o660)"
    assert from_text("unix:/run/x").full_text == "unix:/run/x"


def test_the_example_is_fine() -> None:
    example = Path(__file__).parent.parent / "examples" / "several_ways_in.toml"
    settings = load({}, {}, example)
    assert [endpoint.text for endpoint in settings.listen] == [
        *("0.0.0.0:2300=line", "127.0.0.1:8080=http", "unix:chat.sock")
    ]


def test_two_free_ports_are_not_the_same_place() -> None:
    assert len(Settings(listen=(Endpoint(), Endpoint())).listen) == 2


@pytest.mark.parametrize(
    ("listen", "instance"),
    [
        ((), "8888"),
        ((Endpoint(port=1), Endpoint(port=2)), "1"),
        ((Endpoint(unix="/run/a.sock"), Endpoint(port=2)), "2"),
        ((Endpoint(unix="/run/a.sock"), Endpoint(unix="/run/b.sock")), "a"),
    ],
)
def test_a_daemons_files_are_named_after_its_port(
    listen: tuple[Endpoint, ...], instance: str
) -> None:
    assert Settings(listen=listen).instance == instance


@pytest.mark.parametrize(
    ("listen", "told"),
    [
        (
            "unix:/run/a",
            ["unix:/run/a for lines, IRC, WebSocket and the page - to talk to it: nc -U /run/a"],
        ),
        ("unix:/run/a=http", ["unix:/run/a for WebSocket and the page"]),
        (
            "unix:/run/a,[::1]:2=line,[::1]:80=http",
            [
                "[::1]:2 for lines - to talk to it: telnet ::1 2",
                ("[::1]:80 for WebSocket and the page - to talk to it: a browser at http://[::1]/"),
                "unix:/run/a for lines, IRC, WebSocket and the page - to talk to it: nc -U /run/a",
            ],
        ),
    ],
)
def test_there_is_a_start_line_for_each(listen: str, told: list[str], capsys) -> None:
    settings = load({"listen": listen}, {}, None)
    announce(settings.listen, settings)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"trio_chat is listening on {line}" for line in told]


WEB = "WebSocket and the page"


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (
            "127.0.0.1:1",
            (
                f"127.0.0.1:1 for lines, IRC, {WEB}, with TLS or without - to talk to it: "
                "telnet 127.0.0.1 1, or a browser at https://127.0.0.1:1/"
            ),
        ),
        (
            "0.0.0.0:443=tls",
            (
                f"0.0.0.0:443 for lines, IRC, {WEB}, with TLS only - to talk to it: "
                "trio-chat connect --tls chat.example:443, or a browser at https://chat.example/"
            ),
        ),
        (
            "127.0.0.1:1=line+tls",
            (
                f"127.0.0.1:1 for lines, with TLS for IRC, {WEB} too - to talk to it: "
                "telnet 127.0.0.1 1, or a browser at https://127.0.0.1:1/"
            ),
        ),
        (
            "127.0.0.1:1=http+tls",
            (
                f"127.0.0.1:1 for {WEB}, with TLS for lines, IRC too - to talk to it: "
                "trio-chat connect --tls 127.0.0.1:1, or a browser at https://127.0.0.1:1/"
            ),
        ),
        (
            "unix:/run/a=tls",
            f"unix:/run/a for lines, IRC, {WEB}, with TLS only",
        ),
    ],
)
def test_the_start_line_says_where_tls_is(place: str, told: str, capsys) -> None:
    endpoint = from_text(place)
    settings = Settings(tls_cert="a", tls_key="b", http_hosts=("chat.example",))
    announce([endpoint], settings)
    assert capsys.readouterr().out == f"trio_chat is listening on {told}\n"


def test_the_start_line_names_the_proxies_of_each_kind(capsys) -> None:
    settings = Settings(trusted_proxies=("192.0.2.7", "unix", "10.0.0.0/8"))
    announce([Endpoint(port=1, accept=("line",)), Endpoint(unix="/run/a")], settings)
    tcp, unix = capsys.readouterr().out.splitlines()
    assert " for lines, with PROXY headers from 192.0.2.7, 10.0.0.0/8 - to talk " in tcp
    assert f", {WEB}, with PROXY headers from unix - to talk " in unix


# --- by what is answered --------------------------------------------------------------------------


def fed(accept: tuple, data: bytes, *, inside: bool = False) -> str:
    """Give the answer to first bytes, sent one by one, where `accept` allows this."""
    return repr(records([bytes([byte]) for byte in data], accept=accept, inside=inside))


LINE, REQUEST, HELLO = b"/rooms\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01"


@pytest.mark.parametrize(
    ("accept", "line", "request_", "hello"),
    [
        (("line", "http", "tls"), "ListRooms", "200 OK", "tls_cert"),
        (("line",), "ListRooms", "This address takes only lines.", repr(NO_TLS)),
        (("http",), "this address takes only HTTP'", "200 OK", repr(NO_TLS)),
        (
            ("tls",),
            "this address takes only TLS'",
            "This address takes only TLS.",
            "no certificate",
        ),
        (("line", "tls"), "ListRooms", "This address takes only lines and TLS.", "no certificate"),
    ],
)
def test_only_what_is_accepted_is_taken(
    accept: tuple, line: str, request_: str, hello: str
) -> None:
    assert line in fed(accept, LINE)
    assert request_ in fed(accept, REQUEST)
    assert hello in fed(accept, HELLO)
    # A refused client's further input is ignored.
    for answer in (fed(accept, LINE * 3), fed(accept, REQUEST * 3)):
        assert answer.count("takes only") <= 2
    # Inside of TLS everything is spoken.
    assert "ListRooms" in fed(accept, LINE, inside=True)
    assert "200 OK" in fed(accept, REQUEST, inside=True)


@pytest.mark.parametrize("said", [b"", b"GE", b"\x16"])
@pytest.mark.parametrize("accept", [("http",), ("tls",), ("http", "tls")])
async def test_a_silent_client_is_told_if_no_lines_are_taken(
    said: bytes, accept: tuple, autojump_clock
) -> None:
    chat_began = trio.current_time()
    async with open_chat() as chat:
        (address,) = await chat.listen_at(Endpoint(accept=accept))
        async with await trio.open_tcp_stream(*address) as stream:
            if said:
                await stream.send_all(said)
            told = b"".join([part async for part in stream])
        assert told.startswith(b"err: this address takes only ")
        assert FIRST_BYTES_SECONDS <= trio.current_time() - chat_began < 2 * FIRST_BYTES_SECONDS


async def test_a_request_that_begins_and_does_not_end_is_told_so(autojump_clock) -> None:
    async with open_chat() as chat:
        (address,) = await chat.listen_at(Endpoint(accept=("http",)))
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\n")
            told = b"".join([part async for part in stream])
    assert told.startswith(b"HTTP/1.1 408 ")


async def test_people_may_think_if_lines_are_taken(autojump_clock) -> None:
    async with open_chat() as chat:
        (address,) = await chat.listen_at(Endpoint(accept=("line", "http")))
        async with await trio.open_tcp_stream(*address) as stream:
            await trio.sleep(10 * FIRST_BYTES_SECONDS)  # on the virtual clock
            await stream.send_all(b"/quit\n")
            assert b"sad to see you go" in await stream.receive_some()


@pytest.mark.parametrize(
    ("accept", "said", "more", "told"),
    [
        (("http",), b"GE", b"T", "this address takes only HTTP'"),
        (("http",), b"GET / HTTP/1.1\r\n", b"Host: x\r\n", "408 Request Timeout"),
        (("line", "http"), b"GE", b"T", "[]"),
        (("line", "http"), b"GET / HTTP/1.1\r\n", b"Host: x\r\n", "408 Request Timeout"),
    ],
)
async def test_a_silent_client_keeps_its_dialects_and_its_time_in_an_upgrade(
    accept: tuple, said: bytes, more: bytes, told: str, autojump_clock
) -> None:
    began = trio.current_time()
    assert told in repr(await run([said, 6.0, more, 60.0], accept=accept, pause=2))
    assert trio.current_time() - began == pytest.approx(FIRST_BYTES_SECONDS)


def test_a_post_is_never_lines() -> None:
    assert "ListRooms" not in fed(("line",), b"POST / HTTP/1.1\r\n\r\n/rooms\n")


def test_a_unix_socket_is_trusted_if_it_is_named() -> None:
    assert not is_trusted("unix", ("127.0.0.1", "::/0"))
    assert is_trusted("unix", ("127.0.0.1", "unix"))
    assert not is_trusted("127.0.0.1", ("unix",))


# --- unix sockets ---------------------------------------------------------------------------------


async def test_a_unix_socket_is_a_way_in_and_gone_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "chat.sock"
    async with chat_on_tcp(max_clients_per_address=1) as (chat, _):
        assert await chat.listen_at(Endpoint(unix=str(path))) == []
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        async with AsyncExitStack() as clients:
            for number in range(3):
                stream = await clients.enter_async_context(await trio.open_unix_socket(path))
                await stream.send_all(f"/nick john{number}\n".encode())
                told = f"> all right, I will call you john{number}\n"
                assert await stream.receive_some() == told.encode()
    assert not path.exists()


async def test_all_that_the_settings_name_is_listened_at(tmp_path: Path) -> None:
    path = tmp_path / "chat.sock"
    listen = (Endpoint(accept=("line",)), Endpoint(unix=str(path), mode=0o660), Endpoint())
    async with open_chat(Settings(listen=listen)) as chat:
        addresses = await chat.listen()
        assert [host for host, _ in addresses] == ["127.0.0.1", "127.0.0.1"]
        assert [endpoint.accept for endpoint in chat.listening] == [one.accept for one in listen]
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


async def test_a_path_in_use_is_left_alone_and_a_stale_one_replaced(tmp_path: Path) -> None:
    endpoint = Endpoint(unix=str(tmp_path / "chat.sock"))
    (tmp_path / "file").touch()
    async with open_chat() as one, open_chat() as other:
        await one.listen_at(endpoint)
        with pytest.raises(ListenError, match="another daemon is using"):
            await other.listen_at(endpoint)
        with pytest.raises(ListenError, match="is no socket: remove it, or choose"):
            await other.listen_at(Endpoint(unix=str(tmp_path / "file")))
        with pytest.raises(ListenError, match="there is no directory"):
            await other.listen_at(Endpoint(unix=str(tmp_path / "nowhere" / "chat.sock")))
        async with await trio.open_unix_socket(endpoint.unix):
            await until(lambda: one.statistics().clients == 1)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(endpoint.unix)
    assert Path(endpoint.unix).is_socket()
    async with open_chat() as one:
        await one.listen_at(endpoint)
        await (await trio.open_unix_socket(endpoint.unix)).aclose()


async def test_its_path_is_gone_too_if_the_chat_is_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "chat.sock"
    with trio.CancelScope() as scope:
        async with open_chat() as chat:
            await chat.listen_at(Endpoint(unix=str(path)))
            assert path.is_socket()
            scope.cancel()
    assert not path.exists()


def test_the_address_of_a_listener_goes_over() -> None:
    listening = [Endpoint(port=1, accept=("tls",)), Endpoint(unix="/run/x", mode=0o660)]
    state = ChatSnapshot("memory", listening=listening)
    assert read_state(write_state(state)).listening == listening


# --- as a process ---------------------------------------------------------------------------------


def say(sock: Path, *lines: str) -> list[str]:
    """Say lines with nc, and give what it has shown."""
    told = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(
        [needs("nc"), "-U", str(sock)],
        input=told,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_daemon_with_several_ways_in_is_upgraded(
    serve: Serve, run: Callable, tmp_path: Path
) -> None:
    sock = tmp_path / "chat.sock"
    daemon = serve(
        f"--listen=127.0.0.1:0=line,127.0.0.1:0=http,unix:{sock}",
        "--store=memory",
    )
    assert say(sock, "/nick john", "/quit") == [
        "> all right, I will call you john",
        "> sad to see you go =(",
    ]
    places = daemon.status()["listening"]
    assert [place.partition("=")[2] for place in places] == ["line", "http", ""]
    daemon.upgraded()
    assert sock.is_socket()
    assert daemon.status()["listening"] == places
    assert say(sock, "/quit") == ["> sad to see you go =("]
    host, _, port = places[1].partition("=")[0].partition(":")
    told = subprocess.run(
        [needs("nc"), "-q", "5", host, port],
        input="/rooms\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert told.stdout == "err: this address takes only HTTP\n"
    assert run("stop", "--control", str(daemon.control)).code == 0
    assert not sock.exists()

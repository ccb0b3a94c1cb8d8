"""A connection to the engine: its replies, and every way in which it breaks, at real servers."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import evolve
from authority import Authority
from engine import OTHER_PROGRAM, Engine, Sentinel, running
from engine_proxy import Proxy
from fake_engine import answering, bulk
from loopback import until
from ports import free_port
from processes import PATIENCE

from trio_chat.config.store_access import tls_context
from trio_chat.config.store_url import StoreAddress, parse_store_url
from trio_chat.roomlog.redis import connection as connections
from trio_chat.roomlog.redis.connection import (
    Connection,
    EngineAway,
    EngineError,
    EngineFull,
    EngineRefused,
    ScriptMissing,
)
from trio_chat.roomlog.redis.errors import NOT_NOW
from trio_chat.roomlog.redis.wire import open_wire

SECONDS = 10.0
SHA = "0" * 40


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("engine")
    with running(folder, "--unixsocket", str(folder / "socket")) as engine:
        yield engine


@pytest.fixture
def engine(shared: Engine) -> Engine:
    """One with nothing in it, which the test leaves as it was."""
    shared.ask("FLUSHALL")
    return shared


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Engine]:
    """One for a test that harms it."""
    with running(tmp_path / "own") as engine:
        yield engine


def address(port: int) -> StoreAddress:
    return parse_store_url(f"redis://127.0.0.1:{port}")


@asynccontextmanager
async def opened(engine: Engine | StoreAddress, password: str = "") -> AsyncIterator[Connection]:
    where = address(engine.port) if isinstance(engine, Engine) else engine
    connection = await Connection.open(where, password, SECONDS)
    try:
        yield connection
    finally:
        connection.close()


@asynccontextmanager
async def saying(reply: bytes) -> AsyncIterator[Connection]:
    """A connection to a server whose reply to everything is this; it has not logged in."""

    async def answer(stream: trio.SocketStream, _: list[bytes]) -> None:
        await stream.send_all(reply)

    async with answering(answer) as port:
        connection = Connection(await open_wire(StoreAddress(), "127.0.0.1", port))
        yield connection
        connection.close()


# --- opening --------------------------------------------------------------------------------------


async def test_it_opens_over_tcp_with_its_database_and_name(engine) -> None:
    where = parse_store_url(f"redis://localhost:{engine.port}/3")
    connection = await Connection.open(where, "", SECONDS, name="node-1")
    told = await connection.call("CLIENT", "INFO")
    assert b" db=3 " in told
    assert b" name=node-1 " in told
    assert connection.version[0] >= 7
    assert connection.run_id == connection.info["run_id"]
    assert len(connection.run_id) == 40
    connection.close()


async def test_it_opens_over_a_unix_socket(engine) -> None:
    where = parse_store_url(f"unix://{engine.folder}/socket?db=2")
    async with opened(where) as connection:
        assert await connection.call("ECHO", "hi") == b"hi"
        assert b" db=2 " in await connection.call("CLIENT", "INFO")
    with pytest.raises(EngineAway, match=r"^no connection to unix:/none: no such file or dir"):
        await Connection.open(StoreAddress(unix="/none"), "", SECONDS)


async def test_tcp_connections_are_kept_alive_and_send_at_once(engine) -> None:
    async with opened(engine) as connection:
        sock = connection._wire._socket
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10


@pytest.fixture
def tls(tmp_path: Path, authority: Authority) -> Iterator[tuple[int, Path]]:
    """A server with TLS: its port, and the file of its certificate's issuer."""
    engine = with_tls(tmp_path / "tls", authority, "--bind", "127.0.0.1", "127.0.0.2")
    yield engine.tls_port, authority.trusted
    engine.close()


def options_of(authority: Authority) -> dict[str, str]:
    files = {"tls-cert-file": authority.cert, "tls-key-file": authority.key}
    files["tls-ca-cert-file"] = authority.trusted
    others = {"tls-auth-clients": "no", "tls-replication": "yes"}
    return {name: str(path) for name, path in files.items()} | others


def with_tls(folder: Path, authority: Authority, *arguments: str) -> Engine:
    try:
        return Engine(folder, *arguments, tls=options_of(authority))
    except AssertionError as error:
        if OTHER_PROGRAM and "TLS" in str(error):
            pytest.skip("this server is built without TLS; Debian's has it")
        raise


async def test_it_opens_with_tls(tls) -> None:
    port, trusted = tls
    async with opened(parse_store_url(f"rediss://localhost:{port}/1?ca={trusted}")) as connection:
        value = bytes(range(256)) * 4096  # many TLS records
        assert await connection.call("SET", "k", value) == b"OK"
        assert await connection.call("GET", "k") == value
    with pytest.raises(EngineAway, match=r"^the connection is closed$"):
        await connection.call("PING")


async def test_a_certificate_that_is_not_trusted_is_refused(tls) -> None:
    port, _ = tls
    told = rf"^no connection to localhost:{port}: its certificate is not accepted: "
    with pytest.raises(EngineAway, match=told):
        await Connection.open(parse_store_url(f"rediss://localhost:{port}"), "", SECONDS)


async def test_a_certificate_for_another_name_is_refused(tls) -> None:
    port, trusted = tls
    where = parse_store_url(f"rediss://localhost:{port}?ca={trusted}")
    other = StoreAddress((("127.0.0.2", port),), tls=True, ca=str(trusted))
    async with opened(where):
        pass
    with pytest.raises(EngineAway, match="certificate is not accepted: IP address mismatch"):
        await Connection.open(other, "", SECONDS)


async def test_certificates_that_cannot_be_read_are_a_reason_too() -> None:
    where = parse_store_url("rediss://127.0.0.1:1?ca=/none")
    with pytest.raises(EngineAway, match=r"store: cannot use \?ca=/none: No such file"):
        await Connection.open(where, "", SECONDS)


def test_the_certificates_of_the_system_are_read_once() -> None:
    assert tls_context("") is tls_context("")
    assert tls_context("").verify_mode == ssl.CERT_REQUIRED


async def test_why_a_server_cannot_be_reached() -> None:
    port = free_port()
    for host in ("127.0.0.1", "localhost"):
        where = parse_store_url(f"redis://{host}:{port}")
        told = f"^no connection to {host}:{port}: connection refused$"
        with pytest.raises(EngineAway, match=told):
            await Connection.open(where, "", SECONDS)
    for name in ("a" * 70, "..", "none.invalid"):
        with pytest.raises(EngineAway, match=f"^no connection to {name}:6379: "):
            await Connection.open(parse_store_url(f"redis://{name}"), "", SECONDS)


async def test_opening_takes_no_longer_than_it_may(own) -> None:
    own.hang()
    with pytest.raises(EngineAway, match=r"^Redis has not answered within 0\.1 seconds$"):
        await Connection.open(address(own.port), "", 0.1)


async def test_a_password_with_and_without_a_user(tmp_path: Path) -> None:
    with running(tmp_path / "own", "--requirepass", "pw") as engine:
        where = address(engine.port)
        async with opened(where, "pw") as connection:
            rights = ("on", ">a b", "~*", "+@all")
            await connection.call("ACL", "SETUSER", "ann", *rights)
        for password in ("", "wrong"):
            with pytest.raises(EngineRefused) as caught:
                await Connection.open(where, password, SECONDS)
            assert caught.value.code == ("WRONGPASS" if password else "NOAUTH")
            assert "wrong" not in str(caught.value)
        where = parse_store_url(f"redis://ann@127.0.0.1:{engine.port}")
        async with opened(where, "a b") as connection:
            assert await connection.call("ACL", "WHOAMI") == b"ann"
            # One that may not name its connection does without.
            await connection.call("ACL", "SETUSER", "ann", "-client|setname")
        async with opened(where, "a b") as connection:
            assert b" name= " in await connection.call("CLIENT", "INFO")


async def test_a_database_that_is_not_there(engine) -> None:
    with pytest.raises(EngineRefused, match="DB index is out of range"):
        await Connection.open(parse_store_url(f"redis://127.0.0.1:{engine.port}/16"), "", SECONDS)


async def test_a_replica_is_not_the_engine(own) -> None:
    own.ask("REPLICAOF", "127.0.0.1", str(free_port()))
    with pytest.raises(EngineAway, match=r"^Redis is a replica, not the primary$"):
        await Connection.open(address(own.port), "", SECONDS)


async def test_a_server_that_loads_is_not_ready(own) -> None:
    own.ask("EVAL", "for i = 1, 20000 do redis.call('SET', i, i) end return 1", "0")
    own.arguments = ("--key-load-delay", "200", "--loading-process-events-interval-bytes", "1024")
    own.ask("SAVE")
    own.kill()
    own.begin()
    told: set[str] = set()
    with trio.fail_after(SECONDS):
        while "Redis is still loading its data" not in told:
            with pytest.raises(EngineAway) as caught:
                await Connection.open(address(own.port), "", SECONDS)
            told.add(str(caught.value))
            await trio.sleep(0.01)  # nothing tells that it listens
    assert told <= {
        "Redis is still loading its data",
        f"no connection to 127.0.0.1:{own.port}: connection refused",
    }


async def test_too_many_clients(own) -> None:
    async with opened(own) as connection:
        await connection.call("CONFIG", "SET", "maxclients", 1)
        with pytest.raises(EngineAway, match=r"\(maxclients\)|has broken|has closed"):
            await Connection.open(address(own.port), "", SECONDS)
    async with saying(b"-ERR max number of clients reached\r\n") as connection:
        with pytest.raises(EngineAway, match=r"^Redis has as many clients .* \(maxclients\)$"):
            await connection.call("PING")


# --- calls ----------------------------------------------------------------------------------------


async def test_replies_of_each_kind(engine) -> None:
    async with opened(engine) as connection:
        call = connection.call
        assert await call("SET", b"k\xff", 17) == b"OK"
        assert await call("INCR", b"k\xff") == 18
        assert await call("GET", "none") is None
        assert await call("MGET", b"k\xff", "none") == [b"18", None]
        assert await call("EVAL", "return {1, {'a', {}}, false}", 0) == [1, [b"a", []], None]
        [inside] = await call("EVAL", "return {redis.error_reply('ERR inside')}", 0)
        assert str(inside) == "ERR inside"
        assert await call("SET", "ö", "ü") == b"OK"
        assert await call("GET", "ö".encode()) == "ü".encode()


async def test_a_large_value_goes_there_and_back(engine) -> None:
    value = bytes(range(256)) * 40_000  # more than a socket's buffers hold
    async with opened(engine) as connection:
        assert await connection.call("SET", "k", value, timeout=SECONDS) == b"OK"
        assert await connection.call("GET", "k", timeout=SECONDS) == value


async def test_a_refusal_leaves_the_connection_usable(engine) -> None:
    async with opened(engine) as connection:
        call = connection.call
        await call("SET", "k", "v")
        for refused, kind, code in [
            (("NONSENSE",), EngineError, "ERR"),
            (("INCR", "k"), EngineError, "ERR"),
            (("LPUSH", "k", "v"), EngineError, "WRONGTYPE"),
            (("EVALSHA", SHA, 0), ScriptMissing, "NOSCRIPT"),
            (("EVAL", "return redis.call('LPUSH', 'k', 1)", 0), EngineError, "WRONGTYPE"),
        ]:
            with pytest.raises(EngineError) as caught:
                await call(*refused)
            assert (type(caught.value), caught.value.code) == (kind, code)
            assert await call("ECHO", "hi") == b"hi"


async def test_rights_that_are_taken_away_end_the_connection(own) -> None:
    async with opened(own) as connection:
        own.ask("ACL", "SETUSER", "default", "-get")
        with pytest.raises(EngineRefused, match=r"^Redis refuses: NOPERM "):
            await connection.call("GET", "k")
        assert connection.closed
    own.ask("CONFIG", "SET", "requirepass", "pw")
    with pytest.raises(EngineRefused, match=r"^Redis refuses: NOAUTH "):
        await Connection.open(address(own.port), "", SECONDS)


async def test_full_memory_leaves_the_connection_usable(own) -> None:
    async with opened(own) as connection:
        call = connection.call
        await call("CONFIG", "SET", "maxmemory", 1)
        for full in (("SET", "k", "v"), ("EVAL", "return redis.call('SET', 'k', 'v')", 0)):
            with pytest.raises(EngineFull):
                await call(*full)
        await call("CONFIG", "SET", "maxmemory", 0)
        assert await call("SET", "k", "v") == b"OK"


@pytest.mark.parametrize("code", NOT_NOW)
async def test_after_not_now_the_connection_is_closed(code: str) -> None:
    async with saying(f"-{code} for a reason\r\n".encode()) as connection:
        with pytest.raises(EngineAway) as caught:
            await connection.call("PING")
        assert str(caught.value) == NOT_NOW[code]
        assert connection.closed
        with pytest.raises(EngineAway, match=r"^the connection is closed$"):
            await connection.call("PING")


async def test_real_servers_say_not_now(own) -> None:
    async def told(*command: str | int) -> str:
        with pytest.raises(EngineAway) as caught:
            await connection.call(*command)
        assert connection.closed
        return str(caught.value)

    nobody = ("REPLICAOF", "127.0.0.1", str(free_port()))
    async with opened(own) as connection:
        own.ask("CONFIG", "SET", "min-replicas-to-write", "1")
        assert await told("SET", "k", "v") == NOT_NOW["NOREPLICAS"]
        own.ask("CONFIG", "SET", "min-replicas-to-write", "0")
    async with opened(own) as connection:
        own.ask(*nobody)
        assert await told("EVAL", "return redis.call('SET', 'k', 1)", 0) == NOT_NOW["READONLY"]
        own.ask("REPLICAOF", "NO", "ONE")
    async with opened(own) as connection:
        own.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
        own.ask(*nobody)
        assert await told("GET", "k") == NOT_NOW["MASTERDOWN"]
        own.ask("REPLICAOF", "NO", "ONE")
    async with opened(own) as connection, trio.open_nursery() as nursery:
        nursery.start_soon(demote_when_blocked, own, nobody)
        assert await told("XREAD", "BLOCK", 0, "STREAMS", "s", "$") == NOT_NOW["UNBLOCKED"]


async def demote_when_blocked(engine: Engine, nobody: tuple[str, ...]) -> None:
    await until(lambda: "blocked_clients:1" in engine.ask("INFO", "clients"))
    engine.ask(*nobody)


async def test_a_script_that_runs_too_long_is_no_reason_to_wait(own) -> None:
    own.ask("CONFIG", "SET", "busy-reply-threshold", "1")
    async with opened(own) as other, opened(own) as connection, trio.open_nursery() as nursery:
        nursery.start_soon(end_of, other)
        with pytest.raises(EngineAway, match=r"^Redis is busy with a script$"):
            await ping_for_ever(connection)
        own.ask("SCRIPT", "KILL")


async def ping_for_ever(connection: Connection) -> None:
    while True:
        await connection.call("PING")


async def end_of(connection: Connection) -> None:
    with pytest.raises(EngineError, match="killed"):
        await connection.call("EVAL", "while true do end", 0, timeout=SECONDS)


async def test_one_call_at_a_time(engine) -> None:
    async with opened(engine) as connection, trio.open_nursery() as nursery:
        nursery.start_soon(broken, connection)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(AssertionError, match=r"^one call at a time$"):
            await connection.call("PING")
        assert not connection.closed
        connection.close()


async def broken(connection: Connection) -> None:
    with pytest.raises(EngineAway, match=r"^the connection to Redis has broken$"):
        await connection.call("BLPOP", "k", 0)


# --- what breaks ----------------------------------------------------------------------------------


async def test_a_server_that_hangs_is_away_after_the_timeout(own) -> None:
    async with opened(own) as connection:
        own.hang()
        with pytest.raises(EngineAway, match=r"^Redis has not answered within 0\.1 seconds$"):
            await connection.call("INCR", "k", timeout=0.1)
        own.go_on()
        with pytest.raises(EngineAway, match=r"^the connection is closed$"):
            await connection.call("PING")
    async with opened(own) as connection:
        # The call that was in doubt has been done.
        assert await connection.call("GET", "k") == b"1"


async def test_a_killed_server_is_away_and_another_one_after_its_restart(own) -> None:
    async with opened(own) as connection, trio.open_nursery() as nursery:
        nursery.start_soon(away, connection)
        await trio.testing.wait_all_tasks_blocked()
        own.kill()
    assert connection.closed
    first = connection.run_id
    own.start()
    async with opened(own) as connection:
        assert connection.run_id != first
    async with opened(own) as again:
        assert again.run_id == connection.run_id


async def away(connection: Connection) -> None:
    with pytest.raises(EngineAway, match=r"^(Redis has closed the|the) connection"):
        await connection.call("BLPOP", "k", 0, timeout=SECONDS)


@pytest.mark.parametrize("connected", [True, False])
async def test_a_call_that_is_cancelled_closes_the_connection(engine, connected) -> None:
    async with opened(engine) as connection:
        with trio.CancelScope() as scope:
            if connected:
                scope.deadline = trio.current_time() + 0.05
            else:
                scope.cancel()
            await connection.call("BLPOP", "k", 0, timeout=SECONDS)
        assert scope.cancelled_caught
        # Else this one would read the reply to that one.
        with pytest.raises(EngineAway, match=r"^the connection is closed$"):
            await connection.call("ECHO", "mine")


async def test_opening_that_is_cancelled_leaves_nothing_open(own) -> None:
    own.hang()
    with trio.move_on_after(0.05) as scope:
        await Connection.open(address(own.port), "", SECONDS)
    assert scope.cancelled_caught
    own.go_on()
    await until(lambda: "connected_clients:1\r\n" in own.ask("INFO", "clients"))


@pytest.fixture
def proxy(engine) -> Iterator[Proxy]:
    proxy = Proxy(engine.port)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("kind", ["before", "in", "after", "reply"])
async def test_a_connection_that_breaks_around_a_call(proxy, kind, monkeypatch) -> None:
    monkeypatch.setattr("engine_proxy.BREAKS", (kind,))
    async with opened(address(proxy.port)) as connection:
        proxy.break_calls(1)
        with pytest.raises(EngineAway, match=r"^(Redis has closed the|the) connection"):
            await connection.call("INCR", "k")
        assert connection.closed
        assert proxy.broken == {kind: 1}


REPLY = b"*4\r\n:1\r\n$4\r\n\r\nhi\r\n$-1\r\n*1\r\n+OK\r\n"


@pytest.mark.parametrize("size", range(1, len(REPLY)))
async def test_a_reply_may_come_in_parts_of_any_size(size: int) -> None:
    async def answer(stream: trio.SocketStream, _: list[bytes]) -> None:
        for begin in range(0, len(REPLY), size):
            await stream.send_all(REPLY[begin : begin + size])
            await trio.lowlevel.checkpoint()

    async with answering(answer) as port:
        connection = Connection(await open_wire(StoreAddress(), "127.0.0.1", port))
        for _ in range(3):
            assert await connection.call("PING") == [1, b"\r\nhi", None, [b"OK"]]
        connection.close()


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the connection to Redis has broken"),
        (b"+OK\r\n+OK\r\n", "Redis has said more than it was asked"),
        (b"+OK\r\n+O", "Redis has said more than it was asked"),
        (b"$2000\r\n" + 999 * b"x", "Redis has sent more than 999 bytes for one reply"),
    ],
)
async def test_an_invalid_reply_ends_the_connection(reply, problem, monkeypatch) -> None:
    monkeypatch.setattr(connections, "MOST_REPLY_BYTES", 999)
    async with saying(reply) as connection:
        with pytest.raises(EngineAway, match=f"^{problem}$"):
            await connection.call("PING")
        assert connection.closed


# --- Sentinel -------------------------------------------------------------------------------------


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Engine]:
    with running(tmp_path / "primary") as engine:
        yield engine


@asynccontextmanager
async def naming(port: int, *, password: str = "") -> AsyncIterator[int]:
    """A Sentinel that names this port; its own port."""
    known = not password

    async def answer(stream: trio.SocketStream, command: list[bytes]) -> None:
        nonlocal known
        if command[0] == b"AUTH":
            known = command == [b"AUTH", password.encode()]
            await stream.send_all(b"+OK\r\n")
        elif not known:
            await stream.send_all(b"-NOAUTH Authentication required.\r\n")
        elif command == [b"SENTINEL", b"get-master-addr-by-name", b"chat"]:
            await stream.send_all(b"*2\r\n" + bulk("127.0.0.1") + bulk(str(port)))
        else:
            await stream.send_all(b"*-1\r\n")

    async with answering(answer) as own_port:
        yield own_port


def by_sentinels(*ports: int, name: str = "chat") -> StoreAddress:
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return parse_store_url(f"redis+sentinel://{hosts}/{name}/1")


@pytest.mark.parametrize("secure", [False, True])
async def test_sentinel_names_the_new_primary_after_a_failover(
    secure, tmp_path: Path, authority: Authority
) -> None:
    tls = options_of(authority) if secure else {}
    if secure:
        with_tls(tmp_path / "primary", authority).close()  # skips, if the server has no TLS
    with ExitStack() as stack:
        primary, replica = (
            stack.enter_context(running(tmp_path / name, tls=tls))
            for name in ("primary", "replica")
        )
        replica.ask("REPLICAOF", "127.0.0.1", str(primary.tls_port or primary.port))
        replica.wait_for_link()
        sentinel = Sentinel(tmp_path / "sentinel", primary, tls)
        try:
            # The first Sentinel is away.
            where = by_sentinels(free_port(), sentinel.port)
            if secure:
                with pytest.raises(EngineAway):
                    await Connection.open(where, "", SECONDS)
                where = evolve(where, tls=True, ca=str(authority.trusted))
            async with opened(where) as connection:
                assert connection.info["tcp_port"] == str(primary.port)
                assert b" db=1 " in await connection.call("CLIENT", "INFO")
            primary.kill()
            with trio.fail_after(PATIENCE):
                connection = None
                while connection is None:
                    with suppress(EngineAway):
                        connection = await Connection.open(where, "", SECONDS)
                    await trio.sleep(0.05)  # Sentinel takes its time
            assert connection.info["tcp_port"] == str(replica.port)
            assert await connection.call("SET", "k", "v") == b"OK"
            connection.close()
            told = f"^Sentinel at 127.0.0.1:{sentinel.port} knows no other$"
            other = evolve(where, hosts=where.hosts[1:], master="other")
            with pytest.raises(EngineAway, match=told):
                await Connection.open(other, "", SECONDS)
        finally:
            sentinel.close()


async def test_a_sentinel_that_does_not_know_of_the_failover_yet(primary, engine) -> None:
    primary.ask("REPLICAOF", "127.0.0.1", str(engine.port))
    async with naming(primary.port) as stale, naming(engine.port) as fresh:
        async with opened(by_sentinels(stale, fresh)) as connection:
            assert connection.info["tcp_port"] == str(engine.port)
        with pytest.raises(EngineAway, match=r"^Redis is a replica, not the primary$"):
            await Connection.open(by_sentinels(stale), "", SECONDS)


async def test_a_sentinel_that_hangs_leaves_time_for_the_next(engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with naming(engine.port) as port:
            where = by_sentinels(silent.getsockname()[1], port)
            connection = await Connection.open(where, "", 2.0)
            connection.close()
        with pytest.raises(EngineAway, match=r"^Redis has not answered within 0\.1 seconds$"):
            await Connection.open(by_sentinels(silent.getsockname()[1]), "", 0.1)


async def test_a_sentinel_with_a_password_has_the_servers(tmp_path: Path) -> None:
    with running(tmp_path / "own", "--requirepass", "pw") as engine:
        async with naming(engine.port, password="pw") as port:
            connection = await Connection.open(by_sentinels(port), "pw", SECONDS)
            assert await connection.call("PING") == b"PONG"
            connection.close()
        async with naming(engine.port, password="pw") as port:
            told = rf"^Sentinel at 127\.0\.0\.1:{port} refuses: NOAUTH "
            with pytest.raises(EngineAway, match=told):
                await Connection.open(by_sentinels(port), "", SECONDS)

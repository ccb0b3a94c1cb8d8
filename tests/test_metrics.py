"""Monitoring by HTTP: metrics for Prometheus, and health."""

from __future__ import annotations

import ast
import json
import re
import sqlite3
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import evolve, fields
from loopback import HOST, PATIENCE, chat_on_tcp, dial, until
from prometheus_client.parser import text_string_to_metric_families

import trio_chat
from trio_chat import Health, Histogram, Refused, Settings, SettingsError, open_chat
from trio_chat.metrics import loop_lag
from trio_chat.metrics.catalogue import LIMITS, kinds
from trio_chat.metrics.process import usage
from trio_chat.metrics.prometheus import Metric, render
from trio_chat.metrics.statistics import HANGING_SECONDS
from trio_chat.roomlog import commits
from trio_chat.roomlog.commits import Commits
from trio_chat.roomlog.sqlite import writer
from trio_chat.testing import line_client

TOKEN = "0123456789abcdef0123456789abcdef"
LIVE = "/healthz/live"
PATHS = ("/metrics", "/healthz", LIVE, "/healthz/ready")


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(f"{TOKEN}\n")
    return str(path)


async def fetch(
    port: int, path: str, *headers: str, first: bytes = b"", method: str = "GET", host: str = HOST
) -> tuple[int, dict[str, str], str]:
    """The answer: its status, headers and body."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
    stream = await trio.open_tcp_stream(HOST, port)
    with trio.fail_after(PATIENCE):
        async with stream:
            await stream.send_all(first + "\r\n".join(lines).encode())
            got = b""
            while data := await stream.receive_some():
                got += data
    head, _, body = got.decode().partition("\r\n\r\n")
    status, *rest = head.split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in rest), body


async def scrape(port: int) -> dict[str, float]:
    """All numbers, by name and labels as they stand there."""
    status, headers, body = await fetch(port, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return numbers(body)


def numbers(body: str) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(body):
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert name not in found
            found[name] = sample.value
    return found


# --- metrics --------------------------------------------------------------------------------------


async def test_metrics_tell_what_has_happened() -> None:
    async with chat_on_tcp(outbox_bytes=65_536) as (chat, port):
        before = await scrape(port)
        assert before["trio_chat_clients{dialect=line}"] == 0  # who asks is no client
        john = await dial(port, nick="john", room="#a")
        async with chat.connect("bot") as bot:
            await bot.join("#a")
            await john.send("/msg Hi", "/me waves", f"/msg {'x' * 2001}", f"/nick {'y' * 33}")
            await john.sync()
            await bot.say("Hello")
            await john.expect("> bot: Hello")
            now = await scrape(port)
        assert now["trio_chat_clients{dialect=line}"] == 1
        assert now["trio_chat_clients{dialect=in-process}"] == 1
        assert now["trio_chat_clients{dialect=websocket}"] == 0
        assert now["trio_chat_rooms"] == 1
        assert now["trio_chat_messages_total"] == 3
        # bot joined; Hi, waves; Hello.
        assert now["trio_chat_deliveries_total"] == 4
        assert now["trio_chat_refusals_total{limit=message_chars}"] == 1
        assert now["trio_chat_refusals_total{limit=nick_chars}"] == 1
        assert now["trio_chat_refusals_total{limit=max_rooms}"] == 0
        assert now["trio_chat_connections_total"] - before["trio_chat_connections_total"] == 3
        assert now["trio_chat_disconnections_total{reason=spoke HTTP}"] == 1
        assert now["trio_chat_turn_seconds_count"] > before["trio_chat_turn_seconds_count"]
        assert now["trio_chat_turn_commands_sum"] == now["trio_chat_commands_total"]
        assert now["trio_chat_clients_max"] == 10_000
        assert now["process_start_time_seconds"] <= time.time()
        assert time.time() - now["process_start_time_seconds"] < 3600
        assert now["process_open_fds"] > 3
        assert 1e7 < now["process_resident_memory_bytes"] < 1e10


async def test_bytes_received_and_sent_are_counted_exactly() -> None:
    async with chat_on_tcp() as (chat, port):
        john, jack = [await dial(port, nick=nick, room="#a") for nick in ("john", "jack")]
        await john.expect("> jack joined the room")
        before = chat.statistics()
        await john.send("/msg Hi", "/msg you")
        await jack.expect("> john: Hi")
        await jack.expect("> john: you")
        now = chat.statistics()
        assert now.bytes_in - before.bytes_in == len("/msg Hi\n/msg you\n")
        # Nobody is sent their own words, not even among those of others.
        assert now.bytes_out - before.bytes_out == len("> john: Hi\n> john: you\n")


async def test_bytes_that_wait_for_slow_clients_are_told() -> None:
    async with chat_on_tcp(outbox_bytes=60_000) as (chat, port):
        slow = await dial(port, nick="slow", room="#a", receive_buffer=4096)
        async with chat.connect("bot") as bot:
            await bot.join("#a")
            while not chat.statistics().lagging:
                for _ in range(100):
                    await bot.say("x" * 2000)
            now = await scrape(port)
        assert now["trio_chat_clients_lagging"] == now["trio_chat_lags_total"] == 1
        # The kernel has taken some more meanwhile.
        assert now["trio_chat_outbox_bytes"] >= now["trio_chat_outbox_bytes_max"] > 40_000
        slow.stream.socket.close()


async def test_commits_are_timed_and_an_unwritable_log_shows(tmp_path: Path, monkeypatch) -> None:
    async with chat_on_tcp(store=f"sqlite:{tmp_path / 'a.db'}") as (chat, port):
        john = await dial(port, nick="john", room="#a")
        assert (await scrape(port))["trio_chat_log_commit_seconds_count"] == 0  # nothing was said
        await john.send("/msg Hi")
        await john.sync()
        now = await scrape(port)
        assert now["trio_chat_log_commit_seconds_count"] == 1
        assert now["trio_chat_log_commit_seconds_sum"] > 0
        assert now["trio_chat_log_writable"] == 1
        chat._hub._log.commits.note(0.1, worked=False)
        assert (await scrape(port))["trio_chat_log_writable"] == 0
        status, _, body = await fetch(port, "/healthz/ready")
        assert (status, json.loads(body)["problems"]) == (503, ["the room log cannot be written"])
        assert (await fetch(port, "/healthz/live"))[0] == 200


async def test_an_append_that_fails_shows_until_one_works(tmp_path: Path, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("disk full")

    settings = Settings(store=f"sqlite:{tmp_path / 'a.db'}")
    async with open_chat(settings) as chat, chat.connect("bot") as bot:
        await bot.join("#a")
        with monkeypatch.context() as patch:
            patch.setattr(writer.Append, "write", fail)
            with pytest.raises(Refused):
                await bot.say("Hi")
        assert not chat.health().writable
        await bot.join("#b")  # which the file has no part in
        assert not chat.health().writable
        await bot.say("Hi", "#b")
        assert chat.health().writable


def test_a_log_counts_as_unwritable_for_a_minute_alone(monkeypatch) -> None:
    now = 1000.0
    monkeypatch.setattr(commits.time, "monotonic", lambda: now)
    log = Commits()
    assert log.writable
    log.note(1, worked=False)
    assert not log.writable
    now += commits.FAILING_SECONDS
    assert not log.writable
    now += 1
    assert log.writable
    log.note(1, worked=False)
    log.note(1, worked=True)
    assert log.writable


def test_a_histogram_is_cumulative_and_its_bounds_belong_to_it() -> None:
    histogram = Histogram((1.0, 2.5))
    for value in (0.5, 1.0, 1.5, 2.5, 9.0):
        histogram.add(value)
    assert histogram.counts == [2, 2, 1]
    copy = histogram.copy()
    histogram.add(1)
    assert (copy.counts, copy.sum) == ([2, 2, 1], 14.5)
    assert numbers(render([Metric("a", "histogram", "b", copy)]).decode()) == {
        "a_bucket{le=1}": 2,
        "a_bucket{le=2.5}": 4,
        "a_bucket{le=+Inf}": 5,
        "a_sum": 14.5,
        "a_count": 5,
    }


def test_labels_are_escaped() -> None:
    reasons = {'a "b"': 1, "c\\d": 2, "e\nf": 3}
    body = render([Metric("a_total", "counter", "b", reasons, "reason")]).decode()
    assert body.count("\n") == 5
    assert numbers(body) == {f"a_total{{reason={name}}}": n for name, n in reasons.items()}


def test_reasons_are_few() -> None:
    left = {
        **{f"closed with {code}": 1 for code in range(1000, 5000)},
        "connection lost: Broken pipe": 2,
        "connection lost: Connection reset by peer": 3,
        "nothing sent could be delivered for 0.5 seconds": 4,
        "nothing sent could be delivered for 1e+03 seconds": 5,
        "quit": 6,
    }
    assert kinds(left) == {
        "closed with N": 4000,
        "connection lost": 5,
        "nothing sent could be delivered for N seconds": 9,
        "quit": 6,
    }


def test_each_limit_that_refuses_is_told_from_the_start() -> None:
    found: set[str] = set()
    for path in Path(trio_chat.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "limit":
                found |= {
                    part.value
                    for part in ast.walk(node.value)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                }
    settings = {field.name for field in fields(Settings)}
    assert found & settings | {"max_clients", "max_clients_per_address", "nick_chars"} <= set(
        LIMITS
    )
    assert set(LIMITS) <= settings


@pytest.mark.parametrize(
    ("settings", "lines", "limit"),
    [
        ({}, [f"/join #{'x' * 64}"], "room_chars"),
        ({}, [f"/nick {'x' * 33}"], "nick_chars"),
        ({}, ["/join #a", f"/topic {'x' * 301}"], "topic_chars"),
        ({}, ["/join #a", f"/msg {'x' * 2001}"], "message_chars"),
        ({}, ["x" * 8193], "line_bytes"),
        ({"max_rooms": 1, "keep_rooms": ("#a",)}, ["/join #b"], "max_rooms"),
    ],
)
async def test_each_limit_counts_what_it_refuses(settings, lines, limit, autojump_clock) -> None:
    async with (
        open_chat(Settings(**settings)) as chat,
        line_client(chat) as john,
    ):
        await john.send(*lines)
        await john.sync()
        assert chat.statistics().refused == {limit: 1}


async def test_lateness_is_what_holds_up_the_loop(monkeypatch) -> None:
    monkeypatch.setattr(loop_lag, "SECONDS", 0.01)
    async with open_chat() as chat, trio.open_nursery() as nursery:
        nursery.start_soon(chat.measure_lateness)
        await until(lambda: sum(chat.statistics().late_seconds.counts) > 0)
        before = chat.statistics().late_seconds.sum
        time.sleep(0.3)  # noqa: ASYNC251 - this is what is to be noticed
        await until(lambda: chat.statistics().late_seconds.sum - before > 0.25)
        late = chat.statistics().late_seconds
        assert sum(late.counts[4:]) >= 1
        nursery.cancel_scope.cancel()


def test_usage_says_nothing_where_there_is_no_proc(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("trio_chat.metrics.process._OWN", tmp_path)
    told = usage()
    assert (told.resident_bytes, told.open_files) == (None, None)
    assert told.cpu_seconds > 0


# --- health ---------------------------------------------------------------------------------------

WELL = Health(turn_seconds=0, listening=True, writable=True)


@pytest.mark.parametrize(
    ("health", "live", "problems"),
    [
        (WELL, True, 0),
        (evolve(WELL, turn_seconds=HANGING_SECONDS - 0.1), True, 0),
        (evolve(WELL, turn_seconds=HANGING_SECONDS), False, 1),
        (evolve(WELL, listening=False), True, 1),
        (evolve(WELL, writable=False), True, 1),
        (Health(99, listening=False, writable=False), False, 3),
    ],
)
def test_health_is_live_and_ready_apart(health: Health, problems: int, *, live: bool) -> None:
    assert (health.live, len(health.problems)) == (live, problems)


async def test_a_healthy_chat_says_so() -> None:
    async with chat_on_tcp() as (_, port):
        for path in PATHS[1:]:
            status, headers, body = await fetch(port, path)
            assert (status, headers["Content-Type"]) == (200, "application/json")
            assert headers["Cache-Control"] == "no-store"
            assert json.loads(body) == {"live": True, "ready": True, "problems": []}
            status, headers, body = await fetch(port, path, method="HEAD")
            assert (status, body, headers["Content-Length"]) == (200, "", "46")
            assert (await fetch(port, path, method="DELETE"))[0] == 405
            assert (await fetch(port, path + "/"))[0] == 404


async def test_a_chat_that_has_nothing_to_do_is_in_no_turn() -> None:
    async with open_chat() as chat, line_client(chat, nick="john") as john:
        await john.sync()
        await trio.testing.wait_all_tasks_blocked()
        assert chat.health().turn_seconds == 0


async def test_a_chat_that_stops_is_not_ready() -> None:
    async with open_chat() as chat:
        assert chat.health().problems == ["the chat does not listen, or is stopping"]
        await chat.listen(port=0)
        await until(lambda: chat.health().problems == [])
        await chat.stop()
        assert chat.health().problems == ["the chat does not listen, or is stopping"]


@asynccontextmanager
async def hanging_log(chat: trio_chat.Chat):
    """The chat's log does not come back from an append; until the end."""
    log = chat._hub._log
    append, go_on, waits = log.append, trio.Event(), trio.Event()

    async def hang(drafts):
        waits.set()
        await go_on.wait()
        return await append(drafts)

    log.append = hang
    try:
        yield waits
    finally:
        go_on.set()


@pytest.fixture
def slotless_log(monkeypatch) -> None:
    """A log whose methods can be replaced."""
    real = trio_chat.server.opening.MemoryLog

    class Replaceable(real):
        pass

    monkeypatch.setattr(trio_chat.server.opening, "MemoryLog", Replaceable)


async def test_a_hub_that_hangs_is_told_without_it(slotless_log, monkeypatch) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#a")
        async with hanging_log(chat) as waits:
            await john.send("/msg Hi")
            await waits.wait()
            monkeypatch.setattr(trio_chat.metrics.statistics, "HANGING_SECONDS", 0.05)
            await trio.sleep(0.06)  # longer than it may hang, by the clock of a watchdog
            for path in ("/healthz", "/healthz/live"):
                status, _, body = await fetch_one(port, path)
                assert status == 503
                told = json.loads(body)
                assert (told["live"], told["ready"]) == (False, False)
                [problem] = told["problems"]
                assert re.fullmatch(r"a batch of commands has taken \d+ seconds so far", problem)
            status, _, body = await fetch_one(port, "/metrics")
            assert status == 200
            assert numbers(body)["trio_chat_turn_current_seconds"] > 0.05
        monkeypatch.undo()
        await john.sync()
        # The clients that asked are gone, and have left nothing behind.
        await until(lambda: chat.statistics().clients == 1)
        assert (await fetch(port, "/healthz"))[0] == 200


async def fetch_one(port: int, path: str, *headers: str) -> tuple[int, dict[str, str], str]:
    """As `fetch`, but the connection need not end: its length says where the answer does."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
    async with await trio.open_tcp_stream(HOST, port) as stream:
        await stream.send_all("\r\n".join(lines).encode())
        got = ""
        with trio.fail_after(PATIENCE):
            while True:
                got += (await stream.receive_some()).decode()
                head, found, body = got.partition("\r\n\r\n")
                status, *rest = head.split("\r\n")
                if found:
                    headers = dict(line.split(": ", 1) for line in rest)
                    if len(body) == int(headers["Content-Length"]):
                        return int(status.split()[1]), headers, body


# --- who is an operator ---------------------------------------------------------------------------

FAR = b"PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n"
NEAR = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"
NEAR_6 = b"PROXY TCP6 ::1 ::1 1 2\r\n"
UNKNOWN = b"PROXY UNKNOWN\r\n"
UNSPEC = b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"
BEARER = f"Authorization: Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("first", "headers", "without", "with_one"),
    [
        (b"", [], 200, 200),
        (NEAR, [], 200, 200),
        (NEAR_6, [], 200, 200),
        (LOCAL, [], 200, 200),  # the proxy's own check
        (FAR, [], 403, 401),
        (UNKNOWN, [], 403, 401),
        (UNSPEC, [], 403, 401),
        *(
            (b"", [f"{name}: 127.0.0.1"], 403, 401)
            for name in ("Forwarded", "X-Forwarded-For", "x-real-ip", "Via")
        ),
        (FAR, [BEARER], 403, 200),
        (b"", ["Via: 1.1 a", BEARER], 403, 200),
        (FAR, [BEARER.replace("Bearer", "bearer")], 403, 200),
        (FAR, [f"{BEARER}0"], 403, 401),
        (FAR, [BEARER[:-1]], 403, 401),
        (FAR, ["Authorization: Bearer"], 403, 401),
        (FAR, ["Authorization: Bearer \u00e9"], 403, 401),
        (FAR, [BEARER.replace("Bearer", "Basic")], 403, 401),
        # A wrong one is told, wherever it comes from, if there is a right one.
        (b"", [f"{BEARER}0"], 200, 401),
        (b"", ["Authorization: Basic YTpi"], 200, 200),
    ],
)
@pytest.mark.parametrize("path", [path for path in PATHS if path != LIVE])
async def test_metrics_are_for_this_machine_or_holders_of_the_token(
    first: bytes, headers: list[str], without: int, with_one: int, path: str, token_file: str
) -> None:
    for file, expected in (("", without), (token_file, with_one)):
        settings = {"trusted_proxies": (HOST,), "metrics_token_file": file}
        async with chat_on_tcp(**settings) as (_, port):
            status, told, body = await fetch(port, path, *headers, first=first)
            assert status == expected
            assert ("WWW-Authenticate" in told) == (status == 401)
            if status != 200:
                assert body.endswith(".\n")
                assert body.count("\n") == 1
                assert TOKEN not in body


FORWARDING = """\
    Forwarded Via X-Forwarded X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port
    X-Forwarded-Server X-Forwarded-Prefix X-Original-Forwarded-For X-Original-Host X-Original-URL
    X-Real-IP X-Client-IP Client-IP True-Client-IP X-Cluster-Client-IP Fastly-Client-IP
    CF-Connecting-IP CF-Connecting-IPv6 CF-Ray CDN-Loop DO-Connecting-IP X-Remote-IP X-Remote-Addr
    X-Originating-IP X-Envoy-External-Address X-Azure-ClientIP X-AppEngine-User-IP X-ProxyUser-IP
    X-Source-IP X-Amzn-Trace-Id
"""
# Headers that browsers, other programs and Prometheus send.
ORDINARY = """\
    Accept Accept-Encoding Accept-Language Cache-Control Cookie DNT Origin Pragma Priority Referer
    Sec-CH-UA-Platform Sec-Fetch-Site Sec-GPC TE Upgrade-Insecure-Requests User-Agent
    X-Prometheus-Scrape-Timeout-Seconds X-Requested-With
"""


async def test_a_request_that_says_it_was_forwarded_is_from_elsewhere() -> None:
    async with chat_on_tcp() as (_, port):
        for name in FORWARDING.split():
            assert (name, (await fetch(port, "/metrics", f"{name}: 127.0.0.1"))[0]) == (name, 403)
        for name in ORDINARY.split():
            assert (name, (await fetch(port, "/metrics", f"{name}: 127.0.0.1"))[0]) == (name, 200)


@pytest.mark.parametrize("first", [b"", FAR, UNKNOWN])
@pytest.mark.parametrize("headers", [[], ["Via: 1.1 a"], ["Authorization: Bearer x"]])
@pytest.mark.parametrize("host", [HOST, "10.1.2.3:8888", "chat.example.org"])
async def test_anyone_is_told_whether_the_chat_is_live_and_nothing_else(
    first: bytes, headers: list[str], host: str, token_file: str
) -> None:
    settings = {"trusted_proxies": (HOST,), "metrics_token_file": token_file}
    async with chat_on_tcp(**settings) as (chat, port):
        operator = (first, headers, host) == (b"", [], HOST)
        told = {"live": True} | ({"ready": True, "problems": []} if operator else {})
        status, _, body = await fetch(port, LIVE, *headers, first=first, host=host)
        assert (status, json.loads(body)) == (200, told)
        chat._hub._log.commits.note(1, worked=False)
        status, _, body = await fetch(port, LIVE, *headers, first=first, host=host)
        assert status == 200
        assert ("problems" in json.loads(body)) == operator


async def test_a_check_by_http_1_0_is_told_whether_the_chat_is_live() -> None:
    # As haproxy asks: without a name.
    async with chat_on_tcp() as (_, port), await trio.open_tcp_stream(HOST, port) as stream:
        await stream.send_all(f"GET {LIVE} HTTP/1.0\r\n\r\n".encode())
        answer = b"".join([part async for part in stream])
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_stranger_is_told_that_the_chat_hangs(slotless_log, monkeypatch) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#a")
        async with hanging_log(chat) as waits:
            await john.send("/msg Hi")
            await waits.wait()
            monkeypatch.setattr(trio_chat.metrics.statistics, "HANGING_SECONDS", 0)
            status, _, body = await fetch_one(port, LIVE, "Via: 1.1 a")
            assert (status, json.loads(body)) == (503, {"live": False})
        await john.sync()


async def test_no_page_gets_in_by_another_name(token_file: str) -> None:
    async with chat_on_tcp(metrics_token_file=token_file) as (_, port):
        ask = partial(fetch, port, "/metrics", host="rebound.example.org")
        assert (await ask())[0] == 403
        assert (await ask(BEARER))[0] == 200  # no page knows it
        assert (await fetch(port, "/metrics", host="localhost:1"))[0] == 200


async def test_the_token_is_read_anew_at_a_reload(token_file: str, tmp_path: Path) -> None:
    settings = Settings(metrics_token_file=token_file, port=0, trusted_proxies=(HOST,))
    async with open_chat(settings) as chat:
        [(_, port)] = await chat.listen()
        ask = partial(fetch, port, "/metrics", first=FAR)
        assert (await ask(BEARER))[0] == 200
        Path(token_file).write_text("another" * 5)
        assert (await ask(BEARER))[0] == 200
        await chat.reload(settings)
        assert (await ask(BEARER))[0] == 401
        assert (await ask(f"Authorization: Bearer {'another' * 5}"))[0] == 200
        Path(token_file).chmod(0o644)
        with pytest.raises(SettingsError, match="open to other users"):
            await chat.reload(evolve(settings, max_clients=1))
        assert chat.settings.max_clients != 1
        assert (await ask(f"Authorization: Bearer {'another' * 5}"))[0] == 200
        await chat.reload(evolve(settings, metrics_token_file=""))
        assert (await ask(BEARER))[0] == 403


async def test_a_request_for_metrics_counts_against_the_limit_on_clients() -> None:
    async with chat_on_tcp(max_clients=1) as (chat, port):
        assert (await fetch(port, "/healthz"))[0] == 200
        await until(lambda: chat.statistics().clients == 0)
        await dial(port, nick="john")
        stream = await trio.open_tcp_stream(HOST, port)
        async with stream:
            assert (await stream.receive_some()).startswith(b"err: the server is full")


async def test_chats_in_one_process_have_metrics_of_their_own() -> None:
    async with chat_on_tcp() as (_, one), chat_on_tcp() as (_, other):
        await dial(one, nick="john", room="#a")
        assert (await scrape(one))["trio_chat_rooms"] == 1
        assert (await scrape(other))["trio_chat_rooms"] == 0

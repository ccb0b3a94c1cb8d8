"""The token bucket: a burst at once, a rate in the long run, nothing lost and nobody punished."""

from __future__ import annotations

import opening
import pytest
import trio
import trio.testing
from documents import document_client, frame
from hypothesis import given
from hypothesis import strategies as st
from opening import FedLink

from trio_chat import Settings, open_chat
from trio_chat.protocol.commands import Say
from trio_chat.testing import line_client
from trio_chat.transports.rate_limit import BucketSnapshot, TokenBucket
from trio_chat.transports.reader import LINE_BYTES, MOST_LINES


def test_a_burst_passes_at_once_and_no_more() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert bucket.available(100.0) == 3
    bucket.spend(2)
    assert bucket.available(100.0) == 1
    bucket.spend(1)
    assert bucket.available(100.0) == 0


def test_asking_alone_takes_nothing() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert [bucket.available(5.0) for _ in range(5)] == [3] * 5


def test_it_fills_with_the_rate() -> None:
    bucket = TokenBucket(rate=2, burst=10)
    bucket.available(0.0)
    bucket.spend(10)
    assert [bucket.available(now) for now in (0.25, 0.5, 0.75, 1.0, 2.5)] == [0, 1, 1, 2, 5]


def test_it_never_holds_more_than_a_burst() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    bucket.available(0.0)
    assert bucket.available(1e9) == 3


def test_the_time_before_the_first_line_counts_for_nothing() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert bucket.available(1e9) == 3
    bucket.spend(3)
    assert bucket.available(1e9) == 0


def test_wait_says_when_the_next_line_may_pass() -> None:
    bucket = TokenBucket(rate=4, burst=2)
    bucket.available(0.0)
    assert bucket.wait() == 0.0
    bucket.spend(2)
    assert bucket.wait() == pytest.approx(0.25)
    bucket.available(0.125)
    assert bucket.wait() == pytest.approx(0.125)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3, 1 / 3, 7.0, 10.0, 100.0])
@pytest.mark.parametrize("now", [0.0, 1e3, 1e6])
def test_a_line_may_pass_after_just_that_wait(rate: float, now: float) -> None:
    bucket = TokenBucket(rate=rate, burst=1)
    bucket.available(now)
    for _ in range(50):
        bucket.spend(1)
        now += bucket.wait()
        assert bucket.available(now) == 1


def test_a_bucket_in_debt_lets_nothing_through() -> None:
    # A client's answers to telnet commands count, and no limit holds them back.
    bucket = TokenBucket(rate=10, burst=3)
    bucket.available(0.0)
    bucket.spend(103)
    assert bucket.available(0.0) == 0
    assert bucket.available(9.0) == 0
    assert bucket.wait() == pytest.approx(1.1)
    assert bucket.available(10.15) == 1


@given(
    rate=st.floats(0.01, 1000),
    burst=st.integers(1, 50),
    steps=st.lists(st.tuples(st.floats(0, 20), st.integers(0, 60)), max_size=40),
)
def test_never_more_than_the_burst_and_the_rate_allow(
    rate: float, burst: int, steps: list[tuple[float, int]]
) -> None:
    bucket = TokenBucket(rate=rate, burst=burst)
    now = passed = 0.0
    for pause, wanted in steps:
        now += pause
        lines = min(wanted, bucket.available(now))
        assert 0 <= lines <= burst
        bucket.spend(lines)
        passed += lines
        assert passed <= burst + rate * now + 0.001


@given(
    spent=st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), max_size=5),
    pause=st.floats(0, 5),
    later=st.floats(0, 100),
)
def test_a_frozen_one_goes_on_by_another_clock(spent, pause: float, later: float) -> None:
    bucket, now = TokenBucket(rate=3, burst=20), 1_000.0
    for seconds, lines in spent:
        now += seconds
        bucket.available(now)
        bucket.spend(lines)
    snapshot = bucket.snapshot(now + pause)
    restored = TokenBucket.restored(3, 20, snapshot, now=7.0)
    assert restored.in_debt == bucket.in_debt
    assert abs(restored.available(7.0 + later) - bucket.available(now + pause + later)) <= 1
    assert restored.wait() == pytest.approx(bucket.wait(), abs=1e-6)


def test_a_frozen_one_holds_no_more_than_the_new_burst() -> None:
    bucket = TokenBucket.restored(1, 5, BucketSnapshot(20.0, 1.0), now=7.0)
    assert bucket.available(7.0) == 5


@pytest.mark.parametrize("size", [1, 200])
async def test_many_small_reads_count_as_work(size: int, autojump_clock) -> None:
    """A telnet that sends each key by itself has the server read as often."""
    line = b"/topic " + b"x" * 192 + b"\n"
    async with (
        open_chat(Settings(rate_limit=1, rate_burst=4)) as chat,
        line_client(chat) as client,
    ):
        for start in range(0, len(line), size):
            await client.stream.send_all(line[start : start + size])
            await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == 0
        await client.send("/who")
        await client.lines(2)
        # The reads have cost as much as four lines, which is all that may come at once.
        assert trio.current_time() == pytest.approx(2 if size == 1 else 0, abs=0.1)


TELNET = b"\xff\xf1"
PING = {"type": "ping", "id": "last"}
EMPTY_FRAME, PONG = b"\x00\x80abcd", b"\x8a\x80abcd"


@pytest.mark.parametrize(
    ("item", "lines"),
    [
        (b"\n", 1),
        (b"\r\n", 1),
        (b"\r\0", 1),
        (b"\xff\xf1", 0.25),  # a telnet command that means nothing
        (b"\xff\xf6", 0.25),  # one that is answered
        (b"\xff\xfe\x01", 0.25),
        (b"\xff\xff", 0.25),
        (b"\xff\xfa\x18\xff\xf0", 0.25),
    ],
)
async def test_lines_cost_whatever_they_hold(item: bytes, lines: float, autojump_clock) -> None:
    settings = Settings(rate_limit=1, rate_burst=4)
    async with open_chat(settings) as chat, line_client(chat) as client:
        await client.stream.send_all(TELNET + item * 200 + b"\n/who\n")
        while not (await client.line()).startswith("err: you are in no room"):
            pass
        assert trio.current_time() == pytest.approx(200 * lines + 0.25 + 1 - 4, abs=2.1)


@pytest.mark.parametrize("item", [EMPTY_FRAME, PONG, b"\x89\x80abcd", b"\x00\x81abcdx"])
async def test_frames_cost_whatever_they_hold(item: bytes, autojump_clock) -> None:
    async with (
        open_chat(Settings(rate_limit=1, rate_burst=4)) as chat,
        document_client(chat) as client,
    ):
        since = trio.current_time()
        begin, end = (b"\x01\x80abcd", b"\x80\x80abcd") if item[0] == 0 else (b"", b"")
        await client.stream.send_all(begin + item * 200 + end + frame(PING))
        while (await client.receive(pongs=[])).get("id") != "last":
            pass
        assert trio.current_time() - since == pytest.approx(50, abs=6)


class CostlyLink(FedLink):
    """One where what comes may be worth more than a client's task sees, as with TLS."""

    def take(self) -> bytes | None:
        data = super().take()
        self.overhead = 8 * LINE_BYTES if data.endswith(b"$") else 0
        return data.removesuffix(b"$") or (None if data else b"")


@pytest.mark.parametrize("first", [b"$", b"/who\n$"])
async def test_input_that_amounts_to_no_bytes_costs(
    first: bytes, monkeypatch: pytest.MonkeyPatch, autojump_clock
) -> None:
    monkeypatch.setattr(opening, "FedLink", CostlyLink)
    settings = Settings(rate_limit=1, rate_burst=4)
    await opening.run([first, b"$", b"$", b"/who\n"], settings=settings)
    # Each of them is worth eight lines.
    assert trio.current_time() == pytest.approx(3 * 8 - 4, abs=4)


@pytest.mark.parametrize("rate_limit", [None, 1.0])
async def test_no_read_makes_more_records_than_a_turn_takes(
    rate_limit: float | None, autojump_clock
) -> None:
    settings = Settings(rate_limit=rate_limit, rate_burst=100_000)
    send, receive = trio.open_memory_channel[object](float("inf"))
    reader = opening.new_reader(FedLink([b"/msg x\n" * 9_000]), send, settings)
    descriptors = opening.Descriptors()
    await opening.Connection(reader, send, settings, opening.TABLE, descriptors=descriptors).run()
    send.close()
    sent = [item[1] async for item in receive]
    said = [record for records in sent for record in records if isinstance(record, Say)]
    assert said == [Say("x")] * 9_000
    assert max(map(len, sent)) <= MOST_LINES + 1  # and that it has begun

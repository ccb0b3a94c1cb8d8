"""The log: one line an event, whatever is in it, as text or as JSON."""

from __future__ import annotations

import errno
import json
import logging
import os
import re

import pytest
import trio

from trio_chat.daemon import logs

logger = logging.getLogger("trio_chat")

# Characters that must not appear: they would end the line, or act on the reader's terminal.
NASTY = "a\nb\r\x1b[31m\x7f\x85\x9b\u2028\u202e\x00\ud800"
UNSAFE = re.compile(r"[^\n\x20-\x7e]")


class Log:
    """The lines logged since the last call."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self.captured = captured

    def text(self) -> str:
        return self.captured.readouterr().err

    def lines(self) -> list[str]:
        return self.text().split("\n")[:-1]

    def objects(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines()]


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]):
    root = logging.getLogger()
    level = root.level
    yield Log(capsys)
    root.setLevel(level)
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, (logs.TextFormatter, logs.JsonFormatter)):
            root.removeHandler(handler)


def fail(error: Exception) -> None:
    try:
        raise error  # noqa: TRY301 - a traceback is what is wanted
    except Exception:
        logger.exception("a client's task failed", extra={"client": 7})


def cannot_accept(number: int, seconds: float) -> None:
    """Log what Trio logs then."""
    error = OSError(number, os.strerror(number))
    trio_logger = logging.getLogger("trio.serve_listeners")
    record = trio_logger.makeRecord(
        trio_logger.name,
        logging.ERROR,
        "_highlevel_serve_listeners.py",
        1,
        "accept returned %s (%s); retrying in %s seconds",
        (errno.errorcode[number], os.strerror(number), 0.1),
        (OSError, error, None),
    )
    record.created = 1_000_000 + seconds
    trio_logger.handle(record)


def test_a_line_of_text_can_be_read_and_searched(log: Log) -> None:
    logs.configure("info", "text")
    logger.info("client left", extra={"address": "::1 4000", "client": 7, "reason": "quit"})
    (line,) = log.lines()
    time, rest = line.split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert rest == 'INFO client left address="::1 4000" client=7 reason=quit'


def test_a_line_of_json_has_everything(log: Log) -> None:
    logs.configure("info", "json")
    logger.info("client %s", "joined", extra={"address": "127.0.0.1:4000", "client": 7})
    (fields,) = log.objects()
    assert list(fields)[:4] == ["time", "level", "logger", "message"]
    assert fields.pop("time").endswith("Z")
    assert fields == {
        "level": "info",
        "logger": "trio_chat",
        "message": "client joined",
        "address": "127.0.0.1:4000",
        "client": 7,
    }


def test_time_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    record = logging.makeLogRecord({"created": 0.25})
    assert logs.time_of(record) == "1970-01-01T00:00:00.250Z"


def test_extra_fields_cannot_replace_the_logs_own(log: Log) -> None:
    logs.configure("info", "json")
    logger.info("started", extra={"level": "x", "time": "x", "logger": "x", "odd": {1, 2}})
    (fields,) = log.objects()
    assert (fields["level"], fields["logger"], fields["odd"]) == ("info", "trio_chat", "{1, 2}")
    assert fields["time"] != "x"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("quit", "quit"),
        (5, "5"),
        ("two words", '"two words"'),
        ("", '""'),
        ("a=b", '"a=b"'),
        ('a"b', '"a\\"b"'),
        ("a\\nb", '"a\\\\nb"'),
        ("a\nb", '"a\\nb"'),
        ("жук", "жук"),
        ("жук\u202e", '"\\u0436\\u0443\\u043a\\u202e"'),
        (None, "None"),
    ],
)
def test_a_value_can_be_told_from_its_neighbours(value: object, shown: str) -> None:
    assert logs.quoted(value) == shown


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_from_outside_breaks_a_line_or_reaches_the_terminal(form, log: Log) -> None:
    logs.configure("info", form)
    logger.info("left %s", NASTY, extra={"reason": NASTY, "rooms": [NASTY]})
    text = log.text()
    assert text.count("\n") == 1
    assert not UNSAFE.search(text)


def test_a_traceback_in_text_is_set_in_and_cannot_pass_for_a_line(log: Log) -> None:
    logs.configure("info", "text")
    fail(ValueError(f"\n2026-01-01T00:00:00.000Z INFO forged {NASTY}"))
    text = log.text()
    first, *others = text.split("\n")[:-1]
    assert first.endswith("ERROR a client's task failed client=7")
    assert others[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in others)
    assert any("forged" in line for line in others)
    assert not UNSAFE.search(text)


def test_a_traceback_in_json_is_a_field(log: Log) -> None:
    logs.configure("info", "json")
    fail(ValueError(NASTY))
    (fields,) = log.objects()
    assert fields["client"] == 7
    assert fields["exception"].startswith("Traceback (most recent call last):\n")
    assert fields["exception"].endswith(f"ValueError: {NASTY}")


def test_less_serious_events_are_left_out(log: Log) -> None:
    logs.configure("warning", "text")
    logger.info("no")
    logger.warning("yes")
    assert len(log.lines()) == 1


def test_configuring_twice_does_not_log_twice(log: Log) -> None:
    logs.configure("info", "text")
    logs.configure("info", "json")
    logger.info("once")
    assert len(log.objects()) == 1


def test_running_out_of_descriptors_is_one_line_in_ten_seconds(log: Log) -> None:
    logs.configure("info", "text")
    for tenths in range(250):
        cannot_accept(errno.EMFILE, tenths / 10)
    lines = log.lines()
    assert len(lines) == 3
    for line in lines:
        assert line.endswith(
            "ERROR new clients have to wait: Too many open files; "
            "raise the limit (ulimit -n, systemd's LimitNOFILE=)"
        )


class Full(trio.abc.Listener[trio.abc.Stream]):
    """A listener with no descriptor left."""

    async def accept(self) -> trio.abc.Stream:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_trio_still_logs_it_as_is_expected_here(log: Log, autojump_clock) -> None:
    logs.configure("info", "text")
    with trio.move_on_after(5):  # fifty tries
        await trio.serve_listeners(trio.aclose_forcefully, [Full()])
    (line,) = log.lines()
    assert "ERROR new clients have to wait: Too many open files" in line


def test_running_out_of_memory_is_not_told_to_be_a_matter_of_files(log: Log) -> None:
    logs.configure("info", "json")
    cannot_accept(errno.ENOBUFS, 0)
    (fields,) = log.objects()
    assert fields["message"].endswith("No buffer space available; the system is short of memory")
    assert "exception" not in fields


def test_others_may_log_as_often_as_they_like(log: Log) -> None:
    logs.configure("info", "json")
    fail(OSError(errno.EMFILE, "too many"))
    fail(OSError(errno.EMFILE, "too many"))
    assert ["exception" in fields for fields in log.objects()] == [True, True]

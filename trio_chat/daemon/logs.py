"""The form of the log: one line for each event on standard error, as text or as JSON.

The package logs events, never messages: `logging.getLogger("trio_chat").info("client left",
extra={"address": …, "client": …, "reason": …})`. Both forms show the extra fields.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from trio_chat.config.settings import LogFormat, LogLevel

# The attributes of every record; all others came as `extra`.
OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

ACCEPTING: Final = "trio.serve_listeners"
ACCEPTING_SILENCE: Final = 10.0  # seconds
FULL: Final = (errno.EMFILE, errno.ENFILE)


def configure(level: LogLevel, form: LogFormat, fields: Mapping[str, object] | None = None) -> None:
    """Send the log of this process, from `level` up, to standard error in this form.

    Each line has these `fields` too.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    handler.addFilter(CannotAccept())
    if fields:
        handler.addFilter(HasFields(fields))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class TextFormatter(logging.Formatter):
    """`TIME LEVEL MESSAGE key=value …`; the lines of a traceback follow, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line and, below it, the lines of the traceback."""
        fields = "".join(f" {key}={quoted(value)}" for key, value in extra(record).items())
        line = f"{time_of(record)} {record.levelname} {escaped(record.getMessage())}{fields}"
        if not record.exc_info:
            return line
        # Indented, so that no text of an exception can pass for a line of the log.
        traceback = self.formatException(record.exc_info).split("\n")
        return "\n".join([line, *(f"    {escaped(part)}" for part in traceback)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the extra fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line in ASCII, so that no control character gets out."""
        fields: dict[str, object] = {
            "time": time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields | extra(record) | fields, default=str)


class HasFields(logging.Filter):
    """Gives each record further fields."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        super().__init__()
        self.fields = fields

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, with the fields."""
        vars(record).update(self.fields)
        return True


class CannotAccept(logging.Filter):
    """Makes the record of a server that is out of descriptors short and rare.

    Trio tries again every 100 ms, and logs a traceback each time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.silent_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Let one such record pass each `ACCEPTING_SILENCE`, and all other records as they are."""
        error = record.exc_info[1] if record.exc_info else None
        if record.name != ACCEPTING or not isinstance(error, OSError):
            return True
        if record.created < self.silent_until:
            return False
        self.silent_until = record.created + ACCEPTING_SILENCE
        record.msg, record.args = "new clients have to wait: %s", (reason(error),)
        record.exc_info = None
        return True


def reason(error: OSError) -> str:
    number = error.errno or 0
    if number in FULL:
        return f"{os.strerror(number)}; raise the limit (ulimit -n, systemd's LimitNOFILE=)"
    return f"{os.strerror(number)}; the system is short of memory"


def extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in OWN}


def time_of(record: logging.LogRecord) -> str:
    """Return the time of a record in UTC, as ISO 8601 with milliseconds."""
    time = datetime.fromtimestamp(record.created, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def escaped(text: str) -> str:
    """Leave printable text as it is, and escape other text as JSON does."""
    return text if text.isprintable() else json.dumps(text)[1:-1]


def quoted(value: object) -> str:
    """Leave a plain word as it is, and write any other value as a JSON string."""
    text = str(value)
    plain = text.isprintable() and text and not set(text) & set(' "=\\')
    return text if plain else json.dumps(text, ensure_ascii=not text.isprintable())

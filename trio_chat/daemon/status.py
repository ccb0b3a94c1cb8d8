"""A daemon's status for people: what matters of what it answers, in groups, a line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final, TypeAlias, cast

from trio_chat.daemon.control import Response
from trio_chat.daemon.logs import escaped
from trio_chat.metrics.catalogue import kinds

Shown: TypeAlias = Callable[[Response], str]


def status_lines(answer: Response) -> list[str]:
    """The groups, each with its name; nothing in them can move a terminal's cursor."""
    lines: list[str] = []
    for group, rows in GROUPS.items():
        shown = [(label, show(answer)) for label, show in rows.items()]
        if lines:
            lines.append("")
        lines.append(group)
        lines += [escaped(f"  {label:{WIDTH}}  {text}") for label, text in shown if text]
    return lines


# --- how values look ------------------------------------------------------------------------------


def plain(name: str) -> Shown:
    """The value as it is; several with commas between; nothing if the daemon does not say it."""

    def show(answer: Response) -> str:
        value = answer.get(name)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, list):
            return ", ".join(map(str, cast("list[object]", value)))
        return f"{value:,}" if isinstance(value, int) else str(value or "")

    return show


def counted(name: str) -> Shown:
    """A number for each of several things."""

    def show(answer: Response) -> str:
        counts = answer.get(name)
        if not isinstance(counts, Mapping):
            return ""
        each = cast("Mapping[object, object]", counts).items()
        return ", ".join(f"{what}: {count}" for what, count in each) or "none"

    return show


def size(name: str) -> Shown:
    """Bytes, in the unit that makes a number of three digits or less."""
    return lambda answer: _size(_number(answer.get(name)))


def uptime(answer: Response) -> str:
    """Days, hours, minutes, seconds."""
    return str(timedelta(seconds=int(_number(answer.get("uptime")))))


def state(answer: Response) -> str:
    """Whether all is well, or else what is not."""
    if answer.get("stopping"):
        return "stopping"
    return plain("problems")(answer) or "ready"


def clients(answer: Response) -> str:
    """How many of how many, and what they speak."""
    there, most = plain("clients")(answer), plain("max_clients")(answer) or "unknown"
    spoken = counted("dialects")(answer)
    return f"{there} of {most}" + (f" ({spoken})" if answer.get("dialects") else "")


def ended(answer: Response) -> str:
    """How many connections, by reason, without what differs from one to another."""
    left = answer.get("left")
    if not isinstance(left, Mapping):
        return ""
    return counted("left")({"left": kinds(cast("Mapping[str, int]", left))})


def lagging(answer: Response) -> str:
    """How many now, and how often since the start."""
    return f"{plain('lagging')(answer)} now, {plain('lagged')(answer)} times since the start"


def outboxes(answer: Response) -> str:
    """What waits in all of them, and in the fullest."""
    return f"{size('outbox_bytes')(answer)} in all, {size('outbox_most')(answer)} at most"


def open_files(answer: Response) -> str:
    """How many of how many."""
    return f"{plain('open_files')(answer) or 'unknown'} of {plain('max_files')(answer)}"


def spread(name: str, *, seconds: bool = True) -> Shown:
    """What a histogram says of nearly all values, and of their mean."""

    def show(answer: Response) -> str:
        histogram = answer.get(name)
        if not isinstance(histogram, Mapping):
            return ""
        told = cast("Mapping[str, Sequence[float]]", histogram)
        bounds, counts, total = (told.get(part) for part in ("bounds", "counts", "sum"))
        if bounds is None or counts is None:
            return ""
        number = sum(counts)
        if not number:
            return "none yet"
        of = _duration if seconds else _rounded
        mean = of(_number(total) / number)
        bound, above = _nearly_all(bounds, counts)
        return f"{number:,.0f}, 99 % {'above' if above else 'up to'} {of(bound)}, mean {mean}"

    return show


def _nearly_all(bounds: Sequence[float], counts: Sequence[float]) -> tuple[float, bool]:
    """The bound that 99 of 100 values do not exceed; or the last one, and that they do."""
    need, seen = 0.99 * sum(counts), 0.0
    for bound, count in zip(bounds, counts, strict=False):
        seen += count
        if seen >= need:
            return bound, False
    return bounds[-1], True


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < THOUSAND:
            return f"{_rounded(number)} {unit}"
        number /= THOUSAND
    return f"{number:,.1f} TB"


def _duration(seconds: float) -> str:
    return f"{_rounded(seconds)} s" if seconds >= 1 else f"{_rounded(seconds * THOUSAND)} ms"


def _rounded(number: float) -> str:
    """Three digits of it, and no exponent."""
    return f"{float(f'{number:.3g}'):,g}"


THOUSAND: Final = 1000

GROUPS: Final[Mapping[str, Mapping[str, Shown]]] = {
    "daemon": {
        "state": state,
        "version": plain("version"),
        "process": lambda answer: str(answer.get("process", "")),
        "uptime": uptime,
        "upgrades": plain("upgrades"),
        "listening": plain("listening"),
        "store": plain("store"),
    },
    "people": {
        "clients": clients,
        "rooms": plain("rooms"),
        "lagging": lagging,
        "away": plain("away"),
        "connections": plain("connected"),
        "ended": ended,
        "refused": counted("refused"),
        "http requests": counted("http_requests"),
    },
    "traffic": {
        "commands": plain("records"),
        "messages": plain("messages"),
        "deliveries": plain("deliveries"),
        "received": size("bytes_in"),
        "sent": size("bytes_out"),
    },
    "load": {
        "turns": spread("turn_seconds"),
        "commands in one": spread("turn_records", seconds=False),
        "log commits": spread("commit_seconds"),
        "late tasks": spread("late_seconds"),
        "waiting reads": plain("waiting"),
        "outboxes": outboxes,
    },
    "process": {
        "memory": size("resident_bytes"),
        "open files": open_files,
    },
}
WIDTH: Final = max(len(label) for rows in GROUPS.values() for label in rows)

"""The status of a daemon for people: a line for each number that matters, in groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Final, TypeAlias, cast

from trio_chat.daemon.control import Response
from trio_chat.daemon.logs import escaped
from trio_chat.daemon.output import time_of
from trio_chat.metrics.catalogue import kinds

Shown: TypeAlias = Callable[[Response], str]


def status_lines(answer: Response) -> list[str]:
    """Return the lines of all groups; nothing in them can move a terminal's cursor."""
    lines: list[str] = []
    groups = {**GROUPS, "node": NODE if answer.get("node") else {}, "workers": _workers(answer)}
    for group, rows in groups.items():
        shown = [(label, show(answer)) for label, show in rows.items()]
        if not shown:
            continue
        if lines:
            lines.append("")
        lines.append(group)
        lines += [escaped(f"  {label:{WIDTH}}  {text}") for label, text in shown if text]
    return lines


def _workers(answer: Response) -> dict[str, Shown]:
    """Return a row for each worker, if there are any."""
    workers = answer.get("workers")
    rows = cast("list[object]", workers) if isinstance(workers, list) else []
    found = [cast("Response", row) for row in rows if isinstance(row, Mapping)]
    return {str(row.get("worker", "")): partial(_worker, row) for row in found}


def _worker(row: Response, _: Response) -> str:
    """Show the process of a worker, what it has, and how it is."""
    process, clients = plain("process")(row) or "none", plain("clients")(row) or "0"
    told = f"process {process.replace(',', '')}, clients: {clients}"
    told += f", memory: {size('resident_bytes')(row)}, uptime: {uptime(row)}"
    return f"{told}, restarts: {plain('restarts')(row)}, {state(row)}"


# --- how values look ------------------------------------------------------------------------------


def plain(name: str) -> Shown:
    """Show the value as it is, a list with commas; nothing if the answer does not have it."""

    def show(answer: Response) -> str:
        value = answer.get(name)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, list):
            return ", ".join(map(str, cast("list[object]", value)))
        return f"{value:,}" if isinstance(value, int) else str(value or "")

    return show


def counted(name: str) -> Shown:
    """Show a number for each of several keys."""

    def show(answer: Response) -> str:
        counts = answer.get(name)
        if not isinstance(counts, Mapping):
            return ""
        each = cast("Mapping[object, object]", counts).items()
        return ", ".join(f"{what}: {count}" for what, count in each) or "none"

    return show


def size(name: str) -> Shown:
    """Show bytes, in the unit that makes a number of three digits or less."""
    return lambda answer: _size(_number(answer.get(name)))


def uptime(answer: Response) -> str:
    """Show days, hours, minutes and seconds."""
    return str(timedelta(seconds=int(_number(answer.get("uptime")))))


def state(answer: Response) -> str:
    """Show that all is well, or else the problems."""
    if answer.get("stopping"):
        return "stopping"
    return plain("problems")(answer) or "ready"


def clients(answer: Response) -> str:
    """Show the number of clients, the most there may be, and their dialects."""
    there, most = plain("clients")(answer), plain("max_clients")(answer) or "unknown"
    spoken = counted("dialects")(answer)
    return f"{there} of {most}" + (f" ({spoken})" if answer.get("dialects") else "")


def ended(answer: Response) -> str:
    """Show the connections that ended, by kind of reason."""
    left = answer.get("left")
    if not isinstance(left, Mapping):
        return ""
    return counted("left")({"left": kinds(cast("Mapping[str, int]", left))})


def lagging(answer: Response) -> str:
    """Show the lagging clients now, and the number of times since the start."""
    return f"{plain('lagging')(answer)} now, {plain('lagged')(answer)} times since the start"


def outboxes(answer: Response) -> str:
    """Show the bytes in all outboxes, and in the fullest."""
    return f"{size('outbox_bytes')(answer)} in all, {size('outbox_most')(answer)} at most"


def open_files(answer: Response) -> str:
    """Show the open files, and the most there may be."""
    return f"{plain('open_files')(answer) or 'unknown'} of {plain('max_files')(answer)}"


def of_node(show: Shown) -> Shown:
    """Show something of the part about the node."""

    def show_part(answer: Response) -> str:
        node = answer.get("node")
        return show(cast("Response", node)) if isinstance(node, Mapping) else ""

    return show_part


def lease(node: Response) -> str:
    """Show the rest of the lease, the whole of it, and how often it was lost."""
    left, whole = _rounded(_number(node.get("lease_left"))), _duration(_number(node.get("lease")))
    fenced = _number(node.get("fenced"))
    lost = f", lost {fenced:,.0f} time{'' if fenced == 1 else 's'}" if fenced else ""
    return f"{left} of {whole}{lost}" + ("" if node.get("joined") else ", joins the others again")


def engine(node: Response) -> str:
    """Show whether the engine answers, and since when."""
    state = "up" if node.get("up") else "away"
    return f"{node.get('engine') or 'unknown'}, {state} since {time_of(node.get('since'))}"


def doubt(node: Response) -> str:
    """Show for how long a turn has been in doubt, and how often one was sent again."""
    seconds = _number(node.get("in_doubt"))
    now = f"for {_duration(seconds)}" if seconds else "none"
    return f"{now}, sent again {plain('retries')(node)} times"


def spread(name: str, *, seconds: bool = True, median: bool = False) -> Shown:
    """Show the number of values, the bound that 99 % keep to, and the mean or median."""

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
        most, half = (_up_to(share, bounds, counts, of) for share in (0.99, 0.5))
        middle = f"half {half}" if median else f"mean {of(_number(total) / number)}"
        return f"{number:,.0f}, 99 % {most}, {middle}"

    return show


def _up_to(
    share: float, bounds: Sequence[float], counts: Sequence[float], of: Callable[[float], str]
) -> str:
    """Say which bound a share of the values keeps to, or that it exceeds the last one."""
    need, seen = share * sum(counts), 0.0
    for bound, count in zip(bounds, counts, strict=False):
        seen += count
        if seen >= need:
            return f"up to {of(bound)}"
    return f"above {of(bounds[-1])}"


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
    """Write three digits of a number, without an exponent."""
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
        "logged in": plain("logged_in"),
        "logins refused": plain("logins_refused"),
        "rooms": plain("rooms"),
        "lagging": lagging,
        "detached": plain("away"),
        "connections": plain("connected"),
        "ended": ended,
        "refused": counted("refused"),
        "moderated": plain("actions"),
        "muted or banned": counted("ruled_out"),
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
        "batches": spread("turn_seconds"),
        "commands in each": spread("turn_records", seconds=False),
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
NODE: Final[Mapping[str, Shown]] = {
    "name": of_node(plain("name")),
    "lease left": of_node(lease),
    "other nodes": of_node(lambda node: f"{max(0, int(_number(node.get('nodes'))) - 1):,}"),
    "users": of_node(lambda node: f"{plain('users')(node)} in the whole chat"),
    "engine": of_node(engine),
    "round trips": of_node(spread("round_trips", median=True)),
    "turn in doubt": of_node(doubt),
    "unread": of_node(lambda node: f"{plain('unread')(node)} turns of other nodes"),
    "tail": of_node(lambda node: f"{size('tail_bytes')(node)} of {size('tail_most')(node)}"),
    "refused": of_node(lambda node: f"{plain('refused')(node)} commands, as the engine was away"),
    "put back": of_node(lambda node: f"{plain('restored')(node)} batches that the engine lost"),
}
WIDTH: Final = max(len(label) for rows in (*GROUPS.values(), NODE) for label in rows)

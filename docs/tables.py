"""Writes the tables of the README and the pages that can be generated from the code.

`python docs/tables.py` brings them up to date; `test_current.py` says when they are not. A table
stands between `<!-- table: NAME -->` and `<!-- end of table -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import schema
import trio
from attrs import Attribute, evolve, fields

from trio_chat import (
    Health,
    Histogram,
    NodeStatistics,
    Settings,
    SettingsError,
    Statistics,
    open_chat,
)
from trio_chat.config.sources import flag, variable, written
from trio_chat.dialects.documents import ALL_FORMS, TYPES, field_names
from trio_chat.errors import Code
from trio_chat.metrics.catalogue import metrics as catalogue
from trio_chat.metrics.process import usage
from trio_chat.metrics.prometheus import Metric
from trio_chat.protocol.account_rows import ACCOUNT_ROWS
from trio_chat.protocol.chat_rows import ROWS
from trio_chat.protocol.moderation_rows import MODERATION_ROWS
from trio_chat.protocol.rows import Row
from trio_chat.testing import line_client

HERE = Path(__file__).parent
PAGES = [HERE.parent / "README.md", *sorted(HERE.glob("*.md"))]
TABLE = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)

TIME = re.compile(r"(?<=> \[1 )[-0-9]+ [:0-9]+(?= UTC\])")

# Lines that john sends in #general, where jack is too: an example of each command, and errors.
EXAMPLES = {
    "nick": "/nick johnny",
    "join": "/join #go",
    "rooms": "/rooms",
    "msg": "/msg Hi",
    "me": "/me waves",
    "tell": "/tell jack hi",
    "invite": "/invite jack",
    "leave": "/leave",
    "topic": "/topic tea and cake",
    "who": "/who",
    "history": "/history 10",
    "search": "/search tea",
    "ignore": "/ignore jack",
    "help": "/help nick",
    "quit": "/quit",
}
ERRORS = [
    "hello",
    "/dance",
    "/nick",
    "/nick jack",
    "/nick JACK",
    "/nick j\u0430ck",  # a Cyrillic letter
    "/nick two words",
    "/nick admin",
    "/nick a/b",
    "/join #general",
    "/msg",
    "/msg \x1b[31mred",
    "/tell nobody-here hi",
    "/who is there",
]

Played = tuple[str, list[str], list[str]]


async def play(line: str) -> Played:
    """Have john send the line; give it with the lines that john and jack get."""
    async with (
        open_chat(Settings(rate_limit=None)) as chat,
        line_client(chat, nick="jack", room="#general") as jack,
        line_client(chat, nick="john", room="#general") as john,
    ):
        await jack.send("/msg tea, anyone?")
        await john.expect("> jack: tea, anyone?")
        if line.startswith("/invite"):
            await jack.send("/leave")
            await john.expect("> jack has left the room")
        await jack.sync()
        await john.send(line)
        got = await (john.rest() if line == "/quit" else john.sync())
        return line, [TIME.sub("2026-01-31 12:00:00", text) for text in got], await jack.sync()


async def play_all(lines: list[str]) -> list[Played]:
    return [await play(line) for line in lines]


def code(text: str) -> str:
    # Escaped, because a reader could not recognize control characters and lookalikes.
    return f"`{text.encode('unicode_escape').decode()}`"


def cell(lines: list[str]) -> str:
    return "<br>".join(map(code, lines)) or "nothing"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])


def commands() -> str:
    """The command table."""
    return _command_table(ROWS)


def accountcommands() -> str:
    """The commands about accounts and moderation."""
    return _command_table((*ACCOUNT_ROWS, *MODERATION_ROWS))


def _command_table(rows: Iterable[Row]) -> str:
    # In a table, Markdown takes a bar for the end of a cell, even within code.
    cells = [[f"`{row.usage}`".replace("|", r"\|"), row.help] for row in rows]
    return markdown(["command", "what it does"], cells)


def exchanges() -> str:
    """One example of each command, with real answers."""
    head = ["john sends", "john gets", "jack, who is in the same room, gets"]
    played = trio.run(play_all, [EXAMPLES[row.name] for row in ROWS])
    return markdown(head, [[code(line), cell(john), cell(jack)] for line, john, jack in played])


def errors() -> str:
    """Lines that are refused, with real answers."""
    played = trio.run(play_all, ERRORS)
    return markdown(
        ["john sends", "john gets"], [[code(line), cell(got)] for line, got, _ in played]
    )


def is_limit(field: Attribute[object]) -> bool:
    return type(field.default) in (int, float) and field.name != "port"


def limits() -> str:
    """The settings that limit something."""
    rows = [
        [f"[`{field.name}`](#{field.name})", written(field.name), field.metadata["help"]]
        for field in fields(Settings)
        if is_limit(field)
    ]
    return markdown(["setting", "default", "what it is"], rows)


async def measured() -> tuple[Statistics, Health]:
    async with open_chat() as chat:
        return chat.statistics(), chat.health()


def metrics_of(*, a_node: bool) -> list[Metric]:
    """The metrics that each daemon has, or those that nodes have besides."""
    statistics, health = trio.run(measured)
    alone = catalogue(statistics, health, usage())
    if not a_node:
        return alone
    # The values do not matter here.
    values = {field.name: 0 for field in fields(NodeStatistics)} | {"round_trips": Histogram(())}
    all_of_them = catalogue(evolve(statistics, node=NodeStatistics(**values)), health, usage())
    names = {metric.name for metric in alone}
    return [metric for metric in all_of_them if metric.name not in names]


def metrics() -> str:
    """All metrics of `/metrics`."""
    head = ["metric", "type", "label", "what it is"]
    rows = [
        [f"`{metric.name}`", metric.kind, f"`{metric.label}`" if metric.label else "", metric.help]
        for metric in metrics_of(a_node=False)
    ]
    return markdown(head, rows)


def nodemetrics() -> str:
    """The further metrics of a node."""
    rows = [[f"`{metric.name}`", metric.kind, metric.help] for metric in metrics_of(a_node=True)]
    return markdown(["metric", "type", "what it is"], rows)


def values(field: Attribute[object]) -> str:
    """The values that a setting may have, in the words of its validator."""
    wrong: dict[str, Any] = {field.name: object()}
    try:
        Settings(**wrong)
    except SettingsError as error:
        found = re.fullmatch(rf"{field.name} must be (.*), not <object .*>", str(error))
        if found:
            return found[1]
    raise AssertionError(f"{field.name} takes anything")


def settings() -> str:
    """Every setting, by section."""
    text, section = "", ""
    for field in fields(Settings):
        about = field.metadata
        if about["section"] != section:
            section = about["section"]
            text += f"\n## {section}\n"
        text += (
            f"\n### `{field.name}`\n\n"
            f"{about['help']}\n\n"
            f"- flag `{flag(field.name)}`, variable `{variable(field.name)}`, key `{field.name}`\n"
            f"- default: {written(field.name)}; must be {values(field)}\n"
            f"- a new value counts {about['changes']}\n"
            f"- why: {about['why']}\n"
        )
    return f"{text}\n"


def documents() -> str:
    """The commands of the WebSocket protocol."""
    rows = [
        [
            f"`{name}`",
            ", ".join(
                f"`{field}`" if about.required else f"[`{field}`]"
                for field, about in form.fields.items()
            )
            or "none",
            form.help,
        ]
        for name, form in ALL_FORMS.items()
    ]
    return markdown(["type", "fields", "what it is for"], rows)


def events() -> str:
    """The events of the WebSocket protocol."""
    rows = [
        [
            f"`{name}`",
            ", ".join(f"`{name}`" for name in field_names(kind)) or "none",
            schema.summary(kind),
        ]
        for kind, name in TYPES.items()
    ]
    return markdown(["type", "fields", "what it says"], rows)


def codes() -> str:
    """The codes of refusals."""
    return markdown(["code", "what it says"], [[f"`{code}`", code.meaning] for code in Code])


MAKERS: dict[str, Callable[[], str]] = {
    maker.__name__: maker
    for maker in (
        *(
            accountcommands,
            codes,
            commands,
            documents,
            errors,
            events,
            exchanges,
            limits,
            metrics,
            nodemetrics,
        ),
        settings,
    )
}


def current(page: str) -> str:
    """The text of a page, with its tables generated again."""
    return TABLE.sub(lambda found: found[1] + MAKERS[found[2]]() + found[3], page)


def main() -> None:
    for path in PAGES:
        path.write_text(current(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

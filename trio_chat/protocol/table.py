"""The command table: one row for each command, with its usage, its help and its parser.

Parsing, usage errors, `/help` and the protocol page of the documentation all come from these rows.
An embedding program adds its own rows with `custom`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.errors import Code, Refused
from trio_chat.protocol import commands
from trio_chat.protocol.account_rows import ACCOUNT_ROWS, ROWS_OF_OTHERS
from trio_chat.protocol.chat_rows import ROWS
from trio_chat.protocol.events import Usage
from trio_chat.protocol.moderation_rows import MODERATION_ROWS
from trio_chat.protocol.rows import May, Row, first_word
from trio_chat.protocol.text import clean_text, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trio_chat.config.settings import Settings
    from trio_chat.protocol.commands import Command, Handler

# Commands that few people need every day, by their usages: `/help` names only the group.
GROUPS: Final = {
    "account": frozenset(row.usage for row in ACCOUNT_ROWS),
    "moderation": frozenset(row.usage for row in MODERATION_ROWS),
}
# The word after `/help` for the commands of everyone.
ALL: Final = "all"
GROUP_HELP: Final = {
    "account": "/help account - list the commands for logging in, and for your account",
    "moderation": "/help moderation - list the commands for owners and moderators of rooms",
}


def custom(name: str, usage: str, help: str, handler: Handler) -> Row:
    """Make the row of a custom command, for `open_chat(commands=[…])`.

    `name` is the command without its slash: ASCII letters and digits. `/help` shows `usage` and
    `help`.

    `handler` gets the `Caller`, and the arguments as one string, which has passed the rules for
    messages. It returns the outcomes, in order. A `Notice` is shown to the caller alone. A `Say`,
    `Act` or `SetTopic` is carried out as if the caller had typed it, and the caller sees it too.
    Without a `room` it is for the room in which the command was typed. The handler raises `Refused`
    to say no.

    A function is called in the hub, and the chat waits for it: it must not block. An `async def`
    runs in a task of the chat, for at most 30 seconds. Meanwhile its caller's next commands wait,
    and nobody else does. It is cancelled if the caller leaves. An upgrade cancels it too, and then
    the next process runs it again.

    A handler that raises another exception, or returns something else, is logged with its
    traceback. Its caller reads one line, and stays.
    """

    def parse(arguments: str, settings: Settings) -> Command:
        text = clean_text(arguments.strip(), what="line", limit=settings.message_chars)
        return commands.Custom(handler, text, name)

    return Row(name, usage, help, parse)


def command(name: str, usage: str, help: str) -> Callable[[Handler], Row]:
    """Make a custom command's row of the function below: the decorator that goes with `custom`.

    For example::

        @trio_chat.command("shout", "/shout TEXT", "say something loudly")
        def shout(caller: trio_chat.Caller, arguments: str) -> list[trio_chat.Say]:
            return [trio_chat.Say(arguments.upper())]
    """

    def make_row(handler: Handler) -> Row:
        return custom(name, usage, help, handler)

    return make_row


def make_table(
    custom_rows: Iterable[Row] = (),
    *,
    accounts: bool = False,
    elsewhere: bool = False,
    moderation: bool = False,
) -> dict[str, Row]:
    """Return the built-in rows and these, by their names in lower case.

    With `accounts` the rows about accounts and moderation are among them. With `elsewhere` others
    keep the accounts. With `moderation` people without accounts may be moderators.

    Raises `ValueError` for two rows with one name, and for a name that is not a plain word.
    """
    table: dict[str, Row] = {}
    of_accounts = ROWS_OF_OTHERS if elsewhere else ACCOUNT_ROWS if accounts else ()
    of_moderation = MODERATION_ROWS if of_accounts or moderation else ()
    for row in (*ROWS, *of_accounts, *of_moderation, *custom_rows):
        if row.name.lower() in table:
            raise ValueError(f"there are two commands named /{row.name}")
        if not (row.name.isascii() and row.name.isalnum()):
            raise ValueError(
                f"a command's name is made of ASCII letters and digits, unlike {row.name!r}"
            )
        table[row.name.lower()] = row
    return table


def has_moderation(table: Mapping[str, Row]) -> bool:
    """Whether a table has the rows about moderation."""
    return table.get("kick") in MODERATION_ROWS


def has_accounts(table: Mapping[str, Row]) -> bool:
    """Whether a table has the rows about accounts."""
    return table.get("login") in ACCOUNT_ROWS


# People who know other servers type these: each is an undo here.
_ENDINGS: Final = frozenset({"unban", "unmute"})


def read_command(text: str, table: Mapping[str, Row], settings: Settings) -> Command | None:
    """Return the record for a line that a person typed; `None` for an empty line.

    The command may be in any case, and any white space may follow it. Raises `Refused` with the
    sentence for the client.
    """
    word, arguments = first_word(text)
    if not word:
        return None
    row = table.get(word[1:].lower()) if word.startswith("/") else None
    if row is None:
        sentence = f"unknown command: {printable(word)}{instead_of(word, table)}"
        raise Refused(sentence, code=Code.UNKNOWN_COMMAND)
    return row.record(arguments, settings)


def instead_of(word: str, table: Mapping[str, Row]) -> str:
    """Return what to type instead of an unknown command, to be put behind its refusal."""
    if word.lower().removeprefix("/") in _ENDINGS and "undo" in table:
        return ": /undo ACTION ends a ban or a mute, and /log shows its number, such as A17"
    return ""


def usages(table: Mapping[str, Row], may: May) -> list[Usage]:
    """Return the commands that these people may use."""
    return [Usage(row.name, row.usage, row.help) for row in table.values() if row.may <= may]


def help_lines(
    table: Mapping[str, Row | Usage], command: str | None, may: May = May.SERVER
) -> list[str]:
    """Return the help for a command, for one of `GROUPS`, for `all`, or for all that are in none.

    Except for `all`, these are commands that people may use. One that is named is always explained.
    Raises `Refused` for an unknown command.
    """
    shown = [row for row in table.values() if not (isinstance(row, Row) and row.may > may)]
    groups = {
        group: found
        for group, known in GROUPS.items()
        if (found := [row for row in shown if row.usage in known])
    }
    if command is None:
        named = [row for rows in groups.values() for row in rows]
        everyday = [row for row in shown if row not in named]
        return [*map(_help_line, everyday), *(GROUP_HELP[group] for group in groups)]
    name = command.lower()
    if name in groups:
        return [*map(_help_line, groups[name])]
    row = table.get(name)
    if row is None and name == ALL:
        return [*map(_help_line, table.values())]
    if row is None:
        raise Refused("there is no such command; /help alone lists them", code=Code.UNKNOWN_COMMAND)
    return [_help_line(row)]


def _help_line(row: Row | Usage) -> str:
    return f"{row.usage} - {row.help}"

"""The command table: its rows, what they make of their arguments, and rows of one's own."""

from __future__ import annotations

import pytest

from trio_chat.config.settings import Settings
from trio_chat.errors import Refused
from trio_chat.protocol import commands
from trio_chat.protocol.account_rows import ACCOUNT_ROWS
from trio_chat.protocol.chat_rows import ROWS
from trio_chat.protocol.events import Usage
from trio_chat.protocol.moderation_rows import MODERATION_ROWS
from trio_chat.protocol.table import custom, help_lines, make_table, read_command

TABLE = make_table()


def record(line: str):
    name, _, arguments = line.partition(" ")
    return TABLE[name].record(arguments, Settings())


def refusal(line: str) -> str:
    with pytest.raises(Refused) as caught:
        record(line)
    return str(caught.value)


def nothing(_: commands.Caller, __: str) -> list:
    return []


def test_a_table_holds_the_built_in_rows_and_ones_own_in_order() -> None:
    roll = custom("roll", "/roll", "roll dice", nothing)
    assert list(make_table([roll]).values()) == [*ROWS, roll]


def test_a_name_stands_once() -> None:
    with pytest.raises(ValueError, match="there are two commands named /msg"):
        make_table([custom("msg", "/msg", "again", nothing)])
    twice = custom("roll", "/roll", "roll dice", nothing)
    with pytest.raises(ValueError, match="there are two commands named /roll"):
        make_table([twice, twice])


def test_a_name_is_the_same_in_any_case() -> None:
    with pytest.raises(ValueError, match="there are two commands named /MSG"):
        make_table([custom("MSG", "/MSG", "again", nothing)])
    table = make_table([custom("Roll", "/Roll", "roll dice", nothing)])
    for line in ("/roll 2", "/ROLL 2", "/Roll 2"):
        found = read_command(line, table, Settings())
        assert found == commands.Custom(nothing, "2", "Roll")
    assert help_lines(table, "rolL") == ["/Roll - roll dice"]


@pytest.mark.parametrize("name", ["", "two words", "/roll", "würfeln", "a-b"])
def test_a_name_is_a_plain_word(name: str) -> None:
    with pytest.raises(ValueError, match="is made of ASCII letters and digits, unlike "):
        make_table([custom(name, "/x", "x", nothing)])


def test_a_custom_row_gets_its_line_checked() -> None:
    row = custom("roll", "/roll [DICE]", "roll dice", nothing)
    assert row.record("  2 d6 ", Settings()) == commands.Custom(nothing, "2 d6", row.name)
    with pytest.raises(Refused, match="a line may not contain control characters"):
        row.record("a\x1bb", Settings())


def test_help_is_one_line_a_row() -> None:
    shown = help_lines(TABLE, None)
    assert shown == [f"{row.usage} - {row.help}" for row in ROWS]
    # As telnet shows them on a terminal of the usual width.
    assert [line for line in shown if len(f"> {line}") > 80] == []
    assert help_lines(TABLE, "who") == ["/who - list the people in your room"]
    with pytest.raises(Refused, match="there is no such command; /help alone lists them"):
        help_lines(TABLE, "dance")


def test_help_names_the_groups_of_commands_that_few_need() -> None:
    roll = custom("roll", "/roll", "roll dice", nothing)
    table = make_table([roll], accounts=True)
    usages = {name: Usage(row.name, row.usage, row.help) for name, row in table.items()}
    for known in (table, usages):  # of the server, and of the terminal client
        assert help_lines(known, None) == [
            *(f"{row.usage} - {row.help}" for row in (*ROWS, roll)),
            "/help account - list the commands for logging in, and for your account",
            "/help moderation - list the commands for owners and moderators of rooms",
        ]
        for group, rows in (("account", ACCOUNT_ROWS), ("Moderation", MODERATION_ROWS)):
            shown = help_lines(known, group)
            assert shown == [f"{row.usage} - {row.help}" for row in rows]
            assert [line for line in shown if len(f"> {line}") > 80] == []
        assert help_lines(known, "ban") == [f"{table['ban'].usage} - {table['ban'].help}"]
    with pytest.raises(Refused, match="there is no such command"):
        help_lines(TABLE, "moderation")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("history", commands.ShowHistory(20)),
        ("history  7 ", commands.ShowHistory(7)),
        ("history 500", commands.ShowHistory(500)),
        ("history before 31", commands.ShowHistory(20, 31)),
        ("history before 31 500", commands.ShowHistory(500, 31)),
        (f"history before {2**63 - 1}", commands.ShowHistory(20, 2**63 - 1)),
        ("search tea", commands.Search(("tea",))),
        ("search  Tea  ÄPFEL tea", commands.Search(("tea", "äpfel"))),
    ],
)
def test_questions_of_the_past_are_read(line: str, expected: object) -> None:
    assert record(line) == expected


USAGE = ", usage: /history [before ID] [N]"
WHOLE = "N must be a whole number from 1 to 500"
AN_ID = "ID must be a number that /history shows"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("history 0", WHOLE + USAGE),
        ("history 501", WHOLE + USAGE),
        ("history -1", WHOLE + USAGE),
        ("history 1.5", WHOLE + USAGE),
        ("history ٣", WHOLE + USAGE),  # a digit, but not one that anyone shows here
        (f"history {'9' * 5000}", WHOLE + USAGE),
        ("history 1 2", USAGE[2:]),
        ("history before", "ID is required" + USAGE),
        ("history before x", AN_ID + USAGE),
        (f"history before {2**63}", AN_ID + USAGE),
        ("history before 1 2 3", USAGE[2:]),
        ("search", "word is required, usage: /search WORDS"),
        ("search  ", "word is required, usage: /search WORDS"),
        (
            f"search {' '.join(map(str, range(17)))}",
            "a search may have at most 16 words; this one has 17",
        ),
        ("search a\x1b", "a word may not contain control characters (arrow keys send them)"),
    ],
)
def test_invalid_questions_of_the_past_are_refused(line: str, reason: str) -> None:
    assert refusal(line) == reason

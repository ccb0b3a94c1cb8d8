"""One IRC message, by the modern IRC documentation ("Message Format") and message-tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.dialects.irc.message import END, Message, harmless, read, read_tags, write


@pytest.mark.parametrize(
    ("line", "message"),
    [
        # The examples of the documentation.
        (
            ":irc.example.com CAP LS * :multi-prefix extended-join sasl",
            Message("CAP", ("LS", "*", "multi-prefix extended-join sasl"), "irc.example.com"),
        ),
        (
            "@id=234AB :dan!d@localhost PRIVMSG #chan :Hey what's up!",
            Message("PRIVMSG", ("#chan", "Hey what's up!"), "dan!d@localhost", {"id": "234AB"}),
        ),
        ("CAP REQ :sasl", Message("CAP", ("REQ", "sasl"))),
        # The last parameter may be empty, hold colons, or stand alone.
        (":src AWAY", Message("AWAY", (), "src")),
        ("CAP * LIST :", Message("CAP", ("*", "LIST", ""))),
        ("PRIVMSG #chan ::-) :-)", Message("PRIVMSG", ("#chan", ":-) :-)"))),
        ("PRIVMSG #chan a:b", Message("PRIVMSG", ("#chan", "a:b"))),
        ("NAMES :", Message("NAMES", ("",))),
        # "Servers should handle multiple SPACE characters"; a client may leave one at the end.
        ("LIST ", Message("LIST")),
        ("  USER  root   0  *  :root  x ", Message("USER", ("root", "0", "*", "root  x "))),
        ("@a=b  :src  JOIN  #c", Message("JOIN", ("#c",), "src", {"a": "b"})),
        # Commands are case-insensitive.
        ("ison a b", Message("ISON", ("a", "b"))),
        # More than fifteen parameters are no error.
        (f"X {' '.join('a' * 20)}", Message("X", tuple("a" * 20))),
    ],
)
def test_reading(line: str, message: Message) -> None:
    assert read(line) == message


@pytest.mark.parametrize(
    "line", ["", "  ", ":", ":src", ":src ", "@a=b", "@a=b :src  ", "@", ":: "]
)
def test_a_line_without_a_command_is_no_message(line: str) -> None:
    assert read(line) is None


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        (r"a=\:\s\\\r\n", {"a": "; \\\r\n"}),
        ("a=1;b;c=", {"a": "1", "b": "", "c": ""}),
        ("+draft/x=y=z", {"+draft/x": "y=z"}),
        # "If a lone \ exists at the end …, the \ must be dropped", also before other characters.
        ("a=b\\", {"a": "b"}),
        (r"a=\b", {"a": "b"}),
        # Of tags that are repeated, the last one counts.
        ("a=1;a=2", {"a": "2"}),
        (";;=x;a", {"a": ""}),
    ],
)
def test_reading_tags(text: str, tags: dict[str, str]) -> None:
    assert read_tags(text) == tags


@pytest.mark.parametrize(
    ("params", "line"),
    [
        (("PING", "x"), "PING x"),
        (("PRIVMSG", "#c", "a b"), "PRIVMSG #c :a b"),
        (("PRIVMSG", "#c", ""), "PRIVMSG #c :"),
        (("PRIVMSG", "#c", ":)"), "PRIVMSG #c ::)"),
        (("JOIN",), "JOIN"),
        # Refusals repeat parameters of the client, wherever they stood.
        (("403", "me", "a b", "no such room"), "403 me a\ufffdb :no such room"),
        (("403", "me", ":a", "no such room"), "403 me \ufffda :no such room"),
        (("403", "me", "", "no such room"), "403 me * :no such room"),
        (("NOTICE", "me", "a\r\nQUIT\0"), "NOTICE me a\ufffd\ufffdQUIT\ufffd"),
    ],
)
def test_writing(params: tuple[str, ...], line: str) -> None:
    assert write(*params) == f"{line}\r\n"


def test_writing_a_source_and_tags() -> None:
    line = write("JOIN", "#c", source="a!~u@h", tags={"time": "t", "x": "; \\\r\n\0", "y": ""})
    assert line == "@time=t;x=\\:\\s\\\\\\r\\n;y :a!~u@h JOIN #c\r\n"


WORDS = st.text(st.characters(exclude_characters="\0\r\n :", codec="utf-8"), min_size=1)
TEXTS = st.text(st.characters(exclude_characters="\0\r\n", codec="utf-8"))
NAMES = st.from_regex(r"\+?[a-z0-9./-]+", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
COMMANDS = st.from_regex(r"[A-Z]+|[0-9]{3}", fullmatch=True)


@given(
    command=COMMANDS,
    params=st.lists(WORDS, max_size=5),
    last=st.lists(TEXTS, max_size=1),
    source=WORDS | st.just(""),
    tags=st.dictionaries(NAMES, VALUES, max_size=3),
)
def test_written_messages_are_read_again(
    command: str, params: list[str], last: list[str], source: str, tags: dict[str, str]
) -> None:
    line = write(command, *params, *last, source=source, tags=tags)
    assert read(line.removesuffix(END)) == Message(command, (*params, *last), source, tags)


@given(command=COMMANDS, params=st.lists(st.text()), value=st.text())
def test_a_line_is_one_line_whatever_is_in_it(command: str, params: list[str], value: str) -> None:
    line = write(command, *params, tags={"a": value})
    assert line.endswith(END)
    assert not {"\0", "\r", "\n"} & set(line.removesuffix(END))
    found = read(line.removesuffix(END))
    assert found is not None
    assert (found.command, len(found.params)) == (command, len(params))


@given(line=st.text())
def test_reading_raises_nothing(line: str) -> None:
    found = read(line)
    assert found is None or found.command.strip(" ")


def test_a_text_that_is_harmless_stays_itself() -> None:
    assert harmless("tea\u2028\x01 for two") == "tea\u2028\x01 for two"

"""The commands of everyone: nicks, rooms and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.protocol import commands
from trio_chat.protocol.moderation_rows import parse_target
from trio_chat.protocol.names import parse_nick, parse_room
from trio_chat.protocol.rows import Misused, Row, first_word, nothing, number, one_word, the_text
from trio_chat.protocol.text import clean_text, is_blank, parse_words

if TYPE_CHECKING:
    from trio_chat.config.settings import Settings
    from trio_chat.protocol.commands import Command


def _nick(arguments: str, settings: Settings) -> Command:
    return commands.TakeNick(parse_nick(one_word(arguments, "nick"), settings.nick_chars))


def _join(arguments: str, settings: Settings) -> Command:
    room, key = first_word(arguments)
    name = parse_room(one_word(room, "room"), settings.room_chars)
    return commands.Join(name, one_word(key, "key") if key.strip() else "")


def _say(arguments: str, settings: Settings) -> Command:
    return commands.Say(the_text(arguments, "message", settings.message_chars))


def _act(arguments: str, settings: Settings) -> Command:
    return commands.Act(the_text(arguments, "action", settings.message_chars))


def _tell(arguments: str, settings: Settings) -> Command:
    nick, text = first_word(arguments)
    if not nick:
        raise Misused("nick is required")
    name = parse_nick(nick, settings.nick_chars, reserved=True)
    return commands.Tell(name, the_text(text, "message", settings.message_chars))


def _invite(arguments: str, settings: Settings) -> Command:
    nick = one_word(arguments, "nick")
    return commands.Invite(parse_nick(nick, settings.nick_chars, reserved=True))


def _topic(arguments: str, settings: Settings) -> Command:
    text = arguments.strip()
    if is_blank(text):
        return commands.ShowTopic()
    return commands.SetTopic(clean_text(text, what="topic", limit=settings.topic_chars))


def _history(arguments: str, _: Settings) -> Command:
    words = arguments.split()
    before = None
    if words and words[0].lower() == "before":
        if len(words) < 2:  # noqa: PLR2004 - the word and what it needs
            raise Misused("ID is required")
        before = number(words[1], commands.MAX_POSITION, "ID must be a number that /history shows")
        words = words[2:]
    if len(words) > 1:
        raise Misused
    most = commands.MAX_HISTORY
    wrong = f"N must be a whole number from 1 to {most}"
    limit = number(words[0], most, wrong) if words else commands.SOME_HISTORY
    return commands.ShowHistory(limit, before)


def _search(arguments: str, settings: Settings) -> Command:
    return commands.Search(parse_words(the_text(arguments, "word", settings.message_chars)))


def _ignore(arguments: str, settings: Settings) -> Command:
    if not arguments.strip():
        return commands.Ignore()
    return commands.Ignore(parse_target(one_word(arguments, "nick"), settings))


def _help(arguments: str, _: Settings) -> Command:
    words = arguments.split()
    if len(words) > 1:
        raise Misused
    return commands.Help(words[0].removeprefix("/") if words else None)


ROWS = (
    Row("nick", "/nick NAME", "choose the name that others see", _nick),
    Row(
        "join",
        "/join ROOM [KEY]",
        "enter or create a room (telnet and nc: one room at a time)",
        _join,
    ),
    Row("rooms", "/rooms", "list all rooms", nothing(commands.ListRooms)),
    Row("msg", "/msg TEXT", "say TEXT to everyone in your room", _say),
    Row("me", "/me TEXT", "say what you do, for example: /me waves", _act),
    Row("tell", "/tell NICK TEXT", "say TEXT to one person only", _tell),
    Row("invite", "/invite NICK", "ask someone to enter your room", _invite),
    Row("leave", "/leave", "leave your room", nothing(commands.Leave)),
    Row("topic", "/topic [TEXT]", "show the topic of your room; with TEXT, change it", _topic),
    Row("who", "/who", "list the people in your room", nothing(commands.ListMembers)),
    Row(
        "history",
        "/history [before ID] [N]",
        "show the last 20 messages, or N, or those before ID",
        _history,
    ),
    Row(
        "search",
        "/search WORDS",
        "show messages in your room that hold all these words",
        _search,
    ),
    Row(
        "ignore",
        "/ignore [NICK]",
        "list whom you ignore; with NICK, begin it or end it",
        _ignore,
    ),
    Row("help", "/help [COMMAND|all]", "list the commands that you may use, or explain one", _help),
    Row("quit", "/quit", "leave the chat and disconnect", nothing(commands.Quit)),
)

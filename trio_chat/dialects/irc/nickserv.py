"""The words of accounts that clients send to NickServ: it stands for the server here.

A text for NickServ is never a message, so nobody reads a password in it. Nor does the id of such
a command have more than its first word.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import evolve

from trio_chat.errors import Code
from trio_chat.protocol.commands import Command, LogOut, Recover, Refuse, Register, ShowAccount

if TYPE_CHECKING:
    from trio_chat.dialects.irc.message import Message
    from trio_chat.dialects.irc.parameters import Context

COMMAND: Final = "NICKSERV"
NAMES: Final = frozenset({COMMAND, "NS"})
# The words that it takes, as it explains them.
USAGE: Final = (
    "IDENTIFY [NAME] PASSWORD, REGISTER PASSWORD, RECOVER NAME CODE NEW-PASSWORD, LOGOUT or INFO"
)
_MESSAGES: Final = frozenset({"PRIVMSG", "NOTICE"})
# Clients send an address behind the password, as some networks want one. Nobody keeps it here.
_ADDRESS: Final = re.compile(r"\S+@\S+\.\S+")
_IN: Final = frozenset({"IDENTIFY", "LOGIN"})
_WITH_SECRETS: Final = _IN | {"REGISTER", "RECOVER"}
# The commands of other clients that a sentence may recommend, and the words for them here.
_RECOMMENDED: Final = re.compile(r"/(login|recover) ([^\s,:;]+)|/register\b")
_WORDS: Final = {"login": "IDENTIFY {} PASSWORD", "recover": "RECOVER {} CODE NEW-PASSWORD"}
_NAME_AND_SECRET: Final = 2
_NAME_CODE_AND_SECRET: Final = 3


def to_nickserv(message: Message, nick: str) -> Message:
    """Return a message to NickServ as its command; any other one as it is.

    A password without a name is for the account `nick`.
    """
    words = " ".join(message.params).strip()
    if message.command in _MESSAGES and message.params:
        target, *texts = message.params
        if target.partition("@")[0].upper() != COMMAND:
            return message
        words = " ".join(texts).strip()
    elif message.command not in NAMES:
        return message
    word, _, rest = words.partition(" ")
    rest = rest.strip()
    if word.upper() in _IN and rest and " " not in rest:
        rest = f"{nick} {rest}"
    return evolve(message, command=COMMAND, params=(word, rest))


def explained(sentence: str) -> str:
    """Return a sentence that recommends words to NickServ, in place of `/login` and the like."""
    return _RECOMMENDED.sub(_in_irc, sentence)


def _in_irc(found: re.Match[str]) -> str:
    command, name = found.groups()
    return f"/msg NickServ {_WORDS[command].format(name) if command else 'REGISTER PASSWORD'}"


def record_of(word: str, rest: str, context: Context) -> Command:
    """Return the record of a word to NickServ, and of what is behind it. Raises `Refused`."""
    if word in _WITH_SECRETS:
        context.check_private()
    match word:
        case "IDENTIFY" | "LOGIN" if len(words := rest.split(" ", 1)) == _NAME_AND_SECRET:
            return context.log_in(*words)
        case "REGISTER" if rest:
            first, _, second = rest.partition(" ")
            return Register(first if _ADDRESS.fullmatch(second) else rest)
        case "RECOVER" if len(words := rest.split(" ", 2)) == _NAME_CODE_AND_SECRET:
            return Recover(context.name(words[0]), words[1], words[2])
        case "LOGOUT":
            return LogOut()
        case "INFO" | "STATUS":
            return ShowAccount()
    return Refuse(f"NickServ takes {USAGE}", Code.BAD_USAGE)

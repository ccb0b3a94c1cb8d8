"""The exceptions that trio_chat raises, all of them `ChatError`, and the codes of refusals."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


class ChatError(Exception):
    """The root of all exceptions that trio_chat raises on purpose."""


class SettingsError(ChatError):
    """A setting is unknown, of the wrong kind or out of its range; the message names it."""


class Code(StrEnum):
    """Why something is refused, in a word for programs: each stands for one thing to do about it.

    These words are stable, and more may come. `meaning` is a line for the documentation.
    """

    meaning: str

    def __new__(cls, word: str, meaning: str) -> Self:
        """Make a member of its word and its meaning."""
        code = str.__new__(cls, word)
        code._value_ = word
        code.meaning = meaning
        return code

    BAD_NICK = "bad_nick", "the nick is too long, or breaks another rule for nicks"
    NICK_RESERVED = "nick_reserved", "nobody may take this nick"
    NICK_TAKEN = "nick_taken", "someone has this nick, or one that looks like it"
    NO_SUCH_NICK = "no_such_nick", "nobody is called that"
    UNREACHABLE = "unreachable", "that person's connection is lost or too slow: try again later"

    BAD_ROOM_NAME = "bad_room_name", "the room's name is too long, or breaks another rule for names"
    NOT_IN_ROOM = "not_in_room", "you are not in that room, or in no room at all"
    ALREADY_IN_ROOM = "already_in_room", "you are in that room already"
    SAY_WHICH_ROOM = "say_which_room", "you are in several rooms, and the command names none"
    TOO_MANY_ROOMS = "too_many_rooms", "the server can make no more rooms: join one that exists"
    IN_TOO_MANY_ROOMS = "in_too_many_rooms", "you are in as many rooms as you may be: leave one"

    BAD_TEXT = "bad_text", "the text is empty, not UTF-8, or holds characters that no text may"
    TOO_LONG = "too_long", "the text, line or search is too long"
    UNKNOWN_COMMAND = "unknown_command", "there is no such command, or no document of that type"
    BAD_USAGE = "bad_usage", "the arguments do not fit the command"
    BAD_DOCUMENT = "bad_document", "this is not JSON, or its fields are not those of its type"

    CANNOT_RESUME = "cannot_resume", "there is nobody to come back as, or it is too late for that"
    CANNOT_WRITE = "cannot_write", "the server cannot save messages now: try again later"
    CANNOT_READ = "cannot_read", "the server cannot read old messages now: try again later"
    NOT_SERVED = "not_served", "the server does not serve this connection, and closes it"
    CANNOT_HAND_OVER = "cannot_hand_over", "the chat cannot be handed over to another process"
    REFUSED = "refused", "the program that runs the chat says no; the sentence says why"


class Refused(ChatError):
    """What was asked for is not possible; the message is the sentence a person is shown.

    `code` says why in a word for programs: one of `Code`, or a word of the embedding program's own.
    A server of a later version may have codes that are not known here. `limit` is the setting that
    has it so, if one has.
    """

    def __init__(
        self, sentence: str, *, code: str = Code.REFUSED, limit: str | None = None
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.limit = limit


class ChatClosed(ChatError):
    """The chat has stopped, or this client has left it: nothing more can be asked of it."""


class NoConnection(ChatError):
    """The server cannot be reached, or its connection broke before an answer came.

    What was asked may then have been done, or not.
    """


class StoreError(ChatError):
    """The file that rooms are kept in cannot be used; the message says why, and what to do."""


class StateError(ChatError):
    """What another process hands over cannot be taken; the message is a line that says why."""


class ListenError(ChatError):
    """A path cannot be listened at; the message is a line for a person."""


class ControlError(ChatError):
    """A daemon's control socket cannot be had or asked; the message is a line for a person."""


class HandoverError(ChatError):
    """An upgrade cannot be done; the message says why."""


class PeerEnded(HandoverError):
    """The process at the other end of a handover is there no more."""

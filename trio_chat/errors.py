"""The exceptions of trio_chat, all of them `ChatError`, and the codes of refusals."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


class ChatError(Exception):
    """The base of all exceptions that trio_chat raises on purpose."""


class SettingsError(ChatError):
    """A setting is unknown, of the wrong type or out of range. The message names it."""


class Code(StrEnum):
    """The reason for a refusal, as a word for programs. Each word calls for one reaction.

    The words are stable, and more may come. `meaning` is a line for the documentation.
    """

    meaning: str

    def __new__(cls, word: str, meaning: str) -> Self:
        """Create a member from its word and its meaning."""
        code = str.__new__(cls, word)
        code._value_ = word
        code.meaning = meaning
        return code

    BAD_NICK = "bad_nick", "the nick is too long, or breaks another rule for nicks"
    NICK_RESERVED = "nick_reserved", "nobody may take this nick"
    NICK_TAKEN = "nick_taken", "someone has this nick, or one that looks like it"
    NO_SUCH_NICK = "no_such_nick", "nobody is called that"
    CLIENT_LEFT = "client_left", "the client with that id has left, and nobody has its nick"
    NICK_PASSED_ON = "nick_passed_on", "that client has left, and another one has its nick now"
    UNREACHABLE = "unreachable", "that person's connection is lost or too slow: try again later"

    TOO_MUCH_WAITS = (
        "too_much_waits",
        "too many private messages wait for that person, or of yours: try again later",
    )

    NICK_REGISTERED = (
        "nick_registered",
        "this nick, or one like it, belongs to an account: log in, or choose another",
    )
    BAD_PASSWORD = "bad_password", "a new password may not be this one; the sentence says why"
    WRONG_PASSWORD = "wrong_password", "there is no such account, or its password or code is wrong"
    BAD_TOKEN = "bad_token", "this device is logged in no more: log in with the password"
    TOO_MANY_TRIES = "too_many_tries", "too many wrong passwords or new accounts: try again later"
    NOT_FROM_HERE = (
        "not_from_here",
        "the password counts only where it was used before: use a device's token, or a code",
    )
    NO_SUCH_ACCOUNT = "no_such_account", "there is no such account, or it was deleted"
    NO_SUCH_DEVICE = "no_such_device", "no device of the account has that number"
    TOO_MANY_ACCOUNTS = "too_many_accounts", "the server can keep no more accounts"
    BUSY = "busy", "the server has too much to do: try again in a moment"
    NO_ACCOUNTS = "no_accounts", "the server keeps no accounts"
    KEPT_ELSEWHERE = "kept_elsewhere", "the program or site that runs the chat keeps the accounts"
    LOGGED_IN = "logged_in", "log out first"
    NOT_LOGGED_IN = "not_logged_in", "log in first"

    NOT_INTRODUCED = "not_introduced", "an IRC client says who it is first: NICK and USER"

    BAD_ROOM_NAME = "bad_room_name", "the room's name is too long, or breaks another rule for names"
    NOT_IN_ROOM = "not_in_room", "you are not in that room, or in no room at all"
    ALREADY_IN_ROOM = (
        "already_in_room",
        "you are in that room already, or the person whom you invite is",
    )
    SAY_WHICH_ROOM = "say_which_room", "you are in several rooms, and the command names none"
    TOO_MANY_ROOMS = "too_many_rooms", "the server can make no more rooms: join one that exists"
    IN_TOO_MANY_ROOMS = "in_too_many_rooms", "you are in as many rooms as you may be: leave one"

    NOT_ALLOWED = "not_allowed", "your role in the room is too low for that"
    MUTED = "muted", "you may say nothing in that room for now"
    BANNED = "banned", "you may not be in that room for now"
    BAD_KEY = "bad_key", "the room has a key, and the join has none or another one"
    ROOM_FULL = "room_full", "as many people as may be there are in the room: try again later"
    HELD = "held", "the message waits for a moderator, who passes or drops it"
    TOO_MANY_HELD = "too_many_held", "too many messages wait for a moderator: try again later"
    NO_SUCH_HELD = "no_such_held", "no message with that number waits for a moderator"
    UNWANTED = "unwanted", "this holds a word that the server's operator does not want"
    TOO_SOON = "too_soon", "the room is slow: say that later, as the sentence says"
    NO_SUCH_ACTION = "no_such_action", "no action in the room has that number"

    BAD_TEXT = "bad_text", "the text is empty, not UTF-8, or holds characters that no text may"
    TOO_LONG = "too_long", "the text, line or search is too long"
    UNKNOWN_COMMAND = "unknown_command", "there is no such command, or no document of that type"
    BAD_USAGE = "bad_usage", "the arguments do not fit the command"
    BAD_DOCUMENT = "bad_document", "this is not JSON, or its fields are not those of its type"

    COMMAND_FAILED = "command_failed", "the program that runs the chat has failed to carry this out"

    NOT_ENCRYPTED = "not_encrypted", "the server takes no password or token without encryption"

    RULES_CHANGED = "rules_changed", "the rules of the room have just changed: try again"
    NO_SUCH_REPORT = "no_such_report", "no open report of the room has that number"
    TOO_MANY_REPORTS = "too_many_reports", "too many reports wait already: try again later"
    UNMODERATED = "unmoderated", "nobody moderates the room"

    CANNOT_RESUME = "cannot_resume", "there is nobody to come back as, or it is too late for that"
    CANNOT_WRITE = "cannot_write", "the server cannot save messages now: try again later"
    CANNOT_READ = "cannot_read", "the server cannot read old messages now: try again later"
    NOT_SERVED = "not_served", "the server does not serve this connection, and closes it"
    CANNOT_HAND_OVER = "cannot_hand_over", "the chat cannot be handed over to another process"
    REFUSED = "refused", "the program that runs the chat says no; the sentence says why"


class Refused(ChatError):
    """A request is refused. The message is a sentence for a person.

    `code` is the reason as a word for programs: a `Code`, or a word of the embedding program. A
    later server may have codes that are unknown here. `limit` names the setting that is the reason,
    if there is one.
    """

    def __init__(
        self, sentence: str, *, code: str = Code.REFUSED, limit: str | None = None
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.limit = limit


def nobody_to_resume() -> Refused:
    """Return the refusal of a resume with a wrong token, or too late."""
    return Refused(
        "there is nobody to come back as: the time is over, or never was",
        code=Code.CANNOT_RESUME,
    )


class ChatClosed(ChatError):
    """The chat has stopped, or this client has left it. Nothing more can be asked of it."""


class NoConnection(ChatError):
    """The server cannot be reached, or the connection broke before an answer came.

    In the second case, the request may have been carried out or not.
    """


class StoreError(ChatError):
    """The place of the rooms cannot be used. The message says why, and what to do."""


class NoSuchNode(ChatError):
    """No node of this chat has that name. The message says how to learn the names."""


class StateError(ChatError):
    """The state from another process cannot be used. The message says why, in one line."""


class ListenError(ChatError):
    """A socket cannot listen at a path. The message is a line for a person."""


class ControlError(ChatError):
    """A daemon's control socket cannot be used. The message is a line for a person."""


class HandoverError(ChatError):
    """An upgrade is not possible. The message says why."""


class PeerEnded(HandoverError):
    """The process at the other end of a handover has ended."""

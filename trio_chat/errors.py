"""The exceptions that trio_chat raises, all of them `ChatError`."""

from __future__ import annotations


class ChatError(Exception):
    """The root of all exceptions that trio_chat raises on purpose."""


class SettingsError(ChatError):
    """A setting is unknown, of the wrong kind or out of its range; the message names it."""


class Refused(ChatError):
    """What was asked for is not possible; the message is the sentence a person is shown.

    `limit` is the setting that has it so, if one has; `code` says why in a word, for programs.
    """

    def __init__(self, sentence: str, *, limit: str | None = None, code: str = "") -> None:
        super().__init__(sentence)
        self.limit = limit
        self.code = code


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

"""The exceptions that trio_chat raises, all of them `ChatError`."""

from __future__ import annotations


class ChatError(Exception):
    """The root of all exceptions that trio_chat raises on purpose."""


class SettingsError(ChatError):
    """A setting is unknown, of the wrong kind or out of its range; the message names it."""


class Refused(ChatError):
    """What was asked for is not possible; the message is the sentence a person is shown."""


class ChatClosed(ChatError):
    """The chat has stopped, or this client has left it: nothing more can be asked of it."""


class NoConnection(ChatError):
    """The server cannot be reached, or its connection broke before an answer came.

    What was asked may then have been done, or not.
    """


class StoreError(ChatError):
    """The file that rooms are kept in cannot be used; the message says why, and what to do."""


class ControlError(ChatError):
    """A daemon's control socket cannot be had or asked; the message is a line for a person."""

"""The state of a room as its log gives it."""

from __future__ import annotations

from attrs import frozen

from trio_chat.roomlog.rules import NO_RULES, Rules


@frozen
class LoggedRoom:
    """The state of a room in its log at one moment.

    `topic` is the newest topic, or empty. `author` is the client id of its author, `nick` the
    author's nick at that time, and `time` is in seconds since 1970. They are empty and 0 if the log
    does not know them. `position` is that of the newest persistent entry, or 0.

    `log` is the identity of the log. Positions from logs with different identities cannot be
    compared. `rules` are shared with the log, so they take no time, however many fields there are.
    """

    topic: str = ""
    author: str = ""
    nick: str = ""
    time: float = 0.0
    position: int = 0
    log: str = ""
    rules: Rules = NO_RULES

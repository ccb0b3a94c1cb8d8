"""The engine's answers that are no results. These exceptions stay inside of the package."""

from __future__ import annotations

from typing import Final

# The engine cannot do it just now, and another connection may find a server that can.
NOT_NOW: Final = {
    "LOADING": "Redis is still loading its data",
    "READONLY": "Redis is a replica now",
    "MASTERDOWN": "Redis is a replica that has lost its primary",
    "MISCONF": "Redis cannot save to its disk",
    "NOREPLICAS": "Redis has lost its replicas",
    "BUSY": "Redis is busy with a script",
    "CLUSTERDOWN": "Redis waits for the rest of its cluster",
    "TRYAGAIN": "Redis moves keys between the servers of its cluster",
    "UNBLOCKED": "Redis has become a replica",
}
# The engine does not trust this process, or no longer does.
REFUSED: Final = ("WRONGPASS", "NOAUTH", "NOPERM", "DENIED")
# The place of an error inside of a script follows these words.
IN_SCRIPT: Final = " script: "
# This one has no code of its own.
TOO_MANY_CLIENTS: Final = "ERR max number of clients reached"


class EngineAway(Exception):
    """The engine cannot be reached, or cannot serve now. The connection is closed.

    The call may have been done or not. The message is a short reason for people.
    """


class EngineRefused(EngineAway):
    """The engine refuses the password, or rights, or at the opening something else.

    For a chat that runs, this is no more than an engine that is away: its operator may be changing
    the password. `code` is the first word of the `answer`, such as `NOPERM`.
    """

    def __init__(self, answer: str) -> None:
        super().__init__(f"Redis refuses: {answer}")
        self.answer = answer
        self.code = answer.partition(" ")[0]


class EngineError(Exception):
    """The engine cannot do what it was asked. The connection stays usable.

    `code` is the first word of the answer, such as `WRONGTYPE`.
    """

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.code = answer.partition(" ")[0]


class EngineFull(EngineError):
    """The engine has no memory left for this."""


class ScriptMissing(EngineError):
    """The engine does not have the script with this SHA."""


def refusal(answer: str) -> EngineAway | EngineError:
    """Return the exception for an error reply."""
    code = answer.partition(" ")[0]
    if code in NOT_NOW:
        return EngineAway(NOT_NOW[code])
    # A script that was refused in its middle may have done a part: it must not be tried again.
    if code in REFUSED and IN_SCRIPT not in answer:
        return EngineRefused(answer)
    if answer.startswith(TOO_MANY_CLIENTS):
        return EngineAway("Redis has as many clients as it may have (maxclients)")
    if code == "OOM":
        return EngineFull(answer)
    return ScriptMissing(answer) if code == "NOSCRIPT" else EngineError(answer)

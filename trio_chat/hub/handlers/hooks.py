"""Hooks: functions of the embedding program that may refuse a client's request.

The hub calls them, and the whole chat waits for each, so they must not block. They refuse by
raising `Refused`. Any other exception is logged, and refuses too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from attrs import frozen

from trio_chat.errors import Code, Refused
from trio_chat.hub.embedder import UserInfo, info_of
from trio_chat.protocol.events import Acted, Said, Told, TopicSet
from trio_chat.protocol.text import clean_text, is_blank

if TYPE_CHECKING:
    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User

logger = logging.getLogger("trio_chat")

T = TypeVar("T")

# Gets a draft, and returns its text.
BeforeSay: TypeAlias = Callable[[Said | Acted | TopicSet | Told], str]
# Gets a user that is about to join, and the casefolded name of the room.
BeforeJoin: TypeAlias = Callable[[UserInfo, str], None]
# Gets a client that has just connected, before any command of it.
BeforeConnect: TypeAlias = Callable[[UserInfo], None]


@frozen
class Hooks:
    """The hooks of the embedding program; see `open_chat`."""

    before_say: BeforeSay | None = None
    before_join: BeforeJoin | None = None
    before_connect: BeforeConnect | None = None
    # The name of this node, or nothing.
    node: str = ""

    def say(self, draft: Said | Acted | TopicSet | Told) -> str:
        """Return the text to say. Raises `Refused`."""
        if (hook := self.before_say) is None:
            return draft.text
        return _ask("before_say", draft.author, lambda: _text(hook(draft)))

    def words(self, user: User, state: State, authorize: Authorize, words: str) -> str:
        """Return a client's own words about its leaving, or nothing where messages are checked.

        Else people who may say nothing, and texts that are refused, would come in this way.
        """
        if state.words is not None or self.before_say is not None:
            return ""
        return "" if authorize.may_be_silenced(user) else words

    def join(self, session: Session, room: str) -> None:
        """Raise `Refused` if the client may not join a room."""
        if (hook := self.before_join) is not None:
            _ask("before_join", session.user.id, lambda: hook(info_of(session, self.node), room))

    def connect(self, session: Session) -> None:
        """Raise `Refused` if the client may not be here."""
        if (hook := self.before_connect) is not None:
            _ask("before_connect", session.user.id, lambda: hook(info_of(session, self.node)))


def _ask(name: str, client: str, hook: Callable[[], T]) -> T:
    try:
        return hook()
    except Refused:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
        log_failure(name, client, error)
        sentence = "that failed on the server; its log says why"
        raise Refused(sentence, code=Code.COMMAND_FAILED) from None


def _text(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"before_say returns the text to say, and no {text!r:.80}")
    return text


def log_failure(name: str, client: str, error: BaseException) -> None:
    """Log, with its traceback, that a function of the embedding program has failed."""
    logger.error("%s failed", name, extra={"client": client}, exc_info=error)


def something(text: str, what: str, limit: int) -> str:
    """Return a text of the embedding program, cleaned. Raises `Refused` if nothing is left."""
    text = clean_text(text, what=what, limit=limit)
    if is_blank(text):
        raise Refused("nothing is left of that to be said", code=Code.REFUSED)
    return text

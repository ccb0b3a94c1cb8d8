"""Questions to slow places, such as the accounts or the log, whose answers a command needs."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from attrs import define, field

from trio_chat.errors import Code, Refused, StoreError

if TYPE_CHECKING:
    from trio_chat.hub.session import Session

logger = logging.getLogger("trio_chat")

T = TypeVar("T")

# The places, as the daemon's log names them.
LOG: Final = "the room log"
ACCOUNTS: Final = "the accounts"
NODES: Final = "the other nodes"


@define(eq=False)
class Asking(Generic[T]):
    """A question. `then` carries out the answer in the hub. `place` names what is asked."""

    _place: str
    _ask: Callable[[], Awaitable[T]]
    _then: Callable[[Session, T], None]
    _answer: list[T] = field(factory=list, init=False, repr=False)
    _refusal: list[Refused] = field(factory=list, init=False)

    async def look(self) -> None:
        """Ask."""
        try:
            self._answer.append(await self._ask())
        except Refused as refusal:
            # Its traceback refers to this object. Such a cycle stays for the garbage collector,
            # and in a flood of wrong passwords its passes would hold everybody up.
            self._refusal.append(refusal.with_traceback(None))
        except StoreError as error:
            logger.warning("%s cannot be used", self._place, extra={"reason": str(error)})
        except Exception:
            logger.exception("%s cannot be used", self._place)

    def finish(self, session: Session) -> None:
        """Carry out the answer. Raises `Refused` if there is none."""
        if self._refusal:
            raise self._refusal.pop()
        if not self._answer:
            sentence = f"{self._place} cannot be used now; please try again later"
            raise Refused(sentence, code=Code.CANNOT_READ)
        self._then(session, self._answer[0])

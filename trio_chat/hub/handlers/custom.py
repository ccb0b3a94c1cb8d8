"""Custom commands: the results of the embedding program's handlers are carried out.

A handler may be a function or an `async def`. The hub calls a function itself. An `async def` runs
in a task of the chat's nursery, and its caller's next commands wait for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING, Final, TypeVar

import trio
from attrs import define, evolve, field

from trio_chat.errors import Code, Refused
from trio_chat.hub.handlers.hooks import log_failure, something
from trio_chat.protocol import commands
from trio_chat.protocol.commands import Caller
from trio_chat.protocol.events import Notice
from trio_chat.protocol.names import casefold_room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.messages import Messages
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.protocol.commands import Outcome

E = TypeVar("E", bound=BaseException)

# Seconds for a handler. A person waits no longer for an answer, and all further commands wait too.
HANDLER_SECONDS: Final = 30.0
# Handlers that run at once. Each caller has at most one, and this bounds the load of all callers.
# Others wait, and their time counts.
MOST_HANDLERS: Final = 100

OUTCOMES: Final = (Notice, commands.Say, commands.Act, commands.SetTopic)


class CustomCommands:
    """Handles the commands of the embedding program."""

    def __init__(
        self,
        state: State,
        collect: Collect,
        messages: Messages,
        authorize: Authorize,
        dispatch: Callable[[Session, commands.Command], None],
    ) -> None:
        """Begin with `dispatch`, which decides a record that is a part of another one."""
        self._state = state
        self._collect = collect
        self._messages = messages
        self._authorize = authorize
        self._dispatch = dispatch
        self._running = trio.CapacityLimiter(MOST_HANDLERS)
        self.handlers: Handlers = {commands.Custom: self._custom}

    def _custom(self, session: Session, record: commands.Custom) -> None:
        user = session.user
        room = user.only_room if record.room is None else user.rooms.get(record.room)
        caller = Caller(
            user.id, user.nick, tuple(user.rooms), room=None if room is None else room.name
        )
        try:
            outcomes = record.handler(caller, record.arguments)
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            raise _failure(record, caller, error) from None
        if isinstance(outcomes, Awaitable):
            work = Handling(self, record, caller, outcomes, self._running)
            self._collect.query(session, record, work)
        else:
            self.carry_out(session, record, _outcomes(record, caller, outcomes))

    def carry_out(
        self, session: Session, record: commands.Custom, outcomes: Iterable[Outcome]
    ) -> None:
        """Carry out a handler's results, in order. Raises `Refused` at the first impossible one."""
        settings = self._state.settings
        for outcome in outcomes:
            if isinstance(outcome, Notice):
                text = something(outcome.text, "line", settings.message_chars)
                self._collect.reply(session, Notice(text))
                continue
            is_topic = isinstance(outcome, commands.SetTopic)
            limit = settings.topic_chars if is_topic else settings.message_chars
            text = something(outcome.text, "topic" if is_topic else "line", limit)
            room = record.room if outcome.room is None else casefold_room(outcome.room)
            said = evolve(outcome, text=text, room=room)
            if isinstance(said, commands.Say):
                # Its author did not type it, so show it to the author too.
                if session.user.ruled:
                    self._authorize(session.user, said)
                self._messages.say(session, said, shown=session.encoding.for_people)
            else:
                self._dispatch(session, said)


def _outcomes(
    record: commands.Custom, caller: Caller, outcomes: Iterable[Outcome]
) -> Iterator[Outcome]:
    """Return the results of a handler, which may be a generator. Raises `Refused` if it fails."""
    try:
        for outcome in outcomes:
            yield _checked(outcome)
    except Refused:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
        raise _failure(record, caller, error) from None


def _failure(record: commands.Custom, caller: Caller, error: BaseException) -> Refused:
    """Log that a handler has failed. Return the refusal for its caller."""
    name = f"/{record.name}"
    log_failure(name, caller.id, error)
    return Refused(f"{name} failed; the server's log says why", code=Code.COMMAND_FAILED)


def _checked(outcome: object) -> Outcome:
    if isinstance(outcome, OUTCOMES) and isinstance(outcome.text, str):
        return outcome
    raise TypeError(f"a handler gives Notice, Say, Act or SetTopic, and no {outcome!r:.80}")


@define(eq=False)
class Handling:
    """An `async def` handler that runs for a command."""

    _commands: CustomCommands
    _record: commands.Custom
    _caller: Caller
    _coming: Awaitable[Iterable[Outcome]]
    _running: trio.CapacityLimiter
    _outcomes: list[Outcome] | None = field(default=None, init=False)
    _refusal: Refused | None = field(default=None, init=False)

    async def look(self) -> None:
        """Run the handler."""
        try:
            with trio.move_on_after(HANDLER_SECONDS):
                async with self._running:
                    self._outcomes = [_checked(outcome) for outcome in await self._coming]
        # A nursery in the handler may raise a group, perhaps together with a cancellation.
        except* Refused as group:
            self._refusal = _first(group)
        except* Exception as group:  # noqa: BLE001 - the caller is told
            error = group if len(group.exceptions) > 1 else _first(group)
            self._refusal = _failure(self._record, self._caller, error)
        finally:
            if isinstance(self._coming, Coroutine):
                self._coming.close()  # its time may be over before it begins

    def finish(self, session: Session) -> None:
        """Carry out the handler's results, if it has ended by itself."""
        if self._refusal is not None:
            raise self._refusal
        if self._outcomes is None:
            raise Refused(
                f"/{self._record.name} took too long, and was stopped", code=Code.COMMAND_FAILED
            )
        self._commands.carry_out(session, self._record, self._outcomes)


def _first(group: BaseExceptionGroup[E]) -> E:
    """Return the first exception in nested groups."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error

"""Removals: messages that their author or a moderator takes out of the history of a room.

The log is read first, in a task of its own. Then the hub decides which of the messages may go. The
log takes out what is still there.
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from trio_chat.errors import Code, Refused
from trio_chat.hub.handlers.asking import LOG, Asking
from trio_chat.moderation.fields import Role
from trio_chat.moderation.permission import check_rank
from trio_chat.moderation.rules import RoomRules
from trio_chat.protocol import commands, events, past
from trio_chat.protocol.message_ids import position_of
from trio_chat.roomlog.removal import each, is_text, runs
from trio_chat.roomlog.rules import MOST_ACTIONS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Sequence

    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.ruling import Ruling
    from trio_chat.hub.handlers.targets import Targets
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import RoomLog
    from trio_chat.roomlog.rules import Action

    # Reads entries, given the positions of texts that wait for an undo.
    Ask: TypeAlias = Callable[[Container[int]], Awaitable[list[PersistentEntry]]]

# Entries read at once, and entries that are looked at for the messages of a person, at most.
PAGE_ENTRIES: Final = 200
LOOKED_AT: Final = 50_000


class Removals:
    """Handles the records that remove messages, and the undo of a removal."""

    def __init__(
        self,
        collect: Collect,
        authorize: Authorize,
        targets: Targets,
        ruling: Ruling,
        log: RoomLog,
    ) -> None:
        self._collect = collect
        self._authorize = authorize
        self._targets = targets
        self._log = log
        self._ruling = ruling
        self.handlers: Handlers = {
            commands.Remove: self._remove,
            past.RemoveMessage: self._remove_message,
        }

    def _remove(self, session: Session, record: commands.Remove) -> None:
        room, role = self._ruling.ruled(session, record.room)
        target = record.target
        if target is None:
            ask: Ask = partial(_entries_at, self._log, room.name, [[record.first, record.last]])
        else:
            check_rank(role, Role.NONE, "remove all messages of a person")
            since = -math.inf if record.seconds is None else time.time() - record.seconds
            if target.entry:
                ask = partial(_said_by_author, self._log, room.name, target.entry, since)
            else:
                authors = self._targets.persons(session, room, target)
                ask = partial(_said_by, self._log, room.name, authors, since)
        then = partial(self._remove_found, record, room.name)
        looks = target is None or record.for_good
        both = partial(_with_waiting, self._log, room.name, ask, looks=looks)
        self._collect.query(session, record, Asking(LOG, both, then))

    def _remove_message(self, session: Session, record: past.RemoveMessage) -> None:
        room, _ = self._ruling.ruled(session, record.room)
        position = position_of(record.id, self._log.identity, room.name)
        if position is None:
            raise Refused(_nothing(()), code=Code.BAD_USAGE)
        ask = partial(_entries_at, self._log, room.name, [[position, position]])
        both = partial(_with_waiting, self._log, room.name, ask, looks=True)
        then = partial(self._message_found, record)
        self._collect.query(session, record, Asking(LOG, both, then))

    def _message_found(
        self,
        record: past.RemoveMessage,
        session: Session,
        read: tuple[Sequence[PersistentEntry], Container[int]],
    ) -> None:
        _, role = self._ruling.ruled(session, record.room)
        is_own = all(entry.author == session.user.person for entry in read[0])
        reason = "" if is_own and role < Role.OPERATOR else record.reason
        found = commands.Remove(reason=reason, room=record.room)
        self._remove_found(found, record.room, session, read)

    def _remove_found(
        self,
        record: commands.Remove,
        name: str,
        session: Session,
        found: tuple[Sequence[PersistentEntry], Container[int]],
    ) -> None:
        entries, waiting = found
        room, role = self._ruling.ruled(session, name)
        topic = self._log.snapshot(name).topic
        me, role_of = session.user.person, self._targets.role_of_author
        meant = [
            entry
            for entry in entries
            if (is_text(entry) and not _is(topic, entry))
            # A moderator has removed it, and its text waits for an undo.
            or (entry.position in waiting and (record.for_good or entry.author == me))
        ]
        if not meant:
            raise Refused(_nothing(entries), code=Code.BAD_USAGE)
        rules = room.rules or RoomRules({})
        meant = [e for e in meant if e.author == me or rules.reaches(role, e.time)]
        if not meant:
            sentence = "that was said before this room was made: operators of the server remove it"
            raise Refused(sentence, code=Code.NOT_ALLOWED)
        chosen = [
            entry
            for entry in meant
            if entry.author == me or (role >= Role.OPERATOR and role_of(room, entry) < role)
        ]
        if not chosen or (role < Role.OPERATOR and len(chosen) < len(meant)):
            sentence = "only operators of the room may remove messages of others"
            if role >= Role.OPERATOR:
                sentence = "you may remove messages only of people whose role is lower than yours"
            raise Refused(sentence, code=Code.NOT_ALLOWED)
        own = all(entry.author == me for entry in chosen)
        if own and record.reason and not record.for_good and role < Role.OPERATOR:
            sentence = "a reason is for the messages of others: /remove ID removes your own"
            raise Refused(sentence, code=Code.BAD_USAGE)
        reason = f": {record.reason}" if record.reason else ""
        whose = "their own" if own else _whose(chosen)
        text = f"removed {_messages(len(chosen))} of {whose}{reason}"
        positions = runs(entry.position for entry in chosen)
        # A person whose messages go has none that wait for a moderator, either.
        authors = () if own or record.target is None else {entry.author for entry in chosen}
        own = own or record.for_good
        self._draft(session, room, text, positions, own=own, silenced=tuple(authors))

    def undo(self, session: Session, record: commands.Undo, room: Room, action: Action) -> None:
        """Put the texts back that an action took out. Its answer comes later."""
        ask = partial(_entries_at, self._log, room.name, action.removed)
        then = partial(self._put_back, action, room.name)
        self._collect.query(session, record, Asking(LOG, ask, then))

    def _put_back(
        self, action: Action, name: str, session: Session, entries: Sequence[PersistentEntry]
    ) -> None:
        room, role = self._ruling.ruled(session, name)
        check_rank(role, Role.NONE, "undo actions")
        me = session.user.person
        for entry in entries:
            if not me == action.author == entry.author:
                check_rank(role, self._targets.role_of_author(room, entry), "put back messages of")
        text = f"undid A{action.position}: {action.text}"
        self._draft(session, room, text, action.removed, undoes=action.position)

    def _draft(
        self,
        session: Session,
        room: Room,
        text: str,
        positions: list[list[int]],
        *,
        undoes: int = 0,
        own: bool = False,
        silenced: tuple[str, ...] = (),
    ) -> None:
        user, version = session.user, self._log.snapshot(room.name).rules.version
        draft = events.Removed(
            *(room.name, room.shown, user.person, user.nick, text, {}, version),
            device=user.device,
            positions=positions,
            undoes=undoes,
            own=own,
            silenced=silenced,
        )
        self._collect.rule(session, draft)


async def _with_waiting(
    log: RoomLog, room: str, ask: Ask, *, looks: bool
) -> tuple[list[PersistentEntry], Container[int]]:
    """Read entries, and at which positions texts wait for an undo, if it `looks` for these."""
    waiting: set[int] = set()
    if looks:
        for action in await log.actions(room, None, MOST_ACTIONS):
            waiting.update(each(action.removed))
    return await ask(waiting), waiting


async def _entries_at(
    log: RoomLog, room: str, positions: Sequence[Sequence[int]], _: Container[int] = ()
) -> list[PersistentEntry]:
    """Read the entries of some runs of positions, as far as they are kept."""
    found: list[PersistentEntry] = []
    for first, last in positions:
        after = first - 1
        while after < last:
            page = await log.read(room, after, min(last - after, PAGE_ENTRIES))
            page = [entry for entry in page if entry.position <= last]
            if not page:
                break
            found += page
            after = page[-1].position
    return found


async def _said_by_author(
    log: RoomLog, room: str, number: int, since: float, waiting: Container[int]
) -> list[PersistentEntry]:
    """Read what the author of an entry has said since a time; see `_said_by`."""
    page = await log.before(room, number + 1, 1)
    if not page or page[-1].position != number:
        return []
    return await _said_by(log, room, {page[-1].author}, since, waiting)


async def _said_by(
    log: RoomLog, room: str, authors: Container[str], since: float, waiting: Container[int]
) -> list[PersistentEntry]:
    """Read what some people have said since a time, oldest first: the newest `MOST_REMOVED`."""
    found: list[PersistentEntry] = []
    before, looked = None, 0
    while looked < LOOKED_AT and len(found) < commands.MOST_REMOVED:
        page = await log.before(room, before, PAGE_ENTRIES)
        looked += len(page)
        recent = [entry for entry in page if entry.time >= since]
        found += [
            entry
            for entry in recent[::-1]
            if entry.author in authors and (is_text(entry) or entry.position in waiting)
        ]
        if len(recent) < PAGE_ENTRIES:
            break
        before = page[0].position
    return found[: commands.MOST_REMOVED][::-1]


def _is(topic: str, entry: PersistentEntry) -> bool:
    """Whether an entry set the topic that the room has."""
    return isinstance(entry, events.TopicSet) and entry.text == topic


def _nothing(entries: Sequence[PersistentEntry]) -> str:
    """Say why there is nothing to remove."""
    if any(isinstance(entry, events.TopicSet) and entry.text for entry in entries):
        return "this is the topic of the room: set another one first (/topic)"
    if any(isinstance(entry, events.Ruled) for entry in entries):
        return "actions of moderators stay: only messages can be removed"
    return "there is nothing to remove: no such message is kept here"


def _messages(count: int) -> str:
    return f"{count} message{'' if count == 1 else 's'}"


def _whose(entries: Sequence[PersistentEntry]) -> str:
    people = {entry.author: entry.nick for entry in entries}
    [nick, *others] = people.values()
    return f"{len(people)} people" if others else nick

"""Folds entries of the room log, and puts them into the outboxes of their listeners."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from trio_chat.hub.about_news import AboutNews
from trio_chat.hub.held_news import HeldNews
from trio_chat.hub.ignoring import tune
from trio_chat.protocol.events import (
    PRIVATE,
    SPOKEN,
    Described,
    Entered,
    Exited,
    Gone,
    Held,
    Moved,
    PersonChanged,
    Ruled,
    TellSent,
    Told,
    TopicSet,
)
from trio_chat.protocol.names import SERVER

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from trio_chat.dialects import Chunk, Encoding, Piece
    from trio_chat.hub.catching_up import CatchingUp
    from trio_chat.hub.enforce import Enforce
    from trio_chat.hub.fold import Change, Fold, Shown
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.resume import Resumption
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Origin
    from trio_chat.hub.user import User
    from trio_chat.protocol.events import Acted, Entry, Invited, PersistentEntry, RoomEvent, Said

logger = logging.getLogger("trio_chat")

_E = TypeVar("_E", bound="PersistentEntry")


class Deliver:
    """Delivers entries of this process and of others."""

    def __init__(
        self,
        state: State,
        fold: Fold,
        outboxes: Outboxes,
        catching_up: CatchingUp,
        resumption: Resumption,
        enforce: Enforce,
    ) -> None:
        self._catching_up = catching_up
        self._resumption = resumption
        self._enforce = enforce
        self._held_news = HeldNews(state, outboxes, enforce.authorize)
        self._about_news = AboutNews(state, outboxes, enforce.authorize)
        self._state = state
        self._fold = fold
        self._outboxes = outboxes

    def entries(self, entries: Sequence[Entry]) -> None:
        """Fold and deliver entries that no record of this process led to."""
        run: list[Said | Acted] = []
        for entry in entries:
            if isinstance(entry, SPOKEN):
                if run and run[-1].room != entry.room:
                    self.speak(run, None)
                    run = []
                run.append(entry)
                continue
            if run:
                self.speak(run, None)
                run = []
            self.entry(entry, None)
        if run:
            self.speak(run, None)

    def entry(self, entry: Entry, origin: Origin | None) -> None:
        """Fold and deliver an entry. If `origin` has a label, its answer carries that."""
        if isinstance(entry, SPOKEN):
            self.speak([entry], origin)
        elif isinstance(entry, PRIVATE):
            self._private(entry, origin)
        elif isinstance(entry, Held):
            if entry.message is not None:
                self.speak([entry.message], None)
            self._held_news.tell(entry, origin)
        elif isinstance(entry, Described):
            self._describe(entry)
        else:
            self._change(entry, origin)

    def _describe(self, entry: Described) -> None:
        user = self._state.users.get(entry.author)
        if user is not None:
            before = self._state.about(user.person)
            self._fold(entry)
            self._about_news.tell(user, before)

    def speak(self, run: Sequence[Said | Acted], origin: Origin | None) -> None:
        """Deliver messages and actions of one room, at once."""
        state, first = self._state, run[0]
        room = state.rooms.get(first.room)
        if room is None:  # everyone here has left the room meanwhile
            return
        if first.position != room.position + 1:
            run = self._after_gap(room, run)
            if not run:
                return
        room.position = run[-1].position
        if room.pace is not None:
            room.note(run)
        if state.recent.keeps:  # mostly this saves a call
            state.recent.keep(room, run)
        state.counts.messages += len(run)
        if len(run) == 1:
            authors: Collection[str] = (first.device or first.author,)
        else:
            authors = {entry.device or entry.author for entry in run}
        self._put(room, run, authors, origin)

    def _after_gap(self, room: Room, run: Sequence[_E]) -> list[_E]:
        """Return the entries of a run that are to be delivered: none that were, or come later.

        A process that was cut off from a shared log may get entries again, or miss some. Members
        read what is missing from the log.
        """
        if run[-1].position <= room.position:
            return []
        if run[0].position > room.position + 1:
            self._catching_up.skip_gap(room, run[-1].position)
            return []
        return [entry for entry in run if entry.position > room.position]

    def _private(self, told: Told | Invited, origin: Origin | None) -> None:
        targets = self._state.users_of(told.to)
        for user in targets:
            self._outboxes.put_told(user, told)
        if isinstance(told, Told):
            self._copy(told, targets)
        if origin is not None and origin.session is not None and origin.label is not None:
            self._outboxes.put_event(origin.session, told, origin.label)

    def _copy(self, told: Told, targets: Sequence[User]) -> None:
        """Give the other devices of an author its private message."""
        author = self._state.users.get(told.device)
        for user in [] if author is None else author.others:
            if user not in targets:  # else the author has told itself something
                nick = targets[0].nick if targets else ""
                self._outboxes.put_told(user, told, TellSent(nick, told.text))

    def _change(self, entry: Change, origin: Origin | None) -> None:
        """Fold an entry that changes the state, and show it to the sessions concerned."""
        author = entry.author
        if isinstance(entry, (TopicSet, Ruled)):
            if not self._follows(entry):
                return
            author = entry.device or author
        user = self._state.users.get(author)
        session = None if user is None else user.session
        shown = self._fold(entry)
        if len(shown) == 1 or isinstance(entry, Entered):
            for room, event in shown:
                # Authors see their topics and rules too, unless a call has returned them.
                seen = isinstance(event, (TopicSet, Ruled))
                shows_author = seen and not (session and session.local)
                authors = () if shows_author else (author,)
                self._put(room, [event], authors, origin, changes=not seen)
        elif shown:
            self._put_of_person(shown, session)
        self._changed(entry, user, session, origin)

    def _changed(
        self, entry: Change, user: User | None, session: Session | None, origin: Origin | None
    ) -> None:
        """Let a session hear a new room, or let go of it, after an entry of its user."""
        if user is not None and isinstance(entry, Entered):
            self._let_in(user, self._state.rooms[entry.room])
            self._enforce.entered(user)
        elif session is not None and isinstance(entry, Gone):
            self._state.release(session)
        elif isinstance(entry, Ruled):
            if origin is not None:
                self._state.counts.actions += 1
                about = {"room": entry.room_name, "by": entry.nick, "action": f"A{entry.position}"}
                logger.info("moderated", extra=about)
            if entry.room == SERVER:
                self._tell_operators(entry, origin)
            self._enforce.ruled(entry)
        elif user is not None and isinstance(entry, Moved) and not entry.token:
            self._resumption.let_go(user)
        elif user is not None and isinstance(entry, Exited):
            self._enforce.standings.commands(user)
        elif isinstance(entry, PersonChanged):
            self._person_changed(entry, user)

    def _person_changed(self, entry: PersonChanged, user: User | None) -> None:
        for guest in entry.displaced:
            self._tell_displaced(guest, entry.name.display)
        if user is not None:
            tune(self._state, user)
            self._enforce.came(user)

    def _tell_operators(self, entry: Ruled, origin: Origin | None) -> None:
        """Show an action for the whole server to its operators, who are in any rooms or none."""
        asker = None if origin is None else origin.session
        for user in self._state.operators_here():
            for device in (user, *user.others):
                session = device.session
                if session is not None and session.began and self._outboxes.has_room(session):
                    label = origin.label if origin is not None and session is asker else None
                    self._outboxes.put_event(session, entry, label)

    def _tell_displaced(self, guest: str, nick: str) -> None:
        user = self._state.users.get(guest)
        if user is not None and user.session is not None:
            sentence = (
                f"the nick {nick} belongs to an account, whose owner has logged in: you are "
                "anonymous now; choose another nick"
            )
            self._outboxes.unname(user.session, nick, sentence)

    def _follows(self, entry: TopicSet | Ruled) -> bool:
        """Whether an entry is the next one of its room; otherwise see `_after_gap`."""
        if entry.room == SERVER:  # nobody reads what is missing: the log knows the rules
            return entry.position > self._state.server.position
        room = self._state.rooms.get(entry.room)
        if room is None or entry.position == room.position + 1:
            return True
        if isinstance(entry, TopicSet) and entry.position > room.position:
            room.topic = entry.text
        elif isinstance(entry, Ruled) and entry.position > room.position:
            self._fold.follow_rules(room)
            self._enforce.ruled(entry)
        self._after_gap(room, [entry])
        return False

    def _let_in(self, user: User, room: Room) -> None:
        session = user.session
        if session is None:
            if user.detached is not None:
                user.detached.positions[room.name] = room.position
        elif session.slow_consumer:
            session.positions[room.name] = room.position
        elif session.closing is None:
            room.listen(session)

    # --- outboxes ---------------------------------------------------------------------------------

    def _put(
        self,
        room: Room,
        run: Sequence[RoomEvent],
        authors: Collection[str],
        origin: Origin | None,
        *,
        changes: bool = False,
    ) -> None:
        """Put entries into the outboxes of their listeners, rendered once for each encoding.

        Authors do not hear their own entries, unless their encoding echoes them; with `changes`,
        unless it mirrors them.
        """
        counts, users = self._state.counts, self._state.users
        for encoding, listeners in room.audience.items():
            echoes = encoding.mirrors if changes else encoding.echoes
            if len(listeners) == 1 and len(authors) == 1 and not echoes:
                [session] = listeners
                if session.user.id in authors and session.user.session is session:
                    continue  # mostly the others are on other nodes
            pieces = encoding.render(run, self._state)
            chunk = encoding.join(pieces)
            if chunk:  # else it is of somebody whom they ignore, or another entry shows it
                self._outboxes.put_all(listeners, chunk)
                counts.deliveries += len(run) * len(listeners)
            if echoes or not authors:
                if origin is not None and origin.label is not None:
                    shown = bool(chunk)
                    self._acknowledge(origin.session, listeners, run[0], origin.label, shown=shown)
                continue
            for author_id in authors if chunk else ():
                author = users.get(author_id)
                if author is not None and author.session in listeners:
                    counts.deliveries -= len(run)
                    self._outboxes.take_back(author.session)
                    if len(authors) > 1:
                        counts.deliveries += self._put_others(author.session, pieces, run)

    def _put_others(
        self, author: Session, pieces: Sequence[Piece], run: Sequence[RoomEvent]
    ) -> int:
        """Give an author of this run the others' entries. Return how many."""
        pairs = zip(pieces, run, strict=True)
        rest = [piece for piece, entry in pairs if _voice(entry) != author.user.id]
        if rest:
            self._outboxes.put(author, author.encoding.join(rest))
        return len(rest)

    def _acknowledge(
        self,
        session: Session | None,
        listeners: Mapping[Session, None],
        entry: RoomEvent,
        label: str,
        *,
        shown: bool,
    ) -> None:
        """Give the author of an entry its own, with the label of the command."""
        if session is not None and session in listeners:
            if shown:
                self._outboxes.take_back(session)
            self._outboxes.put_event(session, entry, label)

    def _put_of_person(self, shown: Shown, author: Session | None) -> None:
        """Put changes of a person into each outbox once, even if several rooms are shared.

        Listeners that share the same rooms with the person share the bytes.
        """
        heard: dict[Session, list[int]] = {}
        for at, (room, _) in enumerate(shown):
            for listeners in room.audience.values():
                for session in listeners:
                    heard.setdefault(session, []).append(at)
        if author is not None and not author.encoding.mirrors:
            heard.pop(author, None)
        chunks: dict[tuple[Encoding, tuple[int, ...]], Chunk] = {}
        for session, which in heard.items():
            key = session.encoding, tuple(which)
            chunk = chunks.get(key)
            if chunk is None:
                events = [shown[at][1] for at in which]
                chunk = chunks[key] = key[0].join(key[0].render(events, self._state))
            self._outboxes.put(session, chunk)
            self._state.counts.deliveries += len(which)


def _voice(entry: RoomEvent) -> str:
    """Return the id of the user that said something, or came or went."""
    return getattr(entry, "device", "") or entry.author

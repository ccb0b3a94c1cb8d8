"""The hub: the one task that owns all state, and the turns it goes through.

A turn takes what waits on the channel (1), applies it (2: `trio_chat.hub.decide`), has the room
log give the drafts their order (3), and delivers: into outboxes (4: `trio_chat.hub.deliver`), and
out of them (5: `trio_chat.hub.outboxes`). The log is the one thing the hub ever waits for within a
turn. What arrives meanwhile makes the next turn bigger, and its cost is shared by more.
"""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from trio_chat.errors import Refused
from trio_chat.hub.client import Lost, Note
from trio_chat.hub.decide import Apply
from trio_chat.hub.deliver import Deliver
from trio_chat.hub.outboxes import Drained, Outboxes, Page
from trio_chat.hub.outcomes import Outcomes, RoomMade, discard
from trio_chat.hub.pause import PauseRequested
from trio_chat.hub.queries import Found, Lookups, abandon
from trio_chat.hub.resume import Absences, GraceOver
from trio_chat.protocol.events import PERSISTENT, Notice, Stopping
from trio_chat.roomlog.retention import retention

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trio_chat.config.settings import Settings
    from trio_chat.hub.client import Client, Item
    from trio_chat.hub.handlers.messages import BeforeSay
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.room import Room
    from trio_chat.hub.state import State
    from trio_chat.protocol.events import Entry
    from trio_chat.protocol.names import Name
    from trio_chat.protocol.table import Row
    from trio_chat.roomlog import Result, RoomLog
    from trio_chat.roomlog.commits import Commits

logger = logging.getLogger("trio_chat")

# Bounds of a turn: so that one takes milliseconds, and its output little memory. A client's share
# of it is smaller, so that one who sends a lot at once is served in several turns, between which
# those who hear it can read.
TURN_RECORDS = 2_000
TURN_BYTES = 1 << 20
CLIENT_RECORDS = 250


@define
class Stop(Note):
    """The chat is to stop."""


@define
class TellClient(Note):
    """A line from the embedding program to one client; `told` becomes true if it was there."""

    to: str
    text: str
    told: bool = False
    done: trio.Event = field(factory=trio.Event)


@define
class Heartbeat(Note):
    """Asks whether the hub is alive; `done` once it has gone through a turn."""

    done: trio.Event = field(factory=trio.Event)


@define
class Reload(Note):
    """Other settings to go by; `taken` becomes true if there was time for it."""

    settings: Settings
    kept_rooms: Sequence[Name]
    taken: bool = False
    done: trio.Event = field(factory=trio.Event)


class Hub:
    """Runs the turns. `state` is for it alone to change."""

    def __init__(
        self,
        *,
        state: State,
        log: RoomLog,
        table: Mapping[str, Row],
        before_say: BeforeSay | None,
        kept_rooms: Sequence[Name],
        channel: trio.MemoryReceiveChannel[Item],
        nursery: trio.Nursery,
        undelivered: Sequence[Entry] = (),
    ) -> None:
        """`undelivered` is what those in `state` have not been told yet, to begin with."""
        self.state = state
        self._log = log
        self._channel = channel
        self._keep_rooms(kept_rooms)
        self._outcomes = Outcomes(self.state)
        for draft in undelivered:
            self._outcomes.draft(draft)
        self._apply = Apply(self.state, self._outcomes, table, before_say, self._topic)
        self._outboxes = Outboxes(self.state, log, nursery)
        self._lookups = Lookups(self.state, self._outboxes, log, nursery)
        self._deliver = Deliver(self.state, self._outboxes, self._lookups)
        self._absences = Absences(
            self.state, self._outboxes, partial(self._apply.close, for_good=True), nursery
        )
        self._notes: list[Note] = []
        self._measures = self.state.measures
        # When this turn began, 0 if none is under way, and what it has taken so far.
        self._began = 0.0
        self._records = 0
        self._bytes = 0

    async def run(self) -> None:
        """Go through turns until the last sender has closed the channel."""
        try:
            if self.state.clients:  # they come from another process, with what they have to get yet
                self._absences.go_on()
                self._notes += map(Drained, self.state.clients.values())
                await self._turn()
            while await self._wait():
                self._take()
                await self._turn()
                self._measures.turn_seconds.add(perf_counter() - self._began)
                self._began = 0.0
                if self.state.pause is not None:
                    await self._pause(self.state.pause)
        finally:
            self._last_words()

    @property
    def turn_seconds(self) -> float:
        """How long the turn that is under way has taken by now; 0 if there is none."""
        return perf_counter() - self._began if self._began else 0.0

    @property
    def log_commits(self) -> Commits:
        """How it goes with writing the room log."""
        return self._log.commits

    @property
    def waiting(self) -> int:
        """How much waits on the channel."""
        return self._channel.statistics().current_buffer_used

    def _keep_rooms(self, names: Sequence[Name]) -> list[Room]:
        """Have these rooms exist without members, and no others; those that had to be made."""
        made = self.state.keep_rooms(names)
        for room in made:
            room.topic = self._topic(room.name)
        return made

    def _topic(self, room: str) -> str:
        return self._log.snapshot(room).topic

    # --- steps 1 and 2: take and apply ------------------------------------------------------------

    async def _wait(self) -> bool:
        """Wait until there is something to do; false once there will be nothing more."""
        if self._outboxes.broken or self._absences.over or self.state.holding:
            self._began = perf_counter()
            return True
        try:
            # Each turn has let others run: there is no need to do so again if something waits.
            item = self._channel.receive_nowait()
        except trio.WouldBlock:
            try:
                item = await self._channel.receive()
            except trio.EndOfChannel:
                return False
        except trio.EndOfChannel:
            return False
        self._began = perf_counter()
        self._item(item)
        return True

    def _take(self) -> None:
        """Apply what waits, within the bounds of a turn."""
        for client, reason in self._outboxes.broken:
            self._apply.close(client, reason, broken=True)
        self._outboxes.broken.clear()
        self._absences.end()
        receive, item = self._channel.receive_nowait, self._item
        try:
            while self._records < TURN_RECORDS and self._bytes < TURN_BYTES:
                item(receive())
        except (trio.WouldBlock, trio.EndOfChannel):
            pass
        # Whose records were held has sent a lot at once, and comes after those who have not; but
        # one comes on in each turn.
        for client in list(self.state.holding):
            self._apply.held(client, CLIENT_RECORDS)
            self._records += CLIENT_RECORDS
            if self._records >= TURN_RECORDS:
                break

    def _item(self, item: Item) -> None:
        if isinstance(item, Note):
            self._notes.append(item)
            return
        client, records, size = item
        self._records += len(records)
        self._bytes += size
        self._apply.records(client, records, CLIENT_RECORDS)

    # --- steps 3 to 5: log and deliver ------------------------------------------------------------

    async def _turn(self) -> None:
        counts = self.state.counts
        counts.turns += 1
        counts.records += self._records
        counts.bytes_in += self._bytes
        self._measures.turn_records.add(self._records)
        self._records = self._bytes = 0
        outcomes, drafts = self._outcomes.listed, self._outcomes.drafts
        results: Sequence[Result] = ()
        if drafts:
            results = await self._append(drafts)
        else:
            await trio.lowlevel.checkpoint()
        if outcomes:
            self._deliver.walk(outcomes, drafts, results, self._outcomes.labels)
            self._outcomes.clear()
        self._outboxes.flush()
        self._read_notes()
        self._end_turn()

    async def _append(self, drafts: Sequence[Entry]) -> Sequence[Result]:
        """Have the log order the drafts.

        If it fails altogether, persistent ones are refused and transient ones pass.
        """
        try:
            return await self._log.append(drafts)
        except Exception:
            logger.exception("the room log failed")
            refusal = Refused(
                "not said: the server cannot save messages now; please try again later"
            )
            return [refusal if isinstance(draft, PERSISTENT) else draft for draft in drafts]

    def _read_notes(self) -> None:
        notes, self._notes = self._notes, []
        for note in notes:
            match note:
                case Drained() | Lost() | Page():
                    self._of_link(note)
                case GraceOver(client=client):
                    self._absences.over.append(client)
                case Found():
                    self._lookups.found(note)
                case _:
                    self._do_as_asked(note)

    def _do_as_asked(self, note: Note) -> None:
        match note:
            case TellClient():
                self._tell(note)
            case Heartbeat():
                note.done.set()
            case Reload():
                self._reload(note)
            case PauseRequested(pause=pause):
                self._begin_pause(pause)
            case Stop():
                self._stop()

    def _of_link(self, note: Drained | Lost | Page) -> None:
        client = note.client
        if client.id not in self.state.clients or client.away is not None:
            return  # what this is about is over
        match note:
            case Drained():
                self._outboxes.drained(note)
            case Lost():
                self._outboxes.broken.append((client, note.reason))
            case Page():
                self._outboxes.page(note)

    def _end_turn(self) -> None:
        for request in self._outcomes.requests:
            if not request.looking:
                request.done.set()
        self._outcomes.requests.clear()
        for client in self._outcomes.overfull:
            if client.closing is None and (not client.lagging or self.state.stopping):
                self.state.go_on(client)
        self._outcomes.overfull.clear()
        self._absences.settle()
        if self.state.stopping:
            self._say_farewell()
        self._deliver.forget(self.state.gone)
        self.state.gone.clear()
        for client in list(self.state.closing):
            if not client.draining:
                self._release(client)

    def _deliver_replies(self) -> None:
        """Deliver what has come up after the turn's own delivery; there are no drafts in it."""
        self._deliver.walk(self._outcomes.listed, (), (), {})
        self._outcomes.listed.clear()
        self._outboxes.flush()

    def _tell(self, note: TellClient) -> None:
        client = self.state.clients.get(note.to)
        if client is not None and client.closing is None and not client.lagging:
            self._outcomes.tell(client, Notice(note.text))
            self._deliver_replies()
            note.told = True
        note.done.set()

    def _reload(self, note: Reload) -> None:
        old, self.state.settings = self.state.settings, note.settings
        self._log.retain(retention(note.settings))
        if note.settings.recent_entries != old.recent_entries:
            for room in self.state.rooms.values():
                room.resize(note.settings.recent_entries)
        made = self._keep_rooms(note.kept_rooms)
        self._outcomes.listed += map(RoomMade, made)
        self._deliver_replies()
        note.taken = True
        note.done.set()

    # --- standing still ---------------------------------------------------------------------------

    def _begin_pause(self, pause: Pause) -> None:
        self.state.pause = pause
        for client in self.state.clients.values():
            pause.stop(client)

    async def _pause(self, pause: Pause) -> None:
        """Once nothing moves any more, do nothing either until the pause is over."""
        # What those who stand still had at hand they have put there.
        waiting = self._channel.statistics().current_buffer_used
        if pause.moving or waiting or self._outboxes.broken or self._absences.over:
            return
        pause.reached.set()
        await pause.over.wait()
        self.state.pause = None
        if pause.handed_over is not None:
            self._let_go_of(pause.handed_over)

    def _let_go_of(self, handed_over: list[Client]) -> None:
        """Forget the clients that are another process's now, and send away those that are not."""
        self.state.handed_over = True
        for client in handed_over:
            del self.state.clients[client.id]
            self.state.closing.pop(client, None)
            client.link.release()
        self.state.holding.clear()
        for client in self.state.clients.values():
            if client.closing is None:
                self._outcomes.tell(client, Stopping(restarting=True))
                reason = "could not be handed over"
                self._apply.close(client, reason, silently=True, for_good=True)
        self._deliver_replies()
        self._end_turn()

    # --- ends -------------------------------------------------------------------------------------

    def _release(self, client: Client) -> None:
        """Let go of a client whose last bytes are on their way; its own task closes the link."""
        del self.state.closing[client]
        del self.state.clients[client.id]
        if self.state.pause is not None:
            self.state.pause.forget(client)
        self.state.forget_address(client.link.address)
        client.link.release()
        reason = client.closing or ""
        self.state.counts.left[reason] += 1
        who = client.successor or client
        logger.info(
            "client left" if who is client else "connection ended",
            extra={"address": client.link.peer, "client": who.id, "reason": reason},
        )

    def _stop(self) -> None:
        """Have every client's task pass on what has arrived, and no more."""
        self.state.stopping = True
        for client in self.state.clients.values():
            if client.local:
                client.read_out = True
            elif client.closing is None:
                client.link.drain_input()
            if client.lagging and client.closing is None:
                self.state.go_on(client)

    def _say_farewell(self) -> None:
        """Once every client's last lines are delivered.

        Tell everyone, and close; no room hears of these leaves.
        """
        staying = [client for client in self.state.clients.values() if client.closing is None]
        if self.state.holding or not all(client.read_out for client in staying):
            return
        for client in staying:
            for missed in self._outboxes.missed(client):
                self._outcomes.tell(client, missed)
            self._outcomes.tell(client, Stopping())
            self._apply.close(client, "the chat stopped", silently=True, for_good=True)
        self._deliver_replies()

    def _last_words(self) -> None:
        """Let go of everyone.

        Where the hub ends before its time, with one last send that does not wait.
        """
        pause = self.state.pause
        if pause is not None:
            pause.reached.set()
            if pause.handed_over is not None:
                self._let_go_of(pause.handed_over)
        self._outboxes.last_words(list(self.state.clients.values()))
        discard(self._outcomes.requests)
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                item = self._channel.receive_nowait()
                if isinstance(item, Note):
                    self._notes.append(item)
                else:
                    item[0].link.release()
                    discard(item[1])
        for note in self._notes:
            if isinstance(note, (TellClient, Heartbeat, Reload)):
                note.done.set()
            elif isinstance(note, PauseRequested):
                note.pause.reached.set()
            elif isinstance(note, Found):
                abandon(note.lookup)
        self._channel.close()

"""A hub to play turns with: its links and its room log let a test look into them.

Records go straight to the hub's channel, and what each write has brought comes out of the link.
"""

from __future__ import annotations

import copy
import json
from contextlib import asynccontextmanager

import trio
import trio.testing
from documents import check
from wsproto.frame_protocol import FrameProtocol, Opcode

from trio_chat import Refused, Settings
from trio_chat.dialects.line_encoding import LF
from trio_chat.dialects.websocket import DOCUMENTS
from trio_chat.errors import Code
from trio_chat.hub.handlers.hooks import Hooks
from trio_chat.hub.hub import Hub
from trio_chat.hub.inbox import Call, Connected, Lost
from trio_chat.hub.session import Session
from trio_chat.hub.state import State
from trio_chat.protocol import commands
from trio_chat.protocol.events import (
    Departed,
    Entered,
    Exited,
    Goodbye,
    Joined,
    Left,
    NickChanged,
    NickTaken,
    Said,
    Welcomed,
)
from trio_chat.protocol.names import parse_nick, parse_room
from trio_chat.protocol.table import make_table
from trio_chat.roomlog import FromLog
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.retention import Retention
from trio_chat.transports.event_link import EVENTS

FULL = "not said: the disk is full"


class FakeLink:
    """Takes everything at once, if it is not blocked. Each of its `writes` is a list of chunks."""

    tls = False

    def __init__(self, address="192.0.2.1") -> None:
        self.peer = self.address = address
        self.unsent_bytes = 0
        self.writes = []
        self.released = False
        self.paused = False
        self.failure = None
        self._taken = trio.Event()

    def block(self) -> None:
        """From now on it is as if more were left than any outbox holds."""
        self.unsent_bytes = 1 << 30
        self._taken = trio.Event()

    def unblock(self) -> None:
        """All that is left has been taken."""
        self.unsent_bytes = 0
        self._taken.set()

    def write(self, chunk, more):
        if self.failure:
            raise self.failure
        if chunk is not None:
            self.writes.append([chunk, *(more or ())])
        return self.unsent_bytes

    async def drain(self):
        await self._taken.wait()
        return False

    def undelivered(self):
        return 0

    def discard(self):
        pass

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False

    def drain_input(self):
        pass

    def release(self):
        self.released = True

    def chunks(self) -> list:
        """All that has come since the last look, as the hub has put it."""
        chunks = [chunk for write in self.writes for chunk in write]
        self.writes.clear()
        return chunks

    def documents(self) -> list[dict]:
        """The same as documents, which are held against the schema."""
        protocol = FrameProtocol(client=True, extensions=[])
        protocol.receive_bytes(b"".join(self.chunks()))
        frames = [frame for frame in protocol.received_frames() if frame.opcode is Opcode.TEXT]
        return [check(json.loads(frame.payload)) for frame in frames]

    def lines(self) -> list[str]:
        """The same as lines."""
        return b"".join(self.chunks()).decode().split("\n")[:-1]


class FakeLog(MemoryLog):
    """A log that can be made to wait, to refuse or to fail.

    `batches` are the drafts it was given, `entries` those that it took.
    """

    def __init__(self) -> None:
        super().__init__(Retention(1000, 1000))
        self.batches = []
        self.entries = []
        self.gate = None
        self.refuses = None
        self.failure = None
        self.fails_late = False
        self.read_gate = None

    async def before(self, room, position, limit):
        if self.read_gate is not None:
            await self.read_gate.wait()
        return await super().before(room, position, limit)

    async def append(self, drafts):
        self.batches.append(list(drafts))
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None and not self.fails_late:
            raise self.failure
        results = await self._results(drafts)
        if self.failure is not None:
            raise self.failure
        self.entries += [result for result in results if not isinstance(result, Refused)]
        return results

    async def _results(self, drafts):
        if self.refuses is None:
            return await super().append(drafts)
        refused = [self.refuses(draft) for draft in drafts]
        passed = [draft for draft, no in zip(drafts, refused, strict=True) if not no]
        results = iter(await super().append(passed))
        refusal = Refused(FULL, code=Code.CANNOT_WRITE, limit="history_entries")
        return [refusal if no else next(results) for no in refused]


class SharedLog(FakeLog):
    """A log that answers when the test lets it, with entries that are not the drafts themselves."""

    at_hand = None

    def __init__(self) -> None:
        super().__init__()
        self.shared = True
        self.unavailable = self.place = self.peers = None
        self.held = False
        self.submitted = None
        self._next = None
        self._send, self._receive = trio.open_memory_channel(100)

    def attend(self, attendance, arrived):
        self.attendance = attendance
        trio.lowlevel.spawn_system_task(self._listen, arrived)

    def statistics(self):
        return None

    async def _listen(self, arrived):
        while True:
            await self._wait()
            self._is_taken = trio.Event()
            arrived()
            await self._is_taken.wait()

    def submit(self, drafts):
        assert self.submitted is None
        self.submitted = list(drafts)
        if not self.held:
            self.answer()

    def answer(self) -> None:
        """Answer the turn that has been submitted."""
        drafts, self.submitted = self.submitted, None
        self._send.send_nowait((drafts, True))

    def bring(self, *drafts) -> None:
        """Bring what another process has asked for."""
        self._send.send_nowait((drafts, False))

    def say(self, spoken) -> None:
        """Say this, and all that comes behind it at once."""
        self._send.send_nowait((spoken, None))

    async def _wait(self):
        if self._next is None:
            try:
                drafts, ours = self._receive.receive_nowait()
            except trio.WouldBlock:
                drafts, ours = await self._receive.receive()
            if ours is None:
                self._next = drafts
                return
            results = [copy.copy(result) for result in await self.append(drafts)]
            self._next = FromLog(answer=results) if ours else FromLog(entries=results)

    def take(self):
        taken, self._next = self._next, None
        if taken is None:
            self._is_taken.set()
        return taken


class Running:
    """A hub and what the tests need to play a turn with it."""

    def __init__(self, hub, log, channel) -> None:
        self.hub = hub
        self.log = log
        self.channel = channel

    def client(self) -> Session:
        """A client that speaks lines."""
        client = Session(FakeLink(), LF, self.channel.clone(), room_limit=1)
        self.post(client, Connected(), commands.Began())
        return client

    def post(self, client, *records) -> None:
        """Put records on the channel: all that is posted until the test waits is taken at once."""
        self.channel.send_nowait((client, records, 0))

    async def settle(self) -> None:
        """Wait until the hub has nothing to do."""
        await trio.testing.wait_all_tasks_blocked()

    async def turn(self, client, *records) -> None:
        self.post(client, *records)
        await self.settle()

    async def program(self, nick=None, *rooms) -> Session:
        """A client that speaks documents, and may be in several rooms."""
        client = self.client()
        own_nick = [] if nick is None else [take(nick)]
        await self.turn(client, commands.Greet(DOCUMENTS), *own_nick, *map(join, rooms))
        client.link.documents()
        return client

    def bot(self) -> Session:
        """An in-process client."""
        client = Session(FakeLink(), EVENTS, self.channel.clone(), room_limit=None, local=True)
        self.post(client, Connected())
        return client

    def call(self, client, record) -> Call:
        """Have an in-process client ask for something."""
        call = Call(record)
        self.post(client, call)
        return call

    async def bring(self, *drafts) -> None:
        """Have a shared log bring what another process has asked for."""
        self.log.bring(*drafts)
        await self.settle()

    async def lose(self, client) -> None:
        """Have a client's connection break."""
        self.channel.send_nowait(Lost(client, "connection lost"))
        await self.settle()

    async def member(self, nick, room="#a") -> Session:
        client = self.client()
        await self.turn(client, take(nick), join(room))
        client.link.lines()
        return client


@asynccontextmanager
async def running_hub(*, before_say=None, rows=(), kept=(), log=None, people=None, **settings):
    log = log or FakeLog()
    send, receive = trio.open_memory_channel(1000)
    # No test waits longer for an answer that never comes.
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            state = State(
                Settings(rate_limit=None, max_clients_per_address=1000, **settings), people
            )
            if people is not None:
                state.tags = people.tags
            hub = Hub(
                state=state,
                log=log,
                table=make_table(
                    rows,
                    accounts=people is not None,
                    moderation=state.settings.room_creator == "operator",
                ),
                hooks=Hooks(before_say),
                kept_rooms=[parse_room(name, 64) for name in kept],
                channel=receive,
                nursery=nursery,
            )
            nursery.start_soon(hub.run)
            yield Running(hub, log, send)
            nursery.cancel_scope.cancel()


def says(text):
    """Whether a draft or a record says this."""
    return lambda it: getattr(it, "text", "") == text


def labelled(record, label):
    return commands.LabelledCommand(record, label)


def take(nick):
    return commands.TakeNick(parse_nick(nick, 32))


def join(room):
    return commands.Join(parse_room(room, 64))


def tell(nick, text):
    return commands.Tell(parse_nick(nick, 32), text)


def resume(client):
    """Be who this client is."""
    return commands.Resume(client.user.id, client.user.token, {})


say, act, topic = commands.Say, commands.Act, commands.SetTopic


def is_empty(hub) -> bool:
    """Whether there is nobody and nothing left, in the log's table of claims neither."""
    state, claims = hub.hub.state, hub.log.claims
    tables = (state.users, state.sessions, state.nicks, state.rooms, state.addresses)
    held = (claims._holders, claims._keys, claims._members, claims._rooms)
    return not any((*tables, *held, state.detached, state.backlog, state.closing))


def told(log, session) -> list[str]:
    """The lines of a client by the order of the log: its own doings, and those around it."""
    where, events = {}, []
    for entry in log.entries:
        own, room = entry.author == session.user.id, where.get(entry.author)
        here = where.get(session.user.id)
        if isinstance(entry, Said):
            events += [entry] if not own and entry.room == here else []
        elif isinstance(entry, NickChanged):
            assert own or room is None
            events += [NickTaken(entry.name.display)] if own else []
        else:
            if room is not None and room == here and not own:
                events.append(Left(room, entry.author, entry.nick))
            where.pop(entry.author, None)
            if isinstance(entry, Entered):
                where[entry.author] = entry.room
                if own:
                    events.append(Welcomed(entry.room, entry.room_name))
                elif entry.room == here:
                    events.append(Joined(entry.room, entry.author, entry.nick))
            elif own:
                events.append(Departed(room, room) if isinstance(entry, Exited) else Goodbye())
    return "".join(LF.render(events)).splitlines()

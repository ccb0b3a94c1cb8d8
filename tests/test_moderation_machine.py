"""Rooms with rules, whatever people do there: nobody does what the rules forbid.

Owners, operators, people with accounts and guests of two networks act, speak, come and go, also at
once. After each step the chat may be upgraded, reloaded, stopped or killed, or its node cut off. A
judge, which knows the rules as docs/moderating.md has them, goes through all that was kept. Others
who begin at that moment keep the same: a process after `kill -9`, or one more node.

To try more of it:
`TRIES=300 pytest -o faulthandler_timeout=0 tests/test_moderation_machine.py`.
"""

from __future__ import annotations

import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from unittest import mock

import trio
from attrs import define, field
from engine import ALWAYS, Engine
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from live_run import LiveRun
from loopback import HOST
from moderation_chats import ROOMS, Chats, Kept, OnFile, OnRedis, kept_by, people_of
from moderation_judge import MODERATOR, ROLES, Judge, People, Texts
from test_persons import PASSWORD

from trio_chat import Chat, Settings
from trio_chat.moderation import rules
from trio_chat.people import networks
from trio_chat.protocol.events import Acted, Removed, Said, TopicSet
from trio_chat.protocol.names import SERVER
from trio_chat.roomlog.sqlite import file as sqlite_file
from trio_chat.roomlog.sqlite import reader
from trio_chat.server import opening

TRIES = int(os.environ.get("TRIES", "5"))
PATIENCE = 20
ACCOUNTS = ("ann", "bob", "kim", "eve")
GUESTS = ("jim", "tom")
NETWORKS = ("127.0.0.2", "127.0.0.3")
SYNC = b"> /quit - leave the chat and disconnect\n"


# The text that each kind of entry has here, if it was not removed.
TEXTS = {Said: "hi", Acted: "waves", TopicSet: "tea"}


@define(eq=False)
class Client:
    """Somebody with telnet, in one of two networks, at one of the chats."""

    network: str
    chat: str
    stream: trio.SocketStream
    peer: str
    got: bytearray = field(factory=bytearray)
    syncs: int = 0
    is_over: bool = False

    async def listen(self) -> None:
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            async for data in self.stream:
                self.got += data
        self.is_over = True


def step(**strategies: st.SearchStrategy) -> Callable:
    """A rule, after which the chat may go on in another way."""

    def wrap(act: Callable) -> Callable:
        @functools.wraps(act)
        def whole(self: ModerationMachine, end: int, **drawn: object) -> None:
            act(self, **drawn)
            self.go_on(end)

        return rule(end=st.integers(0, 15), **strategies)(whole)

    return wrap


class ModerationMachine(RuleBasedStateMachine):
    """Chats that keep the same rooms, and people."""

    chats: Chats

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []
        self.people = People()
        for nick in ACCOUNTS:
            self.people.add(nick)
        self.clients: list[Client] = []
        self.networks: dict[str, str] = {}  # of each user that there ever was
        self.place = Path(tempfile.mkdtemp())
        # The rules of the server at each moment of this step, and what there was before it.
        self.moments = [Judge(self.people)]
        self.acted, self.heard = 0, dict.fromkeys(ROOMS, 0)
        # The lasting state at the last look.
        self.seen: dict[str, Kept] = {}

        @asynccontextmanager
        async def people_of_the_test(*_: object, **__: object):
            yield self.people

        self.patches = [
            mock.patch.object(logging.getLogger("trio_chat"), "error", self._note_error),
            mock.patch.object(opening, "_open_people", people_of_the_test),
            mock.patch.object(networks, "is_local", return_value=False),
            mock.patch.object(rules, "RAID_SLOW", 0),  # nobody here waits
            mock.patch.dict(sqlite_file.SYNCHRONOUS, {"process": "OFF"}),
            # A busy machine would take its time for the many reads here.
            mock.patch.object(reader, "_be_nice"),
        ]
        for patch in self.patches:
            patch.start()
        self.live = LiveRun()
        self.chats = self.make_chats(
            Settings(rate_limit=None, operators=("eve",), max_clients_per_address=100)
        )
        self.chats.leave = self._leave
        self.do(self.chats.open)
        self.people.tags = self.chats.all()[0]._hub.state.tags

    def make_chats(self, settings: Settings) -> Chats:
        return OnFile(self.live, settings, self.place)

    def _note_error(self, text: str, *_: object, **more: object) -> None:
        self.errors.append(f"{text}: {more}")

    def do(self, function, *arguments: object) -> object:
        async def bounded() -> object:
            with trio.fail_after(PATIENCE):
                return await function(*arguments)

        return self.live.call(bounded)

    # --- people -----------------------------------------------------------------------------------

    async def _connect(self, network: str, chat: str) -> Client:
        sock = trio.socket.socket()
        await sock.bind((network, 0))
        await sock.connect((HOST, self.chats.running[chat].port))
        name, port = sock.getsockname()
        client = Client(network, chat, trio.SocketStream(sock), f"{name}:{port}")
        self.live.nursery.start_soon(client.listen)
        return client

    async def _sync(self) -> None:
        """Wait until all that people sent is done, and what follows from it."""
        for _ in range(2):
            for client in self.clients:
                client.syncs += 1
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await client.stream.send_all(b"/help quit\n")
            while any(  # noqa: ASYNC110 - sockets have no event
                client.got.count(SYNC) < client.syncs and not client.is_over
                for client in self.clients
            ):
                await trio.sleep(0.0005)  # until the system has got round to it
            await self.chats.settle()
        for chat in self.chats.all():
            for user in chat._hub.state.users.values():
                if user.session is not None:
                    self.networks[user.id] = self.people.tag(user.session.link.address)

    async def _come_back(self) -> None:
        """Have people whom the server has sent away connect again, as guests."""
        while over := [n for n, client in enumerate(self.clients) if not self._users(client)]:
            for number in over:
                old = self.clients[number]
                await old.stream.aclose()
                self.clients[number] = await self._connect(old.network, old.chat)
            await self._sync()

    async def _send(self, lines: list[tuple[Client, str]]) -> None:
        # In one step of Trio's, so that the hub mostly takes the lines of several in one turn.
        async with trio.open_nursery() as nursery:
            whole: dict[Client, bytes] = {}
            for client, line in lines:
                whole[client] = whole.get(client, b"") + f"{self._with_tags(line)}\n".encode()
            for client, data in whole.items():
                nursery.start_soon(client.stream.send_all, data)
        await self._sync()
        await self._come_back()

    def _with_tags(self, line: str) -> str:
        """A line that names networks by their tags, in the place of their numbers here."""
        for number, network in enumerate(NETWORKS):
            line = line.replace(f"net:{number}", f"net:{self.people.tag(network)}")
        return line

    def send(self, *lines: tuple[Client, str]) -> None:
        self.do(self._send, list(lines))

    def enter(self, number: int) -> None:
        nick = (*ACCOUNTS, *GUESTS)[number]
        if nick in ACCOUNTS:
            self.send((self.clients[number], f"/login {nick}\n{PASSWORD}"))
        else:
            self.send((self.clients[number], f"/nick {nick}"))

    # --- ways to go on ----------------------------------------------------------------------------

    def go_on(self, end: int) -> None:
        """Let a chat go on in another way, after which all is as it was."""
        ways = [(way, name) for way in self.chats.stays for name in self.chats.names]
        ways += [(way, self.chats.names[-1]) for way in self.chats.ends]
        if end >= len(ways):
            return
        self.rules_hold()
        way, name = ways[end]
        before = self.do(self._kept), self._people()
        self.do(getattr(self.chats, way), name)
        if way in self.chats.stays:
            self.do(self._sync)
            assert (self.do(self._kept), self._people()) == before
            return
        self.do(self._come_back)
        assert self.do(self._kept) == before[0]
        for number, client in enumerate(self.clients):
            if client.chat == name:
                self.enter(number)

    async def _leave(self, name: str) -> None:
        for client in self.clients:
            if client.chat == name:
                await client.stream.aclose()
                client.is_over = True

    async def _kept(self) -> dict[str, Kept]:
        """The lasting state of all rooms."""
        log = self.chats.all()[0]._log
        return {room: await kept_by(log, room, {}) for room in (*ROOMS, SERVER)}

    def _people(self) -> list[dict]:
        return [people_of(chat) for chat in self.chats.all()]

    # --- truth ------------------------------------------------------------------------------------

    def chat(self, client: Client) -> Chat:
        return self.chats[client.chat]

    def user(self, client: Client):
        [user] = self._users(client)
        return user

    def _users(self, client: Client) -> list:
        """The user of a client; nobody, if the server has sent it away."""
        return [
            user
            for user in self.chat(client)._hub.state.users.values()
            if user.session is not None and user.session.link.peer == client.peer
        ]

    def entries(self, room: str) -> list:
        return self.do(self.chats.all()[0]._log.read, room, 0, 10_000)

    def actions(self, room: str) -> list:
        return self.do(self.chats.all()[0]._log.actions, room, None, 1_000)

    def judged(self, room: str) -> Judge:
        """Go through all that happened in a room."""
        judge, actions = Judge(self.people), self.actions(room)
        texts, kept = Texts(judge), self.entries(room)
        kept = [entry for entry in kept if isinstance(entry, Said | Acted | TopicSet | Removed)]
        for thing in sorted([*actions, *kept], key=lambda thing: thing.position):
            if isinstance(thing, Removed):
                texts.hear(thing)
                continue
            if not isinstance(thing, Said | Acted | TopicSet):
                judge.hear(thing)
                continue
            tag = self.networks.get(thing.author, "none")  # that of a guest
            is_topic = isinstance(thing, TopicSet)
            # Between nodes, what was on its way passes a mute.
            is_allowed = judge.may_say(thing.author, tag, topic=is_topic)
            assert is_allowed or len(self.chats.names) > 1, (thing, judge.fields)
            texts.authors[thing.position] = thing.author
        for entry in kept:
            if not isinstance(entry, Removed):
                is_gone = entry.position in texts.gone
                assert entry.text == ("" if is_gone else TEXTS[type(entry)]), (entry, texts.gone)
        return judge

    def judged_server(self) -> Judge:
        """Go through the actions for the whole server, and the messages of this step."""
        judge = Judge(self.people)
        moments = [Judge(self.people)]
        for action in self.actions(SERVER):
            judge.hear(action)
            moments.append(Judge(self.people, judge.fields))
        self.moments, self.acted = moments[self.acted :], len(moments) - 1
        for room in ROOMS:
            entries = self.entries(room)
            for entry in entries[self.heard[room] :]:
                if isinstance(entry, Said | Acted | TopicSet):
                    about = entry.author, self.networks.get(entry.author, "none")
                    assert any(then.may_speak_anywhere(*about) for then in self.moments), entry
            self.heard[room] = len(entries)
        return judge

    @invariant()
    def rules_hold(self) -> None:
        assert not self.errors
        judges = {SERVER: self.judged_server(), **{room: self.judged(room) for room in ROOMS}}
        for chat in self.chats.all():
            self.look_at(chat, judges)
        self.do(self.look_as_another, judges)

    def look_at(self, chat: Chat, judges: dict[str, Judge]) -> None:
        """Check what a chat goes by, and that nobody is where it may not be."""
        state = chat._hub.state
        for name, judge in judges.items():
            if self.chats.follows(chat, name):
                assert dict(chat._log.snapshot(name).rules.fields) == judge.fields
                room = state.server if name == SERVER else state.rooms.get(name)
                goes_by = {} if room is None or room.rules is None else room.rules._fields
                assert room is None or goes_by == judge.fields
            members = state.rooms[name].members if name in state.rooms else ()
            for user in members:
                tag = self.networks[user.id]
                for one in (judge, judges[SERVER]):
                    assert not one.has_penalty("ban", user.person, tag), (user.person, one.fields)

    async def look_as_another(self, judges: dict[str, Judge]) -> None:
        """Check that somebody who begins now finds the same."""
        log = self.chats.all()[0]._log
        kept = {room: await kept_by(log, room, judge.fields) for room, judge in judges.items()}
        if kept != self.seen:
            async with self.chats.another() as look:
                assert {room: await look(room) for room in judges} == kept
            self.seen = kept

    # --- rules

    @initialize(rooms=st.lists(st.sampled_from(ROOMS), min_size=6, max_size=6))
    def begin(self, rooms: list[str]) -> None:
        for number, room in enumerate(rooms):
            chat = self.chats.names[number // 2 % len(self.chats.names)]
            self.clients.append(self.do(self._connect, NETWORKS[number % 2], chat))
            self.enter(number)
            self.send((self.clients[-1], f"/join {room}"), (self.clients[-1], "/claim"))

    who = st.integers(0, 6)
    targets = st.one_of(
        st.sampled_from([*ACCOUNTS, *GUESTS, *ACCOUNTS]),
        st.integers(1, 12).map("@{}".format),
        st.sampled_from(["net:0", "net:1"]),
    )
    lines = st.one_of(
        st.builds("/role {} {}".format, st.sampled_from(ACCOUNTS), st.sampled_from(ROLES)),
        st.builds("/role {} {}".format, st.sampled_from(ACCOUNTS), st.just("operator")),
        st.builds("/{} {}".format, st.sampled_from(["kick", "mute", "ban"]), targets),
        st.builds("/{} {} forever x".format, st.sampled_from(["mute", "ban"]), targets),
        st.integers(1, 20).map("/undo A{}".format),
        st.integers(1, 20).map("/remove {}".format),
        st.builds("/remove {} spam".format, st.one_of(targets, st.just("1-20"))),
        st.sampled_from(
            [
                *("/claim", "/claim", "/leave", "/room join accounts", "/room join members"),
                *("/room join all", "/room speak voice", "/room speak accounts", "/room speak all"),
                *("/room new-people hold", "/room new-people free", "/raid 30m", "/raid off"),
                *("/held", "/held drop 1"),
                *("/room topic operators", "/room history members", "/log", "/history", "/room"),
            ]
        ),
        st.sampled_from(ACCOUNTS).map("/invite {}".format),
        st.builds("/{} server {} 2h x".format, st.sampled_from(["mute", "ban"]), targets),
        st.sampled_from(["/raid server 30m", "/raid server off", "/log server", "/announce x"]),
        st.integers(1, 6).map("/undo server A{}".format),
        st.sampled_from(ROOMS).map("/join {}".format),
        st.sampled_from(ROOMS).map("/join {}".format),
        st.sampled_from(["/msg hi", "/msg hi", "/me waves", "/topic tea", "/logout"]),
        st.sampled_from(ACCOUNTS).map(lambda nick: f"/login {nick}\n{PASSWORD}"),
        st.sampled_from(GUESTS).map("/nick {}".format),
    )

    def client(self, who: int) -> Client:
        return self.clients[who % len(self.clients)]

    @step(who=who, some=st.lists(lines, min_size=1, max_size=3))
    def act(self, who: int, some: list[str]) -> None:
        self.send(*((self.client(who), line) for line in some))

    @step(some=st.lists(st.tuples(who, lines), min_size=2, max_size=6))
    def act_at_once(self, some: list[tuple[int, str]]) -> None:
        self.send(*((self.client(who), line) for who, line in some))

    @step(who=who, room=st.sampled_from(ROOMS), verb=st.sampled_from(["/msg hi", "/topic tea"]))
    def speak(self, who: int, room: str, verb: str) -> None:
        """One alone enters and speaks just if the rules let it."""
        client = self.client(who)
        self.send((client, "/leave"))
        user, judge, tag = self.user(client), self.judged(room), self.people.tag(client.network)
        server, is_new = self.judged_server(), room not in self.chat(client)._hub.state.rooms
        self.send((client, f"/join {room}"))
        may_be_here = not server.has_penalty("ban", user.person, tag)
        may_enter = may_be_here and not (is_new and server.is_held(user.person))
        may_enter = may_enter and judge.may_enter(user.person, tag)
        assert (room in user.rooms) == may_enter, (judge.fields, server.fields)
        before = len(self.entries(room))
        self.send((client, verb))
        may = room in user.rooms and judge.may_say(user.person, tag, topic="topic" in verb)
        may = may and server.may_speak_anywhere(user.person, tag)
        assert (len(self.entries(room)) > before) == may, (judge.fields, server.fields)

    @step(who=st.integers(0, 2), verb=st.sampled_from(["/msg hi", "/me waves", "/topic tea"]))
    def speak_where_one_is(self, who: int, verb: str) -> None:
        """Somebody in a room speaks just if the rules let it: mostly somebody whom they do not."""
        server, is_topic, here = self.judged_server(), "topic" in verb, []
        for client in self.clients:
            for room in (user := self.user(client)).rooms:
                tag = self.people.tag(client.network)
                may = self.judged(room).may_say(user.person, tag, topic=is_topic)
                may = may and server.may_speak_anywhere(user.person, tag)
                here.append((may, len(here), client, room))
        if here:
            may, _, client, room = sorted(here)[who % len(here)]
            before = len(self.entries(room))
            self.send((client, verb))
            assert (len(self.entries(room)) > before) == may

    @step(whom=who, verb=st.sampled_from(["mute", "mute", "ban"]))
    def act_on_the_server(self, whom: int, verb: str) -> None:
        """The operator of the server, who may have gone, acts on somebody who is here."""
        eve, target = self.clients[ACCOUNTS.index("eve")], self.client(whom)
        self.enter(ACCOUNTS.index("eve"))
        self.send((eve, f"/{verb} server {self.user(target).nick} 2h x"))

    @step(
        who=who,
        room=st.sampled_from(ROOMS),
        name=st.sampled_from(ACCOUNTS),
        role=st.sampled_from(ROLES),
    )
    def give_a_role(self, who: int, room: str, name: str, role: str) -> None:
        """One alone gives a role just if the rules let it."""
        client = self.client(who)
        self.send((client, f"/join {room}"))
        user, judge = self.user(client), self.judged(room)
        if room not in user.rooms:
            return
        value = None if role == "none" else role
        may = judge.may_change(user.person, f"role a.{name}", value)
        before = len(self.actions(room))
        self.send((client, f"/role {name} {role}"))
        assert (len(self.actions(room)) > before) == may, (user.person, name, role, judge.fields)

    @step(who=who, verb=st.sampled_from(["mute", "ban"]), whom=targets)
    def do_and_undo(self, who: int, verb: str, whom: str) -> None:
        """To undo an action leaves the rules as they were."""
        client = self.client(who)
        for room in self.user(client).rooms:
            before, count = self.judged(room).fields, len(self.actions(room))
            self.send((client, f"/{verb} {whom}"))
            actions = self.actions(room)
            if len(actions) > count:
                self.send((client, f"/undo A{actions[-1].position}"))
                assert len(self.actions(room)) == count + 2
                assert self.judged(room).fields == before

    @step(
        who=st.sampled_from([0, 0, 0, 1, 2]),
        by=st.sampled_from([0, 0, 1]),
        others=st.lists(who, min_size=1, max_size=4, unique=True),
        whom=st.one_of(targets, st.just("1-90"), st.sampled_from(["1-9", "5-25", "10-60"])),
        role=st.sampled_from(["", "operator", "owner"]),
    )
    def remove_and_undo(self, who: int, by: int, others: list[int], whom: str, role: str) -> None:
        """To undo a removal leaves all texts as they were."""
        if not (moderators := self.moderators()):
            return
        _, room = moderators[-1]
        for other in others:
            self.send((self.client(other), f"/join {room}"), (self.client(other), "/msg hi"))
            if role:
                nick = self.user(self.client(other)).nick
                self.send((moderators[-1][0], f"/role {nick} {role}"))
        if not (moderators := [one for one in self.moderators() if one[1] == room]):
            return
        client, _ = moderators[who % len(moderators)]
        before = self.entries(room)
        if room not in self.user(client).rooms:
            return  # it was one of the others, and has gone to its own room
        self.send((client, f"/remove {whom}"))
        if len(after := self.entries(room)) == len(before) or after[-1].own:
            return
        removed = after[-1]
        here = [one for one, its_room in self.moderators() if its_room == room]
        for undoer in (here[by % len(here)], client):
            self.send((undoer, f"/undo A{removed.position}"))
        after = self.entries(room)
        undone = after[len(before) + 1]  # the one who removed them may always do that
        assert (undone.undoes, undone.positions) == (removed.position, removed.positions)
        assert after[: len(before)] == before

    def moderators(self) -> list[tuple[Client, str]]:
        """The people who may act in their room, the lowest first."""
        found = []
        for client in self.clients:
            for room in (user := self.user(client)).rooms:
                role = self.judged(room).role(user.person)
                if role >= MODERATOR:
                    found.append((role, len(found), client, room))
        return [(client, room) for _, _, client, room in sorted(found)]

    @step(who=who, whom=who, verb=st.sampled_from(["mute", "ban", "kick"]), texts=st.integers(1, 3))
    def act_while_someone_speaks(self, who: int, whom: int, verb: str, texts: int) -> None:
        """Nothing that comes behind an action passes it, within one turn either."""
        if not (moderators := self.moderators()):
            return
        moderator, room = moderators[who % len(moderators)]
        user, target = self.user(moderator), self.client(whom)
        self.send((target, f"/join {room}"))
        nick = self.user(target).nick
        if user is not self.user(target) and room in self.user(target).rooms:
            self.send((moderator, f"/{verb} {nick}"), *[(target, "/msg hi")] * texts)

    @step(who=who, whom=who, name=st.sampled_from(ACCOUNTS), verb=st.sampled_from(["mute", "ban"]))
    def become_who_is_banned(self, who: int, whom: int, name: str, verb: str) -> None:
        """Somebody in a room becomes a person that is banned or muted there."""
        if not (moderators := self.moderators()):
            return
        moderator, room = moderators[who % len(moderators)]
        other = self.client(whom)
        if other is not moderator:
            self.send((moderator, f"/{verb} {name}"), (other, "/logout"))
            self.send((other, f"/join {room}"))
            self.send((other, f"/login {name}"), (other, PASSWORD), (other, "/msg hi"))

    @step(back=st.integers(1, 4), who=st.sampled_from([0, 0, 1, 2]))
    def undo(self, back: int, who: int) -> None:
        """Somebody, mostly of a low role, undoes what was done not long ago."""
        if not (moderators := self.moderators()):
            return
        moderator, room = moderators[who % len(moderators)]
        if not (actions := self.actions(room)):
            return  # an operator of the server moderates rooms in which nobody has acted
        action = actions[-back:][0]
        before = self.judged(room).fields
        self.send((moderator, f"/undo A{action.position}"))
        if (newest := self.actions(room)[-1]).text.startswith(f"undid A{action.position}:"):
            assert dict(newest.now) == dict(action.was)
            assert self.judged(room).fields == {
                name: value for name, value in {**before, **action.was}.items() if value is not None
            }

    @step(who=who, verb=st.sampled_from(["mute", "ban"]), whom=targets)
    def act_for_the_server(self, who: int, verb: str, whom: str) -> None:
        """Only an operator of the server acts for all of it, and may undo that."""
        client = self.client(who)
        is_operator = self.user(client).person == "a.eve"
        before, count = self.judged_server().fields, len(self.actions(SERVER))
        self.send((client, f"/{verb} server {whom} forever x"))
        actions = self.actions(SERVER)
        assert is_operator or len(actions) == count
        if len(actions) > count and self.user(client).person == "a.eve":
            self.rules_hold()
            self.send((client, f"/undo server A{actions[-1].position}"))
            assert self.judged_server().fields == before

    def teardown(self) -> None:
        try:
            self.do(self.chats.close)
        finally:
            self.live.close()
            for patch in self.patches:
                patch.stop()
            shutil.rmtree(self.place)


class OnNodes(ModerationMachine):
    """The same on two nodes."""

    redis: Engine

    def make_chats(self, settings: Settings) -> Chats:
        self.redis.ask("FLUSHALL")
        return OnRedis(self.live, settings, self.redis)


# Without shrinking, which takes longer than a test may: add Phase.shrink to look into a failure.
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
TestModeration = ModerationMachine.TestCase
TestModeration.settings = settings(
    max_examples=TRIES, stateful_step_count=12, deadline=None, phases=PHASES
)


class TestModerationOnNodes(OnNodes.TestCase):
    settings = settings(
        max_examples=max(1, TRIES // 3), stateful_step_count=12, deadline=None, phases=PHASES
    )

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory()
        OnNodes.redis = Engine(Path(cls.folder.name) / "redis", *ALWAYS)

    @classmethod
    def tearDownClass(cls) -> None:
        OnNodes.redis.close()
        cls.folder.cleanup()

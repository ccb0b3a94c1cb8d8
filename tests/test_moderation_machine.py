"""Rooms with rules, whatever people do there: nobody does what the rules forbid.

Owners, operators, people with accounts and guests of two networks act, speak, come and go, also at
once, through upgrades and restarts. A judge, which knows the rules as docs/moderating.md has them,
goes through all that the log has kept.

To try more of it:
`TRIES=300 pytest -o faulthandler_timeout=0 tests/test_moderation_machine.py`.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from unittest import mock

import trio
from attrs import define, evolve, field
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from live_run import LiveRun
from loopback import HOST
from snapshots import hand_over, succeed
from test_persons import PASSWORD, FakePeople

from trio_chat import Settings, open_chat
from trio_chat.moderation import rules
from trio_chat.moderation.rules import Penalty
from trio_chat.people import networks
from trio_chat.protocol.events import Acted, Removed, Said, TopicSet
from trio_chat.roomlog.removal import each
from trio_chat.roomlog.sqlite import file as sqlite_file
from trio_chat.server import opening

TRIES = int(os.environ.get("TRIES", "15"))
PATIENCE = 20
ROOMS = ("#a", "#b")
ACCOUNTS = ("ann", "bob", "kim", "eve")
SERVER_OPERATOR = "a.eve"
GUESTS = ("jim", "tom")
NETWORKS = ("127.0.0.2", "127.0.0.3")
ROLES = ("none", "member", "voice", "operator", "owner")
MODERATOR, OWNER, SERVER = 3, 4, 5
SYNC = b"> /quit - leave the chat and disconnect\n"


class People(FakePeople):
    """Accounts that are as old as the server."""

    def add(self, nick: str) -> None:
        super().add(nick)
        self.accounts[nick] = evolve(self.accounts[nick], made=1.0)


# --- the judge ------------------------------------------------------------------------------------


@define
class Judge:
    """The rules of one room after the actions so far, and whether somebody may do something."""

    people: People
    fields: dict[str, str] = field(factory=dict)

    def role(self, person: str) -> int:
        if person == SERVER_OPERATOR:
            return SERVER
        return self.given(person)

    def given(self, person: str) -> int:
        return ROLES.index(self.fields.get(f"role {person}", "none"))

    def owners(self) -> set[str]:
        return {
            name[5:]
            for name, value in self.fields.items()
            if (name[:5], value) == ("role ", "owner")
        }

    def has_penalty(self, kind: str, person: str, tag: str) -> bool:
        """Whether a mute or a ban counts for somebody in this network."""
        if self.role(person) >= MODERATOR:
            return False
        if f"{kind} {person}" in self.fields:
            return True
        found = self.fields.get(f"{kind} net:{tag}")
        if found is None:
            return False
        is_older = person.startswith("a.") and Penalty.read(found).spares > 1.0
        return not is_older and self.role(person) == 0

    def is_held(self, person: str) -> bool:
        """Whether messages of somebody wait. All accounts here are old, and all guests new."""
        is_new = not person.startswith("a.") and not self.role(person)
        return is_new and ("raid" in self.fields or "set new-people" in self.fields)

    def may_enter(self, person: str, tag: str) -> bool:
        if self.role(person) >= MODERATOR:
            return True
        if self.has_penalty("ban", person, tag):
            return False
        join = self.fields.get("set join", "all")
        if self.role(person) or f"invite {person}" in self.fields or join == "all":
            return True
        return join == "accounts" and person.startswith("a.")

    def may_say(self, person: str, tag: str, *, topic: bool = False) -> bool:
        if self.role(person) >= MODERATOR:
            return True
        if self.has_penalty("mute", person, tag) or self.is_held(person):
            return False
        if topic and self.fields.get("set topic") == "operators":
            return False
        speak = self.fields.get("set speak", "all")
        if speak == "all" or self.role(person) >= ROLES.index("voice"):
            return True
        return speak == "accounts" and person.startswith("a.")

    def may_change(self, actor: str, name: str, value: str | None) -> bool:
        """Whether somebody may change a field, but by a claim."""
        kind, _, target = name.partition(" ")
        # A role in the room says nothing of operators of the server.
        mine, old = self.role(actor), self.given(target)
        if kind == "role":
            new = ROLES.index(value or "none")
            if target == actor:
                steps_down = new < old and self.owners() != {actor}
                return steps_down or (new >= old and old < mine == SERVER)
            return mine >= MODERATOR and old < mine and (new < mine or new == mine == OWNER)
        if kind in {"mute", "ban"}:
            return mine >= MODERATOR and old < mine
        return mine >= MODERATOR

    def hear(self, action) -> None:
        """Follow an action that happened. Fails if it should not have."""
        was = {name: self.fields.get(name) for name in action.now}
        assert was == dict(action.was), action
        if action.text == "claimed the room":
            assert self.role(action.author) != OWNER or not self.owners()
            assert not self.owners(), action
            assert set(action.now) == {f"role {action.author}"}, action
            assert action.author.startswith("a."), action
            highest = max([0, *(self.role(n[5:]) for n in self.fields if n[:5] == "role ")])
            assert self.fields.get(f"role {action.author}", "none") == ROLES[highest], action
        for name, value in action.now.items():
            if action.text != "claimed the room":
                assert self.may_change(action.author, name, value), (action, self.fields)
        if not action.now:
            assert self.role(action.author) >= MODERATOR, action
        if found := re.match(r"(?:kicked|muted|banned) (\w+)", action.text):
            target = self.people.accounts.get(found[1])
            assert target is None or self.role(target.id) < self.role(action.author), action
        fields = {**self.fields, **action.now}
        self.fields = {name: value for name, value in fields.items() if value is not None}


# The text that each kind of entry has here, if it was not removed.
TEXTS = {Said: "hi", Acted: "waves", TopicSet: "tea"}


@define
class Texts:
    """The messages of one room so far, and those whose texts are gone, as the judge has it."""

    judge: Judge
    authors: dict[int, str] = field(factory=dict)
    gone: dict[int, int] = field(factory=dict)  # by position: the action that took it, 0 for none

    def hear(self, entry: Removed) -> None:
        """Follow a removal, or its undo. Fails if it should not have happened."""
        actor = entry.author
        for position in each(entry.positions):
            author = self.authors.get(position)
            if author is None:
                continue  # an action, which is no message
            is_lower = self.judge.role(author) < self.judge.role(actor) >= MODERATOR
            assert is_lower or author == actor, entry
            assert author == actor or not entry.own, entry
            if entry.undoes:
                assert self.gone.pop(position) == entry.undoes, entry
            else:
                self.gone.setdefault(position, 0 if entry.own else entry.position)


# --- people ---------------------------------------------------------------------------------------


@define(eq=False)
class Client:
    """Somebody with telnet, in one of two networks."""

    network: str
    stream: trio.SocketStream
    peer: str
    got: bytearray = field(factory=bytearray)
    syncs: int = 0

    async def listen(self) -> None:
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            async for data in self.stream:
                self.got += data


class ModerationMachine(RuleBasedStateMachine):
    """A chat with a store, and people."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []
        self.people = People()
        for nick in ACCOUNTS:
            self.people.add(nick)
        self.clients: list[Client] = []
        self.networks: dict[str, str] = {}  # of each user that there ever was
        self.place = Path(tempfile.mkdtemp())

        @asynccontextmanager
        async def people_of_the_test(*_: object, **__: object):
            yield self.people

        self.patches = [
            mock.patch.object(logging.getLogger("trio_chat"), "error", self._note_error),
            mock.patch.object(opening, "_open_people", people_of_the_test),
            mock.patch.object(networks, "is_local", return_value=False),
            mock.patch.object(rules, "RAID_SLOW", 0),  # nobody here waits
            mock.patch.dict(sqlite_file.SYNCHRONOUS, {"process": "OFF"}),
        ]
        for patch in self.patches:
            patch.start()
        self.settings = Settings(
            rate_limit=None,
            operators=("eve",),
            store=f"sqlite:{self.place / 'chat.db'}",
            max_clients_per_address=100,
        )
        self.live = LiveRun()
        self.do(self._open)

    def _note_error(self, text: str, *_: object, **more: object) -> None:
        self.errors.append(f"{text}: {more}")

    def do(self, function, *arguments: object) -> object:
        async def bounded() -> object:
            with trio.fail_after(PATIENCE):
                return await function(*arguments)

        return self.live.call(bounded)

    # --- the chat

    async def _open(self) -> None:
        self.chat = await self.live.nursery.start(self._run_chat, None)
        [(_, self.port)] = await self.chat.listen(host=HOST, port=0)

    async def _run_chat(self, handover, task_status) -> None:
        self.over, self.ended = over, ended = trio.Event(), trio.Event()
        async with AsyncExitStack() as stack:
            if handover is None:
                opened = open_chat(self.settings)
            else:
                opened = succeed(handover, self.settings)
            task_status.started(await stack.enter_async_context(opened))
            await over.wait()
        ended.set()

    async def _upgrade(self) -> None:
        over = self.over
        handover = await hand_over(self.chat)
        self.chat = await self.live.nursery.start(self._run_chat, handover)
        over.set()

    async def _restart(self) -> None:
        self.over.set()
        for client in self.clients:
            await client.stream.aclose()
        await self.ended.wait()
        await self._open()
        old, self.clients = self.clients, []
        for client in old:
            await self._connect(client.network)

    async def _connect(self, network: str) -> None:
        sock = trio.socket.socket()
        await sock.bind((network, 0))
        await sock.connect((HOST, self.port))
        name, port = sock.getsockname()
        client = Client(network, trio.SocketStream(sock), f"{name}:{port}")
        self.live.nursery.start_soon(client.listen)
        self.clients.append(client)
        await self._sync()

    async def _sync(self) -> None:
        """Wait until all that people sent is done, and what follows from it."""
        for _ in range(2):
            for client in self.clients:
                client.syncs += 1
                await client.stream.send_all(b"/help quit\n")
            while any(c.got.count(SYNC) < c.syncs for c in self.clients):  # noqa: ASYNC110 - sockets have no event
                await trio.sleep(0.0005)  # until the system has got round to it
        for user in self.chat._hub.state.users.values():
            self.networks[user.id] = self.people.tag(user.session.link.address)

    async def _send(self, lines: list[tuple[Client, str]]) -> None:
        # In one step of Trio's, so that the hub mostly takes the lines of several in one turn.
        async with trio.open_nursery() as nursery:
            whole: dict[Client, bytes] = {}
            for client, line in lines:
                whole[client] = whole.get(client, b"") + f"{line}\n".encode()
            for client, data in whole.items():
                nursery.start_soon(client.stream.send_all, data)
        await self._sync()

    def send(self, *lines: tuple[Client, str]) -> None:
        self.do(self._send, list(lines))

    # --- truth

    def user(self, client: Client):
        [user] = [
            user
            for user in self.chat._hub.state.users.values()
            if user.session is not None and user.session.link.peer == client.peer
        ]
        return user

    def entries(self, room: str) -> list:
        return self.do(self.chat._log.read, room, 0, 10_000)

    def actions(self, room: str) -> list:
        return self.do(self.chat._log.actions, room, None, 1_000)

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
            assert judge.may_say(thing.author, tag, topic=is_topic), (thing, judge.fields)
            texts.authors[thing.position] = thing.author
        for entry in kept:
            if not isinstance(entry, Removed):
                is_gone = entry.position in texts.gone
                assert entry.text == ("" if is_gone else TEXTS[type(entry)]), (entry, texts.gone)
        return judge

    @invariant()
    def rules_hold(self) -> None:
        assert not self.errors
        state = self.chat._hub.state
        for name in ROOMS:
            judge = self.judged(name)
            assert dict(self.chat._log.snapshot(name).rules.fields) == judge.fields
            room = state.rooms.get(name)
            for user in () if room is None else room.members:
                tag = self.people.tag(user.session.link.address)
                assert not judge.has_penalty("ban", user.person, tag), (user.person, judge.fields)

    # --- rules

    @initialize(rooms=st.lists(st.sampled_from(ROOMS), min_size=6, max_size=6))
    def begin(self, rooms: list[str]) -> None:
        nicks = ("ann", "bob", "kim", "eve", *GUESTS)
        for number, (nick, room) in enumerate(zip(nicks, rooms, strict=True)):
            self.do(self._connect, NETWORKS[number % 2])
            self.enter(self.clients[-1], nick)
            self.send((self.clients[-1], f"/join {room}"), (self.clients[-1], "/claim"))

    def enter(self, client: Client, nick: str) -> None:
        if nick in ACCOUNTS:
            self.send((client, f"/login {nick}"), (client, PASSWORD))
        else:
            self.send((client, f"/nick {nick}"))

    who = st.integers(0, 6)
    targets = st.one_of(
        st.sampled_from([*ACCOUNTS, *GUESTS, *ACCOUNTS]),
        st.integers(1, 12).map("@{}".format),
        st.sampled_from(NETWORKS).map(lambda network: f"net:{People().tag(network)}"),
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
        st.sampled_from(ROOMS).map("/join {}".format),
        st.sampled_from(ROOMS).map("/join {}".format),
        st.sampled_from(["/msg hi", "/msg hi", "/me waves", "/topic tea", "/logout"]),
        st.sampled_from(ACCOUNTS).map(lambda nick: f"/login {nick}\n{PASSWORD}"),
        st.sampled_from(GUESTS).map("/nick {}".format),
    )

    def client(self, who: int) -> Client:
        return self.clients[who % len(self.clients)]

    @rule(who=who, some=st.lists(lines, min_size=1, max_size=3))
    def act(self, who: int, some: list[str]) -> None:
        self.send(*((self.client(who), line) for line in some))

    @rule(some=st.lists(st.tuples(who, lines), min_size=2, max_size=6))
    def act_at_once(self, some: list[tuple[int, str]]) -> None:
        self.send(*((self.client(who), line) for who, line in some))

    @rule(who=who, room=st.sampled_from(ROOMS), verb=st.sampled_from(["/msg hi", "/topic tea"]))
    def speak(self, who: int, room: str, verb: str) -> None:
        """One alone enters and speaks just if the rules let it."""
        client = self.client(who)
        self.send((client, "/leave"))
        user, judge, tag = self.user(client), self.judged(room), self.people.tag(client.network)
        self.send((client, f"/join {room}"))
        assert (room in user.rooms) == judge.may_enter(user.person, tag), judge.fields
        before = self.chat._log.snapshot(room).position
        self.send((client, verb))
        may = room in user.rooms and judge.may_say(user.person, tag, topic="topic" in verb)
        assert (self.chat._log.snapshot(room).position > before) == may, judge.fields

    @rule(
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

    @rule(who=who, verb=st.sampled_from(["mute", "ban"]), whom=targets)
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

    @rule(
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

    @rule(who=who, whom=who, verb=st.sampled_from(["mute", "ban", "kick"]), texts=st.integers(1, 3))
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

    @rule(who=who, whom=who, name=st.sampled_from(ACCOUNTS), verb=st.sampled_from(["mute", "ban"]))
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

    @rule(back=st.integers(1, 4), who=st.sampled_from([0, 0, 1, 2]))
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

    @rule()
    def upgrade(self) -> None:
        self.do(self._upgrade)

    @rule()
    def restart(self) -> None:
        self.do(self._restart)
        for client, nick in zip(self.clients, (*ACCOUNTS, *GUESTS), strict=False):
            self.enter(client, nick)

    def teardown(self) -> None:
        try:
            self.do(self._close)
        finally:
            self.live.close()
            for patch in self.patches:
                patch.stop()
            shutil.rmtree(self.place)

    async def _close(self) -> None:
        self.over.set()
        for client in self.clients:
            await client.stream.aclose()
        await self.ended.wait()


TestModeration = ModerationMachine.TestCase
# Without shrinking, which takes longer than a test may: add Phase.shrink to look into a failure.
TestModeration.settings = settings(
    max_examples=TRIES,
    stateful_step_count=15,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)

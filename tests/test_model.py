"""A model of rooms and nicks, a page long, says what each client of a live chat sees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from unittest import mock

import trio
import trio.testing
from attrs import define, field
from hubs import SharedLog
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from live_run import LiveRun

from trio_chat import Settings, open_chat
from trio_chat.roomlog.retention import Retention
from trio_chat.testing import LineClient, line_client

MAX_ROOMS = 3
LOBBY = "#lobby"
SETTINGS = Settings(rate_limit=None, max_rooms=MAX_ROOMS, keep_rooms=(LOBBY,))

# Each nick with the form it is found by, and a word for all that look like it.
NICKS = {
    "john": ("john", "john"),
    "JOHN": ("john", "john"),
    "jоhn": ("jоhn", "john"),  # with a Cyrillic o
    "mary": ("mary", "mary"),
    "rnary": ("rnary", "mary"),
    "jack": ("jack", "jack"),
}
ROOMS = {"#general": "#general", "#General": "#general", "general": "general", "#go": "#go"}
ROOMS[LOBBY] = LOBBY


# --- the model ------------------------------------------------------------------------------------


@define
class Person:
    nick: str = "anonymous"
    room: str | None = None
    wire: list[str] = field(factory=list)


@define
class Place:
    shown: str
    topic: str = ""
    members: list[int] = field(factory=list)


@define
class Model:
    """A model of the effects of lines, one after the other, without turns and records."""

    people: dict[int, Person] = field(factory=dict)
    gone: dict[int, Person] = field(factory=dict)
    rooms: dict[str, Place] = field(factory=lambda: {LOBBY: Place(LOBBY)})
    # A topic is its room's name's: it outlives the room.
    topics: dict[str, str] = field(factory=dict)

    @property
    def wires(self) -> dict[int, list[str]]:
        """The lines for everyone, for those who are gone too."""
        return {number: one.wire for number, one in (self.people | self.gone).items()}

    def copy(self) -> Model:
        """Another one that goes on by itself."""

        def people(some: dict[int, Person]) -> dict[int, Person]:
            return {n: Person(one.nick, one.room, one.wire.copy()) for n, one in some.items()}

        return Model(
            people(self.people),
            people(self.gone),
            {n: Place(one.shown, one.topic, one.members.copy()) for n, one in self.rooms.items()},
            self.topics.copy(),
        )

    def take(self, who: int, lines: list[str]) -> None:
        for line in lines:
            if who in self.people:  # what follows on /quit counts for nothing
                command, _, arguments = line.removeprefix("/").partition(" ")
                getattr(self, f"do_{command}")(who, *([arguments] if arguments else []))

    def leave(self, who: int) -> None:
        """Someone's connection has come to its end."""
        if who in self.people:
            self._go_out(who)
            self.gone[who] = self.people.pop(who)

    def _tell_others(self, who: int, line: str) -> None:
        for member in self.rooms[self.people[who].room].members:
            if member != who:
                self.people[member].wire.append(line)

    def _place(self, who: int) -> Place | None:
        person = self.people[who]
        if person.room is None:
            person.wire.append("err: you are in no room; use /join ROOM first")
            return None
        return self.rooms[person.room]

    def _go_out(self, who: int) -> None:
        person = self.people[who]
        if person.room is not None:
            self._tell_others(who, f"> {person.nick} has left the room")
            place = self.rooms[person.room]
            place.members.remove(who)
            if not place.members and person.room != LOBBY:
                del self.rooms[person.room]
            person.room = None

    def do_nick(self, who: int, nick: str) -> None:
        person = self.people[who]
        others = [other for other in self.people.values() if other is not person]
        if NICKS[nick][1] in {NICKS[other.nick][1] for other in others if other.nick in NICKS}:
            person.wire.append(
                f"err: the nick {nick} is taken, or looks like one that is: please choose another"
            )
            return
        if person.room is not None and nick != person.nick:
            self._tell_others(who, f"> {person.nick} is now known as {nick}")
        person.nick = nick
        person.wire.append(f"> all right, I will call you {nick}")

    def do_join(self, who: int, name: str) -> None:
        person, folded = self.people[who], ROOMS[name]
        if person.room == folded:
            person.wire.append(f"err: you are in {self.rooms[folded].shown} already")
            return
        if folded not in self.rooms and len(self.rooms) >= MAX_ROOMS:
            person.wire.append(
                "err: there are too many rooms; please join one that exists (/rooms lists them)"
            )
            return
        left = person.room
        self._go_out(who)
        place = self.rooms.setdefault(folded, Place(name, self.topics.get(folded, "")))
        place.members.append(who)
        person.room = folded
        self._tell_others(who, f"> {person.nick} joined the room")
        person.wire.append(f"> welcome to {place.shown}")
        if place.topic:
            person.wire.append(f"> topic of {place.shown}: {place.topic}")
        twin = {"#general": "general", "general": "#general"}.get(folded)
        if twin is not None and (twin in self.rooms or left == twin):
            shown = self.rooms[twin].shown if twin in self.rooms else twin
            person.wire.append(f"> (there is {shown} too)")

    def do_leave(self, who: int) -> None:
        if place := self._place(who):
            self._go_out(who)
            self.people[who].wire.append(f"> you have left {place.shown}")

    def do_msg(self, who: int, text: str) -> None:
        if self._place(who):
            self._tell_others(who, f"> {self.people[who].nick}: {text}")

    def do_me(self, who: int, text: str) -> None:
        if self._place(who):
            line = f"> * {self.people[who].nick} {text}"
            self._tell_others(who, line)
            self.people[who].wire.append(line)

    def do_tell(self, who: int, arguments: str) -> None:
        nick, _, text = arguments.partition(" ")
        for other in self.people.values():
            if other.nick in NICKS and NICKS[other.nick][0] == NICKS[nick][0]:
                other.wire.append(f"> {self.people[who].nick} (to you): {text}")
                self.people[who].wire.append(f"> you (to {other.nick}): {text}")
                return
        self.people[who].wire.append(f"err: no one here is called {nick}")

    def do_topic(self, who: int, text: str = "") -> None:
        if place := self._place(who):
            place.topic = self.topics[self.people[who].room] = text or place.topic
            line = f"> topic of {place.shown}: {place.topic}"
            self.people[who].wire.append(line if place.topic else f"> {place.shown} has no topic")
            if text:
                self._tell_others(who, line)

    def do_who(self, who: int) -> None:
        if place := self._place(who):
            nicks = sorted(self.people[member].nick for member in place.members)
            self.people[who].wire.append(f"> in {place.shown}: {', '.join(nicks)}")

    def do_rooms(self, who: int) -> None:
        names = sorted(place.shown for place in self.rooms.values())
        self.people[who].wire.append(f"> available rooms: {', '.join(names)}")

    def do_quit(self, who: int) -> None:
        self.people[who].wire.append("> sad to see you go =(")
        self.leave(who)


Queues = dict[int, list[str]]


def explanation(model: Model, queues: Queues, got: Queues) -> Model | None:
    """The model after lines of several clients, in an order that leads to what everyone has got.

    It takes their lines one by one, each client's own in order. `None`: there is no such order.
    """
    tried: set[str] = set()

    def search(model: Model, queues: Queues) -> Model | None:
        wires = model.wires
        if any(wire != got[number][: len(wire)] for number, wire in wires.items()):
            return None
        if not any(queues.values()):
            return model if wires == got else None
        if (state := repr((model, queues))) in tried:
            return None
        tried.add(state)
        for number, lines in queues.items():
            if lines:
                after = model.copy()
                after.take(number, lines[:1])
                if found := search(after, {**queues, number: lines[1:]}):
                    return found
        return None

    return search(model, queues)


def test_an_explanation_is_one_order_for_everyone() -> None:
    model = Model({n: Person(nick) for n, nick in enumerate(["john", "mary", "jack"])})
    for number in range(3):
        model.take(number, ["/join #go"])
    for person in model.people.values():
        person.wire.clear()
    queues = {0: ["/msg 1", "/msg 2"], 1: ["/msg 3"]}
    heard = {0: ["> mary: 3"], 1: ["> john: 1", "> john: 2"]}
    one, two, three = "> john: 1", "> john: 2", "> mary: 3"
    for order in ([one, two, three], [one, three, two], [three, one, two]):
        assert explanation(model, queues, {**heard, 2: order})
    for order in ([two, one, three], [one, three], [one, one, two, three]):
        assert not explanation(model, queues, {**heard, 2: order})
    # Each may be so by itself, and not both.
    queues = {0: ["/msg 1", "/nick JOHN"], 1: ["/who"]}
    told = "> all right, I will call you JOHN"
    early, late = "> in #go: jack, john, mary", "> in #go: JOHN, jack, mary"
    rename = "> john is now known as JOHN"
    for wire, possible in (
        ([early, one, rename], True),
        ([one, early, rename], True),
        ([one, rename, late], True),
        ([one, late, rename], False),
        ([one, rename, early], False),
    ):
        got = {0: [told], 1: wire, 2: [one, rename]}
        assert bool(explanation(model, queues, got)) is possible


# --- the live chat beside it ----------------------------------------------------------------------

nicks = st.sampled_from(list(NICKS))
texts = st.sampled_from(["hi", "> john: hi", "/quit", "привет"])
joins = st.sampled_from(list(ROOMS)).map("/join {}".format)
TOPICS = ["/topic all of it", "/topic", "/rooms", "/who"]
commands = st.one_of(
    nicks.map("/nick {}".format),
    joins,
    joins,
    texts.map("/msg {}".format),
    texts.map("/msg {}".format),
    texts.map("/me {}".format),
    st.builds("/tell {} {}".format, nicks, texts),
    st.sampled_from(["/leave", *TOPICS]),
    st.sampled_from(["/leave", *TOPICS]),
)
# Out of a room and in again.
returns = st.tuples(joins, st.sampled_from(TOPICS)).map(lambda two: [*two, "/leave", two[0]])
pipelines = st.lists(commands.map(lambda line: [line]) | returns, min_size=1, max_size=4).map(
    lambda parts: [line for part in parts for line in part]
)
# Lines of two who are in one room, where one may see what the other does.
ROOM = "#go"
OTHER = "the other's nick"
talks = st.lists(
    st.one_of(
        st.sampled_from(
            ["/msg hi", "/who", f"/tell {OTHER} hi", "/leave", f"/join {ROOM}", *TOPICS]
        ),
        nicks.map("/nick {}".format),
        nicks.map("/tell {} hi".format),
    ),
    min_size=1,
    max_size=5,
)
quits = st.sampled_from([[], [], ["/quit"]])
who = st.integers(0, 4)  # of those who are there


def sent(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def roomy(settings: Settings) -> Retention:
    """No room's history, and so its topic, has to make place for another's."""
    return Retention(settings.history_entries, 1000)


class LateLog(SharedLog):
    """A shared log that takes its time, sometimes more and sometimes less."""

    async def _wait(self) -> None:
        await super()._wait()
        for _ in range(len(self.batches) % 4):
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_late_log(*_: object) -> AsyncIterator[LateLog]:
    yield LateLog()


class RoomsAndNicks(RuleBasedStateMachine):
    """After each rule everyone has seen just what the model says, and in that order."""

    patched = ("trio_chat.server.opening.retention", roomy)

    def __init__(self) -> None:
        super().__init__()
        self.live = LiveRun()
        self.model = Model()
        self.clients: dict[int, LineClient] = {}
        self.left: dict[int, trio.Event] = {}
        self.count = 0
        self.live.call(self._open)

    async def _open(self) -> None:
        opened = trio.Event()
        self.over = trio.Event()

        async def chat() -> None:
            with mock.patch(*self.patched):
                async with open_chat(SETTINGS) as self.chat:
                    opened.set()
                    await self.over.wait()

        self.live.nursery.start_soon(chat)
        await opened.wait()

    async def _connect(self, number: int) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        left = trio.Event()

        async def serve() -> None:
            await self.chat.serve_stream(theirs)
            left.set()

        self.live.nursery.start_soon(serve)
        self.clients[number], self.left[number] = LineClient(ours), left

    async def _send(self, lines: dict[int, bytes], ending: int | None = None) -> None:
        """Send this much of each; `ending` then ends its side, as `printf '...' | nc` does."""
        # In one step of Trio's, so that the hub takes the lines of several in one turn.
        async with trio.open_nursery() as nursery:
            for number, data in lines.items():
                nursery.start_soon(self.clients[number].stream.send_all, data)
        if ending is not None:
            await self.clients[ending].stream.send_eof()
        await trio.testing.wait_all_tasks_blocked()

    async def _look(self, gone: list[int]) -> dict[int, list[str]]:
        """Everyone's input since the last call; for clients that are gone, up to the end."""
        got = {number: await self.clients[number].rest() for number in gone}
        for number in gone:
            await self._drop(number)
        return got | {number: await client.sync() for number, client in self.clients.items()}

    async def _drop(self, number: int) -> None:
        await self.clients.pop(number).stream.aclose()
        await self.left.pop(number).wait()

    def check(self) -> None:
        """Everyone's input is what the model says."""
        got = self.live.call(self._look, [n for n in self.clients if n in self.model.gone])
        assert got == {number: self.model.wires[number] for number in got}
        self.go_on()

    def go_on(self) -> None:
        """All that there is on the wires has been looked at."""
        self.model.gone.clear()
        for person in self.model.people.values():
            person.wire.clear()

    def pick(self, who: int) -> int:
        numbers = list(self.clients)
        return numbers[who % len(numbers)]

    # --- rules

    @initialize(rooms=st.lists(joins, min_size=3, max_size=3))
    def begin(self, rooms: list[str]) -> None:
        for join in rooms:
            self.connect()
            self.send(-1, [join])

    @precondition(lambda self: len(self.clients) < 5)
    @rule()
    def connect(self) -> None:
        self.count += 1
        self.live.call(self._connect, self.count)
        self.model.people[self.count] = Person()
        self.check()

    @precondition(lambda self: self.clients)
    @rule(who=who, lines=pipelines)
    def send(self, who: int, lines: list[str]) -> None:
        """At once: whatever turns it takes."""
        number = self.pick(who)
        self.live.call(self._send, {number: sent(lines)})
        self.model.take(number, lines)
        self.check()

    @precondition(lambda self: len(self.clients) > 1)
    @rule(one=who, two=who, lines=pipelines, others=pipelines)
    def send_both(self, one: int, two: int, lines: list[str], others: list[str]) -> None:
        """Two at once, wherever they are."""
        first, second = self.pick(one), self.pick(two)
        if first != second:
            self.check_both({first: lines, second: others})

    @precondition(lambda self: len(self.clients) > 1)
    @rule(one=who, two=who, lines=talks, others=talks, end=quits)
    def talk(self, one: int, two: int, lines: list[str], others: list[str], end: list[str]) -> None:
        """Two at once who are in one room, and one may leave."""
        first, second = self.pick(one), self.pick(two)
        if first == second:
            return
        for number in (first, second):
            self.send(list(self.clients).index(number), [f"/join {ROOM}"])
        self.check_both(
            {
                first: [line.replace(OTHER, self.nick(second)) for line in lines],
                second: [line.replace(OTHER, self.nick(first)) for line in [*others, *end]],
            }
        )

    def nick(self, number: int) -> str:
        """A nick that can be told something: this client's, if it has one."""
        nick = self.model.people[number].nick
        return nick if nick in NICKS else "john"

    def check_both(self, both: Queues) -> None:
        """Their lines are taken in some order, which is the same for everyone."""
        self.live.call(self._send, {number: sent(both[number]) for number in both})
        got = self.live.call(self._look, [n for n in both if "/quit" in both[n]])
        found = explanation(self.model, both, got)
        assert found, f"no order of {both} explains {got}"
        self.model = found
        self.go_on()

    @precondition(lambda self: self.clients)
    @rule(
        who=who, how=st.sampled_from(["quit", "end", "drop"]), lines=st.lists(commands, max_size=3)
    )
    def leave(self, who: int, how: str, lines: list[str]) -> None:
        number = self.pick(who)
        if how == "quit":  # what comes after it counts for nothing
            lines = [*lines, "/quit", *lines]
            self.live.call(self._send, {number: sent(lines)})
        elif how == "end":  # complete lines are answered; one without its end is left out
            self.live.call(self._send, {number: sent(lines) + b"/msg unfinished"}, number)
        else:
            lines = []
            self.live.call(self._drop, number)
        self.model.take(number, lines)
        self.model.leave(number)
        self.check()

    # --- invariants

    @invariant()
    def no_nick_is_held_twice(self) -> None:
        clients = self.chat._hub.state.users.values()
        looks = [NICKS[client.nick][1] for client in clients if client.nick in NICKS]
        assert len(looks) == len(set(looks))
        assert sorted(client.nick for client in clients) == sorted(
            person.nick for person in self.model.people.values()
        )

    @invariant()
    def nothing_is_left_over(self) -> None:
        statistics = self.chat.statistics()
        assert statistics.clients == len(self.clients)
        assert statistics.rooms == len(self.model.rooms)
        state = self.chat._hub.state
        named = {user.id for user in state.users.values() if user.nick in NICKS}
        assert {user.id for user in state.nicks.values()} == named
        assert set(self.chat._hub._log.claims._holders.values()) == named

    def teardown(self) -> None:
        self.live.call(self._close)
        self.live.close()

    async def _close(self) -> None:
        for number in list(self.clients):
            await self._drop(number)
        self.over.set()


TestRoomsAndNicks = RoomsAndNicks.TestCase
# Without shrinking, which takes longer than a test may: add Phase.shrink to look into a failure.
TestRoomsAndNicks.settings = settings(
    max_examples=30,
    stateful_step_count=20,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


class RoomsAndNicksOfASharedLog(RoomsAndNicks):
    """The same, while the log answers later than in the turn."""

    patched = ("trio_chat.server.opening._open_log", open_late_log)


TestRoomsAndNicksOfASharedLog = RoomsAndNicksOfASharedLog.TestCase
TestRoomsAndNicksOfASharedLog.settings = settings(TestRoomsAndNicks.settings, max_examples=10)


# --- order ----------------------------------------------------------------------------------------


async def test_all_members_see_one_and_the_same_order(autojump_clock: object) -> None:
    senders = [f"sender{number}" for number in range(12)]
    messages = range(40)

    def line(nick: str, message: int) -> str:
        """The view of the others: topics are among the messages, and their author sees them too."""
        if message % 5 == 2:
            return f"> topic of #a: {nick}: {message}"
        return f"> {nick}: {message}"

    async def talk(client: LineClient, nick: str) -> None:
        # The end of each batch and the beginning of the next sender's are messages, in one turn.
        # The messages behind a topic wait until that is folded.
        for first in range(0, len(messages), 10):
            some = messages[first : first + 10]
            await client.send(*(f"/topic {nick}: {n}" if n % 5 == 2 else f"/msg {n}" for n in some))
            await trio.lowlevel.checkpoint()

    async with open_chat(Settings(rate_limit=None)) as chat, AsyncExitStack() as stack:
        clients = {
            nick: await stack.enter_async_context(line_client(chat, nick=nick, room="#a"))
            for nick in ["watcher", *senders]
        }
        for client in clients.values():
            await client.sync()
        async with trio.open_nursery() as nursery:
            for nick in senders:
                nursery.start_soon(talk, clients[nick], nick)
        seen = {nick: [] for nick in clients}
        # Once each sender is done, everyone is looked at again.
        for nick in [*senders, *clients]:
            seen[nick] += await clients[nick].sync()
    order = seen["watcher"]
    for nick in senders:
        own = [line(nick, message) for message in messages]
        assert [line for line in order if f" {nick}: " in line] == own
        assert seen[nick] == [line for line in order if not line.startswith(f"> {nick}: ")]
    # They did speak at once.
    assert sum(f" {senders[0]}: " in line for line in order[: len(messages)]) < len(messages)

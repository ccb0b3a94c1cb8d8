"""The clients of a chat on several nodes: each notes what it hears, and what became of its own.

The chat promises them this, and `cluster_judge` checks it:

- A WebSocket client gets its own message back, which acknowledges it, or a refusal with its id.
- A line client gets no acknowledgement. But the chat answers a question behind the message after
  the message. An answer without a refusal in front of it says that the message was taken.
- If a connection breaks, the message without an answer may have been said or not.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from crowd_members import FRAME_OF_TEXT, LOUD, Connection, unframed
from frames import REQUEST, frame

if TYPE_CHECKING:
    from cluster_crowd import ClusterCrowd

AGAIN = 0.1  # seconds until one that has lost its connection tries again
QUESTION = "err: unknown command: /q"
NOT_SAID = "err: not said: "


class Link(Connection):
    """A connection of one of these clients to a node."""

    def __init__(self, owner: Web | Line, port: int, *, slow: bool = False) -> None:
        self.owner = owner
        self.open = True
        super().__init__(owner.crowd, port=port, slow=slow)

    def send(self, data: bytes) -> None:
        if self.open:
            super().send(data)

    def close(self) -> None:
        if self.open:
            self.open = False
            super().close()

    def on_data(self) -> None:
        self.owner.on_data(self)

    def on_end(self) -> None:
        self.owner.on_end()


class Client:
    """Base of both kinds."""

    def __init__(self, crowd: ClusterCrowd, nick: str, node: str) -> None:
        self.crowd, self.nick, self.node = crowd, nick, node
        self.link: Link | None = None
        self.inside = False
        self.finished = False
        self.said = 0
        self.kept: set[str] = set()
        self.refused: set[str] = set()
        self.open: set[str] = set()  # without an answer so far
        self.unknown: set[str] = set()  # whose connection broke before an answer

    def wrong(self, kind: str, what: object) -> None:
        self.crowd.wrong(kind, f"{self.nick} on {self.node}: {what}")

    @property
    def connected(self) -> bool:
        return self.link is not None and self.link.open

    def send(self, data: bytes) -> None:
        if self.link is not None:
            self.link.send(data)

    def mark(self) -> str:
        """The words of a new message, which no other message has."""
        self.said += 1
        return f"{self.nick}-{self.said}"

    def settle(self, mark: str, as_what: set[str]) -> None:
        self.open.discard(mark)
        self.unknown.discard(mark)
        as_what.add(mark)

    def lose(self) -> None:
        self.link = None
        self.unknown |= self.open
        self.open.clear()


class Web(Client):
    """A WebSocket client in some rooms, which resumes on another node if its connection breaks."""

    resumes = True
    slow = False

    def __init__(self, crowd: ClusterCrowd, nick: str, node: str, *rooms: str) -> None:
        super().__init__(crowd, nick, node)
        self.first_rooms = rooms
        self.client = self.token = ""
        self.ids: set[str] = set()
        self.positions: dict[str, int] = {}
        self.members: dict[str, dict[str, str]] = {}  # by room: nicks by client id
        self.answers: dict[str, dict] = {}  # to what was asked by `ask`, by its id
        self.told_kept: set[str] = set()
        self.opened = self.resuming = False
        self.resumed = 0
        self.dial(node)

    def dial(self, node: str | None = None) -> None:
        if self.finished:
            return
        node = node or self.crowd.some_node()
        self.opened = False
        try:
            self.link = Link(self, self.crowd.ports[node], slow=self.slow)
        except OSError:
            self.crowd.loop.later(AGAIN, self.dial)
            return
        self.node = node
        self.send(REQUEST)

    def command(self, kind: str, **fields: object) -> None:
        text = json.dumps({"type": kind, **fields})
        self.send(frame(FRAME_OF_TEXT, text.encode()))

    def ask(self, word: str, kind: str, **fields: object) -> None:
        """Ask something whose answer is put among the `answers`."""
        self.answers.pop(word, None)
        self.command(kind, id=word, **fields)

    # --- what it hears --------------------------------------------------------------------------

    def on_data(self, link: Link) -> None:
        if not self.opened:
            head, blank, rest = link.rest.partition(b"\r\n\r\n")
            if not blank:
                return
            self.opened, link.rest = True, rest
            if not head.startswith(b"HTTP/1.1 101 "):
                self.wrong("error", head.decode())
        payloads, link.rest = unframed(link.rest)
        for payload in payloads:
            if payload is not None:  # others are pings, and the frame that closes
                self.on_event(json.loads(payload))

    def on_end(self) -> None:
        expected = self.finished or self.crowd.may_end(self.node)
        self.lose()
        if not expected:
            self.wrong("disconnected", "")
        if not self.finished and self.resumes:
            self.resuming = bool(self.token)
            self.crowd.loop.later(AGAIN, self.dial)

    def on_event(self, event: dict) -> None:
        kind, word = event["type"], event.get("id", "")
        handle = getattr(self, f"on_{kind}", None)
        if handle is not None:
            handle(event)
        if word in self.open and kind not in ("said", "topic_set", "refusal"):
            self.settle(word, self.told_kept)
        if word:
            self.answers[word] = event

    def on_welcomed(self, event: dict) -> None:
        self.positions[event["room"]] = event["position"]
        self.on_members_listed(event)
        self.inside = len(self.positions) >= len(self.first_rooms)

    def on_members_listed(self, event: dict) -> None:
        if event["room"] in self.positions:
            listed = {member["client"]: member["nick"] for member in event["members"]}
            self.members[event["room"]] = listed

    def on_departed(self, event: dict) -> None:
        self.positions.pop(event["room"], None)
        self.members.pop(event["room"], None)

    def on_told(self, event: dict) -> None:
        if event["to"] == self.client:
            self.crowd.heard_tell(event["text"], self)

    def on_missed(self, event: dict) -> None:
        self.positions[event["room"]] += event["count"]
        self.crowd.miss(self, event["room"], event["count"])

    def on_stopping(self, event: dict) -> None:
        if not self.crowd.may_end(self.node):
            self.wrong("error", event)

    on_ended = on_stopping

    def on_hello(self, event: dict) -> None:
        if self.resuming:
            self.command(
                "resume",
                client=self.client,
                token=self.token,
                positions=self.positions,
                id="resume",
            )
            self.fallback = event
        else:
            self.begin(event)

    def begin(self, hello: dict) -> None:
        self.client, self.token = hello["client"], hello["token"]
        self.ids.add(self.client)
        self.command("take_nick", nick=self.nick, id="nick")
        for room in self.first_rooms:
            self.command("join", room=room)

    def on_resumed(self, event: dict) -> None:
        self.resuming = False
        self.resumed += 1
        if {room["room"] for room in event["rooms"]} != self.positions.keys():
            self.wrong("ghost", f"resumes in {event['rooms']} instead of {[*self.positions]}")

    def on_refusal(self, event: dict) -> None:
        word = event.get("id", "")
        if word == "resume":
            self.resuming = False
            self.crowd.not_resumed(self, event)
            self.positions.clear()
            self.members.clear()
            self.begin(self.fallback)
        elif word in self.open:
            self.settle(word, self.refused)
            if event["code"] not in ("cannot_write", "unreachable"):
                self.check_refusal(event)
        else:
            self.check_refusal(event)

    def check_refusal(self, event: dict) -> None:
        # An engine that was emptied knows nobody until all nodes have told it.
        lossy = self.crowd.lossy and event["code"] == "client_left"
        if not lossy and not self.may_be_refused(event["code"]):
            self.wrong("error", event)

    def may_be_refused(self, code: str) -> bool:
        return False

    def on_nick_taken(self, event: dict) -> None:
        self.nick = event["nick"]

    def on_said(self, event: dict) -> None:
        room, position = event["room"], event["position"]
        due = self.positions.get(room, 0) + 1
        if room not in self.positions:
            self.wrong("ghost", f"hears what is said in {room}")
        elif position < due:
            self.wrong("doubled or reordered", f"{room} {position} after {due - 1}")
        elif position > due:
            self.wrong("lost", f"{room} {due} to {position - 1}")
        self.positions[room] = max(position, due - 1)
        mark = event["text"].partition(" ")[0]
        topic = event["type"] == "topic_set"
        self.crowd.heard(room, position, mark, event["time"], topic=topic)
        if event["author"] in self.ids:
            if mark in self.kept or mark in self.refused:
                self.wrong("doubled or reordered", f"its own {mark}, which was settled before")
            self.settle(mark, self.kept)

    on_topic_set = on_said

    def on_joined(self, event: dict) -> None:
        members, author = self.members.get(event["room"]), event["author"]
        if members is None:
            self.wrong("ghost", f"hears of a member of {event['room']}: {event}")
        elif (event["type"] == "joined") == (author in members):
            self.wrong("ghost", f"{event} among {members}")
        elif event["type"] == "left":
            del members[author]
        else:
            members[author] = event["nick"]
        if author == self.client and event["type"] == "renamed":
            self.on_nick_taken(event)

    on_left = on_renamed = on_joined

    # --- what it does ---------------------------------------------------------------------------

    def talk(self) -> None:
        if self.crowd.talking and not self.finished:
            if self.connected and self.inside and not self.resuming and self.positions:
                self.talk_once()
            self.crowd.loop.later(self.crowd.pause(), self.talk)

    def talk_once(self) -> None:
        mark = self.mark()
        self.open.add(mark)
        choose = self.crowd.choose
        kind = choose.choices(["say", "set_topic", "tell"], weights=[20, 1, 4])[0]
        if kind == "tell":
            self.crowd.tells[mark] = to = self.crowd.someone(self)
            self.command("tell", nick=to.nick, client=to.client, text=mark, id=mark)
        else:
            room = choose.choice(sorted(self.positions))
            pad = "" if kind == "set_topic" else " " + "x" * choose.choice([0, 40, 400])
            self.command(kind, room=room, text=mark + pad.rstrip(), id=mark)

    def drop(self) -> None:
        """Lose the connection on purpose, and do not come back."""
        self.finished = True
        if self.link is not None:
            self.link.close()
        self.lose()

    def quit(self) -> None:
        self.finished = True
        self.command("quit")


class Late(Web):
    """One that reads nothing while the others talk, and then catches up."""

    slow = True

    def talk(self) -> None:
        if self.link is not None and self.link.open:
            self.link.read(on=not self.crowd.talking)
            if self.node in self.crowd.down:
                # A client that does not read cannot notice the end, which is behind the rest.
                self.link.close()
                self.on_end()
        if self.crowd.talking:
            self.crowd.loop.later(0.2, self.talk)


class Loud(Web):
    """One that says long things often."""

    def talk_once(self) -> None:
        mark = self.mark()
        self.open.add(mark)
        for room in self.positions:
            self.command("say", room=room, text=f"{mark} {LOUD.decode()}", id=mark)


class Line(Client):
    """A line client in one room; it does not come back when its node dies."""

    def __init__(self, crowd: ClusterCrowd, nick: str, node: str, room: str) -> None:
        super().__init__(crowd, nick, node)
        self.room = room
        self.marks: list[str] = []
        self.missed = 0  # as it was told
        self.gone = False
        self.link = Link(self, crowd.ports[node])
        self.send(f"/nick {nick}\n/join {room}\n/q in\n".encode())

    def on_data(self, link: Link) -> None:
        *lines, link.rest = link.rest.split(b"\n")
        for line in lines:
            self.on_line(line.decode())

    def on_line(self, line: str) -> None:
        author, colon, text = line.partition(": ")
        if line.startswith(QUESTION):
            self.inside = True
            for mark in [*self.open]:
                self.settle(mark, self.kept)
        elif line.startswith(NOT_SAID):
            for mark in [*self.open]:
                self.settle(mark, self.refused)
        elif line.startswith("> you missed "):
            count = int(line.split()[3])
            self.missed += count
            self.crowd.miss(self, self.room, count)
        elif line.startswith("err"):
            self.wrong("error", line)
        elif colon and " " not in author[2:]:
            self.marks.append(self.crowd.known.setdefault(mark := text.partition(" ")[0], mark))

    def on_end(self) -> None:
        if not self.crowd.may_end(self.node):
            self.wrong("disconnected", "")
        self.gone = True
        self.lose()

    def talk(self) -> None:
        """Say something once the message before it has been answered."""
        if self.crowd.talking and not self.gone:
            if not self.open:
                mark = self.mark()
                self.open.add(mark)
                self.send(f"/msg {mark}\n/q {mark}\n".encode())
            self.crowd.loop.later(self.crowd.pause(), self.talk)


class Wanderer(Web):
    """One that comes and goes, and takes nicks that others want too."""

    resumes = False

    def __init__(self, crowd: ClusterCrowd, node: str) -> None:
        self.name = next(crowd.names)
        self.steps = crowd.choose.randrange(2, 8)
        self.nicks_asked = 1
        super().__init__(crowd, f"w{self.name}", node, crowd.choose.choice(crowd.rooms))
        crowd.wanderers.add(self)

    def may_be_refused(self, code: str) -> bool:
        return code in ("nick_taken", "cannot_write", "already_in_room", "not_in_room")

    def mark(self) -> str:
        self.said += 1
        return f"w{self.name}-{self.said}"

    def begin(self, hello: dict) -> None:
        super().begin(hello)
        self.crowd.loop.later(self.crowd.pause(), self.step)

    def on_nick_taken(self, event: dict) -> None:
        super().on_nick_taken(event)
        # It may have asked for the next one already.
        if self.nicks_asked == ("id" in event) and not self.finished:
            self.crowd.hold(self.nick, self)

    def on_event(self, event: dict) -> None:
        super().on_event(event)
        self.nicks_asked -= event.get("id") == "nick"

    def step(self) -> None:
        if self.finished or not self.connected:
            return
        choose = self.crowd.choose
        self.steps -= 1
        if self.steps < 0 or not self.crowd.talking:
            self.crowd.release(self)
            choose.choice([self.quit, self.drop])()
            self.end()
            return
        match choose.choice(["nick", "nick", "join", "leave", "say"]):
            case "nick":
                self.crowd.release(self)
                self.nicks_asked += 1
                self.command("take_nick", nick=f"pool{choose.randrange(6)}", id="nick")
            case "join":
                self.command("join", room=choose.choice(self.crowd.rooms))
            case "leave" if self.positions:
                self.command("leave", room=choose.choice(sorted(self.positions)))
            case "say" if self.positions:
                self.talk_once()
        self.crowd.loop.later(self.crowd.pause(), self.step)

    def on_end(self) -> None:
        super().on_end()
        self.crowd.release(self)
        self.end()

    def end(self) -> None:
        """Have another one come instead."""
        if self in self.crowd.wanderers:
            self.crowd.wanderers.discard(self)
            self.crowd.gone.append(self)
            if self.crowd.talking:
                self.crowd.loop.later(AGAIN, self.crowd.wander)

"""Drafts as operations of the script `turn`, and what the engine has of them as entries again.

A *batch* is a run of persistent entries of one room, as the engine keeps it. Everything else that
other nodes have to know is a JSON array, whose first item is a letter. Readers ignore further items
and letters that they do not know, so that neighbouring versions can work together.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from attrs import define, evolve

from trio_chat.protocol.events import (
    Acted,
    Described,
    Entered,
    Exited,
    Gone,
    Held,
    Invited,
    Moved,
    NickChanged,
    Noticed,
    PersistentEntry,
    PersonChanged,
    Removed,
    Ruled,
    Said,
    Told,
    TopicSet,
)
from trio_chat.protocol.names import Name
from trio_chat.protocol.presence import UNKNOWN, About
from trio_chat.roomlog.holding import Waiting
from trio_chat.roomlog.removal import runs
from trio_chat.roomlog.rules import Action

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.protocol.events import Claim

Argument: TypeAlias = str | bytes | int
# A batch as scripts return it: its id and its fields. Then an action, with positions of texts.
Row: TypeAlias = tuple[bytes, list[bytes]]
ActionRow: TypeAlias = tuple[bytes, list[bytes], list[int]]

# Texts and names contain no control characters (`trio_chat.protocol.text`), so these can separate.
_PART: Final = "\0"
_ITEM: Final = "\n"
_TOPIC: Final = "T"
_RULED: Final = "R"
_TOPIC_BLOB: Final = f"{_TOPIC}{_PART}".encode()
_RULED_BLOB: Final = f"{_RULED}{_PART}".encode()
_CHANGES: Final = (_TOPIC_BLOB, _RULED_BLOB)
_KINDS: Final = {Said: "S", Noticed: "N", Acted: "A", TopicSet: _TOPIC}
_SPOKEN: Final[dict[str, type[Said | Acted]]] = {"S": Said, "N": Noticed, "A": Acted}


@define
class Batch:
    """Persistent entries of one room, with dense positions up to `top`.

    `time` is the first entry's, in milliseconds since 1970. The others are a millisecond apart.
    `turn` identifies the turn that said them.
    """

    room: str
    top: int
    count: int
    time: int
    turn: str
    blob: bytes

    @property
    def first(self) -> int:
        """The position of the first entry."""
        return self.top - self.count + 1

    @property
    def is_spoken(self) -> bool:
        """Whether these are messages and actions, and no change of the room."""
        return self.blob[:2] not in _CHANGES

    def entries(self) -> list[PersistentEntry]:
        """Return the entries, oldest first."""
        parts = self.blob.decode().split(_PART)
        kinds, room, time = parts[0], self.room, self.time / 1000
        if kinds == "S":  # most are like this; to unpack all parts would take longer
            return [Said(room, parts[1], parts[2], parts[3], self.top, time)]
        _, authors, nicks, texts, *more = parts
        if kinds == _TOPIC:
            return [TopicSet(room, more[0], authors, nicks, texts, self.top, time)]
        if kinds == _RULED:
            about = room, more[0], authors, nicks, texts
            *_, removal = json.loads(more[1])
            ruled = Ruled(*about) if removal is None else Removed(*about, **removal)
            ruled.position, ruled.time = self.top, time
            return [ruled]
        first = self.first
        before = self.time - first
        made: list[Said | Acted] = [
            _SPOKEN[kind](room, author, nick, text, position, (before + position) / 1000)
            for position, kind, author, nick, text in zip(
                range(first, self.top + 1),
                kinds,
                _split(authors, self.count),
                _split(nicks, self.count),
                texts.split(_ITEM),
                strict=True,
            )
        ]
        return cast("list[PersistentEntry]", made)

    def ruled(self) -> Ruled | None:
        """Return the action with its changes, if the batch is one. `entries` has its text."""
        if not self.blob.startswith(_RULED_BLOB):
            return None
        ruled = cast("Ruled", self.entries()[0])
        changes, version, ousted, _ = json.loads(self.blob.rpartition(b"\0")[2])
        return evolve(ruled, changes=changes, version=version, ousted=tuple(ousted))

    def topic(self) -> TopicSet | None:
        """Return the topic, if the batch is one."""
        if not self.blob.startswith(_TOPIC_BLOB):
            return None
        return cast("TopicSet", self.entries()[0])


def _joined(names: list[str]) -> str:
    """Return the names as one text. Mostly all are the same, and one stands for all."""
    return names[0] if names.count(names[0]) == len(names) else _ITEM.join(names)


def _split(names: str, count: int) -> list[str]:
    """Undo `_joined`. Equal names then take the memory of one."""
    found = names.split(_ITEM)
    return found * count if len(found) == 1 else found


def pack(run: Sequence[PersistentEntry]) -> bytes:
    """Return the blob of a batch."""
    if len(run) == 1:
        [one] = run
        return f"{_KINDS[one.__class__]}\0{one.author}\0{one.nick}\0{one.text}".encode()
    parts = (
        "".join([_KINDS[entry.__class__] for entry in run]),
        _joined([entry.author for entry in run]),
        _joined([entry.nick for entry in run]),
        _ITEM.join([entry.text for entry in run]),
    )
    return _PART.join(parts).encode()


def pack_topic(topic: TopicSet) -> bytes:
    """Return the blob of a batch that is one topic."""
    parts = (_TOPIC, topic.author, topic.nick, topic.text, topic.room_name)
    return _PART.join(parts).encode()


def pack_ruled(entry: Ruled) -> bytes:
    """Return the blob of a batch that is one action. Its last part is for programs."""
    removal = None
    if isinstance(entry, Removed):
        removal = {"positions": entry.positions, "undoes": entry.undoes, "own": entry.own}
    rest = json.dumps([entry.changes, entry.version, entry.ousted, removal], ensure_ascii=False)
    parts = (_RULED, entry.author, entry.nick, entry.text, entry.room_name, rest)
    return _PART.join(parts).encode()


def number_in(batch_id: bytes) -> int:
    """Return the number in an id of a stream."""
    return int(batch_id.partition(b"-")[0])


def batch_from_inbox(about: bytes, turn: str, blob: bytes) -> Batch:
    """Read a batch as the script `turn` tells other nodes of it: `about` begins with an `S`."""
    top, count, time, room = about.decode().split(" ", 3)
    return Batch(room, int(top[1:]), int(count), int(time), turn, blob)


def batch_from_stream(room: str, batch_id: bytes, fields: Sequence[bytes]) -> Batch:
    """Read a batch of a room's stream."""
    about = dict(zip(fields[::2], fields[1::2], strict=True))
    top, count, time = number_in(batch_id), int(about[b"n"]), int(about[b"t"])
    return Batch(room, top, count, time, about[b"i"].decode(), about[b"d"])


def action_from_stream(
    room: str, number: bytes, fields: Sequence[bytes], aside: Sequence[int] = ()
) -> Action:
    """Read an action of a room. `aside` has the positions of texts that can be put back."""
    about = dict(zip(fields[::2], fields[1::2], strict=True))
    ruled = Batch(room, number_in(number), 1, int(about[b"t"]), "", about[b"d"]).ruled()
    if ruled is None:
        raise ValueError(f"no action: {about}")
    said = ruled.position, ruled.time, ruled.author, ruled.nick, ruled.text
    return Action(*said, json.loads(about[b"w"]), ruled.changes, runs(sorted(aside)))


def pack_held(kind: str, author: str, nick: str, text: str, networks: str) -> str:
    """Return the record of a message that waits. Scripts add the time."""
    return json.dumps([kind, author, nick, text, networks], ensure_ascii=False)


def waiting_from(room: str, number: bytes, record: bytes) -> Waiting:
    """Read a message that waits, with its number and its time."""
    kind, author, nick, text, networks, time = json.loads(record)
    return Waiting(room, int(number), kind, author, nick, text, time / 1000, networks)


def words_of(about: About) -> str:
    """Return what the engine keeps of a user's words about itself; nothing if there are none."""
    return "" if about == UNKNOWN else json.dumps(_words(about), ensure_ascii=False)


def about_from(words: str) -> About:
    """Undo `words_of`."""
    return About(*json.loads(words)[:4]) if words else UNKNOWN


def _words(about: About) -> list[object]:
    return [about.user, about.real, about.away, about.bot]


def wire(entry: Claim | Told | Invited | Held) -> str:
    """Return the text from which other nodes make the entry.

    The text of a login ends with the logins that it displaces. That of a held message ends with its
    number, its time, and how many wait. Scripts put them there.
    """
    items = _message(entry) if isinstance(entry, (Told, Invited, Held)) else _claim(entry)
    return json.dumps(items, ensure_ascii=False, separators=(",", ":"))


def _claim(entry: Claim) -> list[object]:
    items: list[object]
    match entry:
        case NickChanged(author=user, old=old, name=name):
            items = ["N", user, old, name.display, name.casefolded, name.keys]
        case PersonChanged(author=user, old=old, person=person, name=name, since=since):
            keys = [name.display, name.casefolded, name.keys]
            items = ["I", user, old, person, since, *keys, entry.expires, entry.displaced]
        case Described(author=user, about=about):
            items = ["D", user, _words(about)]
        case Entered(author=user, nick=nick, room=room, room_name=shown, leaving=leaving):
            items = ["J", user, nick, room, shown, leaving]
        case Exited(author=user, nick=nick, room=room, words=words, ousted=ousted):
            items = ["L", user, nick, room, words, ousted]
        case Gone(author=user, nick=nick, reason=reason, words=words):
            items = ["G", user, nick, reason, words]
        case Moved(author=user, nick=nick):
            items = ["M", user, nick]
        case _:
            raise TypeError(f"{entry.__class__.__name__} concerns one node only")
    return items


def _message(entry: Told | Invited | Held) -> list[object]:
    match entry:
        case Told(to=to, author=author, nick=nick, text=text, time=time, device=device):
            return ["P", to, author, nick, text, time, device, entry.notice]
        case Invited(room=room, author=author, nick=nick, to=to, time=time, device=device):
            return ["V", room, entry.room_name, author, nick, to, time, device]
        case Held(room=room, author=author, nick=nick, text=text):
            about = [room, entry.room_name, author, nick, entry.kind, text]
            return ["H", *about, entry.state, entry.by, entry.device]


def from_wire(data: bytes) -> Claim | Told | Invited | Held | None:
    """Make the entry of another node; `None` if this version does not know it."""
    items: list[Any] = json.loads(data)
    return _claim_from(items) or _message_from(items)


def _claim_from(items: list[Any]) -> Claim | None:
    entry: Claim | None = None
    match items:
        case ["N", user, old, display, casefolded, keys, *_]:
            entry = NickChanged(user, old, Name(display, casefolded, tuple(keys)))
        case ["I", user, old, person, since, display, casefolded, keys, expires, displaced, *_]:
            name = Name(display, casefolded, tuple(keys))
            entry = PersonChanged(user, old, person, name, since, tuple(displaced), expires=expires)
        case ["D", user, [*words], *_]:
            entry = Described(user, About(*words[:4]))
        case ["J", user, nick, room, shown, leaving, *_]:
            entry = Entered(user, nick, room, shown, leaving)
        case ["L", user, nick, room, *more]:
            entry = Exited(user, nick, room, *more[:1])
            entry.ousted = tuple(more[1]) if more[1:] else ()
        case ["G", user, nick, reason, *more]:
            entry = Gone(user, nick, reason, *more[:1])
        case ["M", user, nick, *_]:
            entry = Moved(user, nick)
        case _:
            pass
    return entry


def _message_from(items: list[Any]) -> Told | Invited | Held | None:
    match items:
        case ["P", to, author, nick, text, *more]:
            # A node of an earlier version has said neither the time nor the device, nor a notice.
            time = more[0] if more else 0.0
            told = Told(to, author, nick, text, time, device=more[1] if more[1:] else "")
            told.notice = more[2:3] == [True]
            return told
        case ["V", room, shown, author, nick, to, time, device, *_]:
            return Invited(room, shown, author, nick, to, time, device)
        case ["H", room, shown, author, nick, kind, text, state, by, device, *more]:
            number, time, waiting, *_ = more
            about = room, shown, author, nick, kind, text, number, time / 1000
            held = Held(*about, state, by, waiting)
            held.device = device
            return held
        case _:
            return None

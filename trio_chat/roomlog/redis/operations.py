"""The drafts of a turn as operations of the engine, and the engine's results as entries."""

from __future__ import annotations

import json
from collections import deque
from hashlib import sha256
from typing import TYPE_CHECKING, Final, cast

from attrs import define, field

from trio_chat.protocol.events import (
    PERSISTENT,
    PRIVATE,
    SPOKEN,
    ConnectionChanged,
    Described,
    Entered,
    Exited,
    Gone,
    Held,
    Invited,
    Moved,
    NickChanged,
    PersonChanged,
    Ruled,
    Told,
    TopicSet,
)
from trio_chat.roomlog import holding
from trio_chat.roomlog.logged_room import LoggedRoom
from trio_chat.roomlog.redis.codec import (
    Batch,
    pack,
    pack_held,
    pack_ruled,
    pack_topic,
    wire,
    words_of,
)
from trio_chat.roomlog.redis.refusals import (
    DAMAGED,
    OUT_OF_MEMORY,
    UNDONE,
    cannot_write,
    refusal_of,
)
from trio_chat.roomlog.rules import NO_RULES, Rules, has_changed

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from typing import TypeGuard

    from trio_chat.errors import Refused
    from trio_chat.protocol.events import Acted, Entry, PersistentEntry, Said
    from trio_chat.roomlog import Result
    from trio_chat.roomlog.redis.codec import Argument

# The first item of the result of a draft that was decided by other rules than those of its room.
STALE: Final = -3


def _is_said(entry: Entry) -> TypeGuard[PersistentEntry | Held]:
    """Whether a draft becomes an entry of history, or brings one."""
    return isinstance(entry, PERSISTENT) or (isinstance(entry, Held) and entry.message is not None)


def is_leave(draft: Entry) -> bool:
    """Whether a draft takes no memory of the engine, or frees some. It is never refused."""
    if isinstance(draft, PersonChanged):
        return draft.person == draft.author
    return isinstance(draft, (Exited, Gone, ConnectionChanged))


def hash_of(token: str) -> str:
    """Return what the engine knows of a user's token, or of none."""
    return sha256(token.encode()).hexdigest() if token else ""


@define
class Operations:
    """Operations for the script `turn`, in the order of the drafts that they come from.

    Messages of one room become one operation, unless a claim comes between them.
    """

    drafts: Sequence[Entry]
    arguments: list[Argument] = field(factory=list)
    _of: list[Entry | list[Said | Acted]] = field(factory=list)
    _refused: dict[int, Refused] = field(factory=dict)
    # The rules by which joins were decided.
    _joined_by: dict[int, Rules] = field(factory=dict)
    # The messages since the last claim, by room.
    _open: dict[str, list[Said | Acted]] = field(factory=dict)
    _blobs: list[bytes] = field(factory=list)
    # The rules of a room as this node knows them.
    _rules_of: Callable[[str], Rules] = field(default=lambda _: NO_RULES, alias="rules_of")
    leaves_only: bool = False

    @classmethod
    def of(
        cls,
        drafts: Sequence[Entry],
        secret: Callable[[str], tuple[str, int]],
        kept: Container[str],
        rules: Callable[[str], Rules],
        *,
        leaves_only: bool = False,
    ) -> Operations:
        """Make operations of drafts.

        `secret` gives the hash of a user's token and the milliseconds of its grace period. Rooms in
        `kept` exist without members. `rules` gives those of a room as this node knows them. With
        `leaves_only` all drafts that need memory are refused.
        """
        made = cls(drafts, rules_of=rules, leaves_only=leaves_only)
        for draft in drafts:
            if leaves_only and not is_leave(draft):
                made._refused[id(draft)] = cannot_write(OUT_OF_MEMORY)
            elif isinstance(draft, SPOKEN):
                made._open.setdefault(draft.room, []).append(draft)
            else:
                made._say()
                made._of.append(draft)
                made._add(draft, secret, kept)
        made._say()
        return made

    @classmethod
    def refused(cls, drafts: Sequence[Entry]) -> Operations:
        """Make no operations, and refuse all drafts but those of users who leave."""
        made = cls(drafts)
        for draft in drafts:
            if not is_leave(draft):
                made._refused[id(draft)] = cannot_write(DAMAGED)
        return made

    def _say(self) -> None:
        for room, run in self._open.items():
            blob = pack(run)
            self._of.append(run)
            self._blobs.append(blob)
            self.arguments += ("S", room, len(run), blob)
        self._open.clear()

    def _add(
        self, draft: Entry, secret: Callable[[str], tuple[str, int]], kept: Container[str]
    ) -> None:
        match draft:
            case TopicSet(room=room, text=text, author=user, nick=nick):
                blob = pack_topic(draft)
                self._blobs.append(blob)
                self.arguments += ("T", room, blob, text, user, nick)
            case Ruled(room=room, version=version, bound=bound):
                blob = pack_ruled(draft)
                self._blobs.append(blob)
                value, most, _ = bound or ("", 0, "")
                self.arguments += ("R", room, version, value, most, blob)
                self.arguments += (len(draft.silenced), *draft.silenced)
            case Held():
                self._add_held(draft)
            case _:
                self._add_claim(draft, secret, kept)

    def _add_held(self, draft: Held) -> None:
        about = (draft.room, wire(draft), draft.author)
        if draft.state == "waits":
            record = pack_held(draft.kind, draft.author, draft.nick, draft.text, draft.networks)
            most = (holding.MOST_OF_PERSON, holding.MOST_OF_ROOM, holding.MOST)
            self.arguments += ("H", *about, record, *most)
            return
        blob = b""
        if draft.message is not None:
            blob = pack([draft.message])
            self._blobs.append(blob)
        self.arguments += ("K", *about, draft.number, blob)

    def _add_claim(
        self, draft: Entry, secret: Callable[[str], tuple[str, int]], kept: Container[str]
    ) -> None:
        match draft:
            case NickChanged(author=user, name=name):
                keys = name.keys
                self.arguments += ("N", user, *secret(user), wire(draft), name.display)
                self.arguments += (len(keys), *keys)
            case PersonChanged(author=user, person=person, name=name, since=since):
                account, keys = "" if person == user else person, name.keys
                self.arguments += ("I", user, *secret(user), wire(draft), account, str(since))
                self.arguments += (str(draft.expires), name.display, len(keys), *keys)
            case Entered(author=user, nick=nick, room=room, room_name=shown, leaving=leaving):
                self.arguments += ("J", user, *secret(user), wire(draft), nick, room, shown)
                rules = self._rules_of(room) if draft.version else NO_RULES
                # A node that no longer has the rules of then could not follow them.
                version = draft.version if draft.version == rules.version else -1
                self._joined_by[id(draft)] = rules
                self.arguments += (leaving or "", 1 if room in kept else 0, version, draft.creator)
                self.arguments.append(draft.most)
            case Described(author=user, about=about):
                self.arguments += ("D", user, words_of(about), wire(draft))
            case Exited(author=user, room=room):
                self.arguments += ("L", user, wire(draft), room)
            case Gone(author=user):
                self.arguments += ("G", user, wire(draft))
            case Told(to=to, author=author) | Invited(to=to, author=author):
                self.arguments += ("P", to, wire(draft), author)
            case ConnectionChanged(author=user, positions=positions):
                text = "" if positions is None else json.dumps(positions)
                self.arguments += ("A", user, text)
            case Moved(author=user, token=token):
                self.arguments += ("M", user, hash_of(token), wire(draft))
            case _:
                raise TypeError(f"no operation for {draft.__class__.__name__}")

    @property
    def rooms(self) -> list[str]:
        """The rooms in which something is said, or gets a topic."""
        said = [of[0] if isinstance(of, list) else of for of in self._of]
        return list({entry.room: None for entry in said if _is_said(entry)})

    def recall(self, said: Mapping[str, Sequence[Batch]]) -> list[object]:
        """Return the results of operations of which only `said` has remained, by room.

        The others are refused. But people who have left have left, and what was told may have been
        heard: nothing is said twice.
        """
        batches = {room: deque(some) for room, some in said.items()}
        results: list[object] = []
        for of in self._of:
            entry = of[0] if isinstance(of, list) else of
            if _is_said(entry):
                left = batches.get(entry.room)
                # An action may have been refused, and then the next batch is something else.
                fits = left and (left[0].ruled() is not None) == isinstance(entry, Ruled)
                batch = left.popleft() if left and fits else None
                results.append(None if batch is None else [batch.top, batch.time])
            else:
                results.append(1 if isinstance(entry, PRIVATE) or is_leave(entry) else None)
        return results

    def entries(
        self,
        results: Sequence[object],
        turn: str,
        keep: Callable[[Sequence[Batch]], None],
        about: Callable[[str, LoggedRoom], None],
    ) -> Sequence[Result]:
        """Return the result for each draft.

        `turn` identifies the turn. All batches go to `keep`, and the state of each joined room to
        `about`.
        """
        blobs = iter(self._blobs)
        kept: list[Batch] = []
        for of, result in zip(self._of, results, strict=True):
            blob = next(blobs) if isinstance(of, list) or _is_said(of) else b""
            if result is None:
                for draft in of if isinstance(of, list) else (of,):
                    self._refused[id(draft)] = cannot_write(UNDONE)
            elif isinstance(of, list):
                kept.append(_said(of, blob, cast("list[int]", result), turn))
            elif isinstance(result, list):
                batch = self._done(of, blob, cast("list[object]", result), turn, about)
                kept += () if batch is None else (batch,)
            elif result != 1 and (refusal := refusal_of(of, result)) is not None:
                self._refused[id(of)] = refusal
        keep(kept)
        if not self._refused:
            return self.drafts
        return [self._refused.get(id(draft), draft) for draft in self.drafts]

    def _done(
        self,
        of: Entry,
        blob: bytes,
        result: list[object],
        turn: str,
        about: Callable[[str, LoggedRoom], None],
    ) -> Batch | None:
        """Take a result with more in it than that a draft is done. Return what it has said."""
        batch: Batch | None = None
        match of:
            case Ruled(room=room) | Entered(room=room) if result[0] == STALE:
                about(room, self._room(room, result[1]))
                self._refused[id(of)] = has_changed()
            case TopicSet() | Ruled():
                top, time = cast("list[int]", result)
                of.position, of.time = top, time / 1000
                batch = Batch(of.room, top, 1, time, turn, blob)
            case Held(message=None):
                of.number, time, of.waiting = cast("list[int]", result)
                of.time = time / 1000
            case Held(message=message) if message is not None:
                batch = _said([message], blob, cast("list[int]", result), turn)
            case PersonChanged():
                of.displaced = tuple(guest.decode() for guest in cast("list[bytes]", result))
            case Entered(room=room):
                about(room, room_from(result, self._joined_by[id(of)]))
            case Moved():
                positions, _, *rooms = result
                text = cast("bytes", positions)
                of.positions = json.loads(text) if text else None
                for name, state in zip(rooms[::2], rooms[1::2], strict=True):
                    room = cast("bytes", name).decode()
                    about(room, self._room(room, state))
            case _:
                raise TypeError(f"no such result for {of.__class__.__name__}")
        return batch

    def _room(self, name: str, state: object) -> LoggedRoom:
        return room_from(cast("list[object]", state), self._rules_of(name))


def _said(run: list[Said | Acted], blob: bytes, result: list[int], turn: str) -> Batch:
    """Give messages their positions and times. Return their batch."""
    top, first = result
    position, time = top - len(run), first
    for draft in run:
        position += 1
        draft.position, draft.time = position, time / 1000
        time += 1
    return Batch(run[0].room, top, len(run), first, turn, blob)


def room_from(about: Sequence[object], known: Rules = NO_RULES) -> LoggedRoom:
    """Read the state of a room as scripts give it.

    It is position, topic, its author, nick and time, and the version of the rules with their
    fields. Without fields they are those that are `known`.
    """
    *texts, version, pairs = about
    position, topic, author, nick, time = map(_text, texts)
    rules = known
    if isinstance(pairs, list):
        fields = [_text(field) for field in cast("list[object]", pairs)]
        rules = Rules(int(_text(version)), dict(zip(fields[::2], fields[1::2], strict=True)))
    return LoggedRoom(topic, author, nick, int(time or 0) / 1000, int(position or 0), rules=rules)


def _text(item: object) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)

"""The drafts of a turn as operations of the engine, and the engine's results as entries."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Final, cast

from attrs import define, field

from trio_chat.errors import Code, Refused, nobody_to_resume
from trio_chat.protocol.events import (
    PERSISTENT,
    SPOKEN,
    ConnectionChanged,
    Entered,
    Exited,
    Gone,
    Held,
    Moved,
    NickChanged,
    Ruled,
    Told,
    TopicSet,
)
from trio_chat.roomlog import LoggedRoom
from trio_chat.roomlog.claims import nick_taken, too_many_rooms
from trio_chat.roomlog.redis.codec import Batch, pack, pack_topic, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from trio_chat.protocol.events import Acted, Entry, Said
    from trio_chat.roomlog import Result
    from trio_chat.roomlog.redis.codec import Argument

# These take no memory of the engine, or free some.
_LEAVES: Final = (Exited, Gone, ConnectionChanged)

# The result of a claim about a user that has resumed on another node meanwhile.
MOVED: Final = -1

OUT_OF_MEMORY: Final = "the server's memory is full; please try again later"
UNDONE: Final = "not done: the server's store has lost it; please try again"
DAMAGED: Final = "not done: the server's store is damaged; please tell the operator"
ELSEWHERE: Final = "the client is in another process now"
NO_MODERATORS: Final = "this server's rooms have no moderators yet: its store is on Redis"
UNREACHABLE: Final = "the one you mean has lost the connection; please try again later"


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
    # The messages since the last claim, by room.
    _open: dict[str, list[Said | Acted]] = field(factory=dict)
    _blobs: list[bytes] = field(factory=list)
    leaves_only: bool = False

    @classmethod
    def of(
        cls,
        drafts: Sequence[Entry],
        secret: Callable[[str], tuple[str, int]],
        kept: Container[str],
        *,
        leaves_only: bool = False,
    ) -> Operations:
        """Make operations of drafts.

        `secret` gives the hash of a user's token and the milliseconds of its grace period. Rooms in
        `kept` exist without members. With `leaves_only` all drafts that need memory are refused.
        """
        made = cls(drafts, leaves_only=leaves_only)
        for draft in drafts:
            if leaves_only and not isinstance(draft, _LEAVES):
                made._refused[id(draft)] = Refused(OUT_OF_MEMORY, code=Code.CANNOT_WRITE)
            elif isinstance(draft, SPOKEN):
                made._open.setdefault(draft.room, []).append(draft)
            elif isinstance(draft, (Ruled, Held)):  # a `Removed`, too
                made._refused[id(draft)] = Refused(NO_MODERATORS, code=Code.NO_MODERATORS)
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
            if not isinstance(draft, _LEAVES):
                made._refused[id(draft)] = Refused(DAMAGED, code=Code.CANNOT_WRITE)
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
            case NickChanged(author=user, name=name):
                keys = name.keys
                self.arguments += ("N", user, *secret(user), wire(draft), name.display)
                self.arguments += (len(keys), *keys)
            case Entered(author=user, nick=nick, room=room, room_name=shown, leaving=leaving):
                self.arguments += ("J", user, *secret(user), wire(draft), nick, room, shown)
                self.arguments += (leaving or "", 1 if room in kept else 0)
            case Exited(author=user, room=room):
                self.arguments += ("L", user, wire(draft), room)
            case Gone(author=user):
                self.arguments += ("G", user, wire(draft))
            case Told(to=to):
                self.arguments += ("P", to, wire(draft))
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
        return list({entry.room: None for entry in said if isinstance(entry, PERSISTENT)})

    def recall(self, said: Mapping[str, Sequence[Batch]]) -> list[object]:
        """Return the results of operations of which only `said` has remained, by room.

        The others are refused. But people who have left have left, and what was told may have been
        heard: nothing is said twice.
        """
        batches = {room: iter(some) for room, some in said.items()}
        results: list[object] = []
        for of in self._of:
            entry = of[0] if isinstance(of, list) else of
            if isinstance(entry, PERSISTENT):
                batch = next(batches.get(entry.room, iter(())), None)
                results.append(None if batch is None else [batch.top, batch.time])
            else:
                results.append(1 if isinstance(entry, (Told, *_LEAVES)) else None)
        return results

    def entries(
        self,
        results: Sequence[object],
        turn: str,
        keep: Callable[[Batch], None],
        about: Callable[[str, LoggedRoom], None],
    ) -> Sequence[Result]:
        """Return the result for each draft.

        `turn` identifies the turn. Each batch goes to `keep`, and the state of each joined room to
        `about`.
        """
        blobs = iter(self._blobs)
        for of, result in zip(self._of, results, strict=True):
            blob = next(blobs) if isinstance(of, (list, TopicSet)) else b""
            if result is None:
                for draft in of if isinstance(of, list) else (of,):
                    self._refused[id(draft)] = Refused(UNDONE, code=Code.CANNOT_WRITE)
            elif isinstance(of, list):
                self._said(of, blob, cast("list[int]", result), turn, keep)
            elif isinstance(of, TopicSet):
                top, time = cast("list[int]", result)
                of.position, of.time = top, time / 1000
                keep(Batch(of.room, top, 1, time, turn, blob))
            elif isinstance(of, Entered) and isinstance(result, list):
                about(of.room, room_from(result))
            elif isinstance(of, Moved) and isinstance(result, list):
                _moved(of, result, about)
            elif result != 1 and (refusal := _refusal(of, result)) is not None:
                self._refused[id(of)] = refusal
        if not self._refused:
            return self.drafts
        return [self._refused.get(id(draft), draft) for draft in self.drafts]

    def _said(
        self,
        run: list[Said | Acted],
        blob: bytes,
        result: list[int],
        turn: str,
        keep: Callable[[Batch], None],
    ) -> None:
        top, first = result
        position, time = top - len(run), first
        for draft in run:
            position += 1
            draft.position, draft.time = position, time / 1000
            time += 1
        keep(Batch(run[0].room, top, len(run), first, turn, blob))


def room_from(about: Sequence[object]) -> LoggedRoom:
    """Read the state of a room as scripts give it: position, topic, its author, nick and time."""
    position, topic, author, nick, time = (
        item.decode() if isinstance(item, bytes) else str(item) for item in about
    )
    return LoggedRoom(topic, author, nick, int(time or 0) / 1000, int(position or 0))


def _moved(moved: Moved, result: list[object], about: Callable[[str, LoggedRoom], None]) -> None:
    positions, _, *rooms = result
    text = cast("bytes", positions)
    moved.positions = json.loads(text) if text else None
    for room, state in zip(rooms[::2], rooms[1::2], strict=True):
        about(cast("bytes", room).decode(), room_from(cast("list[object]", state)))


def _refusal(draft: Entry, result: object) -> Refused | None:
    if result == MOVED:
        return Refused(ELSEWHERE, code=Code.CLIENT_LEFT)
    refusal: Refused | None = None
    match draft:
        case NickChanged(name=name):
            refusal = nick_taken(name)
        case Entered():
            refusal = too_many_rooms()
        case Told() if result == 0:
            refusal = Refused("the one you mean has left", code=Code.CLIENT_LEFT)
        case Told():
            refusal = Refused(UNREACHABLE, code=Code.UNREACHABLE)
        case Gone():
            refusal = Refused(ELSEWHERE, code=Code.CLIENT_LEFT)
        case Moved():
            refusal = nobody_to_resume()
        case _:
            pass
    return refusal

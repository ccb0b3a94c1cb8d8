"""The rules of one room: what its fields mean for its people.

The module `fields` has the names and the values. Nothing here changes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Final

from attrs import frozen

from trio_chat.moderation import room_key
from trio_chat.moderation.fields import (
    CREATOR,
    GIVEN,
    KEY,
    LIMIT,
    SET,
    SETTINGS,
    Penalty,
    Raid,
    Role,
    is_over,
)
from trio_chat.moderation.spans import DAY

# Seconds between two messages of one person while there is a raid.
RAID_SLOW: Final = 10
# Seconds for which an account is new.
NEW_SECONDS: Final = DAY

# Fields of a full room that an action looks at, to find some that are over: in about 2 ms. To look
# at all takes 40, and moderators of a full room could hold up the chat.
LOOKED_AT: Final = 500
# Fields by which somebody may have to be silent begin with one of these.
_SILENCING: Final = ("mute ", "ban ", "raid", "set speak", "set slow", "set new-people")


@frozen
class Who:
    """A user as rules see it.

    `networks` has the tags of its networks. `since` is when its account was made, or when the user
    came if there is none. `devices` are the client ids of a person with an account.
    """

    person: str
    networks: tuple[str, ...] = ()
    account: bool = False
    since: float = 0.0
    devices: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids by which a room may know the person."""
        return (self.person, *self.devices)


class RoomRules:
    """The rules of a room. `fields` may be shared with the log."""

    __slots__ = ("_fields", "_may_silence", "creator", "made")

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields
        self._may_silence: bool | None = None
        made, _, self.creator = fields.get(CREATOR, "").partition(" ")
        # When a room with a creator was made, in seconds since 1970; 0 for all other rooms.
        self.made = int(made or 0) / 1000

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> RoomRules | None:
        """Return the rules, or `None` if there are none."""
        return cls(fields) if fields else None

    @property
    def count(self) -> int:
        """The number of fields."""
        return len(self._fields)

    def grown(self, changes: Mapping[str, str | None]) -> int:
        """Return the number of fields after these changes."""
        known = self._fields
        more = sum((value is not None) - (name in known) for name, value in changes.items())
        return len(known) + more

    def value(self, name: str) -> str | None:
        """Return the value of a field, or `None`."""
        return self._fields.get(name)

    def before(self, name: str) -> str | None:
        """Return the value of a field as people know it: a creator's role needs no field."""
        known = self._fields.get(name)
        if known is None and self.creator and name == f"role {self.creator}":
            return Role.OPERATOR.word
        return known

    def roles(self) -> dict[str, Role]:
        """Return the persons with a role."""
        given: dict[str, Role] = {
            name.removeprefix("role "): GIVEN.get(value, Role.NONE)
            for name, value in self._fields.items()
            if name.startswith("role ")
        }
        return {self.creator: Role.OPERATOR, **given} if self.creator else given

    @property
    def owners(self) -> list[str]:
        """The persons who own the room."""
        return [person for person, role in self.roles().items() if role is Role.OWNER]

    def role(self, *ids: str) -> Role:
        """Return the role of the person with these ids.

        Only a room with a creator knows guests. There a role also stays with a guest who logs in.
        """
        return max(map(self._role, ids if self.made else ids[:1]))

    def _role(self, id: str) -> Role:
        usual = Role.OPERATOR if id == self.creator else Role.NONE
        return GIVEN.get(self._fields.get(f"role {id}", ""), usual)

    def giving(self, role: Role, *ids: str) -> dict[str, str | None]:
        """Return the changes that give the person with these ids a role, or take it away."""
        none = {one: Role.NONE.word if one == self.creator else None for one in ids}
        others = {f"role {one}": none[one] for one in ids[1:] if self._role(one) > Role.NONE}
        value = none[ids[0]] if role is Role.NONE else role.word
        return {f"role {ids[0]}": value, **others}

    def settling(self, changes: Mapping[str, str | None]) -> dict[str, str | None]:
        """Return what goes with changes of a room with a creator.

        All such changes name the creator, so no store has one without the other. With an owner, the
        room has no creator any more. Guests lose their roles then, and accounts keep theirs.
        """
        if not self.made or not changes:
            return {}
        if Role.OWNER.word not in changes.values():
            return {CREATOR: self.value(CREATOR)}
        # The ids of accounts have a dot, wherever they are kept, and those of clients have none.
        roles = {
            f"role {one}": role.word if "." in one and role > Role.NONE else None
            for one, role in self.roles().items()
        }
        return {CREATOR: None, **roles}

    def reaches(self, role: Role, time: float) -> bool:
        """Whether somebody with this role may act on what is of this time, in seconds since 1970.

        Operators of a room with a creator do not act on what was said before there was that room.
        """
        return role is Role.SERVER or time >= self.made

    def setting(self, name: str) -> str:
        """Return the value of a setting, as people are shown it."""
        setting, value = SETTINGS[name], self._fields.get(f"set {name}")
        if setting.is_secret:
            return setting.values[0] if value is None else SET
        return setting.read(value or "") or setting.values[0]

    @property
    def limit(self) -> int:
        """The most people that may be in the room; 0 if there is no limit."""
        value = self.setting(LIMIT)
        return 0 if value == SETTINGS[LIMIT].values[0] else int(value)

    def is_key(self, key: str) -> bool:
        """Whether this is the key of the room, or it has none."""
        kept = self._fields.get(f"set {KEY}")
        return kept is None or room_key.opens(kept, key)

    def holds(self, who: Who, now: float) -> bool:
        """Whether messages of a user wait for a moderator, as the user is new."""
        if self.role(*who.ids) > Role.NONE:
            return False
        if self.is_newcomer(who, now):
            return True
        if self.setting("new-people") == "free":
            return False
        return not who.account or now - who.since < NEW_SECONDS

    def is_newcomer(self, who: Who, now: float) -> bool:
        """Whether there is a raid now, and the user came with it."""
        raid = self.raid(now)
        return raid is not None and who.since >= raid.since

    def can_hold(self, now: float) -> bool:
        """Whether operators look after messages that wait."""
        return self.setting("new-people") == "hold" or self.raid(now) is not None

    def raid(self, now: float) -> Raid | None:
        """Return the raid that there is now."""
        value = self._fields.get("raid")
        raid = None if value is None else Raid.read(value)
        return None if raid is None or raid.until <= now else raid

    @property
    def may_silence(self) -> bool:
        """Whether these rules may keep somebody from saying something.

        A mute, a ban, a raid and a few settings do so. Roles, a pin and an invitation do not.
        """
        if self._may_silence is None:
            self._may_silence = any(name.startswith(_SILENCING) for name in self._fields)
        return self._may_silence

    def checks(self, role: Role) -> bool:
        """Whether they may keep somebody with this role from saying something."""
        return self.may_silence and role < Role.VOICE

    @property
    def may_be_slow(self) -> bool:
        """Whether people may have to wait between two messages, now or later."""
        return "set slow" in self._fields or "raid" in self._fields

    def slow(self, now: float) -> int:
        """Return the least seconds between two messages of one person."""
        seconds = int(self.setting("slow"))
        return seconds if self.raid(now) is None else max(seconds, RAID_SLOW)

    def penalty(self, kind: str, who: Who, now: float) -> Penalty | None:
        """Return the mute or ban that counts for a user now. People with a role have none."""
        targets = (who.person, *(f"net:{tag}" for tag in who.networks))
        for target in targets:
            value = self._fields.get(f"{kind} {target}")
            if value is None:
                continue
            penalty = Penalty.read(value)
            is_spared = target != who.person and self.is_spared(who, penalty.spares)
            if not is_spared and penalty.counts(now):
                return penalty
        return None

    def penalties(self, kind: str) -> Iterator[tuple[str, Penalty]]:
        """Return the targets of mutes or bans, each with the penalty."""
        for name, value in self._fields.items():
            if name.startswith(f"{kind} "):
                yield name.partition(" ")[2], Penalty.read(value)

    def is_spared(self, who: Who, spares: float) -> bool:
        """Whether a mute or a ban of a network does not count for a user in it."""
        return self.role(*who.ids) > Role.NONE or (who.account and 0 < who.since < spares)

    def over(self, now: float) -> list[str]:
        """Return fields whose time is over. It looks at `LOOKED_AT`, and at others each second."""
        begin = int(now) * LOOKED_AT % max(1, len(self._fields))
        around = islice(chain(self._fields.items(), self._fields.items()), begin, None)
        some = islice(around, min(LOOKED_AT, len(self._fields)))
        return [name for name, value in some if is_over(name, value, now)]

    def is_invited(self, who: Who, now: float) -> bool:
        """Whether an invitation lets a user in now."""
        ends = (self._fields.get(f"invite {one}") for one in who.ids)
        return any(until is not None and float(until) > now for until in ends)

    def is_expected(self, who: Who, now: float) -> bool:
        """Whether a user comes in whatever the settings are: with a role or an invitation."""
        return self.role(*who.ids) > Role.NONE or self.is_invited(who, now)

    def is_let_in(self, who: Who, now: float) -> bool:
        """Whether the setting `join` lets a user in."""
        if self.is_expected(who, now):
            return True
        return {"all": True, "accounts": who.account}.get(self.setting("join"), False)

    def may_speak(self, who: Who) -> bool:
        """Whether the setting `speak` lets a user say something. A mute is another matter."""
        if self.role(*who.ids) >= Role.VOICE:
            return True
        return {"all": True, "accounts": who.account}.get(self.setting("speak"), False)

"""Modes of rooms as IRC has them: they become the actions of moderators."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Final

from trio_chat.errors import Code, Refused
from trio_chat.moderation.fields import SETTINGS, Penalty, Role
from trio_chat.moderation.permission import check_change, check_rank
from trio_chat.moderation.rules import RoomRules
from trio_chat.protocol import commands, modes

if TYPE_CHECKING:
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.moderation import Moderation
    from trio_chat.hub.handlers.ruling import Ruling
    from trio_chat.hub.handlers.targets import Targets
    from trio_chat.hub.session import Session

# Bans in one answer, at most.
MOST_SHOWN: Final = 1_000


class Modes:
    """Handles the records about modes."""

    def __init__(
        self, collect: Collect, moderation: Moderation, targets: Targets, ruling: Ruling
    ) -> None:
        self._collect = collect
        self._moderation = moderation
        self._targets = targets
        self._ruling = ruling
        self.handlers: Handlers = {
            modes.ChangeRole: self._change_role,
            modes.ChangeSetting: self._change_setting,
            modes.Ban: self._ban,
            modes.ListBans: self._list_bans,
        }

    def _change_role(self, session: Session, record: modes.ChangeRole) -> None:
        room, _ = self._ruling.moderated(session, record.room)
        ids, _ = self._targets.holder(room, record.name)
        has = Role.NONE if room.rules is None else room.rules.role(*ids)
        if record.role == "voice":
            changes = has < Role.VOICE if record.given else has is Role.VOICE
        else:
            changes = (has >= Role.OPERATOR) is not record.given
        if changes:
            role = record.role if record.given else "none"
            self._moderation.set_role(session, commands.SetRole(record.name, role, record.room))

    def _change_setting(self, session: Session, record: modes.ChangeSetting) -> None:
        room, _ = self._ruling.moderated(session, record.room)
        has = (room.rules or RoomRules({})).setting(record.setting)
        setting = SETTINGS[record.setting]
        usual = setting.values[0]
        # Nobody learns whether a key is the one of now.
        is_key = setting.is_secret and record.value != usual
        if is_key or (has == record.value) is not record.given:
            value = record.value if record.given else usual
            what = commands.SetRoom(record.setting, value, record.room)
            self._moderation.set_room(session, what)

    def _ban(self, session: Session, record: modes.Ban) -> None:
        place, role = self._ruling.moderated(session, record.room)
        if record.given:
            ban = commands.Penalize("ban", commands.Target(), room=record.room)
            self._moderation.act(session, ban, place, self._targets.key(place, record.key))
            return
        check_rank(role, Role.NONE, "end a ban")
        rules = place.rules or RoomRules({})
        ended = _bans_of(rules, record)
        if not ended:
            raise Refused("there is no such ban", code=Code.NO_SUCH_ACTION)
        changes = dict.fromkeys(f"ban {key}" for key in ended)
        check_change(role, session.user.person, rules, changes)
        nick = next(iter(ended.values())).nick
        self._ruling.rule(session, place, f"ended the ban of {nick}", changes)

    def _list_bans(self, session: Session, record: modes.ListBans) -> None:
        place, role = self._ruling.moderated(session, record.room)
        keys: list[str] = []
        if role >= Role.OPERATOR and place.rules is not None:
            now = time.time()
            found = place.rules.penalties("ban")
            counting = (key for key, ban in found if ban.counts(now))
            keys = list(islice(counting, MOST_SHOWN))
        self._collect.reply(session, modes.BansShown(place.name, keys))


def _bans_of(rules: RoomRules, record: modes.Ban) -> dict[str, Penalty]:
    """Return the bans that a record means, by their keys."""
    if record.nick:
        bans = rules.penalties("ban")
        return {key: ban for key, ban in bans if ban.nick.casefold() == record.nick}
    value = rules.value(f"ban {record.key}")
    return {} if value is None else {record.key: Penalty.read(value)}

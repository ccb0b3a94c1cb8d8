"""Moderation: rooms with owners, their settings and roles, and what moderators do.

Each action is one entry of the log, `Ruled`. Its position is the action's number, by which it can
be undone.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from trio_chat.errors import Code, Refused
from trio_chat.hub.handlers.asking import LOG, Asking
from trio_chat.hub.handlers.rooms import room_meant
from trio_chat.hub.handlers.ruling import Ruling
from trio_chat.moderation.fields import CREATOR, GIVEN, SETTINGS, Penalty, Role
from trio_chat.moderation.permission import check_change, check_rank
from trio_chat.moderation.room_key import hidden
from trio_chat.moderation.rules import RoomRules
from trio_chat.moderation.spans import DAY, HOUR, MINUTE, describe_end, describe_span
from trio_chat.protocol import commands, events
from trio_chat.protocol.names import SERVER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.removals import Removals
    from trio_chat.hub.handlers.targets import Found, Targets
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User
    from trio_chat.roomlog import RoomLog
    from trio_chat.roomlog.rules import Action

# The seconds of a mute and of a ban if nobody gives a time. A ban of a network may hit anyone
# there, so it is short.
USUAL: Final[Mapping[str, int]] = {"mute": 10 * MINUTE, "ban": DAY}
USUAL_OF_NETWORK: Final = 2 * HOUR
DONE: Final = {"kick": "kicked", "mute": "muted", "ban": "banned"}
EVERYWHERE: Final = {
    "kick": " from the server",
    "mute": " on the server",
    "ban": " from the server",
}


class Moderation:
    """Handles the records of people who own or moderate rooms."""

    def __init__(
        self,
        state: State,
        collect: Collect,
        authorize: Authorize,
        targets: Targets,
        ruling: Ruling,
        removals: Removals,
        log: RoomLog,
    ) -> None:
        self._state = state
        self._collect = collect
        self._authorize = authorize
        self._log = log
        self._ruling = ruling
        self._targets = targets
        self._removals = removals
        self.handlers: Handlers = {
            commands.ClaimRoom: self._claim,
            commands.ShowRules: self._show,
            commands.SetRoom: self.set_room,
            commands.SetRole: self.set_role,
            commands.Penalize: self._penalize,
            commands.Undo: self._undo,
            commands.ShowActions: self._show_actions,
        }

    # --- owners, roles and settings ---------------------------------------------------------------

    def _claim(self, session: Session, record: commands.ClaimRoom) -> None:
        user, room = session.user, room_meant(session.user, record.room)
        if user.account is None:
            sentence = "only people with an account may own a room: /register, or /login NAME"
            raise Refused(sentence, code=Code.NOT_LOGGED_IN)
        rules = room.rules or RoomRules({})
        if rules.made and self._operators_in(room):
            check_rank(self._authorize.role(user, rules), Role.NONE, "claim it")
        else:
            self._check_heir(user, room, rules)
        changes: dict[str, str | None] = {f"role {gone}": None for gone in rules.owners}
        changes[f"role {user.person}"] = Role.OWNER.word
        self._ruling.rule(session, room, "claimed the room", changes, owns="you own")

    def _operators_in(self, room: Room) -> bool:
        """Whether somebody in a room is one of its operators."""
        roles = (self._authorize.role(member, room.rules) for member in room.members)
        return Role.OPERATOR in roles

    def _check_heir(self, user: User, room: Room, rules: RoomRules) -> None:
        """Raise `Refused` if others come before somebody who wants to own a room."""
        highest, heirs = self._highest(rules)
        if highest is Role.OWNER:
            raise Refused(f"{room.shown} has an owner already", code=Code.NOT_ALLOWED)
        if heirs and user.person not in heirs:
            sentence = (
                f"{room.shown} has people with a role: only those with the highest may claim it"
            )
            raise Refused(sentence, code=Code.NOT_ALLOWED)
        if not heirs and {member.person for member in room.members} != {user.person}:
            sentence = f"others are in {room.shown}: you may claim a room only while you are alone"
            raise Refused(sentence, code=Code.NOT_ALLOWED)

    def _highest(self, rules: RoomRules) -> tuple[Role, set[str]]:
        """Return the highest role in a room, and its holders. Deleted accounts do not count."""
        roles = {p: role for p, role in rules.roles().items() if self._state.has_person(p)}
        highest = max(roles.values(), default=Role.NONE)
        return highest, {person for person, role in roles.items() if role is highest}

    def _show(self, session: Session, record: commands.ShowRules) -> None:
        room = room_meant(session.user, record.room)
        rules = room.rules or RoomRules({})
        role = self._authorize.role(session.user, room.rules)
        settings = [events.RoomSetting(name, rules.setting(name)) for name in SETTINGS]
        now = time.time()
        if (raid := rules.raid(now)) is not None:
            settings.append(events.RoomSetting("raid", describe_end(raid.until, now)))
        self._collect.reply(session, events.RulesShown(room.name, room.shown, role.word, settings))

    def set_room(self, session: Session, record: commands.SetRoom) -> None:
        """Change a setting of a room. Raises `Refused`."""
        room, role = self._ruling.moderated(session, record.room)
        check_rank(role, Role.NONE, "change its settings")
        setting = SETTINGS[record.setting]
        value = None if record.value == setting.values[0] else record.value
        text = f"set {record.setting} to {record.value}"
        if setting.is_secret and value is not None:
            text, value = f"set a {record.setting}", hidden(value)
        self._ruling.rule(session, room, text, {f"set {record.setting}": value})

    def set_role(self, session: Session, record: commands.SetRole) -> None:
        """Give a person a role, or take it away. Raises `Refused`."""
        room, role = self._ruling.moderated(session, record.room)
        ids, nick = self._targets.holder(room, record.name)
        guest = self._state.users.get(ids[0])
        if guest is not None and guest not in room.members:
            raise Refused(f"{nick} is not in {room.shown}", code=Code.NO_SUCH_NICK)
        new, rules = GIVEN[record.role], room.rules or RoomRules({})
        changes = rules.giving(new, *ids)
        check_change(role, session.user.person, rules, changes)
        takes = new is Role.NONE
        text = f"took the role of {nick} away" if takes else f"made {nick} {record.role}"
        self._ruling.rule(session, room, text, changes, owns=f"{nick} owns")

    # --- kicks, mutes and bans --------------------------------------------------------------------

    def _penalize(self, session: Session, record: commands.Penalize) -> None:
        place, _ = self._ruling.ruled(session, record.room)
        if record.target.entry:
            room = room_meant(session.user, None) if place.name == SERVER else place
            ask = partial(self._log.before, room.name, record.target.entry + 1, 1)
            then = partial(self._penalize_author, record, room.name)
            self._collect.query(session, record, Asking(LOG, ask, then))
            return
        self.act(session, record, place, self._targets.find(session, place, record.target))

    def _penalize_author(
        self,
        record: commands.Penalize,
        name: str,
        session: Session,
        entries: Sequence[events.PersistentEntry],
    ) -> None:
        place, _ = self._ruling.ruled(session, SERVER if record.room == SERVER else name)
        found = self._targets.author(place, record.target, entries)
        self.act(session, record, place, found)

    def act(self, session: Session, record: commands.Penalize, room: Room, found: Found) -> None:
        """Kick, mute or ban the people who were found. Raises `Refused`."""
        verb, now = record.verb, time.time()
        reason = f": {record.reason}" if record.reason else ""
        found.check(verb, self._authorize.role(session.user, room.rules), room)
        persons = {user.person for user in found.users}
        where = EVERYWHERE[verb] if room.name == SERVER else ""
        if verb == "kick":
            ousted = tuple(user.id for user in found.users_in(room))
            text = f"kicked {found.nick}{where}{reason}"
            self._ruling.rule(session, room, text, {}, ousted, silenced=persons)
            return
        self._targets.check_spares(session, room, found)
        usual = USUAL_OF_NETWORK if found.is_network and verb == "ban" else USUAL[verb]
        seconds = usual if record.seconds == commands.USUAL_TIME else record.seconds
        until = None if seconds is None else round(now + seconds)
        spares = round(now) if found.is_network and not record.all else 0
        penalty = Penalty(found.nick, until, record.reason, spares).write()
        is_guest = bool(found.users or found.left)
        whom = f"the network of {found.nick}" if found.is_network and is_guest else found.nick
        if record.all and found.is_network:
            where += ", accounts too,"
        text = f"{DONE[verb]} {whom}{where} {describe_span(seconds)}{reason}"
        changes = {f"{verb} {key}": penalty for key in found.keys}
        self._ruling.rule(session, room, text, changes, silenced=persons.union(found.keys))

    # --- actions ----------------------------------------------------------------------------------

    def _undo(self, session: Session, record: commands.Undo) -> None:
        room, role = self._ruling.ruled(session, record.room)
        check_rank(role, Role.NONE, "undo actions")
        ask = partial(self._log.actions, room.name, record.action + 1, 1)
        self._collect.query(
            session, record, Asking(LOG, ask, partial(self._undo_found, record, room.name))
        )

    def _undo_found(
        self, record: commands.Undo, name: str, session: Session, actions: Sequence[Action]
    ) -> None:
        number, (room, role) = record.action, self._ruling.ruled(session, name)
        if not actions or actions[-1].position != number:
            raise Refused(f"there is no action A{number}", code=Code.NO_SUCH_ACTION)
        action, rules = actions[-1], room.rules or RoomRules({})
        if not rules.reaches(role, action.time):
            sentence = f"A{number} is older than this room: only operators of the server undo it"
            raise Refused(sentence, code=Code.NOT_ALLOWED)
        if action.removed:
            self._removals.undo(session, record, room, action)
            return
        if not action.now:
            sentence = f"A{number} cannot be undone, or no longer: {action.text}"
            raise Refused(sentence, code=Code.NO_SUCH_ACTION)
        if not still_counts(action, rules):
            sentence = f"A{number} no longer counts: it was undone, or changed since (see /log)"
            raise Refused(sentence, code=Code.NO_SUCH_ACTION)
        changes = {name: value for name, value in action.was.items() if name != CREATOR}
        check_change(role, session.user.person, rules, changes)
        text = f"undid A{number}: {action.text}"
        self._ruling.rule(session, room, text, changes, owns="who was the owner owns")

    def _show_actions(self, session: Session, record: commands.ShowActions) -> None:
        room, role = self._ruling.ruled(session, record.room)
        check_rank(role, Role.NONE, "see its actions")
        ask = partial(self._log.actions, room.name, record.before, record.limit)
        self._collect.query(session, record, Asking(LOG, ask, partial(self._actions, room.name)))

    def _actions(self, name: str, session: Session, actions: Sequence[Action]) -> None:
        room, role = self._ruling.ruled(session, name)
        check_rank(role, Role.NONE, "see its actions")
        rules = room.rules or RoomRules({})
        shown = [shown_action(action, rules, role) for action in actions]
        self._collect.reply(session, events.ActionsShown(room.name, room.shown, shown))


def still_counts(action: Action, rules: RoomRules) -> bool:
    """Whether all that an action has changed is as it left it, so that it can be undone.

    An action that gave a room its owner and ended that it has a creator cannot be undone.
    """
    if CREATOR in action.now and action.now[CREATOR] is None:
        return False
    return all(rules.value(name) == value for name, value in action.now.items())


def shown_action(action: Action, rules: RoomRules, role: Role) -> events.ActionShown:
    """Return an action as a moderator with this role gets it."""
    undoable = bool(action.removed or (action.now and still_counts(action, rules)))
    undoable = undoable and rules.reaches(role, action.time)
    about = action.author, action.nick, action.text, action.time
    return events.ActionShown(action.position, *about, undoable)

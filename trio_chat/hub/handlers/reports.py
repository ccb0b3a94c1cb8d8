"""Reports: people tell the moderators of their room about somebody."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from trio_chat.errors import Code, Refused
from trio_chat.hub.handlers.asking import ACCOUNTS, LOG, Asking
from trio_chat.hub.handlers.rooms import room_meant
from trio_chat.hub.turn import Origin
from trio_chat.moderation.fields import Role
from trio_chat.moderation.permission import check_rank
from trio_chat.people.reports import Report
from trio_chat.protocol import commands, events
from trio_chat.protocol.names import SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.ruling import Ruling
    from trio_chat.hub.handlers.targets import Targets
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User
    from trio_chat.people.reports import Reports as KeptReports
    from trio_chat.protocol.names import Name
    from trio_chat.roomlog import RoomLog


class Reports:
    """Handles reports, and the questions of moderators about them."""

    def __init__(
        self,
        state: State,
        collect: Collect,
        authorize: Authorize,
        targets: Targets,
        ruling: Ruling,
        log: RoomLog,
    ) -> None:
        self._state = state
        self._collect = collect
        self._authorize = authorize
        self._targets = targets
        self._ruling = ruling
        self._log = log
        self.handlers: Handlers = {
            commands.MakeReport: self._report,
            commands.ShowReports: self._show,
            commands.FinishReport: self._finish,
        }

    # --- a report ---------------------------------------------------------------------------------

    def _report(self, session: Session, record: commands.MakeReport) -> None:
        room = room_meant(session.user, record.room)
        self._kept()
        has_none = room.rules is None or room.rules.made
        if has_none and not self._state.operators:
            sentence = f"nobody moderates {room.shown}: /ignore ends what you read of someone"
            raise Refused(sentence, code=Code.UNMODERATED)
        target = record.target
        if target.name is not None:
            self._add(session, record, room, *self._meant(target.name))
        elif target.entry:
            ask = partial(self._log.before, room.name, target.entry + 1, 1)
            then = partial(self._author, record, room.name)
            self._collect.query(session, record, Asking(LOG, ask, then))
        else:
            sentence = "a network cannot be reported: /report NICK, or /report @ID"
            raise Refused(sentence, code=Code.BAD_USAGE)

    def _meant(self, name: Name) -> tuple[str, str]:
        """Return the id and the nick of a person who is here, or has an account."""
        user = self._state.named(name.casefolded)
        return self._targets.account(name) if user is None else (user.person, user.nick)

    def _author(
        self,
        record: commands.MakeReport,
        name: str,
        session: Session,
        entries: Sequence[events.PersistentEntry],
    ) -> None:
        number, room = record.target.entry, room_meant(session.user, name)
        if not entries or entries[-1].position != number:
            raise Refused(f"there is no entry {number} any more", code=Code.BAD_USAGE)
        self._add(session, record, room, entries[-1].author, entries[-1].nick)

    def _add(
        self, session: Session, record: commands.MakeReport, room: Room, person: str, nick: str
    ) -> None:
        user = session.user
        if person == user.person:
            raise Refused("you cannot report yourself", code=Code.NOT_ALLOWED)
        # No text of a message: that may be removed later, and this may not.
        report = Report(
            number=0,
            room=room.name,
            reporter=user.person,
            reporter_nick=user.nick,
            target=person,
            target_nick=nick,
            entry=record.target.entry,
            text=record.text,
            time=0.0,
        )
        tags = self._authorize.tags(user)
        ask = partial(self._kept().add, report, tags[0] if tags else "")
        self._collect.query(session, record, Asking(ACCOUNTS, ask, self._added))

    def _added(self, session: Session, report: Report) -> None:
        told = _reported(report)
        for operator in self._operators(report):
            for device in (operator, *operator.others):
                if device.session is not None and device.session is not session:
                    self._collect.answer(Origin(device.session), told)
        sentence = f"report {report.number} is kept for the moderators of the room"
        self._collect.reply(session, events.Notice(sentence))

    def _operators(self, report: Report) -> Iterator[User]:
        """The people here who moderate the room, but for the one whom the report is about."""
        found: dict[str, User] = {}
        room = self._state.rooms.get(report.room)
        rules = None if room is None else room.rules
        for person, role in ({} if rules is None or rules.made else rules.roles()).items():
            users = [user for user in self._state.users_of(person) if report.room in user.rooms]
            if users and role >= Role.OPERATOR:
                found[person] = users[0]
        for key in self._state.operators:
            user = self._state.nicks.get(key)
            if user is not None and user.account is not None:
                found[user.person] = user
        found.pop(report.target, None)
        return iter(found.values())

    # --- moderators -------------------------------------------------------------------------------

    def _moderated(self, session: Session, name: str | None) -> str | None:
        """Return the room whose reports a moderator may read; `None` is all rooms."""
        room, role = self._ruling.ruled(session, name)
        check_rank(role, Role.NONE, "read reports")
        if role is Role.OPERATOR and room.rules is not None and room.rules.made:
            sentence = f"{room.shown} has no owner, so operators of the server read its reports"
            raise Refused(sentence, code=Code.NOT_ALLOWED)
        return None if room.name == SERVER else room.name

    def _show(self, session: Session, record: commands.ShowReports) -> None:
        room = self._moderated(session, record.room)
        then = partial(self._shown, record.room if room is None else room)
        self._collect.query(
            session, record, Asking(ACCOUNTS, partial(self._kept().open, room), then)
        )

    def _shown(self, name: str | None, session: Session, reports: Sequence[Report]) -> None:
        self._moderated(session, name)
        person = session.user.person
        shown = [_reported(report) for report in reports if report.target != person]
        self._collect.reply(session, events.ReportsShown(shown))

    def _finish(self, session: Session, record: commands.FinishReport) -> None:
        room = self._moderated(session, record.room)
        ask = partial(self._kept().finish, record.number, room, session.user.person)
        sentence = f"report {record.number} is done"
        then = partial(self._finished, sentence)
        self._collect.query(session, record, Asking(ACCOUNTS, ask, then))

    def _finished(self, sentence: str, session: Session, _: None) -> None:
        self._collect.reply(session, events.Notice(sentence))

    def _kept(self) -> KeptReports:
        if self._state.people is None:
            raise Refused("this server keeps no reports", code=Code.NO_ACCOUNTS)
        return self._state.people.reports


def _reported(report: Report) -> events.Reported:
    return events.Reported(
        number=report.number,
        room=report.room,
        reporter=report.reporter,
        reporter_nick=report.reporter_nick,
        target=report.target,
        nick=report.target_nick,
        entry=report.entry,
        text=report.text,
        time=report.time,
    )

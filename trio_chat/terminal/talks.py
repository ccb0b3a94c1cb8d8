"""Private talks: a window for each person, whatever their nick is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.terminal import lines
from trio_chat.terminal.window import Talk

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from trio_chat.protocol.events import Told
    from trio_chat.terminal.window import Window, Windows

# Windows with a key of their own: Alt-1 to Alt-9.
MOST_KEYS: Final = 9


class Talks:
    """The private talks among these windows. `now` gives the time in seconds since 1970."""

    def __init__(self, windows: Windows, now: Callable[[], float]) -> None:
        self._windows = windows
        self._now = now

    def open(self, nick: str) -> Talk:
        """The talk with the person who has this nick, opened if there is none."""
        client = self._windows.client_called(nick) or ""
        talk = self._windows.talk_with(client) if client else self._windows.talk_called(nick)
        if talk is None:
            talk = self._open(client, nick)
            text = f"what you type here is for {talk.name} alone, and is not kept on the server"
            self._remark(talk, text)
        return talk

    def recipient(self, talk: Talk, text: str) -> str | None:
        """The client id that this text is for, or `None` for any holder of the nick.

        It is `None` for the first text to a person who is in none of this client's rooms. It is
        also `None` for a text that is typed again after `ask`.
        """
        asked, talk.asked = talk.asked, ""
        return None if text == asked else talk.client or None

    def ask(self, talk: Talk, text: str, reason: str) -> None:
        """Ask whether this text may go to another person, who has the nick now."""
        talk.asked = text
        again = "type it again (↑ Enter) to send it to them"
        talk.add(self._now(), lines.fault(self._now(), f"not sent: {reason}; {again}"))

    def sent(self, talk: Talk, nick: str, told: Told) -> None:
        """Show this person's own message, which has reached the other one; `nick` is their own."""
        if talk.client != told.to:
            talk.client, talk.gone = told.to, False
        talk.add(self._now(), lines.message(self._now(), nick, told.text))
        if told.waited:
            self._remark(talk, f"{talk.name} is away: this message waits")

    def sent_by_command(self, to_nick: str, nick: str, told: Told) -> None:
        """Show a message that was sent with `/tell`, also in the window where it was typed."""
        talk = self._with(told.to, to_nick)
        self.sent(talk, nick, told)
        if talk is not self._windows.current:
            line = lines.told(self._now(), to_nick, told.text)
            self._windows.current.add(self._now(), line)

    def received(self, told: Told) -> None:
        """Show a message of another person; the first one is announced on screen."""
        known = self._windows.talk_with(told.author)
        talk = self._with(told.author, told.nick)
        if known is None and talk is not self._windows.current:
            number = self._windows.number(talk)
            key = f"Alt-{number}" if number <= MOST_KEYS else "Alt-A"
            self._remark(self._windows.current, f"{told.nick} writes to you alone: {key} shows it")
        if talk.name != told.nick:
            self._remark(talk, f"{talk.name} is now {told.nick}")
        talk.name, talk.gone = told.nick, False
        first_new = self._windows.count(talk, called=True)
        if told.waited:
            line = lines.waited(told.time, told.nick, told.text)
        else:
            line = lines.message(self._now(), told.nick, told.text)
        talk.add(self._now(), line, first_new=first_new)

    def identify(self, old: str, new: str) -> None:
        """Take in that a person has logged in or out, and so has another id."""
        talk = self._windows.talk_with(old)
        if talk is not None and self._windows.talk_with(new) is None:
            talk.client = new

    def follow(self, clients: Collection[str]) -> None:
        """Follow these clients to a new nick, out of this client's rooms, and back."""
        for talk in self._windows.talks:
            if talk.client in clients:
                self._follow(talk, self._windows.nick_of(talk.client))

    def _follow(self, talk: Talk, nick: str | None) -> None:
        if nick is None:
            if not talk.gone:
                self._remark(talk, f"{talk.name} has left your rooms")
            talk.gone = True
            return
        if talk.gone:
            self._remark(talk, f"{nick} is back")
        elif nick != talk.name:
            self._remark(talk, f"{talk.name} is now {nick}")
        talk.name, talk.gone = nick, False

    def _with(self, client: str, nick: str) -> Talk:
        """The talk with this client, opened if there is none."""
        talk = self._windows.talk_with(client)
        if talk is None:
            talk = self._windows.talk_called(nick)
            if talk is None or talk.client:  # else it has waited for a first message
                talk = self._open(client, nick)
        talk.client = client
        return talk

    def _open(self, client: str, nick: str) -> Talk:
        talk = Talk(self._windows.nick_of(client) or nick, client=client)
        self._windows.add(talk)
        return talk

    def _remark(self, window: Window, text: str) -> None:
        window.add(self._now(), lines.quiet(self._now(), text))

"""Keeps early signals until somebody obeys them.

That is so before the parent has begun, and while it becomes another program, for as long as Python
needs to start.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

from attrs import define, field

from trio_chat.daemon.signals import SIGNALS


@define
class KeptSignals:
    """The signals that have come, in their order."""

    _numbers: list[int] = field(factory=list)

    def begin(self) -> None:
        """Keep signals from here on, and those that an earlier program has held back."""
        for number in SIGNALS:
            signal.signal(number, self._keep)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _keep(self, number: int, _: FrameType | None) -> None:
        self._numbers.append(number)

    def send_again(self) -> None:
        """Have this process get them now, since somebody obeys."""
        numbers, self._numbers = self._numbers, []
        for number in numbers:
            # To the main thread, which alone holds signals back.
            signal.pthread_kill(threading.main_thread().ident or 0, number)

    def hold_back(self) -> None:
        """Have the system hold them back: the next program gets them when it wants them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self.send_again()

"""The daemon with a clock that is wrong: `other_clock.py SECONDS serve ...`.

Both the time of day and the time since the start run on, from another beginning.
"""

from __future__ import annotations

import sys
import time

ahead = float(sys.argv.pop(1))
right = time.time
time.time = lambda: right() + ahead

from trio_chat import cli  # noqa: E402 - after the clock is changed, as on such a machine

if __name__ == "__main__":
    cli.main()

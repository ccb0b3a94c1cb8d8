"""The terminal client, `trio-chat connect`: a person's screen, or plain lines in a pipe.

`command` is its command line. `conversation` passes events to the `view`, which makes lines of
them, and typed lines to the server. `screen` is a terminal, `plain` a pipe.
"""

from __future__ import annotations

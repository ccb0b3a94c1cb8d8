"""The terminal client, `trio-chat connect`: a screen for a person, or plain lines in a pipe.

`command` has its options and `connect` runs it. On a terminal, `conversation` passes events to the
`view` and typed lines to the server, and `screen` draws the view. In a pipe, `plain` does all.
"""

from __future__ import annotations

"""The terminal client, `trio-chat connect`: a person's screen, or plain lines in a pipe."""

from __future__ import annotations

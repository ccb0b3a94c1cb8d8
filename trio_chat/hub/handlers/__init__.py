"""Handlers: what each kind of record leads to, by what it is about.

One module for each subject. They read the state, and give replies and drafts to
`trio_chat.hub.decide`. A new command gets its handler here, and its row in
`trio_chat.protocol.table`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Handlers: TypeAlias = dict[type, Callable[..., None]]
"""What is called with a session and its record, by the class of the record."""

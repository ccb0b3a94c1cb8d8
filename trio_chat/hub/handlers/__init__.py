"""Handlers decide each kind of record.

There is one module for each subject. Handlers read the state, and give replies and drafts to
`trio_chat.hub.collect`. A new command gets its handler here, and its row in
`trio_chat.protocol.table`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Handlers: TypeAlias = dict[type, Callable[..., None]]
"""Handlers by the class of the record; each is called with a session and its record."""

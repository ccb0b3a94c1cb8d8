"""The keys of a chat in the engine, and the version of what they hold."""

from __future__ import annotations

from typing import Final

# All keys begin with this hash tag, so scripts may use them together.
KEY: Final = "{trio_chat}"
# Logins and rules of rooms came with 2, removals and messages that wait with 3, limits and keys of
# rooms with 4. The engine takes none of them while a node knows less.
SCHEMA: Final = 4

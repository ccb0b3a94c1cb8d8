"""The progress of a command on stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str], object]
"""Is told now and then, in a few words, how far a command has come. It may raise to end it."""

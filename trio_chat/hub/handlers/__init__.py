"""Handlers: what each kind of record does, by what it is about.

Each changes the state, and adds to the outcomes what is to be said of it. Nothing is delivered yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Handlers: TypeAlias = dict[type, Callable[..., None]]
"""What is called with a client and its record, by the class of the record."""

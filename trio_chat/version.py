"""The version of the package."""

from __future__ import annotations

import importlib.metadata
from functools import cache


@cache
def version() -> str:
    """The version of the package, as far as it is installed."""
    try:
        return importlib.metadata.version("trio-chat")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"

"""The file that a command reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.errors import StoreError
from trio_chat.roomlog.sqlite.file import ROOMS, Form, check_header
from trio_chat.roomlog.sqlite.lock import real
from trio_chat.stores.replacement import ANOTHER

if TYPE_CHECKING:
    from pathlib import Path


def check_exists(path: Path, form: Form = ROOMS) -> None:
    """Check that there is a file of this form. Raises `StoreError`."""
    check_header(path, ANOTHER, form)
    if not path.exists():
        raise StoreError(f"there is no file {path}: {ANOTHER}")
    if not path.stat().st_size:
        raise StoreError(f"{path} is empty: {ANOTHER}")


def check_source(source: Path, target: Path, form: Form = ROOMS) -> None:
    """Check that there is a file of this form, and that the target is another file.

    Raises `StoreError`.
    """
    check_exists(source, form)
    if real(source) == real(target):
        raise StoreError(f"{source} and {target} are the same file: {ANOTHER}")

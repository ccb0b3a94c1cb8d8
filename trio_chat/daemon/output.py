"""Writes what a command shows to standard output, which may be a full disk or a closed pipe."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from trio_chat.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def show(text: str) -> None:
    """Print a line; raises like `writing`."""
    with writing():
        click.echo(text)


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a line for each row, with the cells of a column below each other."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for cells in rows:
        padded = (f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
        yield "  ".join(padded).rstrip()


def time_of(since: object) -> str:
    """Write seconds since 1970 as the log writes times, without their fractions."""
    if not isinstance(since, (int, float)):
        return ""
    return f"{datetime.fromtimestamp(since, UTC):%Y-%m-%dT%H:%M:%SZ}"


@contextmanager
def writing() -> Iterator[None]:
    """Write to standard output within the block.

    Raises `ControlError` if that is impossible, and `BrokenPipeError` if nobody reads any more.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # At its end, Python would try to write the rest again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        problem = f"cannot write to standard output: {error.strerror}"
        raise ControlError(problem) from None

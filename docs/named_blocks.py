"""Blocks of a page that are files: their first line is a comment with the name of the file."""

from __future__ import annotations

import re
from pathlib import Path

NAMED = re.compile(r"^```python\n(?P<code># (?P<name>\w+\.py)\n.*?)^```$", re.MULTILINE | re.DOTALL)


def write_files(page: Path, directory: Path) -> list[Path]:
    """Write the files of a page into a directory; gives their paths."""
    text = page.read_text(encoding="utf-8")
    files = [(directory / match["name"], match["code"]) for match in NAMED.finditer(text)]
    for path, code in files:
        path.write_text(code, encoding="utf-8")
    return [path for path, _ in files]

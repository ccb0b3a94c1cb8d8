"""Runs each Python block of the README and of the pages, and follows their links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from named_blocks import NAMED

HERE = Path(__file__).parent
ROOT = HERE.parent
PAGES = [ROOT / "README.md", *sorted(HERE.glob("*.md"))]

BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
# A file of the repository that a page names, such as in a command.
FILE = re.compile(r"\b(?:examples|benchmarks|docs|tests|trio_chat)/[\w./-]*\w")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)(?P<path>[^)#\s]+)")


def blocks() -> Iterator[object]:
    """Each block as the parameters page, line of its first statement, code."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start("code")) + 1
            yield pytest.param(page, line, match["code"], id=f"{page.name}:{line}")


@pytest.mark.parametrize(("page", "line", "code"), list(blocks()))
def test_block_runs(page: Path, line: int, code: str) -> None:
    if NAMED.match(f"```python\n{code}```"):
        return  # a file: test_tutorial.py runs it
    # The empty lines make a traceback point into the page.
    program = compile("\n" * (line - 1) + code, str(page), "exec")
    exec(program, {"__name__": "__main__"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [match["path"] for match in LINK.finditer(page.read_text(encoding="utf-8"))]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    # `benchmarks/build` is where results go.
    named = set(FILE.findall(page.read_text(encoding="utf-8"))) - {"benchmarks/build"}
    assert {name for name in named if not (ROOT / name).exists()} == set()

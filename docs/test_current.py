"""The pages agree with the code about commands, settings, modules and public names."""

from __future__ import annotations

import fnmatch
import html
import re
import tomllib
from pathlib import Path

import attrs
import picture
import pytest
import schema
import tables
import terminal_picture
import trio

import trio_chat
from trio_chat.protocol.chat_rows import ROWS
from trio_chat.testing import line_client

HERE = Path(__file__).parent
ROOT = HERE.parent


def page(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def first_cells(text: str, heading: str) -> list[str]:
    """The first column of the table under a heading."""
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [cell.strip("`") for cell in re.findall(r"^\| (\S+) \|", section, re.MULTILINE)][2:]


@pytest.mark.parametrize("path", tables.PAGES, ids=lambda path: path.name)
def test_tables_are_current(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert tables.current(text) == text, "run: python docs/tables.py"


def test_the_schema_is_current() -> None:
    text = schema.PAGE.read_text(encoding="utf-8")
    assert schema.current() == text, "run: python docs/schema.py"


def test_every_table_stands_somewhere() -> None:
    texts = [path.read_text(encoding="utf-8") for path in tables.PAGES]
    assert {found[2] for text in texts for found in tables.TABLE.finditer(text)} == set(
        tables.MAKERS
    )


def test_every_command_has_its_example() -> None:
    assert list(tables.EXAMPLES) == [row.name for row in ROWS]


async def test_the_picture_shows_what_the_server_says() -> None:
    async with (
        trio_chat.open_chat() as chat,
        line_client(chat) as john,
        line_client(chat) as jack,
    ):
        people = {picture.JOHN: john, picture.JACK: jack}
        for who, typed, reader, line in picture.TALK.scene:
            if typed.startswith("/"):
                await people[who].send(typed)
                with trio.fail_after(5):
                    while (got := await people[reader].line()) != line:
                        assert got, f"{reader} never sees {line!r}"


@pytest.mark.parametrize("one", picture.PICTURES, ids=lambda one: one.file.name)
def test_the_picture_is_of_this_scene(one: picture.Picture) -> None:
    shown = re.findall(r'fill="[^"]*">(?:\$ )?([^<]+)</text>', one.file.read_text())
    shown = [html.unescape(line) for line in shown]
    for _, typed, _, line in one.scene:
        assert typed in shown
        assert fnmatch.filter(shown, line)


def test_the_picture_of_the_terminal_is_of_its_scene() -> None:
    text = re.sub("<[^>]*>", "", terminal_picture.PICTURE.read_text())
    scene = terminal_picture.SCENE[5:]  # what was before john came
    for _, _, reader, expected in scene:
        assert reader != terminal_picture.JOHN or expected in text
    assert terminal_picture.TYPED in text


def test_the_modules_of_the_page_import_down_only() -> None:
    folder = ROOT / "trio_chat" / "web"
    section = page("design.md").partition("\n## Modules of the page\n")[2].partition("\n## ")[0]
    modules = re.findall(r"`([\w-]+\.js)`", section)
    assert sorted(modules) == sorted(path.name for path in folder.glob("*.js"))
    for index, module in enumerate(modules):
        source = (folder / module).read_text(encoding="utf-8")
        imported = set(re.findall(r'^import .* from "\./(.*)";$', source, re.MULTILINE))
        assert imported <= set(modules[index + 1 :]), module


def test_the_design_gives_a_reason_for_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for extra in project["optional-dependencies"].values() for name in extra]
    requirements = [*project["dependencies"], *extras]
    names = [re.split(r"[<>=\[]", requirement)[0] for requirement in requirements]
    assert sorted(first_cells(page("design.md"), "Dependencies")) == sorted(names)


def for_programs() -> str:
    return page("bots.md") + page("embedding.md")


@pytest.mark.parametrize("name", trio_chat.__all__)
def test_embedding_tells_of_every_public_name(name: str) -> None:
    assert re.search(rf"\b{name}\b", for_programs())


@pytest.mark.parametrize("field", attrs.fields(trio_chat.Statistics), ids=lambda field: field.name)
def test_embedding_tells_of_every_statistic(field: object) -> None:
    assert f"`{field.name}`" in for_programs()


@pytest.mark.parametrize("field", attrs.fields(trio_chat.UserInfo), ids=lambda field: field.name)
def test_embedding_tells_of_every_field_of_a_user(field: object) -> None:
    assert f"| `{field.name}` |" in for_programs()


def test_embedding_tells_of_every_call_of_an_in_process_client() -> None:
    calls = [name for name in vars(trio_chat.InProcessClient) if not name.startswith("_")]
    assert not [name for name in calls if not re.search(rf"`{name}[`(]", for_programs())]

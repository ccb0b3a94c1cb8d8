"""Any bytes, for any dialect: nothing breaks, and pieces, pauses and limits change nothing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from attacks import SETTINGS, attack, run
from feeding import COMMANDS, REGISTER, SAY, TARGETS, Way, check_feeding, feed_any
from frames import REQUEST, frame
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

WAYS = st.tuples(st.integers(1, 255), st.integers(0, 9), st.integers(0, 7)).map(bytes)


@pytest.mark.parametrize("name", TARGETS)
@given(way=WAYS, data=st.data())
@how(max_examples=60)
def test_how_bytes_come_changes_nothing(name: str, way: bytes, data: st.DataObject) -> None:
    seeds = st.sampled_from(TARGETS[name].seeds)
    parts = data.draw(st.lists(seeds | st.binary(max_size=20), max_size=4))
    feed_any(name, way + b"".join(parts))


@pytest.mark.parametrize("name", TARGETS)
def test_the_examples_come_to_the_same_a_byte_at_a_time(name: str) -> None:
    for seed in TARGETS[name].seeds:
        check_feeding(TARGETS[name], seed, Way(1, 5, 1))


FRAMES = st.builds(
    frame,
    st.sampled_from([0x81, 0x81, 0x81, 0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8A, 0xC1, 0x83]),
    st.sampled_from([SAY, *COMMANDS]) | st.binary(max_size=40),
)
JOINED = REQUEST + frame(0x81, COMMANDS[0]) + frame(0x81, COMMANDS[1])


@given(frames=st.lists(FRAMES, min_size=1, max_size=6))
@how(max_examples=30)
def test_no_frames_do_harm_to_those_in_the_same_room(frames: list[bytes]) -> None:
    run(attack, frames, SETTINGS, JOINED)


MESSAGES = st.sampled_from(
    [line for seed in TARGETS["irc"].seeds for line in seed.splitlines(keepends=True)]
)


@given(lines=st.lists(MESSAGES | st.binary(max_size=40), min_size=1, max_size=6))
@how(max_examples=30)
def test_no_messages_of_irc_do_harm_to_those_in_the_same_room(lines: list[bytes]) -> None:
    run(attack, lines, SETTINGS, REGISTER + b"\nJOIN #a\n")


def test_nox_fuzzes_each_kind() -> None:
    tree = ast.parse(Path(__file__).parents[1].joinpath("noxfile.py").read_text())
    [names] = [
        {leaf.value for leaf in ast.walk(node.value) if isinstance(leaf, ast.Constant)}
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FUZZ_TARGETS"
    ]
    assert names == {*TARGETS, "chat", "tls"}

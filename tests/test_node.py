"""A node has a name that no other node of its chat has, by itself or by its settings."""

from __future__ import annotations

import pytest

from trio_chat import Settings, SettingsError
from trio_chat.config import node
from trio_chat.config.node import default_node


@pytest.mark.parametrize(
    ("machine", "instance", "name"),
    [
        ("alpha.example.org", "8888", "alpha.example.org:8888"),
        ("alpha", "chat", "alpha:chat"),
        ("a b_ö", "x y", "a-b_-:x-y"),
        ("", "1", "node:1"),
        ("a" * 80, "65535", "a" * 58 + ":65535"),
        ("alpha", "b" * 99, "a:" + "b" * 62),
    ],
)
def test_the_default_is_the_machine_and_the_daemon(machine, instance, name, monkeypatch) -> None:
    monkeypatch.setattr(node.socket, "gethostname", lambda: machine)
    assert default_node(instance) == name
    assert Settings(node=name).node == name


@pytest.mark.parametrize("name", ["a", "A-1_b.c:8888", "x" * 64])
def test_a_name(name: str) -> None:
    assert Settings(node=name).node == name


@pytest.mark.parametrize("name", [" ", "a b", "ö", "x" * 65, "a/b", "a\n", 1])
def test_invalid_names_are_refused(name: object) -> None:
    with pytest.raises(SettingsError, match=r"^node must be a name of at most 64 letters, digits"):
        Settings(node=name)

"""The documents about accounts: what they become, and that no refusal has a secret."""

from __future__ import annotations

import json

import pytest

from trio_chat.config.settings import Settings
from trio_chat.dialects import documents
from trio_chat.dialects.account_forms import ACCOUNT_FORMS
from trio_chat.dialects.forms import Context
from trio_chat.errors import Code
from trio_chat.protocol import commands
from trio_chat.protocol.commands import Command, Refuse
from trio_chat.protocol.names import parse_nick
from trio_chat.protocol.table import make_table

JOHN = parse_nick("john", 32)
TABLE = make_table(accounts=True)


def read(kind: str, table=TABLE, **fields: object) -> Command:
    text = json.dumps({"type": kind, **fields})
    return documents.read(text, Context(table, Settings(), private=True))


EXAMPLES = [
    ("register", {"password": "secret"}, commands.Register("secret")),
    ("login", {"name": "john", "password": "secret"}, commands.LogIn(JOHN, "secret")),
    ("authenticate", {"token": "t0ken"}, commands.Authenticate("t0ken")),
    ("logout", {}, commands.LogOut()),
    ("change_password", {"old": "a", "new": "b"}, commands.ChangePassword("a", "b")),
    (
        "recover",
        {"name": "john", "code": "c0de", "password": "b"},
        commands.Recover(JOHN, "c0de", "b"),
    ),
    ("show_account", {}, commands.ShowAccount()),
    ("list_devices", {}, commands.ListDevices()),
    ("revoke_device", {"number": 3}, commands.RevokeDevice(3)),
    ("export_account", {}, commands.ExportAccount()),
    ("renew_recovery", {"password": "secret"}, commands.RenewRecovery("secret")),
    ("delete_account", {"password": "secret"}, commands.DeleteAccount("secret")),
]


@pytest.mark.parametrize(("kind", "fields", "record"), EXAMPLES)
def test_each_becomes_its_record(kind: str, fields: dict[str, object], record: Command) -> None:
    assert read(kind, **fields) == record


@pytest.mark.parametrize("kind", ACCOUNT_FORMS)
def test_without_the_rows_there_are_no_such_documents(kind: str) -> None:
    refused = Refuse(f"there is no command of the type {kind}", Code.UNKNOWN_COMMAND)
    assert read(kind, make_table()) == refused


def test_each_has_an_example_here() -> None:
    assert [kind for kind, *_ in EXAMPLES] == list(ACCOUNT_FORMS)


@pytest.mark.parametrize("wrong", ["", 5, None, ["secret"], "secret\ud800"])
@pytest.mark.parametrize(
    ("kind", "fields"),
    [(kind, fields) for kind, fields, _ in EXAMPLES if fields and kind != "revoke_device"],
)
def test_no_refusal_has_a_secret(kind: str, fields: dict[str, object], wrong: object) -> None:
    record = read(kind, **dict.fromkeys(fields, "john") | {list(fields)[-1]: wrong})
    assert isinstance(record, Refuse)
    assert "secret" not in repr(record)


def test_a_typed_line_has_no_place_for_a_secret() -> None:
    refused = Refuse("a typed line has no password: send a document", Code.BAD_USAGE)
    for line in ("/login john", "/register", "/password", "/recover john", "/account delete"):
        assert read("command", line=line) == refused
    assert read("command", line="/account") == commands.ShowAccount()

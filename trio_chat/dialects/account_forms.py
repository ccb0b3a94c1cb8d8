"""The commands of the WebSocket protocol that are about accounts.

They are there if the command table has the rows about accounts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.dialects.forms import STRING, SURROGATE, Field, Form, number, string
from trio_chat.dialects.secrets import NOT_ENCRYPTED_HERE
from trio_chat.errors import Code, Refused
from trio_chat.protocol import commands
from trio_chat.protocol.names import parse_nick

if TYPE_CHECKING:
    from trio_chat.dialects.forms import Context
    from trio_chat.protocol.names import Name


def _name(value: object, context: Context) -> Name:
    return parse_nick(string(value, "name"), context.settings.nick_chars)


def _secret(what: str) -> Field:
    """Make a field for a secret. No refusal repeats it."""

    def read(value: object, context: Context) -> str:
        if not context.private and context.settings.plaintext_passwords == "refuse":
            raise Refused(NOT_ENCRYPTED_HERE, code=Code.NOT_ENCRYPTED)
        secret = string(value, what)
        if not secret or SURROGATE.search(secret):
            raise Refused(f"{what} must be a text with characters", code=Code.BAD_TEXT)
        return secret

    return Field(read, STRING)


def _label(value: object, _: Context) -> str:
    label = string(value, "device")
    if not 0 < len(label) <= LABEL_CHARS or not label.isprintable():
        raise Refused(
            f"device must have 1 to {LABEL_CHARS} printable characters", code=Code.BAD_TEXT
        )
    return label


# The longest name of a device in a list.
LABEL_CHARS: Final = 40

_PASSWORD: Final = _secret("password")
_DEVICE: Final = Field(_label, STRING, None)

ACCOUNT_FORMS: Final[dict[str, Form]] = {
    "register": Form(
        commands.Register,
        {"password": _PASSWORD, "device": _DEVICE},
        "make an account for the client's nick",
    ),
    "login": Form(
        commands.LogIn,
        {"name": Field(_name, STRING), "password": _PASSWORD, "device": _DEVICE},
        "log in to an account",
    ),
    "authenticate": Form(
        commands.Authenticate,
        {"token": _secret("token")},
        "log in with the token of a device, or of a site",
    ),
    "logout": Form(commands.LogOut, {}, "log out of the account"),
    "change_password": Form(
        commands.ChangePassword,
        {"old": _secret("old password"), "new": _secret("new password"), "device": _DEVICE},
        "change the password of the account",
    ),
    "recover": Form(
        commands.Recover,
        {
            "name": Field(_name, STRING),
            "code": _secret("code"),
            "password": _PASSWORD,
            "device": _DEVICE,
        },
        "set a new password with a recovery code, and log in",
    ),
    "show_account": Form(commands.ShowAccount, {}, "ask which account the client is logged in to"),
    "list_devices": Form(commands.ListDevices, {}, "ask which devices have a token"),
    "revoke_device": Form(
        commands.RevokeDevice,
        {"number": number("number", 1, commands.MAX_POSITION)},
        "end the token of the device with this number",
    ),
    "export_account": Form(
        commands.ExportAccount, {}, "ask for all that the server keeps of the account"
    ),
    "renew_recovery": Form(
        commands.RenewRecovery,
        {"password": _PASSWORD},
        "make a new recovery code, in place of the one before",
    ),
    "delete_account": Form(commands.DeleteAccount, {"password": _PASSWORD}, "delete the account"),
}
